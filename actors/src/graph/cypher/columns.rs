//! Column names as Neo4j gives them: the text of each item of `RETURN`, or its `AS` name.
//!
//! Called after a query ran, since the embedded engine names computed columns in its own way.

use super::dialect::is_name_position;
use super::lexer::{Kind, Token};

/// Index of the first `RETURN` outside all brackets.
pub fn top_level_return(tokens: &[Token<'_>]) -> Option<usize> {
    top_level(tokens, 0)
        .find(|&index| tokens[index].is_word("RETURN") && !is_name_position(tokens, index))
}

/// Indexes from `start` on that stand outside all brackets opened since.
pub(super) fn top_level<'a>(
    tokens: &'a [Token<'a>],
    start: usize,
) -> impl Iterator<Item = usize> + 'a {
    let mut depth = 0usize;
    (start..tokens.len()).filter(move |&index| match tokens[index].kind {
        Kind::Sign('(' | '[' | '{') => {
            depth += 1;
            false
        }
        Kind::Sign(')' | ']' | '}') => {
            depth = depth.saturating_sub(1);
            false
        }
        _ => depth == 0,
    })
}

/// Puts the client's own words in place of the engine's names for computed columns.
///
/// `blanked` is the text the tokens were cut from, without comments. Names stay when the items
/// cannot be told apart, as with `RETURN *`.
pub fn rename(blanked: &str, tokens: &[Token<'_>], columns: &mut [String]) {
    let Some(start) = top_level_return(tokens).map(|index| index + 1) else { return };
    let start = start + usize::from(tokens.get(start).is_some_and(|next| next.is_word("DISTINCT")));
    let mut items = Vec::new();
    let mut from = start;
    for index in top_level(tokens, start) {
        let token = &tokens[index];
        let ends = ["ORDER", "SKIP", "LIMIT", "UNION"].iter().any(|word| token.is_word(word))
            && !is_name_position(tokens, index);
        if token.is_sign(',') {
            items.push(&tokens[from..index]);
            from = index + 1;
        } else if ends || token.is_sign(';') {
            items.push(&tokens[from..index]);
            from = tokens.len() + 1;
            break;
        }
    }
    if from <= tokens.len() {
        items.push(&tokens[from..]);
    }
    if items.len() != columns.len() || items.iter().any(|item| item.is_empty()) {
        return;
    }
    for (item, column) in items.iter().zip(columns) {
        if item.len() > 1 && !is_aliased(item) && !item[0].is_sign('*') {
            *column = words(blanked, item);
        }
    }
}

/// What an item of `RETURN` is called: its `AS` name, a variable's own, or its words.
pub(super) fn name_of(blanked: &str, item: &[Token<'_>]) -> String {
    match item.last() {
        Some(last) if last.is_name() && (item.len() == 1 || is_aliased(item)) => {
            last.text.trim_matches('`').to_owned()
        }
        _ => words(blanked, item),
    }
}

fn is_aliased(item: &[Token<'_>]) -> bool {
    let last = item.len() - 1;
    last >= 2 && item[last].is_name() && item[last - 1].is_word("AS")
}

/// The item as written, with every gap of two spaces or more, or a line end, as one space.
fn words(blanked: &str, item: &[Token<'_>]) -> String {
    let mut text = String::new();
    let mut end = item[0].at;
    for token in item {
        if token.at > end {
            text.push(' ');
        }
        text.push_str(token.text);
        end = token.end();
    }
    debug_assert!(blanked.len() >= end || blanked.is_empty());
    text
}
