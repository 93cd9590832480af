//! A JSON Web Key Set (RFC 7517) of somebody else, read with suspicion.
//!
//! Called by the fetcher only. Takes the keys that can verify what the issuer may sign and passes over
//! all others: shared secrets, encryption keys, weak RSA, curves that do not fit the algorithm. Refuses
//! documents that are no set, too many keys, and sets in which nothing is of use.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// Most keys of a set, used or not; providers publish two to four.
pub const KEYS_MAX: usize = 64;

/// Longest `kid`, in bytes.
const KID_BYTES_MAX: usize = 256;

/// Bytes of an RSA modulus: 2048 bits (RFC 7518 §3.3) to 8192, the most the verifier takes.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// One public key of an issuer.
pub(super) struct IssuerKey {
    pub kid: Option<String>,
    /// What it may verify: its own `alg`, or what its kind fits, of those the issuer may use.
    pub algorithms: Vec<Algorithm>,
    pub decoding: DecodingKey,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

/// The keys of the document that may be used with one of `allowed`.
///
/// # Errors
/// No key set, more than [`KEYS_MAX`] keys, or none of use; says which.
pub(super) fn parse(document: &[u8], allowed: &[Algorithm]) -> Result<Vec<IssuerKey>, String> {
    let document: Document =
        serde_json::from_slice(document).map_err(|_| "the answer is no JSON Web Key Set")?;
    if document.keys.len() > KEYS_MAX {
        return Err(format!("the set has more than {KEYS_MAX} keys"));
    }
    let keys: Vec<IssuerKey> =
        document.keys.into_iter().filter_map(|key| usable(key, allowed)).collect();
    match keys.is_empty() {
        true => Err("the set has no key that fits auth.issuers[].algorithms".to_owned()),
        false => Ok(keys),
    }
}

fn usable(key: Value, allowed: &[Algorithm]) -> Option<IssuerKey> {
    let jwk: Jwk = serde_json::from_value(key).ok()?;
    let common = &jwk.common;
    if common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
        return None;
    }
    let fitting: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            let modulus = URL_SAFE_NO_PAD.decode(&rsa.n).ok()?;
            let significant = modulus.iter().skip_while(|byte| **byte == 0).count();
            if !RSA_BYTES.contains(&significant) {
                return None;
            }
            &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256]
        }
        AlgorithmParameters::EllipticCurve(ec) => match ec.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            &[Algorithm::EdDSA]
        }
        // A shared secret that is published is none, and the rest nobody here understands.
        _ => return None,
    };
    // The names of both enums are those of RFC 7518, so a comparison by name is one of meaning.
    let own = common.key_algorithm.map(|algorithm| algorithm.to_string());
    let algorithms: Vec<Algorithm> = fitting
        .iter()
        .filter(|algorithm| allowed.contains(algorithm))
        .filter(|algorithm| own.as_ref().is_none_or(|own| *own == format!("{algorithm:?}")))
        .copied()
        .collect();
    let kid = common.key_id.clone();
    if algorithms.is_empty() || kid.as_ref().is_some_and(|kid| kid.len() > KID_BYTES_MAX) {
        return None;
    }
    let decoding = DecodingKey::from_jwk(&jwk).ok()?;
    Some(IssuerKey { kid, algorithms, decoding })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const ALL: &[Algorithm] = &[Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

    fn ed25519(extra: Value) -> Value {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"; // RFC 8037, appendix A.2
        let mut key = json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "k" });
        key.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        key
    }

    fn count(keys: Value) -> Option<usize> {
        parse(json!({ "keys": keys }).to_string().as_bytes(), ALL).ok().map(|keys| keys.len())
    }

    #[test]
    fn keys_of_no_use_are_passed_over_and_the_others_kept() {
        let short = URL_SAFE_NO_PAD.encode([255u8; 128]);
        let weak = json!({ "kty": "RSA", "kid": "weak", "n": short, "e": "AQAB" });
        let secret = json!({ "kty": "oct", "kid": "s", "k": "c2VjcmV0" });
        let encrypts = ed25519(json!({ "use": "enc" }));
        let other = ed25519(json!({ "alg": "RS256" }));
        let good = ed25519(json!({ "use": "sig", "alg": "EdDSA" }));
        let none = [weak, secret, encrypts, other, json!(7), json!({ "kty": "LMS" })];
        assert_eq!(count(json!(none)), None);
        let mut keys = none.to_vec();
        keys.push(good);
        assert_eq!(count(json!(keys)), Some(1));
    }

    #[test]
    fn a_set_with_too_many_keys_is_refused() {
        assert_eq!(count(json!(vec![ed25519(json!({})); KEYS_MAX])), Some(KEYS_MAX));
        assert_eq!(count(json!(vec![ed25519(json!({})); KEYS_MAX + 1])), None);
    }

    proptest! {
        #[test]
        fn no_hostile_document_panics_or_yields_more_keys_than_it_holds(
            kty in "RSA|EC|OKP|oct|[a-z]{0,4}",
            crv in "P-256|P-384|P-521|Ed25519|[a-z]{0,4}",
            a in "[A-Za-z0-9_=+/-]{0,400}",
            b in "\\PC{0,40}",
            alg in "RS256|ES256|EdDSA|HS256|none|\\PC{0,8}",
        ) {
            let key = json!({ "kty": kty, "crv": crv, "n": a, "e": b, "x": a, "y": b, "k": a,
                "alg": alg, "kid": b });
            prop_assert!(count(json!([key])).unwrap_or(0) <= 1);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            prop_assert!(parse(&bytes, ALL).is_err());
        }
    }
}
