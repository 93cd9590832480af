//! The command line as a user meets it, run in this process.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::CommandFactory;
use secrecy::ExposeSecret;
use ultimate_mcp_actors::audit::{
    AuditHandle, AuditKey, AuditOptions, EventType, Lines, NewEvent, Phase,
};
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::ids::CallerId;
use ultimate_mcp_actors::supervision::{PolicyOptions, Supervisor, unobserved};

use super::*;
use crate::auth::{Authenticator, KeyRing, Standing, key_file};
use crate::config::{Inputs, load};

fn run_with(env: &[(&str, &str)], line: &[&str]) -> Result<String, Failure> {
    let line = std::iter::once("ultimate-mcp").chain(line.iter().copied()).map(OsString::from);
    let env = env.iter().map(|(k, v)| (OsString::from(k), OsString::from(v))).collect();
    let mut out = Vec::new();
    execute(line, env, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn run(line: &[&str]) -> Result<String, Failure> {
    run_with(&[], line)
}

fn exit(result: Result<String, Failure>) -> (Exit, String) {
    let failure = result.expect_err("must fail");
    (failure.exit, failure.to_string())
}

/// Roles as in the token, nothing revoked.
struct Anybody;

impl Standing for Anybody {
    fn is_revoked(&self, _: Option<&str>, _: &CallerId, _: i64) -> bool {
        false
    }

    fn effective_roles(&self, _: &CallerId, roles: &[String]) -> Arc<[String]> {
        roles.into()
    }
}

fn server_of(data: &Path) -> Authenticator {
    let options = load(&Inputs::default()).unwrap().config.auth;
    let ring = KeyRing::load(&options, data).unwrap();
    Authenticator::new(options, ring)
}

#[test]
fn the_shape_of_the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn token_create_prints_a_token_the_server_of_that_directory_accepts_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let dir = data.to_str().unwrap();
    let line = ["token", "create", "--sub", "ada", "--role", "developer", "--data-dir", dir];
    let printed = run(&[&line[..], &["--role", "viewer", "--ttl", "1h"]].concat()).unwrap();
    let token = printed.strip_suffix('\n').unwrap();
    assert_eq!(token.split('.').count(), 3);
    let caller = server_of(&data).verify(token, &Anybody).unwrap();
    assert_eq!(caller.id().as_str(), "ada");
    assert_eq!(caller.roles(), ["developer", "viewer"]);
    let left = caller.expires_at() - chrono::Utc::now().timestamp();
    assert!((3600..=3630).contains(&left), "{left}");
    let mode = std::fs::metadata(data.join("keys/token.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn token_create_says_in_one_line_what_is_wrong() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().to_str().unwrap();
    let create =
        |line: &[&str]| exit(run(&[&["token", "create", "--data-dir", dir], line].concat()));
    for (line, code, says) in [
        (&["--sub", "ada", "--role", "develper"][..], Exit::Usage, "there is no role `develper`"),
        (&["--sub", " ", "--role", "viewer"], Exit::Usage, "--sub: caller id must be"),
        (&["--sub", "ada", "--role", "viewer", "--ttl", "9y"], Exit::Usage, "ttl must be from"),
        (&["--sub", "ada"], Exit::Usage, "--role"),
        (&["--sub", "ada", "--role", "viewer", "--ttl", "soon"], Exit::Usage, "--ttl"),
    ] {
        let (got, message) = create(line);
        assert_eq!((got, message.lines().count()), (code, 1), "{message}");
        assert!(message.contains(says), "{message}");
    }
    let key = data.path().join("keys/token.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (got, message) = create(&["--sub", "ada", "--role", "viewer"]);
    assert_eq!(got, Exit::Config);
    assert!(message.contains("chmod 600") && message.lines().count() == 1, "{message}");
}

#[test]
fn config_check_says_ok_or_every_mistake() {
    assert_eq!(run(&["config", "check"]).unwrap(), "ok\n");
    let env = [("ULTIMATE_MCP__HTTP__PROT", "1"), ("ULTIMATE_MCP__HTTP__PORT", "x")];
    let (code, message) = exit(run_with(&env, &["config", "check"]));
    assert_eq!(code, Exit::Config);
    assert_eq!(message.lines().count(), 2, "{message}");
    assert!(message.lines().all(|line| line.starts_with("ultimate-mcp: ULTIMATE_MCP__HTTP__P")));
}

#[test]
fn config_check_reads_key_files_and_the_policy_too() {
    let dir = tempfile::tempdir().unwrap();
    let policy = dir.path().join("policy.toml");
    std::fs::write(&policy, "combine = \"maybe\"\n[roles]").unwrap();
    let file = dir.path().join("x.toml");
    let text = format!(
        "policy_file = {policy:?}\n[tools]\nprompts_dir = \"/no/such\"\n[auth]\nkeys = [\
         {{ kid = \"a\", algorithm = \"HS256\", secret = \"short\" }},\
         {{ kid = \"b\", algorithm = \"RS256\", public_key_file = \"/none.pem\" }}]\n"
    );
    std::fs::write(&file, text).unwrap();
    let (code, message) = exit(run(&["config", "check", "--config", file.to_str().unwrap()]));
    assert_eq!(code, Exit::Config);
    for part in [
        "policy.toml: combine: ",
        "x.toml: auth.keys `a`: the secret has 5",
        "/none.pem",
        "x.toml: tools.prompts_dir: /no/such is no directory",
    ] {
        assert!(message.contains(part), "missing {part}:\n{message}");
    }
    // A check leaves nothing behind.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn config_explain_prints_a_file_that_is_a_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("all.toml");
    std::fs::write(&file, run(&["config", "explain"]).unwrap()).unwrap();
    assert_eq!(run(&["config", "check", "--config", file.to_str().unwrap()]).unwrap(), "ok\n");
}

#[test]
fn config_dump_shows_flags_as_sources() {
    let text = run(&["config", "dump", "--data-dir", "/srv/x"]).unwrap();
    assert!(text.starts_with("data_dir = \"/srv/x\"  # --data-dir\n"), "{text}");
    assert!(text.contains("\n[http]\nbind = \"127.0.0.1\"  # default\n"), "{text}");
}

#[test]
fn a_server_open_to_the_network_without_a_key_is_refused_before_it_starts() {
    let env = [("ULTIMATE_MCP__HTTP__BIND", "0.0.0.0")];
    let (code, message) = exit(run_with(&env, &["serve"]));
    assert_eq!(code, Exit::Config);
    assert!(message.contains("auth.keys") && message.contains("openssl rand"), "{message}");
}

#[test]
fn wrong_usage_is_exit_64_and_help_is_success() {
    for line in [&["srve"][..], &[], &["serve", "--prot", "1"], &["token"], &["graph", "export"]] {
        let (code, message) = exit(run(line));
        assert_eq!((code, message.lines().count()), (Exit::Usage, 1), "{line:?}: {message}");
    }
    for line in [&["--help"][..], &["--version"], &["serve", "--help"]] {
        assert!(!run(line).unwrap().is_empty(), "{line:?}");
    }
    assert!(run(&["--help"]).unwrap().contains("Exit codes: 0 success, 64 usage"));
    assert_eq!(exit(run(&["config", "check", "--data-dir", ""])).0, Exit::Usage);
}

#[test]
fn audit_verify_proves_a_trail_and_names_what_was_changed() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().to_str().unwrap();
    let verify = |more: &[&str]| run(&[&["audit", "verify", "--data-dir", dir], more].concat());
    let (code, message) = exit(verify(&[]));
    assert_eq!(code, Exit::Unavailable);
    assert!(message.contains("--data-dir"), "{message}");

    write_trail(root.path(), 3);
    let said = verify(&[]).unwrap();
    assert!(said.starts_with("ok: 3 events"), "{said}");
    let witness = said.trim_end().rsplit(' ').next().unwrap();
    assert_eq!(verify(&["--witness", witness]).unwrap(), said);
    let other = format!("3:{}", "00".repeat(32));
    assert_eq!(exit(verify(&["--witness", &other])).0, Exit::Data);
    assert_eq!(exit(verify(&["--witness", "3"])).0, Exit::Usage);

    // Another key proves nothing, and none is made.
    let key = root.path().join("keys/audit.key");
    std::fs::rename(&key, root.path().join("kept")).unwrap();
    assert_eq!(exit(verify(&[])).0, Exit::Config);
    assert!(!key.exists());
}

/// Lets the audit actor write some events, as a server would.
fn write_trail(data: &Path, events: usize) {
    let key = key_file::load_or_create(data, key_file::AUDIT_KEY).unwrap();
    let key = AuditKey::from_bytes(key.expose_secret());
    let path = data.join("audit.db");
    actix_rt::System::new().block_on(async move {
        let policy = PolicyOptions::default();
        let (root, _exit) = Supervisor::root("test", policy, unobserved()).unwrap();
        let options = AuditOptions { stdout: Lines::Off, ..AuditOptions::default() };
        let audit = AuditHandle::start(&root, &path, key, options).await.unwrap();
        let deadline = Deadline::after(Duration::from_secs(20));
        for _ in 0..events {
            let event = NewEvent::new(EventType::AuthSuccess, Phase::Single, "test");
            audit.append(event, deadline).await.unwrap();
        }
        root.drain(deadline).await;
    });
}

#[test]
fn a_graph_goes_out_and_into_another_directory_unchanged() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
    let (here, there) = (path("here"), path("there"));
    let graph = |verb: &str, file: &str, dir: &str| run(&["graph", verb, file, "--data-dir", dir]);
    assert_eq!(exit(graph("export", &path("none.jsonl"), &here)).0, Exit::Unavailable);
    assert_eq!(exit(graph("import", &path("none.jsonl"), &here)).0, Exit::Io);

    let made = "{\"graph\":\"ultimate-mcp\",\"version\":1}\n\
        {\"node\":{\"key\":\"ada\",\"labels\":[\"Person\"],\"properties\":{\"born\":1815}}}\n\
        {\"node\":{\"key\":\"bob\",\"labels\":[\"Person\"],\"properties\":{}}}\n\
        {\"relationship\":{\"start\":\"ada\",\"type\":\"KNOWS\",\"end\":\"bob\",\"properties\":{}}}\n\
        {\"end\":{\"nodes\":2,\"relationships\":1}}\n";
    std::fs::write(path("made.jsonl"), made).unwrap();
    let said = graph("import", &path("made.jsonl"), &here).unwrap();
    assert!(said.starts_with("{\"nodes\":2,\"relationships\":1,\"sha256\":\""), "{said}");
    // The exported form adds what every node has; from there on it does not change any more.
    let first = graph("export", &path("a.jsonl"), &here).unwrap();
    assert!(first.starts_with("{\"nodes\":2,\"relationships\":1,"), "{first}");
    graph("import", &path("a.jsonl"), &there).unwrap();
    graph("export", &path("b.jsonl"), &there).unwrap();
    let read = |name: &str| std::fs::read_to_string(path(name)).unwrap();
    assert_eq!(read("a.jsonl"), read("b.jsonl"));
    let mode = std::fs::metadata(path("a.jsonl")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // Nothing is written over: neither an older export nor a graph that is there.
    assert_eq!(exit(graph("export", &path("a.jsonl"), &here)).0, Exit::Io);
    assert_eq!(exit(graph("import", &path("a.jsonl"), &here)).0, Exit::Data);
    std::fs::write(path("cut.jsonl"), made.split("{\"end\"").next().unwrap()).unwrap();
    assert_eq!(exit(graph("import", &path("cut.jsonl"), &path("third"))).0, Exit::Data);
}
