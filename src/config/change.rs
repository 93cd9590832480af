//! What differs between two configurations, and what of it can change while the server runs.
//!
//! Called by the reload module. A key that is not in [`LIVE`] is read at the start only: its running
//! value is kept, so that what is shown is what is in force.

use std::collections::BTreeSet;

use figment::Figment;
use figment::value::Dict;
use serde::Serialize;
use serde_json::Value;

use super::layers::{Layer, nested};
use super::overlay::Overlay;
use super::{Config, ConfigError, Loaded, Mistake, dump, load, rules, source_of};

/// Keys, and tables of keys, that take effect while the server runs. All others wait for a restart.
pub const LIVE: &[&str] = &[
    "admission.running_per_caller_max",
    "admission.total_factor",
    "neo4j.resilience",
    "redis.resilience",
    "supervision.default",
    "supervision.overrides",
    "telemetry.log_filter",
];

/// The source of a value that is kept because the new one waits for a restart.
const KEPT: &str = "kept until the restart";

/// One key whose value differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Dotted key.
    pub key: String,
    /// The value before; absent when there was none. Secrets are redacted.
    pub old: Option<Value>,
    /// The value after; absent when there is none. Secrets are redacted.
    pub new: Option<Value>,
}

/// Whether this key takes effect while the server runs.
pub fn is_live(key: &str) -> bool {
    let within = |table: &str| key.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'));
    LIVE.iter().any(|live| *live == key || within(live))
}

impl Loaded {
    /// Reads every source again, with these values on top.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn again(&self, overlay: Overlay) -> Result<Self, ConfigError> {
        let mut inputs = self.inputs.clone();
        inputs.overlay = overlay;
        load(&inputs)
    }

    /// What was set at run time.
    pub fn overlay(&self) -> &Overlay {
        &self.inputs.overlay
    }

    /// The files it was read from.
    pub fn files(&self) -> &[std::path::PathBuf] {
        &self.inputs.files
    }

    /// Every key whose value differs in `next`.
    pub fn changes_to(&self, next: &Self) -> Vec<Change> {
        let keys: BTreeSet<String> = self.keys().into_iter().chain(next.keys()).collect();
        let differs = |key: &String| plain(&self.figment, key) != plain(&next.figment, key);
        let change = |key: String| Change {
            old: shown(&self.figment, &key),
            new: shown(&next.figment, &key),
            key,
        };
        keys.into_iter().filter(differs).map(change).collect()
    }

    /// The same with the running values of these keys.
    ///
    /// # Errors
    /// The mixture breaks a rule.
    pub fn keeping(mut self, running: &Self, keys: &[Change]) -> Result<Self, ConfigError> {
        for change in keys {
            if let Ok(value) = running.figment.find_value(&change.key) {
                let dict = nested(&change.key, value);
                self.figment = self.figment.merge(Layer { name: KEPT.to_owned(), dict });
            }
        }
        let broken = |key: String, problem: String| Mistake {
            source: source_of(&self.figment, &key),
            key,
            problem,
        };
        let config: Config = self.figment.extract().map_err(|error| {
            ConfigError::new(vec![broken(error.path.join("."), error.kind.to_string())])
        })?;
        let findings = rules::check(&config, |_| false);
        if !findings.is_empty() {
            let mistakes = findings.into_iter().map(|(key, problem)| broken(key, problem));
            return Err(ConfigError::new(mistakes.collect()));
        }
        self.config = config;
        Ok(self)
    }

    /// The sources as they are now, with what was set at run time before `self`, and on top whatever it
    /// takes to be `self` again. The keys for which that cannot be done: somebody added them to a table.
    ///
    /// # Errors
    /// The sources cannot be used now.
    pub fn restored(&self) -> Result<(Self, Vec<String>), ConfigError> {
        let mut overlay = self.inputs.overlay.clone();
        let mut stuck = Vec::new();
        for change in self.again(overlay.clone())?.changes_to(self) {
            match self.figment.find_value(&change.key) {
                _ if !is_live(&change.key) => {}
                Ok(value) => overlay.set(&change.key, value),
                Err(_) => stuck.push(change.key),
            }
        }
        Ok((self.again(overlay)?, stuck))
    }

    /// Every key with its value and its source, secrets redacted, in alphabetical order.
    pub fn values(&self) -> Vec<(String, Value, String)> {
        let row = |key: String| {
            let value = shown(&self.figment, &key)?;
            let source = self.source_of(&key);
            Some((key, value, source))
        };
        self.keys().into_iter().filter_map(row).collect()
    }

    fn keys(&self) -> Vec<String> {
        dump::leaves(&self.figment.extract::<Dict>().unwrap_or_default())
    }
}

fn shown(figment: &Figment, key: &str) -> Option<Value> {
    Some(dump::json(key, &figment.find_value(key).ok()?))
}

/// For comparison only: with secrets.
fn plain(figment: &Figment, key: &str) -> Option<Value> {
    serde_json::to_value(figment.find_value(key).ok()?).ok()
}
