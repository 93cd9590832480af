//! Documents with a TOML head: named templates and prompts, built in or from an operator's folder.
//!
//! Read at start by [`super::generate`] and [`super::prompts`], and again when a prompt changed. Refuses, naming the file, whatever
//! would only fail later: unknown keys, a name that differs from the file's, variables nobody declares,
//! bodies that do not compile.
//!
//! ```text
//! +++
//! slug = "code_review"            # the file's name without its ending
//! title = "Review code"
//! description = "…"
//! version = 1
//! tags = ["review"]
//! [[arguments]]
//! name = "code"
//! description = "…"
//! required = true
//! values = ["…"]                  # optional: what clients propose
//! +++
//! The body, a Jinja template (minijinja).
//! ```

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;

use figment::Figment;
use figment::providers::{Format, Toml};
use minijinja::Environment;
use serde::Deserialize;

/// Longest document, in bytes.
const DOCUMENT_BYTES_MAX: u64 = 128 * 1024;
/// Most documents in an operator's folder.
const DOCUMENTS_MAX: usize = 500;
/// Most proposed values of an argument: what a completion may hold (MCP, Completion).
const VALUES_MAX: usize = 100;
/// Longest proposed value, in bytes.
const VALUE_BYTES_MAX: usize = 200;
/// The line that opens and closes the head (as in Hugo's TOML front matter).
const FENCE: &str = "+++";

/// One document.
#[derive(Clone, Debug)]
pub struct Document {
    /// What is declared about it.
    pub head: Head,
    /// The body, a template.
    pub body: String,
}

/// What is declared about a document.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Its name: `[a-z][a-z0-9_-]{0,63}`, equal to the file's.
    pub slug: String,
    /// For people, at most 100 characters.
    pub title: String,
    /// For models: what it is good for, at most 1000 characters.
    pub description: String,
    /// Counts its revisions, from 1.
    pub version: u32,
    /// Words to find it by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Language of what it makes, for escaping.
    #[serde(default)]
    pub language: Option<String>,
    /// Variables of the body; all others are refused.
    #[serde(default)]
    pub arguments: Vec<Argument>,
}

/// One variable of a document's body.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Argument {
    /// Its name, a Jinja identifier.
    pub name: String,
    /// What to give.
    pub description: String,
    /// Whether it must be given; in the body, one that is not is `none`.
    #[serde(default)]
    pub required: bool,
    /// Values that make sense, for completion; others are taken too.
    #[serde(default)]
    pub values: Vec<String>,
}

/// A document that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct DocumentError {
    /// Which file.
    pub file: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Documents by slug.
#[derive(Clone, Debug, Default)]
pub struct Library {
    documents: BTreeMap<String, Document>,
}

impl Library {
    /// Reads the built-in documents, then those of `folder` (files ending in `.{extension}`), which
    /// replace built-in ones of the same slug.
    ///
    /// # Errors
    /// The first document that cannot be used.
    pub fn load(
        built_in: &[(&str, &str)],
        folder: Option<&Path>,
        extension: &str,
    ) -> Result<Self, DocumentError> {
        let mut library = Self::default();
        for (file, text) in built_in {
            let document = read(file, text, extension)?;
            library.documents.insert(document.head.slug.clone(), document);
        }
        if let Some(folder) = folder {
            for document in read_folder(folder, extension)? {
                library.documents.insert(document.head.slug.clone(), document);
            }
        }
        Ok(library)
    }

    /// The document of this slug.
    pub fn get(&self, slug: &str) -> Option<&Document> {
        self.documents.get(slug)
    }

    /// All documents, by slug.
    pub fn iter(&self) -> impl Iterator<Item = &Document> {
        self.documents.values()
    }

    /// All slugs, for messages.
    pub fn slugs(&self) -> String {
        self.documents.keys().cloned().collect::<Vec<_>>().join(", ")
    }
}

fn read_folder(folder: &Path, extension: &str) -> Result<Vec<Document>, DocumentError> {
    let failed =
        |file: &Path, problem: String| DocumentError { file: file.display().to_string(), problem };
    let listing =
        fs::read_dir(folder).map_err(|e| failed(folder, format!("cannot be read: {e}")))?;
    let mut paths = Vec::new();
    for entry in listing {
        let path = entry.map_err(|e| failed(folder, format!("cannot be read: {e}")))?.path();
        if path.extension().is_some_and(|ending| ending == extension) {
            paths.push(path);
        }
    }
    if paths.len() > DOCUMENTS_MAX {
        return Err(failed(folder, format!("holds more than {DOCUMENTS_MAX} files")));
    }
    paths.sort();
    let mut documents = Vec::with_capacity(paths.len());
    for path in paths {
        let size = fs::metadata(&path).map_err(|e| failed(&path, e.to_string()))?.len();
        if size > DOCUMENT_BYTES_MAX {
            return Err(failed(&path, format!("is larger than {DOCUMENT_BYTES_MAX} bytes")));
        }
        let text = fs::read_to_string(&path).map_err(|e| failed(&path, e.to_string()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let document = read(&name, &text, extension).map_err(|e| failed(&path, e.problem))?;
        documents.push(document);
    }
    Ok(documents)
}

/// Reads one document and checks all that can be checked without rendering it.
fn read(file: &str, text: &str, extension: &str) -> Result<Document, DocumentError> {
    let failed = |problem: String| DocumentError { file: file.to_owned(), problem };
    let (head, body) = split(text).ok_or_else(|| {
        failed(format!("must begin with a {FENCE} line, a TOML head and another {FENCE} line"))
    })?;
    let head: Head = Figment::from(Toml::string(head))
        .extract()
        .map_err(|e| failed(one_line(&e.to_string())))?;
    let stem = file.strip_suffix(extension).and_then(|rest| rest.strip_suffix('.')).unwrap_or(file);
    check_head(&head, stem).map_err(failed)?;
    check_body(&head, body).map_err(failed)?;
    Ok(Document { head, body: body.to_owned() })
}

fn split(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix(FENCE)?.strip_prefix('\n')?;
    let end = rest.find(&format!("\n{FENCE}\n"))?;
    Some((&rest[..end], &rest[end + FENCE.len() + 2..]))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn check_head(head: &Head, stem: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    let letter = head.slug.starts_with(|c: char| c.is_ascii_lowercase());
    if !letter || head.slug.len() > 64 || !head.slug.chars().all(plain) {
        return Err("slug must match [a-z][a-z0-9_-]{0,63}".into());
    }
    if head.slug != stem {
        return Err(format!("slug is {:?}, but the file is named {stem:?}", head.slug));
    }
    if head.title.is_empty() || head.title.chars().count() > 100 {
        return Err("title must have 1 to 100 characters".into());
    }
    if head.description.is_empty() || head.description.chars().count() > 1000 {
        return Err("description must have 1 to 1000 characters".into());
    }
    if head.version == 0 {
        return Err("version counts from 1".into());
    }
    let mut names = HashSet::new();
    for argument in &head.arguments {
        let name = &argument.name;
        let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !first || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(format!("argument {name:?} must match [A-Za-z_][A-Za-z0-9_]*"));
        }
        if !names.insert(name) {
            return Err(format!("argument {name:?} is declared twice"));
        }
        if argument.description.is_empty() {
            return Err(format!("argument {name:?} needs a description"));
        }
        let long = |value: &String| value.is_empty() || value.len() > VALUE_BYTES_MAX;
        if argument.values.len() > VALUES_MAX || argument.values.iter().any(long) {
            return Err(format!(
                "argument {name:?}: at most {VALUES_MAX} values of 1 to {VALUE_BYTES_MAX} bytes"
            ));
        }
    }
    Ok(())
}

/// Compiles the body and compares its variables with the declared ones.
fn check_body(head: &Head, body: &str) -> Result<(), String> {
    if body.trim().is_empty() {
        return Err("the body is empty".into());
    }
    let environment = Environment::new();
    let template = environment.template_from_str(body).map_err(|error| {
        format!("line {} of the body: {}", error.line().unwrap_or(0), error.kind())
    })?;
    let globals: HashSet<&str> = environment.globals().map(|(name, _)| name).collect();
    let declared: HashSet<&str> = head.arguments.iter().map(|a| a.name.as_str()).collect();
    let used = template.undeclared_variables(false);
    let mut unknown: Vec<&str> = used
        .iter()
        .map(String::as_str)
        .filter(|name| !declared.contains(name) && !globals.contains(name))
        .collect();
    unknown.sort_unstable();
    match unknown.first() {
        Some(name) => Err(format!("the body uses {name}, which is not among the arguments")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "+++\nslug = \"a\"\ntitle = \"A\"\ndescription = \"D\"\nversion = 1\n\
        [[arguments]]\nname = \"who\"\ndescription = \"whom\"\nrequired = true\n+++\nHello {{ who }}\n";

    #[test]
    fn a_document_is_its_head_and_its_body() {
        let document = read("a.md", GOOD, "md").unwrap();
        assert_eq!(document.body, "Hello {{ who }}\n");
        assert!(document.head.arguments[0].required);
    }

    #[test]
    fn every_mistake_is_found_at_load_and_names_the_file() {
        let table = [
            ("no head", "a.md", "just text".to_owned(), "must begin with"),
            ("open head", "a.md", GOOD.replace("\n+++\nHello", "\nHello"), "must begin with"),
            ("unknown key", "a.md", GOOD.replace("version", "revision"), "unknown field"),
            ("no TOML", "a.md", GOOD.replace("title =", "title"), "TOML parse error"),
            ("other name", "b.md", GOOD.to_owned(), "but the file is named \"b\""),
            ("bad slug", "A.md", GOOD.replace("slug = \"a\"", "slug = \"A\""), "slug must match"),
            ("version 0", "a.md", GOOD.replace("version = 1", "version = 0"), "counts from 1"),
            ("empty title", "a.md", GOOD.replace("\"A\"", "\"\""), "title must have"),
            (
                "empty value",
                "a.md",
                GOOD.replace("required = true", "values = [\"\"]"),
                "at most 100 values",
            ),
            ("empty body", "a.md", GOOD.replace("Hello {{ who }}", " "), "the body is empty"),
            ("bad syntax", "a.md", GOOD.replace("{{ who }}", "{{ who"), "line 1 of the body"),
            ("undeclared", "a.md", GOOD.replace("{{ who }}", "{{ what }}"), "uses what"),
        ];
        for (case, file, text, expected) in table {
            let error = read(file, &text, "md").unwrap_err().to_string();
            assert!(error.starts_with(file) && error.contains(expected), "{case}: {error}");
        }
    }

    #[test]
    fn an_operators_document_replaces_the_built_in_one_and_others_are_added() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.md"), GOOD.replace("Hello", "Servus")).unwrap();
        fs::write(folder.path().join("b.md"), GOOD.replace("slug = \"a\"", "slug = \"b\""))
            .unwrap();
        fs::write(folder.path().join("notes.txt"), "ignored").unwrap();
        let library = Library::load(&[("a.md", GOOD)], Some(folder.path()), "md").unwrap();
        assert_eq!(library.slugs(), "a, b");
        assert!(library.get("a").unwrap().body.starts_with("Servus"));
        fs::write(folder.path().join("c.md"), GOOD).unwrap();
        let error = Library::load(&[], Some(folder.path()), "md").unwrap_err().to_string();
        assert!(error.contains("c.md: slug is \"a\""), "{error}");
        let missing = Library::load(&[], Some(&folder.path().join("none")), "md").unwrap_err();
        assert!(missing.to_string().contains("cannot be read"));
    }
}
