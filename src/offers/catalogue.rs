//! Which resources and templates there are, what each takes, and the texts that are built in.

use std::borrow::Cow;

use futures_util::FutureExt;
use serde_json::Map;

use super::reading::Reading;
use super::{Ask, artifacts, pages};
use crate::error::ApiError;
use crate::mcp::{ResourceEntry, TemplateEntry};

/// A text that is part of the program.
#[derive(Debug, PartialEq, Eq)]
pub struct Document {
    /// Its URI.
    pub uri: &'static str,
    /// A short name.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// What is in it.
    pub description: &'static str,
    /// The text, Markdown.
    pub text: &'static str,
}

/// The permission that documents take.
pub const DOCUMENTS: &str = "tools:read";

/// The six documents.
pub static BUILT_IN: [Document; 6] = [
    Document {
        uri: "resource://ultimate-mcp/agent-handbook",
        name: "agent-handbook",
        title: "Agent handbook",
        description: "How an agent works well with this server: which tool for what, errors, limits.",
        text: include_str!("../../config/resources/agent-handbook.md"),
    },
    Document {
        uri: "resource://ultimate-mcp/ai-tools-setup",
        name: "ai-tools-setup",
        title: "Setting up AI tools",
        description: "How to connect MCP clients and plain HTTP to this server.",
        text: include_str!("../../config/resources/ai-tools-setup.md"),
    },
    Document {
        uri: "resource://ultimate-mcp/architecture",
        name: "architecture",
        title: "Architecture",
        description: "How the server is built and why.",
        text: include_str!("../../ARCHITECTURE.md"),
    },
    Document {
        uri: "resource://ultimate-mcp/executive-summary",
        name: "executive-summary",
        title: "Executive summary",
        description: "What the server is for, on one page.",
        text: include_str!("../../config/resources/executive-summary.md"),
    },
    Document {
        uri: "resource://ultimate-mcp/quick-start",
        name: "quick-start",
        title: "Quick start",
        description: "From nothing to a first isolated run.",
        text: include_str!("../../config/resources/quick-start.md"),
    },
    Document {
        uri: "resource://ultimate-mcp/readme",
        name: "readme",
        title: "Read me",
        description: "What the server does, and how it is started.",
        text: include_str!("../../README.md"),
    },
];

/// The OpenAPI document, with the tools of the caller.
pub const API: &str = "resource://docs/api";
/// Labels, types, keys and indexes of the graph.
pub const GRAPH_SCHEMA: &str = "resource://schemas/neo4j";

/// A family of resources.
pub struct Family {
    /// As it is listed.
    pub entry: TemplateEntry,
    /// What reading one of it takes.
    pub permission: &'static str,
}

/// Every family, by template.
pub static FAMILIES: [Family; 5] = [
    Family {
        entry: TemplateEntry {
            uri_template: "resource://ultimate-mcp/artifacts/{id}",
            name: "artifact",
            title: "A file that a run left",
            description: "A file that a run of yours left in out/, by the end of the URI in its result. Kept for a while.",
            mime_type: None,
        },
        permission: "tools:read",
    },
    Family {
        entry: TemplateEntry {
            uri_template: "resource://ultimate-mcp/audit/{date}",
            name: "audit-day",
            title: "A day of the audit",
            description: "The newest 200 events of a day (UTC, YYYY-MM-DD) on this node. Administrators only.",
            mime_type: Some("application/json"),
        },
        permission: "system:admin",
    },
    Family {
        entry: TemplateEntry {
            uri_template: "resource://ultimate-mcp/graph/nodes/{key}",
            name: "graph-neighbourhood",
            title: "A node and its neighbours",
            description: "A node of the graph by its key, and at most 200 relationships with the nodes at their other ends.",
            mime_type: Some("application/json"),
        },
        permission: "graph:query",
    },
    Family {
        entry: TemplateEntry {
            uri_template: "resource://ultimate-mcp/runs/{job_id}",
            name: "run",
            title: "A run in the background",
            description: "How a job of yours stands and, when it has ended, what its tool answered.",
            mime_type: Some("application/json"),
        },
        permission: "tools:read",
    },
    Family {
        entry: TemplateEntry {
            uri_template: "resource://ultimate-mcp/test-reports/{job_id}",
            name: "test-report",
            title: "A test report",
            description: "The tests of a finished run_tests_async job of yours, as JUnit XML.",
            mime_type: Some("application/xml"),
        },
        permission: "tools:read",
    },
];

/// What this caller may read without knowing an id: documents, schemas, its own artifacts on this node.
///
/// # Errors
/// Too many requests, the audit being down.
pub async fn resources(ask: Ask<'_>) -> Result<Vec<ResourceEntry>, ApiError> {
    let reading = Reading { action: "resources/list", permission: None, resource: "resources" };
    let work = async {
        let mut entries = Vec::new();
        if ask.may(DOCUMENTS) {
            entries.extend(BUILT_IN.iter().map(document));
            entries.push(api());
            entries.extend(pages::list());
            entries.extend(artifacts::list(&ask));
        }
        if ask.may("graph:query") {
            entries.push(graph_schema());
        }
        entries.sort_by(|a, b| a.uri.cmp(&b.uri));
        let facts = [("resources".to_owned(), entries.len().into())].into_iter().collect();
        Ok((entries, facts))
    };
    ask.read(reading, work.boxed_local()).await
}

/// The families this caller may read of.
///
/// # Errors
/// As [`resources`].
pub async fn templates(ask: Ask<'_>) -> Result<Vec<TemplateEntry>, ApiError> {
    let action = "resources/templates/list";
    let reading = Reading { action, permission: None, resource: "resource templates" };
    let work = async {
        let visible = FAMILIES.iter().filter(|family| ask.may(family.permission));
        Ok((visible.map(|family| family.entry).collect(), Map::new()))
    };
    ask.read(reading, work.boxed_local()).await
}

fn document(document: &Document) -> ResourceEntry {
    ResourceEntry {
        uri: document.uri.to_owned(),
        name: document.name.to_owned(),
        title: document.title.to_owned(),
        description: document.description.to_owned(),
        mime_type: Cow::Borrowed("text/markdown"),
        size: Some(document.text.len() as u64),
    }
}

fn api() -> ResourceEntry {
    ResourceEntry {
        uri: API.to_owned(),
        name: "api".to_owned(),
        title: "REST interface".to_owned(),
        description: "The OpenAPI 3.1 document of the REST interface, with the tools you may use."
            .to_owned(),
        mime_type: Cow::Borrowed("application/json"),
        size: None,
    }
}

fn graph_schema() -> ResourceEntry {
    ResourceEntry {
        uri: GRAPH_SCHEMA.to_owned(),
        name: "graph-schema".to_owned(),
        title: "Schema of the graph".to_owned(),
        description: "Labels, relationship types, property names and indexes of the knowledge graph, counted now.".to_owned(),
        mime_type: Cow::Borrowed("application/json"),
        size: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_families_are_sorted_named_once_and_not_empty() {
        let uris: Vec<&str> = BUILT_IN.iter().map(|document| document.uri).collect();
        assert!(uris.is_sorted() && uris.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(BUILT_IN.iter().all(|document| document.text.len() > 500), "{uris:?}");
        let templates: Vec<&str> = FAMILIES.iter().map(|f| f.entry.uri_template).collect();
        assert!(templates.is_sorted() && templates.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
