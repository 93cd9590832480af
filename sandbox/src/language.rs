//! From a language and its source to the pieces of a [`RunSpec`]: which program, which arguments.
//!
//! Each program compiles the source first and says so on descriptor 3 before any of it runs (see
//! [`RunSpec::compile_signal`]), so that a syntax error is told apart from an exit of the program
//! itself without reading what it printed. Called by the `execute_code` tool; refuses languages whose
//! interpreter this host does not have.

use std::path::Path;

use crate::spec::{InputFile, Language, Limits, Profile, RunSpec};
use crate::wire::runfile::RunHead;

/// This host has no interpreter for the language.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{language} is not available here: install one of {}", .looked_for.join(", "))]
pub struct Unavailable {
    language: &'static str,
    looked_for: &'static [&'static str],
}

/// Runs `/box/main.py` as `__main__`, much as `python3 main.py` would, without importing anything.
///
/// The standard `site` module would take a third of the start-up time (cell.md §2); what scripts
/// expect from it — `exit`, `quit` and the installed packages — is provided here.
const PYTHON: &str = include_str!("language/main.py");

/// What precedes [`PYTHON`] in a zygote: it comes back once for each run, in the run's own sandbox.
const PYTHON_ZYGOTE: &str = include_str!("language/zygote.py");

/// Before the source, for every Python program of ours.
const PYTHON_FLAGS: [&str; 4] = ["-I", "-S", "-B", "-c"];

/// Drives an interpreter that stays, step by step; see `wire/step.rs` for what it hears and says.
const PYTHON_DRIVER: &str = include_str!("language/driver.py");

/// Compiles `/box/main.js` as CommonJS, else as a module, says so, and runs it.
const NODE: &str = include_str!("language/main.cjs");

/// Parses `/box/main.sh` whole, says so, and replaces itself by a shell that runs it.
const BASH: &str = "\"$BASH\" --norc --noprofile -n /box/main.sh 3>&- || exit 2\n\
    printf x >&3; exec 3>&-\n\
    exec \"$BASH\" --norc --noprofile /box/main.sh\n";

/// The command of a zygote; modules to import follow.
pub(crate) fn zygote_argv(interpreter: &str) -> Vec<String> {
    // The zygote's `finish` calls `run` and leaves without taking the interpreter apart, where it can.
    let program = PYTHON.trim_end().strip_suffix("run()").unwrap_or(PYTHON);
    let source = format!("{PYTHON_ZYGOTE}{program}finish(run)\n");
    let words = std::iter::once(interpreter).chain(PYTHON_FLAGS).map(str::to_owned);
    words.chain([source]).collect()
}

/// Whether a run is what an interpreter born of a zygote does: exactly what [`Language::run_spec`] makes of
/// Python, with the environment that every run has.
pub(crate) fn suits_zygote(head: &RunHead) -> bool {
    let (Some(program), Some(rest)) = (head.argv.first(), head.argv.get(1..)) else { return false };
    Language::Python.interpreters().contains(&program.as_str())
        && rest.iter().map(String::as_str).eq(PYTHON_FLAGS.into_iter().chain([PYTHON]))
        && head.env.is_empty()
        && head.profile == Profile::Python
        && head.compile_signal
        && !head.steps
}

impl Language {
    /// Where its interpreter may be, best first. Only places visible inside the cell.
    pub fn interpreters(self) -> &'static [&'static str] {
        match self {
            Self::Python => &["/usr/bin/python3", "/usr/local/bin/python3"],
            Self::JavaScript => &["/usr/bin/node", "/usr/local/bin/node", "/usr/bin/nodejs"],
            Self::Bash => &["/usr/bin/bash", "/bin/bash", "/usr/local/bin/bash"],
        }
    }

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::JavaScript => "javascript",
            Self::Bash => "bash",
        }
    }

    /// The interpreter on this host.
    ///
    /// # Errors
    /// [`Unavailable`], naming what to install.
    pub fn interpreter(self) -> Result<&'static str, Unavailable> {
        let looked_for = self.interpreters();
        let found = looked_for.iter().find(|path| Path::new(path).exists());
        found.copied().ok_or(Unavailable { language: self.name(), looked_for })
    }

    /// The file its source is written to, beneath `/box`.
    pub fn main_file(self) -> &'static str {
        match self {
            Self::Python => "main.py",
            Self::JavaScript => "main.js",
            Self::Bash => "main.sh",
        }
    }

    /// A sandbox that stays, for [`crate::Link::open`]; `None` for languages that have no driver.
    ///
    /// # Errors
    /// [`Unavailable`] when this host lacks the interpreter.
    pub fn sandbox_spec(
        self,
        execution_id: String,
        limits: Limits,
    ) -> Result<Option<RunSpec>, Unavailable> {
        if self != Self::Python {
            return Ok(None);
        }
        let words = [self.interpreter()?, "-I", "-S", "-B", "-c", PYTHON_DRIVER];
        Ok(Some(RunSpec {
            execution_id,
            argv: words.map(str::to_owned).to_vec(),
            env: Vec::new(),
            profile: Profile::Python,
            files: Vec::new(),
            stdin: Vec::new(),
            compile_signal: false,
            limits,
        }))
    }

    /// A run of `code`, with input `files` beside it and `stdin` fed to it.
    ///
    /// An input file with the name of [`Self::main_file`] is replaced by the code.
    ///
    /// # Errors
    /// [`Unavailable`] when this host lacks the interpreter.
    pub fn run_spec(
        self,
        execution_id: String,
        code: &str,
        files: Vec<InputFile>,
        stdin: Vec<u8>,
        limits: Limits,
    ) -> Result<RunSpec, Unavailable> {
        let interpreter = self.interpreter()?.to_owned();
        let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let (arguments, profile) = match self {
            Self::Python => (text(&["-I", "-S", "-B", "-c", PYTHON]), Profile::Python),
            Self::JavaScript => (text(&["-e", NODE]), Profile::Node),
            Self::Bash => (text(&["--norc", "--noprofile", "-c", BASH]), Profile::Shell),
        };
        let mut all = files;
        all.retain(|file| file.path != self.main_file());
        all.push(InputFile {
            path: self.main_file().to_owned(),
            content: code.as_bytes().to_vec(),
        });
        let argv = std::iter::once(interpreter).chain(arguments).collect();
        Ok(RunSpec {
            execution_id,
            argv,
            env: Vec::new(),
            profile,
            files: all,
            stdin,
            compile_signal: true,
            limits,
        })
    }
}
