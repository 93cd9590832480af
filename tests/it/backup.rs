//! Backups: everything is destroyed and comes back; what is damaged, incomplete or of another key does
//! not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;
use ultimate_mcp_testkit::{S3, neo4j_exclusive};

use crate::app::{TestApp, binary};

/// A folder for backups, and the key to them elsewhere.
struct Vault {
    folder: TempDir,
    key: PathBuf,
    env: Vec<(String, String)>,
    target: String,
}

impl Vault {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let key = folder.path().join("key");
        let made = binary().args(["backup", "--new-key"]).arg(&key).output().unwrap();
        assert!(made.status.success(), "{}", said(&made));
        let target = folder.path().join("backups").to_str().unwrap().to_owned();
        Self { folder, key, env: Vec::new(), target }
    }

    fn run(&self, verb: &str, data: &Path, args: &[&str]) -> Output {
        let place = if verb == "backup" { "--to" } else { "--from" };
        let mut command = binary();
        command.arg(verb).args([place, &self.target]).arg("--key-file").arg(&self.key);
        command.arg("--data-dir").arg(data).args(args);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.output().unwrap()
    }

    fn ok(&self, verb: &str, data: &Path, args: &[&str]) -> Value {
        let out = self.run(verb, data, args);
        assert!(out.status.success(), "{verb} {args:?}: {}", said(&out));
        serde_json::from_slice(&out.stdout).unwrap_or(Value::Null)
    }

    /// Exit code and message of a command that must fail.
    fn refused(&self, verb: &str, data: &Path, args: &[&str]) -> (Option<i32>, String) {
        let out = self.run(verb, data, args);
        assert!(!out.status.success(), "{verb} {args:?} succeeded");
        (out.status.code(), said(&out))
    }

    /// Every object of the target, by name.
    fn objects(&self) -> Vec<PathBuf> {
        fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(dir).unwrap().flatten() {
                match entry.file_type().unwrap().is_dir() {
                    true => walk(&entry.path(), found),
                    false => found.push(entry.path()),
                }
            }
        }
        let mut found = Vec::new();
        walk(Path::new(&self.target), &mut found);
        found.sort();
        found
    }
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// Leaves a role, a node, an artifact and the events of all that; the path of the artifact.
async fn live_in(app: &TestApp) -> String {
    let admin = app.token("ada", "admin");
    let role = json!({ "role": "developer" });
    let assigned =
        app.send("POST", "/api/v1/users/bob/roles", Some(&admin), &[], Some(&role)).await;
    assert_eq!(assigned.status, 200, "{assigned:?}");
    let node = json!({ "nodes": [{ "key": "k", "labels": ["Kept"], "properties": { "n": 7 } }] });
    assert_eq!(app.tool(&admin, "graph_upsert", node).await.status, 200);
    let code = "import os; os.makedirs('out', exist_ok=True); open('out/a.txt','w').write('kept')";
    let ran = app.tool(&admin, "execute_code", json!({ "code": code })).await;
    let uri = ran.body["artifacts"][0]["uri"].as_str().unwrap_or_else(|| panic!("{ran:?}"));
    format!("/api/v1/artifacts/{}", uri.rsplit('/').next().unwrap())
}

/// Everything that [`live_in`] left is there, and the audit is whole.
async fn all_is_there(app: &TestApp, artifact: &str) {
    let admin = app.token("ada", "admin");
    let roles = app.send("GET", "/api/v1/users/bob/roles", Some(&admin), &[], None).await;
    assert!(roles.body.to_string().contains("developer"), "{roles:?}");
    let query = json!({ "cypher": "MATCH (n:Kept) RETURN n.n AS n" });
    let rows = app.tool(&admin, "graph_query", query).await;
    assert_eq!(rows.body["rows"], json!([{ "n": 7 }]), "{rows:?}");
    let file = app.send("GET", artifact, Some(&admin), &[], None).await;
    assert_eq!(file.bytes, b"kept", "{file:?}");
    let trail = app.send("GET", "/api/v1/audit?tool=graph_upsert", Some(&admin), &[], None).await;
    assert!(!trail.body["events"].as_array().unwrap().is_empty(), "{trail:?}");
    let proven = app.cli(&["audit", "verify"]);
    assert!(proven.status.success(), "{}", said(&proven));
}

#[actix_web::test]
async fn everything_destroyed_comes_back_from_a_backup_of_the_running_server() {
    let vault = Vault::new();
    let mut app = TestApp::start();
    let artifact = live_in(&app).await;
    let made = vault.ok("backup", app.data.path(), &[]);
    assert!(made["files"].as_u64().unwrap() >= 5, "{made}");
    assert!(vault.run("backup", app.data.path(), &["--verify"]).status.success());
    app.stop("-KILL");
    drop(app);

    let data = vault.folder.path().join("restored");
    let restored = vault.ok("restore", &data, &[]);
    assert_eq!((&restored["id"], &restored["graph_nodes"]), (&made["id"], &json!(1)), "{restored}");
    all_is_there(&TestApp::start_at(&data), &artifact).await;
}

#[actix_web::test]
async fn a_stopped_instance_is_backed_up_to_a_bucket_and_comes_back() {
    let service = S3::start("vault");
    let mut vault = Vault::new();
    vault.target = "s3://vault/some/prefix".to_owned();
    for (name, value) in [
        ("ULTIMATE_MCP__BACKUP__S3_ENDPOINT", service.endpoint()),
        ("ULTIMATE_MCP__BACKUP__S3_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
    ] {
        vault.env.push((name.to_owned(), value));
    }
    let mut app = TestApp::start();
    let artifact = live_in(&app).await;
    app.stop("-TERM");
    let made = vault.ok("backup", app.data.path(), &[]);
    drop(app);
    let data = vault.folder.path().join("restored");
    let restored = vault.ok("restore", &data, &[]);
    assert_eq!(restored["audit"], made["audit"]);
    all_is_there(&TestApp::start_at(&data), &artifact).await;
}

#[actix_web::test]
async fn a_graph_on_neo4j_is_in_the_backup_and_comes_back_into_an_empty_server() {
    let turn = neo4j_exclusive().await;
    let settings = [
        ("ULTIMATE_MCP__GRAPH__ENGINE", "neo4j"),
        ("ULTIMATE_MCP__NEO4J__URI", turn.server.uri.as_str()),
        ("ULTIMATE_MCP__NEO4J__PASSWORD", turn.server.password.as_str()),
    ];
    let mut vault = Vault::new();
    vault.env = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let mut app = TestApp::start_with(&settings);
    let artifact = live_in(&app).await;
    vault.ok("backup", app.data.path(), &[]);
    app.stop("-KILL");
    drop(app);

    let data = vault.folder.path().join("restored");
    let occupied = vault.refused("restore", &data, &[]);
    assert!(occupied.0 == Some(65) && !data.exists(), "over a graph: {occupied:?}");
    turn.server.empty().await;
    let restored = vault.ok("restore", &data, &[]);
    assert_eq!(restored["graph_nodes"], 1, "{restored}");
    all_is_there(&TestApp::start_at_with(&data, &settings), &artifact).await;
}

#[actix_web::test]
async fn the_audit_comes_back_to_any_moment_between_two_backups() {
    let vault = Vault::new();
    let app = TestApp::start();
    let admin = app.token("ada", "admin");
    let upsert = |key: &str| json!({ "nodes": [{ "key": key, "labels": ["N"] }] });
    let too_early = vault.refused("backup", app.data.path(), &["--audit-only"]);
    assert!(too_early.1.contains("make a full one first"), "{too_early:?}");
    vault.ok("backup", app.data.path(), &[]);
    assert_eq!(app.tool(&admin, "graph_upsert", upsert("before")).await.status, 200);
    vault.ok("backup", app.data.path(), &["--audit-only"]);
    let moment = chrono::Utc::now();
    assert_eq!(app.tool(&admin, "graph_delete", json!({ "nodes": ["before"] })).await.status, 200);
    let last = vault.ok("backup", app.data.path(), &["--audit-only"]);
    assert!(last["from"].is_i64(), "{last}");
    let nothing_new = vault.ok("backup", app.data.path(), &["--audit-only"]);
    assert_eq!(nothing_new["from"], Value::Null, "{nothing_new}");
    drop(app);

    let tools = |data: &Path| {
        let trail = rusqlite::Connection::open(data.join("audit.db")).unwrap();
        let mut rows =
            trail.prepare("SELECT DISTINCT tool FROM event WHERE tool NOT NULL").unwrap();
        let names = rows.query_map([], |row| row.get::<_, String>(0)).unwrap();
        names.map(Result::unwrap).collect::<Vec<_>>()
    };
    let all = vault.folder.path().join("all");
    assert_eq!(vault.ok("restore", &all, &[])["audit"], last["audit"]);
    assert!(tools(&all).contains(&"graph_delete".to_owned()));
    let then = vault.folder.path().join("then");
    let until = moment.to_rfc3339();
    vault.ok("restore", &then, &["--until", &until]);
    assert_eq!(tools(&then), ["graph_upsert"]);
    // It goes on from there.
    let app = TestApp::start_at(&then);
    assert_eq!(app.send("GET", "/health", None, &[], None).await.status, 200);
}

#[actix_web::test]
async fn what_is_damaged_incomplete_or_of_another_key_is_not_restored() {
    let vault = Vault::new();
    let mut app = TestApp::start();
    live_in(&app).await;
    vault.ok("backup", app.data.path(), &[]);
    app.stop("-TERM");
    let data = vault.folder.path().join("restored");

    let occupied = vault.refused("restore", app.data.path(), &[]);
    assert!(occupied.0 == Some(65) && occupied.1.contains("is not empty"), "{occupied:?}");

    let stranger = Vault::new();
    let other = binary()
        .args(["restore", "--from", &vault.target, "--key-file"])
        .arg(&stranger.key)
        .arg("--data-dir")
        .arg(&data)
        .output()
        .unwrap();
    assert!(said(&other).contains("another key"), "{}", said(&other));

    let objects = vault.objects();
    for object in &objects {
        let whole = fs::read(object).unwrap();
        let mut changed = whole.clone();
        *changed.last_mut().unwrap() ^= 1;
        fs::write(object, &changed).unwrap();
        let refused = vault.refused("restore", &data, &[]);
        assert!(refused.1.contains("does not open"), "{}: {refused:?}", object.display());
        fs::write(object, &whole).unwrap();
    }
    let (first, second) = (&objects[0], &objects[1]);
    let (a, b) = (fs::read(first).unwrap(), fs::read(second).unwrap());
    fs::write(first, &b).unwrap();
    fs::write(second, &a).unwrap();
    let swapped = vault.refused("restore", &data, &[]);
    assert!(swapped.1.contains("does not open"), "{swapped:?}");
    fs::write(first, &a).unwrap();
    fs::write(second, &b).unwrap();

    let manifest = objects.iter().find(|object| object.ends_with("manifest")).unwrap();
    fs::remove_file(manifest).unwrap();
    let incomplete = vault.refused("restore", &data, &[]);
    assert!(incomplete.1.contains("no complete backup"), "{incomplete:?}");
    assert!(!data.exists(), "something was left behind");
    let left = fs::read_dir(vault.folder.path()).unwrap().flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}
