//! What `base.toml` says about its keys: the comment above each, and the range written in it.
//!
//! The comment is the only place a range is written, so documentation and check cannot disagree.
//! Used by the loader and by the test that wants every key documented. Refuses nothing: a range
//! that cannot be read is caught by that test.

/// The defaults, and the list of known keys.
pub const BASE_TOML: &str = include_str!("../../config/base.toml");

/// One key of `base.toml`.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyDoc {
    /// Dotted key, e.g. `http.port`.
    pub key: String,
    /// The comment above it, one line.
    pub comment: String,
    /// Smallest and largest value allowed, both inclusive, from `[a .. b]` in the comment.
    pub range: Option<(f64, f64)>,
}

/// Reads the comments of a TOML text written like `base.toml`: one key per line, comments above it.
pub fn read(text: &str) -> Vec<KeyDoc> {
    let mut section = String::new();
    let mut comment = Vec::new();
    let mut docs = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix('#') {
            comment.push(words.trim());
        } else if let Some(header) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = format!("{header}.");
            comment.clear();
        } else if let Some((key, _)) = line.split_once(" = ") {
            let comment = std::mem::take(&mut comment).join(" ");
            let range = range_in(&comment);
            docs.push(KeyDoc { key: format!("{section}{key}"), comment, range });
        } else {
            comment.clear();
        }
    }
    docs
}

/// The last `[a .. b]` of a comment.
fn range_in(comment: &str) -> Option<(f64, f64)> {
    let open = comment.rfind('[')?;
    let (inside, _) = comment[open + 1..].split_once(']')?;
    let (low, high) = inside.split_once("..")?;
    Some((low.trim().parse().ok()?, high.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_from_the_comment_above_the_key() {
        let docs = read("# What. Why. [1 .. 2.5]\na = 1\n\n[s.t]\n# Other\nb = \"x\"\n");
        assert_eq!(docs[0].key, "a");
        assert_eq!(docs[0].range, Some((1.0, 2.5)));
        assert_eq!((docs[1].key.as_str(), docs[1].comment.as_str()), ("s.t.b", "Other"));
        assert_eq!(docs[1].range, None);
    }
}
