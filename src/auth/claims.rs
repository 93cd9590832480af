//! What tokens of ours say, and how much of it is believed.
//!
//! Refuses claims of the wrong type and of a size nobody needs. Claims not listed here (the custom
//! ones) are not even parsed when a token is verified.

use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use ultimate_mcp_actors::ids::CallerId;

use super::AuthError;
use super::issuers::Grounds;

/// Most roles a token may carry.
pub const ROLES_MAX: usize = 32;

/// Longest name of a role, in bytes.
pub const ROLE_BYTES_MAX: usize = 64;

/// Longest `jti`, in bytes.
const JTI_BYTES_MAX: usize = 128;

/// Claims that have a meaning here and cannot be given as custom ones (RFC 7519 §4.1 and ours).
pub const RESERVED: &[&str] =
    &["sub", "roles", "iat", "exp", "nbf", "iss", "aud", "jti", "refresh_until"];

/// The claims as they stand in the token; `iss` and `aud` are checked by the JWT library.
#[derive(Debug, Deserialize)]
pub(super) struct RawClaims {
    sub: String,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(deserialize_with = "numeric_date")]
    iat: i64,
    #[serde(deserialize_with = "numeric_date")]
    exp: i64,
    #[serde(default, deserialize_with = "numeric_date_opt")]
    nbf: Option<i64>,
    #[serde(default)]
    jti: Option<String>,
    #[serde(default, deserialize_with = "numeric_date_opt")]
    refresh_until: Option<i64>,
}

/// A token whose signature, issuer and audience are good. Times and revocation are checked anew on
/// every use.
#[derive(Debug)]
pub(super) struct Verified {
    pub id: CallerId,
    /// Roles the token claims; policy decides which are in force.
    pub roles: Arc<[String]>,
    pub iat: i64,
    pub exp: i64,
    pub nbf: Option<i64>,
    pub jti: Option<Arc<str>>,
    /// Set in tokens of ours only.
    pub refresh_until: Option<i64>,
    /// Set in tokens of other issuers only: the keys they stand on.
    pub grounds: Option<Grounds>,
}

impl TryFrom<RawClaims> for Verified {
    type Error = AuthError;

    fn try_from(raw: RawClaims) -> Result<Self, AuthError> {
        let id = CallerId::parse(&raw.sub).map_err(|_| AuthError::BadClaim("sub"))?;
        if raw.roles.len() > ROLES_MAX || !raw.roles.iter().all(|role| is_role(role)) {
            return Err(AuthError::BadClaim("roles"));
        }
        if raw.jti.as_ref().is_some_and(|jti| jti.is_empty() || jti.len() > JTI_BYTES_MAX) {
            return Err(AuthError::BadClaim("jti"));
        }
        Ok(Self {
            id,
            roles: raw.roles.into(),
            iat: raw.iat,
            exp: raw.exp,
            nbf: raw.nbf,
            jti: raw.jti.map(Arc::from),
            refresh_until: raw.refresh_until,
            grounds: None,
        })
    }
}

/// Whether a text can be the name of a role.
pub fn is_role(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    (1..=ROLE_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

/// Seconds since the epoch, perhaps with a fraction (RFC 7519 §2, NumericDate); the fraction is cut.
fn numeric_date<'de, D: Deserializer<'de>>(source: D) -> Result<i64, D::Error> {
    let number = serde_json::Number::deserialize(source)?;
    let seconds = number.as_i64().or_else(|| {
        // Within ±2^53 a float holds every second exactly; beyond lies no date anybody means.
        number.as_f64().filter(|n| n.abs() < 9_007_199_254_740_992.0).map(|n| n.floor() as i64)
    });
    seconds.ok_or_else(|| serde::de::Error::custom("not a date in seconds since the epoch"))
}

fn numeric_date_opt<'de, D: Deserializer<'de>>(source: D) -> Result<Option<i64>, D::Error> {
    numeric_date(source).map(Some)
}
