//! What an operator can set about Redis. Read by the face from `redis.*`.

use std::fmt;
use std::path::PathBuf;

use deadpool_redis::redis::{ConnectionAddr, IntoConnectionInfo};
use serde::{Deserialize, Serialize, Serializer};

use crate::bounds::mistakes;
use crate::resilience::{BreakerOptions, DependencyOptions, RetryOptions};
use crate::supervision::InvalidOption;

/// Most addresses one installation names.
const URLS_MAX: usize = 64;

/// How the servers behind `urls` belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RedisMode {
    /// One server; the first URL.
    #[default]
    Single,
    /// The URLs are sentinels, which name the master.
    Sentinel,
    /// The URLs are some nodes of a cluster, which name the others.
    Cluster,
}

/// A password; never shown.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// The password itself, `None` when there is none.
    pub(super) fn reveal(&self) -> Option<&str> {
        (!self.0.is_empty()).then_some(self.0.as_str())
    }
}

impl From<&str> for Password {
    fn from(password: &str) -> Self {
        Self(password.to_owned())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "[redacted]" })
    }
}

impl Serialize for Password {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_empty() { "" } else { "[redacted]" })
    }
}

/// Settings of the shared Redis. Without URLs there is none and the node keeps everything to itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedisOptions {
    /// `redis://host:port[/db]` or `rediss://` (TLS). Empty = no Redis.
    pub urls: Vec<String>,
    /// How they belong together.
    pub mode: RedisMode,
    /// What the sentinels call the master.
    pub master_name: String,
    /// ACL user; "" = the default one.
    pub username: String,
    /// Its password, in place; prefer `password_file`.
    pub password: Password,
    /// A file with its password; white space at its end is not part of it.
    pub password_file: PathBuf,
    /// A file with the password of the sentinels; "" = they have none.
    pub sentinel_password_file: PathBuf,
    /// PEM file of the authorities that sign the servers' certificates; "" = those of the system.
    pub ca_file: PathBuf,
    /// Shared connections, one per thread up to this; blocking commands and subscriptions have their
    /// own beside them.
    pub pool_max: usize,
    /// Longest wait for a connection, TLS and authentication included.
    pub connect_timeout_ms: u64,
    /// Longest wait for an answer to one command.
    pub command_timeout_ms: u64,
    /// Longest wait for what a node can do without (rates, cached results, word of invalidations), in
    /// milliseconds: when an answer takes longer, the node goes on by itself until answers are quicker.
    pub patience_ms: u64,
    /// Every key begins with it, so that installations can share a server.
    pub key_prefix: String,
    /// Breaker, retries, places.
    pub resilience: DependencyOptions,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            mode: RedisMode::Single,
            master_name: String::new(),
            username: String::new(),
            password: Password::default(),
            password_file: PathBuf::new(),
            sentinel_password_file: PathBuf::new(),
            ca_file: PathBuf::new(),
            pool_max: 16,
            connect_timeout_ms: 1000,
            command_timeout_ms: 500,
            patience_ms: 50,
            key_prefix: "ump:".to_owned(),
            resilience: guard(),
        }
    }
}

/// Quicker in every respect than for a database: callers have another way to go on.
fn guard() -> DependencyOptions {
    DependencyOptions {
        concurrent_max: 1024,
        wait_ms: 200,
        attempt_timeout_ms: 2000,
        retry: RetryOptions { attempts_max: 2, initial_ms: 10, max_ms: 100, ..Default::default() },
        breaker: BreakerOptions {
            window_seconds: 10,
            slow_ms: 400,
            open_initial_ms: 200,
            open_max_ms: 1000,
            ..Default::default()
        },
        ..Default::default()
    }
}

impl RedisOptions {
    /// Whether there is a Redis at all.
    pub fn is_configured(&self) -> bool {
        !self.urls.is_empty()
    }

    /// Every value that cannot be used, with its key below `redis`.
    pub fn mistakes(&self) -> Vec<InvalidOption> {
        let mut all = mistakes([
            ("urls", self.urls.len() as u64, 0..=URLS_MAX as u64),
            ("pool_max", self.pool_max as u64, 1..=1024),
            ("connect_timeout_ms", self.connect_timeout_ms, 10..=60_000),
            ("command_timeout_ms", self.command_timeout_ms, 10..=60_000),
            ("patience_ms", self.patience_ms, 1..=60_000),
        ]);
        all.extend(self.resilience.mistakes().into_iter().map(|mistake| InvalidOption {
            key: format!("resilience.{}", mistake.key),
            ..mistake
        }));
        let mut wrong = |key: &str, message: &str| {
            all.push(InvalidOption { key: key.to_owned(), message: message.to_owned() });
        };
        for url in &self.urls {
            if let Some(problem) = problem_of(url, self.mode) {
                wrong("urls", problem);
            }
        }
        if self.urls.iter().any(|url| is_tls(url)) && self.urls.iter().any(|url| !is_tls(url)) {
            wrong("urls", "either all are rediss:// or none");
        }
        if self.is_configured() && self.mode == RedisMode::Sentinel && self.master_name.is_empty() {
            wrong("master_name", "sentinels must be asked for a name, e.g. \"mymaster\"");
        }
        if self.password.reveal().is_some() && !self.password_file.as_os_str().is_empty() {
            wrong("password", "set either the password or its file");
        }
        if self.key_prefix.len() > 64 || !self.key_prefix.chars().all(is_plain) {
            wrong("key_prefix", "at most 64 letters, digits and : _ - .");
        }
        all
    }
}

/// Braces in a prefix would decide the slot of every key in a cluster.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || ":_-.".contains(c)
}

pub(super) fn is_tls(url: &str) -> bool {
    url.starts_with("rediss:")
}

/// The problem is said without the URL, which may hold a password.
fn problem_of(url: &str, mode: RedisMode) -> Option<&'static str> {
    let Ok(info) = url.into_connection_info() else {
        return Some("use redis://host:port or rediss://host:port");
    };
    let settings = info.redis_settings();
    if settings.password().is_some() || settings.username().is_some() {
        return Some("credentials do not belong into a URL: use username and password_file");
    }
    match (mode, info.addr()) {
        (RedisMode::Single, _) => None,
        (_, ConnectionAddr::Unix(_)) => Some("sentinels and clusters are reached by TCP"),
        (_, _) if settings.db() != 0 => Some("only a single server has numbered databases"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(json: &str) -> RedisOptions {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_defaults_are_in_range_and_mean_no_redis() {
        let options = RedisOptions::default();
        assert_eq!(options.mistakes(), []);
        assert!(!options.is_configured());
        assert!(serde_json::from_str::<RedisOptions>(r#"{ "url": "x" }"#).is_err());
    }

    #[test]
    fn what_cannot_work_is_refused_at_start_and_says_how_to_mend_it() {
        let wrong = |json: &str, key: &str, part: &str| {
            let mistakes = options(json).mistakes();
            let found = mistakes.iter().any(|m| m.key == key && m.message.contains(part));
            assert!(found, "{json}: {mistakes:?}");
            assert!(!format!("{mistakes:?}").contains("hunter2"), "{mistakes:?}");
        };
        wrong(r#"{ "urls": ["http://a"] }"#, "urls", "redis://");
        wrong(r#"{ "urls": ["redis://:hunter2@a:1"] }"#, "urls", "password_file");
        wrong(r#"{ "urls": ["redis://a:1", "rediss://b:1"] }"#, "urls", "rediss");
        wrong(r#"{ "urls": ["redis://a:1"], "mode": "sentinel" }"#, "master_name", "name");
        wrong(r#"{ "urls": ["redis://a:1/3"], "mode": "cluster" }"#, "urls", "numbered");
        wrong(r#"{ "password": "x", "password_file": "y" }"#, "password", "either");
        wrong(r#"{ "key_prefix": "{a}" }"#, "key_prefix", "letters");
        wrong(r#"{ "pool_max": 0 }"#, "pool_max", "range");
    }

    #[test]
    fn the_password_is_never_shown() {
        let options = options(r#"{ "password": "hunter2" }"#);
        assert!(!format!("{options:?}").contains("hunter2"));
        assert!(!serde_json::to_string(&options).unwrap().contains("hunter2"));
    }
}
