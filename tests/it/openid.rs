//! Tokens of a real OpenID provider: its keys, its roles, its outages.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;
use ultimate_mcp_testkit::free_port;

use crate::app::{Answer, TestApp, eventually, send_to};
use crate::mcp_clients::need;
use crate::mcp_clients_more::node;

const AUDIENCE: &str = "http://127.0.0.1:1/mcp";

/// A provider that serves; killed when dropped.
struct Provider {
    child: Child,
    url: String,
    port: u16,
    folder: tempfile::TempDir,
}

impl Provider {
    fn start() -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
        let child = serve(port, &folder.path().join("first.json"));
        Self { child, url: format!("http://127.0.0.1:{port}"), port, folder }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Serves again, with the key of this name.
    fn serve(&mut self, key: &str) {
        self.child = serve(self.port, &self.folder.path().join(key));
    }

    /// A token of this client, for this scope and resource.
    async fn token(&self, client: &str, scope: &str, resource: &str) -> String {
        let body = format!(
            "grant_type=client_credentials&client_id={client}&client_secret=secret&scope={scope}\
             &resource={resource}"
        );
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        let answer = send_to(&self.url, "POST", "/token", None, &headers, body.into()).await;
        let answer = answer.unwrap();
        answer.body["access_token"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
    }

    /// How the server is told of it.
    fn table(&self, name: &str) -> String {
        format!(
            r#"{{name="{name}",issuer="{}",audience="{AUDIENCE}",algorithms=["RS256"],
            roles_claim="scope",roles={{"tools:read"="viewer","tools:execute"="developer"}}}}"#,
            self.url
        )
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(port: u16, keys: &Path) -> Child {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kit/servers/openid.mjs");
    let package: PathBuf = need("oidc");
    let mut command = Command::new(node());
    command.arg(script).arg(package).arg(port.to_string()).arg(keys);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "serves"), "the provider ended");
    child
}

fn app(issuers: &[String]) -> TestApp {
    let issuers = format!("[{}]", issuers.join(",").replace('\n', " "));
    TestApp::start_with(&[("ULTIMATE_MCP__AUTH__ISSUERS", &issuers)])
}

async fn run(app: &TestApp, token: &str) -> Answer {
    app.tool(token, "execute_code", json!({ "code": "print(6*7)" })).await
}

/// Until this token is answered like this: keys come in the background.
async fn until(app: &TestApp, token: &str, status: u16) -> Answer {
    eventually("another answer", || async {
        let answer = run(app, token).await;
        (answer.status == status).then_some(answer)
    })
    .await
}

#[actix_web::test]
async fn a_providers_token_is_its_caller_with_the_roles_its_scopes_stand_for() {
    let provider = Provider::start();
    let app = app(&[provider.table("corp")]);
    let weak = provider.token("ada", "tools:read", AUDIENCE).await;
    let strong = provider.token("ada", "tools:execute", AUDIENCE).await;
    let ran = until(&app, &strong, 200).await;
    assert_eq!(ran.body["stdout"], "42\n");
    // Too little: the challenge names what to ask the provider for, and where it is found.
    let refused = run(&app, &weak).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    let challenge = refused.header("www-authenticate").unwrap();
    for part in ["insufficient_scope", "tools:execute", "resource_metadata="] {
        assert!(challenge.contains(part), "{challenge}");
    }
    let metadata = app.send("GET", "/.well-known/oauth-protected-resource", None, &[], None).await;
    assert_eq!(metadata.body["authorization_servers"], json!([provider.url]));
    let admin = app.token("root", "admin");
    let trail = app.send("GET", "/api/v1/audit?user=corp%7Cada", Some(&admin), &[], None).await;
    assert!(trail.body["events"].to_string().contains("execute_code"), "{}", trail.body);
}

#[actix_web::test]
async fn tokens_for_others_of_others_and_changed_ones_are_refused() {
    let (provider, stranger) = (Provider::start(), Provider::start());
    let app = app(&[provider.table("corp")]);
    let good = provider.token("ada", "tools:execute", AUDIENCE).await;
    until(&app, &good, 200).await;
    let (head, rest) = good.split_once('.').unwrap();
    let (claims, signature) = rest.split_once('.').unwrap();
    let other = provider.token("bob", "tools:execute", AUDIENCE).await;
    let their_claims = other.split('.').nth(1).unwrap();
    let none = "eyJhbGciOiJub25lIn0";
    for (what, token) in [
        ("another audience", provider.token("ada", "tools:execute", "http://127.0.0.1:2/x").await),
        ("a provider nobody named", stranger.token("ada", "tools:execute", AUDIENCE).await),
        ("somebody else's claims", format!("{head}.{their_claims}.{signature}")),
        ("no signature", format!("{none}.{claims}.")),
        ("a cut signature", format!("{head}.{claims}.{}", &signature[..20])),
    ] {
        let answer = run(&app, &token).await;
        assert_eq!(answer.status, 401, "{what}: {answer:?}");
        assert!(answer.header("www-authenticate").unwrap().contains("resource_metadata="));
    }
    assert_eq!(run(&app, &good).await.status, 200);
}

#[actix_web::test]
async fn a_new_key_is_found_by_its_first_token_and_the_old_one_ends() {
    let mut provider = Provider::start();
    let app = app(&[provider.table("corp")]);
    let old = provider.token("ada", "tools:execute", AUDIENCE).await;
    until(&app, &old, 200).await;
    provider.kill();
    provider.serve("second.json");
    let new = provider.token("ada", "tools:execute", AUDIENCE).await;
    // The first is told to come back while the keys are fetched.
    let first = run(&app, &new).await;
    assert!(first.status == 503 && first.header("retry-after").is_some(), "{first:?}");
    until(&app, &new, 200).await;
    assert_eq!(run(&app, &old).await.status, 401, "its key was withdrawn");
}

#[actix_web::test]
async fn known_keys_outlive_their_provider_and_unknown_ones_wait_for_it() {
    let mut provider = Provider::start();
    let first = app(&[provider.table("corp")]);
    let token = provider.token("ada", "tools:execute", AUDIENCE).await;
    until(&first, &token, 200).await;
    provider.kill();
    assert_eq!(run(&first, &token).await.status, 200);
    // One that starts meanwhile knows no keys: it says so, and serves its own callers.
    let second = app(&[provider.table("corp")]);
    let waiting = run(&second, &token).await;
    assert!(waiting.status == 503 && waiting.header("retry-after").is_some(), "{waiting:?}");
    let own = second.token("own", "admin");
    assert_eq!(run(&second, &own).await.status, 200);
    let ready = second.send("GET", "/ready", Some(&own), &[], None).await;
    let rows = ready.body["dependencies"].as_array().unwrap().clone();
    let row = rows.iter().find(|row| row["name"] == "issuer corp").unwrap();
    assert_eq!((&row["status"], ready.status), (&json!("degraded"), 200), "{ready:?}");
    provider.serve("first.json");
    until(&second, &token, 200).await;
}

#[actix_web::test]
async fn the_same_name_at_two_providers_is_two_callers() {
    let (corp, other) = (Provider::start(), Provider::start());
    let app = app(&[corp.table("corp"), other.table("other")]);
    let ours = corp.token("ada", "tools:execute", AUDIENCE).await;
    let theirs = other.token("ada", "tools:execute", AUDIENCE).await;
    until(&app, &ours, 200).await;
    until(&app, &theirs, 200).await;
    let job = json!({ "code": "print(1)", "async": true });
    let job = app.tool(&ours, "execute_code", job).await.body["job_id"].clone();
    let look = |token: String| {
        let (app, job) = (&app, job.clone());
        async move { app.tool(&token, "job_status", json!({ "job_id": job })).await.status }
    };
    assert_eq!((look(ours).await, look(theirs).await), (200, 404));
    // Nor is it somebody with a token of this server's own.
    let forged = app.token("own", "developer");
    assert_eq!(look(forged).await, 404);
}
