//! Random walks through random workflows: order, bounds, compensation, an end, whatever happens.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::definition;
use crate::workflow::definition::{Definition, Phase, TaskId};
use crate::workflow::journal::{End, Entry, Fault, Outcome, Progress, Status};
use crate::workflow::planner::{Look, Move, moves};

const DEADLINE: i64 = 10_000;
/// More looks than any of these workflows needs.
const LOOKS_MAX: usize = 4_000;

/// Decisions, one byte each; zeros when they are used up.
struct Tape(std::vec::IntoIter<u8>);

impl Tape {
    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.0.next().unwrap_or(0)) % bound.max(1)
    }
}

fn random_definition(tape: &mut Tape) -> Definition {
    let count = 1 + tape.below(7);
    let steps: Vec<_> = (0..count)
        .map(|n| {
            let needs: Vec<_> =
                (0..n).filter(|_| tape.below(3) == 0).map(|need| format!("s{need}")).collect();
            let compensate = (tape.below(2) == 0).then(|| json!({ "tool": "put" }));
            json!({
                "id": format!("s{n}"), "tool": "write", "needs": needs, "compensate": compensate,
                "continue_on_failure": tape.below(4) == 0,
                "retry": { "attempts": 1 + tape.below(3), "delay_ms": 100 },
            })
        })
        .collect();
    let last: Vec<_> =
        (0..tape.below(3)).map(|n| json!({ "id": format!("f{n}"), "tool": "put" })).collect();
    definition(json!({ "steps": steps, "on_failure": last, "parallel": 1 + tape.below(4) }))
}

struct Walk {
    definition: Definition,
    entries: Vec<Entry>,
    progress: Progress,
    in_hand: BTreeSet<TaskId>,
    now: i64,
    /// Calls in the order in which their first attempts began.
    began: Vec<TaskId>,
}

impl Walk {
    fn note(&mut self, entry: Entry) {
        self.progress.apply(&entry);
        self.entries.push(entry);
    }

    fn run(&mut self, task: TaskId, attempt: u32, in_doubt: bool) {
        assert!(!self.in_hand.contains(&task), "{task} runs already");
        let before = self.progress.task(&task).map_or(0, |task| task.attempts);
        assert_eq!(attempt, if in_doubt { before } else { before + 1 }, "{task}");
        let (failing, status) = (self.progress.is_failing(), self.progress.status(&task));
        match task.phase {
            Phase::Step => {
                assert!(in_doubt || !failing, "{task} begins although the workflow failed");
                let step = self.definition.step(&task.step).unwrap();
                for need in &step.needs {
                    let need = TaskId::new(Phase::Step, need);
                    assert!(self.progress.status(&need).is_settled(), "{task} before {need}");
                }
            }
            Phase::Compensate | Phase::OnFailure => {
                assert!(failing && self.in_hand.is_empty(), "{task} beside something else");
                let running = |step: &crate::workflow::Step| {
                    self.progress.status(&TaskId::new(Phase::Step, &step.id)) == Status::Running
                };
                assert!(
                    !self.definition.steps.iter().any(running),
                    "{task} before all steps ended"
                );
            }
        }
        if !in_doubt {
            if status == Status::Pending {
                self.began.push(task.clone());
            }
            self.note(Entry::Began { at: self.now, task: task.clone(), attempt });
        }
        self.in_hand.insert(task);
        assert!(self.in_hand.len() <= self.definition.parallel(), "too many at once");
    }

    fn end_one(&mut self, tape: &mut Tape) {
        let at = tape.below(self.in_hand.len());
        let task = self.in_hand.iter().nth(at).unwrap().clone();
        self.in_hand.remove(&task);
        let attempts = self.progress.task(&task).unwrap().attempts;
        let allowed = self.definition.call(&task).unwrap().retry.attempts;
        let end = match tape.below(3) {
            0 => End::Failed {
                fault: Fault::new("tool_failed", "no"),
                result: json!({ "n": attempts }),
                again_at: (attempts < allowed).then_some(self.now + 100),
            },
            _ => End::Completed { result: json!({ "n": attempts }), omitted_bytes: None },
        };
        self.note(Entry::Ended { at: self.now, task, end });
    }

    /// True when it is over.
    fn look(&mut self, skipped: u8, tape: &mut Tape) -> bool {
        let look = Look {
            definition: &self.definition,
            progress: &self.progress,
            in_hand: &self.in_hand,
            now: self.now,
            deadline: DEADLINE,
        };
        let next = moves(&look, |step| {
            step.id.trim_start_matches('s').parse::<u8>().is_ok_and(|n| n != skipped)
        });
        let (mut wake, mut settled) = (None, false);
        for step in next {
            match step {
                Move::Wait(until) => wake = until,
                Move::Skip(task) => {
                    settled = true;
                    self.note(Entry::Skipped { at: self.now, task });
                }
                Move::TimeOut => {
                    settled = true;
                    self.note(Entry::TimedOut { at: self.now });
                }
                Move::Close(outcome) => {
                    self.note(Entry::Closed { at: self.now, outcome });
                    return true;
                }
                Move::Run { task, attempt, in_doubt } => self.run(task, attempt, in_doubt),
            }
        }
        match (settled, self.in_hand.is_empty()) {
            (true, _) => {}
            // The process dies: what was in hand is in doubt.
            (false, _) if tape.below(8) == 7 => self.in_hand.clear(),
            (false, false) => self.end_one(tape),
            (false, true) => self.now = self.now.max(wake.expect("something to wait for")),
        }
        self.now += tape.below(400) as i64;
        false
    }

    fn judge(&self) {
        let progress = &self.progress;
        let undone: Vec<&TaskId> =
            self.began.iter().filter(|task| task.phase != Phase::Step).collect();
        if progress.outcome == Some(Outcome::Completed) {
            assert!(!progress.is_failing() && undone.is_empty());
        } else {
            assert!(progress.is_failing());
            let has = |id: &&String| self.definition.step(id).unwrap().compensate.is_some();
            let undo = progress.completed.iter().rev().filter(has);
            let undo = undo.map(|id| TaskId::new(Phase::Compensate, id));
            let last = &self.definition.on_failure;
            let last = last.iter().map(|c| TaskId::new(Phase::OnFailure, &c.id));
            let expected: Vec<TaskId> = undo.chain(last).collect();
            assert_eq!(
                undone,
                expected.iter().collect::<Vec<_>>(),
                "in reverse, each, then the rest"
            );
        }
        let running = |task: &&crate::workflow::journal::Task| task.status == Status::Running;
        assert_eq!(progress.tasks.values().filter(running).count(), 0);
        // Whoever reads the journal knows the same.
        let read = self.entries.iter().map(|entry| serde_json::to_string(entry).unwrap());
        let read: Vec<Entry> = read.map(|text| serde_json::from_str(&text).unwrap()).collect();
        assert_eq!(&Progress::of(&read), progress);
    }
}

proptest! {
    #[test]
    fn every_walk_keeps_the_order_undoes_in_reverse_and_ends(
        tape in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        let mut tape = Tape(tape.into_iter());
        let definition = random_definition(&mut tape);
        let skipped = tape.below(10) as u8;
        let (entries, in_hand, began) = (Vec::new(), BTreeSet::new(), Vec::new());
        let mut walk =
            Walk { definition, entries, progress: Progress::default(), in_hand, now: 0, began };
        let definition = Box::new(walk.definition.clone());
        walk.note(Entry::Opened { at: 0, definition, inputs: serde_json::Map::new() });
        let over = (0..LOOKS_MAX).any(|_| walk.look(skipped, &mut tape));
        prop_assert!(over, "it never ends: {:?}", walk.progress);
        walk.judge();
    }
}
