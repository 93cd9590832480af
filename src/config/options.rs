//! Sections without a module of their own to live in; the others are the option structs of the parts
//! they set.
//!
//! Meaning, unit and range of each key stand in `config/base.toml`, which is also where the defaults
//! are: no struct here has a `Default` of its own that could disagree.

use std::path::PathBuf;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use super::IssuerOptions;
use crate::tools::artifacts::ArtifactOptions;

/// Section `auth`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthOptions {
    /// `iss` of tokens.
    pub issuer: String,
    /// `aud` of tokens.
    pub audience: String,
    /// Authorization servers to advertise.
    pub authorization_servers: Vec<String>,
    /// Other issuers whose tokens are accepted.
    pub issuers: Vec<IssuerOptions>,
    /// Time between two fetches of an issuer's keys.
    pub issuer_refresh_seconds: u64,
    /// How long keys are used that the issuer has not confirmed.
    pub issuer_stale_seconds_max: u64,
    /// Keys; empty = the instance's generated one.
    pub keys: Vec<KeyOptions>,
    /// The key that signs; `None` = the first HS key.
    #[serde(deserialize_with = "text_opt")]
    pub signing_kid: Option<String>,
    /// Default life of a token.
    pub token_ttl_seconds: u64,
    /// Longest life of a token.
    pub token_ttl_seconds_max: u64,
    /// How long after the first issue a token can be refreshed; 0 = never.
    pub refresh_window_seconds: u64,
    /// Allowed difference of clocks.
    pub leeway_seconds: u64,
    /// Longest token looked at.
    pub token_bytes_max: usize,
    /// Verified tokens remembered.
    pub cache_entries: usize,
}

/// One element of `auth.keys`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyOptions {
    /// The key's name in token headers.
    pub kid: String,
    /// The one algorithm it is used with.
    pub algorithm: KeyAlgorithm,
    /// A secret, in place; prefer `secret_file`.
    #[serde(default, deserialize_with = "secret_opt")]
    pub secret: Option<SecretString>,
    /// A file with a secret; white space at its end is not part of it.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// A file with a public key (PEM).
    #[serde(default)]
    pub public_key_file: Option<PathBuf>,
}

/// Algorithms a key can be pinned to (RFC 7518 §3.1, RFC 8037). There is no `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
pub enum KeyAlgorithm {
    /// HMAC with SHA-256.
    HS256,
    /// HMAC with SHA-384.
    HS384,
    /// HMAC with SHA-512.
    HS512,
    /// RSA PKCS #1 v1.5 with SHA-256.
    RS256,
    /// RSA PKCS #1 v1.5 with SHA-384.
    RS384,
    /// RSA PKCS #1 v1.5 with SHA-512.
    RS512,
    /// RSA-PSS with SHA-256.
    PS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// Ed25519.
    EdDSA,
}

impl KeyAlgorithm {
    /// Whether the key is a shared secret.
    pub fn is_hmac(self) -> bool {
        matches!(self, Self::HS256 | Self::HS384 | Self::HS512)
    }
}

/// Section `admission`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdmissionOptions {
    /// Rate limits remembered at once.
    pub keys_max: usize,
    /// A caller's rate over all tools, as a multiple of the role's rate per tool.
    pub total_factor: u32,
    /// Calls of one caller that run at once.
    pub running_per_caller_max: usize,
}

/// Section `backup`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupOptions {
    /// Folder or `s3://BUCKET/PREFIX`.
    #[serde(deserialize_with = "text_opt")]
    pub target: Option<String>,
    /// File with the key.
    #[serde(deserialize_with = "path_opt")]
    pub key_file: Option<PathBuf>,
    /// An S3 service other than Amazon's.
    #[serde(deserialize_with = "text_opt")]
    pub s3_endpoint: Option<String>,
    /// Its region.
    #[serde(deserialize_with = "text_opt")]
    pub s3_region: Option<String>,
}

/// Section `tools`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolsOptions {
    /// Templates of the operator.
    #[serde(deserialize_with = "path_opt")]
    pub templates_dir: Option<PathBuf>,
    /// Prompts of the operator.
    #[serde(deserialize_with = "path_opt")]
    pub prompts_dir: Option<PathBuf>,
    /// Files that runs leave.
    pub artifacts: ArtifactOptions,
}

fn text_opt<'de, D: Deserializer<'de>>(source: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(source)?;
    Ok((!text.is_empty()).then_some(text))
}

pub(super) fn path_opt<'de, D: Deserializer<'de>>(source: D) -> Result<Option<PathBuf>, D::Error> {
    Ok(text_opt(source)?.map(PathBuf::from))
}

fn secret_opt<'de, D: Deserializer<'de>>(source: D) -> Result<Option<SecretString>, D::Error> {
    Ok(text_opt(source)?.map(SecretString::from))
}
