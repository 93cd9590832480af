//! The frames between the server and the driver inside a sandbox that stays.
//!
//! The driver shares its process with whatever the user runs: it may be subverted at any time. So a
//! reply is bytes with bounds and nothing more: it must carry the number that its request named (no
//! reply can be made before its request), fit its bound, and decode to its end. What it says is the
//! program's own word, as an exit code is. Status, times and limits come from elsewhere.

use super::codec::{Decoder, Encoder};
use super::{Malformed, VERSION};
use crate::spec::InputFile;

const MAGIC: u16 = 0x5355; // "US"
const HELLO: u8 = 0;
const STEP: u8 = 1;
const WRITE: u8 = 2;

/// What every frame begins with: magic, version, token, length of the body.
pub(crate) const HEAD_BYTES: usize = 2 + 2 + 8 + 4;
/// Most bytes of a value's text, of its HTML and of its PNG form.
pub(crate) const TEXT_BYTES_MAX: usize = 256 * 1024;
pub(crate) const HTML_BYTES_MAX: usize = 1024 * 1024;
pub(crate) const PNG_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most bytes of an error's name and of its message.
pub(crate) const ERROR_BYTES_MAX: usize = 4096;
/// Largest body of a reply.
const BODY_BYTES_MAX: usize =
    TEXT_BYTES_MAX + HTML_BYTES_MAX + PNG_BYTES_MAX + 2 * ERROR_BYTES_MAX + 64;

/// What the driver is asked.
#[derive(Debug, Clone)]
pub(crate) enum Ask<'a> {
    /// Say that you are there.
    Hello,
    /// Run this code; `name` stands in its tracebacks.
    Step { name: &'a str, code: &'a str },
    /// Place these files beneath the working directory.
    Write { files: &'a [InputFile] },
}

/// What the driver answered. Nothing of it is trusted but its size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Reply {
    /// The code ran to its end.
    pub(crate) fine: bool,
    /// What it passed to `sys.exit`, when it called that.
    pub(crate) exit_code: Option<i32>,
    /// Name and message of the exception that ended it.
    pub(crate) error: Option<(Vec<u8>, Vec<u8>)>,
    /// The last expression's value as text, and whether that was cut.
    pub(crate) text: Option<(Vec<u8>, bool)>,
    pub(crate) html: Option<Vec<u8>>,
    pub(crate) png: Option<Vec<u8>>,
}

impl Ask<'_> {
    /// The whole frame. `stale`: an interrupt meant for what was asked before may still reach the driver;
    /// otherwise one that comes before it has begun is meant for this.
    pub(crate) fn encode(&self, token: u64, stale: bool) -> Vec<u8> {
        let mut body = Encoder::default();
        let kind = match self {
            Self::Hello => HELLO,
            Self::Step { .. } => STEP,
            Self::Write { .. } => WRITE,
        };
        body.u8(kind).u8(u8::from(stale));
        match self {
            Self::Hello => {}
            Self::Step { name, code } => {
                body.bytes(name.as_bytes()).bytes(code.as_bytes());
                for most in [TEXT_BYTES_MAX, HTML_BYTES_MAX, PNG_BYTES_MAX] {
                    body.u32(u32::try_from(most).unwrap_or(u32::MAX));
                }
            }
            Self::Write { files } => {
                body.u32(u32::try_from(files.len()).unwrap_or(u32::MAX));
                for file in *files {
                    body.bytes(file.path.as_bytes()).bytes(&file.content);
                }
            }
        }
        frame(token, &body.finish())
    }
}

fn frame(token: u64, body: &[u8]) -> Vec<u8> {
    let mut out = Encoder::default();
    // A length and the bytes: the last field of the head is the body's own prefix.
    out.u16(MAGIC).u16(VERSION).u64(token).bytes(body);
    out.finish()
}

/// How many bytes the frame that begins with `head` has in all.
pub(crate) fn length(head: &[u8; HEAD_BYTES], token: u64) -> Result<usize, Malformed> {
    let mut input = Decoder::new(head);
    if input.u16()? != MAGIC || input.u16()? != VERSION {
        return Err(Malformed("a reply does not start like one"));
    }
    if input.u64()? != token {
        return Err(Malformed("a reply answers something that was not asked"));
    }
    let len = input.u32()? as usize;
    if len > BODY_BYTES_MAX {
        return Err(Malformed("a reply is too long"));
    }
    Ok(HEAD_BYTES + len)
}

impl Reply {
    /// Reads the body of a whole frame.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut input = Decoder::new(body);
        let fine = input.bool()?;
        let exit_code = match input.bool()? {
            true => Some(input.u32()?.cast_signed()),
            false => None,
        };
        let error = match input.bool()? {
            true => {
                Some((bounded(&mut input, ERROR_BYTES_MAX)?, bounded(&mut input, ERROR_BYTES_MAX)?))
            }
            false => None,
        };
        let text = match input.bool()? {
            true => Some((bounded(&mut input, TEXT_BYTES_MAX)?, input.bool()?)),
            false => None,
        };
        let mut form = |most| match input.bool()? {
            true => bounded(&mut input, most).map(Some),
            false => Ok(None),
        };
        let (html, png) = (form(HTML_BYTES_MAX)?, form(PNG_BYTES_MAX)?);
        input.end()?;
        Ok(Self { fine, exit_code, error, text, html, png })
    }
}

fn bounded(input: &mut Decoder<'_>, most: usize) -> Result<Vec<u8>, Malformed> {
    let bytes = input.bytes()?;
    if bytes.len() > most {
        return Err(Malformed("a part of a reply is too long"));
    }
    Ok(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the driver makes it.
    fn encode(reply: &Reply) -> Vec<u8> {
        let mut out = Encoder::default();
        out.u8(u8::from(reply.fine)).u8(u8::from(reply.exit_code.is_some()));
        if let Some(code) = reply.exit_code {
            out.u32(code.cast_unsigned());
        }
        out.u8(u8::from(reply.error.is_some()));
        if let Some((name, message)) = &reply.error {
            out.bytes(name).bytes(message);
        }
        out.u8(u8::from(reply.text.is_some()));
        if let Some((text, cut)) = &reply.text {
            out.bytes(text).u8(u8::from(*cut));
        }
        for form in [&reply.html, &reply.png] {
            out.u8(u8::from(form.is_some()));
            if let Some(bytes) = form {
                out.bytes(bytes);
            }
        }
        out.finish()
    }

    fn reply() -> impl Strategy<Value = Reply> {
        let blob = || proptest::collection::vec(any::<u8>(), 0..40);
        let maybe = || proptest::option::of(blob());
        let error = proptest::option::of((blob(), blob()));
        let text = proptest::option::of((blob(), any::<bool>()));
        (any::<bool>(), any::<Option<i32>>(), error, text, maybe(), maybe()).prop_map(
            |(fine, exit_code, error, text, html, png)| Reply {
                fine,
                exit_code,
                error,
                text,
                html,
                png,
            },
        )
    }

    fn head(frame: &[u8]) -> [u8; HEAD_BYTES] {
        frame[..HEAD_BYTES].try_into().unwrap()
    }

    proptest! {
        #[test]
        fn a_reply_survives_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Reply::decode(&bytes);
            if bytes.len() >= HEAD_BYTES {
                let _ = length(&head(&bytes), 7);
            }
        }

        #[test]
        fn a_reply_crosses_unchanged_and_a_damaged_one_harms_nobody(
            reply in reply(), at in any::<usize>(), with in any::<u8>(),
        ) {
            let mut body = encode(&reply);
            prop_assert_eq!(Reply::decode(&body), Ok(reply));
            let at = at % body.len();
            body[at] = with;
            if let Ok(reply) = Reply::decode(&body) {
                prop_assert_eq!(encode(&reply), body);
            }
        }

        #[test]
        fn only_the_number_that_was_asked_with_is_answered(token in any::<u64>(), other in any::<u64>()) {
            let frame = frame(token, b"body");
            prop_assert_eq!(length(&head(&frame), token), Ok(frame.len()));
            prop_assert_eq!(length(&head(&frame), other).is_ok(), token == other);
        }
    }

    #[test]
    fn a_reply_beyond_its_bounds_is_refused_before_it_is_read() {
        let mut claims = frame(1, b"");
        claims[HEAD_BYTES - 4..].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(length(&head(&claims), 1), Err(Malformed("a reply is too long")));
        let text = Some((vec![b'x'; TEXT_BYTES_MAX + 1], false));
        assert!(Reply::decode(&encode(&Reply { text, ..Reply::default() })).is_err());
    }
}
