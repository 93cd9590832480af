//! What is promised about tokens of other issuers, with real Ed25519 signatures.

use std::sync::atomic::AtomicI64 as Clock;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;
use ultimate_mcp_actors::ids::CallerId;

use super::*;
use crate::auth::{Authenticator, Caller, KeyRing, Standing};
use crate::config::{Inputs, load};

const NOW: i64 = 1_893_456_000;
const URL: &str = "https://login.example.org";

struct Everybody;

impl Standing for Everybody {
    fn is_revoked(&self, _: Option<&str>, _: &CallerId, _: i64) -> bool {
        false
    }

    fn effective_roles(&self, _: &CallerId, roles: &[String]) -> Arc<[String]> {
        roles.into()
    }
}

/// A provider's key and the set it publishes.
struct Provider {
    key: EncodingKey,
    kid: &'static str,
    set: Vec<u8>,
}

impl Provider {
    fn new(kid: &'static str) -> Self {
        let document = Ed25519KeyPair::generate().unwrap();
        let pkcs8 = document.to_pkcs8().unwrap();
        let x = URL_SAFE_NO_PAD.encode(document.public_key().as_ref());
        let key = json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": kid, "x": x });
        let set = json!({ "keys": [key] }).to_string().into_bytes();
        Self { key: EncodingKey::from_ed_der(pkcs8.as_ref()), kid, set }
    }

    fn sign(&self, change: Value) -> String {
        let mut claims = json!({ "iss": URL, "aud": "mcp", "sub": "ada", "iat": NOW,
            "exp": NOW + 600, "scope": "read unmapped" });
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.kid.to_owned());
        header.typ = Some("at+jwt".to_owned());
        jsonwebtoken::encode(&header, &claims, &self.key).unwrap()
    }
}

struct Bench {
    authenticator: Authenticator,
    now: Arc<Clock>,
}

impl Bench {
    fn new() -> Self {
        let mut options = load(&Inputs::default()).unwrap().config.auth;
        let issuer = |name: &str, url: &str| {
            let value = json!({ "name": name, "issuer": url, "audience": "mcp",
                "algorithms": ["EdDSA"], "roles_claim": "scope", "roles": { "read": "viewer" } });
            serde_json::from_value(value).unwrap()
        };
        options.issuers = vec![issuer("corp", URL), issuer("other", "https://other.example.org")];
        let own = json!({ "kid": "own", "algorithm": "HS256", "secret": "s".repeat(32) });
        options.keys = vec![serde_json::from_value(own).unwrap()];
        let ring = KeyRing::configured(&options).unwrap();
        let now = Arc::new(Clock::new(NOW));
        let clock = Arc::clone(&now);
        let clock = Arc::new(move || clock.load(Ordering::Relaxed));
        Self { authenticator: Authenticator::with_clock(options, ring, clock), now }
    }

    fn publish(&self, index: usize, provider: &Provider) {
        let issuer = &self.authenticator.issuers().0[index];
        let keys = jwks::parse(&provider.set, issuer.algorithms()).unwrap();
        let digest = String::from_utf8(provider.set.clone()).unwrap();
        issuer.install(keys, &digest, self.now.load(Ordering::Relaxed));
    }

    fn verify(&self, token: &str) -> Result<Caller, AuthError> {
        self.authenticator.verify(token, &Everybody)
    }

    fn wait(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::Relaxed);
    }
}

fn reason(result: Result<Caller, AuthError>) -> &'static str {
    result.map_or_else(|error| error.reason(), |_| "accepted")
}

#[test]
fn a_token_of_an_issuer_is_its_caller_with_mapped_roles_only() {
    let (bench, provider) = (Bench::new(), Provider::new("a"));
    bench.publish(0, &provider);
    let caller = bench.verify(&provider.sign(json!({}))).unwrap();
    assert_eq!((caller.id().as_str(), caller.roles()), ("corp|ada", &["viewer".to_owned()][..]));
    let boast = provider.sign(json!({ "scope": "admin", "roles": ["admin"] }));
    assert!(bench.verify(&boast).unwrap().roles().is_empty());
}

#[test]
fn the_same_sub_of_two_issuers_is_two_callers() {
    let (bench, one, two) = (Bench::new(), Provider::new("a"), Provider::new("a"));
    bench.publish(0, &one);
    bench.publish(1, &two);
    let other = json!({ "iss": "https://other.example.org" });
    let ada = bench.verify(&one.sign(json!({}))).unwrap();
    let namesake = bench.verify(&two.sign(other.clone())).unwrap();
    assert_ne!(ada.id(), namesake.id());
    assert_eq!(reason(bench.verify(&one.sign(other))), "bad_signature");
}

#[test]
fn tokens_that_say_something_else_are_refused_for_it() {
    let (bench, provider) = (Bench::new(), Provider::new("a"));
    bench.publish(0, &provider);
    for (change, expected) in [
        (json!({}), "accepted"),
        (json!({ "aud": "elsewhere" }), "wrong_audience"),
        (json!({ "aud": null }), "wrong_audience"),
        (json!({ "exp": NOW - 600, "iat": NOW - 1200 }), "expired"),
        (json!({ "nbf": NOW + 600, "exp": NOW + 900 }), "not_yet_valid"),
        (json!({ "sub": "" }), "bad_claim"),
        (json!({ "sub": "a\nb" }), "bad_claim"),
        (json!({ "iss": "https://login.example.org/" }), "unknown_key"),
    ] {
        let found = reason(bench.verify(&provider.sign(change.clone())));
        assert_eq!(found, expected, "{change}");
    }
}

#[test]
fn neither_none_nor_a_public_key_as_secret_signs_for_an_issuer() {
    let (bench, provider) = (Bench::new(), Provider::new("a"));
    bench.publish(0, &provider);
    let good = provider.sign(json!({}));
    let payload = good.split('.').nth(1).unwrap();
    let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":"a"}"#);
    assert_eq!(reason(bench.verify(&format!("{head}.{payload}."))), "wrong_algorithm");
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("a".to_owned());
    let confused =
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(&provider.set)).unwrap();
    assert_eq!(reason(bench.verify(&confused)), "wrong_algorithm");
}

#[test]
fn rotation_ends_the_tokens_of_the_old_key_at_once() {
    let (bench, old, new) = (Bench::new(), Provider::new("a"), Provider::new("b"));
    bench.publish(0, &old);
    let (before, after) = (old.sign(json!({})), new.sign(json!({})));
    assert_eq!(reason(bench.verify(&before)), "accepted");
    // Unknown: a fetch is asked for, and the token's owner told to come back.
    assert_eq!(reason(bench.verify(&after)), "keys_unavailable");
    bench.publish(0, &new);
    assert_eq!(reason(bench.verify(&after)), "accepted");
    assert_eq!(reason(bench.verify(&before)), "unknown_key");
}

#[test]
fn unknown_keys_cause_one_fetch_in_ten_seconds_however_many_come() {
    let (bench, known, garbage) = (Bench::new(), Provider::new("a"), Provider::new("z"));
    bench.publish(0, &known);
    let issuer = Arc::clone(&bench.authenticator.issuers().0[0]);
    let token = garbage.sign(json!({}));
    let asked = || issuer.pending.swap(false, Ordering::Relaxed);
    assert_eq!(reason(bench.verify(&token)), "keys_unavailable");
    assert!(asked());
    for _ in 0..100 {
        assert_eq!(reason(bench.verify(&token)), "unknown_key");
    }
    assert!(!asked());
    bench.wait(ASK_SECONDS_MIN);
    assert_eq!(reason(bench.verify(&token)), "keys_unavailable");
    assert!(asked());
}

#[test]
fn known_keys_outlive_their_issuer_for_the_configured_time() {
    let (bench, provider) = (Bench::new(), Provider::new("a"));
    let long = provider.sign(json!({ "exp": NOW + 200_000 }));
    assert_eq!(reason(bench.verify(&long)), "keys_unavailable", "none were fetched");
    bench.publish(0, &provider);
    bench.authenticator.issuers().0[0].fetch_failed("no answer".to_owned());
    bench.wait(86_400);
    assert_eq!(reason(bench.verify(&long)), "accepted");
    bench.wait(1);
    assert_eq!(reason(bench.verify(&long)), "keys_unavailable", "also a token remembered");
    bench.publish(0, &provider);
    assert_eq!(reason(bench.verify(&long)), "accepted");
}

#[test]
fn a_token_of_our_own_cannot_carry_the_id_of_an_issuers_caller() {
    let bench = Bench::new();
    let claims = json!({ "iss": "ultimate-mcp", "aud": "ultimate-mcp", "sub": "corp|ada",
        "iat": NOW, "exp": NOW + 600 });
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("own".to_owned());
    let key = EncodingKey::from_secret("s".repeat(32).as_bytes());
    let token = jsonwebtoken::encode(&header, &claims, &key).unwrap();
    assert_eq!(reason(bench.verify(&token)), "bad_claim");
}
