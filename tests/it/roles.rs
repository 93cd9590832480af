//! Who may do what: stored roles and roles of tokens together, as the policy says, and the life of a
//! token from its creation to its end.

use serde_json::{Value, json};

use crate::app::{Answer, Shared, TestApp};
use crate::tokens::Mint;

static APP: Shared = Shared::new();

/// What comes of a call that needs `developer`; its arguments are wrong, so nothing runs.
async fn may_execute(app: &TestApp, token: &str) -> bool {
    match app.tool(token, "execute_code", json!({})).await.status {
        422 => true,
        403 => false,
        other => panic!("neither allowed nor forbidden: {other}"),
    }
}

async fn role(app: &TestApp, admin: &str, method: &str, user: &str, role: &str) -> Value {
    let path = format!("/api/v1/users/{user}/roles");
    let answer = app.send(method, &path, Some(admin), &[], Some(&json!({ "role": role }))).await;
    assert_eq!(answer.status, 200, "{method} {path} {role}: {answer:?}");
    answer.body["roles"].clone()
}

async fn auth(app: &TestApp, verb: &str, token: &str, body: Value) -> Answer {
    app.send("POST", &format!("/api/v1/auth/{verb}"), Some(token), &[], Some(&body)).await
}

async fn is_alive(app: &TestApp, token: &str) -> bool {
    app.send("GET", "/api/v1/tools", Some(token), &[], None).await.status == 200
}

#[actix_web::test]
async fn a_role_of_a_known_user_counts_when_both_the_store_and_the_token_have_it() {
    let app = APP.get(TestApp::start);
    let mint = Mint::of(&app);
    let admin = mint.token("root", &["admin"]);
    let token = mint.token("both", &["developer"]);
    assert!(may_execute(&app, &token).await, "the store does not know the user: the token counts");
    assert_eq!(role(&app, &admin, "POST", "both", "viewer").await, json!(["viewer"]));
    assert!(!may_execute(&app, &token).await, "the store grants less than the token");
    assert_eq!(role(&app, &admin, "POST", "both", "viewer").await, json!(["viewer"]));
    role(&app, &admin, "POST", "both", "developer").await;
    assert!(may_execute(&app, &token).await, "both grant it");
    assert!(!may_execute(&app, &mint.token("both", &["viewer"])).await, "the token grants less");
    role(&app, &admin, "DELETE", "both", "developer").await;
    assert_eq!(role(&app, &admin, "DELETE", "both", "viewer").await, json!([]));
    assert!(!may_execute(&app, &token).await, "the user stays known, with nothing granted");
    let path = "/api/v1/users/both/roles";
    let listed = app.send("GET", path, Some(&admin), &[], None).await;
    assert_eq!(listed.body, json!({ "user_id": "both", "roles": [] }));
}

#[actix_web::test]
async fn the_other_ways_to_combine_roles_hold_end_to_end() {
    // What a user with the stored role `developer` and a token for `viewer` may do, and the reverse.
    for (combine, stored_counts, token_counts) in
        [("token", false, true), ("stored", true, false), ("union", true, true)]
    {
        let text = include_str!("../../config/policy.toml");
        let policy = tempfile::NamedTempFile::new().unwrap();
        let line = format!("\ncombine = \"{combine}\"");
        std::fs::write(policy.path(), text.replace("\ncombine = \"both\"", &line)).unwrap();
        let path = policy.path().to_str().unwrap();
        let data = tempfile::tempdir().unwrap();
        // The store's first administrator comes from a server that goes by tokens.
        let mut first = TestApp::start_in(data, &[]);
        let mint = Mint::of(&first);
        let admin = mint.token("root", &["admin"]);
        for (user, name) in [("root", "admin"), ("s", "developer"), ("t", "viewer")] {
            role(&first, &admin, "POST", user, name).await;
        }
        assert_eq!(first.stop("-TERM"), Some(0));
        first.restart_with(&[("ULTIMATE_MCP__POLICY_FILE", path)]);
        let stored = may_execute(&first, &mint.token("s", &["viewer"])).await;
        let token = may_execute(&first, &mint.token("t", &["developer"])).await;
        assert_eq!((stored, token), (stored_counts, token_counts), "combine = {combine}");
    }
}

#[actix_web::test]
async fn an_administrator_makes_tokens_for_roles_that_exist_and_nobody_else_does() {
    let app = APP.get(TestApp::start);
    let mint = Mint::of(&app);
    let admin = mint.token("root", &["admin"]);
    let body = json!({ "sub": "new", "roles": ["developer"], "ttl_seconds": 600,
        "custom": { "team": "engine" } });
    let made = auth(&app, "token", &admin, body.clone()).await;
    assert_eq!(made.status, 200, "{made:?}");
    assert_eq!(
        (&made.body["roles"], &made.body["token_type"]),
        (&json!(["developer"]), &json!("Bearer"))
    );
    let now = chrono::Utc::now().timestamp();
    let life = made.body["expires_at"].as_i64().unwrap() - now;
    assert!((590..=600).contains(&life), "{made:?}");
    assert!(may_execute(&app, made.body["token"].as_str().unwrap()).await);

    let developer = mint.token("dev", &["developer"]);
    assert_eq!(auth(&app, "token", &developer, body).await.status, 403);
    for wrong in [
        json!({ "sub": "x", "roles": ["emperor"] }),
        json!({ "sub": "x", "roles": [] }),
        json!({ "sub": "", "roles": ["viewer"] }),
        json!({ "sub": "x", "roles": ["viewer"], "ttl_seconds": 1 }),
        json!({ "sub": "x", "roles": ["viewer"], "ttl_seconds": 1_000_000_000 }),
        json!({ "sub": "x", "roles": ["viewer"], "custom": { "aud": "elsewhere" } }),
        json!({ "sub": "x", "roles": ["viewer"], "admin": true }),
    ] {
        let answer = auth(&app, "token", &admin, wrong.clone()).await;
        assert_eq!(
            (answer.status, answer.code()),
            (422, "invalid_arguments"),
            "{wrong}: {answer:?}"
        );
    }
}

#[actix_web::test]
async fn a_refresh_never_adds_a_role_and_ends_the_token_it_replaces() {
    let app = APP.get(TestApp::start);
    let mint = Mint::of(&app);
    let old = mint.token("fresh", &["developer", "viewer"]);
    for more in [json!(["admin"]), json!(["developer", "admin"])] {
        let answer = auth(&app, "refresh", &old, json!({ "roles": more })).await;
        assert!(matches!(answer.status, 403 | 422), "{more}: {answer:?}");
    }
    assert!(is_alive(&app, &old).await, "a refused refresh changes nothing");
    let fewer = auth(&app, "refresh", &old, json!({ "roles": ["viewer"] })).await;
    assert_eq!((fewer.status, &fewer.body["roles"]), (200, &json!(["viewer"])), "{fewer:?}");
    let new = fewer.body["token"].as_str().unwrap();
    assert!(!is_alive(&app, &old).await, "the old token lives on");
    assert!(is_alive(&app, new).await);
    assert!(!may_execute(&app, new).await);
    let back = auth(&app, "refresh", new, json!({ "roles": ["developer"] })).await;
    assert!(matches!(back.status, 403 | 422), "a role given up came back: {back:?}");
    assert_eq!(auth(&app, "refresh", &old, json!({})).await.status, 401);
}

#[actix_web::test]
async fn a_role_taken_away_is_gone_from_refreshed_tokens_too() {
    let app = APP.get(TestApp::start);
    let mint = Mint::of(&app);
    let admin = mint.token("root", &["admin"]);
    let old = mint.token("demoted", &["developer", "viewer"]);
    role(&app, &admin, "POST", "demoted", "viewer").await;
    let new = auth(&app, "refresh", &old, json!({})).await;
    assert_eq!(new.status, 200, "{new:?}");
    assert!(!may_execute(&app, new.body["token"].as_str().unwrap()).await, "{new:?}");
}

#[actix_web::test]
async fn a_revoked_token_is_dead_at_once_and_no_other() {
    let app = APP.get(TestApp::start);
    let mint = Mint::of(&app);
    let (own, other) = (mint.token("loser", &["viewer"]), mint.token("loser", &["viewer"]));
    assert_eq!(auth(&app, "revoke", &own, json!({})).await.status, 200);
    assert!(!is_alive(&app, &own).await);
    assert!(is_alive(&app, &other).await);
    let foreign = auth(&app, "revoke", &other, json!({ "user_id": "root" })).await;
    assert_eq!(foreign.status, 403, "{foreign:?}");
    let guessed = auth(&app, "revoke", &other, json!({ "jti": "somebody-elses" })).await;
    assert_eq!(guessed.status, 403, "{guessed:?}");

    let admin = mint.token("revoker", &["admin"]);
    let made = auth(&app, "token", &admin, json!({ "sub": "loser", "roles": ["viewer"] })).await;
    let third = made.body["token"].as_str().unwrap();
    let by_id = auth(&app, "revoke", &admin, json!({ "jti": made.body["jti"] })).await;
    assert_eq!(by_id.status, 200, "{by_id:?}");
    assert!(!is_alive(&app, third).await && is_alive(&app, &other).await);
}

#[actix_web::test]
async fn an_administrator_ends_all_tokens_of_a_user_and_they_stay_dead_after_a_restart() {
    let mut app = TestApp::start();
    let mint = Mint::of(&app);
    let tokens = [mint.token("gone", &["viewer"]), mint.token("gone", &["developer"])];
    let (stays, admin) = (mint.token("stays", &["viewer"]), mint.token("root", &["admin"]));
    for token in &tokens {
        assert!(is_alive(&app, token).await);
    }
    assert_eq!(auth(&app, "revoke", &admin, json!({ "user_id": "gone" })).await.status, 200);
    for token in &tokens {
        assert!(!is_alive(&app, token).await);
    }
    assert!(is_alive(&app, &stays).await);
    assert_eq!(app.stop("-KILL"), None);
    app.restart();
    for token in &tokens {
        assert!(!is_alive(&app, token).await, "a restart brought a revoked token back");
    }
    assert!(is_alive(&app, &stays).await);
}
