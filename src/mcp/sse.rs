//! Server-sent events (WHATWG HTML §9.2): how messages are framed in a streamed answer.

use actix_web::web::Bytes;

/// A comment, which clients pass over.
pub const BEAT: Bytes = Bytes::from_static(b": beat\n\n");

/// One message as one event, with an id if the stream can be resumed.
pub fn event(id: Option<&str>, json: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(json.len() + 64);
    if let Some(id) = id {
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(id.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"event: message\n");
    // Line ends outside of strings are white space in JSON, and would end the field.
    for line in json.split(|byte| matches!(byte, b'\n' | b'\r')) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.push(b'\n');
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As a client reads it: the data of every event.
    fn read(stream: &str) -> Vec<String> {
        stream
            .split("\n\n")
            .filter_map(|event| {
                let data: Vec<_> =
                    event.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
                (!data.is_empty()).then(|| data.join("\n"))
            })
            .collect()
    }

    #[test]
    fn json_over_several_lines_is_one_event() {
        let framed = event(Some("3-1"), b"{\n\"a\":\r\n1}");
        let text = String::from_utf8(framed.to_vec()).unwrap();
        assert!(text.starts_with("id: 3-1\nevent: message\n"), "{text}");
        let data = read(&text);
        assert_eq!(data.len(), 1);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&data[0]).unwrap()["a"], 1);
    }

    proptest! {
        #[test]
        fn no_text_in_a_message_breaks_the_frame(texts in proptest::collection::vec(".*", 1..5)) {
            let mut stream = Vec::new();
            for text in &texts {
                let json = serde_json::to_vec(&serde_json::json!({ "text": text })).unwrap();
                stream.extend_from_slice(&event(None, &json));
                stream.extend_from_slice(&BEAT);
            }
            let read: Vec<String> = read(std::str::from_utf8(&stream).unwrap())
                .iter()
                .map(|data| serde_json::from_str::<serde_json::Value>(data).unwrap()["text"].as_str().unwrap().to_owned())
                .collect();
            prop_assert_eq!(read, texts);
        }
    }
}
