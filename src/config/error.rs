//! What is wrong with the configuration: all of it at once, each mistake with its source and key.

use std::fmt;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// The file, environment variable or flag it stands in.
    pub source: String,
    /// The key, dotted, e.g. `http.port` or `auth.keys[0].kid`; empty when the source as a whole is
    /// meant.
    pub key: String,
    /// What is wrong and what is allowed. Never contains a secret.
    pub problem: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.source, self.problem),
            key => write!(f, "{}: {key}: {}", self.source, self.problem),
        }
    }
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    /// Every mistake, sorted by source and key.
    pub mistakes: Vec<Mistake>,
}

impl ConfigError {
    /// An error of these mistakes, sorted and without repetitions.
    pub fn new(mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort();
        mistakes.dedup();
        Self { mistakes }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.mistakes.iter().map(Mistake::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}
