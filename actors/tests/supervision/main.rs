//! The promises of supervision, one test each. Read with `docs/supervision.md`.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

mod admission;
mod crashes;
mod drains;
mod escalation;
mod observation;
mod policy;
mod reconfiguration;
mod restarts;
mod seams;
mod stalls;
mod support;
