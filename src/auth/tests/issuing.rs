//! Tokens of our own: they verify, they are bounded, and refreshing gives nobody anything.

use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::{Map, json};
use ultimate_mcp_actors::ids::CallerId;

use super::forge::{self, SECRET, claims_with, token};
use super::*;

fn bench() -> Bench {
    Bench::new(vec![
        public_key("idp", KeyAlgorithm::RS256, forge::pem_file("RS256")),
        secret_key("k", KeyAlgorithm::HS256, SECRET),
    ])
}

fn request(roles: &[&str]) -> IssueRequest {
    IssueRequest {
        sub: CallerId::parse("ada").unwrap(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        ttl: None,
        custom: Map::new(),
    }
}

#[test]
fn an_issued_token_verifies_and_says_what_was_asked_for() {
    let bench = bench();
    let mut request = request(&["developer", "viewer"]);
    request.ttl = Some(Duration::from_secs(600));
    let issued = bench.authenticator.issue(request).unwrap();
    let caller = bench.verify(issued.token.expose_secret()).unwrap();
    assert_eq!(caller.id().as_str(), "ada");
    assert_eq!(caller.roles(), ["developer", "viewer"]);
    assert_eq!(caller.token_id(), Some(issued.jti.as_str()));
    assert_eq!((caller.expires_at(), issued.expires_at), (NOW + 630, NOW + 600));
    assert!(!format!("{issued:?}").contains(issued.token.expose_secret()));
    let again = bench.authenticator.issue(self::request(&["viewer"])).unwrap();
    assert_ne!(again.jti, issued.jti);
    assert_eq!(again.expires_at, NOW + 86_400);
}

#[test]
fn the_instance_key_signs_and_verifies_and_is_unknown_elsewhere() {
    let make = || {
        let dir = tempfile::tempdir().unwrap();
        let ring = KeyRing::load(&options(), dir.path()).unwrap();
        Authenticator::new(options(), ring)
    };
    let (here, elsewhere) = (make(), make());
    let issued = here.issue(request(&["viewer"])).unwrap();
    here.verify(issued.token.expose_secret(), &Stub::default()).unwrap();
    let error = elsewhere.verify(issued.token.expose_secret(), &Stub::default()).unwrap_err();
    assert_eq!(error, AuthError::UnknownKey);
}

#[test]
fn what_cannot_be_issued_is_said_and_why() {
    let bench = bench();
    let issue = |change: &dyn Fn(&mut IssueRequest)| {
        let mut request = request(&["viewer"]);
        change(&mut request);
        bench.authenticator.issue(request).unwrap_err()
    };
    for seconds in [0, 9, 2_592_001, u64::MAX] {
        let error = issue(&|r| r.ttl = Some(Duration::from_secs(seconds)));
        assert!(matches!(error, IssueError::Ttl { .. }), "{seconds}: {error}");
    }
    for roles in [vec![], vec!["a b".to_owned()], vec!["r".to_owned(); 33]] {
        assert!(matches!(issue(&|r| r.roles.clone_from(&roles)), IssueError::Roles));
    }
    for name in RESERVED {
        let error = issue(&|r| drop(r.custom.insert((*name).to_owned(), json!("x"))));
        assert!(matches!(error, IssueError::Reserved(_)), "{name}: {error}");
    }
    let error = issue(&|r| drop(r.custom.insert("big".to_owned(), json!("x".repeat(3000)))));
    assert!(matches!(error, IssueError::TooLarge));
    let only_public =
        Bench::new(vec![public_key("idp", KeyAlgorithm::RS256, forge::pem_file("RS256"))]);
    let error = only_public.authenticator.issue(request(&["viewer"])).unwrap_err();
    assert!(matches!(error, IssueError::NoSigningKey));
}

#[test]
fn a_refresh_gives_the_same_roles_or_fewer_and_keeps_custom_claims() {
    let bench = bench();
    let mut first = request(&["developer", "viewer"]);
    first.custom.insert("team".to_owned(), json!("blue"));
    let first = bench.authenticator.issue(first).unwrap();
    let old = first.token.expose_secret();
    bench.wait(100);
    let refresh =
        |roles: Option<Vec<String>>| bench.authenticator.refresh(old, roles, &bench.standing);

    let same = refresh(None).unwrap();
    assert_eq!(same.issued.roles, ["developer", "viewer"]);
    assert_eq!((same.replaced_jti, same.replaced_expires_at), (first.jti.clone(), NOW + 86_430));
    assert_eq!(same.issued.expires_at, NOW + 100 + 86_400);
    assert_eq!(same.issued.refresh_until, first.refresh_until);
    let payload = same.issued.token.expose_secret().split('.').nth(1).unwrap().to_owned();
    let payload =
        base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, payload);
    assert!(String::from_utf8(payload.unwrap()).unwrap().contains("\"team\":\"blue\""));

    assert_eq!(refresh(Some(vec!["viewer".to_owned()])).unwrap().issued.roles, ["viewer"]);
    let error = refresh(Some(vec!["viewer".to_owned(), "admin".to_owned()])).unwrap_err();
    assert!(matches!(error, IssueError::RoleNotHeld(role) if role == "admin"));
    assert!(matches!(refresh(Some(vec![])).unwrap_err(), IssueError::Roles));
}

#[test]
fn revoked_expired_foreign_and_old_tokens_cannot_be_refreshed() {
    let bench = bench();
    let refresh = |token: &str| bench.authenticator.refresh(token, None, &bench.standing);
    let issued = bench.authenticator.issue(request(&["viewer"])).unwrap();
    let own = issued.token.expose_secret();

    // Another issuer's token, even one that claims to be refreshable.
    let claims = claims_with(json!({ "refresh_until": NOW + 1000 }));
    let foreign = token("idp", "RS256", &claims);
    bench.verify(&foreign).unwrap();
    assert!(matches!(refresh(&foreign).unwrap_err(), IssueError::NotRefreshable(_)));

    bench.standing.tokens.lock().unwrap().insert(issued.jti.clone());
    assert!(matches!(refresh(own).unwrap_err(), IssueError::Token(AuthError::Revoked)));
    bench.standing.tokens.lock().unwrap().clear();

    // Refreshed again and again, the chain ends where the first issue said.
    let mut current = own.to_owned();
    let mut days = 0;
    let error = loop {
        bench.wait(80_000);
        match refresh(&current) {
            Ok(next) => current = next.issued.token.expose_secret().to_owned(),
            Err(error) => break error,
        }
        days += 1;
    };
    assert!(matches!(error, IssueError::NotRefreshable(_)), "{error}");
    assert_eq!(days, 7);
    bench.wait(90_000);
    assert!(matches!(refresh(&current).unwrap_err(), IssueError::Token(AuthError::Expired { .. })));
    assert!(refresh("a.b.c").is_err());
}
