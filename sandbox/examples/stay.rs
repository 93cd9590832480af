//! What a sandbox that stays costs: opening one, and a step of `1+1` in it, beside a bare interpreter
//! started anew for each.
//!
//! `cargo run --release --example stay -p ultimate-mcp-sandbox -- [ROUNDS]`

use std::io::Write as _;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use ultimate_mcp_sandbox::client::{Session, Step};
use ultimate_mcp_sandbox::spec::{Language, Limits, Status};
use ultimate_mcp_sandbox::step::End;
use ultimate_mcp_sandbox::{CellError, LauncherOptions, Link, launcher};

const ROUNDS_DEFAULT: usize = 100;
/// Steps per opened sandbox.
const STEPS: usize = 20;
/// Longer than the launcher takes to prepare the next sandbox; keeps the pool full, as between calls.
const PAUSE: Duration = Duration::from_millis(40);

fn main() -> ExitCode {
    if let Some(code) = launcher::run_if_asked() {
        return code;
    }
    let rounds = std::env::args().nth(1).and_then(|word| word.parse().ok());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime
        .map_err(CellError::Io)
        .and_then(|runtime| runtime.block_on(measure(rounds.unwrap_or(ROUNDS_DEFAULT))));
    match result {
        Ok(text) => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(rounds: usize) -> Result<String, CellError> {
    let link = Link::spawn(LauncherOptions { allow_degraded: true, ..Default::default() }).await?;
    let (mut bare, mut create, mut steps, mut close) = (vec![], vec![], vec![], vec![]);
    for _ in 0..rounds {
        tokio::time::sleep(PAUSE).await;
        bare.push(bare_python()?);
        let began = Instant::now();
        let session = open(&link).await?;
        create.push(began.elapsed());
        for _ in 0..STEPS {
            steps.push(step(&session).await?);
        }
        let began = Instant::now();
        session.close(End::Closed).await;
        close.push(began.elapsed());
    }
    let lines = [
        ("bare python3 -I -S -c 1+1", bare),
        ("sandbox: create", create),
        ("sandbox: execute 1+1", steps),
        ("sandbox: close", close),
    ];
    Ok(lines.into_iter().map(|(name, times)| line(name, times)).collect())
}

async fn open(link: &Link) -> Result<Session, CellError> {
    let limits = Limits {
        wall: Duration::from_secs(60),
        cpu: Duration::from_secs(60),
        memory_bytes: 256 << 20,
        pids: 32,
        output_bytes: 64 << 10,
        disk_bytes: 32 << 20,
        cpu_milli: 1000,
    };
    let spec = Language::Python.sandbox_spec("bench".to_owned(), limits);
    let spec = spec.map_err(|error| CellError::InvalidSpec(error.to_string()))?;
    let spec = spec.ok_or_else(|| CellError::InvalidSpec("there is no driver".to_owned()))?;
    link.open(spec, 100).await
}

async fn step(session: &Session) -> Result<Duration, CellError> {
    let wall = Duration::from_secs(5);
    let step = Step { code: "1+1".to_owned(), wall, output_bytes: 64 << 10 };
    let began = Instant::now();
    let report = session.step(&step).await;
    let took = began.elapsed();
    match report {
        Ok(report) if report.status == Status::Ok => Ok(took),
        other => Err(CellError::Start(format!("a step went wrong: {other:?}"))),
    }
}

fn bare_python() -> Result<Duration, CellError> {
    let began = Instant::now();
    let arguments = ["-I", "-S", "-c", "1+1"];
    Command::new("/usr/bin/python3").args(arguments).stdin(Stdio::null()).status()?;
    Ok(began.elapsed())
}

fn line(name: &str, mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
    format!("{name:<28} p50 {:8.3} ms   p99 {:8.3} ms   n {}\n", at(50), at(99), times.len())
}
