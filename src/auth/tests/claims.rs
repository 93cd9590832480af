//! Times, issuer, audience, sizes, revocation: each claim by itself.

use serde_json::{Value, json};

use super::forge::{self, SECRET, claims_with, token};
use super::*;

fn bench() -> Bench {
    Bench::new(vec![secret_key("k", KeyAlgorithm::HS256, SECRET)])
}

fn refused(changes: Value) -> AuthError {
    bench()
        .verify(&token("k", "HS256", &claims_with(changes.clone())))
        .expect_err(&changes.to_string())
}

fn accepted(changes: Value) -> Caller {
    bench().verify(&token("k", "HS256", &claims_with(changes))).unwrap()
}

#[test]
fn expiry_is_exact_up_to_the_leeway_also_for_remembered_tokens() {
    let bench = bench();
    let leeway = options().leeway_seconds as i64;
    let token = token("k", "HS256", &forge::claims());
    bench.verify(&token).unwrap();
    bench.wait(3600 + leeway - 1);
    bench.verify(&token).unwrap();
    bench.wait(1);
    assert_eq!(bench.verify(&token).unwrap_err(), AuthError::Expired { seconds_ago: leeway });
}

#[test]
fn not_before_and_issued_at_must_not_lie_ahead() {
    let leeway = options().leeway_seconds as i64;
    accepted(json!({ "nbf": NOW + leeway }));
    assert!(matches!(refused(json!({ "nbf": NOW + leeway + 1 })), AuthError::NotYetValid { .. }));
    assert!(matches!(refused(json!({ "iat": NOW + leeway + 1 })), AuthError::NotYetValid { .. }));
    let bench = bench();
    let token = token("k", "HS256", &claims_with(json!({ "nbf": NOW + 100 })));
    assert!(bench.verify(&token).is_err());
    bench.wait(100);
    bench.verify(&token).unwrap();
}

#[test]
fn issuer_and_audience_must_be_ours() {
    for changes in [json!({ "iss": "evil" }), json!({ "iss": null }), json!({ "iss": 1 })] {
        assert_eq!(refused(changes), AuthError::WrongIssuer);
    }
    for changes in [
        json!({ "aud": "other" }),
        json!({ "aud": null }),
        json!({ "aud": [] }),
        json!({ "aud": ["other"] }),
        json!({ "aud": 7 }),
    ] {
        assert_eq!(refused(changes), AuthError::WrongAudience);
    }
    accepted(json!({ "aud": ["other", "ultimate-mcp"] }));
}

#[test]
fn a_token_that_lives_too_long_is_not_accepted_however_it_is_signed() {
    let max = options().token_ttl_seconds_max as i64;
    accepted(json!({ "exp": NOW + max }));
    assert!(matches!(refused(json!({ "exp": NOW + max + 1 })), AuthError::LifetimeTooLong { .. }));
    assert!(matches!(
        refused(json!({ "exp": 9_000_000_000_000_000i64 })),
        AuthError::LifetimeTooLong { .. }
    ));
    assert!(matches!(refused(json!({ "exp": 1e300 })), AuthError::BadClaim(_)));
    assert!(matches!(refused(json!({ "iat": i64::MIN })), AuthError::LifetimeTooLong { .. }));
    assert!(matches!(refused(json!({ "exp": -1 })), AuthError::BadClaim(_)));
    assert!(matches!(refused(json!({ "exp": 1 })), AuthError::Expired { .. }));
}

#[test]
fn missing_mistyped_and_oversized_claims_are_refused() {
    for changes in [
        json!({ "sub": null }),
        json!({ "sub": "" }),
        json!({ "sub": " ada" }),
        json!({ "sub": "a\nb" }),
        json!({ "sub": "x".repeat(257) }),
        json!({ "sub": 5 }),
        json!({ "exp": null }),
        json!({ "exp": "tomorrow" }),
        json!({ "iat": null }),
        json!({ "iat": "now" }),
        json!({ "roles": "admin" }),
        json!({ "roles": [1] }),
        json!({ "roles": [""] }),
        json!({ "roles": ["a b"] }),
        json!({ "roles": vec!["r"; 33] }),
        json!({ "roles": ["r".repeat(65)] }),
        json!({ "jti": "" }),
        json!({ "jti": "j".repeat(129) }),
        json!({ "nbf": "never" }),
    ] {
        assert!(matches!(refused(changes.clone()), AuthError::BadClaim(_)), "{changes}");
    }
}

#[test]
fn a_token_without_roles_has_none() {
    assert!(accepted(json!({ "roles": null })).roles().is_empty());
    assert_eq!(accepted(json!({ "jti": null })).token_id(), None);
}

#[test]
fn fractions_of_seconds_are_dates_too() {
    assert_eq!(accepted(json!({ "exp": NOW as f64 + 3600.75 })).expires_at(), NOW + 3630);
}

#[test]
fn revocation_works_at_once_also_for_remembered_tokens() {
    let bench = bench();
    let token = token("k", "HS256", &forge::claims());
    bench.verify(&token).unwrap();
    bench.standing.tokens.lock().unwrap().insert("token-1".to_owned());
    assert_eq!(bench.verify(&token).unwrap_err(), AuthError::Revoked);
    bench.standing.tokens.lock().unwrap().clear();
    *bench.standing.users_before.lock().unwrap() = Some(NOW);
    assert_eq!(bench.verify(&token).unwrap_err(), AuthError::Revoked);
}

#[test]
fn replacing_the_keys_ends_remembered_tokens() {
    let bench = bench();
    let old = token("k", "HS256", &forge::claims());
    bench.verify(&old).unwrap();
    let key = secret_key("k", KeyAlgorithm::HS256, b"another-secret-another-secret-32");
    let options = AuthOptions { keys: vec![key], ..options() };
    bench.authenticator.replace_keys(KeyRing::configured(&options).unwrap());
    assert_eq!(bench.verify(&old).unwrap_err(), AuthError::BadSignature);
}

#[test]
fn clients_learn_how_to_go_on_but_nothing_about_keys() {
    let bland = AuthError::BadSignature.public();
    for same in [
        AuthError::UnknownKey,
        AuthError::WrongAlgorithm,
        AuthError::Malformed("header"),
        AuthError::TooLarge { bytes: 9, max: 8 },
        AuthError::WrongIssuer,
        AuthError::BadClaim("sub"),
    ] {
        assert_eq!(same.public(), bland);
    }
    assert!(AuthError::Expired { seconds_ago: 1 }.public().contains("expired"));
    assert!(AuthError::Missing.public().contains("Authorization: Bearer"));
    let api = crate::error::ApiError::from(AuthError::Expired { seconds_ago: 1 });
    assert_eq!(api.code, crate::error::Code::Unauthenticated);
    let api = crate::error::ApiError::from(AuthError::BadHeader("x"));
    assert_eq!(api.code.http(), 400);
}
