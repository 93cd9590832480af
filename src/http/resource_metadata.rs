//! Where clients learn who issues tokens for this server (RFC 9728, OAuth 2.0 Protected Resource Metadata).
//!
//! Open to anybody, as it must be read before there is a token. Served, and named in challenges, only when
//! `auth.authorization_servers` names one: without, tokens come from this server and there is nobody to
//! send clients to.

use actix_web::HttpRequest;
use actix_web::http::header::HOST;
use serde::Serialize;

/// The document of the endpoint `/mcp` (RFC 9728 §3.1 inserts the well-known part before the path).
pub const PATH: &str = "/.well-known/oauth-protected-resource/mcp";

/// What a client should ask for first; 403s name what else an operation needs (MCP, Scope Selection).
const SCOPE: &str = "tools:read";

/// Where the metadata come from.
#[derive(Clone, Debug)]
pub struct ResourceMetadata {
    servers: Vec<String>,
    public_url: String,
}

/// The document (RFC 9728 §2).
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Document<'a> {
    /// The canonical URI of the endpoint.
    resource: String,
    /// Issuers.
    authorization_servers: &'a [String],
    /// What to ask for first.
    scopes_supported: [&'static str; 1],
    /// Never in a query or body.
    bearer_methods_supported: [&'static str; 1],
    /// For people.
    resource_name: &'static str,
}

impl ResourceMetadata {
    /// Of these authorization servers; `public_url` as configured, empty = the address a client used.
    pub fn new(servers: &[String], public_url: &str) -> Self {
        let public_url = public_url.trim_end_matches('/').to_owned();
        Self { servers: servers.to_vec(), public_url }
    }

    /// The document; `None` when no authorization server is named.
    pub fn document(&self, request: &HttpRequest) -> Option<Document<'_>> {
        let base = self.base(request)?;
        Some(Document {
            resource: format!("{base}/mcp"),
            authorization_servers: &self.servers,
            scopes_supported: [SCOPE],
            bearer_methods_supported: ["header"],
            resource_name: "Ultimate MCP",
        })
    }

    /// A challenge (RFC 6750 §3) that also says where the document is (RFC 9728 §5.1); `None` when there is
    /// none.
    pub fn challenge(&self, challenge: &str, request: &HttpRequest) -> Option<String> {
        let base = self.base(request)?;
        let mut parts: Vec<String> = match challenge.strip_prefix("Bearer")?.trim_start() {
            "" => Vec::new(),
            given => vec![given.to_owned()],
        };
        if !challenge.contains("scope=") {
            parts.push(format!("scope=\"{SCOPE}\""));
        }
        parts.push(format!("resource_metadata=\"{base}{PATH}\""));
        Some(format!("Bearer {}", parts.join(", ")))
    }

    /// The guard has checked that the host is one of ours.
    fn base(&self, request: &HttpRequest) -> Option<String> {
        if self.servers.is_empty() {
            return None;
        }
        if !self.public_url.is_empty() {
            return Some(self.public_url.clone());
        }
        let host = request.headers().get(HOST)?.to_str().ok()?;
        // In a quoted string neither of these may stand; a host that is allowed has none.
        (!host.contains(['"', '\\'])).then(|| format!("http://{host}"))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn request() -> HttpRequest {
        TestRequest::default().insert_header((HOST, "localhost:8484")).to_http_request()
    }

    #[test]
    fn challenges_say_where_to_learn_more_and_keep_what_they_said() {
        let servers = ["https://login.example.org".to_owned()];
        let metadata = ResourceMetadata::new(&servers, "https://mcp.example.org/");
        let url = "https://mcp.example.org/.well-known/oauth-protected-resource/mcp";
        let challenge = |text| metadata.challenge(text, &request()).unwrap();
        assert_eq!(
            challenge("Bearer"),
            format!("Bearer scope=\"tools:read\", resource_metadata=\"{url}\"")
        );
        assert_eq!(
            challenge("Bearer error=\"insufficient_scope\", scope=\"a b\""),
            format!(
                "Bearer error=\"insufficient_scope\", scope=\"a b\", resource_metadata=\"{url}\""
            )
        );
        assert_eq!(metadata.challenge("Basic", &request()), None);
    }

    #[test]
    fn the_resource_is_the_endpoint_under_the_name_clients_use() {
        let servers = ["https://login.example.org".to_owned()];
        let resource = |url| {
            let metadata = ResourceMetadata::new(&servers, url);
            metadata.document(&request()).unwrap().resource
        };
        assert_eq!(resource("https://mcp.example.org/"), "https://mcp.example.org/mcp");
        assert_eq!(resource(""), "http://localhost:8484/mcp");
        assert_eq!(ResourceMetadata::new(&[], "https://a.example").document(&request()), None);
        assert_eq!(ResourceMetadata::new(&[], "").challenge("Bearer", &request()), None);
    }
}
