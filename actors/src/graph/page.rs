//! The rows of one answer, held to the limits of rows and bytes. Called by every store.

use std::time::Duration;

use serde_json::Value;

use super::error::GraphError;
use super::model::{QueryRequest, Truncation};
use super::options::GraphOptions;
use crate::deadline::Deadline;

/// What a request asks for: most rows, and when it ends.
///
/// # Errors
/// [`GraphError::Invalid`] for a limit out of range.
pub(super) fn bounds(
    request: &QueryRequest,
    options: &GraphOptions,
    deadline: Deadline,
) -> Result<(usize, Deadline), GraphError> {
    let rows = request.row_limit.unwrap_or(options.rows_default);
    if rows == 0 || rows > options.rows_max {
        let problem = format!("{rows} is not in 1 to {}", options.rows_max);
        return Err(GraphError::invalid("row_limit", problem));
    }
    let time = match request.timeout_ms {
        Some(0) => return Err(GraphError::invalid("timeout_ms", "must be at least 1")),
        Some(ms) => options.query_timeout().min(Duration::from_millis(ms)),
        None => options.query_timeout(),
    };
    Ok((rows, deadline.at_most(time)))
}

/// Rows until a limit.
pub(super) struct Page {
    pub(super) rows: Vec<Vec<Value>>,
    pub(super) bytes: usize,
    pub(super) truncated_by: Option<Truncation>,
    rows_max: usize,
    bytes_max: usize,
    /// What each row costs beside its values: names, quotes, colons, commas, braces.
    names: usize,
}

impl Page {
    pub(super) fn new(columns: &[String], rows_max: usize, options: &GraphOptions) -> Self {
        let names = columns.iter().map(|name| name.len() + 4).sum::<usize>() + 2;
        let bytes_max = options.result_bytes_max;
        Self { rows: Vec::new(), bytes: 0, truncated_by: None, rows_max, bytes_max, names }
    }

    /// Whether no further row fits, which the next one then says.
    pub(super) fn is_full(&mut self) -> bool {
        if self.rows.len() == self.rows_max {
            self.truncated_by = Some(Truncation::Rows);
        }
        self.truncated_by.is_some()
    }

    /// Takes one row, or says that it does not fit.
    ///
    /// # Errors
    /// [`GraphError::Limit`] for a first row beyond the byte limit: no page of this query could ever
    /// hold it.
    pub(super) fn push(&mut self, row: Vec<Value>) -> Result<(), GraphError> {
        let size = self.names + row.iter().map(json_bytes).sum::<usize>();
        if self.bytes + size > self.bytes_max {
            if self.rows.is_empty() {
                let limit = format!("{} bytes", self.bytes_max);
                let instead = "return single properties instead of nodes, or parts of lists";
                return Err(GraphError::limit("the size of one row", limit, instead));
            }
            self.truncated_by = Some(Truncation::Bytes);
            return Ok(());
        }
        self.bytes += size;
        self.rows.push(row);
        Ok(())
    }
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
