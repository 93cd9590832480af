//! References and conditions.

use serde_json::{Map, Value, json};

use crate::workflow::condition::holds;
use crate::workflow::definition::{Phase, TaskId};
use crate::workflow::journal::{End, Entry, Progress};
use crate::workflow::reference::{Context, parts, resolve, resolve_lenient};

fn progress() -> Progress {
    let ended = |step: &str, result: Value, omitted_bytes| Entry::Ended {
        at: 0,
        task: TaskId::new(Phase::Step, step),
        end: End::Completed { result, omitted_bytes },
    };
    Progress::of(&[
        ended("a", json!({ "n": 1, "list": [{ "x": "y" }], "sl/ash": true, "none": null }), None),
        ended("large", Value::Null, Some(9_000_000)),
        Entry::Skipped { at: 0, task: TaskId::new(Phase::Step, "b") },
    ])
}

fn inputs() -> Map<String, Value> {
    serde_json::from_value(json!({ "text": "t", "big": "x".repeat(1_000_000) })).unwrap()
}

#[test]
fn references_take_values_texts_and_literals() {
    let (inputs, progress) = (inputs(), progress());
    let context = Context { inputs: &inputs, progress: &progress, own: None, failure: None };
    for (written, becomes) in [
        (json!({ "$from": "/inputs/text" }), json!("t")),
        (json!([{ "$from": "/steps/a/result/list/0" }]), json!([{ "x": "y" }])),
        (json!({ "$from": "/steps/a/result/sl~1ash" }), json!(true)),
        (json!({ "$from": "/steps/a/status" }), json!("completed")),
        (json!({ "$from": "/steps/b/status" }), json!("skipped")),
        (
            json!({ "$from": "/steps/b/result/n", "default": { "$from": "/inputs/text" } }),
            json!("t"),
        ),
        (json!({ "$json": [1, { "$from": "/inputs/text" }] }), json!("[1,\"t\"]")),
        (json!({ "$literal": { "$from": "/inputs/text" } }), json!({ "$from": "/inputs/text" })),
        (json!({ "plain": { "from": null } }), json!({ "plain": { "from": null } })),
    ] {
        assert_eq!(resolve(&written, &context).unwrap(), becomes, "{written}");
    }
    let missing = json!({ "$from": "/steps/b/result/n" });
    assert_eq!(resolve(&missing, &context).unwrap_err(), "/steps/b/result/n leads to nothing");
    assert_eq!(resolve_lenient(&missing, &context).unwrap(), Value::Null);
    // A default is for what is not there, not for what was thrown away.
    let lost = json!({ "$from": "/steps/large/result", "default": 1 });
    assert!(resolve(&lost, &context).unwrap_err().contains("too large to be kept"));
}

#[test]
fn what_references_put_together_is_bounded_while_it_is_put_together() {
    let (inputs, progress) = (inputs(), progress());
    let context = Context { inputs: &inputs, progress: &progress, own: None, failure: None };
    let many: Vec<_> = (0..5_000).map(|_| json!({ "$from": "/inputs/big" })).collect();
    assert!(resolve(&json!(many), &context).unwrap_err().contains("larger than 4194304 bytes"));
    let nested =
        json!({ "$json": { "$json": [{ "$from": "/inputs/big" }, { "$from": "/inputs/big" }] } });
    assert!(resolve(&nested, &context).is_err());
    let mut deep = json!(1);
    for _ in 0..40 {
        deep = json!([deep]);
    }
    assert!(resolve(&deep, &context).unwrap_err().contains("deeper than 32"));
    assert!(parts(&format!("/{}", "a/".repeat(40))).is_err());
    assert!(parts("steps").is_err() && parts("").is_err());
}

#[test]
fn conditions_hold_as_written() {
    let (inputs, progress) = (inputs(), progress());
    let context = Context { inputs: &inputs, progress: &progress, own: None, failure: None };
    let yes = json!({ "eq": [{ "$from": "/steps/a/result/n" }, 1.0] });
    let no = json!({ "exists": "/steps/a/result/none" });
    for (condition, expected) in [
        (yes.clone(), true),
        (no.clone(), false),
        (json!({ "exists": "/steps/a/result/list/0/x" }), true),
        (json!({ "eq": [{ "$from": "/steps/b/result/n" }, null] }), true),
        (json!({ "eq": [[{ "a": 1 }], [{ "a": 1.0 }]] }), true),
        (json!({ "eq": ["1", 1] }), false),
        (json!({ "not": yes }), false),
        (json!({ "all": [] }), true),
        (json!({ "any": [] }), false),
        (json!({ "all": [{ "not": no }, { "any": [no, yes] }] }), true),
    ] {
        assert_eq!(holds(&condition, &context), Ok(expected), "{condition}");
    }
    let mut deep = yes;
    for _ in 0..40 {
        deep = json!({ "not": deep });
    }
    for wrong in
        [json!(true), json!({}), json!({ "eq": [1] }), json!({ "eq": [1, 1], "not": 1 }), deep]
    {
        assert!(holds(&wrong, &context).is_err(), "{wrong}");
    }
}
