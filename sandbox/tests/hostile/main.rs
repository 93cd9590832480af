//! The programs of `tests/security` against the cell: the hostile ones are held, the harmless ones work,
//! the host stays as it was. `HOSTILE_ONLY=part` runs those whose name contains the part.

#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test's helper is a failed test")]

mod bare;
mod descriptions;
mod host;
mod judge;
mod nobody;
mod program;
mod stepped;
mod steps;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ultimate_mcp_sandbox::client::RunOptions;
use ultimate_mcp_sandbox::options::ZygoteOptions;
use ultimate_mcp_sandbox::spec::{InputFile, Language, Limits};
use ultimate_mcp_sandbox::{LauncherOptions, Link};

use self::host::Host;
use self::judge::Way;
use self::program::Program;

fn options(degraded: bool) -> LauncherOptions {
    let built = || PathBuf::from(env!("CARGO_BIN_EXE_ultimate-mcp-cell"));
    LauncherOptions {
        program: std::env::var_os("HOSTILE_LAUNCHER").map_or_else(built, PathBuf::from),
        allow_degraded: degraded,
        ..LauncherOptions::default()
    }
}

/// Attacks and harmless programs, mixed: neighbours of each other.
fn programs(degraded: bool) -> Vec<Program> {
    let mut all = program::load(&program::folder(), true, degraded);
    let attacks = all.len();
    all.extend(program::load(&program::folder().join("harmless"), false, degraded));
    let harmless = all.len() - attacks;
    if std::env::var_os("HOSTILE_ONLY").is_none() {
        assert!(attacks >= 40 && harmless >= 10, "{attacks} attacks, {harmless} harmless programs");
    }
    all
}

/// A run whose code, files, input and arguments hold the secret: later runs must find nothing of it.
async fn victim(link: &Link, secret: &str, born: bool) {
    let files = vec![InputFile { path: secret.to_owned(), content: secret.into() }];
    let code = format!("import sys; a = {secret:?}; print(len(sys.stdin.read()))");
    let limits = Limits {
        wall: Duration::from_secs(10),
        cpu: Duration::from_secs(10),
        memory_bytes: 256 << 20,
        pids: 32,
        output_bytes: 1 << 16,
        disk_bytes: 1 << 20,
        cpu_milli: 1000,
    };
    let mut spec = Language::Python
        .run_spec(secret.to_owned(), &code, files, secret.into(), limits)
        .expect("python3 is installed");
    // A run with variables of its own is not for a zygote.
    if !born {
        spec.env.push(("VICTIM_SECRET".to_owned(), secret.to_owned()));
    }
    let report = link.run(spec, RunOptions::default()).await.expect("the victim runs");
    assert_eq!(report.return_code, Some(0), "{}", String::from_utf8_lossy(&report.stderr));
}

/// Polls until the condition holds: the kernel takes its time to bury a process.
async fn soon(condition: impl Fn() -> bool) -> bool {
    for _ in 0..500 {
        if condition() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    condition()
}

/// Descriptors of a launcher at rest. It prepares its spares in its idle moments and each holds some:
/// a count taken before they are all there is lower than any count after.
async fn descriptors_at_rest(launcher: u32, spares: usize) -> usize {
    let ready = || host::children(launcher).len() == spares;
    assert!(soon(ready).await, "the spares were not prepared: {:?}", host::children(launcher));
    let mut steady = (host::descriptors(launcher), 0);
    while steady.1 < 10 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = host::descriptors(launcher);
        steady = if now == steady.0 { (now, steady.1 + 1) } else { (now, 0) };
    }
    steady.0
}

/// Runs the whole table and looks at the host afterwards; answers everything that is wrong.
async fn table(degraded: bool, way: Way, zygote: Option<ZygoteOptions>) -> Vec<String> {
    let host = Arc::new(Host::new());
    let tools = Some(host.tools());
    let all = LauncherOptions { tools_dir: tools, zygote: zygote.clone(), ..options(degraded) };
    // Sandboxes prepared for later runs have processes and control groups, and so has a zygote.
    let spares = usize::from(all.spares)
        + zygote.as_ref().map_or(0, |zygote| usize::from(zygote.spares) + 1);
    let link = Link::spawn(all).await.expect("the launcher starts");
    let launcher = link.launcher_pid();
    if zygote.is_some() {
        assert!(soon(|| host::children(launcher).len() == spares).await, "no zygote is up");
    }
    victim(&link, &host.secret, zygote.is_some()).await;
    let held = descriptors_at_rest(launcher, spares).await;
    let mut problems = judge::all(&link, &host, programs(degraded), way).await;
    if link.is_closed() || link.launcher_pid() != launcher {
        problems.push("the launcher did not survive".to_owned());
    }
    victim(&link, &host.secret, zygote.is_some()).await;
    if !soon(|| host::children(launcher).len() <= spares).await {
        problems.push(format!("processes left: {:?}", host::children(launcher)));
    }
    if !soon(|| host::descriptors(launcher) <= held).await {
        let now = host::descriptors(launcher);
        problems.push(format!("the launcher holds {now} descriptors, {held} before"));
    }
    if !soon(|| host::run_groups(launcher).len() <= spares).await {
        problems.push(format!("control groups left: {:?}", host::run_groups(launcher)));
    }
    drop(link);
    let process = PathBuf::from(format!("/proc/{launcher}"));
    if !soon(|| !process.exists()).await {
        problems.push("the launcher outlived its link".to_owned());
    }
    if !soon(|| host::control_groups(launcher).is_empty()).await {
        problems.push(format!("control groups left: {:?}", host::control_groups(launcher)));
    }
    match Arc::try_unwrap(host) {
        Ok(mut host) => problems.extend(host.damage()),
        Err(_) => problems.push("a run still holds the host".to_owned()),
    }
    problems
}

fn none(problems: Vec<String>) {
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[tokio::test]
async fn every_hostile_program_is_held_and_every_harmless_one_works() {
    none(table(false, Way::Run, None).await);
}

/// Interpreters are forked from a zygote that is replaced every few runs; the rest is started as before.
#[tokio::test]
async fn every_hostile_program_is_held_in_an_interpreter_born_of_a_zygote_too() {
    let zygote = ZygoteOptions { renew_after_forks: 40, ..ZygoteOptions::default() };
    assert!(zygote.library.is_file(), "it is built with this crate: {:?}", zygote.library);
    none(table(false, Way::Run, Some(zygote)).await);
}

#[tokio::test]
async fn every_hostile_program_is_held_as_a_step_too() {
    let fit = programs(false).iter().filter(|program| stepped::fits(program)).count();
    assert!(fit >= 110 || std::env::var_os("HOSTILE_ONLY").is_some(), "{fit} programs");
    none(table(false, Way::Step, None).await);
}

#[tokio::test]
async fn an_unprivileged_servers_cell_holds_them_too() {
    let test = "an_unprivileged_servers_cell_holds_them_too";
    if nobody::repeat(test, &options(true).program) {
        none(table(true, Way::Run, None).await);
    }
}

#[tokio::test]
async fn an_unprivileged_servers_cell_holds_them_as_steps_too() {
    let test = "an_unprivileged_servers_cell_holds_them_as_steps_too";
    if nobody::repeat(test, &options(true).program) {
        none(table(true, Way::Step, None).await);
    }
}

#[test]
fn the_marked_programs_breach_where_there_is_no_cell() {
    let mut host = Host::new();
    let wanted: Vec<Program> = program::load(&program::folder(), true, false)
        .into_iter()
        .filter(|program| program.line("control") == Some("breach"))
        .collect();
    let quiet = wanted.iter().enumerate().filter_map(|(n, program)| bare::run(&host, program, n));
    none(quiet.collect());
    // They did reach the listeners, and must not have been able to do more as nobody.
    let damage: Vec<String> =
        host.damage().into_iter().filter(|line| !line.contains("connections")).collect();
    none(damage);
}
