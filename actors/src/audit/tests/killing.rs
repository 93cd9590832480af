//! A server that is killed in the middle of its work.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use rusqlite::Connection;
use uuid::Uuid;

use super::{Trail, key};
use crate::audit::{AuditHandle, AuditOptions, EventType, Lines, NewEvent, Phase, STOPPED, verify};
use crate::ids::CallId;
use crate::testing::{root, soon};

/// Set for the process that is to be killed: the file to write to.
const CHILD: &str = "ULTIMATE_MCP_TEST_AUDIT_CHILD";
const NAME: &str =
    "audit::tests::killing::kill_9_loses_no_acknowledged_event_and_orphans_get_an_outcome";
const ROUNDS: usize = 3;

#[test]
fn kill_9_loses_no_acknowledged_event_and_orphans_get_an_outcome() {
    if let Some(path) = std::env::var_os(CHILD) {
        append_for_ever(Path::new(&path));
    }
    let trail = Trail::new();
    let mut acknowledged = HashSet::new();
    for round in 1..=ROUNDS {
        acknowledged.extend(killed_after(&trail.path, round * 150));
        let stored = stored_ids(&trail.path);
        let lost: Vec<_> = acknowledged.difference(&stored).collect();
        assert!(lost.is_empty(), "round {round}: lost {lost:?}");
        assert!(verify(&trail.path, &key()).unwrap().is_intact());
    }
    let handle = actix::System::new().block_on(async {
        let options = AuditOptions { stdout: Lines::Off, ..AuditOptions::default() };
        AuditHandle::start(&root(), &trail.path, key(), options).await.unwrap().stats()
    });
    assert!(handle.orphans_swept > 0, "the last process was killed with calls in hand");
    assert!(verify(&trail.path, &key()).unwrap().is_intact());
    let file = Connection::open(&trail.path).unwrap();
    let count = |sql: &str| file.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let open = "SELECT count(*) FROM (SELECT call_id FROM event GROUP BY call_id \
                HAVING sum(phase = 'intent') <> 1 OR sum(phase = 'outcome') <> 1)";
    assert_eq!(count(open), 0, "every intent has exactly one outcome");
    let said = format!("SELECT count(*) FROM event WHERE body LIKE '%{STOPPED}%'");
    assert!(count(&said) >= i64::try_from(ROUNDS).unwrap());
}

/// Runs this very test in a process of its own, kills it after so many acknowledged events, and
/// returns all that it acknowledged.
fn killed_after(path: &Path, events: usize) -> Vec<Uuid> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = Vec::new();
    let mut read = |lines: &mut dyn Iterator<Item = std::io::Result<String>>| {
        let line = lines.next()?.ok()?;
        // The harness prints its own beginning in front of the first line.
        let id = line.rsplit_once("ack ").and_then(|(_, id)| Uuid::parse_str(id).ok());
        acknowledged.extend(id);
        Some(acknowledged.len())
    };
    while read(&mut lines).expect("the child ended early") < events {}
    child.kill().unwrap();
    while read(&mut lines).is_some() {}
    child.wait().unwrap();
    acknowledged
}

fn stored_ids(path: &Path) -> HashSet<Uuid> {
    let file = Connection::open(path).unwrap();
    let mut ids = file.prepare("SELECT event_id FROM event").unwrap();
    let ids = ids.query_map([], |row| Ok(Uuid::from_slice(row.get_ref(0)?.as_blob()?).unwrap()));
    ids.unwrap().map(Result::unwrap).collect()
}

fn append_for_ever(path: &Path) -> ! {
    actix::System::new().block_on(async {
        let options = AuditOptions { stdout: Lines::Off, ..AuditOptions::default() };
        let audit = AuditHandle::start(&root(), path, key(), options).await.unwrap();
        // One call is in hand whenever the end comes; the others may just all have been answered.
        let mut hanging = NewEvent::new(EventType::CodeExecution, Phase::Intent, "tools/call");
        hanging.call_id = Some(CallId::new());
        audit.append(hanging, soon()).await.unwrap();
        let callers = (0..16).map(|_| async {
            loop {
                let call = CallId::new();
                for phase in [Phase::Intent, Phase::Outcome] {
                    let mut event = NewEvent::new(EventType::CodeExecution, phase, "tools/call");
                    event.call_id = Some(call);
                    let id = audit.append(event, soon()).await.unwrap();
                    println!("ack {id}");
                }
            }
        });
        futures_util::future::join_all(callers).await;
        unreachable!("the callers never end")
    })
}
