//! The outline of a source: functions, classes, imports, complexity, syntax errors.
//!
//! One walk over the syntax tree without recursion, bounded in time and in nodes, so that no source
//! can hold the thread or its stack.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tree_sitter::{Node, ParseOptions, Parser, Tree};

use super::imports::{Import, imports_of};
use super::language::{LintLanguage, Role};
use super::lines::Lines;
use super::names::{class_name, function_name, given_name, is_async, kind_of, owner_of, text};

/// Longest time for parsing and walking together.
pub const TIME_MAX: Duration = Duration::from_secs(2);
/// Most syntax errors reported: after a few, the rest follow from the first.
const SYNTAX_ERRORS_MAX: usize = 50;
/// Most functions, classes and imports listed, each.
const LISTED_MAX: usize = 5000;

/// A function or method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The class, implemented type or receiver it belongs to; null for a free function.
    pub class: Option<String>,
    /// Whether it is declared async.
    pub is_async: bool,
    /// First line, from 1.
    pub line: u32,
    /// Last line.
    pub end_line: u32,
    /// Cyclomatic complexity (McCabe 1976): 1 + decision points; anonymous functions count to the
    /// one around them.
    pub complexity: u32,
}

/// A class, struct, enum, interface, trait or union.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// `class`, `struct`, `enum`, `interface`, `trait` or `union`.
    pub kind: String,
    /// First line, from 1.
    pub line: u32,
    /// Last line.
    pub end_line: u32,
}

/// A place where the grammar does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// First position: line and column from 1.
    pub start: (u32, u32),
    /// Position after the last character.
    pub end: (u32, u32),
    /// What is wrong.
    pub message: String,
}

/// What a source consists of.
#[derive(Clone, Debug, Default)]
pub struct Outline {
    /// In the order of the source.
    pub functions: Vec<Function>,
    /// In the order of the source.
    pub classes: Vec<Class>,
    /// In the order of the source.
    pub imports: Vec<Import>,
    /// Complexity of all functions and of the code outside them together.
    pub complexity: u32,
    /// In the order of the source.
    pub errors: Vec<SyntaxError>,
    /// Whether a bound cut the work short, and which.
    pub cut: Option<&'static str>,
    /// Whether the source needed the second grammar of its language (TSX).
    pub is_variant: bool,
}

/// Parses and walks the source. Blocks for up to [`TIME_MAX`]: call it off the arbiter.
pub fn outline(language: LintLanguage, source: &str) -> Outline {
    let until = Instant::now() + TIME_MAX;
    let mut best: Option<(Tree, bool)> = None;
    for (index, grammar) in language.grammars().into_iter().enumerate() {
        let Some(tree) = parse(&grammar, source, until) else { break };
        let clean = !tree.root_node().has_error();
        if clean || best.is_none() {
            best = Some((tree, index > 0));
        }
        if clean {
            break;
        }
    }
    match best {
        Some((tree, is_variant)) => {
            let mut walk = Walk::new(language, source, until);
            walk.run(&tree);
            Outline { is_variant, ..walk.outline }
        }
        None => Outline { cut: Some(TOO_LONG), ..Outline::default() },
    }
}

/// Whether JavaScript must be run as an ES module: it imports or exports, or never calls `require`.
/// Blocks for up to two seconds: call it off the arbiter.
pub fn is_es_module(source: &str) -> bool {
    let grammar = tree_sitter_javascript::LANGUAGE.into();
    let Some(tree) = parse(&grammar, source, Instant::now() + TIME_MAX) else { return true };
    let mut cursor = tree.walk();
    let root = tree.root_node();
    let declares = root
        .named_children(&mut cursor)
        .any(|node| matches!(node.kind(), "import_statement" | "export_statement"));
    declares || !source.contains("require(")
}

const TOO_LONG: &str = "the source takes too long to parse; the outline is incomplete";
const TOO_MUCH: &str = "the source declares more than is listed; the outline is incomplete";

fn parse(grammar: &tree_sitter::Language, source: &str, until: Instant) -> Option<Tree> {
    let mut parser = Parser::new();
    parser.set_language(grammar).expect("the grammars are built for this tree-sitter");
    let bytes = source.as_bytes();
    let mut give_up = |_: &tree_sitter::ParseState| match Instant::now() > until {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    let options = ParseOptions::new().progress_callback(&mut give_up);
    let mut read = |at: usize, _| bytes.get(at..).unwrap_or_default();
    parser.parse_with_options(&mut read, None, Some(options))
}

/// A function or class that is open at the present node.
struct Scope {
    node: usize,
    /// Index into `functions`, when it is one.
    function: Option<usize>,
    /// The name methods in it belong to, when it is a class.
    class: Option<String>,
}

struct Walk<'a> {
    language: LintLanguage,
    source: &'a [u8],
    lines: Lines<'a>,
    until: Instant,
    scopes: Vec<Scope>,
    /// Modules and names imported so far.
    imported: usize,
    outline: Outline,
}

impl<'a> Walk<'a> {
    fn new(language: LintLanguage, source: &'a str, until: Instant) -> Self {
        Self {
            language,
            source: source.as_bytes(),
            lines: Lines::new(source),
            until,
            scopes: Vec::new(),
            imported: 0,
            // The code outside all functions is a way by itself.
            outline: Outline { complexity: 1, ..Outline::default() },
        }
    }

    fn run(&mut self, tree: &Tree) {
        let mut cursor = tree.walk();
        let mut path: Vec<Node<'_>> = Vec::new();
        let mut nodes = 0u64;
        loop {
            nodes += 1;
            if nodes.is_multiple_of(4096) && Instant::now() > self.until {
                self.outline.cut = Some(TOO_LONG);
                return;
            }
            self.enter(cursor.node(), path.last().copied());
            let node = cursor.node();
            if cursor.goto_first_child() {
                path.push(node);
                continue;
            }
            loop {
                self.leave(cursor.node());
                if cursor.goto_next_sibling() {
                    break;
                }
                if !cursor.goto_parent() {
                    return;
                }
                path.pop();
            }
        }
    }

    fn enter(&mut self, node: Node<'_>, parent: Option<Node<'_>>) {
        if (node.is_error() || node.is_missing()) && !parent.is_some_and(|p| p.is_error()) {
            self.syntax_error(node);
        }
        let around = parent.map_or("", |p| p.kind());
        match self.language.role(node, around, self.source) {
            Role::Function => self.open_function(node, function_name(node, self.source)),
            Role::Closure => {
                if let Some(name) = given_name(node, parent, self.source) {
                    self.open_function(node, Some(name));
                }
            }
            Role::Class => self.open_class(node, class_name(node, parent, self.source)),
            Role::Impl => {
                let class = class_name(node, parent, self.source);
                self.scopes.push(Scope { node: node.id(), function: None, class });
            }
            Role::Import => self.import(node),
            Role::Decision => self.decide(1),
            Role::FirstIsFree => self.decide(-1),
            Role::Plain => {}
        }
    }

    fn decide(&mut self, ways: i32) {
        let inner = self.scopes.iter().rev().find_map(|scope| scope.function);
        if let Some(function) = inner.and_then(|index| self.outline.functions.get_mut(index)) {
            function.complexity = function.complexity.saturating_add_signed(ways);
        }
        self.outline.complexity = self.outline.complexity.saturating_add_signed(ways);
    }

    fn import(&mut self, node: Node<'_>) {
        let found = imports_of(self.language, node, self.source);
        self.imported += found.iter().map(|import| 1 + import.names.len()).sum::<usize>();
        if self.bound(self.imported) {
            self.outline.imports.extend(found);
        }
    }

    fn leave(&mut self, node: Node<'_>) {
        if self.scopes.last().is_some_and(|scope| scope.node == node.id()) {
            self.scopes.pop();
        }
    }

    fn bound(&mut self, listed: usize) -> bool {
        if listed >= LISTED_MAX {
            self.outline.cut = Some(TOO_MUCH);
        }
        listed < LISTED_MAX
    }

    fn open_function(&mut self, node: Node<'_>, name: Option<String>) {
        self.outline.complexity += 1;
        if !self.bound(self.outline.functions.len()) {
            return;
        }
        let around = self.scopes.last().and_then(|scope| scope.class.clone());
        let function = Function {
            name: name.unwrap_or_else(|| "(anonymous)".into()),
            class: owner_of(node, self.source).or(around),
            is_async: is_async(node),
            line: node.start_position().row as u32 + 1,
            end_line: self.last_line(node),
            complexity: 1,
        };
        self.outline.functions.push(function);
        let function = Some(self.outline.functions.len() - 1);
        self.scopes.push(Scope { node: node.id(), function, class: None });
    }

    fn open_class(&mut self, node: Node<'_>, name: Option<String>) {
        if !self.bound(self.outline.classes.len()) {
            return;
        }
        let name = name.unwrap_or_else(|| "(anonymous)".into());
        self.outline.classes.push(Class {
            name: name.clone(),
            kind: kind_of(node).to_owned(),
            line: node.start_position().row as u32 + 1,
            end_line: self.last_line(node),
        });
        self.scopes.push(Scope { node: node.id(), function: None, class: Some(name) });
    }

    /// The line of the node's last character; some grammars let a block end with its line feed.
    fn last_line(&self, node: Node<'_>) -> u32 {
        let end = node.end_position();
        let past = end.column == 0 && end.row > node.start_position().row;
        end.row as u32 + u32::from(!past)
    }

    fn syntax_error(&mut self, node: Node<'_>) {
        if self.outline.errors.len() >= SYNTAX_ERRORS_MAX {
            return;
        }
        let message = if node.is_missing() {
            format!("missing {}", node.kind())
        } else {
            let start: String = text(node, self.source)
                .lines()
                .next()
                .unwrap_or_default()
                .chars()
                .take(40)
                .collect();
            format!("unexpected {start:?}")
        };
        let start = self.lines.at_point(node.start_position());
        let end = self.lines.at_point(node.end_position());
        self.outline.errors.push(SyntaxError { start, end, message });
    }
}
