//! The named workflows of every server: `config/workflows/*.json`, compiled in, checked at the start.

use std::collections::BTreeMap;

use super::check::{Known, check};
use super::definition::Definition;

const BUILT_IN: [&str; 3] = [
    include_str!("../../config/workflows/lint_fix_test.json"),
    include_str!("../../config/workflows/generate_execute_persist.json"),
    include_str!("../../config/workflows/query_analyse_visualise.json"),
];

/// Workflows by name.
#[derive(Debug)]
pub struct Workflows {
    by_name: BTreeMap<String, Definition>,
}

impl Workflows {
    /// Reads them.
    ///
    /// # Errors
    /// One that is no definition, or has no name of its own.
    pub fn load() -> Result<Self, String> {
        let mut by_name = BTreeMap::new();
        for text in BUILT_IN {
            let definition: Definition =
                serde_json::from_str(text).map_err(|error| error.to_string())?;
            let name = definition.name.clone().ok_or("a workflow has no name")?;
            if by_name.insert(name.clone(), definition).is_some() {
                return Err(format!("two workflows are called {name}"));
            }
        }
        Ok(Self { by_name })
    }

    /// Checks them against the tools there are.
    ///
    /// # Errors
    /// The first mistake.
    pub fn check(&self, known: Known<'_>) -> Result<(), String> {
        for (name, definition) in &self.by_name {
            if let Some(problem) = check(definition, known).first() {
                return Err(format!("{name}: {}: {}", problem.path, problem.problem));
            }
        }
        Ok(())
    }

    /// The workflow of this name.
    pub fn get(&self, name: &str) -> Option<&Definition> {
        self.by_name.get(name)
    }

    /// One line for each, for models: name, inputs (? = optional), what it is for.
    pub fn lines(&self) -> String {
        let line = |(name, definition): (&String, &Definition)| {
            let inputs = definition.inputs.iter().map(|(input, spec)| {
                format!("{input}{}", if spec.default.is_some() { "?" } else { "" })
            });
            let inputs: Vec<String> = inputs.collect();
            let about = definition.description.as_deref().unwrap_or_default();
            format!("- {name}({}): {about}", inputs.join(", "))
        };
        self.by_name.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The names, for messages.
    pub fn names(&self) -> String {
        self.by_name.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}
