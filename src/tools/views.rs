//! Which page shows the result of which tool, for hosts that show pages (MCP Apps, `io.modelcontextprotocol/ui`).
//!
//! Read by the list of tools, which names the page, and by the resources, which serve it.

/// The kinds of pages, by the last part of their URI.
pub const KINDS: [&str; 3] = ["graph", "run", "tests"];

/// What the URIs of pages begin with.
pub const PREFIX: &str = "ui://ultimate-mcp/";

/// The page for the results of this tool.
pub fn of(tool: &str) -> Option<String> {
    let kind = match tool {
        "execute_code" | "sandbox_execute" => "run",
        "run_tests" => "tests",
        "graph_query" => "graph",
        _ => return None,
    };
    Some(format!("{PREFIX}{kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_page_shows_some_tool() {
        let tools = ["execute_code", "run_tests", "graph_query"];
        for kind in KINDS {
            assert!(tools.iter().any(|tool| of(tool) == Some(format!("{PREFIX}{kind}"))), "{kind}");
        }
    }
}
