//! A query confined to the graph, for an engine that holds other nodes too: every node pattern gets the
//! label `Entity`, which no other node carries.
//!
//! Called by the store on Neo4j, where audit, roles and sessions live in the same database. The places
//! are found by tokens; then both texts, with and without the labels, are parsed, and the syntax trees
//! must be equal but for them, with one in every node pattern. A place that was missed, or one that is
//! no pattern, so never reaches the database. Nodes of others are never connected to those of the graph,
//! so relationships and paths between confined nodes stay inside.

use super::columns::top_level;
use super::lexer::{Kind, Token};
use super::parse::reading_statement;
use super::{CheckedQuery, Parameter, dialect::is_name_position};
use crate::graph::error::GraphError;
use crate::graph::model::BASE_LABEL;

/// Words that end the patterns of a `MATCH`.
const ENDS: [&str; 9] =
    ["WHERE", "WITH", "RETURN", "UNWIND", "OPTIONAL", "UNION", "ORDER", "SKIP", "LIMIT"];

/// A query that can only see nodes with the label `Entity`.
#[derive(Debug)]
pub struct Confined {
    /// The text to send.
    pub text: String,
    /// What its parameters are called: the client's name, the name in the text.
    pub parameters: Vec<(String, String)>,
    /// The columns, or `None` after `RETURN *`.
    pub columns: Option<Vec<Column>>,
}

/// One column of the answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Column {
    /// What the client calls it.
    pub name: String,
    /// What the text calls it.
    pub sent: String,
}

/// What is put after a token.
#[derive(Default)]
struct Insertions {
    /// Indexes of tokens after which the label goes.
    labels: Vec<usize>,
    /// Index of a token after which the name of a column goes, and that name.
    names: Vec<(usize, String)>,
}

impl CheckedQuery<'_> {
    /// Confines the query. Needs a thread with a big stack.
    ///
    /// # Errors
    /// Those of [`CheckedQuery::reading_statement`]; [`GraphError::Unsupported`] when it cannot be
    /// told what is a pattern.
    pub fn confine(&self) -> Result<Confined, GraphError> {
        let statement = self.reading_statement()?;
        marsdb_query::validate_statement(&statement).map_err(super::explain)?;
        let tokens = &self.tokens;
        let parameters = self.numbered();
        let (columns, names) = self.columns();
        let mut places = Insertions { labels: Vec::new(), names };
        let plain = assemble(tokens, &parameters, &places);
        places.labels = node_patterns(tokens);
        let text = assemble(tokens, &parameters, &places);
        if !is_same_but_confined(&plain, &text)? {
            return Err(GraphError::Unsupported {
                construct: "a bracket that could be a pattern or an expression".to_owned(),
                instead: "write expressions without brackets around single variables".to_owned(),
                at: None,
            });
        }
        let parameters =
            parameters.into_iter().map(|(parameter, sent)| (parameter.name, sent)).collect();
        Ok(Confined { text, parameters, columns })
    }

    fn numbered(&self) -> Vec<(Parameter, String)> {
        let used = self.parameters.iter().cloned().enumerate();
        used.map(|(number, parameter)| (parameter, format!("p{number}"))).collect()
    }

    /// The columns, and the names to give those that have none.
    fn columns(&self) -> (Option<Vec<Column>>, Vec<(usize, String)>) {
        let (mut columns, mut names) = (None, Vec::new());
        for items in return_items(&self.tokens) {
            let mut here = Vec::with_capacity(items.len());
            for (number, (from, to)) in items.into_iter().enumerate() {
                let item = &self.tokens[from..to];
                let Some(last) = item.last() else { continue };
                if item[0].is_sign('*') && item.len() == 1 {
                    return (None, Vec::new());
                }
                let name = super::columns::name_of(&self.blanked, item);
                let named = item.len() >= 3 && item[item.len() - 2].is_word("AS");
                if last.is_name() && (item.len() == 1 || named) {
                    here.push(Column { sent: name.clone(), name });
                } else {
                    let sent = format!("umcp_column_{number}");
                    names.push((to - 1, format!(" AS {sent}")));
                    here.push(Column { name, sent });
                }
            }
            // Every branch of a UNION has the same columns; the engine's checks saw to it.
            columns.get_or_insert(here);
        }
        (columns, names)
    }
}

/// The items of every `RETURN` outside brackets, as ranges of tokens.
fn return_items(tokens: &[Token<'_>]) -> Vec<Vec<(usize, usize)>> {
    let mut branches = Vec::new();
    let mut from: Option<usize> = None;
    let mut items: Vec<(usize, usize)> = Vec::new();
    let end = |from: &mut Option<usize>, items: &mut Vec<_>, branches: &mut Vec<_>, at| {
        if let Some(start) = from.take() {
            items.push((start, at));
            branches.push(std::mem::take(items));
        }
    };
    for index in top_level(tokens, 0) {
        let token = &tokens[index];
        let keyword = |word: &str| token.is_word(word) && !is_name_position(tokens, index);
        if keyword("RETURN") {
            let distinct = tokens.get(index + 1).is_some_and(|next| next.is_word("DISTINCT"));
            from = Some(index + 1 + usize::from(distinct));
        } else if ["ORDER", "SKIP", "LIMIT", "UNION"].iter().any(|word| keyword(word))
            || token.is_sign(';')
        {
            end(&mut from, &mut items, &mut branches, index);
        } else if let Some(start) = from.filter(|_| token.is_sign(',')) {
            items.push((start, index));
            from = Some(index + 1);
        }
    }
    end(&mut from, &mut items, &mut branches, tokens.len());
    branches
}

/// The text from its tokens, with every gap as one space.
fn assemble(
    tokens: &[Token<'_>],
    parameters: &[(Parameter, String)],
    places: &Insertions,
) -> String {
    let mut text = String::new();
    let mut end = tokens.first().map_or(0, |first| first.at);
    for (index, token) in tokens.iter().enumerate() {
        if token.at > end {
            text.push(' ');
        }
        end = token.end();
        let after_dollar = index > 0 && tokens[index - 1].is_sign('$');
        let name = token.text.trim_matches('`');
        let sent = parameters.iter().find(|(parameter, _)| after_dollar && parameter.name == name);
        text.push_str(sent.map_or(token.text, |(_, sent)| sent));
        if places.labels.contains(&index) {
            text.push(':');
            text.push_str(BASE_LABEL);
        }
        if let Some((_, name)) = places.names.iter().find(|(at, _)| *at == index) {
            text.push_str(name);
        }
    }
    text
}

/// Indexes of the tokens after which a node pattern's label goes: its bracket or its variable.
fn node_patterns(tokens: &[Token<'_>]) -> Vec<usize> {
    let mut found = Vec::new();
    // Depths at which the patterns of a MATCH, an EXISTS or a shortestPath stand.
    let mut regions: Vec<usize> = Vec::new();
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| &tokens[before]);
        match token.kind {
            Kind::Word if !is_name_position(tokens, index) => {
                if token.is_word("MATCH") {
                    regions.retain(|region| *region != depth);
                    regions.push(depth);
                } else if ENDS.iter().any(|word| token.is_word(word)) {
                    regions.retain(|region| *region != depth);
                }
            }
            Kind::Sign(sign @ ('(' | '[' | '{')) => {
                let path = before.is_some_and(|word| word.is_word("shortestPath"));
                let region = regions.contains(&depth);
                if sign == '(' && !path && (region || is_chained(tokens, index)) {
                    found.extend(label_place(tokens, index));
                }
                depth += 1;
                let exists = sign == '{' && before.is_some_and(|word| word.is_word("EXISTS"));
                if exists || (path && region) {
                    regions.push(depth);
                }
            }
            Kind::Sign(')' | ']' | '}') => {
                regions.retain(|region| *region < depth);
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
    }
    found
}

/// Where the label goes in the brackets that open at `open`, unless they already hold it.
fn label_place(tokens: &[Token<'_>], open: usize) -> Option<usize> {
    let named = tokens.get(open + 1).is_some_and(Token::is_name);
    let mut at = open + 1 + usize::from(named);
    while tokens.get(at).is_some_and(|sign| sign.is_sign(':')) {
        if tokens.get(at + 1).is_some_and(|label| label.text.trim_matches('`') == BASE_LABEL) {
            return None;
        }
        at += 2;
    }
    let end = tokens.get(at)?;
    let shaped = end.is_sign(')') || end.is_sign('{') || end.is_sign('$');
    shaped.then_some(open + usize::from(named))
}

/// Whether a relationship begins after, or ends before, the brackets that open at `open`.
fn is_chained(tokens: &[Token<'_>], open: usize) -> bool {
    let sign = |index: Option<usize>, sign: char| {
        index.and_then(|index| tokens.get(index)).is_some_and(|token| token.is_sign(sign))
    };
    let back = |steps: usize| open.checked_sub(steps);
    // `]-(`, `]->(`, `--(`, `-->(`; a `<` before them makes no difference.
    let dash = if sign(back(1), '>') { 2 } else { 1 };
    let ends = sign(back(dash), '-') && (sign(back(dash + 1), ']') || sign(back(dash + 1), '-'));
    let Some(close) = closing(tokens, open) else { return ends };
    let dash = if sign(Some(close + 1), '<') { close + 2 } else { close + 1 };
    let next = dash + 1;
    ends || (sign(Some(dash), '-') && (sign(Some(next), '[') || sign(Some(next), '-')))
}

fn closing(tokens: &[Token<'_>], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Sign('(' | '[' | '{') => depth += 1,
            Kind::Sign(')' | ']' | '}') if depth == 1 => return Some(index),
            Kind::Sign(')' | ']' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// Whether both texts mean the same but for the label, which stands in every node pattern of the
/// second. Also proves once more, on the text that is sent, that it only reads.
fn is_same_but_confined(plain: &str, confined: &str) -> Result<bool, GraphError> {
    let (plain, _) = without_label(&format!("{:?}", reading_statement(plain)?));
    // What the client wrote parsed; a label where none can stand is our doing.
    let Ok(confined) = reading_statement(confined) else { return Ok(false) };
    let (confined, complete) = without_label(&format!("{confined:?}"));
    Ok(complete && plain == confined)
}

/// A printed syntax tree without the base label in its node patterns, and whether each had it.
fn without_label(tree: &str) -> (String, bool) {
    const NODE: &str = "NodePattern {";
    const LABELS: &str = "labels: [";
    let label = format!("{BASE_LABEL:?}");
    let (mut out, mut complete) = (String::with_capacity(tree.len()), true);
    let (mut rest, mut quoted, mut in_node) = (tree, false, false);
    while let Some(next) = rest.chars().next() {
        if quoted && next == '\\' {
            let length = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
            out.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        quoted ^= next == '"';
        if !quoted && rest.starts_with(NODE) {
            in_node = true;
        }
        if !quoted && in_node && rest.starts_with(LABELS) {
            in_node = false;
            let (labels, length) = printed_texts(&rest[LABELS.len()..]);
            complete &= labels.contains(&label.as_str());
            out.push_str(LABELS);
            for other in labels.into_iter().filter(|other| *other != label) {
                out.push_str(other);
                out.push(',');
            }
            rest = &rest[LABELS.len() + length..];
            continue;
        }
        out.push(next);
        rest = &rest[next.len_utf8()..];
    }
    (out, complete)
}

/// The printed texts at the start of a list, each with its quotes, and the length up to its end.
fn printed_texts(list: &str) -> (Vec<&str>, usize) {
    let mut texts = Vec::new();
    let (mut from, mut escaped) = (None, false);
    for (at, next) in list.char_indices() {
        match (from, next) {
            (None, ']') => return (texts, at),
            (None, '"') => from = Some(at),
            (Some(start), '"') if !escaped => {
                texts.push(&list[start..=at]);
                from = None;
            }
            _ => {}
        }
        escaped = next == '\\' && !escaped && from.is_some();
    }
    (texts, list.len())
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::graph::cypher::check;

    fn confined(text: &str) -> Result<String, GraphError> {
        let parameters = json!({ "key": 1, "limit": 2 });
        let parameters: Map<_, _> = parameters.as_object().unwrap().clone();
        Ok(check(text, &parameters)?.confine()?.text)
    }

    #[test]
    fn every_node_pattern_gets_the_label_wherever_it_stands() {
        for (text, expected) in [
            ("MATCH (n) RETURN n", "MATCH (n:Entity) RETURN n"),
            ("MATCH () RETURN 1 AS x", "MATCH (:Entity) RETURN 1 AS x"),
            ("MATCH (n:A:B {k: $key}) RETURN n", "MATCH (n:Entity:A:B {k: $p0}) RETURN n"),
            ("MATCH (n:A:Entity) RETURN n", "MATCH (n:A:Entity) RETURN n"),
            (
                "MATCH (a)-->()<--(b), (c) RETURN a",
                "MATCH (a:Entity)-->(:Entity)<--(b:Entity), (c:Entity) RETURN a",
            ),
            (
                "MATCH (a)-[r:T*1..3]-(b) RETURN a",
                "MATCH (a:Entity)-[r:T*1..3]-(b:Entity) RETURN a",
            ),
            (
                "OPTIONAL MATCH p = (a)-->(b) RETURN p",
                "OPTIONAL MATCH p = (a:Entity)-->(b:Entity) RETURN p",
            ),
            (
                "MATCH (a) WHERE (a)-->() RETURN a",
                "MATCH (a:Entity) WHERE (a:Entity)-->(:Entity) RETURN a",
            ),
            (
                "MATCH (a) WHERE NOT (a)<-[:T]-(:B) RETURN a",
                "MATCH (a:Entity) WHERE NOT (a:Entity)<-[:T]-(:Entity:B) RETURN a",
            ),
            (
                "MATCH (a) RETURN [(a)-->(b) WHERE (b)--() | b.k] AS l",
                "MATCH (a:Entity) RETURN [(a:Entity)-->(b:Entity) WHERE (b:Entity)--(:Entity) | b.k] AS l",
            ),
            (
                "MATCH (a) RETURN [p = (a)-->() | p] AS l",
                "MATCH (a:Entity) RETURN [p = (a:Entity)-->(:Entity) | p] AS l",
            ),
            (
                "MATCH (a) WHERE EXISTS { (a)-->(b) WHERE b.x = 1 } RETURN a",
                "MATCH (a:Entity) WHERE EXISTS { (a:Entity)-->(b:Entity) WHERE b.x = 1 } RETURN a",
            ),
            (
                "MATCH (a) WHERE EXISTS { MATCH (b), (c) RETURN b } RETURN a",
                "MATCH (a:Entity) WHERE EXISTS { MATCH (b:Entity), (c:Entity) RETURN b } RETURN a",
            ),
            (
                "MATCH (a), (b) MATCH p = shortestPath((a)-[*..5]->(b)) RETURN p",
                "MATCH (a:Entity), (b:Entity) MATCH p = shortestPath((a:Entity)-[*..5]->(b:Entity)) RETURN p",
            ),
            (
                "MATCH (n:A) RETURN n UNION MATCH (n) RETURN n",
                "MATCH (n:Entity:A) RETURN n UNION MATCH (n:Entity) RETURN n",
            ),
            (
                "MATCH (a {k: 1}) WITH a MATCH (a)--(b) RETURN b",
                "MATCH (a:Entity {k: 1}) WITH a MATCH (a:Entity)--(b:Entity) RETURN b",
            ),
        ] {
            assert_eq!(
                confined(text).unwrap_or_else(|e| panic!("{text}: {e}")),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn expressions_stay_as_they_are() {
        for text in [
            "WITH 1 AS a, 2 AS b RETURN (a)-(b) AS x",
            "WITH 1 AS a RETURN (a) AS x",
            "WITH 1 AS a RETURN ((a)) * (a) AS x",
            "WITH [1] AS a RETURN (a)[0] AS x",
            "WITH 1 AS a RETURN abs(a) AS x, CASE WHEN (a) > 0 THEN (a) END AS y",
            "WITH 1 AS a, 2 AS b RETURN (a)<-(b) AS x",
            "UNWIND [1, 2] AS x WITH x WHERE (x) > 1 RETURN x",
            "WITH '(n)-->()' AS s RETURN s",
        ] {
            assert_eq!(confined(text).unwrap_or_else(|e| panic!("{text}: {e}")), text);
        }
    }

    #[test]
    fn computed_columns_get_names_and_keep_the_clients() {
        let text =
            "MATCH (n) RETURN n, n.key, count(*) AS c, toUpper( n.a ) ORDER BY n.key LIMIT $limit";
        let parameters = json!({ "limit": 2 });
        let checked = check(text, parameters.as_object().unwrap()).unwrap();
        let confined = checked.confine().unwrap();
        assert_eq!(
            confined.text,
            "MATCH (n:Entity) RETURN n, n.key AS umcp_column_1, count(*) AS c, \
             toUpper( n.a ) AS umcp_column_3 ORDER BY n.key LIMIT $p0"
        );
        let names: Vec<_> = confined.columns.unwrap().into_iter().map(|c| c.name).collect();
        assert_eq!(names, ["n", "n.key", "c", "toUpper( n.a )"]);
        assert_eq!(confined.parameters, [("limit".to_owned(), "p0".to_owned())]);
    }

    #[test]
    fn a_tree_in_which_one_pattern_lacks_the_label_is_not_confined() {
        let same = |a: &str, b: &str| is_same_but_confined(a, b).unwrap();
        assert!(same("MATCH (a)-->(b) RETURN a", "MATCH (a:Entity)-->(b:Entity) RETURN a"));
        assert!(!same("MATCH (a)-->(b) RETURN a", "MATCH (a:Entity)-->(b) RETURN a"));
        assert!(!same("MATCH (a) RETURN (a) AS x", "MATCH (a:Entity) RETURN (a:Entity) AS x"));
        assert!(!same("MATCH (a:A) RETURN a", "MATCH (a:Entity) RETURN a"));
        assert!(same("MATCH (a:`x]`) RETURN a", "MATCH (a:Entity:`x]`) RETURN a"));
        assert!(!same("MATCH (a:`x]`)--(b) RETURN a", "MATCH (a:Entity:`x]`)--(b) RETURN a"));
        assert!(!same("MATCH (a:`\"`)--(b) RETURN a", "MATCH (a:Entity:`\"`)--(b) RETURN a"));
        assert!(!same(
            "MATCH (a) RETURN 'labels: [\"Entity\"]' AS x",
            "MATCH (a) RETURN 'labels: [\"Entity\"]' AS x"
        ));
    }
}
