//! `[http]` of the configuration.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use ultimate_mcp_actors::network::Network;

use super::body::BodyLimits;
use super::guard::Guard;

/// `[http]` of the configuration; every key has a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpOptions {
    /// Address to listen on.
    pub bind: IpAddr,
    /// Port to listen on; 0 lets the system choose.
    pub port: u16,
    /// Threads that serve connections; 0 means one per processor.
    pub workers: usize,
    /// Most connections per worker; further ones wait in the backlog.
    pub connections_max: usize,
    /// Connections that may wait to be accepted.
    pub backlog: u32,
    /// How long an idle connection stays open, in seconds.
    pub keep_alive_seconds: u64,
    /// Longest time for the request line and headers, in milliseconds.
    pub head_timeout_ms: u64,
    /// Longest time for the body, in milliseconds.
    pub body_timeout_ms: u64,
    /// Longest time for a client to take its answer's end and hang up, in milliseconds.
    pub disconnect_timeout_ms: u64,
    /// Largest body, in bytes, announced or chunked.
    pub body_bytes_max: usize,
    /// How long a drain waits for open requests, in seconds.
    pub drain_seconds: u64,
    /// Names by which clients may call us beside the loopback ones, with or without a port; `*` for any.
    pub allowed_hosts: Vec<String>,
    /// Web origins (`scheme://host[:port]`) whose pages may call us beside loopback ones; `*` for any.
    pub allowed_origins: Vec<String>,
    /// The URL clients use, when it is not the address listened on; empty = it is.
    pub public_url: String,
    /// How long `/ready` says `unavailable` before a stop, in seconds.
    pub lame_duck_seconds: u64,
    /// Proxies whose `X-Forwarded-For` is believed: addresses or networks.
    pub trusted_proxies: Vec<Network>,
    /// Longest time for a request in all, in seconds; no call has a later deadline.
    pub request_timeout_seconds: u64,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 8484,
            workers: 0,
            connections_max: 10_000,
            backlog: 1024,
            keep_alive_seconds: 75,
            head_timeout_ms: 5_000,
            body_timeout_ms: 10_000,
            disconnect_timeout_ms: 1_000,
            body_bytes_max: 4 * 1024 * 1024,
            drain_seconds: 30,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            public_url: String::new(),
            lame_duck_seconds: 0,
            trusted_proxies: Vec::new(),
            request_timeout_seconds: 180,
        }
    }
}

impl HttpOptions {
    /// Everything that is wrong, each with its key; empty when all is well.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut within = |key: &str, value: u64, low: u64, high: u64| {
            if !(low..=high).contains(&value) {
                problems.push(format!("http.{key} is {value}, must be {low} to {high}"));
            }
        };
        within("workers", self.workers as u64, 0, 1024);
        within("connections_max", self.connections_max as u64, 1, 1_000_000);
        within("backlog", self.backlog.into(), 1, 65_535);
        within("keep_alive_seconds", self.keep_alive_seconds, 1, 3600);
        within("head_timeout_ms", self.head_timeout_ms, 1, 600_000);
        within("body_timeout_ms", self.body_timeout_ms, 1, 600_000);
        within("disconnect_timeout_ms", self.disconnect_timeout_ms, 1, 600_000);
        within("body_bytes_max", self.body_bytes_max as u64, 1024, 1 << 30);
        within("drain_seconds", self.drain_seconds, 0, 3600);
        within("lame_duck_seconds", self.lame_duck_seconds, 0, 300);
        within("request_timeout_seconds", self.request_timeout_seconds, 1, 3600);
        for (key, guard) in [
            ("allowed_hosts", Guard::new(&self.allowed_hosts, &[])),
            ("allowed_origins", Guard::new(&[], &self.allowed_origins)),
        ] {
            let wrong = guard.err().unwrap_or_default();
            problems.extend(wrong.into_iter().map(|text| format!("http.{key}: {text}")));
        }
        problems
    }

    /// The guard: loopback names, the configured ones, the public URL's, and the address we listen on
    /// (an address, unlike a name, cannot be re-pointed at us).
    ///
    /// # Errors
    /// The entries that are neither host nor origin.
    pub fn guard(&self) -> Result<Guard, Vec<String>> {
        let mut hosts = self.allowed_hosts.clone();
        match self.bind {
            host if host.is_unspecified() => {}
            IpAddr::V4(address) => hosts.push(address.to_string()),
            IpAddr::V6(address) => hosts.push(format!("[{address}]")),
        }
        let public = self.public_url.split_once("://").map(|(_, rest)| rest);
        hosts.extend(public.and_then(|rest| rest.split('/').next()).map(str::to_owned));
        Guard::new(&hosts, &self.allowed_origins)
    }

    /// The URL clients reach the server by, without a slash at its end; `port` is the one bound.
    pub fn base_url(&self, port: u16) -> String {
        match self.public_url.trim_end_matches('/') {
            "" => format!("http://{}", SocketAddr::new(self.bind, port)),
            url => url.to_owned(),
        }
    }

    /// The limits for request bodies.
    pub fn body_limits(&self) -> BodyLimits {
        BodyLimits {
            bytes_max: self.body_bytes_max,
            timeout: Duration::from_millis(self.body_timeout_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_listen_on_loopback_only() {
        let options = HttpOptions::default();
        assert_eq!(options.problems(), Vec::<String>::new());
        assert!(options.bind.is_loopback());
    }

    #[test]
    fn all_mistakes_are_reported_at_once_with_their_keys() {
        let options = HttpOptions {
            backlog: 0,
            body_bytes_max: 1,
            allowed_hosts: vec!["a b".into()],
            ..HttpOptions::default()
        };
        let problems = options.problems();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].starts_with("http.backlog is 0"), "{problems:?}");
    }

    #[test]
    fn the_address_we_listen_on_and_the_public_url_are_hosts_we_answer_to() {
        let allowed = |options: &HttpOptions, host: &'static str| {
            let mut headers = actix_web::http::header::HeaderMap::new();
            let host = actix_web::http::header::HeaderValue::from_static(host);
            headers.insert(actix_web::http::header::HOST, host);
            options.guard().unwrap().check(&"/mcp".parse().unwrap(), &headers).is_ok()
        };
        let on = |host: [u8; 4]| HttpOptions { bind: host.into(), ..HttpOptions::default() };
        assert!(allowed(&on([192, 0, 2, 7]), "192.0.2.7:8484"));
        assert!(!allowed(&on([0, 0, 0, 0]), "192.0.2.7:8484"));
        assert!(!allowed(&on([127, 0, 0, 1]), "192.0.2.7:8484"));
        let public_url = "https://mcp.example.org/x".to_owned();
        let public = HttpOptions { public_url, ..HttpOptions::default() };
        assert!(allowed(&public, "mcp.example.org"));
        assert!(!allowed(&public, "example.org"));
    }

    #[test]
    fn clients_use_the_public_url_when_there_is_one() {
        let mut options = HttpOptions::default();
        assert_eq!(options.base_url(5000), "http://127.0.0.1:5000");
        options.bind = "::1".parse().unwrap();
        assert_eq!(options.base_url(5000), "http://[::1]:5000");
        options.public_url = "https://mcp.example.org/".to_owned();
        assert_eq!(options.base_url(5000), "https://mcp.example.org");
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let result: Result<HttpOptions, _> = serde_json::from_str(r#"{"prot":1}"#);
        assert!(result.unwrap_err().to_string().contains("prot"));
    }
}
