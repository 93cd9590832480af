//! The pages of MCP Apps: `ui://ultimate-mcp/{graph, run, tests}`, each an HTML document that shows a result.
//!
//! One text for all of them. What a host may let it do is said with the content: nothing.

use std::borrow::Cow;

use serde_json::json;

use crate::mcp::{Body, Content, ResourceEntry};
use crate::tools::views::{KINDS, PREFIX};

/// The media type of such pages (MCP Apps, 2026-01-26).
const MIME_TYPE: &str = "text/html;profile=mcp-app";
const TEXT: &str = include_str!("view.html");
/// What stands in the text for the kind of page.
const PLACEHOLDER: &str = "data-view=\"VIEW\"";

/// The kind of page that this URI names.
pub fn parse(uri: &str) -> Option<&'static str> {
    let name = uri.strip_prefix(PREFIX)?;
    KINDS.into_iter().find(|kind| *kind == name)
}

/// The page. It needs no network, no frames, no permission: the host is told so.
pub fn page(kind: &'static str) -> Content {
    let text = TEXT.replacen(PLACEHOLDER, &format!("data-view=\"{kind}\""), 1);
    let none: [&str; 0] = [];
    let csp = json!({
        "connectDomains": none, "resourceDomains": none, "frameDomains": none, "baseUriDomains": none,
    });
    Content {
        mime_type: Cow::Borrowed(MIME_TYPE),
        body: Body::Text(text.into()),
        is_fixed: true,
        meta: Some(json!({ "ui": { "csp": csp, "prefersBorder": true } })),
    }
}

/// How the pages are listed.
pub fn list() -> impl Iterator<Item = ResourceEntry> {
    KINDS.into_iter().map(|kind| ResourceEntry {
        uri: format!("{PREFIX}{kind}"),
        name: format!("view-{kind}"),
        title: format!("View of results: {kind}"),
        description: "A page with which a host that knows MCP Apps shows results.".to_owned(),
        mime_type: MIME_TYPE.into(),
        size: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_page_knows_its_kind_and_names_no_other_place() {
        for kind in KINDS {
            let Body::Text(text) = page(kind).body else { panic!("a page is text") };
            assert!(text.contains(&format!("data-view=\"{kind}\"")) && !text.contains("\"VIEW\""));
            let addresses = text.matches("://").count();
            assert_eq!(addresses, 1, "only the namespace of SVG");
        }
        assert_eq!(parse("ui://ultimate-mcp/run"), Some("run"));
        for none in ["ui://ultimate-mcp/", "ui://ultimate-mcp/run/", "ui://other/run", "run"] {
            assert_eq!(parse(none), None);
        }
    }
}
