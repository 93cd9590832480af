//! A short, repeatable part of the table, on the embedded engines and Redis: what every run of the tests
//! breaks.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

use ultimate_mcp_chaos::run;
use ultimate_mcp_chaos::scenario::{Engine, Fault, Scenario};
use ultimate_mcp_chaos::world::SharedNeo4j;

/// Any number would do; the same one makes a failure come back.
const SEED: u64 = 5;

/// Runs the fault alone and panics with everything that contradicts what was promised.
fn survives(fault: Fault) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let scenario = Scenario { faults: vec![fault] };
    let line = run::scenario(&scenario, SEED, &runtime, &SharedNeo4j::default()).unwrap();
    assert!(!line.is_violated(), "{}", line.violations(SEED));
    let (all, done) = line.unaffected;
    assert_eq!(done, all, "calls that need nothing that was hurt: {}", line.row());
}

#[test]
fn every_promise_holds_when_the_server_is_killed_again_and_again() {
    survives(Fault::KillServer);
}

#[test]
fn every_promise_holds_when_redis_is_killed_and_others_do_not_notice() {
    survives(Fault::Kill(Engine::Redis));
}

#[test]
fn every_promise_holds_when_the_launcher_of_the_cells_is_killed() {
    survives(Fault::KillLauncher);
}
