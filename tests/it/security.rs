//! The security table: every tool and every route, with every kind of token that must not do, and the
//! one that must. Tools are asked of the server itself, routes of its own table, so that no new one
//! can be missed.

use serde_json::{Value, json};
use ultimate_mcp::api::openapi::{Access, ROUTES, Route};

use crate::app::{Answer, Shared, TestApp};
use crate::tokens::{Mint, claims};

static APP: Shared = Shared::new();

/// One thing that can be asked of the server.
struct Ask {
    name: String,
    method: &'static str,
    path: String,
    body: Option<Value>,
    over_mcp: bool,
    access: Access,
}

impl Ask {
    async fn send(&self, app: &TestApp, token: Option<&str>) -> Answer {
        if self.over_mcp {
            let params = json!({ "name": self.name, "arguments": {} });
            return app.mcp_as(token, "tools/call", params).await;
        }
        app.send(self.method, &self.path, token, &[], self.body.as_ref()).await
    }
}

/// A request of each route that its schema allows.
fn of_route(route: &'static Route) -> Ask {
    let path = route
        .path
        .replace("{user_id}", "somebody")
        .replace("{id}", "00000000-0000-4000-8000-000000000000")
        .replace("{name}", "no_such_tool");
    let body = match (route.method, route.path) {
        ("POST" | "DELETE", path) if path.ends_with("/roles") => Some(json!({ "role": "viewer" })),
        (_, "/api/v1/auth/token") => Some(json!({ "sub": "somebody", "roles": ["viewer"] })),
        ("POST", _) => Some(json!({})),
        _ => None,
    };
    let name = format!("{} {}", route.method, route.path);
    Ask { name, method: route.method, path, body, over_mcp: false, access: route.access }
}

/// Every tool over both transports; the arguments are wrong, so whoever gets through runs nothing.
async fn of_tools(app: &TestApp, mint: &Mint) -> Vec<Ask> {
    let admin = mint.token("lister", &["admin"]);
    let list = app.send("GET", "/api/v1/tools", Some(&admin), &[], None).await;
    let tools = list.body["tools"].as_array().unwrap().clone();
    let named = |name: &str| tools.iter().any(|tool| tool["name"] == name);
    assert!(tools.len() >= 4 && named("lint_code") && named("lint_code.v2"), "{tools:?}");
    let mut asks = Vec::new();
    for tool in tools {
        let name = tool["name"].as_str().unwrap().to_owned();
        let access = Access::Permission(tool["permission"].as_str().unwrap().to_owned().leak());
        for over_mcp in [false, true] {
            asks.push(Ask {
                path: format!("/api/v1/tools/{name}"),
                name: name.clone(),
                method: "POST",
                body: Some(json!({})),
                over_mcp,
                access,
            });
        }
    }
    asks
}

async fn everything(app: &TestApp, mint: &Mint) -> Vec<Ask> {
    let mut asks = of_tools(app, mint).await;
    asks.extend(ROUTES.iter().map(of_route));
    asks
}

fn bad_tokens(mint: &Mint) -> Vec<(&'static str, Option<String>)> {
    let good = claims("mallory", &["admin"]);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let now = chrono::Utc::now().timestamp();
    vec![
        ("no token", None),
        ("malformed", Some("not-a-token".to_owned())),
        ("bad signature", Some(mint.forge(&good))),
        ("unsigned", Some(mint.unsigned(&good))),
        ("expired", Some(mint.sign(&with("exp", json!(now - 120))))),
        ("not yet valid", Some(mint.sign(&with("nbf", json!(now + 600))))),
        ("wrong audience", Some(mint.sign(&with("aud", json!("another-server"))))),
        ("wrong issuer", Some(mint.sign(&with("iss", json!("another-issuer"))))),
        ("without end", Some(mint.sign(&with("exp", Value::Null)))),
    ]
}

#[actix_web::test]
async fn no_tool_and_no_route_does_anything_for_a_token_that_does_not_verify() {
    let app = APP.get(TestApp::start);
    let mint = Mint::of(&app);
    for ask in everything(&app, &mint).await {
        if ask.access == Access::Open {
            continue;
        }
        for (kind, token) in bad_tokens(&mint) {
            let answer = ask.send(&app, token.as_deref()).await;
            let row = format!("{} (mcp: {}) with {kind}: {answer:?}", ask.name, ask.over_mcp);
            assert_eq!(answer.status, 401, "{row}");
            assert_eq!(answer.code(), "unauthenticated", "{row}");
            let challenge = answer.header("www-authenticate").unwrap_or("");
            assert!(challenge.starts_with("Bearer"), "{row}");
            assert_eq!(challenge.contains("invalid_token"), token.is_some(), "{row}");
        }
    }
}

#[actix_web::test]
async fn the_wrong_role_gets_403_with_what_is_missing_and_the_right_role_gets_through() {
    let app = APP.get(TestApp::start);
    let mint = Mint::of(&app);
    for (index, ask) in everything(&app, &mint).await.into_iter().enumerate() {
        let sub = format!("row-{index}");
        let wrong = ask.send(&app, Some(&mint.token(&sub, &["no-such-role"]))).await;
        let right = ask.send(&app, Some(&mint.token(&sub, &["admin"]))).await;
        let row = format!("{} (mcp: {}): {wrong:?} {right:?}", ask.name, ask.over_mcp);
        match ask.access {
            Access::Permission(permission) => {
                assert_eq!((wrong.status, wrong.code()), (403, "forbidden"), "{row}");
                let challenge = wrong.header("www-authenticate").unwrap_or("");
                assert!(challenge.contains(&format!("scope=\"{permission}\"")), "{row}");
            }
            Access::Open | Access::Authenticated => {
                assert!(!matches!(wrong.status, 401 | 403), "{row}");
            }
        }
        assert!(!matches!(right.status, 401 | 403 | 429 | 500..), "{row}");
    }
}

#[actix_web::test]
async fn an_administrators_body_is_not_read_before_the_role() {
    let app = APP.get(TestApp::start);
    let token = Mint::of(&app).token("curious", &["viewer"]);
    for route in ROUTES.iter().filter(|r| r.access == Access::Permission("system:admin")) {
        let mut ask = of_route(route);
        ask.body = ask.body.map(|_| json!({ "nonsense": true }));
        let answer = ask.send(&app, Some(&token)).await;
        assert_eq!(answer.status, 403, "{}: {answer:?}", ask.name);
    }
}

#[actix_web::test]
async fn whoever_is_over_the_limit_gets_429_and_when_to_come_back() {
    let policy = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(policy.path(), slow_policy()).unwrap();
    let path = policy.path().to_str().unwrap();
    let app = TestApp::start_with(&[("ULTIMATE_MCP__POLICY_FILE", path)]);
    let mint = Mint::of(&app);
    for (index, ask) in everything(&app, &mint).await.into_iter().enumerate() {
        if ask.access == Access::Open {
            continue;
        }
        // A token of its own for each request: some of these routes use theirs up.
        let sub = format!("busy-{index}");
        let first = ask.send(&app, Some(&mint.token(&sub, &["admin"]))).await;
        let second = ask.send(&app, Some(&mint.token(&sub, &["admin"]))).await;
        let row = format!("{} (mcp: {}): {first:?} {second:?}", ask.name, ask.over_mcp);
        assert!(!matches!(first.status, 401 | 403 | 429), "{row}");
        assert_eq!((second.status, second.code()), (429, "rate_limited"), "{row}");
        let wait: u64 = second.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{row}");
        let other = ask.send(&app, Some(&mint.token(&format!("calm-{index}"), &["admin"]))).await;
        assert_ne!(other.status, 429, "one caller's haste slows another: {row} {other:?}");
    }
}

/// The built-in policy with one call a minute for administrators.
fn slow_policy() -> String {
    let text = include_str!("../../config/policy.toml");
    let slow = text.replace("calls_per_minute = 6000", "calls_per_minute = 1");
    assert_ne!(text, slow);
    slow
}

#[actix_web::test]
async fn open_routes_answer_anybody_and_tell_nothing_more() {
    let app = APP.get(TestApp::start);
    let open: Vec<_> = ROUTES.iter().filter(|r| r.access == Access::Open).collect();
    let paths: Vec<_> = open.iter().map(|r| (r.method, r.path)).collect();
    let well_known = "/.well-known/oauth-protected-resource";
    let by_path = "/.well-known/oauth-protected-resource/mcp";
    let expected = ["/health", well_known, by_path, "/ready"].map(|path| ("GET", path));
    assert_eq!(paths, expected);
    for path in [well_known, by_path] {
        // Without an authorization server there is nothing to tell.
        assert_eq!(app.send("GET", path, None, &[], None).await.status, 404, "{path}");
    }
    let health = app.send("GET", "/health", None, &[], None).await;
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        (health.status, health.body),
        (200, json!({ "status": "live", "version": version }))
    );
    let ready = app.send("GET", "/ready", None, &[], None).await;
    assert_eq!(ready.status, 200);
    let fields: Vec<_> = ready.body.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["status"], "{ready:?}");
    for token in bad_tokens(&Mint::of(&app)).into_iter().filter_map(|(_, token)| token) {
        assert_eq!(app.send("GET", "/ready", Some(&token), &[], None).await.status, 401);
    }
}

#[test]
fn every_route_that_is_mounted_stands_in_the_table() {
    let source = include_str!("../../src/api/mod.rs");
    // Some are there in some builds only.
    let here = |path: &&str| cfg!(feature = "faults") || !path.starts_with("/api/v1/faults");
    let mut mounted: Vec<&str> =
        source.split("resource(\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let services = source.matches(".service(").count();
    assert_eq!(mounted.len(), services, "a service that is no resource");
    let mut listed: Vec<&str> = ROUTES.iter().map(|route| route.path).collect();
    mounted
        .extend(source.split("scope(\"").skip(1).map(|_| "a scope, which this test cannot read"));
    mounted.retain(here);
    mounted.sort_unstable();
    listed.sort_unstable();
    listed.dedup();
    assert_eq!(mounted, listed);
}

#[actix_web::test]
async fn clients_are_led_to_the_authorization_server_by_challenges_and_metadata() {
    let server = "https://login.example.org";
    let servers = "[\"https://login.example.org\"]";
    let app = TestApp::start_with(&[("ULTIMATE_MCP__AUTH__AUTHORIZATION_SERVERS", servers)]);
    let url = format!("{}/.well-known/oauth-protected-resource/mcp", app.url);
    let expected = json!({
        "resource": format!("{}/mcp", app.url),
        "authorization_servers": [server],
        "scopes_supported": ["tools:read"],
        "bearer_methods_supported": ["header"],
        "resource_name": "Ultimate MCP",
    });
    for path in
        ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"]
    {
        let answer = app.send("GET", path, None, &[], None).await;
        assert_eq!((answer.status, &answer.body), (200, &expected), "{path}");
        assert_eq!(answer.header("cache-control"), Some("public, max-age=3600"), "{path}");
    }
    let viewer = Mint::of(&app).token("led", &["viewer"]);
    let call = json!({ "name": "execute_code", "arguments": {} });
    for (token, status, parts) in [
        (None, 401, vec!["scope=\"tools:read\""]),
        (Some("not-a-token"), 401, vec!["error=\"invalid_token\"", "scope=\"tools:read\""]),
        (
            Some(viewer.as_str()),
            403,
            vec!["error=\"insufficient_scope\"", "scope=\"tools:execute\""],
        ),
    ] {
        let answer = app.mcp_as(token, "tools/call", call.clone()).await;
        assert_eq!(answer.status, status, "{answer:?}");
        let challenge = answer.header("www-authenticate").unwrap();
        let metadata = format!("resource_metadata=\"{url}\"");
        assert!(challenge.starts_with("Bearer ") && challenge.ends_with(&metadata), "{challenge}");
        assert!(parts.iter().all(|part| challenge.contains(part)), "{challenge}");
    }
    let headers = [("Authorization", "Bearer a b")];
    let malformed = app.send("GET", "/api/v1/tools", None, &headers, None).await;
    assert_eq!((malformed.status, malformed.code()), (400, "invalid_request"), "{malformed:?}");
}
