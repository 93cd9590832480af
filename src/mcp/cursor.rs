//! Cursors of paged lists: opaque to clients, checked when they come back.
//!
//! A cursor names the last entry of its page, so that it stays right when entries come and go. It is no
//! secret and grants nothing: each page is filtered for its caller.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Marks the list and the layout, so that a cursor of another list or a later layout is refused.
const MARK: &str = "t1:";

/// Longest tool name (2026-07-28 conformance: 64).
const NAME_BYTES_MAX: usize = 64;

/// The cursor after this tool.
pub fn after(name: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{MARK}{name}"))
}

/// The tool after which the next page starts; `None` for a text that is no cursor of ours.
pub fn parse(cursor: &str) -> Option<String> {
    let longest = (MARK.len() + NAME_BYTES_MAX).div_ceil(3) * 4;
    if cursor.len() > longest {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let name = std::str::from_utf8(&bytes).ok()?.strip_prefix(MARK)?;
    let of_a_name = |b: u8| b.is_ascii_alphanumeric() || b"_.-/".contains(&b);
    (!name.is_empty() && name.bytes().all(of_a_name)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_that_is_no_cursor_of_ours_is_refused() {
        let foreign = URL_SAFE_NO_PAD.encode("r1:add");
        let control = URL_SAFE_NO_PAD.encode("t1:a\nb");
        let nameless = URL_SAFE_NO_PAD.encode("t1:");
        for bad in ["", "x", "add", "dDE6YWRk=", &foreign, &control, &nameless, &"A".repeat(500)] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_cursor_comes_back_as_it_went_out(name in "[A-Za-z0-9_./-]{1,64}") {
            prop_assert_eq!(parse(&after(&name)), Some(name));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,100}") {
            let _ = parse(&text);
        }
    }
}
