//! The result: a line per scenario, and for each violation the seed and a timeline.

use std::fmt::Write;
use std::time::Duration;

use crate::evidence::{Evidence, Window};
use crate::invariants::{self, Verdict};
use crate::record::Record;
use crate::scenario::Scenario;

/// Violations of one invariant that are written out; the rest is counted.
const SHOWN_MAX: usize = 8;
/// Requests of the timeline.
const TIMELINE_MAX: usize = 60;
/// Calls below a line that should have succeeded and did not.
const MISSED_MAX: usize = 4;

/// What came of one scenario.
pub struct Line {
    /// Its name.
    pub name: String,
    /// One verdict for each of [`invariants::ALL`].
    pub verdicts: Vec<Verdict>,
    /// Calls that nothing stood in the way of, during the faults: how many, and how many succeeded.
    pub unaffected: (usize, usize),
    /// Their 99th percentile before and during the faults.
    pub slowest: (Option<Duration>, Option<Duration>),
    /// From the end of the faults until everything worked.
    pub recovered: Option<Duration>,
    /// Those of the unaffected that did not succeed all the same.
    missed: Vec<String>,
    evidence: Evidence,
    server_said: String,
}

impl Line {
    /// Judges what a scenario left.
    pub fn judge(scenario: &Scenario, evidence: Evidence, server_said: String) -> Self {
        let unaffected = |record: &&Record| scenario.spares(record);
        let window = evidence.window();
        // What the runner itself hung up on says nothing about the server.
        let own = |record: &&Record| !record.subject.is_empty();
        let calls = || evidence.records.iter().filter(unaffected).filter(own);
        let inside = |window: Window| {
            move |record: &&Record| record.began >= window.began && record.began < window.ended
        };
        let during: Vec<&Record> =
            window.map(|window| calls().filter(inside(window)).collect()).unwrap_or_default();
        let before: Vec<&Record> = window
            .map(|window| calls().filter(|record| record.ended < window.began).collect())
            .unwrap_or_default();
        let done = during.iter().filter(|record| record.outcome.is_done()).count();
        let missed = during.iter().filter(|record| !record.outcome.is_done());
        let missed = missed.map(|record| {
            let Record { kind, node, outcome, request_id, .. } = record;
            let (kind, at) = (kind.name(), record.began.as_secs_f64());
            format!("missed: {kind} {request_id} at node {node}, {at:.2} s: {outcome:?}")
        });
        let missed = missed.take(MISSED_MAX).collect();
        Self {
            missed,
            name: scenario.name(),
            verdicts: invariants::ALL.iter().map(|one| (one.check)(&evidence)).collect(),
            unaffected: (during.len(), done),
            slowest: (percentile_99(&before), percentile_99(&during)),
            recovered: evidence.recovered,
            evidence,
            server_said,
        }
    }

    /// Whether any invariant was violated.
    pub fn is_violated(&self) -> bool {
        self.verdicts.iter().any(|verdict| matches!(verdict, Verdict::Violated(_)))
    }

    /// The line of the table.
    pub fn row(&self) -> String {
        let mut row = format!("{:<34}", self.name);
        for verdict in &self.verdicts {
            let word = match verdict {
                Verdict::Held => "ok",
                Verdict::Violated(_) => "NO",
                Verdict::Unjudged => "–",
            };
            // Writing to a string cannot fail.
            let _ = write!(row, " {word:<2}");
        }
        let (all, done) = self.unaffected;
        let share = match all {
            0 => "–".to_owned(),
            // Rounded down: 100 % is said of nothing that failed.
            _ => format!("{:.2} % of {all}", (10_000.0 * done as f64 / all as f64).floor() / 100.0),
        };
        let millis = |time: Option<Duration>| {
            time.map_or("–".to_owned(), |time| time.as_millis().to_string())
        };
        let recovered = self
            .recovered
            .map_or("never".to_owned(), |time| format!("{:.2} s", time.as_secs_f64()));
        let slowest = format!("{} → {}", millis(self.slowest.0), millis(self.slowest.1));
        let _ = write!(row, "  {share:>17}  {slowest:>13}  {recovered:>8}");
        let beyond = self.evidence.restarts.iter().map(|restart| restart.beyond_backoff_ms);
        if let Some(longest) = beyond.reduce(f64::max) {
            let times = self.evidence.restarts.len();
            let _ = write!(
                row,
                "\n{:<34} {times} panics, serving at most {longest:.1} ms after the backoff",
                ""
            );
        }
        for missed in &self.missed {
            let _ = write!(row, "\n{:<34} {missed}", "");
        }
        row
    }

    /// What contradicts what, and what happened around it.
    pub fn violations(&self, seed: u64) -> String {
        let mut text = format!("seed {seed}, scenario \"{}\"\n", self.name);
        for (invariant, verdict) in invariants::ALL.iter().zip(&self.verdicts) {
            let Verdict::Violated(violations) = verdict else { continue };
            let _ = writeln!(text, "{}: {}", invariant.id, invariant.promise);
            for violation in violations.iter().take(SHOWN_MAX) {
                let _ = writeln!(text, "  {violation}");
            }
            if violations.len() > SHOWN_MAX {
                let _ = writeln!(text, "  … and {} more", violations.len() - SHOWN_MAX);
            }
        }
        text.push_str(&self.story());
        text
    }

    /// What happened: faults, changes of health, calls that did not succeed, what the server warned of.
    pub fn story(&self) -> String {
        format!("timeline:\n{}\nthe server said:\n{}\n", self.timeline(), self.server_said)
    }

    /// Faults, changes of health, and calls that did not succeed, in order.
    fn timeline(&self) -> String {
        let mut entries: Vec<(Duration, String)> = Vec::new();
        for fault in &self.evidence.faults {
            entries.push((fault.window.began, format!("fault: {}", fault.what)));
            entries.push((fault.window.ended, format!("undone: {}", fault.what)));
        }
        let mut last = None;
        for sample in &self.evidence.samples {
            if last != Some(&sample.health) {
                entries.push((sample.at, format!("health: {:?}", sample.health)));
            }
            last = Some(&sample.health);
        }
        let failed = self.evidence.records.iter().filter(|record| !record.outcome.is_done());
        for record in failed.take(TIMELINE_MAX) {
            let (kind, id, took) =
                (record.kind.name(), &record.request_id, record.ended - record.began);
            let text = format!("{kind} {id}: {:?} after {} ms", record.outcome, took.as_millis());
            entries.push((record.ended, text));
        }
        entries.sort();
        let lines =
            entries.iter().map(|(at, text)| format!("  {:8.3} s  {text}", at.as_secs_f64()));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// The head of the table.
pub fn head() -> String {
    let ids: Vec<String> = invariants::ALL.iter().map(|one| format!("{:<2}", one.id)).collect();
    format!(
        "{:<34} {}  {:>17}  {:>13}  {:>8}",
        "scenario",
        ids.join(" "),
        "unaffected",
        "p99 ms",
        "recovery"
    )
}

fn percentile_99(records: &[&Record]) -> Option<Duration> {
    let mut times: Vec<Duration> =
        records.iter().map(|record| record.ended.saturating_sub(record.began)).collect();
    times.sort_unstable();
    times.get((times.len() * 99).div_ceil(100).saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Kind, Outcome};
    use crate::scenario::Fault;

    #[test]
    fn a_violation_is_reported_with_seed_and_timeline() {
        let record = Record {
            request_id: "rq-1".to_owned(),
            kind: Kind::Run,
            node: 0,
            began: Duration::from_millis(1500),
            ended: Duration::from_millis(1600),
            outcome: Outcome::Wrong("500".to_owned()),
            subject: "run-1".to_owned(),
            made: String::new(),
        };
        let evidence = Evidence { records: vec![record], ..Evidence::default() };
        let scenario = Scenario { faults: vec![Fault::BurnCpu] };
        let line = Line::judge(&scenario, evidence, String::new());
        assert!(line.is_violated());
        let text = line.violations(42);
        for part in ["seed 42", "cpu-50%", "I1: ", "1.600 s  run rq-1"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(line.row().contains("NO"));
    }
}
