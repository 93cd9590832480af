//! `ultimate-mcp-chaos`: runs the table of scenarios, single faults first, then pairs from the seed until the
//! time is used up.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use ultimate_mcp_chaos::place::{Clock, MemoryGroup, SmallDisk};
use ultimate_mcp_chaos::report::{self, Line};
use ultimate_mcp_chaos::run::{self, INTERRUPTED};
use ultimate_mcp_chaos::scenario::{self, Fault, Scenario};
use ultimate_mcp_chaos::world::SharedNeo4j;

/// What one scenario takes at most when nothing is wrong; no scenario begins with less time left.
const SCENARIO_MAX: Duration = Duration::from_secs(60);

/// Breaks a running server on purpose and checks what it promised.
#[derive(Parser)]
struct Arguments {
    /// Chooses parameters and pairs of faults; the time of day when it is left out.
    #[arg(long)]
    seed: Option<u64>,
    /// Seconds for the whole run.
    #[arg(long, default_value_t = 840, value_parser = clap::value_parser!(u64).range(30..=86_400))]
    seconds: u64,
    /// Only scenarios with exactly this name; names a pair as "a + b". Repeatable.
    #[arg(long)]
    only: Vec<String>,
    /// Pairs at most; without it, as many as the time allows.
    #[arg(long)]
    pairs: Option<usize>,
    /// Prints the timeline of every scenario, not only where something was violated.
    #[arg(long)]
    timeline: bool,
    /// Prints the names and ends.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::from(2)
        }
    }
}

/// A reader that went away is no reason to stop before everything is undone.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Whether every scenario that was to run did, and nothing was violated.
fn run(arguments: &Arguments) -> Result<bool> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let seed = arguments.seed.unwrap_or(now.as_secs());
    if arguments.list {
        scenario::singles().iter().for_each(|scenario| say(&scenario.name()));
        return Ok(true);
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.spawn(async {
        let terminate = SignalKind::terminate();
        let Ok(mut terminated) = signal(terminate) else { return };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated.recv() => {}
        }
        INTERRUPTED.store(true, Ordering::SeqCst);
    });
    let (neo4j, end) =
        (SharedNeo4j::default(), Instant::now() + Duration::from_secs(arguments.seconds));
    let mut reports = Vec::new();
    let mut complete = true;
    say(&format!("seed {seed}\n{}", report::head()));
    for scenario in chosen(arguments, seed)? {
        if INTERRUPTED.load(Ordering::SeqCst) {
            say("interrupted");
            complete = false;
            break;
        }
        let single = scenario.faults.len() == 1 || !arguments.only.is_empty();
        if Instant::now() + SCENARIO_MAX > end {
            if !single {
                break;
            }
            say(&format!("{:<34} not run: out of time", scenario.name()));
            complete = false;
            continue;
        }
        if let Some(missing) = missing(&scenario) {
            say(&format!("{:<34} not run: needs {missing}", scenario.name()));
            continue;
        }
        let line = run::scenario(&scenario, seed, &runtime, &neo4j);
        let line: Line = match line.with_context(|| format!("seed {seed}, {}", scenario.name())) {
            Ok(line) => line,
            Err(error) => {
                say(&format!("{:<34} could not be carried out", scenario.name()));
                reports.push(format!("{error:#}"));
                continue;
            }
        };
        say(&line.row());
        if line.is_violated() {
            reports.push(line.violations(seed));
        } else if arguments.timeline {
            say(&line.story());
        }
    }
    for text in &reports {
        say(&format!("\n{text}"));
    }
    Ok(complete && reports.is_empty())
}

/// What this machine lacks for a scenario.
fn missing(scenario: &Scenario) -> Option<&'static str> {
    if scenario.needs_small_disk() && !SmallDisk::is_possible() {
        return Some("root, to mount a small disk");
    }
    if scenario.has(|fault| matches!(fault, Fault::FillMemory(_))) && !MemoryGroup::is_possible() {
        return Some("root and control groups of version 1 that limit memory");
    }
    let clock = scenario.has(|fault| fault == Fault::JumpClock);
    (clock && !Clock::is_possible()).then_some("libfaketime")
}

/// What is to run: what was named, or every single fault and then pairs.
///
/// # Errors
/// A name that no fault has.
fn chosen(arguments: &Arguments, seed: u64) -> Result<Box<dyn Iterator<Item = Scenario>>> {
    let pairs =
        (0..arguments.pairs.unwrap_or(10_000)).map(move |number| scenario::pair(seed, number));
    if arguments.only.is_empty() {
        return Ok(Box::new(scenario::singles().into_iter().chain(pairs)));
    }
    let named = arguments.only.iter().map(|name| named(name)).collect::<Result<Vec<Scenario>>>()?;
    Ok(Box::new(named.into_iter()))
}

fn named(name: &str) -> Result<Scenario> {
    let singles = scenario::singles();
    let faults = name.split(" + ").map(|part| {
        let found = singles.iter().find(|single| single.name() == part.trim());
        found
            .map(|single| single.faults[0])
            .with_context(|| format!("no fault {part:?}; see --list"))
    });
    Ok(Scenario { faults: faults.collect::<Result<_>>()? })
}
