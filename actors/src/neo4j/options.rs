//! What an operator may set about Neo4j. Read from the configuration's section `neo4j`.
//!
//! Refuses: a URI that no driver could use, two passwords, values out of range. Whether the server is
//! there and takes the password is not known here: that is told by the health of the client.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bounds::mistakes;
use crate::resilience::{BreakerOptions, DependencyOptions};
use crate::supervision::InvalidOption;

/// Port of Bolt when the URI names none.
const PORT: u16 = 7687;
/// An attempt ends this much after its query should have: the query's own end says more.
const ATTEMPT_MARGIN_MS: u64 = 500;
/// What a URI may begin with: direct or routed; plain, verified, or encrypted without verification.
const SCHEMES: [&str; 6] = ["bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc"];

/// Where Neo4j is and how it is used. Every field has a default; unknown fields are refused.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Neo4jOptions {
    /// `bolt://host:7687`; with `neo4j://` the server names the cluster's members; `+s` verifies the
    /// certificate, `+ssc` takes any. Empty: there is no Neo4j.
    pub uri: String,
    /// User.
    pub user: String,
    /// Password; or `password_file`.
    #[serde(skip_serializing)]
    pub password: String,
    /// File that holds the password; read anew whenever the server refuses the one before.
    #[serde(with = "path")]
    pub password_file: Option<PathBuf>,
    /// Database; empty: the user's default one.
    pub database: String,
    /// Certificate authorities (PEM) to verify the server by, instead of the system's.
    #[serde(with = "path")]
    pub ca_file: Option<PathBuf>,
    /// Most connections at once.
    pub pool_max: usize,
    /// Longest time to connect, with TLS and log-in, in milliseconds; also that of a health check.
    pub connect_timeout_ms: u64,
    /// Longest time for one query or transaction, in milliseconds; a caller's deadline may be earlier.
    pub query_timeout_ms: u64,
    /// Milliseconds between two health checks while it serves.
    pub health_interval_ms: u64,
    /// Longest pause between two attempts to reach it while it is away, in milliseconds.
    pub reconnect_max_ms: u64,
    /// What stands in front of it. `attempt_timeout_ms` and `breaker.slow_ms` do not fall below
    /// `query_timeout_ms`: a query is as slow as its author made it.
    pub resilience: DependencyOptions,
}

impl Default for Neo4jOptions {
    fn default() -> Self {
        Self {
            uri: String::new(),
            user: "neo4j".to_owned(),
            password: String::new(),
            password_file: None,
            database: String::new(),
            ca_file: None,
            pool_max: 16,
            connect_timeout_ms: 3_000,
            query_timeout_ms: 30_000,
            health_interval_ms: 5_000,
            reconnect_max_ms: 1_000,
            resilience: DependencyOptions {
                attempt_timeout_ms: 31_000,
                breaker: BreakerOptions { slow_ms: 31_000, ..BreakerOptions::default() },
                ..DependencyOptions::default()
            },
        }
    }
}

impl fmt::Debug for Neo4jOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Neo4jOptions")
            .field("uri", &self.uri)
            .field("user", &self.user)
            .field("password", &if self.password.is_empty() { "" } else { "***" })
            .field("password_file", &self.password_file)
            .field("database", &self.database)
            .field("ca_file", &self.ca_file)
            .field("pool_max", &self.pool_max)
            .finish_non_exhaustive()
    }
}

impl Neo4jOptions {
    /// Whether a server is named.
    pub fn is_set(&self) -> bool {
        !self.uri.is_empty()
    }

    /// The longest a connection may take.
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// The longest a query or transaction may take.
    pub fn query_timeout(&self) -> Duration {
        Duration::from_millis(self.query_timeout_ms)
    }

    /// The guard in front of it, with the times that a query may take.
    pub(super) fn guard(&self) -> DependencyOptions {
        let mut guard = self.resilience.clone();
        let longest = self.query_timeout_ms + ATTEMPT_MARGIN_MS;
        guard.attempt_timeout_ms = guard.attempt_timeout_ms.max(longest);
        guard.breaker.slow_ms = guard.breaker.slow_ms.max(longest);
        guard
    }

    /// `host:port` of the URI, for messages.
    pub fn address(&self) -> String {
        parse_uri(&self.uri)
            .map_or_else(|_| self.uri.clone(), |(host, port)| format!("{host}:{port}"))
    }

    /// Every value out of range, with its key below `neo4j`.
    pub fn mistakes(&self) -> Vec<InvalidOption> {
        let mut found: Vec<InvalidOption> = mistakes([
            ("pool_max", self.pool_max as u64, 1..=256),
            ("connect_timeout_ms", self.connect_timeout_ms, 50..=60_000),
            ("query_timeout_ms", self.query_timeout_ms, 100..=600_000),
            ("health_interval_ms", self.health_interval_ms, 100..=600_000),
            ("reconnect_max_ms", self.reconnect_max_ms, 100..=600_000),
        ]);
        found.extend(self.resilience.mistakes().into_iter().map(|mistake| InvalidOption {
            key: format!("resilience.{}", mistake.key),
            message: mistake.message,
        }));
        let mut wrong = |key: &str, message: String| {
            found.push(InvalidOption { key: key.to_owned(), message });
        };
        if self.is_set() {
            if let Err(message) = parse_uri(&self.uri) {
                wrong("uri", message);
            }
            if self.user.is_empty() {
                wrong("user", "must not be empty".to_owned());
            }
        }
        if !self.password.is_empty() && self.password_file.is_some() {
            wrong("password", "set either password or password_file".to_owned());
        }
        found
    }
}

/// A path in TOML, which knows no null: empty text is none.
mod path {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        path: &Option<PathBuf>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        path.clone().unwrap_or_default().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<PathBuf>, D::Error> {
        let path = PathBuf::deserialize(deserializer)?;
        Ok((!path.as_os_str().is_empty()).then_some(path))
    }
}

/// Host and port of a URI that the driver takes.
fn parse_uri(uri: &str) -> Result<(&str, u16), String> {
    let schemes = SCHEMES.join(", ");
    let Some((scheme, rest)) = uri.split_once("://") else {
        return Err(format!("must begin with one of {schemes} and ://"));
    };
    if !SCHEMES.contains(&scheme) {
        return Err(format!("unknown scheme {scheme:?}; use one of {schemes}"));
    }
    if rest.contains('@') {
        return Err("must not hold credentials; use user and password_file".to_owned());
    }
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.is_empty() || authority.contains(['/', '?', '#', ' ']) {
        return Err("after :// stands a host and a port, nothing else".to_owned());
    }
    // An IPv6 address stands in brackets and holds colons of its own.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if host.is_empty() {
        return Err("names no host".to_owned());
    }
    let port = port.map_or(Ok(PORT), |port| {
        port.parse::<u16>().ok().filter(|port| *port > 0).ok_or(format!("{port:?} is no port"))
    })?;
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(options: &Neo4jOptions) -> Vec<String> {
        options.mistakes().into_iter().map(|mistake| mistake.key).collect()
    }

    #[test]
    fn the_defaults_are_sound_and_name_no_server() {
        assert_eq!(serde_json::from_str::<Neo4jOptions>("{}").unwrap(), Neo4jOptions::default());
        assert!(serde_json::from_str::<Neo4jOptions>(r#"{"url": "bolt://x"}"#).is_err());
        assert!(!Neo4jOptions::default().is_set());
        assert_eq!(keys(&Neo4jOptions::default()), [""; 0]);
    }

    #[test]
    fn a_uri_no_driver_takes_is_refused() {
        for good in
            ["bolt://h", "neo4j+ssc://127.0.0.1:1", "bolt+s://[::1]:7687/", "neo4j://db.x.y"]
        {
            let options = Neo4jOptions { uri: good.to_owned(), ..Neo4jOptions::default() };
            assert_eq!(keys(&options), [""; 0], "{good}");
        }
        for bad in [
            "h:7687",
            "http://h",
            "bolt://",
            "bolt://u:p@h",
            "bolt://h:0",
            "bolt://h:x",
            "bolt://h/db",
        ] {
            let options = Neo4jOptions { uri: bad.to_owned(), ..Neo4jOptions::default() };
            assert_eq!(keys(&options), ["uri"], "{bad}");
        }
    }

    #[test]
    fn a_password_is_never_printed_or_dumped() {
        let options = Neo4jOptions { password: "hunter2".to_owned(), ..Neo4jOptions::default() };
        assert!(!format!("{options:?}").contains("hunter2"));
        assert!(!serde_json::to_string(&options).unwrap().contains("hunter2"));
    }
}
