//! One reading query of a client on Neo4j: checked, confined to the graph, run in read mode, converted.

use std::time::Instant;

use super::Neo4jGraph;
use super::error::query_error;
use crate::deadline::Deadline;
use crate::graph::cypher::{self, Column};
use crate::graph::embedded::{query::columns_on_nothing, value};
use crate::graph::error::GraphError;
use crate::graph::model::{QueryRequest, QueryResult, QueryStats};
use crate::graph::options::GraphOptions;
use crate::graph::page::{self, Page};
use crate::neo4j::{Limits, Params, Record, Rows, runtime};

/// The language, said to the server: a database may have another default.
const LANGUAGE: &str = "CYPHER 5 ";
/// Estimates of the client's limit may fall short of the JSON's true size; the page cuts exactly.
const BYTES_ROOM: usize = 2;

/// A checked query, ready to be sent.
struct Prepared {
    text: String,
    params: Params,
    /// `None` after `RETURN *`: the rows tell, or without any the second.
    columns: Option<Vec<Column>>,
    star: Vec<String>,
}

/// Runs a query.
pub(super) async fn run(
    graph: &Neo4jGraph,
    request: QueryRequest,
    deadline: Deadline,
) -> Result<QueryResult, GraphError> {
    let (rows_max, end) = page::bounds(&request, &graph.options, deadline)?;
    let (began, generation) = (Instant::now(), graph.counter.now());
    let options = graph.options.clone();
    let runtime = runtime::handle().map_err(query_error)?;
    let prepared = runtime.spawn_blocking(move || prepare(&request, &options)).await;
    let prepared = prepared.map_err(|error| GraphError::Crashed {
        wrote: false,
        detail: format!("checking a query: {error}"),
    })??;
    graph.ready(end).await?;
    let limits =
        Limits { rows_max, bytes_max: graph.options.result_bytes_max.saturating_mul(BYTES_ROOM) };
    let limit_ms = u64::try_from(end.remaining().as_millis()).unwrap_or(u64::MAX);
    let answer = graph.client.read(&prepared.text, prepared.params, limits, end).await;
    let rows = answer.map_err(|error| match query_error(error) {
        GraphError::QueryTimeout { limit_ms: 0 } => GraphError::QueryTimeout { limit_ms },
        other => other,
    })?;
    let (columns, sent) = columns(prepared.columns, prepared.star, &rows);
    let page = fill(&columns, &sent, rows, rows_max, &graph.options)?;
    Ok(QueryResult {
        row_count: page.rows.len(),
        truncated: page.truncated_by.is_some(),
        truncated_by: page.truncated_by,
        columns,
        rows: page.rows,
        stats: QueryStats {
            elapsed_ms: began.elapsed().as_secs_f64() * 1e3,
            bytes: page.bytes,
            generation,
        },
    })
}

/// Needs a big stack.
fn prepare(request: &QueryRequest, options: &GraphOptions) -> Result<Prepared, GraphError> {
    let checked = cypher::check(&request.cypher, &request.parameters)?;
    let bytes_max = options.parameter_bytes_max;
    let values = value::parameters(&request.parameters, checked.parameters(), bytes_max)?;
    let confined = checked.confine()?;
    let mut names: Vec<String> = match &confined.columns {
        Some(columns) => columns.iter().map(|column| column.name.clone()).collect(),
        None => columns_on_nothing(&checked.reading_statement()?, values).unwrap_or_default(),
    };
    checked.name_columns(&mut names)?;
    let params = confined.parameters.iter().fold(Params::new(), |params, (name, sent)| {
        params.json(sent, request.parameters.get(name).unwrap_or(&serde_json::Value::Null))
    });
    Ok(Prepared {
        text: format!("{LANGUAGE}{}", confined.text),
        params,
        columns: confined.columns,
        star: names,
    })
}

/// The columns as the client and as the server calls them.
fn columns(
    columns: Option<Vec<Column>>,
    star: Vec<String>,
    rows: &Rows,
) -> (Vec<String>, Vec<String>) {
    if let Some(columns) = columns {
        return columns.into_iter().map(|column| (column.name, column.sent)).unzip();
    }
    let known = |row: &Record| star.iter().all(|name| row.get(name).is_some());
    let names = match rows.first() {
        Some(row) if star.is_empty() || !known(row) => {
            let mut names: Vec<String> = row.columns().map(str::to_owned).collect();
            names.sort();
            names
        }
        _ => star,
    };
    (names.clone(), names)
}

fn fill(
    columns: &[String],
    sent: &[String],
    rows: Rows,
    rows_max: usize,
    options: &GraphOptions,
) -> Result<Page, GraphError> {
    let mut page = Page::new(columns, rows_max, options);
    let more = rows.truncated;
    for record in rows.records {
        if page.is_full() {
            break;
        }
        page.push(sent.iter().map(|name| record.json(name)).collect())?;
    }
    if more && page.truncated_by.is_none() && !page.is_full() {
        page.truncated_by = Some(crate::graph::model::Truncation::Bytes);
    }
    Ok(page)
}
