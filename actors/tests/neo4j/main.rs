//! The client of Neo4j against a real server: answers, limits, failures, migrations.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

mod client;
mod tls;
