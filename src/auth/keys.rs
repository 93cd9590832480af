//! The keys tokens are signed with, each pinned to one algorithm.
//!
//! A token chooses a key by name (`kid`), never an algorithm: the algorithm is the key's. So `none`
//! and an RSA public key taken for an HMAC secret are not cases to detect but impossible. Refuses
//! keys that are too weak for their algorithm and files that hold something else.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256,
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation};
use secrecy::{ExposeSecret, SecretSlice};
use ultimate_mcp_actors::fault::{Classify, Kind};

use super::AuthError;
use super::key_file::{self, InstanceKey, KeyFileError};
use crate::config::{AuthOptions, KeyAlgorithm, KeyOptions};

/// Largest key file, in bytes; an RSA-8192 public key has under 2,000.
const FILE_BYTES_MAX: u64 = 65_536;

/// Least bytes of a DER RSA public key of 2048 bits (RFC 7518 §3.3 asks for that size).
const RSA_DER_BYTES_MIN: usize = 256;

/// Why a configured key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("auth.keys `{kid}`: cannot read {path}: {source}", path = .path.display())]
    Unreadable {
        /// The key.
        kid: String,
        /// Its file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The content does not fit the algorithm.
    #[error("auth.keys `{kid}`: {problem}")]
    Unusable {
        /// The key.
        kid: String,
        /// What is wrong and how to mend it; never the key itself.
        problem: String,
    },
    /// The instance's own key.
    #[error(transparent)]
    Instance(#[from] KeyFileError),
}

impl Classify for KeyError {
    fn kind(&self) -> Kind {
        Kind::Internal
    }
}

/// One key.
#[derive(Clone)]
pub(super) struct Key {
    pub kid: String,
    pub algorithm: Algorithm,
    pub decoding: DecodingKey,
    /// Present in HMAC keys: they can sign.
    pub encoding: Option<EncodingKey>,
    pub validation: Validation,
}

/// All keys of this server.
#[derive(Clone)]
pub struct KeyRing {
    keys: Vec<Key>,
    by_kid: HashMap<String, usize>,
    signing: Option<usize>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|k| (&k.kid, k.algorithm))).finish()
    }
}

impl KeyRing {
    /// The configured keys; without any, the instance's own, which is made on first use in
    /// `data_dir/keys`.
    ///
    /// Errors: every configured key that cannot be used, all at once.
    pub fn load(options: &AuthOptions, data_dir: &Path) -> Result<Self, Vec<KeyError>> {
        if options.keys.is_empty() {
            let secret = key_file::load_or_create(data_dir, key_file::TOKEN_KEY)
                .map_err(|error| vec![error.into()])?;
            return Ok(Self::instance(&secret, options));
        }
        Self::configured(options)
    }

    /// The configured keys only; touches no instance key.
    pub fn configured(options: &AuthOptions) -> Result<Self, Vec<KeyError>> {
        let (mut keys, mut errors) = (Vec::new(), Vec::new());
        for key in &options.keys {
            match read(key, options) {
                Ok(key) => keys.push(key),
                Err(error) => errors.push(error),
            }
        }
        match errors.is_empty() {
            true => Ok(Self::new(keys, options.signing_kid.as_deref())),
            false => Err(errors),
        }
    }

    /// The instance's own secret, for HS256. Its name tells instances apart, so that a token of
    /// another instance is "unknown key" and not "bad signature".
    pub fn instance(secret: &InstanceKey, options: &AuthOptions) -> Self {
        let digest = digest::digest(&digest::SHA256, secret.expose_secret());
        let tail: String = digest.as_ref()[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        let key = hmac(format!("instance-{tail}"), KeyAlgorithm::HS256, secret.expose_secret());
        Self::new(vec![key.with_rules(options)], None)
    }

    fn new(keys: Vec<Key>, signing_kid: Option<&str>) -> Self {
        let by_kid = keys.iter().enumerate().map(|(i, key)| (key.kid.clone(), i)).collect();
        let signs = |key: &Key| {
            key.encoding.is_some() && signing_kid.is_none_or(|signing| signing == key.kid)
        };
        let signing = keys.iter().position(signs);
        Self { keys, by_kid, signing }
    }

    /// The key a token names; without a name, the only key of its algorithm.
    pub(super) fn select(&self, kid: Option<&str>, alg: Algorithm) -> Result<&Key, AuthError> {
        let key = match kid {
            Some(kid) => self.by_kid.get(kid).map(|&index| &self.keys[index]),
            None => {
                let mut fitting = self.keys.iter().filter(|key| key.algorithm == alg);
                fitting.next().filter(|_| fitting.next().is_none())
            }
        };
        let key = key.ok_or(AuthError::UnknownKey)?;
        match key.algorithm == alg {
            true => Ok(key),
            false => Err(AuthError::WrongAlgorithm),
        }
    }

    /// The key that signs new tokens; `None` when only public keys are configured.
    pub(super) fn signing(&self) -> Option<&Key> {
        self.signing.map(|index| &self.keys[index])
    }
}

impl Key {
    /// Adds what the token itself must say: issuer, audience. Times are checked by the verifier, for
    /// remembered tokens too and against one clock.
    fn with_rules(mut self, options: &AuthOptions) -> Self {
        let mut validation = Validation::new(self.algorithm);
        validation.set_issuer(&[&options.issuer]);
        validation.set_audience(&[&options.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        self.validation = validation;
        self
    }
}

fn read(options: &KeyOptions, auth: &AuthOptions) -> Result<Key, KeyError> {
    let kid = options.kid.clone();
    let unusable = |problem: String| KeyError::Unusable { kid: kid.clone(), problem };
    let content = match (&options.secret, &options.secret_file, &options.public_key_file) {
        (Some(secret), _, _) => SecretSlice::from(secret.expose_secret().as_bytes().to_vec()),
        (_, Some(path), _) | (_, _, Some(path)) => read_file(&kid, path)?,
        // The configuration's rules refuse a key without material.
        (None, None, None) => return Err(unusable("has neither secret nor file".to_owned())),
    };
    let bytes = content.expose_secret();
    if options.algorithm.is_hmac() {
        let secret = bytes.trim_ascii_end();
        let least = hmac_bytes_min(options.algorithm);
        if secret.starts_with(b"-----BEGIN") {
            return Err(unusable("the secret is a PEM file; a secret is random bytes".to_owned()));
        }
        if secret.len() < least {
            return Err(unusable(format!(
                "the secret has {} bytes, {:?} needs at least {least}: make one with `openssl rand \
                 -base64 48`",
                secret.len(),
                options.algorithm
            )));
        }
        return Ok(hmac(kid.clone(), options.algorithm, secret).with_rules(auth));
    }
    let decoding = public_key(options.algorithm, bytes).map_err(unusable)?;
    let algorithm = library(options.algorithm);
    let validation = Validation::new(algorithm);
    Ok(Key { kid, algorithm, decoding, encoding: None, validation }.with_rules(auth))
}

fn read_file(kid: &str, path: &Path) -> Result<SecretSlice<u8>, KeyError> {
    let unreadable =
        |source| KeyError::Unreadable { kid: kid.to_owned(), path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > FILE_BYTES_MAX {
        let problem = format!("{} is larger than {FILE_BYTES_MAX} bytes", path.display());
        return Err(KeyError::Unusable { kid: kid.to_owned(), problem });
    }
    Ok(SecretSlice::from(std::fs::read(path).map_err(unreadable)?))
}

fn hmac(kid: String, algorithm: KeyAlgorithm, secret: &[u8]) -> Key {
    let algorithm = library(algorithm);
    Key {
        kid,
        algorithm,
        decoding: DecodingKey::from_secret(secret),
        encoding: Some(EncodingKey::from_secret(secret)),
        validation: Validation::new(algorithm),
    }
}

/// Parses a PEM public key and makes sure it is one of the algorithm's kind and curve.
fn public_key(algorithm: KeyAlgorithm, pem: &[u8]) -> Result<DecodingKey, String> {
    let text = std::str::from_utf8(pem).unwrap_or_default();
    if text.contains("PRIVATE KEY") {
        return Err(
            "the file holds a private key: give the public key only, and consider the private \
                    one leaked to this machine"
                .to_owned(),
        );
    }
    if text.contains("BEGIN CERTIFICATE") {
        return Err("the file holds a certificate: extract the key with `openssl x509 -pubkey \
                    -noout`"
            .to_owned());
    }
    let wrong = |_| format!("the file does not hold a PEM public key for {algorithm:?}");
    let rejected = |_| format!("the public key does not fit {algorithm:?}");
    let parse = |key: &DecodingKey, rules| {
        let bytes = key.try_get_as_bytes().map_err(|_| rejected(()))?;
        ParsedPublicKey::new(rules, bytes).map_err(|_| rejected(()))?;
        Ok::<usize, String>(bytes.len())
    };
    match algorithm {
        KeyAlgorithm::ES256 | KeyAlgorithm::ES384 => {
            let key = DecodingKey::from_ec_pem(pem).map_err(wrong)?;
            match algorithm {
                KeyAlgorithm::ES256 => parse(&key, &ECDSA_P256_SHA256_FIXED)?,
                _ => parse(&key, &ECDSA_P384_SHA384_FIXED)?,
            };
            Ok(key)
        }
        KeyAlgorithm::EdDSA => {
            let key = DecodingKey::from_ed_pem(pem).map_err(wrong)?;
            parse(&key, &ED25519)?;
            Ok(key)
        }
        _ => {
            let key = DecodingKey::from_rsa_pem(pem).map_err(wrong)?;
            match parse(&key, &RSA_PKCS1_2048_8192_SHA256)? {
                RSA_DER_BYTES_MIN.. => Ok(key),
                _ => Err("the RSA key has less than 2048 bits".to_owned()),
            }
        }
    }
}

/// Least bytes of an HMAC secret: the hash's output (RFC 7518 §3.2).
fn hmac_bytes_min(algorithm: KeyAlgorithm) -> usize {
    match algorithm {
        KeyAlgorithm::HS512 => 64,
        KeyAlgorithm::HS384 => 48,
        _ => 32,
    }
}

pub(super) fn library(algorithm: KeyAlgorithm) -> Algorithm {
    match algorithm {
        KeyAlgorithm::HS256 => Algorithm::HS256,
        KeyAlgorithm::HS384 => Algorithm::HS384,
        KeyAlgorithm::HS512 => Algorithm::HS512,
        KeyAlgorithm::RS256 => Algorithm::RS256,
        KeyAlgorithm::RS384 => Algorithm::RS384,
        KeyAlgorithm::RS512 => Algorithm::RS512,
        KeyAlgorithm::PS256 => Algorithm::PS256,
        KeyAlgorithm::ES256 => Algorithm::ES256,
        KeyAlgorithm::ES384 => Algorithm::ES384,
        KeyAlgorithm::EdDSA => Algorithm::EdDSA,
    }
}
