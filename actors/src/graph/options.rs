//! What an operator may set about the graph. Read from the configuration's section `graph`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bounds::mistakes;
use crate::supervision::InvalidOption;

/// Where the graph is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GraphEngine {
    /// One file below the data directory.
    #[default]
    Embedded,
    /// The Neo4j of section `neo4j`.
    Neo4j,
}

/// Limits and sizes of the graph. Every field has a default; unknown fields are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GraphOptions {
    /// Where the graph is kept.
    pub engine: GraphEngine,
    /// Requests accepted and not yet answered, by the actor; more are refused as overloaded.
    pub mailbox: usize,
    /// Threads that run queries at once (1 to 64). Queries read a snapshot and do not block each other.
    pub reader_threads: usize,
    /// Requests that may wait for a thread before new ones are refused as overloaded.
    pub waiting_max: usize,
    /// Stack of each thread in MiB. The query guard's limits fit into 16 (measured, unoptimised build).
    pub stack_mb: usize,
    /// Longest time one query may run, in milliseconds; a caller's deadline may be earlier.
    pub query_timeout_ms: u64,
    /// Longest time one write may wait for its turn, in milliseconds.
    pub write_timeout_ms: u64,
    /// Rows returned when the request names no limit.
    pub rows_default: usize,
    /// Most rows a request may ask for.
    pub rows_max: usize,
    /// Most bytes of JSON in the rows of one result.
    pub result_bytes_max: usize,
    /// Most rows between two steps of a query, scanned ones included; bounds its memory.
    pub intermediate_rows_max: usize,
    /// The same, for queries that both `collect()` and walk lists in expressions: the engine copies
    /// the whole row for each element, without looking at the clock.
    pub collected_rows_max: usize,
    /// The same, for queries that both `collect()` and `UNWIND`: each new row holds the whole list.
    pub unwound_rows_max: usize,
    /// Most values in the rows between two clauses: fewer rows where big parameters or many columns
    /// stand in each.
    pub intermediate_values_max: u64,
    /// Most relationships one query may follow.
    pub expansions_max: u64,
    /// Growth of the process in MiB, since its graph threads were last idle, at which all running
    /// queries are stopped.
    pub memory_growth_mb_max: u64,
    /// Most threads that may hang in queries that ignore their end; each is replaced until then.
    pub stuck_threads_max: usize,
    /// Most bytes of JSON in the parameters of one query.
    pub parameter_bytes_max: usize,
    /// Most nodes, and most relationships, in one upsert or one delete.
    pub batch_max: usize,
    /// Most properties of one node or relationship.
    pub properties_max: usize,
    /// Most bytes of one text property.
    pub property_bytes_max: usize,
    /// Most items of one list property.
    pub list_items_max: usize,
}

impl Default for GraphOptions {
    fn default() -> Self {
        Self {
            engine: GraphEngine::Embedded,
            mailbox: 128,
            reader_threads: 2,
            waiting_max: 64,
            stack_mb: 16,
            query_timeout_ms: 10_000,
            write_timeout_ms: 30_000,
            rows_default: 1_000,
            rows_max: 10_000,
            result_bytes_max: 4 << 20,
            intermediate_rows_max: 250_000,
            collected_rows_max: 10_000,
            unwound_rows_max: 3_000,
            intermediate_values_max: 5_000_000,
            expansions_max: 1_000_000,
            memory_growth_mb_max: 512,
            stuck_threads_max: 4,
            parameter_bytes_max: 256 << 10,
            batch_max: 1_000,
            properties_max: 128,
            property_bytes_max: 64 << 10,
            list_items_max: 1_024,
        }
    }
}

impl GraphOptions {
    /// The longest a query may run.
    pub fn query_timeout(&self) -> Duration {
        Duration::from_millis(self.query_timeout_ms)
    }

    /// The longest a write may wait for its turn.
    pub fn write_timeout(&self) -> Duration {
        Duration::from_millis(self.write_timeout_ms)
    }

    /// Every value out of range, with its key below `graph`.
    pub fn mistakes(&self) -> Vec<InvalidOption> {
        mistakes([
            ("mailbox", self.mailbox as u64, 1..=65_536),
            ("reader_threads", self.reader_threads as u64, 1..=64),
            ("waiting_max", self.waiting_max as u64, 1..=65_536),
            ("stack_mb", self.stack_mb as u64, 16..=1_024),
            ("query_timeout_ms", self.query_timeout_ms, 10..=600_000),
            ("write_timeout_ms", self.write_timeout_ms, 10..=600_000),
            ("rows_max", self.rows_max as u64, 1..=1_000_000),
            ("rows_default", self.rows_default as u64, 1..=self.rows_max as u64),
            ("result_bytes_max", self.result_bytes_max as u64, 1_024..=1 << 30),
            ("intermediate_rows_max", self.intermediate_rows_max as u64, 1..=10_000_000),
            ("collected_rows_max", self.collected_rows_max as u64, 1..=100_000),
            ("unwound_rows_max", self.unwound_rows_max as u64, 1..=100_000),
            ("intermediate_values_max", self.intermediate_values_max, 1..=1_000_000_000),
            ("expansions_max", self.expansions_max, 1..=1_000_000_000),
            ("memory_growth_mb_max", self.memory_growth_mb_max, 16..=1 << 20),
            ("stuck_threads_max", self.stuck_threads_max as u64, 0..=64),
            ("parameter_bytes_max", self.parameter_bytes_max as u64, 1_024..=16 << 20),
            ("batch_max", self.batch_max as u64, 1..=100_000),
            ("properties_max", self.properties_max as u64, 1..=1_024),
            ("property_bytes_max", self.property_bytes_max as u64, 1_024..=1 << 20),
            ("list_items_max", self.list_items_max as u64, 1..=100_000),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_option_is_refused_and_the_defaults_are_sound() {
        assert!(serde_json::from_str::<GraphOptions>(r#"{"rows_maximum": 5}"#).is_err());
        assert_eq!(serde_json::from_str::<GraphOptions>("{}").unwrap(), GraphOptions::default());
        assert_eq!(GraphOptions::default().mistakes(), []);
        let wrong = GraphOptions { stack_mb: 1, rows_default: 20_000, ..GraphOptions::default() };
        let keys: Vec<_> = wrong.mistakes().into_iter().map(|mistake| mistake.key).collect();
        assert_eq!(keys, ["stack_mb", "rows_default"]);
    }
}
