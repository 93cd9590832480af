//! Fault points in the server (`/api/v1/faults`): steps that fail in three of ten passes, actors that panic.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Complaints, Scene, Undo};
use crate::scenario::Actor;
use crate::workload::Workload;

/// Where calls that do not need them notice nothing.
pub(super) const STEPS: [&str; 6] = [
    "cell.before_run",
    "cell.after_run",
    "redis.before_send",
    "redis.after_reply",
    "jobs.before_commit",
    "authorization.before_commit",
];
/// Where everybody notices.
pub(super) const AUDIT: [&str; 1] = ["audit.before_commit"];

const SOMETIMES: &str = "30%return(error)";
const ONCE: &str = "1*panic";
const OFF: &str = "off";

/// Panics of one scenario: fewer than a supervisor allows in a minute.
const PANICS: u64 = 4;
/// What the armed points do to the order itself is over by then.
const ORDER_MAX: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(20);
/// Between a restart and the next panic.
const BETWEEN: Duration = Duration::from_millis(300);

/// Lets the points fail in three of ten passes.
pub(super) fn arm(scene: &Scene<'_>, points: &'static [&'static str]) -> Result<Undo> {
    let (load, complaints) = (scene.load.clone(), scene.complaints.clone());
    // First the guard: an order that fails half-way is undone too.
    let undo = Undo::by(move || points.iter().for_each(|point| disarm(&load, point, &complaints)));
    for point in points {
        put(scene.load, point, SOMETIMES)?;
    }
    Ok(undo)
}

/// One panic after the other, each when the actor serves again.
pub(super) fn panic_again_and_again(scene: &Scene<'_>, actor: Actor) -> Result<Undo> {
    let (point, name) = match actor {
        Actor::Authorization => ("authorization.before_commit", "authorization"),
        Actor::Audit => ("audit.before_commit", "audit"),
    };
    let (load, complaints) = (scene.load.clone(), scene.complaints.clone());
    let undo = Undo::by(move || disarm(&load, point, &complaints));
    let before = panics(scene.load, name)?;
    for number in 1..=PANICS {
        // The order is recorded too: what it is told depends on whose commit comes next.
        let _ = set(scene.load, point, ONCE);
        let end = Instant::now() + ORDER_MAX;
        // The workload's own calls come by.
        while panics(scene.load, name).unwrap_or(before) < before + number {
            ensure!(Instant::now() < end, "{name} did not panic at {point}");
            std::thread::sleep(AGAIN);
        }
        std::thread::sleep(BETWEEN);
    }
    Ok(undo)
}

/// How often this child has panicked.
fn panics(load: &Workload, child: &str) -> Result<u64> {
    let (status, tree) =
        load.order_now(Method::GET, "/api/v1/supervision", None).map_err(anyhow::Error::msg)?;
    ensure!(status == 200, "the supervision tree: {status} {tree}");
    let Some(panics) = find(&tree, child) else { bail!("no child {child} in {tree}") };
    Ok(panics)
}

fn find(node: &Value, child: &str) -> Option<u64> {
    if node["name"] == child {
        return node["panics"].as_u64();
    }
    node["children"].as_array()?.iter().find_map(|node| find(node, child))
}

fn set(load: &Workload, point: &str, action: &str) -> Result<(u16, Value), String> {
    let path = format!("/api/v1/faults/{point}");
    load.order_now(Method::PUT, &path, Some(json!({ "action": action })))
}

/// How a point is armed; the list is read, not recorded, so that no armed point stands in its way.
fn action(load: &Workload, point: &str) -> Result<String, String> {
    let (status, list) = load.order_now(Method::GET, "/api/v1/faults", None)?;
    if status != 200 {
        return Err(format!("the list of fault points: {status} {list}"));
    }
    let points = list["points"].as_array().cloned().unwrap_or_default();
    let found = points.into_iter().find(|row| row["point"] == point);
    Ok(found.and_then(|row| row["action"].as_str().map(str::to_owned)).unwrap_or_default())
}

/// Until it is so: the points that are armed already may stand in the way.
fn put(load: &Workload, point: &str, wanted: &str) -> Result<()> {
    let end = Instant::now() + ORDER_MAX;
    loop {
        let told = set(load, point, wanted);
        if let Ok((404, _)) = told {
            bail!("the server has no fault points; build it with the feature `faults`");
        }
        if action(load, point).is_ok_and(|action| action == wanted) {
            return Ok(());
        }
        ensure!(Instant::now() < end, "{point} cannot be set to {wanted}: {told:?}");
        std::thread::sleep(AGAIN);
    }
}

fn disarm(load: &Workload, point: &str, complaints: &Complaints) {
    if let Err(error) = put(load, point, OFF) {
        complaints.add(format!("{error:#}"));
    }
}
