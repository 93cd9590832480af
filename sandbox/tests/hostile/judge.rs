//! Runs programs in one cell, several at a time, and compares each outcome with what its header expects.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use ultimate_mcp_sandbox::Link;
use ultimate_mcp_sandbox::client::RunOptions;
use ultimate_mcp_sandbox::spec::RunReport;

use crate::host::{self, Host};
use crate::program::Program;
use crate::stepped;

/// Runs at once: enough to be neighbours, few enough for the times to mean something.
const AT_ONCE: usize = 4;
/// No run may keep the caller longer than this, whatever its own limits are.
const PATIENCE: Duration = Duration::from_secs(120);
/// Shown of a failed program's output.
const SHOWN_BYTES: usize = 2000;

/// How a program is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As a run of its own.
    Run,
    /// As a step of a sandbox that stays.
    Step,
}

/// Runs every program and answers the failures, each with its output.
pub async fn all(link: &Link, host: &Arc<Host>, programs: Vec<Program>, way: Way) -> Vec<String> {
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut runs = JoinSet::new();
    for (number, program) in programs.iter().enumerate() {
        if program.skipped() || (way == Way::Step && !stepped::fits(program)) {
            continue;
        }
        let pair = program.line("pair").map(|name| {
            programs.iter().find(|p| p.name == name).expect("the partner exists").clone()
        });
        let job = Job {
            link: link.clone(),
            host: Arc::clone(host),
            program: program.clone(),
            number,
            way,
        };
        let slots = Arc::clone(&slots);
        runs.spawn(async move {
            let _slot = slots.acquire_owned().await.expect("never closed");
            match pair {
                None => job.judge(0).await,
                Some(partner) => job.beside_and_after(partner).await,
            }
        });
    }
    let mut failures = Vec::new();
    while let Some(result) = runs.join_next().await {
        failures.extend(result.expect("no panic"));
    }
    failures.sort();
    failures
}

#[derive(Clone)]
struct Job {
    link: Link,
    host: Arc<Host>,
    program: Program,
    number: usize,
    way: Way,
}

impl Job {
    /// Twice: while the partner lives, and when it has just ended.
    async fn beside_and_after(&self, partner: Program) -> Option<String> {
        let other = Self { program: partner, number: self.number + 1000, ..self.clone() };
        let (left, beside) = tokio::join!(other.judge(1), self.judge(2));
        let after = self.judge(3).await;
        left.or(beside).or(after)
    }

    async fn judge(&self, turn: usize) -> Option<String> {
        let program = &self.program;
        // Both ways may be at work at once in this process; a process name has 15 bytes.
        let way = if self.way == Way::Run { "ump" } else { "ums" };
        let survivor = format!("{way}{:x}-{}{turn}", std::process::id() & 0xffff, self.number);
        let canary = self.host.canary(&survivor, program);
        let start = Instant::now();
        let run = async {
            match self.way {
                Way::Run => self.link.run(program.spec(&canary), RunOptions::default()).await,
                Way::Step => stepped::run(&self.link, program, &canary).await,
            }
        };
        let report = match tokio::time::timeout(PATIENCE, run).await {
            Err(_) => return Some(format!("{}: no report after {PATIENCE:?}", program.name)),
            Ok(Err(error)) => return Some(format!("{}: not carried out: {error}", program.name)),
            Ok(Ok(report)) => report,
        };
        let took = start.elapsed();
        let mut problems = compare(program, &report, took);
        let survivors = host::survivors(&survivor);
        if !survivors.is_empty() {
            problems.push(format!("processes outlived their run: {survivors:?}"));
        }
        if leaks(&report, &self.host.secret) {
            problems.push("the host's secret came out".to_owned());
        }
        (!problems.is_empty()).then(|| show(program, &problems, &report, took))
    }
}

/// What differs from the header.
fn compare(program: &Program, report: &RunReport, took: Duration) -> Vec<String> {
    let mut problems = Vec::new();
    let mut check = |fine: bool, problem: String| {
        if !fine {
            problems.push(problem);
        }
    };
    let status = serde_json::to_value(report.status).unwrap();
    let status = status.as_str().unwrap();
    let wanted = program.line("expect-status").expect("every program expects a status");
    check(wanted.split('|').any(|s| s == status), format!("status {status}, expected {wanted}"));
    let (stdout, stderr) = (text(&report.stdout), text(&report.stderr));
    for wanted in program.all("expect-stdout") {
        check(stdout.contains(wanted), format!("stdout lacks {wanted:?}"));
    }
    for forbidden in program.all("forbid-stdout").into_iter().chain(["BREACH"]) {
        let said = stdout.contains(forbidden) || stderr.contains(forbidden);
        check(!said, format!("said {forbidden}"));
    }
    let number = |key: &str| program.line(key).map(|n| n.parse::<i32>().unwrap());
    if let Some(wanted) = number("expect-return-code") {
        check(report.return_code == Some(wanted), format!("return code {:?}", report.return_code));
    }
    if let Some(wanted) = number("expect-signal") {
        check(report.signal == Some(wanted), format!("signal {:?}", report.signal));
    }
    if let Some(most) = program.number("seconds-max") {
        check(took.as_secs_f64() <= most, format!("took {took:?}, at most {most} s"));
    }
    if let Some(most) = program.number("cpu-seconds-max") {
        check(report.cpu.as_secs_f64() <= most, format!("used {:?}, at most {most} s", report.cpu));
    }
    let limit = usize::try_from(program.limits().output_bytes).unwrap();
    let longest = report.stdout.len().max(report.stderr.len());
    check(longest <= limit, format!("{longest} bytes of output under a bound of {limit}"));
    artifacts(program, report, &mut check);
    problems
}

fn artifacts(program: &Program, report: &RunReport, check: &mut impl FnMut(bool, String)) {
    let mut names: Vec<&str> = report.artifacts.iter().map(|a| a.name.as_str()).collect();
    names.sort_unstable();
    if let Some(wanted) = program.json("expect-artifacts") {
        check(
            wanted == serde_json::json!(names),
            format!("artifacts {names:?}, expected {wanted}"),
        );
    }
    let bytes: usize = report.artifacts.iter().map(|a| a.content.len()).sum();
    for (key, fine) in [
        ("artifacts-min", program.number("artifacts-min").is_none_or(|n| names.len() as f64 >= n)),
        ("artifacts-max", program.number("artifacts-max").is_none_or(|n| names.len() as f64 <= n)),
        (
            "artifact-bytes-max",
            program.number("artifact-bytes-max").is_none_or(|n| bytes as f64 <= n),
        ),
    ] {
        check(fine, format!("{} artifacts, {bytes} bytes, against {key}", names.len()));
    }
    for name in &names {
        let part_is_bad = |part: &str| matches!(part, "" | "." | "..");
        let bad = name.chars().any(char::is_control) || name.split('/').any(part_is_bad);
        check(!bad, format!("artifact name {name:?}"));
    }
    names.dedup();
    check(names.len() == report.artifacts.len(), "two artifacts of one name".to_owned());
    let notes = report.artifact_notes.iter();
    let noisy = notes.clone().any(|note| note.chars().any(char::is_control) || note.len() > 8192);
    check(
        !noisy && notes.len() <= 1000,
        format!("{} notes, control characters: {noisy}", notes.len()),
    );
}

fn leaks(report: &RunReport, secret: &str) -> bool {
    let has = |bytes: &[u8]| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
    let notes = report.artifact_notes.iter().chain(&report.message);
    has(&report.stdout)
        || has(&report.stderr)
        || report.artifacts.iter().any(|a| has(&a.content) || has(a.name.as_bytes()))
        || notes.into_iter().any(|note| has(note.as_bytes()))
}

fn show(program: &Program, problems: &[String], report: &RunReport, took: Duration) -> String {
    let cut = |bytes: &[u8]| {
        let lines = text(bytes);
        let breaches: Vec<&str> = lines.lines().filter(|l| l.contains("BREACH")).take(20).collect();
        let shown = if breaches.is_empty() { lines.clone() } else { breaches.join("\n") };
        let end = shown.char_indices().map(|(at, _)| at).take_while(|at| *at <= SHOWN_BYTES).last();
        shown[..if shown.len() <= SHOWN_BYTES { shown.len() } else { end.unwrap_or(0) }]
            .escape_debug()
            .to_string()
            .replace("\\n", "\n    ")
    };
    format!(
        "{}: {}\n  {:?} code {:?} signal {:?} cpu {:?} after {took:?}, message {:?}, artifacts {:?}, notes {:?}\n  \
         stdout: {}\n  stderr: {}\n",
        program.name,
        problems.join("; "),
        report.status,
        report.return_code,
        report.signal,
        report.cpu,
        report.message,
        report.artifacts.iter().map(|a| &a.name).take(10).collect::<Vec<_>>(),
        report.artifact_notes.iter().take(5).collect::<Vec<_>>(),
        cut(&report.stdout),
        cut(&report.stderr),
    )
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
