//! How many durable audit events per second, and what one costs in processor time.
//!
//! `cargo run --release -p ultimate-mcp-actors --example audit_rate -- [EVENTS] [CALLERS] [DIR]`
//!
//! Each caller does what a `tools/call` does: an intent that may wait for company and its outcome. With
//! CALLERS, only so many at once; else rounds of 1 to 1024. Then the file is filled to EVENTS (200,000) in
//! ten steps, whose rates show whether it holds with its size; queried by every indexed filter; verified.
#![allow(clippy::print_stdout, reason = "a tool that prints")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use ultimate_mcp_actors::audit::{
    AuditHandle, AuditKey, AuditOptions, EventType, Filter, Lines, NewEvent, Phase, verify,
};
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::ids::{CallId, CallerId};
use ultimate_mcp_actors::supervision::{PolicyOptions, Supervisor, unobserved};

/// Steps in which the file is filled.
const FILL_STEPS: usize = 10;
/// Tools and kinds of events that the calls are spread over.
const TOOLS: [(&str, EventType); 4] = [
    ("execute_code", EventType::CodeExecution),
    ("lint_code", EventType::CodeLint),
    ("graph_query", EventType::GraphQuery),
    ("graph_upsert", EventType::GraphUpsert),
];
/// One call in so many fails.
const FAILURE_EVERY: usize = 100;
/// Times each query is asked.
const ASKED: usize = 500;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let events: u64 = arguments.next().map_or(Ok(200_000), |text| text.parse())?;
    let callers: Option<usize> = arguments.next().map(|text| text.parse()).transpose()?;
    let dir = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = dir.join(format!("audit-rate-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let measured = actix::System::new().block_on(measure(&dir.join("audit.db"), events, callers));
    std::fs::remove_dir_all(&dir)?;
    measured
}

async fn measure(path: &Path, events: u64, callers: Option<usize>) -> Outcome {
    let (root, _exit) = Supervisor::root("rate", PolicyOptions::default(), unobserved())?;
    let key = AuditKey::from_bytes(&[7; 32]);
    let options = AuditOptions { stdout: Lines::Off, ..AuditOptions::default() };
    let audit = AuditHandle::start(&root, path, key.clone(), options).await?;
    println!("callers  events  commits  events/s  CPU µs/event  CPU µs/commit");
    let rounds = callers.map_or_else(|| vec![1, 4, 16, 64, 256, 1024], |callers| vec![callers]);
    for callers in rounds {
        let calls = if callers == 1 { 1_000 } else { 10_000 };
        round(&audit, callers, calls / callers + 1).await?;
    }
    let missing = events.saturating_sub(audit.stats().events) / 2;
    if missing > 0 {
        println!("filling to {events} events");
        let (began, before) = (Instant::now(), audit.stats().events);
        let callers = callers.unwrap_or(256);
        for _ in 0..FILL_STEPS {
            round(&audit, callers, missing as usize / callers / FILL_STEPS + 1).await?;
        }
        let (span, filled) = (began.elapsed(), audit.stats().events - before);
        println!(
            "sustained: {filled} events in {span:.1?}, {:.0} events/s",
            filled as f64 / span.as_secs_f64()
        );
    }
    query(&audit).await?;
    let began = Instant::now();
    let report = verify(path, &key)?;
    let (intact, span) = (report.is_intact(), began.elapsed());
    println!("verify: {} events, intact {intact}, {span:.2?}", report.events_intact);
    let bytes = std::fs::metadata(path)?.len();
    println!("disk: {} bytes per event", bytes / audit.stats().events.max(1));
    Ok(())
}

/// So many callers, each with so many calls, one after the other.
async fn round(audit: &AuditHandle, callers: usize, calls: usize) -> Outcome {
    let (before, cpu, began) = (audit.stats(), cpu(), Instant::now());
    let work = (0..callers).map(|caller| {
        let user = CallerId::parse(&format!("user-{}", caller % 50));
        async move {
            let user = user?;
            for n in 0..calls {
                call(audit, &user, caller + n).await?;
            }
            Ok::<(), Box<dyn std::error::Error>>(())
        }
    });
    for outcome in join_all(work).await {
        outcome?;
    }
    let (cpu, span, after) = (crate::cpu() - cpu, began.elapsed(), audit.stats());
    let events = (after.events - before.events) as f64;
    let commits = (after.commits - before.commits) as f64;
    let cpu_us = cpu.as_secs_f64() * 1e6;
    println!(
        "{callers:7} {events:7} {commits:8} {:9.0} {:13.1} {:14.1}",
        events / span.as_secs_f64(),
        cpu_us / events,
        cpu_us / commits
    );
    Ok(())
}

async fn call(audit: &AuditHandle, user: &CallerId, n: usize) -> Outcome {
    let deadline = Deadline::after(Duration::from_secs(30));
    let (tool, kind) = TOOLS[n % TOOLS.len()];
    let mut intent = NewEvent::new(kind, Phase::Intent, "tools/call");
    intent.call_id = Some(CallId::new());
    intent.user_id = Some(user.clone());
    intent.tool = Some(tool.into());
    intent.ip_address = Some([127, 0, 0, 1].into());
    intent.user_agent = Some("python-httpx/0.28.1".into());
    intent.request_id = Some("0192f0c1-2f4e-7b61-9a53-3a1e5f1a2b3c".into());
    let mut outcome = intent.clone();
    outcome.phase = Phase::Outcome;
    outcome.success = Some(!n.is_multiple_of(FAILURE_EVERY));
    outcome.duration_ms = Some(1.25);
    outcome.details.insert("code_hash".into(), "a".repeat(64).into());
    let intent = audit.append_deferred(intent, deadline);
    let outcome = audit.append(outcome, deadline);
    let (intent, outcome) = futures_util::join!(intent, outcome);
    intent?;
    outcome?;
    Ok(())
}

async fn query(audit: &AuditHandle) -> Outcome {
    let now = chrono::Utc::now();
    let (start, end) = (Some(now - chrono::TimeDelta::seconds(20)), Some(now));
    let filters = [
        ("newest 100", Filter::default()),
        ("a stretch of time", Filter { start, end, ..Filter::default() }),
        ("one tool's", Filter { tool: Some("lint_code".into()), ..Filter::default() }),
        ("one type's", Filter { event_type: Some(EventType::CodeLint), ..Filter::default() }),
        ("nobody's", Filter { user: Some("nobody".into()), ..Filter::default() }),
        ("one user's", Filter { user: Some("user-7".into()), ..Filter::default() }),
        ("failures", Filter { success: Some(false), ..Filter::default() }),
        (
            "user, tool, type, success",
            Filter {
                user: Some("user-7".into()),
                tool: Some("execute_code".into()),
                event_type: Some(EventType::CodeExecution),
                success: Some(true),
                ..Filter::default()
            },
        ),
    ];
    for (name, filter) in filters {
        let mut times = Vec::new();
        for _ in 0..ASKED {
            let began = Instant::now();
            audit.query(filter.clone(), Deadline::after(Duration::from_secs(30))).await?;
            times.push(began.elapsed());
        }
        times.sort_unstable();
        println!("query {name}: p50 {:.2?}, p99 {:.2?}", times[ASKED / 2], times[ASKED * 99 / 100]);
    }
    Ok(())
}

/// Processor time of this process, user and system: fields 14 and 15 of proc_pid_stat(5), in ticks of
/// 10 ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let fields: Vec<u64> = after_name.split(' ').map(|field| field.parse().unwrap_or(0)).collect();
    Duration::from_millis((fields[11] + fields[12]) * 10)
}
