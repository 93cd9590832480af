//! Each invariant is shown what contradicts it, and reports it; shown nothing, it does not say "held".

use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::census::{Census, Life};
use crate::evidence::{Event, Happened, Health, Sample, Window};
use crate::record::{Kind, Outcome, Record};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn check(id: &str, evidence: &Evidence) -> Verdict {
    let found = ALL.iter().find(|invariant| invariant.id == id).expect("it exists");
    (found.check)(evidence)
}

fn is_violated(id: &str, evidence: &Evidence) -> bool {
    matches!(check(id, evidence), Verdict::Violated(_))
}

fn record(kind: Kind, request: &str, outcome: Outcome) -> Record {
    Record {
        request_id: request.to_owned(),
        kind,
        node: 0,
        began: seconds(1),
        ended: seconds(2),
        outcome,
        subject: format!("s-{request}"),
        made: format!("m-{request}"),
    }
}

fn event(request: &str, phase: &str, success: Option<bool>) -> Event {
    Event {
        phase: phase.to_owned(),
        call_id: format!("c-{request}"),
        success,
        request_id: request.to_owned(),
        ..Event::default()
    }
}

/// A scenario in which everything is as promised.
fn good() -> Evidence {
    let census = Census { rss_kb: 80_000, descriptors: 90, mounts: 20, processes: 8 };
    let kinds = [Kind::Run, Kind::Once, Kind::Upsert, Kind::Job, Kind::Role];
    let name = |kind: &Kind| kind.name();
    let mut evidence = Evidence {
        records: kinds.iter().map(|kind| record(*kind, name(kind), Outcome::Done)).collect(),
        events: kinds
            .iter()
            .flat_map(|kind| {
                [event(name(kind), "intent", None), event(name(kind), "outcome", Some(true))]
            })
            .collect(),
        chain: Some((true, String::new())),
        census: Some((census, census)),
        undrained: Some(Vec::new()),
        samples: vec![Sample { at: seconds(20), health: Health::Said("ready".to_owned()) }],
        recovered: Some(seconds(1)),
        ..Evidence::default()
    };
    evidence.records.push(record(Kind::Refused, "refused", Outcome::Done));
    evidence.events.push(event("refused", "single", Some(false)));
    evidence.jobs.insert("m-job".to_owned(), "completed".to_owned());
    evidence.nodes.insert("s-upsert".to_owned());
    evidence.users.insert("s-role".to_owned());
    evidence
}

/// The good scenario with one thing changed.
fn but(change: impl FnOnce(&mut Evidence)) -> Evidence {
    let mut evidence = good();
    change(&mut evidence);
    evidence
}

#[test]
fn what_is_as_promised_holds_and_nothing_at_all_is_not_judged() {
    for invariant in &ALL {
        assert_eq!((invariant.check)(&good()), Verdict::Held, "{}", invariant.id);
        assert_eq!((invariant.check)(&Evidence::default()), Verdict::Unjudged, "{}", invariant.id);
    }
}

#[test]
fn i1_sees_missing_double_and_contradicting_outcomes() {
    let failed = Outcome::Failed(503, "unavailable".to_owned());
    for violation in [
        but(|e| e.events.retain(|event| event.request_id != "run")),
        but(|e| e.events.retain(|event| event.request_id != "run" || !event.is_final())),
        but(|e| e.events.push(event("run", "outcome", Some(true)))),
        but(|e| e.events[1].success = Some(false)),
        but(|e| e.records[0].outcome = failed.clone()),
        but(|e| e.records[0].outcome = Outcome::Wrong("500".to_owned())),
    ] {
        assert!(is_violated("I1", &violation), "{violation:?}");
    }
    let unknown = but(|e| {
        e.records[0].outcome = Outcome::Unknown("reset".to_owned());
        e.events[1].success = Some(false);
    });
    assert_eq!(check("I1", &unknown), Verdict::Held);
    let run_of_a_job = but(|e| {
        for phase in ["intent", "outcome"] {
            let run = event("job", phase, (phase == "outcome").then_some(true));
            let job_id = Some("m-job".to_owned());
            e.events.push(Event { call_id: "c-run-of-job".to_owned(), job_id, ..run });
        }
    });
    assert_eq!(check("I1", &run_of_a_job), Verdict::Held);
}

#[test]
fn i2_sees_lost_jobs_nodes_roles_and_events() {
    for violation in [
        but(|e| e.jobs.clear()),
        but(|e| {
            e.jobs.insert("m-job".to_owned(), "queued".to_owned());
        }),
        but(|e| {
            e.jobs.insert("m-job".to_owned(), "failed".to_owned());
        }),
        but(|e| e.nodes.clear()),
        but(|e| e.users.clear()),
        but(|e| e.events.retain(|event| event.request_id != "once")),
    ] {
        assert!(is_violated("I2", &violation), "{violation:?}");
    }
}

#[test]
fn i3_sees_jobs_and_keyed_calls_that_ran_twice() {
    let run = |call: &str, success, error: &str| Event {
        call_id: call.to_owned(),
        job_id: Some("m-job".to_owned()),
        error: error.to_owned(),
        ..event("job", "outcome", Some(success))
    };
    let keyed = |call: &str, replayed| Event {
        call_id: call.to_owned(),
        key: Some("digest".to_owned()),
        replayed,
        ..event(call, "outcome", Some(true))
    };
    for violation in [
        but(|e| e.events.extend([run("a", true, ""), run("b", true, "")])),
        but(|e| e.events.extend([run("a", false, "effects unknown"), run("b", true, "")])),
        but(|e| e.events.extend([keyed("a", false), keyed("b", false)])),
        but(|e| {
            let made = "another".to_owned();
            let again = Record { made, ..e.records[1].clone() };
            e.records.push(again);
        }),
    ] {
        assert!(is_violated("I3", &violation), "{violation:?}");
    }
    let fine = but(|e| {
        e.events.extend([run("a", false, "queue full"), run("b", true, "")]);
        e.events.extend([keyed("c", false), keyed("d", true)]);
    });
    assert_eq!(check("I3", &fine), Verdict::Held);
}

#[test]
fn i4_sees_a_chain_that_does_not_verify() {
    let broken = but(|e| e.chain = Some((false, "changed at event 3".to_owned())));
    assert_eq!(check("I4", &broken), Verdict::Violated(vec!["changed at event 3".to_owned()]));
}

#[test]
fn i5_sees_what_was_granted_to_the_client_or_behind_its_back() {
    let granted = Outcome::Granted("{}".to_owned());
    assert!(is_violated("I5", &but(|e| e.records[5].outcome = granted)));
    let behind = but(|e| {
        e.records[5].outcome = Outcome::Unknown("reset".to_owned());
        e.events.push(event("refused", "outcome", Some(true)));
    });
    assert!(is_violated("I5", &behind));
}

#[test]
fn i6_sees_processes_groups_descriptors_and_mounts_left_behind() {
    let life = Life { pid: 7, began: 9, name: "cell-init".to_owned() };
    let after = |change: fn(&mut Census)| {
        but(|e| {
            if let Some((_, after)) = &mut e.census {
                change(after);
            }
        })
    };
    for violation in [
        but(|e| e.left_processes.push(life)),
        but(|e| e.left_groups.push(PathBuf::from("/sys/fs/cgroup/pids/ultimate-mcp-cell-7-1"))),
        after(|census| census.descriptors += 49),
        after(|census| census.mounts += 1),
        after(|census| census.processes += 13),
    ] {
        assert!(is_violated("I6", &violation), "{violation:?}");
    }
}

#[test]
fn i7_sees_open_breakers_full_queues_and_calls_that_never_work_again() {
    let full = vec!["jobs_queued{lane=\"normal\"} 3".to_owned()];
    assert!(is_violated("I7", &but(|e| e.undrained = Some(full))));
    assert!(is_violated("I7", &but(|e| e.recovered = None)));
}

#[test]
fn i8_sees_memory_that_does_not_return() {
    let grown = but(|e| {
        if let Some((_, after)) = &mut e.census {
            after.rss_kb += 90_000;
        }
    });
    assert!(is_violated("I8", &grown));
}

#[test]
fn i9_sees_health_that_lies_during_a_fault_or_afterwards() {
    let said = |at, word: &str| Sample { at: seconds(at), health: Health::Said(word.to_owned()) };
    let fault = |down| Happened {
        what: "redis killed".to_owned(),
        window: Window { began: seconds(2), ended: seconds(10) },
        down,
    };
    let lies = but(|e| {
        e.faults.push(fault(true));
        e.samples.insert(0, said(7, "ready"));
    });
    assert!(is_violated("I9", &lies));
    let lags = but(|e| {
        e.faults.push(fault(true));
        e.samples.splice(0..0, [said(3, "ready"), said(7, "degraded")]);
    });
    assert_eq!(check("I9", &lags), Verdict::Held);
    assert!(is_violated("I9", &but(|e| e.samples.push(said(30, "degraded")))));
    assert!(is_violated(
        "I9",
        &but(|e| {
            e.samples.push(Sample { at: seconds(30), health: Health::Silent });
        })
    ));
}
