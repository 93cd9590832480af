//! One reading query on the embedded engine: prove, cap, run on a snapshot, convert.
//!
//! Called on a thread of the reading pool; refuses what the checks before it let through and the
//! engine still cannot do.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use marsdb_graph::PropertyValue;
use marsdb_query::{ExecutionOptions, Executor, Statement};
use serde_json::Value;

use super::engine::Engine;
use super::pool::Leash;
use super::value;
use crate::graph::cypher::{self, CheckedQuery, Features};
use crate::graph::error::GraphError;
use crate::graph::model::{QueryRequest, QueryResult, QueryStats, Truncation};
use crate::graph::options::GraphOptions;

/// What bounds one run.
pub(super) struct Bounds {
    pub(super) rows: usize,
    pub(super) time: Duration,
    pub(super) generation: u64,
}

/// Runs a query. `bounds.time` counts from here on; the time in the queue is gone already.
pub(super) fn run(
    engine: &Engine,
    options: &GraphOptions,
    request: &QueryRequest,
    bounds: &Bounds,
    leash: &Leash,
) -> Result<QueryResult, GraphError> {
    let began = Instant::now();
    let checked = cypher::check(&request.cypher, &request.parameters)?;
    let bytes_max = options.parameter_bytes_max;
    let parameters = value::parameters(&request.parameters, checked.parameters(), bytes_max)?;
    let mut statement = checked.reading_statement()?;
    marsdb_query::substitute_params(&mut statement, &parameters).map_err(cypher::explain)?;
    cap_rows(&mut statement, bounds.rows);
    let limits = ExecutionOptions {
        max_intermediate_rows: Some(intermediate_rows(options, &checked)),
        // Rows are cut off, not refused; see `collect`.
        max_result_rows: None,
        max_relationship_expansions: Some(options.expansions_max),
        timeout: Some(bounds.time.saturating_sub(began.elapsed())),
        cancellation_token: Some(leash.token.clone()),
        params: parameters,
        ..ExecutionOptions::default()
    };
    // This is where the engine opens a read transaction: `reading_statement` asked the same
    // function of the engine that chooses the transaction here.
    let result = Executor::new(&engine.store)
        .execute_with_options(&statement, &limits)
        .map_err(|error| stopped(cypher::explain(error), options, bounds, leash))?;
    let mut columns = result.columns;
    checked.name_columns(&mut columns)?;
    let (rows, bytes, truncated_by) = collect(&columns, result.rows, options, bounds.rows)?;
    Ok(QueryResult {
        row_count: rows.len(),
        truncated: truncated_by.is_some(),
        truncated_by,
        columns,
        rows,
        stats: QueryStats {
            elapsed_ms: began.elapsed().as_secs_f64() * 1e3,
            bytes,
            generation: bounds.generation,
        },
    })
}

/// The engine counts rows when a clause has made them all, so the bound must leave room for what
/// the next clause may make of them.
fn intermediate_rows(options: &GraphOptions, checked: &CheckedQuery<'_>) -> usize {
    let features = checked.features();
    let room = options.intermediate_values_max / features.weight.max(1);
    let rows = options.intermediate_rows_max.min(usize::try_from(room).unwrap_or(usize::MAX));
    match features {
        Features { collects: true, unwinds: true, .. } => rows.min(options.unwound_rows_max),
        Features { collects: true, walks_lists: true, .. } => rows.min(options.collected_rows_max),
        _ => rows,
    }
}

/// Adds `LIMIT rows + 1` to a statement that has none, so that the engine stops early; one more
/// row than asked for tells that there are more.
fn cap_rows(statement: &mut Statement, rows: usize) {
    // The tree's inner types have no public names: a parsed statement donates its LIMIT.
    let donor = marsdb_query::parse(&format!("RETURN 1 LIMIT {}", rows.saturating_add(1)));
    if let (Statement::Match { limit: limit @ None, .. }, Ok(Statement::Match { limit: cap, .. })) =
        (statement, donor)
    {
        *limit = cap;
    }
}

/// Says why the engine stopped: it knows only that it was told to.
fn stopped(
    error: GraphError,
    options: &GraphOptions,
    bounds: &Bounds,
    leash: &Leash,
) -> GraphError {
    match error {
        GraphError::Cancelled if leash.out_of_memory.load(Ordering::Acquire) => GraphError::limit(
            "the memory of running queries",
            format!("{} MiB", options.memory_growth_mb_max),
            "narrow the pattern, collect fewer rows or add LIMIT",
        ),
        GraphError::QueryTimeout { .. } => {
            GraphError::QueryTimeout { limit_ms: bounds.time.as_millis() as u64 }
        }
        other => other,
    }
}

type Rows = (Vec<Vec<Value>>, usize, Option<Truncation>);

/// Converts rows until a limit; a first row beyond the byte limit is an error, since no page of
/// this query could ever hold it.
fn collect(
    columns: &[String],
    cells: Vec<Vec<marsdb_query::Value>>,
    options: &GraphOptions,
    rows_max: usize,
) -> Result<Rows, GraphError> {
    // What each row costs beside its values: names, quotes, colons, commas, braces.
    let names: usize = columns.iter().map(|name| name.len() + 4).sum::<usize>() + 2;
    let (mut rows, mut bytes) = (Vec::new(), 0);
    for row in cells {
        if rows.len() == rows_max {
            return Ok((rows, bytes, Some(Truncation::Rows)));
        }
        let row: Vec<Value> = row.iter().map(value::to_json).collect();
        let size = names + row.iter().map(json_bytes).sum::<usize>();
        if bytes + size > options.result_bytes_max {
            if rows.is_empty() {
                let limit = format!("{} bytes", options.result_bytes_max);
                let instead = "return single properties instead of nodes, or parts of lists";
                return Err(GraphError::limit("the size of one row", limit, instead));
            }
            return Ok((rows, bytes, Some(Truncation::Bytes)));
        }
        bytes += size;
        rows.push(row);
    }
    Ok((rows, bytes, None))
}

struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn json_bytes(value: &Value) -> usize {
    let mut counter = Counter(0);
    // Neither the value nor the counter can fail.
    let _ = serde_json::to_writer(&mut counter, value);
    counter.0
}

/// The text property the base index holds.
pub(super) fn key_value(key: &str) -> PropertyValue {
    PropertyValue::String(key.to_owned())
}
