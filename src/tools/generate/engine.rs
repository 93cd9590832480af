//! Rendering itself: a pure function over plain data. Runs in the worker process.
//!
//! Fuel bounds the work (minijinja: one unit per instruction and per 64 bytes of data); what fuel does
//! not see — deep recursion, lazily repeated lists, `pprint` of deep values — is bounded by the process
//! around it, see [`super::worker`].

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};
use serde::{Deserialize, Serialize};

/// Work of one rendering. 200 000 units are about 20 ms, or 12 MiB of text produced on the way.
const FUEL: u64 = 200_000;
/// Nesting of blocks and macros.
const RECURSION_MAX: usize = 100;
/// Longest output, in bytes.
pub const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// What is to be rendered.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    /// The template.
    pub source: String,
    /// Its variables.
    pub context: serde_json::Map<String, serde_json::Value>,
    /// How values are written.
    pub escape: Escape,
}

/// How values are written into the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Escape {
    /// As they are.
    None,
    /// `&`, `<`, `>` and quotes as entities.
    Html,
    /// As JSON values.
    Json,
}

impl Escape {
    /// The escaping of a language; code and plain text have none.
    pub fn of(language: Option<&str>) -> Self {
        match language.map(str::to_ascii_lowercase).as_deref() {
            Some("html" | "htm" | "xml" | "svg" | "xhtml") => Escape::Html,
            Some("json") => Escape::Json,
            _ => Escape::None,
        }
    }
}

/// What came of it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The text.
    Rendered(String),
    /// The template or its variables are at fault.
    Refused {
        /// Line of the template, from 1.
        line: Option<usize>,
        /// What is wrong, and what is allowed.
        problem: String,
    },
}

/// Renders. Every outcome is a reply.
pub fn render(job: &Job) -> Reply {
    match try_render(job) {
        Ok(output) if output.len() > OUTPUT_BYTES_MAX => Reply::Refused {
            line: None,
            problem: format!(
                "makes {} bytes; at most {OUTPUT_BYTES_MAX} are allowed",
                output.len()
            ),
        },
        Ok(output) => Reply::Rendered(output),
        Err(error) => Reply::Refused { line: error.line(), problem: explain(&error) },
    }
}

fn try_render(job: &Job) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION_MAX);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(SyntaxConfig::builder().keep_trailing_newline(true).build()?);
    // It prints the engine's own state.
    environment.remove_global("debug");
    // Not charged until it is done.
    environment.remove_filter("pprint");
    let escape = job.escape;
    environment.set_auto_escape_callback(move |_| match escape {
        Escape::None => AutoEscape::None,
        Escape::Html => AutoEscape::Html,
        Escape::Json => AutoEscape::Json,
    });
    let context = job.context.iter().map(|(name, json)| (name.as_str(), value_of(json)));
    let context = minijinja::Value::from_pairs(context);
    environment.render_named_str("template", &job.source, context)
}

/// JSON as a value of the engine. Depth is bounded by the parser of the JSON (128).
fn value_of(json: &serde_json::Value) -> minijinja::Value {
    use serde_json::Value;
    match json {
        Value::Null => ().into(),
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            (None, None) => number.as_f64().unwrap_or(f64::NAN).into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(value_of).collect(),
        Value::Object(map) => {
            let pairs = map.iter().map(|(key, json)| (key.as_str(), value_of(json)));
            minijinja::Value::from_pairs(pairs)
        }
    }
}

/// The engine's words, with what to do where they do not say it.
fn explain(error: &Error) -> String {
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    match error.kind() {
        ErrorKind::OutOfFuel => {
            "needs more work than one rendering may take; use smaller loops and texts".to_owned()
        }
        ErrorKind::UndefinedError => {
            format!("undefined variable{detail}; put it into `context`, or use `| default(…)`")
        }
        ErrorKind::TemplateNotFound => {
            "includes, imports or extends another template; each must stand alone".to_owned()
        }
        kind => format!("{kind}{detail}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rendered(source: &str, context: serde_json::Value, language: &str) -> Reply {
        render(&Job {
            source: source.to_owned(),
            context: context.as_object().unwrap().clone(),
            escape: Escape::of(Some(language)),
        })
    }

    fn refused(source: &str) -> (Option<usize>, String) {
        match rendered(source, json!({}), "python") {
            Reply::Refused { line, problem } => (line, problem),
            Reply::Rendered(text) => panic!("{source:?} rendered {:?}", text.get(..200)),
        }
    }

    #[test]
    fn values_are_escaped_as_the_language_needs() {
        let context = json!({"x": "<a> & \"b\"", "n": [1, null]});
        let text = |language| rendered("{{ x }} {{ n }}\n", context.clone(), language);
        assert_eq!(text("python"), Reply::Rendered("<a> & \"b\" [1, None]\n".into()));
        let html = Reply::Rendered("&lt;a&gt; &amp; &quot;b&quot; [1, None]\n".into());
        assert_eq!(text("HTML"), html);
        let json = Reply::Rendered("\"<a> & \\\"b\\\"\" [1,null]\n".into());
        assert_eq!(text("json"), json);
    }

    #[test]
    fn an_undefined_variable_is_named_with_its_line() {
        for (source, line, name) in [
            ("a\n{{ missing }}", 2, "`missing` is undefined"),
            ("a\nb\n{% if missing %}{% endif %}", 3, "`missing` is undefined"),
            ("{% for x in missing %}{% endfor %}", 1, "`missing` is undefined"),
            ("{{ missing.a.b }}", 1, "`missing` is undefined"),
        ] {
            let (at, problem) = refused(source);
            assert_eq!(at, Some(line), "{source}");
            assert!(problem.contains(name), "{source}: {problem}");
        }
        let kept = rendered("{{ missing | default('x') }}", json!({}), "python");
        assert_eq!(kept, Reply::Rendered("x".into()));
    }

    #[test]
    fn the_engine_and_the_host_are_out_of_reach() {
        for source in [
            "{{ self }}",
            "{{ debug() }}",
            "{{ ''.__class__.__mro__ }}",
            "{{ [].__class__.__base__.__subclasses__() }}",
            "{{ range.__globals__ }}",
            "{{ config }}",
            "{{ request.environ }}",
            "{{ ''|attr('__class__')|attr('__mro__') }}",
            "{% include '/etc/passwd' %}",
            "{% include '../../etc/passwd' %}",
            "{% import 'os' as os %}{{ os.environ }}",
            "{% extends '/etc/hostname' %}",
            "{{ lipsum() }}",
            "{{ cycler }}",
            "{{ load('/etc/passwd') }}",
            "{{ [1]|pprint }}",
        ] {
            let (_, problem) = refused(source);
            assert!(!problem.contains("root:"), "{source}: {problem}");
        }
    }

    #[test]
    fn work_beyond_the_fuel_is_refused() {
        let doubling = format!("{{% set a = 'aaaaaaaaaa' %}}{}", "{% set a = a ~ a %}".repeat(60));
        for source in [
            "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
            "{{ 'a' * 100000000 }}",
            "{{ '%1000000000d'|format(1) }}",
            "{{ 'a\\nb'|indent(1000000000) }}",
            "{{ [1]|batch(1000000000, 'x')|list }}",
            &doubling,
        ] {
            let (_, problem) = refused(source);
            assert!(problem.contains("needs more work"), "{source}: {problem}");
        }
        let (_, problem) = refused("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}");
        assert!(problem.contains("recursion limit"), "{problem}");
    }

    #[test]
    fn an_output_too_large_is_refused() {
        let (_, problem) = refused("{{ 'a' * 1048577 }}");
        assert!(problem.contains("at most 1048576"), "{problem}");
    }

    #[test]
    fn mistakes_in_the_template_are_explained_with_their_line() {
        assert_eq!(refused("a\n{% if %}").0, Some(2));
        let (line, problem) = refused("a\nb {{ 1|nope }}");
        assert_eq!((line, problem.as_str()), (Some(2), "unknown filter: filter nope is unknown"));
    }
}
