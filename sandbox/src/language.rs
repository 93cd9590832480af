//! Stand-in until the cell lands: language → program.

use crate::spec::{InputFile, Language, Profile};

/// What a language needs of a run.
pub struct Program {
    /// Absolute program, then its arguments.
    pub argv: Vec<String>,
    /// Added to the environment.
    pub env: Vec<(String, String)>,
    /// The seccomp allow-list.
    pub profile: Profile,
    /// Placed in the working directory.
    pub files: Vec<InputFile>,
}

impl Language {
    /// The run of this code.
    pub fn program(self, code: &str) -> Program {
        let (bin, name, profile) = match self {
            Language::Python => ("/usr/bin/python3", "main.py", Profile::Python),
            Language::JavaScript => ("/usr/bin/node", "main.mjs", Profile::Node),
            Language::Bash => ("/bin/bash", "main.sh", Profile::Shell),
        };
        let files = vec![InputFile { path: name.into(), content: code.as_bytes().to_vec() }];
        Program { argv: vec![bin.into(), name.into()], env: Vec::new(), profile, files }
    }
}
