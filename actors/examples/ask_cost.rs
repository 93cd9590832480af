//! What a supervised message costs, in CPU time of the whole process.
//!
//! `cargo run --release -p ultimate-mcp-actors --example ask_cost`
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measuring program prints and may die"
)]

use std::fs;
use std::future::Future;
use std::time::{Duration, Instant};

use actix::prelude::*;
use futures_util::future::join_all;
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::supervision::{
    ChildRef, ChildSpec, Placement, PolicyOptions, Supervisor, unobserved,
};

/// Asks of one measurement.
const ASKS: usize = 100_000;
/// Asks in flight at once in the concurrent measurement.
const IN_FLIGHT: usize = 256;
/// The cheapest of this many rounds counts: noise only adds.
const ROUNDS: usize = 5;

#[derive(Message)]
#[rtype(result = "u64")]
struct Add(u64);

struct Counter(u64);

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Supervised for Counter {}

impl Handler<Add> for Counter {
    type Result = u64;
    fn handle(&mut self, message: Add, _: &mut Context<Self>) -> u64 {
        self.0 += message.0;
        self.0
    }
}

/// CPU time of every thread so far (`/proc/PID/task/TID/schedstat`, first field: nanoseconds on a
/// CPU; Linux Documentation/scheduler/sched-stats.rst).
fn cpu_time() -> Duration {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let spent = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(spent.sum())
}

async fn measure<F: Future<Output = ()>>(what: &str, round: impl Fn() -> F) {
    let mut best_cpu = Duration::MAX;
    let mut best_wall = Duration::MAX;
    for _ in 0..ROUNDS {
        let (cpu, wall) = (cpu_time(), Instant::now());
        round().await;
        best_cpu = best_cpu.min(cpu_time() - cpu);
        best_wall = best_wall.min(wall.elapsed());
    }
    let per_ask = |total: Duration| total.as_secs_f64() * 1e6 / ASKS as f64;
    println!("{what:<44} {:>6.2} µs CPU {:>6.2} µs wall", per_ask(best_cpu), per_ask(best_wall));
}

fn deadline() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

async fn one_by_one(child: &ChildRef<Counter>) {
    for _ in 0..ASKS {
        child.ask(Add(1), deadline()).await.unwrap();
    }
}

async fn many_at_once(child: &ChildRef<Counter>) {
    for _ in 0..ASKS / IN_FLIGHT {
        join_all((0..IN_FLIGHT).map(|_| child.ask(Add(1), deadline()))).await;
    }
}

#[actix_rt::main]
async fn main() {
    let (root, _exit) = Supervisor::root("root", PolicyOptions::default(), unobserved()).unwrap();
    let spec = |name| ChildSpec::new(name, 1024, || Counter(0));
    let here = Placement::Shared(Arbiter::current());
    let near = root.spawn(spec("near").placement(here)).await.unwrap();
    let far = root.spawn(spec("far")).await.unwrap();
    let plain = Counter(0).start();
    measure("actix send, same thread, one by one", || async {
        for _ in 0..ASKS {
            plain.send(Add(1)).await.unwrap();
        }
    })
    .await;
    measure("ask, same thread, one by one", || one_by_one(&near)).await;
    measure("ask, same thread, 256 in flight", || many_at_once(&near)).await;
    measure("ask, own thread, one by one", || one_by_one(&far)).await;
    measure("ask, own thread, 256 in flight", || many_at_once(&far)).await;
}
