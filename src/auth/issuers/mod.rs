//! Other issuers whose tokens are accepted: OpenID providers and OAuth authorization servers.
//!
//! The authenticator asks here by a token's `iss`; a keeper per issuer fetches its keys. A caller is
//! named `NAME|SUB` after the issuer's configured name, so that the same `sub` of two issuers, or of this
//! server's own tokens, is never the same caller. Refuses roles the configuration does not map.

mod fetch;
mod jwks;
mod keeper;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::Notify;

use self::jwks::IssuerKey;
use super::AuthError;
use super::claims::Verified;
use super::keys::library;
use crate::config::{AuthOptions, IssuerOptions};

pub use keeper::keep;

/// Stands between an issuer's name and `sub` in a caller's id; no name contains it.
const SEPARATOR: char = '|';

/// Seconds between two fetches that unknown keys can cause: garbage must not become load on an issuer.
const ASK_SECONDS_MIN: i64 = 10;

/// All configured issuers.
#[derive(Default)]
pub struct Issuers(Vec<Arc<Issuer>>);

/// One issuer and what is known of its keys.
pub struct Issuer {
    options: IssuerOptions,
    algorithms: Vec<Algorithm>,
    refresh_seconds: u64,
    stale_seconds_max: i64,
    keys: ArcSwapOption<KeySet>,
    /// When the last answer came, in seconds since the epoch.
    fetched_at: AtomicI64,
    /// When an unknown key last caused a fetch, in seconds since the epoch.
    asked_at: AtomicI64,
    /// A fetch was asked for and has not ended.
    pending: AtomicBool,
    ask: Notify,
    /// Why the last fetch failed.
    problem: Mutex<Option<String>>,
}

/// Keys as they were published at one time.
struct KeySet {
    keys: Vec<IssuerKey>,
    digest: String,
}

/// Which keys a verified token stands on.
#[derive(Debug)]
pub(super) struct Grounds {
    issuer: usize,
    digest: String,
}

#[derive(Deserialize)]
struct IssOnly {
    iss: String,
}

impl Issuers {
    /// Those of the configuration, without keys yet.
    pub fn new(auth: &AuthOptions) -> Self {
        Self(auth.issuers.iter().map(|options| Arc::new(Issuer::new(options, auth))).collect())
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Issuer>> {
        self.0.iter()
    }

    /// The issuer a token claims to be from; nothing is believed of the token but where to look.
    pub(super) fn claimed(&self, payload: &str) -> Option<usize> {
        if self.0.is_empty() {
            return None;
        }
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let claims: IssOnly = serde_json::from_slice(&payload).ok()?;
        self.0.iter().position(|issuer| issuer.options.issuer == claims.iss)
    }

    /// Checks a token of the issuer at this place of the list.
    pub(super) fn check(
        &self,
        index: usize,
        token: &str,
        kid: Option<&str>,
        alg: Algorithm,
        now: i64,
    ) -> Result<Verified, AuthError> {
        let issuer = &self.0[index];
        let set = issuer.current(now)?;
        let key = set.select(kid, alg).map_err(|error| match error {
            AuthError::UnknownKey => issuer.ask(now),
            other => other,
        })?;
        let mut validation = Validation::new(alg);
        validation.set_issuer(&[&issuer.options.issuer]);
        validation.set_audience(&[&issuer.options.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        let data = jsonwebtoken::decode::<Map<String, Value>>(token, key, &validation)
            .map_err(|error| super::authenticator::reason(error.kind()))?;
        let mut verified = issuer.verified(data.claims)?;
        verified.grounds = Some(Grounds { issuer: index, digest: set.digest.clone() });
        Ok(verified)
    }

    /// Whether the keys a token was verified with are still the issuer's.
    ///
    /// # Errors
    /// They were confirmed too long ago.
    pub(super) fn still_holds(&self, verified: &Verified, now: i64) -> Result<bool, AuthError> {
        let Some(grounds) = &verified.grounds else { return Ok(true) };
        Ok(self.0[grounds.issuer].current(now)?.digest == grounds.digest)
    }

    /// Whether this id is one that only an issuer's token may carry.
    pub(super) fn owns(&self, id: &str) -> bool {
        let name = id.split_once(SEPARATOR).map(|(name, _)| name);
        name.is_some_and(|name| self.0.iter().any(|issuer| issuer.options.name == name))
    }
}

impl Issuer {
    fn new(options: &IssuerOptions, auth: &AuthOptions) -> Self {
        Self {
            options: options.clone(),
            algorithms: options.algorithms.iter().map(|algorithm| library(*algorithm)).collect(),
            refresh_seconds: auth.issuer_refresh_seconds,
            stale_seconds_max: auth.issuer_stale_seconds_max as i64,
            keys: ArcSwapOption::empty(),
            fetched_at: AtomicI64::new(i64::MIN),
            asked_at: AtomicI64::new(i64::MIN),
            pending: AtomicBool::new(false),
            ask: Notify::new(),
            problem: Mutex::new(None),
        }
    }

    /// The name in callers' ids.
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// Why its keys could not be fetched last time, or that they were not fetched yet.
    pub fn problem(&self) -> Option<String> {
        let problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let none =
            || self.keys.load().is_none().then(|| "its keys were not fetched yet".to_owned());
        problem.or_else(none)
    }

    fn options(&self) -> &IssuerOptions {
        &self.options
    }

    fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    fn refresh(&self) -> Duration {
        Duration::from_secs(self.refresh_seconds)
    }

    async fn asked(&self) {
        self.ask.notified().await;
    }

    /// New keys; those of before are forgotten, and with them every token they verified.
    fn install(&self, keys: Vec<IssuerKey>, digest: &str, now: i64) {
        if self.keys.load().as_ref().is_none_or(|set| set.digest != digest) {
            tracing::info!(issuer = self.name(), keys = keys.len(), "issuer.keys_changed");
            self.keys.store(Some(Arc::new(KeySet { keys, digest: digest.to_owned() })));
        }
        self.fetched_at.store(now, Ordering::Release);
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.pending.store(false, Ordering::Release);
    }

    fn fetch_failed(&self, problem: String) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
        self.pending.store(false, Ordering::Release);
    }

    /// Keys that were confirmed within `auth.issuer_stale_seconds_max`.
    fn current(&self, now: i64) -> Result<Arc<KeySet>, AuthError> {
        let age = now.saturating_sub(self.fetched_at.load(Ordering::Acquire));
        let set = self.keys.load_full().filter(|_| age <= self.stale_seconds_max);
        set.ok_or(AuthError::KeysUnavailable)
    }

    /// What a token with an unknown key is told: to come back when a fetch may still show the key, and
    /// otherwise that there is none.
    fn ask(&self, now: i64) -> AuthError {
        let last = self.asked_at.load(Ordering::Acquire);
        let due = now.saturating_sub(last) >= ASK_SECONDS_MIN;
        let swap = |last| {
            self.asked_at.compare_exchange(last, now, Ordering::AcqRel, Ordering::Acquire).is_ok()
        };
        if due && swap(last) {
            self.pending.store(true, Ordering::Release);
            self.ask.notify_one();
        }
        let away = self.problem.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        match away || self.pending.load(Ordering::Acquire) {
            true => AuthError::KeysUnavailable,
            false => AuthError::UnknownKey,
        }
    }

    /// The claims in this server's terms.
    fn verified(&self, mut claims: Map<String, Value>) -> Result<Verified, AuthError> {
        let roles = self.roles(&claims);
        let sub = claims.get("sub").and_then(Value::as_str).filter(|sub| !sub.is_empty());
        let sub = sub.ok_or(AuthError::BadClaim("sub"))?;
        let id = format!("{}{SEPARATOR}{sub}", self.options.name);
        claims.insert("sub".to_owned(), id.into());
        claims.insert("roles".to_owned(), roles.into_iter().collect());
        // Its tokens are refreshed there, whatever they say.
        claims.remove("refresh_until");
        let raw: super::claims::RawClaims = serde_json::from_value(Value::Object(claims))
            .map_err(|_| AuthError::BadClaim("claims"))?;
        raw.try_into()
    }

    /// Roles the mapped values of the roles claim stand for; values nobody mapped stand for none.
    fn roles(&self, claims: &Map<String, Value>) -> BTreeSet<String> {
        // Some providers name claims by URLs, so a `/` is a step only where the whole is no name.
        let inside = || {
            let mut steps = self.options.roles_claim.split('/');
            let first = steps.next().and_then(|name| claims.get(name));
            steps.fold(first, |value, name| value?.get(name))
        };
        let claim = claims.get(&self.options.roles_claim).or_else(inside);
        let values: Vec<&str> = match claim {
            Some(Value::String(text)) => text.split(' ').collect(),
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        values.iter().filter_map(|value| self.options.roles.get(*value)).cloned().collect()
    }
}

impl KeySet {
    /// The key a token names; without a name, the only key that fits its algorithm.
    fn select(&self, kid: Option<&str>, alg: Algorithm) -> Result<&DecodingKey, AuthError> {
        let named = |key: &&IssuerKey| kid.is_none_or(|kid| key.kid.as_deref() == Some(kid));
        let fits = |key: &&IssuerKey| key.algorithms.contains(&alg);
        let mut fitting = self.keys.iter().filter(named).filter(fits);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(&key.decoding),
            (Some(_), Some(_)) => Err(AuthError::UnknownKey),
            _ if kid.is_some() && self.keys.iter().any(|key| named(&key)) => {
                Err(AuthError::WrongAlgorithm)
            }
            _ if kid.is_none() => Err(AuthError::WrongAlgorithm),
            _ => Err(AuthError::UnknownKey),
        }
    }
}

#[cfg(test)]
mod tests;
