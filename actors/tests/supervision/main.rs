//! The promises of supervision, one test each. Read with `docs/supervision.md`.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

mod crashes;
mod support;
