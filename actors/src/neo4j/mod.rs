//! Neo4j, as everything here talks to it: one client, one set of options, one list of migrations.
//!
//! Owns the only import of the driver. Called by the graph's store, the shipping of the audit and the
//! roles. Data goes into parameters, never into the text of a statement. Nodes of the graph carry the
//! label `Entity`; nodes of ours carry a label that begins with `Umcp` and are never connected to them.

mod client;
mod error;
mod health;
pub mod migrations;
mod options;
mod pool;
pub(crate) mod runtime;
mod statement;
mod transaction;
pub mod value;

pub use client::Neo4jClient;
pub use error::Neo4jError;
pub use health::{Neo4jHealth, State};
pub use neo4rs::{BoltList, BoltMap, BoltNull, BoltType};
pub use options::Neo4jOptions;
pub use statement::{Limits, Params, Record, Rows, Statement};
pub use transaction::{Job, Tx, Verdict, Work};

/// Prefix of the labels that are ours.
pub const SYSTEM_LABEL_PREFIX: &str = "Umcp";
