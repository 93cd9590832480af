//! What an operator can set about this node. Read by the face from `node.*`.

use serde::{Deserialize, Serialize};

use super::id::NodeId;
use crate::bounds::mistakes;
use crate::supervision::InvalidOption;

/// Settings of this node and of its dealings with others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeOptions {
    /// The node's id; empty = made once and kept in the data directory.
    pub id: String,
    /// The URL other nodes reach this one by; empty = nothing can be forwarded to it.
    pub advertise_url: String,
    /// File with the secret that all nodes share; empty = nodes do not talk to each other.
    pub secret_file: String,
    /// How often the node says in Redis that it is there, in milliseconds.
    pub heartbeat_ms: u64,
    /// A node that said nothing for this long counts as gone, in milliseconds.
    pub gone_after_ms: u64,
    /// How far the clocks of two nodes may differ, in seconds.
    pub clock_skew_seconds: u64,
    /// Calls on their way to other nodes at once.
    pub forwards_max: usize,
    /// Longest time to connect to another node, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Largest answer taken from another node, in bytes.
    pub answer_bytes_max: usize,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            id: String::new(),
            advertise_url: String::new(),
            secret_file: String::new(),
            heartbeat_ms: 500,
            gone_after_ms: 5_000,
            clock_skew_seconds: 30,
            forwards_max: 256,
            connect_timeout_ms: 1_000,
            answer_bytes_max: 64 * 1024 * 1024,
        }
    }
}

impl NodeOptions {
    /// Every value that does not fit, with its key below `node`.
    pub fn mistakes(&self) -> Vec<InvalidOption> {
        let mut wrong = mistakes([
            ("heartbeat_ms", self.heartbeat_ms, 50..=60_000),
            ("gone_after_ms", self.gone_after_ms, 200..=600_000),
            ("clock_skew_seconds", self.clock_skew_seconds, 1..=300),
            ("forwards_max", self.forwards_max as u64, 1..=65_536),
            ("connect_timeout_ms", self.connect_timeout_ms, 10..=60_000),
            ("answer_bytes_max", self.answer_bytes_max as u64, 1024..=1_073_741_824),
        ]);
        let mut find = |key: &str, message: String| {
            wrong.push(InvalidOption { key: key.to_owned(), message });
        };
        if let Some(error) = (!self.id.is_empty()).then(|| NodeId::parse(&self.id).err()).flatten()
        {
            find("id", error.to_string());
        }
        if self.gone_after_ms < self.heartbeat_ms.saturating_mul(2) {
            find("gone_after_ms", "must be at least twice node.heartbeat_ms".to_owned());
        }
        if !self.advertise_url.is_empty() {
            if !is_base_url(&self.advertise_url) {
                let message = "must be http:// or https:// with host and optional port, no path";
                find("advertise_url", message.to_owned());
            }
            if self.secret_file.is_empty() {
                let message = "needs node.secret_file: nodes prove to each other who they are";
                find("advertise_url", message.to_owned());
            }
        }
        wrong
    }
}

/// `http(s)://host[:port]`, nothing behind it but a slash.
fn is_base_url(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    rest.map(|rest| rest.trim_end_matches('/'))
        .is_some_and(|host| !host.is_empty() && host.bytes().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range_and_unknown_keys_are_refused() {
        assert_eq!(NodeOptions::default().mistakes(), []);
        let unknown = serde_json::from_str::<NodeOptions>(r#"{ "ids": "" }"#);
        assert!(unknown.unwrap_err().to_string().contains("ids"));
    }

    #[test]
    fn a_node_that_wants_to_be_reached_needs_a_url_that_is_one_and_a_secret() {
        let node = |url: &str, secret: &str| {
            let (advertise_url, secret_file) = (url.to_owned(), secret.to_owned());
            NodeOptions { advertise_url, secret_file, ..Default::default() }.mistakes().len()
        };
        assert_eq!(node("http://10.0.0.1:8484", "/run/secret"), 0);
        assert_eq!(node("https://[fd00::1]:8484/", "/run/secret"), 0);
        assert_eq!(node("http://10.0.0.1:8484", ""), 1);
        for bad in ["10.0.0.1", "ftp://a", "http://", "http://a/path", "http://u@a", "http://a?q"] {
            assert_eq!(node(bad, "/run/secret"), 1, "{bad}");
        }
    }
}
