//! A client's Cypher text on its way to an engine: cut into tokens, held to limits, proven to read.
//!
//! Called by every [`GraphStore`](crate::graph::GraphStore) for each query. Refuses, in this order:
//! too long, not Cypher, a writing clause, a construct outside the common subset, a limit, a missing
//! parameter, and last whatever does not parse to a statement that only reads.

mod columns;
mod confine;
mod dialect;
mod guard;
mod lexer;
mod parse;

use serde_json::{Map, Value};

pub use confine::{Column, Confined};
pub use dialect::COMMON_SUBSET;
pub use guard::Features;

use super::error::{GraphError, Position};
use lexer::{Kind, Token};

/// A text that kept all limits and holds no clause but reading ones.
#[derive(Debug)]
pub struct CheckedQuery<'a> {
    tokens: Vec<Token<'a>>,
    blanked: String,
    features: Features,
    parameters: Vec<Parameter>,
}

/// A parameter that the text uses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Parameter {
    /// What the client calls it.
    pub name: String,
    /// What [`CheckedQuery::text`] calls it.
    pub engine_name: String,
}

/// Checks a text and that its parameters are there.
///
/// # Errors
/// The first reason to refuse it; see the module.
pub fn check<'a>(
    text: &'a str,
    parameters: &Map<String, Value>,
) -> Result<CheckedQuery<'a>, GraphError> {
    guard::check_length(text)?;
    let lexed = lexer::lex(text)?;
    let features = guard::check(&lexed.tokens, parameters)?;
    dialect::check(text, &lexed.tokens)?;
    let parameters = used_parameters(text, &lexed.tokens, parameters)?;
    Ok(CheckedQuery { tokens: lexed.tokens, blanked: lexed.blanked, features, parameters })
}

impl CheckedQuery<'_> {
    /// The text for the engine: no comments, parameters by their engine names, otherwise as the
    /// client wrote it; every line and column is where it was.
    pub fn text(&self) -> &str {
        &self.blanked
    }

    /// The parameters it uses, each once.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// What the guard learnt.
    pub fn features(&self) -> Features {
        self.features
    }

    /// Parses the text with the embedded engine's grammar and proves the statement read-only.
    ///
    /// Needs a thread with a big stack.
    ///
    /// # Errors
    /// [`GraphError::Syntax`], [`GraphError::Unsupported`], or [`GraphError::NotReadOnly`].
    pub fn reading_statement(&self) -> Result<marsdb_query::Statement, GraphError> {
        parse::reading_statement(&self.blanked)
    }

    /// Names computed columns by the client's own words.
    ///
    /// # Errors
    /// [`GraphError::Meaning`] when two columns then have the same name.
    pub fn name_columns(&self, columns: &mut [String]) -> Result<(), GraphError> {
        columns::rename(&self.blanked, &self.tokens, columns);
        let mut seen = std::collections::HashSet::new();
        match columns.iter().find(|column| !seen.insert(column.as_str())) {
            None => Ok(()),
            Some(twice) => Err(GraphError::Meaning {
                message: format!("RETURN has two columns named {twice:?}; name one with AS"),
            }),
        }
    }
}

/// Whether the engine's own words about a query are one of ours in disguise.
pub(crate) use parse::explain;

fn used_parameters(
    text: &str,
    tokens: &[Token<'_>],
    parameters: &Map<String, Value>,
) -> Result<Vec<Parameter>, GraphError> {
    let mut used = Vec::new();
    for (index, dollar) in tokens.iter().enumerate().filter(|(_, token)| token.is_sign('$')) {
        let (name, engine_name) = match tokens.get(index + 1) {
            Some(name) if name.kind == Kind::Word => (name.text, lexer::parameter_name(name.text)),
            Some(name) if matches!(name.kind, Kind::Quoted | Kind::Number) => {
                let name = name.text.trim_matches('`');
                (name, name.to_owned())
            }
            _ => {
                let message = "a parameter's name must follow the dollar sign".to_owned();
                return Err(GraphError::Syntax { message, at: Position::of(text, dollar.at) });
            }
        };
        if !parameters.contains_key(name) {
            return Err(GraphError::MissingParameter { name: name.to_owned() });
        }
        used.push(Parameter { name: name.to_owned(), engine_name });
    }
    used.sort();
    used.dedup();
    Ok(used)
}
