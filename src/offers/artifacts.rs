//! Artifacts as resources: the caller's own, on whatever node they live.

use std::borrow::Cow;
use std::path::Path;

use serde_json::Map;
use ultimate_mcp_actors::node::Handle;
use uuid::Uuid;

use super::Ask;
use super::reading::Read;
use crate::error::{ApiError, Code};
use crate::mcp::{Body, Content, ResourceEntry};
use crate::tools::artifacts::{ArtifactRecord, HANDLE_KIND};

/// Most bytes of content in one answer: it is copied a few times on its way, and Base64 makes it a third
/// longer.
const CONTENT_BYTES_MAX: u64 = 4 << 20;

/// Media types by the ending of a file's name.
const TYPES: [(&str, &str); 18] = [
    ("csv", "text/csv"),
    ("gif", "image/gif"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript"),
    ("json", "application/json"),
    ("log", "text/plain"),
    ("md", "text/markdown"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("py", "text/x-python"),
    ("svg", "image/svg+xml"),
    ("txt", "text/plain"),
    ("webp", "image/webp"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
];

/// The caller's artifacts on this node.
pub fn list(ask: &Ask<'_>) -> Vec<ResourceEntry> {
    let store = &ask.state.artifacts;
    let entry = |record: ArtifactRecord| ResourceEntry {
        uri: store.uri(&record),
        name: record.name.clone(),
        title: record.name.clone(),
        description: format!("A file that run {} left in out/.", record.execution_id),
        mime_type: Cow::Borrowed(media_type(&record.name).unwrap_or("application/octet-stream")),
        size: Some(record.size_bytes),
    };
    store.list_of(ask.caller.id()).into_iter().map(entry).collect()
}

/// The content of one: of this node, or asked of the node it lives on, which checks whose it is.
///
/// # Errors
/// Not there, expired or somebody else's, all alike; too large; its node is gone.
pub async fn read(ask: &Ask<'_>, handle: &str) -> Result<Read<Content>, ApiError> {
    let state = ask.state;
    let (name, bytes) = match Handle::parse(HANDLE_KIND, handle) {
        Ok(handle_there) if state.forwarder.elsewhere(handle).is_some() => {
            let node = handle_there.node.clone();
            let fetched =
                state.forwarder.artifact(ask.origin, &node, &handle_there, ask.deadline).await?;
            (String::new(), fetched)
        }
        Ok(own) if own.node == state.engine.nodes.own().id => open(ask, handle, own.id).await?,
        Ok(_) => return Err(missing()),
        // Ids of before there were nodes are this node's.
        Err(_) => match Uuid::parse_str(handle) {
            Ok(id) => open(ask, handle, id).await?,
            Err(_) => return Err(missing()),
        },
    };
    check_size(handle, bytes.len() as u64)?;
    let facts: Map<_, _> = [("bytes".to_owned(), bytes.len().into())].into_iter().collect();
    Ok((content(&name, bytes), facts))
}

fn check_size(handle: &str, bytes: u64) -> Result<(), ApiError> {
    if bytes <= CONTENT_BYTES_MAX {
        return Ok(());
    }
    let message = format!(
        "the artifact has {bytes} bytes, at most {CONTENT_BYTES_MAX} are sent here: \
         GET /api/v1/artifacts/{handle} sends it whole"
    );
    Err(ApiError::new(Code::InvalidArguments, message))
}

async fn open(ask: &Ask<'_>, handle: &str, id: Uuid) -> Result<(String, Vec<u8>), ApiError> {
    let (store, owner) = (ask.state.artifacts.clone(), ask.caller.id().clone());
    check_size(handle, store.record(&owner, id)?.size_bytes)?;
    let opened = tokio::task::spawn_blocking(move || store.open(&owner, id)).await;
    let opened = opened.map_err(|error| {
        ApiError::new(Code::Crashed, "reading the artifact crashed").caused_by(error)
    })?;
    let (record, bytes) = opened?;
    Ok((record.name, bytes))
}

fn missing() -> ApiError {
    ApiError::new(Code::NotFound, "no such artifact; artifacts expire and belong to who made them")
}

/// Text when it is text; what a program wrote decides nothing but how it is sent.
fn content(name: &str, bytes: Vec<u8>) -> Content {
    let named = media_type(name);
    let binary = named.is_some_and(|media| {
        !media.starts_with("text/")
            && !["application/json", "application/xml", "image/svg+xml"].contains(&media)
    });
    match String::from_utf8(bytes) {
        Ok(text) if !binary && !text.contains('\0') => Content {
            mime_type: Cow::Borrowed(named.unwrap_or("text/plain")),
            body: Body::Text(text.into()),
            is_fixed: false,
            meta: None,
        },
        Ok(text) => blob(named, text.into_bytes()),
        Err(error) => blob(named, error.into_bytes()),
    }
}

fn blob(named: Option<&'static str>, bytes: Vec<u8>) -> Content {
    let mime_type = Cow::Borrowed(named.unwrap_or("application/octet-stream"));
    Content { mime_type, body: Body::Blob(bytes), is_fixed: false, meta: None }
}

fn media_type(name: &str) -> Option<&'static str> {
    let ending = Path::new(name).extension()?.to_str()?.to_ascii_lowercase();
    TYPES.iter().find(|(known, _)| *known == ending).map(|(_, media)| *media)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_sent_as_text_and_everything_else_as_bytes() {
        let kind = |name: &str, bytes: &[u8]| {
            let content = content(name, bytes.to_vec());
            (content.mime_type.into_owned(), matches!(content.body, Body::Text(_)))
        };
        assert_eq!(kind("a.CSV", b"1,2"), ("text/csv".into(), true));
        assert_eq!(kind("a.png", b"\x89PNG"), ("image/png".into(), false));
        assert_eq!(kind("a.png", b"plain"), ("image/png".into(), false));
        assert_eq!(kind("a.json", b"\xff"), ("application/json".into(), false));
        assert_eq!(kind("", b"words"), ("text/plain".into(), true));
        assert_eq!(kind("data", b"a\0b"), ("application/octet-stream".into(), false));
    }
}
