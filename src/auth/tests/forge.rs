//! Keys and tokens made outside the code under test, by aws-lc and by hand.

use std::path::PathBuf;
use std::sync::LazyLock;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use aws_lc_rs::{hmac, signature};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::NOW;

/// 64 bytes: enough for HS512.
pub const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Public keys as PEM, in files that live as long as the tests.
pub struct Pairs {
    pub dir: tempfile::TempDir,
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

/// RSA keys take long to make: once for all tests.
pub static PAIRS: LazyLock<Pairs> = LazyLock::new(|| {
    let ec = |algorithm: &'static EcdsaSigningAlgorithm| {
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
        EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref()).unwrap()
    };
    let pairs = Pairs {
        dir: tempfile::tempdir().unwrap(),
        rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
        p256: ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
        p384: ec(&ECDSA_P384_SHA384_FIXED_SIGNING),
        ed: Ed25519KeyPair::generate().unwrap(),
    };
    let write = |name: &str, der: &[u8]| {
        std::fs::write(pairs.dir.path().join(name), pem("PUBLIC KEY", der)).unwrap();
    };
    write("rsa.pem", pairs.rsa.public_key().as_der().unwrap().as_ref());
    write("p256.pem", pairs.p256.public_key().as_der().unwrap().as_ref());
    write("p384.pem", pairs.p384.public_key().as_der().unwrap().as_ref());
    write("ed.pem", pairs.ed.public_key().as_der().unwrap().as_ref());
    let private: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pairs.rsa.as_der().unwrap();
    let private = pem("PRIVATE KEY", private.as_ref());
    std::fs::write(pairs.dir.path().join("rsa-private.pem"), private).unwrap();
    pairs
});

pub fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> =
        body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The PEM file of the public key for an algorithm.
pub fn pem_file(alg: &str) -> PathBuf {
    let name = match alg {
        "ES256" => "p256.pem",
        "ES384" => "p384.pem",
        "EdDSA" => "ed.pem",
        _ => "rsa.pem",
    };
    PAIRS.dir.path().join(name)
}

/// Signs as the named algorithm does, whatever the header says.
pub fn sign(alg: &str, message: &[u8]) -> Vec<u8> {
    let random = SystemRandom::new();
    let rsa = |encoding: &'static dyn RsaEncoding| {
        let mut bytes = vec![0; PAIRS.rsa.public_modulus_len()];
        PAIRS.rsa.sign(encoding, &random, message, &mut bytes).unwrap();
        bytes
    };
    match alg {
        "HS256" => hmac_with(hmac::HMAC_SHA256, SECRET, message),
        "HS384" => hmac_with(hmac::HMAC_SHA384, SECRET, message),
        "HS512" => hmac_with(hmac::HMAC_SHA512, SECRET, message),
        "RS256" => rsa(&RSA_PKCS1_SHA256),
        "RS384" => rsa(&RSA_PKCS1_SHA384),
        "RS512" => rsa(&RSA_PKCS1_SHA512),
        "PS256" => rsa(&RSA_PSS_SHA256),
        "ES256" => PAIRS.p256.sign(&random, message).unwrap().as_ref().to_vec(),
        "ES384" => PAIRS.p384.sign(&random, message).unwrap().as_ref().to_vec(),
        "EdDSA" => signature::Signature::as_ref(&PAIRS.ed.sign(message)).to_vec(),
        other => panic!("no such algorithm: {other}"),
    }
}

pub fn hmac_with(algorithm: hmac::Algorithm, key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(algorithm, key), message).as_ref().to_vec()
}

/// Claims that are good now.
pub fn claims() -> Value {
    json!({
        "sub": "ada", "roles": ["developer"], "iss": "ultimate-mcp", "aud": "ultimate-mcp",
        "iat": NOW, "exp": NOW + 3600, "jti": "token-1",
    })
}

/// Claims with some replaced; `null` takes one out.
pub fn claims_with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

/// `header.claims`, ready to be signed.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// A token with this header, signed with the key of `alg`.
pub fn token_with(header: &Value, claims: &Value, alg: &str) -> String {
    let message = unsigned(header, claims);
    attach(&message, &sign(alg, message.as_bytes()))
}

/// A proper token.
pub fn token(kid: &str, alg: &str, claims: &Value) -> String {
    token_with(&json!({ "alg": alg, "kid": kid, "typ": "JWT" }), claims, alg)
}

pub fn attach(message: &str, signature: &[u8]) -> String {
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}
