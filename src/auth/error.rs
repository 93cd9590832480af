//! Why a caller was not authenticated: precise for the audit, reserved towards the client.
//!
//! Whoever holds no valid token learns nothing about keys or checks; whoever holds one that was
//! once valid is told how to get another.

use crate::error::{ApiError, Code};

/// Why a caller was not authenticated. `Display` is for the log, [`AuthError::public`] for clients.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No `Authorization` header.
    #[error("no authorization header")]
    Missing,
    /// An `Authorization` header of another scheme.
    #[error("the authorization scheme is not bearer")]
    WrongScheme,
    /// A header that cannot be read as one bearer token (RFC 6750 §2.1).
    #[error("the authorization header is malformed: {0}")]
    BadHeader(&'static str),
    /// Longer than `auth.token_bytes_max`.
    #[error("the token has {bytes} bytes, at most {max} are looked at")]
    TooLarge {
        /// Length found.
        bytes: usize,
        /// Length allowed.
        max: usize,
    },
    /// Not a JWT in compact form.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// `alg` is `none`, unknown, or not the one its key is pinned to.
    #[error("the token asks for an algorithm its key is not for")]
    WrongAlgorithm,
    /// No key of that name, or none or several without a name.
    #[error("no key of ours fits the token")]
    UnknownKey,
    /// The keys of the token's issuer could not be fetched, or are being fetched again.
    #[error("the keys of the token's issuer are not at hand")]
    KeysUnavailable,
    /// The signature does not match.
    #[error("the signature does not match")]
    BadSignature,
    /// Signed by a key of ours, but a claim is missing, mistyped or too large.
    #[error("claim `{0}` is missing, mistyped or too large")]
    BadClaim(&'static str),
    /// Another `iss`.
    #[error("the token is from another issuer")]
    WrongIssuer,
    /// Another `aud`.
    #[error("the token is for another audience")]
    WrongAudience,
    /// `exp` has passed.
    #[error("the token expired {seconds_ago} seconds ago")]
    Expired {
        /// Seconds since `exp`.
        seconds_ago: i64,
    },
    /// `nbf` or `iat` lies ahead.
    #[error("the token is not valid yet, for another {seconds_left} seconds")]
    NotYetValid {
        /// Seconds until it is.
        seconds_left: i64,
    },
    /// Lives longer than `auth.token_ttl_seconds_max`.
    #[error("the token lives {seconds} seconds, at most {max} are accepted")]
    LifetimeTooLong {
        /// `exp` minus `iat`.
        seconds: i64,
        /// The most allowed.
        max: i64,
    },
    /// Revoked by its `jti` or by its owner.
    #[error("the token was revoked")]
    Revoked,
}

impl AuthError {
    /// The reason in one word, for audit details and metrics. Contract: never renamed.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::WrongScheme => "wrong_scheme",
            Self::BadHeader(_) => "bad_header",
            Self::TooLarge { .. } => "too_large",
            Self::Malformed(_) => "malformed",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::UnknownKey => "unknown_key",
            Self::KeysUnavailable => "keys_unavailable",
            Self::BadSignature => "bad_signature",
            Self::BadClaim(_) => "bad_claim",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::LifetimeTooLong { .. } => "lifetime_too_long",
            Self::Revoked => "revoked",
        }
    }

    /// What the client is told.
    pub fn public(&self) -> String {
        match self {
            Self::Missing | Self::WrongScheme => {
                "no token: send `Authorization: Bearer <token>` with every request".to_owned()
            }
            Self::BadHeader(what) => format!("the Authorization header is malformed: {what}"),
            Self::Expired { .. } => "the token has expired; get or refresh one".to_owned(),
            Self::NotYetValid { .. } => "the token is not valid yet; check the clocks".to_owned(),
            Self::WrongAudience => "the token is for another audience than this server".to_owned(),
            Self::Revoked => "the token was revoked; get a new one".to_owned(),
            Self::KeysUnavailable => {
                "the keys of the token's issuer are not at hand; try again in a moment".to_owned()
            }
            _ => "the token is not valid here; get one from this server or its issuer".to_owned(),
        }
    }
}

impl From<AuthError> for ApiError {
    /// 401, but for a malformed header, which is 400 (RFC 6750 §3.1, `invalid_request`), and for a token
    /// nobody can judge now, which is 503: a 401 would make its owner throw it away.
    fn from(error: AuthError) -> Self {
        let code = match error {
            AuthError::BadHeader(_) => Code::InvalidRequest,
            AuthError::KeysUnavailable => Code::Unavailable,
            _ => Code::Unauthenticated,
        };
        ApiError::new(code, error.public()).caused_by(error)
    }
}
