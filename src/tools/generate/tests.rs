//! `generate_code` and the built-in templates. Hostile templates meet the real worker process in the
//! integration tests.

use serde_json::json;

use super::*;
use crate::tools::Typed;
use crate::tools::lint::{LintLanguage, syntax_errors};
use crate::tools::testing::{call, refusal, result};

/// Renders in the test's own process.
struct InProcess;

impl Renderer for InProcess {
    fn render(
        &self,
        job: Job,
        _: ultimate_mcp_actors::deadline::Deadline,
    ) -> futures_util::future::BoxFuture<'_, Result<Reply, ApiError>> {
        Box::pin(async move { Ok(engine::render(&job)) })
    }
}

fn tool() -> Typed<GenerateCode> {
    let library = Arc::new(load_templates(None).unwrap());
    Typed::new(GenerateCode::new(library, Arc::new(InProcess)))
}

#[actix_rt::test]
async fn a_template_of_the_call_is_rendered_with_its_context() {
    let template = "{% for f in fields %}{{ f.name }}: {{ f.type }}\n{% endfor %}";
    let said = result(
        &tool(),
        json!({"template": template, "context": {"fields": [{"name": "id", "type": "int"}]}}),
    )
    .await;
    assert_eq!(said["output"], "id: int\n");
    assert_eq!(said["template_hash"], sha256_hex(template.as_bytes()));
    assert_eq!(said["name"], json!(null));
}

/// A context for each built-in template, and the language its output must parse as.
fn samples() -> Vec<(&'static str, Value, Option<LintLanguage>)> {
    vec![
        (
            "bash_script",
            json!({"name": "backup.sh", "description": "Copies a folder", "needs": ["tar"],
                   "options": [{"name": "from-dir", "description": "what", "default": "."},
                               {"name": "dry-run", "description": "only say", "flag": true}],
                   "body": "tar -C \"$from_dir\" -cf \"$scratch/a.tar\" .\nlog done"}),
            Some(LintLanguage::Bash),
        ),
        (
            "dockerfile",
            json!({"build_image": "python:3.12-slim", "packages": ["gcc"], "port": 8000,
                   "build": ["pip install --prefix=/install ."], "health": ["python", "-m", "app.health"],
                   "artifacts": [{"from": "/install", "to": "/usr/local"}],
                   "command": ["python", "-m", "app"], "env": {"A": "b c"}}),
            None,
        ),
        (
            "express_handler",
            json!({"resource": "invoice", "fields": [
                {"name": "total", "type": "number", "required": true},
                {"name": "note", "type": "string"}]}),
            Some(LintLanguage::JavaScript),
        ),
        (
            "pytest_suite",
            json!({"module": "shop.cart", "functions": [
                {"name": "total", "cases": [{"args": [[1, 2.5]], "expected": 3.5},
                                            {"args": [[]], "expected": null}],
                 "errors": [{"args": ["x"], "raises": "TypeError"}]},
                {"name": "empty", "cases": [{"args": [], "expected": true}]}]}),
            Some(LintLanguage::Python),
        ),
        (
            "python_module",
            json!({"doc": "Carts.", "imports": ["import json"],
                   "classes": [{"name": "Item", "doc": "A thing.", "fields": [
                       {"name": "price", "type": "float"},
                       {"name": "count", "type": "int", "default": "1"}]}],
                   "functions": [
                       {"name": "total", "doc": "The sum.", "returns": "float",
                        "arguments": [{"name": "items", "type": "list[Item]"}],
                        "body": "result = 0.0\nfor i in items:\n    result += i.price\nreturn result"},
                       {"name": "todo", "doc": "Not yet.", "arguments": [], "returns": "None"}]}),
            Some(LintLanguage::Python),
        ),
        (
            "rust_cli",
            json!({"name": "greet", "about": "Greets", "options": [
                {"name": "who", "type": "String", "help": "whom", "positional": true},
                {"name": "times", "type": "u32", "help": "how often", "default": 1}]}),
            Some(LintLanguage::Rust),
        ),
    ]
}

#[actix_rt::test]
async fn every_built_in_template_makes_code_that_parses() {
    let tool = tool();
    let library = load_templates(None).unwrap();
    let samples = samples();
    assert_eq!(samples.len(), library.iter().count(), "a built-in template has no sample");
    for (name, context, language) in samples {
        let said = result(&tool, json!({"name": name, "context": context})).await;
        let output = said["output"].as_str().unwrap();
        assert!(output.ends_with('\n') && !output.ends_with("\n\n"), "{name}: {output:?}");
        if let Some(language) = language {
            assert_eq!(syntax_errors(language, output), Vec::<String>::new(), "{name}:\n{output}");
        }
    }
}

#[actix_rt::test]
async fn a_named_template_names_what_is_missing_and_what_it_does_not_know() {
    let said =
        refusal(&tool(), json!({"name": "rust_cli", "context": {"name": "x", "colour": 1}})).await;
    assert!(
        said.contains("context.colour: unknown variable; this template has: name, about, options")
    );
    assert!(said.contains("context.about: is required: what it does, one line"), "{said}");
}

#[actix_rt::test]
async fn bad_input_names_the_field_and_what_is_allowed() {
    let tool = tool();
    let table = [
        (json!({}), "arguments: must have template or name"),
        (json!({"template": "x", "name": "y"}), "arguments: must have template or name, not both"),
        (json!({"template": ""}), "template: length must be at least 1"),
        (
            json!({"template": "x".repeat(TEMPLATE_BYTES_MAX + 1)}),
            "template: length must be at most 131072",
        ),
        (
            json!({"template": "x", "context": {"a": "x".repeat(CONTEXT_BYTES_MAX)}}),
            "context: must be at most 524288 bytes of JSON",
        ),
        (
            json!({"template": "x", "context": []}),
            "context: invalid type: sequence, expected a map",
        ),
        (
            json!({"name": "nope"}),
            "name: no such template; there are: bash_script, dockerfile, express_handler, \
             pytest_suite, python_module, rust_cli",
        ),
        (
            json!({"template": "a\n{{ who }}"}),
            "template: line 2: undefined variable: `who` is undefined; put it into `context`, or use \
             `| default(…)`",
        ),
    ];
    for (arguments, expected) in table {
        assert_eq!(refusal(&tool, arguments).await, expected);
    }
}

#[actix_rt::test]
async fn the_audit_gets_hashes_and_never_template_or_context() {
    let arguments = json!({"template": "SECRET {{ a }}", "context": {"a": "SECRET"}});
    let output = call(&tool(), arguments).await.unwrap();
    assert!(!serde_json::to_string(&output.audit).unwrap().contains("SECRET"));
    assert_eq!(output.audit["output_bytes"], 13);
}
