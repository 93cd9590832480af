//! Limits a query keeps before any parser or planner sees it.
//!
//! Called for each query. The engine's parser recurses without a bound, its functions do not look at
//! the clock, and Neo4j's planner takes seconds for long patterns; the numbers are those at which
//! both still answer on the default stacks (measured; the stress test holds them).

use serde_json::{Map, Value};

use super::lexer::{Kind, Token};
use crate::graph::error::GraphError;

/// Longest text in bytes.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Deepest nesting of brackets. Neo4j 2026 gives up between 100 and 200.
pub const DEPTH_MAX: usize = 64;
/// Most arithmetic and boolean operators. Neo4j 2026 gives up between 100 and 200.
pub const OPERATORS_MAX: usize = 100;
/// Most comparisons.
pub const COMPARISONS_MAX: usize = 200;
/// Most relationship patterns. Neo4j takes 4 to 5 s to plan 16, no answer in 20 s for 64.
pub const RELATIONSHIPS_MAX: usize = 16;
/// Most CASE expressions.
pub const CASES_MAX: usize = 64;
/// Most clauses.
pub const CLAUSES_MAX: usize = 64;
/// Most of each of `[`, `.`, `:` and `|`, which nest without brackets.
pub const POSTFIXES_MAX: usize = 256;
/// Most commas.
pub const COMMAS_MAX: usize = 2_048;
/// Deepest nesting of list comprehensions and list predicates.
pub const WALKS_MAX: usize = 3;
/// Most integers one `range()` may make, and all of them multiplied.
pub const RANGE_MAX: u64 = 100_000;
/// The same where lists are walked: the engine copies the row for each element.
pub const RANGE_WALKED_MAX: u64 = 10_000;
/// Most times longer that all `replace()` together may make a text.
pub const REPLACE_GROWTH_MAX: usize = 1_024;

/// Deepest nesting of `EXISTS { }`.
pub const EXISTS_MAX: usize = 2;
/// Bytes of a parameter that weigh as much as one value: what the engine needs for a small one.
const BYTES_PER_VALUE: usize = 64;

/// What the guard learnt about a query on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// It walks lists: comprehension, `any`, `all`, `none`, `single`.
    pub walks_lists: bool,
    /// It unwinds a list after other clauses.
    pub unwinds: bool,
    /// It gathers rows into lists.
    pub collects: bool,
    /// How many values one row of it may hold or become, as far as the text and the parameters
    /// tell: the engine counts rows only after a clause has made them all.
    pub weight: u64,
}

/// An open bracket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bracket<'a> {
    Plain,
    /// A list walk with its variable.
    Walk(&'a str),
    /// A subquery.
    Exists,
}

struct Guard<'a> {
    tokens: &'a [Token<'a>],
    brackets: Vec<Bracket<'a>>,
    operators: usize,
    comparisons: usize,
    relationships: usize,
    cases: usize,
    clauses: usize,
    squares: usize,
    dots: usize,
    colons: usize,
    commas: usize,
    pipes: usize,
    ranges: u64,
    replace_growth: usize,
    /// Whether a clause of this branch of a `UNION` came before.
    in_branch: bool,
    /// Rows that lists of known length make of one row.
    fan_out: u64,
    /// Values in the biggest list or text that a row may hold.
    widest: u64,
    walks_lists: bool,
    unwinds: bool,
    collects: bool,
}

/// Checks the limits.
///
/// # Errors
/// [`GraphError::Limit`], naming the limit and the way round it.
pub fn check(
    tokens: &[Token<'_>],
    parameters: &Map<String, Value>,
) -> Result<Features, GraphError> {
    let mut guard = Guard {
        tokens,
        brackets: Vec::new(),
        operators: 0,
        comparisons: 0,
        relationships: 0,
        cases: 0,
        clauses: 0,
        squares: 0,
        dots: 0,
        colons: 0,
        commas: 0,
        pipes: 0,
        ranges: 1,
        replace_growth: 1,
        in_branch: false,
        fan_out: 1,
        widest: 1,
        walks_lists: false,
        unwinds: false,
        collects: false,
    };
    for (index, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Sign('$') => guard.parameter(index, parameters),
            Kind::Sign(sign) => guard.sign(index, sign)?,
            Kind::Word => guard.word(index, parameters)?,
            _ => {}
        }
    }
    if guard.walks_lists && guard.ranges > RANGE_WALKED_MAX {
        return Err(over(
            "range() beside list comprehensions",
            RANGE_WALKED_MAX,
            "UNWIND the range",
        ));
    }
    let widest = guard.widest.max(guard.commas as u64);
    Ok(Features {
        walks_lists: guard.walks_lists,
        unwinds: guard.unwinds,
        collects: guard.collects,
        weight: widest.saturating_mul(guard.fan_out),
    })
}

/// The check that comes before any work on the text.
///
/// # Errors
/// [`GraphError::Limit`] when it is too long.
pub fn check_length(text: &str) -> Result<(), GraphError> {
    if text.len() > TEXT_BYTES_MAX {
        let limit = format!("{TEXT_BYTES_MAX} bytes");
        return Err(GraphError::limit("the query's length", limit, "pass data as parameters"));
    }
    Ok(())
}

fn over(what: &str, limit: impl std::fmt::Display, instead: &str) -> GraphError {
    GraphError::limit(what, limit.to_string(), instead)
}

fn bump(count: &mut usize, max: usize, what: &str, instead: &str) -> Result<(), GraphError> {
    *count += 1;
    if *count > max { Err(over(what, max, instead)) } else { Ok(()) }
}

/// How many values a parameter weighs.
fn values(value: &Value) -> u64 {
    match value {
        Value::Array(items) => items.iter().map(values).sum::<u64>() + 1,
        Value::Object(fields) => fields.values().map(values).sum::<u64>() + 1,
        Value::String(text) => (text.len() / BYTES_PER_VALUE + 1) as u64,
        _ => 1,
    }
}

impl<'a> Guard<'a> {
    fn token(&self, index: Option<usize>) -> Option<&'a Token<'a>> {
        index.and_then(|index| self.tokens.get(index))
    }

    fn sign(&mut self, index: usize, sign: char) -> Result<(), GraphError> {
        match sign {
            '(' | '[' | '{' => self.open(index, sign),
            ')' | ']' | '}' => {
                self.brackets.pop();
                Ok(())
            }
            '-' => self.dash(index),
            '+' | '*' | '/' | '%' | '^' => self.operator(),
            '=' | '<' | '>' => bump(
                &mut self.comparisons,
                COMPARISONS_MAX,
                "the number of comparisons",
                "compare with IN and a list parameter",
            ),
            '.' => bump(&mut self.dots, POSTFIXES_MAX, "the number of dots", "return whole nodes"),
            ':' => bump(&mut self.colons, POSTFIXES_MAX, "the number of colons", "use parameters"),
            '|' => bump(&mut self.pipes, POSTFIXES_MAX, "the number of |", "leave the type open"),
            ',' => bump(&mut self.commas, COMMAS_MAX, "the number of commas", "use parameters"),
            _ => Ok(()),
        }
    }

    fn operator(&mut self) -> Result<(), GraphError> {
        let instead = "split the expression with WITH, or compare with IN and a list parameter";
        bump(&mut self.operators, OPERATORS_MAX, "the number of operators", instead)
    }

    /// A dash begins a relationship pattern, ends one, or subtracts.
    fn dash(&mut self, index: usize) -> Result<(), GraphError> {
        let before = self.token(index.checked_sub(1)).map(|token| token.kind);
        let after = self.token(Some(index + 1)).map(|token| token.kind);
        let begins = matches!(after, Some(Kind::Sign('[' | '-')));
        let ends = matches!(before, Some(Kind::Sign(']' | '-')))
            && matches!(after, Some(Kind::Sign('>' | '(')));
        if ends {
            return Ok(());
        }
        if begins {
            return bump(
                &mut self.relationships,
                RELATIONSHIPS_MAX,
                "the number of relationship patterns",
                "use a variable length such as -[:TYPE*1..3]->, or WITH between shorter patterns",
            );
        }
        self.operator()
    }

    fn open(&mut self, index: usize, open: char) -> Result<(), GraphError> {
        if self.brackets.len() >= DEPTH_MAX {
            return Err(over(
                "the nesting of brackets",
                DEPTH_MAX,
                "split the expression with WITH",
            ));
        }
        if open == '[' {
            bump(&mut self.squares, POSTFIXES_MAX, "the number of [", "use parameters")?;
        }
        let before = self.token(index.checked_sub(1));
        let bracket = if let Some(variable) = self.walk(index, open) {
            self.check_walk(index)?;
            self.walks_lists = true;
            Bracket::Walk(variable)
        } else if open == '{' && before.is_some_and(|token| token.is_word("EXISTS")) {
            let open = self.brackets.iter().filter(|bracket| **bracket == Bracket::Exists).count();
            if open >= EXISTS_MAX {
                return Err(over("the nesting of EXISTS", EXISTS_MAX, "use one longer pattern"));
            }
            Bracket::Exists
        } else {
            Bracket::Plain
        };
        self.brackets.push(bracket);
        Ok(())
    }

    /// The variable when this bracket opens `[x IN …` or `any(x IN …`.
    fn walk(&self, index: usize, open: char) -> Option<&'a str> {
        let variable = self.token(Some(index + 1)).filter(|token| token.is_name())?;
        self.token(Some(index + 2)).filter(|token| token.is_word("IN"))?;
        let predicate = || {
            let before = self.token(index.checked_sub(1));
            ["any", "all", "none", "single", "filter", "extract", "reduce"]
                .iter()
                .any(|word| before.is_some_and(|token| token.is_word(word)))
        };
        (open == '[' || (open == '(' && predicate())).then_some(variable.text)
    }

    /// A walk inside a walk multiplies; the inner list must be small by its nature.
    fn check_walk(&self, index: usize) -> Result<(), GraphError> {
        let walk = |bracket: &Bracket<'a>| match bracket {
            Bracket::Walk(variable) => Some(*variable),
            _ => None,
        };
        let outer: Vec<&str> = self.brackets.iter().filter_map(walk).collect();
        if outer.len() >= WALKS_MAX {
            return Err(over(
                "the nesting of list comprehensions",
                WALKS_MAX,
                "UNWIND a list first",
            ));
        }
        if outer.is_empty() {
            return Ok(());
        }
        let source = self.token(Some(index + 3));
        let next = self.token(Some(index + 4));
        let small = source.is_some_and(|source| match source.kind {
            Kind::Sign('[' | '$') => true,
            Kind::Word | Kind::Quoted => {
                let called = next.is_some_and(|next| next.is_sign('('));
                let bounded =
                    ["nodes", "relationships", "labels", "keys", "range", "tail", "split"];
                (called && bounded.iter().any(|name| source.is_word(name)))
                    || next.is_some_and(|next| next.is_sign('.'))
                    || outer.contains(&source.text)
            }
            _ => false,
        });
        if small {
            return Ok(());
        }
        Err(over(
            "a list walked inside the walk of another",
            "nodes(), relationships(), labels(), keys(), split(), a property, a parameter or the \
             outer variable",
            "UNWIND one of the lists first",
        ))
    }

    fn word(&mut self, index: usize, parameters: &Map<String, Value>) -> Result<(), GraphError> {
        let token = &self.tokens[index];
        let before = self.token(index.checked_sub(1));
        let called = self.token(Some(index + 1)).is_some_and(|next| next.is_sign('('));
        let is = |words: &[&str]| words.iter().any(|word| token.is_word(word));
        if is(&["and", "or", "xor", "not"]) {
            self.operator()
        } else if is(&["in", "is", "contains", "starts", "ends"]) {
            let instead = "compare with IN and a list parameter";
            bump(&mut self.comparisons, COMPARISONS_MAX, "the number of comparisons", instead)
        } else if is(&["case"]) {
            bump(&mut self.cases, CASES_MAX, "the number of CASE", "use a map parameter")
        } else if is(&["when"]) {
            let instead = "use a map parameter";
            bump(&mut self.comparisons, COMPARISONS_MAX, "the number of comparisons", instead)
        } else if is(&["match", "unwind", "union", "return"])
            || (is(&["with"]) && !before.is_some_and(|b| b.is_word("starts") || b.is_word("ends")))
        {
            if is(&["unwind"]) && self.in_branch {
                self.fan_out = self.fan_out.saturating_mul(self.unwound(index + 1, parameters));
                self.unwinds = true;
            }
            self.in_branch = !is(&["union"]);
            bump(&mut self.clauses, CLAUSES_MAX, "the number of clauses", "split the query")
        } else if called && is(&["range"]) {
            // As the source of a first UNWIND it becomes rows, which are counted.
            let first = before.is_some_and(|b| b.is_word("unwind")) && self.fan_out == 1;
            let integers = self.range(index + 2)?;
            if !first {
                self.widest = self.widest.max(integers);
            }
            Ok(())
        } else if called && is(&["replace"]) {
            self.replace(index + 2, parameters)
        } else {
            self.collects |= called && is(&["collect"]);
            Ok(())
        }
    }

    /// `range(1, 100[, 2])`: literals only, since the engine fills the list before it looks at limits.
    /// Answers how many integers it makes.
    fn range(&mut self, start: usize) -> Result<u64, GraphError> {
        let refused = || {
            over(
                "range() with anything but integer literals, or making more integers",
                RANGE_MAX,
                "UNWIND a list parameter",
            )
        };
        let mut numbers = Vec::new();
        for argument in self.arguments(start) {
            let (negative, digits) = match argument {
                [number] if number.kind == Kind::Number => (false, number.text),
                [dash, number] if dash.is_sign('-') && number.kind == Kind::Number => {
                    (true, number.text)
                }
                _ => return Err(refused()),
            };
            // Within 2^53, so that the engine's counting cannot overflow.
            let number = digits.parse::<i64>().ok().filter(|n| *n < 1 << 53).ok_or_else(refused)?;
            numbers.push(if negative { -number } else { number });
        }
        let (span, step) = match numbers.as_slice() {
            [from, to] => (from.abs_diff(*to), 1),
            [from, to, step] if *step != 0 => (from.abs_diff(*to), step.unsigned_abs()),
            _ => return Err(refused()),
        };
        let integers = span / step + 1;
        self.ranges = self.ranges.saturating_mul(integers);
        if self.ranges > RANGE_MAX { Err(refused()) } else { Ok(integers) }
    }

    /// A parameter that rows may hold; `IN $list` and `UNWIND $list` only look at it.
    fn parameter(&mut self, index: usize, parameters: &Map<String, Value>) {
        let before = self.token(index.checked_sub(1));
        if before.is_some_and(|token| token.is_word("in") || token.is_word("unwind")) {
            return;
        }
        let name = self.token(Some(index + 1)).map(|name| name.text.trim_matches('`'));
        if let Some(value) = name.and_then(|name| parameters.get(name)) {
            self.widest = self.widest.max(values(value));
        }
    }

    /// How many rows `UNWIND` makes of one, as far as can be told here.
    fn unwound(&self, source: usize, parameters: &Map<String, Value>) -> u64 {
        match self.token(Some(source)).map(|token| token.kind) {
            Some(Kind::Sign('[')) => self.arguments(source + 1).len() as u64,
            Some(Kind::Sign('$')) => {
                let name = self.token(Some(source + 1)).map(|name| name.text.trim_matches('`'));
                let list = name.and_then(|name| parameters.get(name)).and_then(Value::as_array);
                list.map_or(1, |list| list.len().max(1) as u64)
            }
            _ => 1,
        }
    }

    /// `replace(text, search, replacement)` may multiply a text; the replacement must be known here.
    fn replace(&mut self, start: usize, parameters: &Map<String, Value>) -> Result<(), GraphError> {
        let arguments = self.arguments(start);
        let known = |argument: Option<&&[Token<'_>]>| match argument.copied() {
            Some([text]) if text.kind == Kind::Text => Some(text.text.len().saturating_sub(2)),
            Some([dollar, name]) if dollar.is_sign('$') => {
                parameters.get(name.text).and_then(Value::as_str).map(str::len)
            }
            _ => None,
        };
        let search = known(arguments.get(1)).unwrap_or(1).max(1);
        let Some(replacement) = known(arguments.get(2)) else {
            return Err(over(
                "replace() with a computed replacement",
                "a quoted text or a parameter",
                "pass the replacement as a parameter",
            ));
        };
        // An empty search text inserts between all characters: one more than they are.
        let growth = replacement.div_ceil(search) + usize::from(search == 1);
        self.replace_growth = self.replace_growth.saturating_mul(growth.max(1));
        if self.replace_growth > REPLACE_GROWTH_MAX {
            let instead = "use shorter replacements";
            return Err(over("the growth by replace()", REPLACE_GROWTH_MAX, instead));
        }
        Ok(())
    }

    /// The arguments of a call whose first token is at `start`, up to its closing bracket.
    fn arguments(&self, start: usize) -> Vec<&'a [Token<'a>]> {
        let (mut depth, mut from, mut arguments) = (0usize, start, Vec::new());
        for index in start..self.tokens.len() {
            match self.tokens[index].kind {
                Kind::Sign('(' | '[' | '{') => depth += 1,
                Kind::Sign(')' | ']' | '}') if depth == 0 => {
                    arguments.push(&self.tokens[from..index]);
                    break;
                }
                Kind::Sign(')' | ']' | '}') => depth -= 1,
                Kind::Sign(',') if depth == 0 => {
                    arguments.push(&self.tokens[from..index]);
                    from = index + 1;
                }
                _ => {}
            }
        }
        arguments
    }
}
