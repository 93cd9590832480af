//! What an import brings in, per language.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tree_sitter::Node;

use super::language::LintLanguage;
use super::names::text;

/// One module brought in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Import {
    /// The module as written: `os.path`, `./util.js`, `std::collections::HashMap`, `net/http`, `stdio.h`.
    pub module: String,
    /// Names taken from it, as they are called there; `*` for all. Empty when the module itself is
    /// brought in.
    pub names: Vec<String>,
    /// Line, from 1.
    pub line: u32,
}

/// Most names kept of one import, and most nodes of one `use` tree; the rest is left out.
const NAMES_MAX: usize = 1000;
/// Longest path a `use` tree is followed to, in bytes.
const USE_PATH_BYTES_MAX: usize = 1024;

/// What this import node brings in.
pub fn imports_of(language: LintLanguage, node: Node<'_>, source: &[u8]) -> Vec<Import> {
    let line = node.start_position().row as u32 + 1;
    let import = |module: String, names: Vec<String>| Import { module, names, line };
    match language {
        LintLanguage::Python => python(node, source, import),
        LintLanguage::JavaScript | LintLanguage::TypeScript => {
            script(node, source).map(|(module, names)| import(module, names)).into_iter().collect()
        }
        LintLanguage::Bash => {
            let argument = node.child_by_field_name("argument");
            argument.map(|a| import(unquoted(a, source), Vec::new())).into_iter().collect()
        }
        LintLanguage::Rust => {
            rust(node, source).into_iter().map(|(module, names)| import(module, names)).collect()
        }
        LintLanguage::Go | LintLanguage::C => {
            let path = node.child_by_field_name("path");
            path.map(|p| import(unquoted(p, source), Vec::new())).into_iter().collect()
        }
    }
}

/// The text without quotes or angle brackets around it.
fn unquoted(node: Node<'_>, source: &[u8]) -> String {
    let text = text(node, source);
    let bare = text
        .strip_prefix(['"', '\'', '`', '<'])
        .and_then(|rest| rest.strip_suffix(['"', '\'', '`', '>']));
    bare.unwrap_or(&text).to_owned()
}

/// `import a.b, c as d` brings in two modules; `from x import y as z, *` one module and its names.
fn python(
    node: Node<'_>,
    source: &[u8],
    import: impl Fn(String, Vec<String>) -> Import,
) -> Vec<Import> {
    let mut cursor = node.walk();
    let original = |name: Node<'_>| match name.child_by_field_name("name") {
        Some(inner) if name.kind() == "aliased_import" => text(inner, source),
        _ => text(name, source),
    };
    let mut names: Vec<String> =
        node.children_by_field_name("name", &mut cursor).take(NAMES_MAX).map(original).collect();
    if node.kind() == "import_statement" {
        return names.into_iter().map(|module| import(module, Vec::new())).collect();
    }
    if node.named_children(&mut cursor).any(|child| child.kind() == "wildcard_import") {
        names.push("*".into());
    }
    let module = match node.child_by_field_name("module_name") {
        Some(module) => text(module, source),
        None => "__future__".into(),
    };
    vec![import(module, names)]
}

fn script(node: Node<'_>, source: &[u8]) -> Option<(String, Vec<String>)> {
    if node.kind() == "call_expression" {
        let argument = node.child_by_field_name("arguments")?.named_child(0)?;
        let literal = argument.kind() == "string";
        return literal.then(|| (unquoted(argument, source), Vec::new()));
    }
    let mut cursor = node.walk();
    let mut names = Vec::new();
    for clause in node.named_children(&mut cursor) {
        match clause.kind() {
            // TypeScript: import x = require("y")
            "import_require_clause" => {
                let module = clause.child_by_field_name("source")?;
                return Some((unquoted(module, source), Vec::new()));
            }
            "import_clause" | "export_clause" | "namespace_export" => {
                clause_names(clause, source, &mut names);
            }
            _ => {}
        }
    }
    // export * from "y"
    if node.kind() == "export_statement" && names.is_empty() {
        names.push("*".into());
    }
    let module = node.child_by_field_name("source")?;
    Some((unquoted(module, source), names))
}

fn clause_names(clause: Node<'_>, source: &[u8], names: &mut Vec<String>) {
    if clause.kind() == "namespace_export" {
        names.push("*".into());
        return;
    }
    let mut cursor = clause.walk();
    for child in clause.named_children(&mut cursor).take(NAMES_MAX) {
        match child.kind() {
            "identifier" => names.push("default".into()),
            "namespace_import" => names.push("*".into()),
            "named_imports" => clause_names(child, source, names),
            "import_specifier" | "export_specifier" => {
                if let Some(name) = child.child_by_field_name("name") {
                    names.push(unquoted(name, source));
                }
            }
            _ => {}
        }
    }
}

/// `use a::{b, c::{self, d as e}, f::*}` is a:{b}, a::c:{self, d}, a::f:{*}.
fn rust(node: Node<'_>, source: &[u8]) -> Vec<(String, Vec<String>)> {
    if node.kind() == "extern_crate_declaration" {
        let name = node.child_by_field_name("name");
        return name.map(|n| (text(n, source), Vec::new())).into_iter().collect();
    }
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    let mut open: Vec<(String, Node<'_>)> = Vec::new();
    if let Some(tree) = node.child_by_field_name("argument") {
        open.push((String::new(), tree));
    }
    let mut leaves = 0;
    while let Some((prefix, tree)) = open.pop() {
        leaves += 1;
        if leaves > NAMES_MAX || prefix.len() > USE_PATH_BYTES_MAX {
            break;
        }
        let join = |part: &str| match prefix.as_str() {
            "" => part.to_owned(),
            _ => format!("{prefix}::{part}"),
        };
        match tree.kind() {
            "scoped_use_list" => {
                let path = tree.child_by_field_name("path").map(|p| text(p, source));
                let list = tree.child_by_field_name("list");
                open.extend(list.map(|list| (join(&path.unwrap_or_default()), list)));
            }
            "use_list" => {
                let mut cursor = tree.walk();
                let children: Vec<_> = tree.named_children(&mut cursor).collect();
                // Pushed backwards: what is written first comes out first.
                open.extend(children.into_iter().rev().map(|child| (prefix.clone(), child)));
            }
            "use_as_clause" => {
                open.extend(tree.child_by_field_name("path").map(|path| (prefix.clone(), path)));
            }
            "use_wildcard" => {
                let path = tree.named_child(0).map(|p| text(p, source));
                add(&mut found, join(&path.unwrap_or_default()), "*");
            }
            "line_comment" | "block_comment" => {}
            _ => match join(&text(tree, source)).rsplit_once("::") {
                Some((module, name)) => add(&mut found, module.to_owned(), name),
                None => found.push((text(tree, source), Vec::new())),
            },
        }
    }
    found
}

fn add(found: &mut Vec<(String, Vec<String>)>, module: String, name: &str) {
    match found.iter_mut().find(|(known, _)| *known == module) {
        Some((_, names)) => names.push(name.to_owned()),
        None => found.push((module, vec![name.to_owned()])),
    }
}
