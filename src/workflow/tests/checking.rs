//! Mistakes are found before anything runs, all of them at once.

use serde_json::{Map, Value, json};

use super::{definition, known};
use crate::workflow::{STEPS_MAX, check, inputs};

fn problems(value: Value) -> Vec<String> {
    let found = check(&definition(value), &known);
    found.into_iter().map(|p| format!("{}: {}", p.path, p.problem)).collect()
}

#[test]
fn a_sound_definition_has_no_mistakes() {
    let found = problems(json!({
        "name": "sound", "inputs": { "n": {} }, "parallel": 2, "timeout_seconds": 60,
        "steps": [
            { "id": "a", "tool": "write", "arguments": { "n": { "$from": "/inputs/n" } },
              "compensate": { "tool": "put", "arguments": { "n": { "$from": "/steps/b/result/n" } } } },
            { "id": "b", "tool": "look", "needs": ["a"], "if": { "exists": "/steps/a/result/list/0/x" },
              "arguments": { "n": [{ "$json": { "$from": "/steps/a/result/open/any" } }] },
              "expect": { "not": { "eq": [{ "$from": "/steps/b/result/n" }, 0] } } },
            { "id": "c", "tool": "put", "needs": ["b"],
              "arguments": { "n": { "$from": "/steps/a/status", "default": { "$literal": { "$from": 1 } } } } },
        ],
        "on_failure": [{ "id": "last", "tool": "put", "arguments": { "why": { "$from": "/failure/code" } } }],
        "output": { "n": { "$from": "/steps/c/result/n" } },
    }));
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn every_mistake_is_named_with_its_path() {
    let found = problems(json!({
        "name": "no spaces", "parallel": 9, "timeout_seconds": 0,
        "steps": [
            { "id": "a", "tool": "write", "needs": ["b"] },
            { "id": "b", "tool": "write", "needs": ["a", "nobody"] },
            { "id": "c", "tool": "nothing", "retry": { "attempts": 11 }, "timeout_seconds": 1000,
              "if": { "gt": [1, 2] }, "needs": ["c"] },
            { "id": "d", "tool": "look", "arguments": {
                "early": { "$from": "/steps/e/result/n" }, "unknown": { "$from": "/steps/x/result" },
                "input": { "$from": "/inputs/none" }, "form": { "$form": 1 }, "root": { "$from": "steps" },
                "fail": { "$from": "/failure/code" } } },
            { "id": "e", "tool": "look", "needs": ["d"], "arguments": {
                "field": { "$from": "/steps/d/result/m" }, "index": { "$from": "/steps/d/result/list/x" },
                "deep": { "$from": "/steps/d/result/list/0/y" } } },
            { "id": "a", "tool": "look" },
        ],
    }));
    let expected = [
        "definition.parallel: must be 1 to 8",
        "definition.timeout_seconds: must be 1 to 540",
        "definition.name: must be 1 to 40 of",
        "definition.steps[5].id: a is the id of another step",
        "definition.steps[1].needs[1]: there is no step nobody",
        "definition.steps[2].needs[0]: is the step itself",
        "definition.steps[2].retry.attempts: must be 1 to 10",
        "definition.steps[2].timeout_seconds: must be 0.1 to 300",
        "definition.steps[2].tool: there is no such tool",
        "definition.steps[2].if: must be one of {\"eq\"",
        "definition.steps[3].arguments.early: /steps/e/result/n: add e to needs",
        "definition.steps[3].arguments.fail: /failure/code: only on_failure",
        "definition.steps[3].arguments.form: $form is none of",
        "definition.steps[3].arguments.input: /inputs/none: there is no such input",
        "definition.steps[3].arguments.root: must begin with /",
        "definition.steps[3].arguments.unknown: /steps/x/result: there is no such step",
        "definition.steps[4].arguments.deep: /steps/d/result/list/0/y: the result has no field y",
        "definition.steps[4].arguments.field: /steps/d/result/m: the result has no field m",
        "definition.steps[4].arguments.index: /steps/d/result/list/x: the result has no field x",
    ];
    for part in expected {
        assert!(
            found.iter().any(|problem| problem.starts_with(part)),
            "{part} is not in {found:#?}"
        );
    }
}

#[test]
fn circles_and_crowds_are_refused() {
    let circle = problems(json!({ "steps": [
        { "id": "a", "tool": "look", "needs": ["c"] },
        { "id": "b", "tool": "look", "needs": ["a"] },
        { "id": "c", "tool": "look", "needs": ["b"] },
        { "id": "d", "tool": "look" },
    ] }));
    assert_eq!(circle, ["definition.steps: these need each other in a circle: a, b, c"]);
    let many: Vec<_> =
        (0..=STEPS_MAX).map(|n| json!({ "id": format!("s{n}"), "tool": "look" })).collect();
    assert_eq!(problems(json!({ "steps": many })), ["definition.steps: must be 1 to 64"]);
    assert_eq!(problems(json!({ "steps": [] })), ["definition.steps: must be 1 to 64"]);
}

#[test]
fn inputs_are_required_unless_they_have_a_default_even_null() {
    let taking = definition(json!({
        "inputs": { "a": {}, "b": { "default": null }, "c": { "default": 3 } },
        "steps": [{ "id": "s", "tool": "look" }],
    }));
    let given = |value: Value| -> Map<String, Value> { serde_json::from_value(value).unwrap() };
    let filled = inputs(&taking, given(json!({ "a": 1 }))).unwrap();
    assert_eq!(Value::Object(filled), json!({ "a": 1, "b": null, "c": 3 }));
    let refused = inputs(&taking, given(json!({ "d": 1 }))).unwrap_err();
    let refused: Vec<_> = refused.iter().map(|p| format!("{}: {}", p.path, p.problem)).collect();
    assert_eq!(
        refused,
        ["inputs.d: is no input of this workflow; it has: a, b, c", "inputs.a: is required"]
    );
    // What was written as null is stored as null.
    let stored: Value = serde_json::to_value(&taking).unwrap();
    assert_eq!(stored["inputs"]["b"], json!({ "default": null }));
}
