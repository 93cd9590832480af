//! One scenario from start to verdict.
//!
//! Start everything → let the clients work and count what the server holds → faults, while the clients work
//! on → wait until every kind of call works again → wait until queues are empty, count again, read what is
//! kept → stop the server, export and verify its audit → judge.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::census;
use crate::evidence::{Event, Evidence, Happened, Window};
use crate::inject::{self, Complaints, Scene};
use crate::record::Kind;
use crate::report::Line;
use crate::restarts;
use crate::rng::Rng;
use crate::scenario::{Fault, Scenario};
use crate::server::Server;
use crate::watch::{self, Samples};
use crate::workload::Workload;
use crate::world::{SharedNeo4j, World};

/// What one node changes, every node knows within this (docs/nodes.md), and a little.
const SEEN_MAX: Duration = Duration::from_millis(1200);
/// Work before the first count: pools fill, interpreters start.
const WARM_UP: Duration = Duration::from_millis(2000);
/// Without work, so that a count is not of a moment's load.
const QUIET: Duration = Duration::from_millis(600);
/// Work before the faults, to compare with.
const BEFORE: Duration = Duration::from_millis(1500);
/// Work after everything recovered.
const AFTER: Duration = Duration::from_millis(700);
/// What has not recovered by then never does.
pub const RECOVERY_MAX: Duration = Duration::from_secs(30);
/// Calls in hand have their definite outcome by then.
const FINISH_MAX: Duration = Duration::from_secs(30);
/// Processes and control groups of a server that ended are gone by then.
const GONE_MAX: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Scenarios of this process so far.
static STARTED: AtomicU64 = AtomicU64::new(0);

/// Set when the run is to end early; every wait looks at it.
pub static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn pause(duration: Duration) -> Result<()> {
    let end = Instant::now() + duration;
    while Instant::now() < end {
        if INTERRUPTED.load(Ordering::SeqCst) {
            bail!("interrupted");
        }
        std::thread::sleep(LOOK_EVERY.min(duration));
    }
    Ok(())
}

/// Runs a scenario and judges it.
///
/// # Errors
/// When it could not be carried out; a violation is a verdict, not an error.
pub fn scenario(
    scenario: &Scenario,
    seed: u64,
    runtime: &Runtime,
    neo4j: &SharedNeo4j,
) -> Result<Line> {
    let complaints = Complaints::default();
    let world = World::start(scenario, neo4j)?;
    // Scenarios share Neo4j: their nodes must not have the same keys.
    let number = STARTED.fetch_add(1, Ordering::SeqCst);
    let prefix = format!("c{seed}-{}-{number}", std::process::id());
    let load = Workload::new(runtime.handle(), world.urls(), world.tokens()?, prefix)?;
    let said = |error: anyhow::Error| error.context(world.said(15));
    let scene = Scene { world: &world, load: &load, complaints: &complaints };
    let mut evidence = work(scenario, seed, runtime, &scene).map_err(said)?;
    evidence.complaints = complaints.taken();
    for node in &world.nodes {
        close(node, &mut evidence).map_err(said)?;
        evidence.restarts.extend(restarts::measure(&node.log()));
    }
    let server_said = world.said(40);
    Ok(Line::judge(scenario, evidence, server_said))
}

/// Everything that needs the server alive.
fn work(scenario: &Scenario, seed: u64, runtime: &Runtime, scene: &Scene<'_>) -> Result<Evidence> {
    let (world, load) = (scene.world, scene.load);
    let _inside = runtime.enter();
    runtime.block_on(lower(load))?;
    if world.nodes.len() > 1 {
        // Until every node knows of it.
        pause(SEEN_MAX)?;
    }
    let quiet = || -> Result<census::Census> {
        pause(QUIET)?;
        let counted = world.nodes.iter().map(|node| node.pid().and_then(census::of));
        let all: Option<Vec<census::Census>> = counted.collect();
        Ok(census::sum(&all.context("a server had ended")?))
    };
    let loops = load.start();
    pause(WARM_UP)?;
    let late = runtime.block_on(finish(load, vec![loops]));
    ensure!(late.is_empty(), "before any fault: {late:?}");
    let before = quiet()?;

    let samples = Samples::begin(load);
    let loops = load.start();
    pause(BEFORE)?;
    let faults = inject_all(scenario, seed, scene)?;
    let ended = faults.iter().map(|fault| fault.window.ended).max().unwrap_or_default();
    // New clients beside the old ones: those may still wait for an answer that a fault took.
    let fresh = load.start_few();
    let recovered = recovery(load, ended)?;
    pause(AFTER)?;
    let mut undrained = runtime.block_on(finish(load, vec![loops, fresh]));
    undrained.extend(runtime.block_on(watch::drained(load)));
    world.nodes.iter().for_each(|node| node.notice());
    let after = quiet()?;
    let records = load.records();
    let mut seen = samples.taken();
    drop(samples);
    seen.push(runtime.block_on(watch::sample(load)));
    Ok(Evidence {
        jobs: runtime.block_on(watch::jobs(load))?,
        nodes: runtime.block_on(watch::nodes(load))?,
        users: runtime.block_on(watch::users(load, &records))?,
        records,
        census: Some((before, after)),
        undrained: Some(undrained),
        samples: seen,
        faults,
        recovered,
        ..Evidence::default()
    })
}

/// Lets the clients end their calls in hand; the calls that never got a definite answer.
async fn finish(load: &Workload, loops: Vec<JoinSet<()>>) -> Vec<String> {
    load.end();
    let end = tokio::time::Instant::now() + FINISH_MAX;
    for mut clients in loops {
        while let Ok(Some(_)) = tokio::time::timeout_at(end, clients.join_next()).await {}
    }
    let (late, records) = (load.in_hand(), load.records());
    let last = |call: &String| records.iter().rev().find(|record| record.subject == *call);
    let said = |call: &String| last(call).map(|record| record.outcome.clone());
    late.iter()
        .map(|call| format!("{call} has no definite answer, last: {:?}", said(call)))
        .collect()
}

/// Stores a role below the one of the token: from now on the user may only look.
async fn lower(load: &Workload) -> Result<()> {
    let (path, body) = ("/api/v1/users/chaos-lowered/roles", Some(json!({ "role": "viewer" })));
    let answer = load.order(0, reqwest::Method::POST, path, body).await;
    let (status, answer) = answer.map_err(anyhow::Error::msg)?;
    ensure!(status == 200, "no role can be stored: {status} {answer}");
    Ok(())
}

/// Lets every fault of the scenario happen, each on a thread of its own.
fn inject_all(scenario: &Scenario, seed: u64, scene: &Scene<'_>) -> Result<Vec<Happened>> {
    std::thread::scope(|scope| {
        let running: Vec<_> = scenario
            .faults
            .iter()
            .map(|fault| {
                let rng = Rng::new(seed, &format!("{}/{}", scenario.name(), fault.name()));
                scope.spawn(move || inject_one(*fault, rng, scene))
            })
            .collect();
        let mut happened = Vec::new();
        for thread in running {
            let faults = thread.join().map_err(|_| anyhow::anyhow!("a fault panicked"))??;
            happened.extend(faults);
        }
        happened.sort_by_key(|fault: &Happened| fault.window.began);
        Ok(happened)
    })
}

fn inject_one(fault: Fault, mut rng: Rng, scene: &Scene<'_>) -> Result<Vec<Happened>> {
    let load = scene.load;
    let mut happened = Vec::new();
    for time in 0..inject::times(fault, &mut rng) {
        let offset = if time == 0 { rng.millis(0, 300) } else { rng.millis(1200, 2000) };
        pause(offset)?;
        let began = load.now();
        let begun = inject::begin(fault, scene, &mut rng)?;
        pause(begun.lasts)?;
        let until = load.now();
        drop(begun.undo);
        // A restart takes its time, during which the dependency is still away; one that ends the fault
        // by itself (SIGCONT, healing the proxy) takes none.
        let window = Window { began, ended: load.now().max(until) };
        happened.push(Happened { what: begun.what, window, down: fault.is_away() });
    }
    Ok(happened)
}

/// Time from the end of the faults until every kind of call, sent after it, had succeeded once.
fn recovery(load: &Workload, ended: Duration) -> Result<Option<Duration>> {
    let end = Instant::now() + RECOVERY_MAX;
    while Instant::now() < end {
        let first = |kind: &Kind| load.first_done(*kind, ended);
        let firsts: Option<Vec<Duration>> = Kind::ALL.iter().map(first).collect();
        if let Some(last) = firsts.and_then(|firsts| firsts.into_iter().max()) {
            return Ok(Some(last.saturating_sub(ended)));
        }
        pause(LOOK_EVERY)?;
    }
    Ok(None)
}

/// Stops a server and reads what it leaves: audit, processes, control groups.
fn close(server: &Server, evidence: &mut Evidence) -> Result<()> {
    server.stop()?;
    let mut events = export(server)?;
    if has_open_calls(&events) {
        // What lost its outcome while the process lived on gets it at the next start.
        server.start()?;
        pause(QUIET)?;
        server.stop()?;
        events = export(server)?;
    }
    evidence.events.extend(events);
    let verified = server.cli(&["audit", "verify"])?;
    let said = [verified.stdout, verified.stderr].concat();
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    // Of several chains one that does not verify is enough.
    if !matches!(evidence.chain, Some((false, _))) {
        evidence.chain = Some((verified.status.success(), said));
    }

    let seen = server.seen();
    let launchers: Vec<u32> = seen
        .iter()
        .filter(|life| life.name.starts_with("cell-launcher"))
        .map(|life| life.pid)
        .collect();
    let end = Instant::now() + GONE_MAX;
    loop {
        let left: Vec<_> = seen.iter().filter(|life| census::is_alive(life)).cloned().collect();
        let groups = census::groups(&launchers);
        if (left.is_empty() && groups.is_empty()) || Instant::now() > end {
            evidence.left_processes.extend(left);
            evidence.left_groups.extend(groups);
            return Ok(());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn has_open_calls(events: &[Event]) -> bool {
    let intents = events.iter().filter(|event| event.phase == "intent").count();
    let outcomes = events.iter().filter(|event| event.phase == "outcome").count();
    intents != outcomes
}

fn export(server: &Server) -> Result<Vec<Event>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("audit.jsonl");
    let name = path.to_str().context("a folder with a strange name")?;
    let out = server.cli(&["audit", "export", name])?;
    ensure!(out.status.success(), "audit export: {}", String::from_utf8_lossy(&out.stderr));
    let text = std::fs::read_to_string(&path)?;
    let events = text
        .lines()
        .map(|line| Event::parse(line).with_context(|| format!("not an event: {line}")));
    let mut events = events.collect::<Result<Vec<Event>>>()?;
    Event::attribute(&mut events);
    Ok(events)
}
