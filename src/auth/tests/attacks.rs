//! Forgeries, each by name, and what becomes of them.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::json;

use super::forge::{self, SECRET, attach, claims, token, token_with, unsigned};
use super::*;

const ALGORITHMS: &[(&str, KeyAlgorithm)] = &[
    ("HS256", KeyAlgorithm::HS256),
    ("HS384", KeyAlgorithm::HS384),
    ("HS512", KeyAlgorithm::HS512),
    ("RS256", KeyAlgorithm::RS256),
    ("RS384", KeyAlgorithm::RS384),
    ("RS512", KeyAlgorithm::RS512),
    ("PS256", KeyAlgorithm::PS256),
    ("ES256", KeyAlgorithm::ES256),
    ("ES384", KeyAlgorithm::ES384),
    ("EdDSA", KeyAlgorithm::EdDSA),
];

fn key(name: &str, algorithm: KeyAlgorithm) -> KeyOptions {
    match algorithm.is_hmac() {
        true => secret_key(name, algorithm, SECRET),
        false => public_key(name, algorithm, forge::pem_file(name)),
    }
}

fn hs256() -> Bench {
    Bench::new(vec![secret_key("k", KeyAlgorithm::HS256, SECRET)])
}

#[test]
fn every_algorithm_accepts_its_own_signature_and_no_changed_one() {
    for &(alg, algorithm) in ALGORITHMS {
        let bench = Bench::new(vec![key(alg, algorithm)]);
        let good = token(alg, alg, &claims());
        let caller = bench.verify(&good).unwrap_or_else(|error| panic!("{alg}: {error}"));
        assert_eq!((caller.id().as_str(), caller.roles()), ("ada", &["developer".to_owned()][..]));

        let (message, signature) = good.rsplit_once('.').unwrap();
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        bytes[7] ^= 1;
        assert_eq!(bench.verify(&attach(message, &bytes)).unwrap_err(), AuthError::BadSignature);
        assert_eq!(bench.verify(&attach(message, b"")).unwrap_err(), AuthError::BadSignature);
        // The claims changed, the signature kept.
        let header = json!({ "alg": alg, "kid": alg, "typ": "JWT" });
        let raised = unsigned(&header, &forge::claims_with(json!({ "roles": ["admin"] })));
        let raised = format!("{raised}.{signature}");
        assert_eq!(bench.verify(&raised).unwrap_err(), AuthError::BadSignature, "{alg}");
    }
}

#[test]
fn a_key_is_used_with_the_algorithm_it_is_pinned_to_and_no_other() {
    let keys = ALGORITHMS.iter().map(|&(alg, algorithm)| key(alg, algorithm)).collect();
    let bench = Bench::new(keys);
    for &(pinned, _) in ALGORITHMS {
        for &(asked, _) in ALGORITHMS.iter().filter(|(asked, _)| *asked != pinned) {
            // A signature that is good for the algorithm asked for, under another key's name.
            let error = bench.verify(&token(pinned, asked, &claims())).unwrap_err();
            assert_eq!(error, AuthError::WrongAlgorithm, "key {pinned}, token {asked}");
        }
    }
}

#[test]
fn an_rsa_public_key_is_never_taken_for_an_hmac_secret() {
    let bench = Bench::new(vec![public_key("rsa", KeyAlgorithm::RS256, forge::pem_file("RS256"))]);
    let pem = std::fs::read(forge::pem_file("RS256")).unwrap();
    let trimmed = pem.trim_ascii_end().to_vec();
    let der = URL_SAFE_NO_PAD.decode("AAAA").unwrap();
    for secret in [pem, trimmed, der] {
        for header in [json!({ "alg": "HS256", "kid": "rsa" }), json!({ "alg": "HS256" })] {
            let message = unsigned(&header, &claims());
            let forged =
                attach(&message, &forge::hmac_with(hmac::HMAC_SHA256, &secret, message.as_bytes()));
            let error = bench.verify(&forged).unwrap_err();
            assert!(matches!(error, AuthError::WrongAlgorithm | AuthError::UnknownKey), "{error}");
        }
    }
    // Nor does the configuration take a PEM file for a secret.
    let mut options = secret_key("k", KeyAlgorithm::HS256, SECRET);
    options.secret = None;
    options.secret_file = Some(forge::pem_file("RS256"));
    let auth = AuthOptions { keys: vec![options], ..super::options() };
    let errors = KeyRing::configured(&auth).unwrap_err();
    assert!(errors[0].to_string().contains("PEM"), "{}", errors[0]);
}

#[test]
fn none_is_not_an_algorithm_in_any_spelling() {
    let bench = hs256();
    for alg in ["none", "None", "NONE", "nOnE", "", "null", "HS257", "hs256", "HS256 "] {
        for kid in [json!("k"), json!(null)] {
            let message = unsigned(&json!({ "alg": alg, "kid": kid }), &claims());
            for forged in [format!("{message}."), attach(&message, b"x"), message.clone()] {
                assert!(bench.verify(&forged).is_err(), "{alg}: {forged}");
            }
            let forged = format!("{message}.");
            assert_eq!(bench.verify(&forged).unwrap_err(), AuthError::WrongAlgorithm, "{alg}");
        }
    }
}

#[test]
fn a_kid_is_a_name_and_never_a_path_a_query_or_a_link() {
    let bench = hs256();
    for kid in [
        "../../../../dev/null",
        "/dev/null",
        "k\u{0}",
        "K",
        "",
        "k' OR '1'='1",
        "http://evil.example/key",
        "kk",
        &"k".repeat(5000),
    ] {
        // Signed with what such a lookup might yield: nothing, and the file's content.
        for secret in [&b""[..], SECRET] {
            let message = unsigned(&json!({ "alg": "HS256", "kid": kid }), &claims());
            let forged =
                attach(&message, &forge::hmac_with(hmac::HMAC_SHA256, secret, message.as_bytes()));
            assert_eq!(bench.verify(&forged).unwrap_err(), AuthError::UnknownKey, "{kid:?}");
        }
    }
}

#[test]
fn keys_inside_or_linked_from_the_header_are_never_used() {
    let bench = hs256();
    let jwk =
        json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode("attacker-attacker-attacker-32-by") });
    let header = json!({
        "alg": "HS256", "kid": "k", "jwk": jwk, "jku": "http://evil.example/jwks",
        "x5u": "http://evil.example/x", "x5c": ["AAAA"],
    });
    let message = unsigned(&header, &claims());
    let secret = b"attacker-attacker-attacker-32-by";
    let forged = attach(&message, &forge::hmac_with(hmac::HMAC_SHA256, secret, message.as_bytes()));
    assert_eq!(bench.verify(&forged).unwrap_err(), AuthError::BadSignature);
}

#[test]
fn critical_extensions_and_other_kinds_of_jwt_are_refused() {
    let bench = hs256();
    for extra in [
        json!({ "crit": ["b64"], "b64": false }),
        json!({ "crit": [] }),
        json!({ "typ": "dpop+jwt" }),
        json!({ "typ": "logout+jwt" }),
    ] {
        let mut header = json!({ "alg": "HS256", "kid": "k" });
        header.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let error = bench.verify(&token_with(&header, &claims(), "HS256")).unwrap_err();
        assert!(matches!(error, AuthError::Malformed(_)), "{extra}: {error}");
    }
    for typ in ["jwt", "JWT", "at+JWT"] {
        let header = json!({ "alg": "HS256", "kid": "k", "typ": typ });
        bench.verify(&token_with(&header, &claims(), "HS256")).unwrap();
    }
}

#[test]
fn a_token_without_kid_needs_exactly_one_key_of_its_algorithm() {
    let other = b"another-secret-another-secret-32";
    let nameless = token_with(&json!({ "alg": "HS256" }), &claims(), "HS256");
    let one = Bench::new(vec![
        secret_key("a", KeyAlgorithm::HS256, SECRET),
        public_key("r", KeyAlgorithm::RS256, forge::pem_file("RS256")),
    ]);
    assert!(one.verify(&nameless).is_ok());
    let two = Bench::new(vec![
        secret_key("a", KeyAlgorithm::HS256, SECRET),
        secret_key("b", KeyAlgorithm::HS256, other),
    ]);
    assert_eq!(two.verify(&nameless).unwrap_err(), AuthError::UnknownKey);
    let none = Bench::new(vec![secret_key("a", KeyAlgorithm::HS512, SECRET)]);
    assert_eq!(none.verify(&nameless).unwrap_err(), AuthError::UnknownKey);
}

#[test]
fn huge_and_misshapen_tokens_are_refused_before_anything_is_computed() {
    let bench = hs256();
    let good = token("k", "HS256", &claims());
    let huge = format!("{good}{}", "A".repeat(20_000));
    assert!(matches!(bench.verify(&huge).unwrap_err(), AuthError::TooLarge { .. }));
    let padded = format!("{good}=");
    let (head, rest) = good.split_once('.').unwrap();
    for bad in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        &padded,
        &format!("{good}."),
        &format!("{good}.x"),
        &format!(".{rest}"),
        &format!("{head}\n.{rest}"),
        &format!(" {good}"),
        &format!("{}.{rest}", URL_SAFE_NO_PAD.encode("[]")),
        &format!("{}.{rest}", URL_SAFE_NO_PAD.encode("{\"alg\":\"HS256\",\"alg\":\"none\"}")),
        &format!("{}.{rest}", URL_SAFE_NO_PAD.encode("[".repeat(3000))),
    ] {
        let error = bench.verify(bad).unwrap_err();
        assert!(
            matches!(error, AuthError::Malformed(_) | AuthError::BadSignature),
            "{bad}: {error}"
        );
    }
}

#[test]
fn weak_and_foreign_key_material_is_refused_at_start() {
    let refused = |options: KeyOptions| {
        let auth = AuthOptions { keys: vec![options], ..super::options() };
        KeyRing::configured(&auth).expect_err("must be refused")[0].to_string()
    };
    let short = |alg, bytes: usize| refused(secret_key("k", alg, &SECRET[..bytes]));
    assert!(short(KeyAlgorithm::HS256, 31).contains("at least 32"));
    assert!(short(KeyAlgorithm::HS384, 47).contains("at least 48"));
    assert!(short(KeyAlgorithm::HS512, 63).contains("at least 64"));
    let file = |alg, name: &str| refused(public_key("k", alg, forge::PAIRS.dir.path().join(name)));
    assert!(file(KeyAlgorithm::RS256, "rsa-private.pem").contains("private key"));
    assert!(file(KeyAlgorithm::RS256, "missing.pem").contains("cannot read"));
    for (alg, name) in [
        (KeyAlgorithm::RS256, "p256.pem"),
        (KeyAlgorithm::ES256, "p384.pem"),
        (KeyAlgorithm::ES384, "p256.pem"),
        (KeyAlgorithm::ES256, "rsa.pem"),
        (KeyAlgorithm::ES256, "ed.pem"),
        (KeyAlgorithm::EdDSA, "p256.pem"),
    ] {
        let said = file(alg, name);
        assert!(said.contains("does not"), "{alg:?} {name}: {said}");
    }
    let weak = forge::PAIRS.dir.path().join("rsa1024.pem");
    std::fs::write(&weak, RSA_1024).unwrap();
    let said = refused(public_key("k", KeyAlgorithm::RS256, weak));
    assert!(said.contains("2048") || said.contains("does not fit"), "{said}");
}

/// A public key of 1024 bits, made with `openssl genrsa 1024`.
const RSA_1024: &str = include_str!("rsa1024.pem");

proptest! {
    #[test]
    fn verify_never_panics_on_any_text(text in "\\PC{0,300}") {
        prop_assert!(hs256().verify(&text).is_err());
    }

    #[test]
    fn verify_never_panics_on_any_parts(
        head in proptest::collection::vec(any::<u8>(), 0..80),
        body in proptest::collection::vec(any::<u8>(), 0..80),
        signature in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let token = format!("{}.{}.{}", part(&head), part(&body), part(&signature));
        prop_assert!(hs256().verify(&token).is_err());
    }

    #[test]
    fn a_good_token_with_one_byte_changed_is_never_accepted(at in 0usize..1000, to in 33u8..127) {
        let bench = hs256();
        let good = token("k", "HS256", &claims());
        let mut bytes = good.clone().into_bytes();
        let at = at % bytes.len();
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        let changed = String::from_utf8(bytes).unwrap();
        prop_assert!(bench.verify(&changed).is_err(), "{changed}");
        // Nor after the good one is remembered.
        prop_assert!(bench.verify(&good).is_ok());
        prop_assert!(bench.verify(&changed).is_err());
    }

    #[test]
    fn signed_claims_of_any_kind_never_panic(claims in "\\PC{0,200}") {
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(json!({ "alg": "HS256", "kid": "k" }).to_string()),
            URL_SAFE_NO_PAD.encode(claims),
        );
        let token = attach(&message, &forge::sign("HS256", message.as_bytes()));
        prop_assert!(hs256().verify(&token).is_err());
    }
}
