//! What `graph_query` understands: the common subset, told to clients; and what it does not, told
//! by name with what to write instead.
//!
//! Clauses that write are found by their place in the grammar: a keyword is a name only after `:`,
//! `.` or `|`, or before `:` in a map, or in backticks. This gives the refusal its words; the proof
//! that a query only reads is the parsed statement and the engine's read transaction behind it.

use super::lexer::{Kind, Token};
use crate::graph::error::{GraphError, Position};

/// The Cypher that works alike on the embedded engine and on Neo4j; for the tool's description.
pub const COMMON_SUBSET: &str = "\
One reading statement ending in RETURN, with parameters ($name) for all data.
Clauses: MATCH, OPTIONAL MATCH, WHERE, WITH, UNWIND, RETURN [DISTINCT], ORDER BY, SKIP, LIMIT, UNION [ALL].
Patterns: (n:Label {prop: $value}), -[r:TYPE|OTHER]->, <-[]-, undirected, variable length [:TYPE*1..3], \
named paths p = (...), shortestPath((a)-[*..5]->(b)) between nodes matched before.
Conditions: = <> < <= > >=, AND OR XOR NOT, IN, STARTS WITH, ENDS WITH, CONTAINS, IS [NOT] NULL, \
n:Label and pattern predicates (a)-[:T]->(b) in WHERE, CASE.
Aggregation: count, sum, avg, min, max, collect, each with DISTINCT; grouping by the other columns.
Lists: literals, indexes, slices, [x IN list WHERE ... | ...], [(a)-->(b) | b.name], any, all, none, single, \
range(literals), size, head, last, tail, reverse, nodes, relationships, keys, labels.
Functions: type, properties, coalesce, startNode, endNode, length, id, toString, toInteger, toFloat, toBoolean, \
toUpper, toLower, trim, ltrim, rtrim, left, right, substring, replace, split, abs, ceil, floor, round, sign, sqrt, \
date, time, localtime, datetime, localdatetime, duration.
Every node has the label Entity and the unique, indexed property key: MATCH (n:Entity {key: $key}); \
for many keys UNWIND $keys AS k MATCH (n:Entity {key: k}), since IN $list uses no index.
Not supported: writing clauses (use graph_upsert, graph_delete), =~, COUNT{}, COLLECT{}, CALL, FOREACH, LOAD CSV, \
map projections, reduce, elementId, quantified paths, label alternatives (n:A|B), WHERE inside a pattern, EXISTS { } that begins with a nameless node, \
pattern predicates outside WHERE, schema commands, APOC and GDS.
Limits: 16 KiB of text, 64 nested brackets, 100 operators, 16 relationship patterns, 64 clauses; rows, bytes \
and time are bounded and `truncated` says when more rows exist: go on with ORDER BY, SKIP and LIMIT.";

const UPSERT: &str = "use the tool graph_upsert";
const DELETE: &str = "use the tool graph_delete";
const SCHEMA: &str = "indexes are kept by the server";
const ONE_QUERY: &str = "send one reading statement that begins with MATCH, UNWIND, WITH or RETURN";

/// Clauses that never stand in a reading query.
const CLAUSES: [(&str, &str); 11] = [
    ("CREATE", UPSERT),
    ("INSERT", UPSERT),
    ("MERGE", UPSERT),
    ("SET", UPSERT),
    ("REMOVE", UPSERT),
    ("FOREACH", "UNWIND reads a list; graph_upsert writes"),
    ("DETACH", DELETE),
    ("DELETE", DELETE),
    ("DROP", SCHEMA),
    (
        "CALL",
        "procedures and subqueries are not run; use WITH, OPTIONAL MATCH or a list comprehension",
    ),
    ("LOAD", "pass the rows as a list parameter and UNWIND it"),
];

/// Words that can only begin another kind of statement.
const STATEMENTS: [&str; 22] = [
    "USE",
    "SHOW",
    "EXPLAIN",
    "PROFILE",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "START",
    "STOP",
    "ALTER",
    "GRANT",
    "DENY",
    "REVOKE",
    "RENAME",
    "ENABLE",
    "TERMINATE",
    "DEALLOCATE",
    "REALLOCATE",
    "USING",
    "CYPHER",
    "DRYRUN",
    "PERIODIC",
];

/// Functions outside the subset, and what to use.
const FUNCTIONS: [(&str, &str); 5] = [
    ("reduce", "use UNWIND with sum() or collect()"),
    ("elementId", "return the node itself, its id is in the result, or use its property key"),
    ("allShortestPaths", "use shortestPath()"),
    ("exists", "write n.property IS NOT NULL, or the pattern itself in WHERE"),
    ("point", "store latitude and longitude as numbers"),
];

/// Names of plugins and system procedures.
const PLUGINS: [&str; 6] = ["apoc", "gds", "db", "dbms", "genai", "vector"];

struct Dialect<'a> {
    text: &'a str,
    tokens: &'a [Token<'a>],
}

/// Refuses clauses that write or reach outside, then constructs outside the subset.
///
/// # Errors
/// [`GraphError::NotReadOnly`], [`GraphError::Unsupported`] or [`GraphError::Syntax`].
pub fn check(text: &str, tokens: &[Token<'_>]) -> Result<(), GraphError> {
    let dialect = Dialect { text, tokens };
    for (index, token) in tokens.iter().enumerate() {
        if token.kind == Kind::Word {
            dialect.clause(index)?;
        }
    }
    let mut open = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Word => dialect.word(index, &open)?,
            Kind::Sign(sign) => {
                dialect.sign(index, sign, &open)?;
                match sign {
                    '(' | '[' | '{' => open.push(index),
                    ')' | ']' | '}' => dialect.close(index, sign, &mut open)?,
                    _ => {}
                }
            }
            _ => {}
        }
    }
    if let Some(&index) = open.last() {
        return Err(dialect.syntax(index, "this bracket is not closed"));
    }
    dialect.ends_with_return()
}

/// Whether the word at `index` stands where the grammar takes any name.
pub fn is_name_position(tokens: &[Token<'_>], index: usize) -> bool {
    let before = index.checked_sub(1).map(|before| tokens[before].kind);
    let after = tokens.get(index + 1).map(|after| after.kind);
    matches!(before, Some(Kind::Sign(':' | '.' | '|' | '$' | '&' | '!')))
        || after == Some(Kind::Sign(':'))
}

impl Dialect<'_> {
    fn position(&self, index: usize) -> Position {
        Position::of(self.text, self.tokens[index].at)
    }

    fn syntax(&self, index: usize, message: impl Into<String>) -> GraphError {
        GraphError::Syntax { message: message.into(), at: self.position(index) }
    }

    fn unsupported(&self, index: usize, construct: &str, instead: &str) -> GraphError {
        GraphError::Unsupported {
            construct: construct.to_owned(),
            instead: instead.to_owned(),
            at: Some(self.position(index)),
        }
    }

    fn is_word(&self, index: usize, word: &str) -> bool {
        self.tokens.get(index).is_some_and(|token| token.is_word(word))
    }

    fn is_sign(&self, index: usize, sign: char) -> bool {
        self.tokens.get(index).is_some_and(|token| token.is_sign(sign))
    }

    /// Whether the sign at `index` follows the token before it without a gap.
    fn adjacent(&self, index: usize) -> bool {
        index > 0 && self.tokens[index - 1].end() == self.tokens[index].at
    }

    fn clause(&self, index: usize) -> Result<(), GraphError> {
        if is_name_position(self.tokens, index) {
            return Ok(());
        }
        let refused = |instead: &str| GraphError::NotReadOnly {
            clause: self.tokens[index].text.to_ascii_uppercase(),
            at: self.position(index),
            instead: format!("{instead}; a name spelt like this goes in backticks"),
        };
        for (clause, instead) in CLAUSES {
            // These three are ordinary names elsewhere.
            let certain = match clause {
                "LOAD" => self.is_word(index + 1, "CSV"),
                "FOREACH" => self.is_sign(index + 1, '('),
                "INSERT" => self.is_sign(index + 1, '(') && !self.is_operand(index),
                _ => true,
            };
            if certain && self.is_word(index, clause) {
                return Err(refused(instead));
            }
        }
        if index == 0
            && let Some(word) = STATEMENTS.iter().find(|word| self.is_word(0, word))
        {
            return Err(GraphError::NotReadOnly {
                clause: (*word).to_owned(),
                at: self.position(0),
                instead: ONE_QUERY.to_owned(),
            });
        }
        Ok(())
    }

    /// Whether an expression can stand here: a call there is a function, not a clause.
    fn is_operand(&self, index: usize) -> bool {
        let Some(before) = index.checked_sub(1).map(|before| &self.tokens[before]) else {
            return false;
        };
        matches!(before.kind, Kind::Sign(sign) if !matches!(sign, ')' | ']' | '}'))
            || [
                "RETURN", "WITH", "WHERE", "AND", "OR", "XOR", "NOT", "IN", "BY", "UNWIND", "WHEN",
                "THEN", "ELSE", "CASE", "DISTINCT", "SKIP", "LIMIT",
            ]
            .iter()
            .any(|word| before.is_word(word))
    }

    fn word(&self, index: usize, open: &[usize]) -> Result<(), GraphError> {
        if is_name_position(self.tokens, index) {
            return Ok(());
        }
        let word = self.tokens[index].text;
        let subquery = self.is_sign(index + 1, '{');
        if subquery && self.is_word(index, "COUNT") {
            let instead = "use OPTIONAL MATCH with count(), or size([(a)-->(b) | 1])";
            return Err(self.unsupported(index, "COUNT { }", instead));
        }
        if subquery && self.is_word(index, "COLLECT") {
            let instead = "use OPTIONAL MATCH with collect(), or [(a)-->(b) | b.name]";
            return Err(self.unsupported(index, "COLLECT { }", instead));
        }
        if subquery && self.is_word(index, "EXISTS") {
            return self.exists(index);
        }
        if self.is_sign(index + 1, '(') {
            for (name, instead) in FUNCTIONS {
                if self.is_word(index, name) {
                    return Err(self.unsupported(index, &format!("{name}()"), instead));
                }
            }
        }
        if PLUGINS.iter().any(|name| self.is_word(index, name)) && self.is_plugin_call(index) {
            let instead = "only the functions of the common subset are there";
            return Err(self.unsupported(index, &format!("the plugin {word}"), instead));
        }
        if self.is_word(index, "WHERE") && self.inside_pattern(open) {
            let instead = "put the condition into WHERE after the pattern";
            return Err(self.unsupported(index, "WHERE inside a pattern", instead));
        }
        Ok(())
    }

    /// `EXISTS { MATCH … }` needs its RETURN here, which Neo4j leaves out; the plain pattern works
    /// in both.
    fn exists(&self, index: usize) -> Result<(), GraphError> {
        // The embedded engine takes a nameless first node for one of the outer pattern's.
        let named = self.tokens.get(index + 3).is_some_and(Token::is_name);
        if self.is_sign(index + 2, '(') && !named {
            let instead = "name it, for example EXISTS { (a)-->() }";
            return Err(self.unsupported(
                index,
                "EXISTS { } that begins with a nameless node",
                instead,
            ));
        }
        let (mut depth, mut returns) = (0usize, false);
        for at in index + 1..self.tokens.len() {
            match self.tokens[at].kind {
                Kind::Sign('{') => depth += 1,
                Kind::Sign('}') if depth <= 1 => break,
                Kind::Sign('}') => depth -= 1,
                Kind::Word if depth == 1 => returns |= self.is_word(at, "RETURN"),
                _ => {}
            }
        }
        if self.is_word(index + 2, "MATCH") && !returns {
            let instead = "write EXISTS { (a)-->(b) WHERE ... }, without MATCH";
            return Err(self.unsupported(index, "EXISTS { MATCH ... } without RETURN", instead));
        }
        Ok(())
    }

    /// `apoc.x.y(`: a dotted name that is called.
    fn is_plugin_call(&self, index: usize) -> bool {
        let mut at = index;
        while self.is_sign(at + 1, '.') && self.tokens.get(at + 2).is_some_and(Token::is_name) {
            at += 2;
        }
        at > index && self.is_sign(at + 1, '(')
    }

    /// Whether the innermost bracket is a node or relationship pattern.
    fn inside_pattern(&self, open: &[usize]) -> bool {
        let Some(&bracket) = open.last() else { return false };
        let before = bracket.checked_sub(1).map(|before| &self.tokens[before]);
        match self.tokens[bracket].kind {
            Kind::Sign('[') => before.is_some_and(|token| token.is_sign('-')),
            Kind::Sign('(') => !["any", "all", "none", "single", "filter", "extract"]
                .iter()
                .any(|word| before.is_some_and(|token| token.is_word(word))),
            _ => false,
        }
    }

    fn sign(&self, index: usize, sign: char, open: &[usize]) -> Result<(), GraphError> {
        let joined =
            |first: char| index > 0 && self.is_sign(index - 1, first) && self.adjacent(index);
        match sign {
            '~' if joined('=') => {
                let instead = "use STARTS WITH, ENDS WITH or CONTAINS, with toLower() for any case";
                Err(self.unsupported(index - 1, "=~ (regular expressions)", instead))
            }
            '|' if joined('|') => {
                Err(self.unsupported(index - 1, "||", "join texts and lists with +"))
            }
            '=' if joined('!') => Err(self.unsupported(index - 1, "!=", "write <>")),
            '!' if self.is_sign(index + 1, '=') => Ok(()),
            ':' if joined(':') => {
                let instead = "compare values instead of types";
                Err(self.unsupported(index - 1, "a type predicate (::)", instead))
            }
            '!' | '&' => {
                let instead = "write n:A AND NOT n:B in WHERE";
                Err(self.unsupported(index, "a label expression", instead))
            }
            '|' if self.is_label_alternative(index, open) => {
                let instead = "write n:A OR n:B in WHERE";
                Err(self.unsupported(index, "a label alternative (n:A|B)", instead))
            }
            '{' if self.is_sign(index + 1, '.') => {
                let instead = "write a map: {name: n.name}, or properties(n)";
                Err(self.unsupported(index, "a map projection", instead))
            }
            '{' if index > 0 && self.is_sign(index - 1, ')') => {
                let instead = "use a variable length such as -[:TYPE*1..3]->";
                Err(self.unsupported(index, "a quantified path pattern", instead))
            }
            '.' if index > 0 && self.is_sign(index - 1, ']') && !self.is_sign(index + 1, '.') => {
                let instead = "write (list[0]).name";
                Err(self.unsupported(index, "a property of a list element", instead))
            }
            ';' if index + 1 < self.tokens.len() => {
                Err(self.syntax(index, "one statement only; nothing may follow the semicolon"))
            }
            _ => Ok(()),
        }
    }

    /// `|` after a label, outside square brackets.
    fn is_label_alternative(&self, index: usize, open: &[usize]) -> bool {
        let square = open.last().is_some_and(|&bracket| self.is_sign(bracket, '['));
        let label = index >= 2 && self.tokens[index - 1].is_name() && self.is_sign(index - 2, ':');
        label && !square
    }

    fn close(&self, index: usize, sign: char, open: &mut Vec<usize>) -> Result<(), GraphError> {
        let expected = match sign {
            ')' => '(',
            ']' => '[',
            _ => '{',
        };
        match open.pop() {
            Some(bracket) if self.is_sign(bracket, expected) => Ok(()),
            _ => Err(self.syntax(index, format!("{sign} closes nothing"))),
        }
    }

    fn ends_with_return(&self) -> Result<(), GraphError> {
        if self.tokens.is_empty() {
            let at = Position { line: 1, column: 1 };
            return Err(GraphError::Syntax { message: "the query is empty".to_owned(), at });
        }
        if super::columns::top_level_return(self.tokens).is_some() {
            return Ok(());
        }
        let last = self.tokens.len() - 1;
        Err(self.syntax(last, "a reading query ends with RETURN"))
    }
}
