//! From a URI to what it names. Strict: one spelling for each thing, so that the audit names it by one.

use chrono::NaiveDate;
use uuid::Uuid;

use super::catalogue::{API, BUILT_IN, DOCUMENTS, Document, FAMILIES, GRAPH_SCHEMA};
use super::pages;

/// Longest URI that is looked at, in bytes: keys of nodes have 256 at most, percent-encoded three times that.
const URI_BYTES_MAX: usize = 1024;
/// Longest id, key or date, in bytes.
const VARIABLE_BYTES_MAX: usize = 256;

/// What a URI names.
#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    /// A built-in text.
    Document(&'static Document),
    /// The OpenAPI document.
    Api,
    /// The graph's schema.
    GraphSchema,
    /// An artifact, by handle or id.
    Artifact(String),
    /// A day of the audit.
    Audit(NaiveDate),
    /// A node and its neighbours.
    Node(String),
    /// A page that shows results.
    Page(&'static str),
    /// A job.
    Run(Uuid),
    /// The report of a job.
    TestReport(Uuid),
}

impl Target {
    /// What this URI names; `None` when it can name nothing here.
    pub fn parse(uri: &str) -> Option<Self> {
        if uri.len() > URI_BYTES_MAX {
            return None;
        }
        if let Some(document) = BUILT_IN.iter().find(|document| document.uri == uri) {
            return Some(Self::Document(document));
        }
        if let Some(kind) = pages::parse(uri) {
            return Some(Self::Page(kind));
        }
        match uri {
            API => return Some(Self::Api),
            GRAPH_SCHEMA => return Some(Self::GraphSchema),
            _ => {}
        }
        let (family, rest) = uri.strip_prefix("resource://ultimate-mcp/")?.rsplit_once('/')?;
        let variable = decoded(rest)?;
        match family {
            "artifacts" => Some(Self::Artifact(variable)),
            "audit" => day(&variable).map(Self::Audit),
            "graph/nodes" => Some(Self::Node(variable)),
            "runs" => job(&variable).map(Self::Run),
            "test-reports" => job(&variable).map(Self::TestReport),
            _ => None,
        }
    }

    /// What reading it takes.
    pub fn permission(&self) -> &'static str {
        let family = match self {
            Self::Document(_) | Self::Api | Self::Page(_) => return DOCUMENTS,
            Self::GraphSchema => return "graph:query",
            Self::Artifact(_) => 0,
            Self::Audit(_) => 1,
            Self::Node(_) => 2,
            Self::Run(_) => 3,
            Self::TestReport(_) => 4,
        };
        FAMILIES[family].permission
    }
}

/// `YYYY-MM-DD` and nothing else.
fn day(text: &str) -> Option<NaiveDate> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    (date.format("%Y-%m-%d").to_string() == text).then_some(date)
}

/// An id as this server writes it.
fn job(text: &str) -> Option<Uuid> {
    Uuid::parse_str(text).ok().filter(|id| id.to_string() == text)
}

/// A variable of a level 1 template (RFC 6570 §3.2.2): percent-encoded UTF-8, not empty.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                u8::try_from(high * 16 + low).ok()?
            }
            // Reserved characters must come encoded; `:` is what keys are made of and clients leave.
            _ if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) => byte,
            _ => return None,
        };
        bytes.push(byte);
    }
    let text = String::from_utf8(bytes).ok()?;
    let fits = !text.is_empty() && text.len() <= VARIABLE_BYTES_MAX;
    (fits && !text.chars().any(char::is_control)).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "01930000-0000-7000-8000-000000000000";

    #[test]
    fn every_family_has_its_target_and_its_permission() {
        let fill = |template: &str| {
            let (head, _) = template.split_once('{').unwrap();
            let last = if head.contains("audit") { "2026-11-22" } else { ID };
            format!("{head}{last}")
        };
        for family in &FAMILIES {
            let target = Target::parse(&fill(family.entry.uri_template)).unwrap();
            assert_eq!(target.permission(), family.permission, "{target:?}");
        }
        for document in &BUILT_IN {
            assert_eq!(Target::parse(document.uri), Some(Target::Document(document)));
        }
        assert_eq!(Target::parse(API).unwrap().permission(), "tools:read");
        assert_eq!(Target::parse(GRAPH_SCHEMA).unwrap().permission(), "graph:query");
    }

    #[test]
    fn what_names_nothing_is_nothing() {
        for bad in [
            "",
            "resource://",
            "resource://ultimate-mcp/",
            "resource://ultimate-mcp/readme/",
            "resource://ultimate-mcp/artifacts/",
            "resource://ultimate-mcp/artifacts/a/b",
            "resource://ultimate-mcp/artifacts/..%2f..%2fetc/passwd",
            "resource://ultimate-mcp/audit/2026-1-2",
            "resource://ultimate-mcp/audit/2026-02-30",
            "resource://ultimate-mcp/runs/7",
            "resource://ultimate-mcp/graph/nodes/%zz",
            "resource://ultimate-mcp/graph/nodes/%ff",
            "resource://ultimate-mcp/graph/nodes/a%0ab",
            "file:///etc/passwd",
            "RESOURCE://ultimate-mcp/readme",
        ] {
            assert_eq!(Target::parse(bad), None, "{bad}");
        }
        let upper = format!("resource://ultimate-mcp/runs/{}", ID.replace('0', "A"));
        assert_eq!(Target::parse(&upper), None);
        assert_eq!(Target::parse(&format!("{API}{}", "x".repeat(2000))), None);
    }

    #[test]
    fn keys_come_percent_encoded() {
        let target = Target::parse("resource://ultimate-mcp/graph/nodes/person:ad%C3%A4%2F1");
        assert_eq!(target, Some(Target::Node("person:adä/1".to_owned())));
    }

    proptest! {
        #[test]
        fn no_uri_panics(uri in "(resource://ultimate-mcp/(graph/nodes|runs|audit)/)?\\PC{0,60}") {
            let _ = Target::parse(&uri);
        }
    }
}
