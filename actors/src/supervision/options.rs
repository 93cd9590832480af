//! Supervision as operators write it: units in the key names, every mistake reported at once.
//!
//! Owns: the configuration shape and its limits. Called by: the face's configuration (reading) and
//! the supervisors (live changes). Refuses: unknown keys, values out of range.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::policy::Strategy;
use crate::resilience::schedule::ScheduleOptions;

/// Most restarts an operator may allow in one window; keeps the policy's memory small.
const MAX_RESTARTS_LIMIT: u32 = 10_000;
/// Longest window: a day.
const WINDOW_SECONDS_LIMIT: u64 = 86_400;
/// Longest backoff: an hour.
const BACKOFF_MS_LIMIT: u64 = 3_600_000;
/// Shortest time after which a handler counts as stuck; below it, scheduling noise would trip it.
const STALL_AFTER_MS_MIN: u64 = 100;
/// Longest: ten minutes.
const STALL_AFTER_MS_LIMIT: u64 = 600_000;

/// How one supervisor treats its children.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyOptions {
    /// Who is restarted when one child goes down.
    pub strategy: Strategy,
    /// Restarts allowed inside the window; one more and the supervisor escalates. 0: never restart.
    pub max_restarts: u32,
    /// Length of that window.
    pub window_seconds: u64,
    /// First delay before a restart.
    pub backoff_initial_ms: u64,
    /// Longest delay before a restart.
    pub backoff_max_ms: u64,
    /// Growth of the delay from one crash to the next.
    pub backoff_multiplier: f64,
    /// Share by which a delay varies either way, 0 to 1.
    pub backoff_jitter: f64,
    /// A child that ran this long without going down starts again at the first delay.
    pub backoff_reset_after_seconds: u64,
    /// A handler that blocks its thread longer than this is stuck: the child moves to a new thread.
    pub stall_after_ms: u64,
}

impl Default for PolicyOptions {
    fn default() -> Self {
        Self {
            strategy: Strategy::OneForOne,
            max_restarts: 10,
            window_seconds: 60,
            backoff_initial_ms: 50,
            backoff_max_ms: 10_000,
            backoff_multiplier: 2.0,
            backoff_jitter: 0.5,
            backoff_reset_after_seconds: 30,
            stall_after_ms: 5_000,
        }
    }
}

/// One value out of range, with the key it stands under.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct InvalidOption {
    /// Dotted key below `supervision`, for example `overrides.graph.window_seconds`.
    pub key: String,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl PolicyOptions {
    /// Every value out of range; empty when the options can be used.
    pub fn mistakes(&self) -> Vec<InvalidOption> {
        let mut found = Vec::new();
        let mut check = |ok: bool, key: &str, message: String| {
            if !ok {
                found.push(InvalidOption { key: key.to_owned(), message });
            }
        };
        let within = |value: u64, low: u64, high: u64| (low..=high).contains(&value);
        check(
            self.max_restarts <= MAX_RESTARTS_LIMIT,
            "max_restarts",
            format!("{} is too many, use 0 to {MAX_RESTARTS_LIMIT}", self.max_restarts),
        );
        check(
            within(self.window_seconds, 1, WINDOW_SECONDS_LIMIT),
            "window_seconds",
            format!("{} is out of range, use 1 to {WINDOW_SECONDS_LIMIT}", self.window_seconds),
        );
        check(
            within(self.backoff_initial_ms, 1, BACKOFF_MS_LIMIT),
            "backoff_initial_ms",
            format!("{} is out of range, use 1 to {BACKOFF_MS_LIMIT}", self.backoff_initial_ms),
        );
        check(
            within(self.backoff_max_ms, self.backoff_initial_ms, BACKOFF_MS_LIMIT),
            "backoff_max_ms",
            format!(
                "{} is out of range, use backoff_initial_ms ({}) to {BACKOFF_MS_LIMIT}",
                self.backoff_max_ms, self.backoff_initial_ms
            ),
        );
        check(
            (1.0..=10.0).contains(&self.backoff_multiplier),
            "backoff_multiplier",
            format!("{} is out of range, use 1 to 10", self.backoff_multiplier),
        );
        check(
            (0.0..=1.0).contains(&self.backoff_jitter),
            "backoff_jitter",
            format!("{} is out of range, use 0 to 1", self.backoff_jitter),
        );
        check(
            within(self.backoff_reset_after_seconds, 1, WINDOW_SECONDS_LIMIT),
            "backoff_reset_after_seconds",
            format!(
                "{} is out of range, use 1 to {WINDOW_SECONDS_LIMIT}",
                self.backoff_reset_after_seconds
            ),
        );
        check(
            within(self.stall_after_ms, STALL_AFTER_MS_MIN, STALL_AFTER_MS_LIMIT),
            "stall_after_ms",
            format!(
                "{} is out of range, use {STALL_AFTER_MS_MIN} to {STALL_AFTER_MS_LIMIT}",
                self.stall_after_ms
            ),
        );
        found
    }

    pub(crate) fn window(&self) -> Duration {
        Duration::from_secs(self.window_seconds)
    }

    pub(crate) fn reset_after(&self) -> Duration {
        Duration::from_secs(self.backoff_reset_after_seconds)
    }

    pub(crate) fn stall_after(&self) -> Duration {
        Duration::from_millis(self.stall_after_ms)
    }

    pub(crate) fn schedule(&self) -> ScheduleOptions {
        ScheduleOptions {
            initial: Duration::from_millis(self.backoff_initial_ms),
            max: Duration::from_millis(self.backoff_max_ms),
            multiplier: self.backoff_multiplier,
            jitter: self.backoff_jitter,
        }
    }
}

/// What one supervisor does differently: only the keys that are given replace the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "each key is documented at the same key of PolicyOptions")]
pub struct PolicyOverride {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_restarts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_initial_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_max_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_multiplier: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_jitter: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_reset_after_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall_after_ms: Option<u64>,
}

impl PolicyOverride {
    /// The base with the given keys replaced.
    pub fn over(&self, base: PolicyOptions) -> PolicyOptions {
        PolicyOptions {
            strategy: self.strategy.unwrap_or(base.strategy),
            max_restarts: self.max_restarts.unwrap_or(base.max_restarts),
            window_seconds: self.window_seconds.unwrap_or(base.window_seconds),
            backoff_initial_ms: self.backoff_initial_ms.unwrap_or(base.backoff_initial_ms),
            backoff_max_ms: self.backoff_max_ms.unwrap_or(base.backoff_max_ms),
            backoff_multiplier: self.backoff_multiplier.unwrap_or(base.backoff_multiplier),
            backoff_jitter: self.backoff_jitter.unwrap_or(base.backoff_jitter),
            backoff_reset_after_seconds: self
                .backoff_reset_after_seconds
                .unwrap_or(base.backoff_reset_after_seconds),
            stall_after_ms: self.stall_after_ms.unwrap_or(base.stall_after_ms),
        }
    }
}

/// The section `supervision` of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SupervisionOptions {
    /// What holds for every supervisor that is not named below.
    pub default: PolicyOptions,
    /// What single supervisors do differently, by supervisor name.
    pub overrides: BTreeMap<String, PolicyOverride>,
}

impl SupervisionOptions {
    /// The policy of the supervisor of that name.
    pub fn policy(&self, supervisor: &str) -> PolicyOptions {
        match self.overrides.get(supervisor) {
            Some(change) => change.over(self.default),
            None => self.default,
        }
    }

    /// Every value out of range, each with its key below `supervision`.
    pub fn mistakes(&self) -> Vec<InvalidOption> {
        let mut found = prefixed("default", self.default.mistakes());
        for (name, change) in &self.overrides {
            for mistake in
                prefixed(&format!("overrides.{name}"), change.over(self.default).mistakes())
            {
                // A mistake of the default shows up once, under its own key.
                let inherited = self.default.mistakes().iter().any(|own| {
                    mistake.key.ends_with(&format!(".{}", own.key))
                        && mistake.message == own.message
                });
                if !inherited {
                    found.push(mistake);
                }
            }
        }
        found
    }
}

fn prefixed(section: &str, mistakes: Vec<InvalidOption>) -> Vec<InvalidOption> {
    mistakes
        .into_iter()
        .map(|mistake| InvalidOption { key: format!("{section}.{}", mistake.key), ..mistake })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_replaces_only_the_keys_it_names() {
        let text = r#"{ "default": { "max_restarts": 3 },
                        "overrides": { "graph": { "strategy": "rest_for_one" } } }"#;
        let options: SupervisionOptions = serde_json::from_str(text).unwrap();
        let graph = options.policy("graph");
        assert_eq!((graph.strategy, graph.max_restarts), (Strategy::RestForOne, 3));
        assert_eq!(options.policy("audit").strategy, Strategy::OneForOne);
        assert_eq!(options.mistakes(), []);
    }

    #[test]
    fn unknown_keys_are_refused() {
        let unknown = serde_json::from_str::<PolicyOptions>(r#"{ "window_minutes": 1 }"#);
        assert!(unknown.unwrap_err().to_string().contains("window_minutes"));
    }

    #[test]
    fn every_mistake_is_reported_with_its_key() {
        let text = r#"{ "default": { "window_seconds": 0, "backoff_jitter": 2.0 },
                        "overrides": { "graph": { "backoff_max_ms": 1 } } }"#;
        let options: SupervisionOptions = serde_json::from_str(text).unwrap();
        let keys: Vec<_> = options.mistakes().into_iter().map(|mistake| mistake.key).collect();
        let wanted =
            ["default.window_seconds", "default.backoff_jitter", "overrides.graph.backoff_max_ms"];
        assert_eq!(keys, wanted);
    }
}
