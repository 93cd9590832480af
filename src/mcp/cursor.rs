//! Cursors of paged lists: opaque to clients, checked when they come back.
//!
//! A cursor names the list and the last entry of its page, so that it stays right when entries come and
//! go. It is no secret and grants nothing: each page is filtered for its caller.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A list that comes in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// `tools/list`.
    Tools,
    /// `prompts/list`.
    Prompts,
    /// `resources/list`.
    Resources,
    /// `resources/templates/list`.
    Templates,
}

impl List {
    /// The member of the result that holds the entries.
    pub fn field(self) -> &'static str {
        match self {
            List::Tools => "tools",
            List::Prompts => "prompts",
            List::Resources => "resources",
            List::Templates => "resourceTemplates",
        }
    }

    /// Marks the list and the layout, so that a cursor of another list or a later layout is refused.
    fn mark(self) -> &'static str {
        match self {
            List::Tools => "t1:",
            List::Prompts => "p1:",
            List::Resources => "r1:",
            List::Templates => "m1:",
        }
    }
}

/// Longest name or URI of an entry: tools and prompts have 64 at most, URIs of ours are shorter.
const NAME_BYTES_MAX: usize = 256;

/// Length of a mark.
const MARK_BYTES: usize = 3;

/// The cursor after this entry.
pub fn after(list: List, name: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}{name}", list.mark()))
}

/// The entry after which the next page starts; `None` for a text that is no cursor of this list.
pub fn parse(list: List, cursor: &str) -> Option<String> {
    let longest = (MARK_BYTES + NAME_BYTES_MAX).div_ceil(3) * 4;
    if cursor.len() > longest {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let name = std::str::from_utf8(&bytes).ok()?.strip_prefix(list.mark())?;
    let of_a_name = |b: u8| b.is_ascii_graphic();
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
            assert_eq!(parse(List::Tools, bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_cursor_comes_back_as_it_went_out_and_to_its_own_list_only(name in "[!-~]{1,256}") {
            let cursor = after(List::Resources, &name);
            prop_assert_eq!(parse(List::Templates, &cursor), None);
            prop_assert_eq!(parse(List::Resources, &cursor), Some(name));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,100}") {
            let _ = parse(List::Prompts, &text);
        }
    }
}
