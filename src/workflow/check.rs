//! Everything that is wrong with a definition, at once, before anything runs.
//!
//! Called by the tool `workflow_run` and, for the named workflows, at the start of the server. Refuses what
//! could never run: unknown tools and steps, circles, references to what cannot be there.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::{Map, Value};

use super::calls::KnownTool;
use super::condition::{Condition, read};
use super::definition::{Call, Definition, Step};
use super::reference::{Form, form, parts, size_of};
use super::{
    ATTEMPTS_MAX, DEFINITION_BYTES_MAX, DELAY_MS_MAX, DEPTH_MAX, PARALLEL_MAX, STEP_SECONDS_MAX,
    STEPS_MAX, TIMEOUT_SECONDS_MAX,
};
use crate::error::Problem;

/// Longest name of a workflow, a step or an input.
const NAME_BYTES_MAX: usize = 40;
/// Most mistakes that are told at once.
const PROBLEMS_MAX: usize = 100;

/// What is known of a tool as it would be called with these arguments, or why it cannot be a step.
pub type Known<'k> = &'k dyn Fn(&str, &Map<String, Value>) -> Result<KnownTool, String>;

/// All mistakes of a definition; none when it can be run.
pub fn check(definition: &Definition, known: Known<'_>) -> Vec<Problem> {
    let mut checker = Checker { definition, problems: Vec::new(), schemas: BTreeMap::new() };
    checker.whole();
    if definition.steps.len() <= STEPS_MAX {
        let before = checker.graph();
        checker.tools(known);
        checker.steps(&before);
    }
    let mut problems = checker.problems;
    problems.truncate(PROBLEMS_MAX);
    problems
}

/// The inputs with defaults filled in.
///
/// # Errors
/// Every input that is missing or unknown, or too much.
pub fn inputs(
    definition: &Definition,
    given: Map<String, Value>,
) -> Result<Map<String, Value>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut wrong = |name: &str, problem: String| {
        problems.push(Problem { path: format!("inputs.{name}"), problem });
    };
    for name in given.keys().filter(|name| !definition.inputs.contains_key(*name)) {
        let names: Vec<&str> = definition.inputs.keys().map(String::as_str).collect();
        wrong(&clip(name), format!("is no input of this workflow; it has: {}", names.join(", ")));
    }
    if size_of(&given) > DEFINITION_BYTES_MAX {
        wrong("", format!("must be at most {DEFINITION_BYTES_MAX} bytes of JSON"));
    }
    let mut all = given;
    for (name, spec) in &definition.inputs {
        if !all.contains_key(name) {
            match &spec.default {
                Some(default) => drop(all.insert(name.clone(), default.clone())),
                None => wrong(name, "is required".to_owned()),
            }
        }
    }
    if problems.is_empty() { Ok(all) } else { Err(problems) }
}

/// What a reference may lead to.
struct Scope<'s> {
    /// Results of these steps; `None` = of all.
    steps: Option<&'s BTreeSet<String>>,
    /// The result of this one as well.
    own: Option<&'s str>,
    /// Why the workflow failed.
    failure: bool,
}

struct Checker<'d> {
    definition: &'d Definition,
    problems: Vec<Problem>,
    /// Output schemas by step.
    schemas: BTreeMap<&'d str, Value>,
}

impl<'d> Checker<'d> {
    fn wrong(&mut self, path: &str, problem: impl Into<String>) {
        let path =
            if path.is_empty() { "definition".to_owned() } else { format!("definition.{path}") };
        self.problems.push(Problem { path, problem: problem.into() });
    }

    /// Sizes and names of the whole.
    fn whole(&mut self) {
        let definition = self.definition;
        if size_of(definition) > DEFINITION_BYTES_MAX {
            self.wrong("", format!("must be at most {DEFINITION_BYTES_MAX} bytes of JSON"));
        }
        if !(1..=STEPS_MAX).contains(&definition.steps.len()) {
            self.wrong("steps", format!("must be 1 to {STEPS_MAX}"));
        }
        if definition.on_failure.len() > STEPS_MAX {
            self.wrong("on_failure", format!("must be at most {STEPS_MAX}"));
        }
        if !(1..=PARALLEL_MAX).contains(&definition.parallel()) {
            self.wrong("parallel", format!("must be 1 to {PARALLEL_MAX}"));
        }
        let timeout = definition.timeout_seconds;
        if timeout.is_some_and(|seconds| !(1.0..=TIMEOUT_SECONDS_MAX).contains(&seconds)) {
            self.wrong("timeout_seconds", format!("must be 1 to {TIMEOUT_SECONDS_MAX}"));
        }
        let names = definition.name.iter().map(|name| ("name".to_owned(), name.as_str()));
        let inputs =
            definition.inputs.keys().map(|name| (format!("inputs.{}", clip(name)), name.as_str()));
        for (path, name) in names.chain(inputs).collect::<Vec<_>>() {
            if !is_name(name) {
                self.wrong(&path, NAME_RULE);
            }
        }
        let mut seen = HashSet::new();
        let steps = definition.steps.iter().map(|step| &step.id).enumerate();
        let steps = steps.map(|(at, id)| (format!("steps[{at}].id"), id));
        let last = definition.on_failure.iter().map(|c| &c.id).enumerate();
        let last = last.map(|(at, id)| (format!("on_failure[{at}].id"), id));
        for (path, id) in steps.chain(last).collect::<Vec<_>>() {
            if !is_name(id) {
                self.wrong(&path, NAME_RULE);
            } else if !seen.insert(id.as_str()) {
                self.wrong(&path, format!("{id} is the id of another step"));
            }
        }
    }

    /// For each step, all steps that have ended when it begins.
    fn graph(&mut self) -> BTreeMap<&'d str, BTreeSet<String>> {
        let steps = &self.definition.steps;
        let ids: HashSet<&str> = steps.iter().map(|step| step.id.as_str()).collect();
        for (at, step) in steps.iter().enumerate() {
            for (n, need) in step.needs.iter().enumerate() {
                let path = format!("steps[{at}].needs[{n}]");
                if need == &step.id {
                    self.wrong(&path, "is the step itself");
                } else if !ids.contains(need.as_str()) {
                    self.wrong(&path, format!("there is no step {}", clip(need)));
                }
            }
        }
        let mut before: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        loop {
            let ready = |step: &&Step| {
                !before.contains_key(step.id.as_str())
                    && step.needs.iter().all(|need| {
                        before.contains_key(need.as_str())
                            || !ids.contains(need.as_str())
                            || need == &step.id
                    })
            };
            let Some(step) = steps.iter().find(ready) else { break };
            let mut all: BTreeSet<String> = step.needs.iter().cloned().collect();
            for need in &step.needs {
                all.extend(before.get(need.as_str()).into_iter().flatten().cloned());
            }
            before.insert(&step.id, all);
        }
        let stuck = steps.iter().filter(|step| !before.contains_key(step.id.as_str()));
        let stuck: Vec<String> = stuck.map(|step| clip(&step.id)).collect();
        if !stuck.is_empty() {
            self.wrong("steps", format!("these need each other in a circle: {}", stuck.join(", ")));
        }
        before
    }

    /// Tools that exist and can be steps.
    fn tools(&mut self, known: Known<'_>) {
        let definition = self.definition;
        for (at, step) in definition.steps.iter().enumerate() {
            if let Some(schema) = self.call(&format!("steps[{at}]"), step.call(), known) {
                self.schemas.insert(&step.id, schema);
            }
            if let Some(action) = &step.compensate {
                self.call(&format!("steps[{at}].compensate"), action.call(), known);
            }
        }
        for (at, cleanup) in definition.on_failure.iter().enumerate() {
            self.call(&format!("on_failure[{at}]"), cleanup.call(), known);
        }
    }

    fn call(&mut self, path: &str, call: Call<'_>, known: Known<'_>) -> Option<Value> {
        let Call { retry, timeout_seconds, .. } = call;
        if !(1..=ATTEMPTS_MAX).contains(&retry.attempts) {
            self.wrong(&format!("{path}.retry.attempts"), format!("must be 1 to {ATTEMPTS_MAX}"));
        }
        if retry.delay_ms > DELAY_MS_MAX {
            self.wrong(
                &format!("{path}.retry.delay_ms"),
                format!("must be at most {DELAY_MS_MAX}"),
            );
        }
        if !(0.1..=STEP_SECONDS_MAX).contains(&timeout_seconds) {
            let allowed = format!("must be 0.1 to {STEP_SECONDS_MAX}");
            self.wrong(&format!("{path}.timeout_seconds"), allowed);
        }
        match known(call.tool, call.arguments) {
            Ok(tool) => Some(tool.output_schema),
            Err(problem) => {
                self.wrong(&format!("{path}.tool"), problem);
                None
            }
        }
    }

    /// References and conditions.
    fn steps(&mut self, before: &BTreeMap<&str, BTreeSet<String>>) {
        let definition = self.definition;
        let nothing = BTreeSet::new();
        let all = Scope { steps: None, own: None, failure: false };
        for (at, step) in definition.steps.iter().enumerate() {
            let earlier = before.get(step.id.as_str()).unwrap_or(&nothing);
            let scope = Scope { steps: Some(earlier), own: None, failure: false };
            self.arguments(&format!("steps[{at}].arguments"), &step.arguments, &scope);
            if let Some(condition) = &step.condition {
                self.condition(&format!("steps[{at}].if"), condition, &scope, DEPTH_MAX);
            }
            if let Some(condition) = &step.expect {
                let scope = Scope { own: Some(&step.id), ..scope };
                self.condition(&format!("steps[{at}].expect"), condition, &scope, DEPTH_MAX);
            }
            if let Some(action) = &step.compensate {
                let path = format!("steps[{at}].compensate.arguments");
                self.arguments(&path, &action.arguments, &all);
            }
        }
        let failed = Scope { failure: true, ..all };
        for (at, cleanup) in definition.on_failure.iter().enumerate() {
            self.arguments(&format!("on_failure[{at}].arguments"), &cleanup.arguments, &failed);
        }
        self.value("output", &definition.output, &all, DEPTH_MAX);
    }

    fn arguments(&mut self, path: &str, arguments: &Map<String, Value>, scope: &Scope<'_>) {
        // The arguments themselves are an object with names, never a form.
        for (name, value) in arguments {
            self.value(&format!("{path}.{}", clip(name)), value, scope, DEPTH_MAX - 1);
        }
    }

    fn value(&mut self, path: &str, value: &Value, scope: &Scope<'_>, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else {
            return self.wrong(path, format!("is nested deeper than {DEPTH_MAX} levels"));
        };
        match value {
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    self.value(&format!("{path}[{at}]"), item, scope, depth);
                }
            }
            Value::Object(map) => match form(map) {
                Ok(Form::Plain) => {
                    for (name, item) in map {
                        self.value(&format!("{path}.{}", clip(name)), item, scope, depth);
                    }
                }
                Ok(Form::Literal(_)) => {}
                Ok(Form::Json(inner)) => self.value(&format!("{path}.$json"), inner, scope, depth),
                Ok(Form::From { pointer, default }) => {
                    self.pointer(path, pointer, scope);
                    if let Some(default) = default {
                        self.value(&format!("{path}.default"), default, scope, depth);
                    }
                }
                Err(problem) => self.wrong(path, problem),
            },
            _ => {}
        }
    }

    fn condition(&mut self, path: &str, value: &Value, scope: &Scope<'_>, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else {
            return self.wrong(path, format!("is nested deeper than {DEPTH_MAX} levels"));
        };
        match read(value) {
            Ok(Condition::Eq(a, b)) => {
                self.value(&format!("{path}.eq[0]"), a, scope, depth);
                self.value(&format!("{path}.eq[1]"), b, scope, depth);
            }
            Ok(Condition::Not(inner)) => {
                self.condition(&format!("{path}.not"), inner, scope, depth);
            }
            Ok(Condition::All(list)) => {
                for (at, inner) in list.iter().enumerate() {
                    self.condition(&format!("{path}.all[{at}]"), inner, scope, depth);
                }
            }
            Ok(Condition::Any(list)) => {
                for (at, inner) in list.iter().enumerate() {
                    self.condition(&format!("{path}.any[{at}]"), inner, scope, depth);
                }
            }
            Ok(Condition::Exists(pointer)) => self.pointer(path, pointer, scope),
            Err(problem) => self.wrong(path, problem),
        }
    }

    /// A reference that can lead to something.
    fn pointer(&mut self, path: &str, pointer: &str, scope: &Scope<'_>) {
        let parts = match parts(pointer) {
            Ok(parts) => parts,
            Err(problem) => return self.wrong(path, problem),
        };
        let shown: String = pointer.chars().take(120).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            ["inputs", name, ..] if self.definition.inputs.contains_key(*name) => {}
            ["inputs", ..] => self.wrong(path, format!("{shown}: there is no such input")),
            ["failure", "step" | "code" | "message"] if scope.failure => {}
            ["failure", ..] => {
                self.wrong(
                    path,
                    format!("{shown}: only on_failure knows /failure/step, code, message"),
                );
            }
            ["steps", id, "status"] => self.reachable(path, &shown, id, scope),
            ["steps", id, "result", rest @ ..] => {
                self.reachable(path, &shown, id, scope);
                let field = self.schemas.get(id).and_then(|schema| unknown_field(schema, rest));
                if let Some(field) = field {
                    self.wrong(path, format!("{shown}: the result has no field {}", clip(&field)));
                }
            }
            _ => self.wrong(
                path,
                format!(
                    "{shown}: begins with none of /inputs/NAME, /steps/ID/result, /steps/ID/status"
                ),
            ),
        }
    }

    fn reachable(&mut self, path: &str, shown: &str, id: &str, scope: &Scope<'_>) {
        if self.definition.step(id).is_none() {
            self.wrong(path, format!("{shown}: there is no such step"));
        } else if scope.own != Some(id) && scope.steps.is_some_and(|steps| !steps.contains(id)) {
            let id = clip(id);
            self.wrong(path, format!("{shown}: add {id} to needs, or it may not have run by then"));
        }
    }
}

/// The first part that a result of this schema never has; `None` where the schema leaves it open.
fn unknown_field(schema: &Value, parts: &[&str]) -> Option<String> {
    let [first, rest @ ..] = parts else { return None };
    if let Some(fields) = schema["properties"].as_object() {
        return match fields.get(*first) {
            Some(field) => unknown_field(field, rest),
            None if schema["additionalProperties"].as_bool() == Some(false)
                || schema["additionalProperties"].is_null() =>
            {
                Some((*first).to_owned())
            }
            None => None,
        };
    }
    match schema.get("items") {
        Some(items) if schema["type"] == "array" => match first.parse::<usize>() {
            Ok(_) => unknown_field(items, rest),
            Err(_) => Some((*first).to_owned()),
        },
        _ => None,
    }
}

const NAME_RULE: &str = "must be 1 to 40 of A-Z, a-z, 0-9, _ and -";

fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// Names come from clients: bounded before they reach a message.
fn clip(name: &str) -> String {
    name.chars().take(64).collect()
}
