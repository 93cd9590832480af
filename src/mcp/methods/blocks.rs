//! Content as every revision writes it: blocks of messages and results, contents of resources.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;

use crate::mcp::{Block, Body};

/// A [`Block`] on the wire.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum BlockView<'a> {
    Text {
        text: &'a str,
    },
    #[serde(rename_all = "camelCase")]
    Image {
        data: String,
        mime_type: &'a str,
    },
    #[serde(rename_all = "camelCase")]
    Audio {
        data: String,
        mime_type: &'a str,
    },
    Resource {
        resource: ContentView<'a>,
    },
}

impl<'a> From<&'a Block> for BlockView<'a> {
    fn from(block: &'a Block) -> Self {
        match block {
            Block::Text(text) => Self::Text { text },
            Block::Image { mime_type, data } => {
                Self::Image { data: STANDARD.encode(data), mime_type }
            }
            Block::Audio { mime_type, data } => {
                Self::Audio { data: STANDARD.encode(data), mime_type }
            }
            Block::Resource { uri, mime_type, body } => {
                Self::Resource { resource: ContentView::new(uri, mime_type, body) }
            }
        }
    }
}

/// The content of a resource on the wire.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContentView<'a> {
    uri: &'a str,
    mime_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blob: Option<String>,
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<&'a Value>,
}

impl<'a> ContentView<'a> {
    /// Text as it is, anything else as Base64.
    pub fn new(uri: &'a str, mime_type: &'a str, body: &'a Body) -> Self {
        let (text, blob) = match body {
            Body::Text(text) => (Some(&**text), None),
            Body::Blob(bytes) => (None, Some(STANDARD.encode(bytes))),
        };
        Self { uri, mime_type, text, blob, meta: None }
    }

    /// The same, with what is said about it.
    pub fn with_meta(self, meta: Option<&'a Value>) -> Self {
        Self { meta, ..self }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{json, to_value};

    use super::*;

    #[test]
    fn every_kind_of_block_says_its_type_and_bytes_are_base64() {
        let view = |block: &Block| to_value(BlockView::from(block)).unwrap();
        assert_eq!(view(&Block::Text("a".into())), json!({"type": "text", "text": "a"}));
        let image = Block::Image { mime_type: "image/png".into(), data: vec![0, 255] };
        let expected = json!({"type": "image", "data": "AP8=", "mimeType": "image/png"});
        assert_eq!(view(&image), expected);
        let audio = Block::Audio { mime_type: "audio/wav".into(), data: vec![] };
        assert_eq!(view(&audio), json!({"type": "audio", "data": "", "mimeType": "audio/wav"}));
        for (body, key, value) in
            [(Body::Text("t".into()), "text", "t"), (Body::Blob(vec![0]), "blob", "AA==")]
        {
            let resource = Block::Resource { uri: "a:b".into(), mime_type: "a/b".into(), body };
            let inner = json!({"uri": "a:b", "mimeType": "a/b", key: value});
            assert_eq!(view(&resource), json!({"type": "resource", "resource": inner}));
        }
    }
}
