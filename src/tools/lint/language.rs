//! The languages `lint_code` reads: grammar, and which node of it means what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tree_sitter::{Language, Node};

/// A language `lint_code` reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LintLanguage {
    /// Python 3; diagnostics by ruff.
    #[default]
    Python,
    /// JavaScript, JSX included; diagnostics by oxlint.
    JavaScript,
    /// TypeScript, TSX included; diagnostics by oxlint.
    TypeScript,
    /// Bash; diagnostics by shellcheck.
    Bash,
    /// Rust; syntax errors only.
    Rust,
    /// Go; syntax errors only.
    Go,
    /// C; syntax errors only.
    C,
}

/// What a node of the tree contributes to the outline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A function with a name of its own.
    Function,
    /// A function that has a name only if something around it gives it one.
    Closure,
    /// A class, struct, enum, interface or trait that is listed.
    Class,
    /// A block that makes its functions methods without being a class itself (Rust's `impl`).
    Impl,
    /// Something that brings another module in.
    Import,
    /// One more way through the function.
    Decision,
    /// A block whose alternatives are each a [`Role::Decision`], the first of which is none.
    FirstIsFree,
    /// Nothing by itself.
    Plain,
}

impl LintLanguage {
    /// Every language, for tests.
    pub const ALL: [LintLanguage; 7] = [
        LintLanguage::Python,
        LintLanguage::JavaScript,
        LintLanguage::TypeScript,
        LintLanguage::Bash,
        LintLanguage::Rust,
        LintLanguage::Go,
        LintLanguage::C,
    ];

    /// The name on the wire.
    pub fn slug(self) -> &'static str {
        match self {
            LintLanguage::Python => "python",
            LintLanguage::JavaScript => "javascript",
            LintLanguage::TypeScript => "typescript",
            LintLanguage::Bash => "bash",
            LintLanguage::Rust => "rust",
            LintLanguage::Go => "go",
            LintLanguage::C => "c",
        }
    }

    /// Grammars to try, best first: TypeScript's type assertions and TSX exclude each other.
    pub fn grammars(self) -> Vec<Language> {
        let first: Language = match self {
            LintLanguage::Python => tree_sitter_python::LANGUAGE.into(),
            LintLanguage::JavaScript => tree_sitter_javascript::LANGUAGE.into(),
            LintLanguage::TypeScript => tree_sitter_typescript::LANGUAGE_TYPESCRIPT.into(),
            LintLanguage::Bash => tree_sitter_bash::LANGUAGE.into(),
            LintLanguage::Rust => tree_sitter_rust::LANGUAGE.into(),
            LintLanguage::Go => tree_sitter_go::LANGUAGE.into(),
            LintLanguage::C => tree_sitter_c::LANGUAGE.into(),
        };
        match self {
            LintLanguage::TypeScript => vec![first, tree_sitter_typescript::LANGUAGE_TSX.into()],
            _ => vec![first],
        }
    }

    /// What this node contributes. `parent` is the kind of the node around it (asking the node
    /// itself costs a walk from the root).
    pub fn role(self, node: Node<'_>, parent: &str, source: &[u8]) -> Role {
        match self {
            LintLanguage::Python => python(node, source),
            LintLanguage::JavaScript | LintLanguage::TypeScript => script(node, parent, source),
            LintLanguage::Bash => bash(node, parent, source),
            LintLanguage::Rust => rust(node, parent),
            LintLanguage::Go => go(node, parent),
            LintLanguage::C => c(node, parent),
        }
    }
}

/// Whether the node is exactly this text; never reads more of it than that.
fn is_text(node: Node<'_>, source: &[u8], text: &str) -> bool {
    source.get(node.byte_range()) == Some(text.as_bytes())
}

/// Whether the node's text starts with this.
fn starts_with(node: Node<'_>, source: &[u8], text: &str) -> bool {
    source.get(node.byte_range()).is_some_and(|bytes| bytes.starts_with(text.as_bytes()))
}

fn python(node: Node<'_>, source: &[u8]) -> Role {
    match node.kind() {
        "function_definition" => Role::Function,
        "lambda" => Role::Closure,
        "class_definition" => Role::Class,
        "import_statement" | "import_from_statement" | "future_import_statement" => Role::Import,
        "if_statement"
        | "elif_clause"
        | "for_statement"
        | "while_statement"
        | "except_clause"
        | "conditional_expression"
        | "boolean_operator"
        | "for_in_clause"
        | "if_clause" => Role::Decision,
        // `case _` is taken when nothing else is: no further decision.
        "case_clause" if !starts_with(node, source, "case _:") => Role::Decision,
        _ => Role::Plain,
    }
}

fn script(node: Node<'_>, parent: &str, source: &[u8]) -> Role {
    match node.kind() {
        "function_declaration" | "generator_function_declaration" | "method_definition" => {
            Role::Function
        }
        "arrow_function" | "function_expression" | "generator_function" => Role::Closure,
        "class_declaration"
        | "class"
        | "abstract_class_declaration"
        | "interface_declaration"
        | "enum_declaration"
            if node.is_named() =>
        {
            Role::Class
        }
        "import_statement" => Role::Import,
        "export_statement" if node.child_by_field_name("source").is_some() => Role::Import,
        "call_expression" if is_require(node, source) => Role::Import,
        "if_statement" | "for_statement" | "for_in_statement" | "while_statement"
        | "do_statement" | "catch_clause" | "ternary_expression" | "switch_case" => Role::Decision,
        "&&" | "||" | "??" if parent == "binary_expression" => Role::Decision,
        "&&=" | "||=" | "??=" => Role::Decision,
        _ => Role::Plain,
    }
}

/// `require("x")` and `import("x")`.
fn is_require(node: Node<'_>, source: &[u8]) -> bool {
    node.child_by_field_name("function")
        .is_some_and(|f| f.kind() == "import" || is_text(f, source, "require"))
}

fn bash(node: Node<'_>, parent: &str, source: &[u8]) -> Role {
    match node.kind() {
        "function_definition" => Role::Function,
        "command" if is_source(node, source) => Role::Import,
        "if_statement"
        | "elif_clause"
        | "for_statement"
        | "c_style_for_statement"
        | "while_statement"
        | "ternary_expression" => Role::Decision,
        "case_item" if !["*)", "(*)"].iter().any(|rest| starts_with(node, source, rest)) => {
            Role::Decision
        }
        "&&" | "||" if ["list", "binary_expression"].contains(&parent) => Role::Decision,
        _ => Role::Plain,
    }
}

/// `source x` and `. x`.
fn is_source(node: Node<'_>, source: &[u8]) -> bool {
    node.child_by_field_name("name")
        .is_some_and(|name| is_text(name, source, "source") || is_text(name, source, "."))
}

fn rust(node: Node<'_>, parent: &str) -> Role {
    match node.kind() {
        "function_item" => Role::Function,
        "closure_expression" => Role::Closure,
        "struct_item" | "enum_item" | "union_item" | "trait_item" => Role::Class,
        "impl_item" => Role::Impl,
        "use_declaration" | "extern_crate_declaration" => Role::Import,
        "if_expression" | "while_expression" | "for_expression" | "try_expression"
        | "match_arm" => Role::Decision,
        "match_block" if has_child(node, "match_arm") => Role::FirstIsFree,
        "&&" | "||" if ["binary_expression", "let_chain"].contains(&parent) => Role::Decision,
        _ => Role::Plain,
    }
}

fn has_child(node: Node<'_>, kind: &str) -> bool {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).any(|child| child.kind() == kind)
}

fn go(node: Node<'_>, parent: &str) -> Role {
    match node.kind() {
        "function_declaration" | "method_declaration" => Role::Function,
        "func_literal" => Role::Closure,
        "type_spec" if has_type(node, &["struct_type", "interface_type"]) => Role::Class,
        "import_spec" => Role::Import,
        "if_statement" | "for_statement" | "expression_case" | "type_case"
        | "communication_case" => Role::Decision,
        "&&" | "||" if parent == "binary_expression" => Role::Decision,
        _ => Role::Plain,
    }
}

fn has_type(node: Node<'_>, kinds: &[&str]) -> bool {
    node.child_by_field_name("type").is_some_and(|t| kinds.contains(&t.kind()))
}

fn c(node: Node<'_>, parent: &str) -> Role {
    match node.kind() {
        "function_definition" => Role::Function,
        "struct_specifier" | "union_specifier" | "enum_specifier"
            if node.child_by_field_name("body").is_some() =>
        {
            Role::Class
        }
        "preproc_include" => Role::Import,
        "if_statement"
        | "for_statement"
        | "while_statement"
        | "do_statement"
        | "conditional_expression" => Role::Decision,
        "case_statement" if node.child_by_field_name("value").is_some() => Role::Decision,
        "&&" | "||" if parent == "binary_expression" => Role::Decision,
        _ => Role::Plain,
    }
}
