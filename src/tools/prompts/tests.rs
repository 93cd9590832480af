//! The prompts and their two tools.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::tools::Typed;
use crate::tools::testing::{call, refusal, result};

fn prompts() -> Arc<Prompts> {
    Arc::new(Prompts::load(None).unwrap())
}

#[test]
fn every_built_in_prompt_renders_with_all_and_with_required_arguments_only() {
    let prompts = prompts();
    let slugs: Vec<String> = prompts.list().map(|prompt| prompt.slug).collect();
    let expected = [
        "clean",
        "code_review",
        "evaluate",
        "improve",
        "proceed",
        "real-a",
        "synthesize",
        "test-a",
    ];
    assert_eq!(slugs, expected);
    for prompt in prompts.list() {
        let given = |required_only: bool| {
            let arguments = prompt.arguments.iter();
            let wanted = arguments.filter(|argument| argument.required || !required_only);
            wanted.map(|a| (a.name.clone(), format!("<{}>", a.name))).collect::<BTreeMap<_, _>>()
        };
        let (_, all) = prompts.get(&prompt.slug, &given(false)).unwrap();
        for argument in &prompt.arguments {
            let shown = all.contains(&format!("<{}>", argument.name));
            // These choose a variant of the text rather than appear in it.
            let chooses = prompt.slug == "clean" && argument.name == "mode";
            assert!(shown || chooses, "{}: {} is not used", prompt.slug, argument.name);
        }
        let (_, some) = prompts.get(&prompt.slug, &given(true)).unwrap();
        assert!(some.len() > 500 && !some.contains("{{") && !some.contains("none"), "{some}");
    }
}

#[test]
fn variants_follow_their_argument() {
    let prompts = prompts();
    let get = |slug: &str, pairs: &[(&str, &str)]| {
        let own = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        prompts.get(slug, &pairs.iter().map(own).collect()).unwrap().1
    };
    assert!(get("clean", &[]).contains("dry run: change nothing"));
    assert!(get("clean", &[("mode", "apply")]).contains("**Apply.**"));
    let review = |seniority| get("code_review", &[("code", "x = 1"), ("seniority", seniority)]);
    assert!(review("junior").contains("concept to read about"));
    assert!(review("senior").contains("be brief"));
    assert!(review("mid").contains("x = 1"));
}

#[test]
fn arguments_are_printed_and_never_run_as_templates() {
    let arguments = [("code".to_owned(), "{{ 7 * 7 }}{% for %}".to_owned())].into();
    let (_, text) = prompts().get("code_review", &arguments).unwrap();
    assert!(text.contains("{{ 7 * 7 }}{% for %}"));
}

#[actix_rt::test]
async fn prompts_are_found_by_tag_and_read_by_slug() {
    let list = Typed::new(ListPrompts::new(prompts()));
    let said = result(&list, json!({"tag": "review"})).await;
    assert_eq!(said["prompts"][0]["slug"], "code_review");
    assert_eq!(said["prompts"].as_array().unwrap().len(), 1);
    let get = Typed::new(GetPrompt::new(prompts()));
    let output = call(&get, json!({"slug": "proceed"})).await.unwrap();
    assert!(output.text.unwrap().starts_with("You are pairing"));
}

#[actix_rt::test]
async fn bad_input_names_the_field_and_what_is_allowed() {
    let get = Typed::new(GetPrompt::new(prompts()));
    let table = [
        (json!({}), "arguments: missing field `slug`"),
        (json!({"slug": ""}), "slug: length must be at least 1"),
        (json!({"slug": "nope"}), "slug: no such prompt; there are: clean, code_review"),
        (json!({"slug": "code_review"}), "arguments.code: is required: the code to review"),
        (
            json!({"slug": "code_review", "arguments": {"code": "x", "colour": "red"}}),
            "arguments.colour: unknown argument; this prompt has: code, language, seniority",
        ),
        (json!({"slug": "proceed", "arguments": {"goal": 1}}), "arguments.goal: invalid type"),
        (
            json!({"slug": "proceed", "arguments": {"goal": "x".repeat(ARGUMENTS_BYTES_MAX)}}),
            "arguments: must be at most 524288 bytes together",
        ),
    ];
    for (arguments, expected) in table {
        let said = refusal(&get, arguments).await;
        assert!(said.starts_with(expected), "{said}");
    }
    let list = Typed::new(ListPrompts::new(prompts()));
    let said = refusal(&list, json!({"tags": "x"})).await;
    assert_eq!(said, "tags: unknown field `tags`, expected `tag`");
}
