//! From a bearer token to a [`Caller`]: the only place that makes one.
//!
//! Called by every transport, once per request. The signature of a token is checked once and then
//! remembered; expiry, revocation and the roles in force are looked at on every call. Refuses
//! everything it does not understand: an invalid token is never downgraded to "nobody".

use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::claims::{RawClaims, Verified};
use super::issuers::Issuers;
use super::remembered::{self, Remembered};
use super::{AuthError, Caller, KeyRing, Standing};
use crate::config::AuthOptions;

/// Seconds since the epoch.
pub(super) type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Verifies and issues tokens. Cheap to clone; keys can be replaced while it works.
#[derive(Clone)]
pub struct Authenticator {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub options: AuthOptions,
    keys: ArcSwap<Keys>,
    pub clock: Clock,
    issuers: Issuers,
}

/// Keys and what was verified with them: replaced together, so that no token outlives its key.
pub(super) struct Keys {
    pub ring: KeyRing,
    remembered: Remembered<Verified>,
}

impl Authenticator {
    /// Verifies with these keys, by the system's clock.
    pub fn new(options: AuthOptions, ring: KeyRing) -> Self {
        Self::with_clock(options, ring, Arc::new(|| chrono::Utc::now().timestamp()))
    }

    /// The same with a clock of the caller's: seconds since the epoch.
    pub fn with_clock(
        options: AuthOptions,
        ring: KeyRing,
        clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    ) -> Self {
        let keys = Keys { ring, remembered: Remembered::new(options.cache_entries) };
        let keys = ArcSwap::from_pointee(keys);
        let issuers = Issuers::new(&options);
        Self { shared: Arc::new(Shared { options, keys, clock, issuers }) }
    }

    /// The other issuers; each needs a keeper ([`super::issuers::keep`]) to have keys.
    pub fn issuers(&self) -> &Issuers {
        &self.shared.issuers
    }

    /// Replaces all keys; tokens of the old ones stop being valid at once.
    pub fn replace_keys(&self, ring: KeyRing) {
        let remembered = Remembered::new(self.shared.options.cache_entries);
        self.shared.keys.store(Arc::new(Keys { ring, remembered }));
    }

    /// The caller a token stands for.
    ///
    /// `standing` is the authorization snapshot: it knows revocations and stored roles. Errors say
    /// precisely why, for the audit; clients get [`AuthError::public`].
    pub fn verify(&self, token: &str, standing: &impl Standing) -> Result<Caller, AuthError> {
        let verified = self.verified(token)?;
        if standing.is_revoked(verified.jti.as_deref(), &verified.id, verified.iat) {
            return Err(AuthError::Revoked);
        }
        Ok(Caller {
            id: verified.id.clone(),
            roles: standing.effective_roles(&verified.id, &verified.roles),
            token_id: verified.jti.clone(),
            token_roles: Arc::clone(&verified.roles),
            issued_at: verified.iat,
            expires_at: self.refused_from(&verified),
        })
    }

    /// A token that is good now, but for revocation.
    pub(super) fn verified(&self, token: &str) -> Result<Arc<Verified>, AuthError> {
        let max = self.shared.options.token_bytes_max;
        if token.len() > max {
            return Err(AuthError::TooLarge { bytes: token.len(), max });
        }
        let keys = self.shared.keys.load();
        let hash = remembered::hash(token);
        let now = (self.shared.clock)();
        if let Some(verified) = keys.remembered.get(&hash)
            && self.shared.issuers.still_holds(&verified, now)?
        {
            self.check_times(&verified)?;
            return Ok(verified);
        }
        let verified = Arc::new(check_signature(token, &keys.ring, &self.shared.issuers, now)?);
        self.check_times(&verified)?;
        keys.remembered.insert(hash, Arc::clone(&verified));
        Ok(verified)
    }

    /// The keys in use.
    pub(super) fn keys(&self) -> arc_swap::Guard<Arc<Keys>> {
        self.shared.keys.load()
    }

    /// When the token stops being accepted, in seconds since the epoch.
    pub(super) fn refused_from(&self, verified: &Verified) -> i64 {
        verified.exp.saturating_add(self.shared.options.leeway_seconds as i64)
    }

    /// RFC 7519 §4.1.4–4.1.6, with leeway for clocks that differ. `iat` must not lie ahead either:
    /// such a token would escape the revocation of all tokens issued until now.
    fn check_times(&self, verified: &Verified) -> Result<(), AuthError> {
        let options = &self.shared.options;
        let now = (self.shared.clock)();
        let leeway = options.leeway_seconds as i64;
        let starts = verified.nbf.unwrap_or(verified.iat).max(verified.iat);
        if starts.saturating_sub(leeway) > now {
            return Err(AuthError::NotYetValid { seconds_left: starts.saturating_sub(now) });
        }
        if self.refused_from(verified) <= now {
            return Err(AuthError::Expired { seconds_ago: now.saturating_sub(verified.exp) });
        }
        let (seconds, max) =
            (verified.exp.saturating_sub(verified.iat), options.token_ttl_seconds_max as i64);
        if seconds > max {
            return Err(AuthError::LifetimeTooLong { seconds, max });
        }
        Ok(())
    }
}

/// The part of a JOSE header that is looked at; keys embedded in or linked from it never are.
#[derive(Deserialize)]
struct Head<'t> {
    alg: std::borrow::Cow<'t, str>,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default)]
    crit: Option<IgnoredAny>,
}

/// Checks form, key, algorithm, signature, issuer and audience.
fn check_signature(
    token: &str,
    ring: &KeyRing,
    issuers: &Issuers,
    now: i64,
) -> Result<Verified, AuthError> {
    let mut parts = token.split('.');
    let (Some(head), Some(payload), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(AuthError::Malformed("not three parts"));
    };
    let head = URL_SAFE_NO_PAD.decode(head).map_err(|_| AuthError::Malformed("header encoding"))?;
    let head: Head<'_> =
        serde_json::from_slice(&head).map_err(|_| AuthError::Malformed("header"))?;
    // RFC 7515 §4.1.11: an extension that is critical and not understood makes a token invalid.
    if head.crit.is_some() {
        return Err(AuthError::Malformed("critical extension"));
    }
    // RFC 8725 §3.11: a JWT of another kind (an id token's logout, a DPoP proof) is not for us.
    let typ = head.typ.as_deref().unwrap_or("JWT");
    if !["JWT", "at+jwt", "application/at+jwt"].iter().any(|t| t.eq_ignore_ascii_case(typ)) {
        return Err(AuthError::Malformed("type"));
    }
    let alg = head.alg.parse().map_err(|_| AuthError::WrongAlgorithm)?;
    if let Some(issuer) = issuers.claimed(payload) {
        return issuers.check(issuer, token, head.kid.as_deref(), alg, now);
    }
    let key = ring.select(head.kid.as_deref(), alg)?;
    let data = jsonwebtoken::decode::<RawClaims>(token, &key.decoding, &key.validation)
        .map_err(|error| reason(error.kind()))?;
    let mut verified: Verified = data.claims.try_into()?;
    if issuers.owns(verified.id.as_str()) {
        return Err(AuthError::BadClaim("sub"));
    }
    if key.encoding.is_none() {
        // Another issuer's token is refreshed there, whatever it says about itself.
        verified.refresh_until = None;
    }
    Ok(verified)
}

/// Why the JWT library refused.
pub(super) fn reason(kind: &ErrorKind) -> AuthError {
    match kind {
        ErrorKind::InvalidToken | ErrorKind::Base64(_) | ErrorKind::Utf8(_) => {
            AuthError::Malformed("encoding")
        }
        ErrorKind::InvalidAlgorithm => AuthError::WrongAlgorithm,
        ErrorKind::InvalidIssuer => AuthError::WrongIssuer,
        ErrorKind::InvalidAudience => AuthError::WrongAudience,
        ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
            "iss" => AuthError::WrongIssuer,
            "aud" => AuthError::WrongAudience,
            "sub" => AuthError::BadClaim("sub"),
            _ => AuthError::BadClaim("exp"),
        },
        // The header was parsed above, so this is about the claims, whose signature is good.
        ErrorKind::Json(_) => AuthError::BadClaim("claims"),
        _ => AuthError::BadSignature,
    }
}
