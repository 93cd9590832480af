//! Issuing and refreshing tokens of our own.
//!
//! Called by the command line (`token create`) and by `POST /api/v1/auth/{token,refresh}`. Refuses
//! whatever would give somebody a role: a refreshed token has the same roles or fewer, and only
//! tokens this server issued can be refreshed.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Header;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use ultimate_mcp_actors::fault::{Classify, Kind};
use ultimate_mcp_actors::ids::CallerId;

use super::claims::{RESERVED, ROLES_MAX, is_role};
use super::{AuthError, Authenticator, Standing};

/// Shortest life of an issued token, in seconds: below it, clocks that differ make it useless.
const TTL_SECONDS_MIN: u64 = 10;

/// Longest custom claims, in bytes of JSON; every call carries them.
const CUSTOM_BYTES_MAX: usize = 2048;

/// What a new token is to say.
#[derive(Clone, Debug)]
pub struct IssueRequest {
    /// For whom.
    pub sub: CallerId,
    /// Roles; at least one.
    pub roles: Vec<String>,
    /// Its life; `None` = `auth.token_ttl_seconds`.
    pub ttl: Option<Duration>,
    /// Further claims, copied into the token.
    pub custom: Map<String, Value>,
}

/// A new token.
#[derive(Debug)]
pub struct Issued {
    /// The token itself; shown once, to its owner.
    pub token: SecretString,
    /// Its `jti`, by which it can be revoked.
    pub jti: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// `exp`, in seconds since the epoch.
    pub expires_at: i64,
    /// Until when it can be refreshed, in seconds since the epoch.
    pub refresh_until: Option<i64>,
}

/// A new token in place of an old one.
#[derive(Debug)]
pub struct Refreshed {
    /// The new token. Hand it out only when the old one is revoked.
    pub issued: Issued,
    /// Whose it is.
    pub sub: CallerId,
    /// The `jti` of the old token, to be revoked.
    pub replaced_jti: String,
    /// Until when the revocation must be kept: `exp` of the old token and the leeway for clocks, in
    /// seconds since the epoch.
    pub replaced_expires_at: i64,
}

/// Why no token was issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// Only public keys are configured.
    #[error("this server has no key that signs (it only verifies): ask the tokens' issuer")]
    NoSigningKey,
    /// Too short or too long a life.
    #[error("ttl must be from {min} to {max} seconds, found {found}")]
    Ttl {
        /// Shortest.
        min: u64,
        /// Longest.
        max: u64,
        /// Asked for.
        found: u64,
    },
    /// No role, too many, or one that cannot be a name.
    #[error("roles must be 1 to {ROLES_MAX} names of letters, digits and `-_.:`")]
    Roles,
    /// A custom claim with a meaning of its own.
    #[error("claim `{0}` is not a custom claim")]
    Reserved(String),
    /// Too much custom data, or a token larger than this server reads.
    #[error("the custom claims are too large, at most {CUSTOM_BYTES_MAX} bytes of JSON fit")]
    TooLarge,
    /// The token shown is not valid.
    #[error("{}", .0.public())]
    Token(#[source] AuthError),
    /// The token cannot be refreshed: not ours, or too old.
    #[error("the token cannot be refreshed ({0}); get a new one")]
    NotRefreshable(&'static str),
    /// A role the old token does not have.
    #[error("role `{0}` is not in the token; a refresh can only drop roles")]
    RoleNotHeld(String),
    /// The library could not sign.
    #[error("signing failed")]
    Signing(#[source] jsonwebtoken::errors::Error),
}

impl Classify for IssueError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoSigningKey | Self::NotRefreshable(_) => Kind::Conflict,
            Self::Signing(_) => Kind::Internal,
            _ => Kind::InvalidInput,
        }
    }
}

impl Authenticator {
    /// Signs a new token. Whether the asker may ask is not decided here.
    pub fn issue(&self, request: IssueRequest) -> Result<Issued, IssueError> {
        let now = (self.shared.clock)();
        let window = self.shared.options.refresh_window_seconds;
        let refresh_until = (window > 0).then(|| now.saturating_add(window as i64));
        self.sign(request, now, refresh_until)
    }

    /// A new token for a valid one that this server issued.
    ///
    /// `roles` may drop some, never add one. The custom claims stay. The caller of this function
    /// revokes the old token ([`Refreshed::replaced_jti`]) before it hands out the new one, and
    /// refuses when it was revoked in between.
    pub fn refresh(
        &self,
        token: &str,
        roles: Option<Vec<String>>,
        standing: &impl Standing,
    ) -> Result<Refreshed, IssueError> {
        let old = self.verified(token).map_err(IssueError::Token)?;
        if standing.is_revoked(old.jti.as_deref(), &old.id, old.iat) {
            return Err(IssueError::Token(AuthError::Revoked));
        }
        let (Some(jti), Some(refresh_until)) = (&old.jti, old.refresh_until) else {
            return Err(IssueError::NotRefreshable("it does not come from this server"));
        };
        let now = (self.shared.clock)();
        let latest = now.saturating_add(self.shared.options.refresh_window_seconds as i64);
        if refresh_until <= now || refresh_until > latest {
            return Err(IssueError::NotRefreshable("its first issue is too long ago"));
        }
        let roles = roles.unwrap_or_else(|| old.roles.to_vec());
        if let Some(role) = roles.iter().find(|role| !old.roles.contains(role)) {
            return Err(IssueError::RoleNotHeld(role.clone()));
        }
        let custom = custom_claims(token);
        let request = IssueRequest { sub: old.id.clone(), roles, ttl: None, custom };
        let issued = self.sign(request, now, Some(refresh_until))?;
        Ok(Refreshed {
            issued,
            sub: old.id.clone(),
            replaced_jti: jti.to_string(),
            replaced_expires_at: self.refused_from(&old),
        })
    }

    fn sign(
        &self,
        request: IssueRequest,
        now: i64,
        refresh_until: Option<i64>,
    ) -> Result<Issued, IssueError> {
        let options = &self.shared.options;
        let keys = self.keys();
        let key = keys.ring.signing().ok_or(IssueError::NoSigningKey)?;
        let encoding = key.encoding.as_ref().ok_or(IssueError::NoSigningKey)?;
        let ttl = request.ttl.map_or(options.token_ttl_seconds, |ttl| ttl.as_secs());
        if !(TTL_SECONDS_MIN..=options.token_ttl_seconds_max).contains(&ttl) {
            let (min, max) = (TTL_SECONDS_MIN, options.token_ttl_seconds_max);
            return Err(IssueError::Ttl { min, max, found: ttl });
        }
        let roles = request.roles;
        if !(1..=ROLES_MAX).contains(&roles.len()) || !roles.iter().all(|role| is_role(role)) {
            return Err(IssueError::Roles);
        }
        let mut claims = request.custom;
        if let Some(name) = RESERVED.iter().find(|name| claims.contains_key(**name)) {
            return Err(IssueError::Reserved((*name).to_owned()));
        }
        if json!(claims).to_string().len() > CUSTOM_BYTES_MAX {
            return Err(IssueError::TooLarge);
        }
        let jti = uuid::Uuid::new_v4().to_string();
        let expires_at = now.saturating_add(ttl as i64);
        claims.insert("sub".into(), json!(request.sub));
        claims.insert("roles".into(), json!(roles));
        claims.insert("iat".into(), json!(now));
        claims.insert("exp".into(), json!(expires_at));
        claims.insert("iss".into(), json!(options.issuer));
        claims.insert("aud".into(), json!(options.audience));
        claims.insert("jti".into(), json!(jti));
        if let Some(until) = refresh_until {
            claims.insert("refresh_until".into(), json!(until));
        }
        let header = Header { kid: Some(key.kid.clone()), ..Header::new(key.algorithm) };
        let token =
            jsonwebtoken::encode(&header, &claims, encoding).map_err(IssueError::Signing)?;
        if token.len() > options.token_bytes_max {
            return Err(IssueError::TooLarge);
        }
        Ok(Issued { token: SecretString::from(token), jti, roles, expires_at, refresh_until })
    }
}

/// The custom claims of a token that was verified before.
fn custom_claims(token: &str) -> Map<String, Value> {
    let payload = token.split('.').nth(1).unwrap_or_default();
    let bytes = URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
    let mut claims: Map<String, Value> = serde_json::from_slice(&bytes).unwrap_or_default();
    claims.retain(|name, _| !RESERVED.contains(&name.as_str()));
    claims
}
