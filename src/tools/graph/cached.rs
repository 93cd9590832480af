//! Results of graph queries, remembered until somebody writes.
//!
//! Used by the graph's tools: `graph_query` asks here first, `graph_upsert` and `graph_delete` drop
//! everything when they have written. Refuses to remember what changes by itself: queries that ask for
//! the time, for randomness, or for procedures. While the graph is down the last good result is answered
//! and marked with `stale_seconds`; it is never fresher than that says.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use ultimate_mcp_actors::cache::{CacheHandle, Computed, Namespace};
use ultimate_mcp_actors::graph::model::{QueryRequest, QueryResult};

use crate::error::{ApiError, Code};
use crate::tools::links::keys_of_nodes;
use crate::tools::memo::shared;

/// A write whose end nobody waited for may still be carried out: it is over by then.
const LATE_WRITES: [Duration; 3] =
    [Duration::ZERO, Duration::from_secs(5), Duration::from_secs(60)];

/// Functions whose results differ from call to call, by the first part of their names.
const CHANGING: [&str; 12] = [
    "rand",
    "randomuuid",
    "timestamp",
    "date",
    "time",
    "datetime",
    "localtime",
    "localdatetime",
    "apoc",
    "db",
    "dbms",
    "gds",
];

/// The cache, as the graph's tools use it.
#[derive(Clone)]
pub struct GraphCache {
    cache: CacheHandle,
}

/// What the tool tells about a result, beside the result itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) rows: usize,
    pub(super) truncated: bool,
    pub(super) generation: u64,
}

/// A result as it is sent.
#[derive(Debug)]
pub struct QueryAnswer {
    json: Box<RawValue>,
    pub(super) facts: Facts,
    /// JSON list of the keys of nodes in the result, the first few.
    keys: Box<str>,
}

#[derive(JsonSchema)]
#[allow(dead_code, reason = "says what the JSON looks like")]
struct Shape {
    #[serde(flatten)]
    result: QueryResult,
    /// Only while the graph is down: this is its last good answer, so many seconds old; writes since then
    /// are not in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stale_seconds: Option<f64>,
}

impl JsonSchema for QueryAnswer {
    fn schema_name() -> Cow<'static, str> {
        "QueryResult".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Shape::json_schema(generator)
    }
}

impl Serialize for QueryAnswer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

impl GraphCache {
    /// On this cache.
    pub fn new(cache: CacheHandle) -> Self {
        Self { cache }
    }

    /// The remembered result, or what `query` answers; while the graph is down, the last good one.
    pub(super) async fn answer(
        &self,
        request: &QueryRequest,
        query: impl Future<Output = Result<QueryResult, ApiError>>,
    ) -> Result<QueryAnswer, ApiError> {
        if changes_by_itself(&request.cypher) {
            return QueryAnswer::read(&packed(&query.await?)?, None);
        }
        let key = key_of(request)?;
        let compute = async {
            let result = query.await?;
            let negative = result.row_count == 0;
            Ok::<_, ApiError>(Computed { value: packed(&result)?.into(), negative })
        };
        match self.cache.get_or_compute_with(Namespace::Graph, &key, compute).await {
            Ok(packed) => QueryAnswer::read(&packed, None),
            Err(error) => {
                if error.code == Code::Unavailable
                    && let Some(good) = self.cache.last_good(Namespace::Graph, &key).await
                {
                    return QueryAnswer::read(&good.value, Some(good.age()));
                }
                Err(Arc::try_unwrap(error).unwrap_or_else(|error| shared(&error)))
            }
        }
    }

    /// Carries out a write and drops what is remembered, whatever became of the write: one that failed
    /// may have taken effect, and one whose caller left may still do so.
    pub(super) async fn writing<T>(&self, write: impl Future<Output = T>) -> T {
        let mut unheeded = Unheeded(Some(self.cache.clone()));
        let answer = write.await;
        unheeded.0 = None;
        self.cache.invalidate(Namespace::Graph).await;
        answer
    }
}

/// Armed while a write is on its way.
struct Unheeded(Option<CacheHandle>);

impl Drop for Unheeded {
    fn drop(&mut self) {
        let Some(cache) = self.0.take() else { return };
        actix_rt::spawn(async move {
            for pause in LATE_WRITES {
                tokio::time::sleep(pause).await;
                cache.invalidate(Namespace::Graph).await;
            }
        });
    }
}

impl QueryAnswer {
    fn read(packed: &str, age: Option<Duration>) -> Result<Self, ApiError> {
        let damaged = || ApiError::new(Code::Internal, "the remembered result is damaged");
        let (head, rest) = packed.split_once('\n').ok_or_else(damaged)?;
        let (keys, json) = rest.split_once('\n').ok_or_else(damaged)?;
        let mut head = head.split(' ');
        let mut number = || head.next().and_then(|text| text.parse::<u64>().ok());
        let (rows, truncated, generation) = number()
            .zip(number())
            .zip(number())
            .map(|((a, b), c)| (a, b, c))
            .ok_or_else(damaged)?;
        let json = match age {
            None => json.to_owned(),
            Some(age) => {
                let rest = json.strip_prefix('{').ok_or_else(damaged)?;
                format!("{{\"stale_seconds\":{:.3},{rest}", age.as_secs_f64())
            }
        };
        let json = RawValue::from_string(json).map_err(|error| damaged().caused_by(error))?;
        let facts = Facts { rows: rows as usize, truncated: truncated == 1, generation };
        Ok(Self { json, facts, keys: keys.into() })
    }

    /// Keys of nodes in the result, the first few.
    pub(super) fn keys(&self) -> Vec<String> {
        serde_json::from_str(&self.keys).unwrap_or_default()
    }
}

/// Facts and keys in lines of their own, so that nobody has to read the JSON for them.
fn packed(result: &QueryResult) -> Result<String, ApiError> {
    let json = to_raw_value(result).map_err(|error| {
        ApiError::new(Code::Internal, "the result could not be encoded").caused_by(error)
    })?;
    let (rows, truncated) = (result.row_count, u8::from(result.truncated));
    let cells = result.rows.iter().flatten();
    let keys = json!(keys_of_nodes(cells));
    Ok(format!("{rows} {truncated} {}\n{keys}\n{json}", result.stats.generation))
}

/// Everything the result depends on beside the graph; and the time it may take, so that nobody is
/// answered by the failure of a caller in a greater hurry.
fn key_of(request: &QueryRequest) -> Result<String, ApiError> {
    let QueryRequest { cypher, parameters, row_limit, timeout_ms } = request;
    serde_json::to_string(&(1, cypher, parameters, row_limit, timeout_ms)).map_err(|error| {
        ApiError::new(Code::Internal, "the query could not be encoded").caused_by(error)
    })
}

/// Whether the text calls anything that may answer differently while nobody writes. A name in a string
/// counts too: then nothing is remembered, which is never wrong.
fn changes_by_itself(cypher: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '.' || c == '`';
    let mut rest = cypher;
    while let Some(open) = rest.find('(') {
        let before = rest[..open].trim_end();
        let start = before
            .rfind(|c| !is_part(c))
            .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
        let name = before[start..].replace('`', "").to_lowercase();
        let first = name.split('.').next().unwrap_or_default();
        if CHANGING.contains(&first) {
            return true;
        }
        rest = &rest[open + 1..];
    }
    // A procedure may be called without parentheses.
    cypher.split_whitespace().any(|word| word.eq_ignore_ascii_case("call"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_that_change_by_themselves_are_known_by_what_they_call() {
        for changing in [
            "RETURN rand()",
            "RETURN Date ()",
            "RETURN datetime.truncate('day', n.x)",
            "MATCH (n) WHERE n.at < timestamp() RETURN n",
            "CALL db.labels",
            "RETURN `rand`()",
            "call apoc.help('x')",
            "RETURN é, time()",
        ] {
            assert!(changes_by_itself(changing), "{changing}");
        }
        for lasting in [
            "MATCH (n:Date) RETURN n.date, n.time",
            "MATCH (rand) RETURN rand",
            "RETURN count(*)",
            "MATCH (n {updated: 1})-[:CALLED]->(m) RETURN m",
            "",
        ] {
            assert!(!changes_by_itself(lasting), "{lasting}");
        }
    }

    #[test]
    fn a_stale_answer_says_so_and_is_otherwise_the_same() {
        let packed = "2 1 7\n[\"a\"]\n{\"rows\":[1,2]}";
        let fresh = QueryAnswer::read(packed, None).unwrap();
        assert_eq!(fresh.keys(), ["a"]);
        assert_eq!(fresh.facts, Facts { rows: 2, truncated: true, generation: 7 });
        assert_eq!(serde_json::to_string(&fresh).unwrap(), r#"{"rows":[1,2]}"#);
        let stale = QueryAnswer::read(packed, Some(Duration::from_millis(1500))).unwrap();
        assert_eq!(
            serde_json::to_string(&stale).unwrap(),
            r#"{"stale_seconds":1.500,"rows":[1,2]}"#
        );
        for damaged in ["", "{}", "2 1\n[]\n{}", "2 1 7\n{}", "2 1 7\n[]\n{"] {
            assert!(QueryAnswer::read(damaged, None).is_err(), "{damaged}");
        }
    }
}
