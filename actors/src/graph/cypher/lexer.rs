//! Cypher's tokens, exactly as the engine's grammar cuts them, or stricter.
//!
//! Called by the guard, which counts on it: a text this lexer and the engine's would cut differently
//! could hide brackets from the limits. So whatever Neo4j and the embedded engine read differently
//! is refused here: doubled backticks, `\u` escapes (Neo4j resolves them before it looks for quotes),
//! line ends inside quoted text, letters that fold to ASCII, unknown characters. Comments are blanked.

use crate::graph::error::{GraphError, Position};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A keyword or a plain name.
    Word,
    /// A name in backticks.
    Quoted,
    /// Quoted text.
    Text,
    /// A number.
    Number,
    /// One sign.
    Sign(char),
}

/// One token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// What it is.
    pub kind: Kind,
    /// As written.
    pub text: &'a str,
    /// Byte offset.
    pub at: usize,
}

impl Token<'_> {
    /// Whether it is the unquoted word `word`, in any case.
    pub fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }

    /// Whether it is the sign `sign`.
    pub fn is_sign(&self, sign: char) -> bool {
        self.kind == Kind::Sign(sign)
    }

    /// Whether it can name something.
    pub fn is_name(&self) -> bool {
        matches!(self.kind, Kind::Word | Kind::Quoted)
    }

    /// Byte offset of its end.
    pub fn end(&self) -> usize {
        self.at + self.text.len()
    }
}

/// Tokens of a text, and the text with its comments blanked character by character, so that lines
/// and columns stay what the client wrote.
#[derive(Debug)]
pub struct Lexed<'a> {
    /// The tokens in order.
    pub tokens: Vec<Token<'a>>,
    /// The text without comments.
    pub blanked: String,
}

/// Signs of the common subset, and those whose constructs get an answer of their own later.
const SIGNS: &str = "=+<>.;,(){}[]-/%^*:|$~!&";

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    lexed: Lexed<'a>,
}

/// Cuts `text` into tokens.
///
/// # Errors
/// [`GraphError::Syntax`] at the first character that cannot stand where it is, or
/// [`GraphError::Unsupported`] for what the engines read differently.
pub fn lex(text: &str) -> Result<Lexed<'_>, GraphError> {
    let blanked = String::with_capacity(text.len());
    let mut lexer = Lexer { text, at: 0, lexed: Lexed { tokens: Vec::new(), blanked } };
    while let Some(next) = lexer.peek() {
        lexer.step(next)?;
    }
    Ok(lexer.lexed)
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn syntax(&self, at: usize, message: impl Into<String>) -> GraphError {
        GraphError::Syntax { message: message.into(), at: Position::of(self.text, at) }
    }

    fn step(&mut self, next: char) -> Result<(), GraphError> {
        match next {
            ' ' | '\t' | '\r' | '\n' | '\u{c}' => {
                self.lexed.blanked.push(next);
                self.at += 1;
                Ok(())
            }
            '/' if self.rest().starts_with("//") => {
                let length = self.rest().find(['\r', '\n']).unwrap_or(self.rest().len());
                self.blank(length);
                Ok(())
            }
            '/' if self.rest().starts_with("/*") => match self.rest()[2..].find("*/") {
                Some(end) => {
                    self.blank(end + 4);
                    Ok(())
                }
                None => Err(self.syntax(self.at, "this comment does not end")),
            },
            '\'' | '"' => self.quoted_text(next),
            '`' => self.quoted_name(),
            '0'..='9' => {
                let length = number_length(self.rest());
                self.push(Kind::Number, length);
                Ok(())
            }
            sign if SIGNS.contains(sign) => {
                self.push(Kind::Sign(sign), 1);
                Ok(())
            }
            letter if is_word_char(letter) => self.word(),
            other => Err(self.syntax(self.at, format!("unexpected character {other:?}"))),
        }
    }

    fn push(&mut self, kind: Kind, length: usize) {
        let text = &self.rest()[..length];
        self.lexed.tokens.push(Token { kind, text, at: self.at });
        self.lexed.blanked.push_str(text);
        self.at += length;
    }

    fn blank(&mut self, length: usize) {
        for hidden in self.rest()[..length].chars() {
            self.lexed.blanked.push(if matches!(hidden, '\r' | '\n') { hidden } else { ' ' });
        }
        self.at += length;
    }

    fn word(&mut self) -> Result<(), GraphError> {
        let rest = self.rest();
        let length = rest.find(|c| !is_word_char(c)).unwrap_or(rest.len());
        if let Some((offset, letter)) =
            rest[..length].char_indices().find(|(_, c)| folds_to_ascii(*c))
        {
            let message =
                format!("{letter:?} looks like an ASCII letter; quote the name in backticks");
            return Err(self.syntax(self.at + offset, message));
        }
        let parameter = self.lexed.tokens.last().is_some_and(|before| before.is_sign('$'));
        let start = self.lexed.blanked.len();
        self.push(Kind::Word, length);
        if parameter {
            let name = parameter_name(&rest[..length]);
            self.lexed.blanked.replace_range(start.., &name);
        }
        Ok(())
    }

    fn quoted_name(&mut self) -> Result<(), GraphError> {
        let Some(length) = self.rest()[1..].find('`').map(|end| end + 2) else {
            return Err(self.syntax(self.at, "this backtick has no partner"));
        };
        if self.rest()[length..].starts_with('`') {
            return Err(GraphError::Unsupported {
                construct: "a backtick inside a quoted name".to_owned(),
                instead: "choose a name without backticks".to_owned(),
                at: Some(Position::of(self.text, self.at)),
            });
        }
        if let Some(offset) = self.rest()[..length].find("\\u") {
            return Err(self.unicode_escape(self.at + offset));
        }
        self.push(Kind::Quoted, length);
        Ok(())
    }

    fn quoted_text(&mut self, quote: char) -> Result<(), GraphError> {
        let start = self.at;
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((offset, next)) = chars.next() {
            match next {
                '\r' | '\n' => {
                    return Err(self.syntax(
                        start + offset,
                        "a line end inside quoted text; write \\n or use a parameter",
                    ));
                }
                '\\' => match chars.next() {
                    Some((_, 'b' | 't' | 'n' | 'f' | 'r' | '"' | '\'' | '\\')) => {}
                    Some((_, 'u' | 'U')) => return Err(self.unicode_escape(start + offset)),
                    _ => {
                        return Err(self.syntax(
                            start + offset,
                            "unknown escape; allowed are \\b \\t \\n \\f \\r \\\" \\' \\\\",
                        ));
                    }
                },
                end if end == quote => {
                    self.push(Kind::Text, offset + 1);
                    return Ok(());
                }
                _ => {}
            }
        }
        Err(self.syntax(start, "this quoted text does not end"))
    }

    fn unicode_escape(&self, at: usize) -> GraphError {
        GraphError::Unsupported {
            construct: "the escape \\u".to_owned(),
            instead: "write the character itself or use a parameter".to_owned(),
            at: Some(Position::of(self.text, at)),
        }
    }
}

/// What `$name` is called inside the engine. Its grammar refuses keywords as parameter names, and
/// everybody writes `LIMIT $limit`: the first letter moves into Unicode's private use area, where
/// neither a keyword nor a client's name can be. As long as before, so columns stay.
pub fn parameter_name(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().filter(char::is_ascii);
    let moved = first.and_then(|first| char::from_u32(0xE000 + u32::from(first)));
    match moved {
        Some(moved) => std::iter::once(moved).chain(letters).collect(),
        None => name.to_owned(),
    }
}

fn is_word_char(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Letters such as `ſ` and `K`, which become ASCII when the case is changed.
fn folds_to_ascii(c: char) -> bool {
    !c.is_ascii()
        && (c.to_lowercase().any(|l| l.is_ascii_alphabetic())
            || c.to_uppercase().any(|u| u.is_ascii_alphabetic()))
}

/// Length of the number at the start: digits, letters of its base and exponent, one fraction.
fn number_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 0;
    let mut fraction = false;
    while let Some(&byte) = bytes.get(at) {
        let next = bytes.get(at + 1);
        let exponent_sign = matches!(byte, b'+' | b'-')
            && at > 0
            && matches!(bytes[at - 1], b'e' | b'E')
            && !rest.starts_with("0x")
            && !rest.starts_with("0X")
            && next.is_some_and(u8::is_ascii_digit);
        let point = byte == b'.' && !fraction && next.is_some_and(u8::is_ascii_digit);
        if !(byte.is_ascii_alphanumeric() || byte == b'_' || exponent_sign || point) {
            break;
        }
        fraction |= point;
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        lex(text).unwrap().tokens.iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_disappear_and_positions_stay() {
        let lexed = lex("RETURN /* é\n ( */ 1 // x\r+ 2").unwrap();
        let words: Vec<_> = lexed.tokens.iter().map(|token| token.text).collect();
        assert_eq!(words, ["RETURN", "1", "+", "2"]);
        assert_eq!(lexed.blanked, "RETURN     \n      1     \r+ 2");
    }

    #[test]
    fn quotes_hide_their_content() {
        assert_eq!(texts(r#"'a\'(' "b\"[" `c{`"#), [r#"'a\'('"#, r#""b\"[""#, "`c{`"]);
        assert_eq!(texts("1..3 1.5e-3 0xE-1"), ["1", ".", ".", "3", "1.5e-3", "0xE", "-", "1"]);
    }

    #[test]
    fn what_engines_read_differently_is_refused() {
        for bad in [
            "RETURN 'a\nb'",
            "RETURN 'a",
            "RETURN `a",
            "/* x",
            "RETURN '\\u0027'",
            "RETURN `a``b`",
            "ſET x",
            "RETURN \u{a0}1",
            "RETURN 1 # x",
            "RETURN '\\x'",
            "RETURN \u{0}",
            "MATCH (n:`\\u0060`)",
        ] {
            assert!(lex(bad).is_err(), "{bad:?} was cut into tokens");
        }
    }
}
