//! A program of `tests/security`: its source, and what its first comment lines expect.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use ultimate_mcp_sandbox::spec::{InputFile, Language, Limits, RunSpec};

/// Wall clock limit of a program that names none.
const WALL_DEFAULT: Duration = Duration::from_secs(20);

/// One file of `tests/security`.
#[derive(Clone)]
pub struct Program {
    pub name: String,
    pub language: Language,
    pub source: String,
    /// Put in front of an attack; harmless programs have none.
    pub prelude: String,
    header: Vec<(String, String)>,
    /// Whether the host gives no control groups.
    pub degraded: bool,
}

/// Where the programs are: beside the workspace, or where a parent process copied them.
pub fn folder() -> PathBuf {
    std::env::var_os("HOSTILE_PROGRAMS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/security"),
        PathBuf::from,
    )
}

/// Every program of a folder by name; `HOSTILE_ONLY=part` picks those whose name contains it.
pub fn load(folder: &Path, with_prelude: bool, degraded: bool) -> Vec<Program> {
    let only = std::env::var("HOSTILE_ONLY").unwrap_or_default();
    let mut found: Vec<Program> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .flatten()
        .filter_map(|entry| parse(&entry.path(), with_prelude, degraded))
        .filter(|program| program.name.contains(&only))
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn parse(path: &Path, with_prelude: bool, degraded: bool) -> Option<Program> {
    let name = path.file_name()?.to_str()?.to_owned();
    let (language, mark) = match path.extension()?.to_str()? {
        "py" => (Language::Python, "# "),
        "js" => (Language::JavaScript, "// "),
        "sh" => (Language::Bash, "# "),
        _ => return None,
    };
    if name.starts_with("prelude.") {
        return None;
    }
    let read = |path: &Path| fs::read_to_string(path).expect("a readable text file");
    let source = read(path);
    let prelude = path.with_file_name(format!("prelude.{}", path.extension()?.to_str()?));
    let prelude = if with_prelude { read(&prelude) } else { String::new() };
    let header = source
        .lines()
        .map_while(|line| line.strip_prefix(mark))
        .filter_map(|line| line.split_once(": "))
        .filter(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    Some(Program { name, language, source, prelude, header, degraded })
}

impl Program {
    fn lines<'a>(&'a self, key: &str) -> Vec<&'a str> {
        let named = |key: &str| -> Vec<&str> {
            self.header.iter().filter(|(k, _)| k == key).map(|(_, value)| value.as_str()).collect()
        };
        let special = named(&format!("degraded-{key}"));
        if self.degraded && !special.is_empty() { special } else { named(key) }
    }

    /// The value of a line of the header, the one for degraded hosts first where it applies.
    pub fn line(&self, key: &str) -> Option<&str> {
        self.lines(key).into_iter().next()
    }

    /// All values of a line that may come several times.
    pub fn all(&self, key: &str) -> Vec<&str> {
        self.lines(key)
    }

    /// A line that holds a number.
    pub fn number(&self, key: &str) -> Option<f64> {
        self.line(key).map(|text| text.parse().expect("a number"))
    }

    /// A line that holds JSON.
    pub fn json(&self, key: &str) -> Option<Value> {
        self.line(key).map(|text| serde_json::from_str(text).expect("JSON"))
    }

    /// Whether nothing is expected of it on a host without control groups.
    pub fn skipped(&self) -> bool {
        self.degraded && self.line("degraded").is_some_and(|why| why.starts_with("skip"))
    }

    /// The bounds of its run.
    pub fn limits(&self) -> Limits {
        let given = self.json("limits").unwrap_or_default();
        let number = |key: &str, default: u64| given[key].as_u64().unwrap_or(default);
        Limits {
            wall: self.number("timeout").map_or(WALL_DEFAULT, Duration::from_secs_f64),
            cpu: Duration::from_secs(number("cpu_seconds", 20)),
            memory_bytes: number("memory_mb", 256) << 20,
            pids: u32::try_from(number("pids", 64)).expect("a small number"),
            output_bytes: number("output_kb", 64) << 10,
            disk_bytes: number("disk_mb", 32) << 20,
            cpu_milli: u32::try_from(number("cpu_milli", 2000)).expect("a small number"),
        }
    }

    /// Files placed beside it, `canary` among them.
    pub fn files(&self, canary: &str) -> Vec<InputFile> {
        let planted = self.all("file").into_iter().map(|line| {
            let (path, content) = line.split_once(' ').expect("path and content");
            let content: String = serde_json::from_str(content).expect("a JSON string");
            InputFile { path: path.to_owned(), content: content.into_bytes() }
        });
        let canary = InputFile { path: "canary.env".into(), content: canary.as_bytes().to_vec() };
        planted.chain([canary]).collect()
    }

    /// What to write into a folder to run it bare: name and content.
    pub fn bare_files(&self, canary: &str) -> Vec<InputFile> {
        let code = format!("{}{}", self.prelude, self.source).into_bytes();
        let main = InputFile { path: self.language.main_file().to_owned(), content: code };
        self.files(canary).into_iter().chain([main]).collect()
    }

    /// The run in the cell.
    pub fn spec(&self, canary: &str) -> RunSpec {
        let stdin = vec![b'x'; self.number("stdin-bytes").unwrap_or(0.0) as usize];
        let code = format!("{}{}", self.prelude, self.source);
        let files = self.files(canary);
        self.language
            .run_spec(self.name.clone(), &code, files, stdin, self.limits())
            .expect("the interpreter is installed")
    }
}
