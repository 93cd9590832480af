//! One reading query on the embedded engine: prove, cap, run on a snapshot, convert.
//!
//! Called on a thread of the reading pool; refuses what the checks before it let through and the
//! engine still cannot do.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use marsdb_graph::PropertyValue;
use marsdb_query::{ExecutionOptions, Executor, Statement};

use super::engine::Engine;
use super::pool::Leash;
use super::value;
use crate::graph::cypher::{self, CheckedQuery, Features};
use crate::graph::error::GraphError;
use crate::graph::model::{QueryRequest, QueryResult, QueryStats};
use crate::graph::options::GraphOptions;
use crate::graph::page::Page;

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
    let mut page = Page::new(&columns, bounds.rows, options);
    for row in result.rows {
        if page.is_full() {
            break;
        }
        page.push(row.iter().map(value::to_json).collect())?;
    }
    let Page { rows, bytes, truncated_by, .. } = page;
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

/// The columns of a statement as an empty graph gives them: what `RETURN *` means, when another
/// engine has no row to tell it by.
pub(in crate::graph) fn columns_on_nothing(
    statement: &Statement,
    parameters: HashMap<String, PropertyValue>,
) -> Option<Vec<String>> {
    let engine = Engine::open(None).ok()?;
    let mut statement = statement.clone();
    marsdb_query::substitute_params(&mut statement, &parameters).ok()?;
    cap_rows(&mut statement, 1);
    let limits = ExecutionOptions {
        max_intermediate_rows: Some(10_000),
        timeout: Some(Duration::from_secs(1)),
        params: parameters,
        ..ExecutionOptions::default()
    };
    Some(Executor::new(&engine.store).execute_with_options(&statement, &limits).ok()?.columns)
}

/// The text property the base index holds.
pub(super) fn key_value(key: &str) -> PropertyValue {
    PropertyValue::String(key.to_owned())
}
