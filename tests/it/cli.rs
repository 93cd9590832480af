//! The command line of the real binary: exit codes and what goes to which stream.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use crate::app::{binary, cli};

fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn token_create_prints_only_the_token_and_two_runs_share_a_private_key() {
    let data = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let out = cli(data.path(), &["token", "create", "--sub", "ada", "--role", "viewer"]);
        assert!(out.status.success() && out.stderr.is_empty());
        let text = String::from_utf8(out.stdout).unwrap();
        assert_eq!((text.lines().count(), text.trim().split('.').count()), (1, 3), "{text}");
    }
    let key = data.path().join("keys/token.key");
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let keys = key.parent().unwrap();
    assert_eq!(keys.metadata().unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn mistakes_go_to_standard_error_with_the_documented_exit_codes() {
    let (code, out, error) = run(binary().args(["token", "create", "--sub", "ada"]));
    assert_eq!((code, out.as_str(), error.lines().count()), (Some(64), "", 1), "{error}");
    let wrong = [("ULTIMATE_MCP__HTTP__PROT", "1"), ("ULTIMATE_MCP__AUTH__KEYS", "7")];
    let (code, out, error) = run(binary().args(["config", "check"]).envs(wrong));
    assert_eq!((code, out.as_str(), error.lines().count()), (Some(78), "", 2), "{error}");
    let open = [("ULTIMATE_MCP__HTTP__BIND", "0.0.0.0")];
    let (code, _, error) = run(binary().arg("serve").envs(open));
    assert_eq!(code, Some(78), "{error}");
    assert!(error.contains("auth.keys"), "{error}");
    let (code, out, error) = run(binary().args(["config", "check"]));
    assert_eq!((code, out.as_str(), error.as_str()), (Some(0), "ok\n", ""));
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let program = binary().get_program().to_owned();
    let line = "\"$0\" config dump | head -n 1; exit ${PIPESTATUS[0]}";
    let (code, out, error) = run(Command::new("bash").arg("-c").arg(line).arg(program));
    assert_eq!((code, out.lines().count(), error.as_str()), (Some(0), 1, ""));
}

#[test]
fn doctor_answers_for_this_host_thing_by_thing() {
    let (code, out, error) = run(binary().arg("doctor"));
    assert!(out.starts_with("The cell "), "{out}{error}");
    for thing in ["user namespace", "seccomp", "memory limit", "trial run"] {
        assert!(out.contains(thing), "{thing} is missing:\n{out}");
    }
    // Refused and explained, or fine: never anything between.
    assert_eq!(code == Some(0), error.is_empty(), "{code:?} {error}");
    assert!(matches!(code, Some(0 | 69)), "{code:?} {error}");
}
