//! Names of functions and classes, wherever each grammar keeps them.

use tree_sitter::Node;

/// How deep a C declarator is followed: `int (*(*f)(void))[3]` is 5.
const DECLARATOR_DEPTH_MAX: usize = 16;

/// Longest name kept, in bytes; a longer one is cut. Bounds what hostile sources can make us copy.
const NAME_BYTES_MAX: usize = 256;

/// The node's text, cut at [`NAME_BYTES_MAX`].
pub fn text(node: Node<'_>, source: &[u8]) -> String {
    let bytes = source.get(node.byte_range()).unwrap_or_default();
    String::from_utf8_lossy(&bytes[..bytes.len().min(NAME_BYTES_MAX)]).into_owned()
}

/// The name a function carries itself.
pub fn function_name(node: Node<'_>, source: &[u8]) -> Option<String> {
    if let Some(name) = node.child_by_field_name("name") {
        return Some(text(name, source));
    }
    // C: the name is at the bottom of the declarator.
    let mut declarator = node.child_by_field_name("declarator")?;
    for _ in 0..DECLARATOR_DEPTH_MAX {
        if declarator.kind() == "identifier" {
            return Some(text(declarator, source));
        }
        declarator = match declarator.child_by_field_name("declarator") {
            Some(inner) => inner,
            None => declarator.named_child(0)?,
        };
    }
    None
}

/// The name that what is around an anonymous function gives it: a variable, property or field.
pub fn given_name(node: Node<'_>, parent: Option<Node<'_>>, source: &[u8]) -> Option<String> {
    let own = node.child_by_field_name("name").filter(|_| node.kind() == "function_expression");
    if let Some(name) = own {
        return Some(text(name, source));
    }
    let parent = parent?;
    let field = match parent.kind() {
        "variable_declarator" | "public_field_definition" => "name",
        "pair" => "key",
        "field_definition" => "property",
        "assignment_expression" => "left",
        _ => return None,
    };
    let name = parent.child_by_field_name(field)?;
    let simple = matches!(
        name.kind(),
        "identifier" | "property_identifier" | "private_property_identifier" | "member_expression"
    );
    simple.then(|| text(name, source))
}

/// The name of a class, or of the type an `impl` is for.
pub fn class_name(node: Node<'_>, parent: Option<Node<'_>>, source: &[u8]) -> Option<String> {
    let name = match node.kind() {
        "impl_item" => node.child_by_field_name("type"),
        _ => node.child_by_field_name("name"),
    };
    if let Some(name) = name {
        let base = name.child_by_field_name("type").filter(|_| name.kind() == "generic_type");
        return Some(text(base.unwrap_or(name), source));
    }
    // C: typedef struct { … } name;   JavaScript: const Name = class { … }
    let parent = parent?;
    let named = match parent.kind() {
        "type_definition" => parent.child_by_field_name("declarator"),
        "variable_declarator" => parent.child_by_field_name("name"),
        _ => None,
    };
    named.map(|name| text(name, source))
}

/// The receiver's type of a Go method.
pub fn owner_of(node: Node<'_>, source: &[u8]) -> Option<String> {
    let receiver = node.child_by_field_name("receiver")?.named_child(0)?;
    let kind = receiver.child_by_field_name("type")?;
    let bare = text(kind, source);
    let bare = bare.trim_start_matches('*');
    Some(bare.split('[').next().unwrap_or(bare).to_owned())
}

/// Whether the function is declared async.
pub fn is_async(node: Node<'_>) -> bool {
    let mut cursor = node.walk();
    node.children(&mut cursor).any(|child| match child.kind() {
        "async" => true,
        "function_modifiers" => {
            let mut inner = child.walk();
            child.children(&mut inner).any(|modifier| modifier.kind() == "async")
        }
        _ => false,
    })
}

/// What a class node is called in its language.
pub fn kind_of(node: Node<'_>) -> &'static str {
    match node.kind() {
        "struct_item" | "struct_specifier" => "struct",
        "enum_item" | "enum_specifier" | "enum_declaration" => "enum",
        "union_item" | "union_specifier" => "union",
        "trait_item" => "trait",
        "interface_declaration" => "interface",
        "type_spec" => match node.child_by_field_name("type").map(|t| t.kind()) {
            Some("interface_type") => "interface",
            _ => "struct",
        },
        _ => "class",
    }
}
