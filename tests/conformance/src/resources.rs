//! The suites' resources. URIs and contents are the suites'.

use ultimate_mcp::error::{ApiError, Code};
use ultimate_mcp::mcp::{Body, Content, ResourceEntry, TemplateEntry};

use crate::media::PNG;

const BINARY: &str = "test://static-binary";
const TEXT: &str = "test://static-text";
const WATCHED: &str = "test://watched-resource";

/// The one template.
pub const TEMPLATE: TemplateEntry = TemplateEntry {
    uri_template: "test://template/{id}/data",
    name: "template",
    title: "By id",
    description: "Repeats the id.",
    mime_type: Some("application/json"),
};

/// The resources by URI.
pub fn all() -> Vec<ResourceEntry> {
    vec![entry(BINARY, "image/png"), entry(TEXT, "text/plain"), entry(WATCHED, "text/plain")]
}

fn entry(uri: &str, mime_type: &'static str) -> ResourceEntry {
    ResourceEntry {
        uri: uri.to_owned(),
        name: uri.trim_start_matches("test://").to_owned(),
        title: uri.to_owned(),
        description: "A resource of the suites.".to_owned(),
        mime_type: mime_type.into(),
        size: None,
    }
}

/// The content of one.
///
/// # Errors
/// `NotFound`.
pub fn read(uri: &str) -> Result<Content, ApiError> {
    let id = uri.strip_prefix("test://template/").and_then(|rest| rest.strip_suffix("/data"));
    let (mime_type, body) = match (uri, id) {
        (BINARY, _) => ("image/png", Body::Blob(PNG.to_vec())),
        (TEXT, _) => {
            let text = "This is the content of the static text resource.";
            ("text/plain", Body::Text(text.into()))
        }
        (WATCHED, _) => ("text/plain", Body::Text("Watched resource content".into())),
        (_, Some(id)) => {
            let content = serde_json::json!({
                "id": id, "templateTest": true, "data": format!("Data for ID: {id}"),
            });
            ("application/json", Body::Text(content.to_string().into()))
        }
        _ => return Err(ApiError::new(Code::NotFound, "no such resource")),
    };
    Ok(Content { mime_type: mime_type.into(), body, is_fixed: false, meta: None })
}
