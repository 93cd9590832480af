//! Host and Origin allow lists: a web page must not reach a server on the visitor's machine, neither
//! directly (`Origin`) nor by a name that it re-points at 127.0.0.1 (DNS rebinding, `Host`).
//!
//! Called by the edge for every path but the probes. Refuses with 403; MCP 2026-07-28, Transports,
//! "Security warning".

use actix_web::http::Uri;
use actix_web::http::header::{HOST, HeaderMap, ORIGIN};

use crate::error::{ApiError, Code};

/// Names that only this machine answers to.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Orchestrators probe by the pod's address, which no list can know; these paths tell nothing.
const PROBES: [&str; 2] = ["/health", "/ready"];

/// In a list: anything goes, because a proxy in front checks.
const ANY: &str = "*";

/// Which `Host` and `Origin` values may come in.
#[derive(Clone, Debug)]
pub struct Guard {
    hosts: Vec<Authority>,
    any_host: bool,
    origins: Vec<String>,
    any_origin: bool,
}

/// A host name or address with an optional port, lower-case, without brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Authority {
    name: String,
    port: Option<u16>,
}

impl Guard {
    /// Loopback names plus these. A host without a port allows every port; an origin is
    /// `scheme://host[:port]`; `*` allows all.
    ///
    /// # Errors
    /// The entries that are neither.
    pub fn new(hosts: &[String], origins: &[String]) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut allowed_hosts = Vec::new();
        for host in hosts.iter().filter(|host| *host != ANY) {
            match authority(host) {
                Some(parsed) => allowed_hosts.push(parsed),
                None => problems.push(format!("\"{host}\" is not a host name with optional port")),
            }
        }
        let mut allowed_origins = Vec::new();
        for origin in origins.iter().filter(|origin| *origin != ANY) {
            match origin.split_once("://").and_then(|(_, rest)| authority(rest)) {
                Some(_) => allowed_origins.push(origin.to_ascii_lowercase()),
                None => problems.push(format!("\"{origin}\" is not scheme://host[:port]")),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            hosts: allowed_hosts,
            any_host: hosts.iter().any(|host| host == ANY),
            origins: allowed_origins,
            any_origin: origins.iter().any(|origin| origin == ANY),
        })
    }

    /// Checks one request.
    ///
    /// # Errors
    /// [`Code::OriginNotAllowed`], naming the header and the setting that would allow it.
    pub fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        if PROBES.contains(&uri.path()) {
            return Ok(());
        }
        // An absolute-form target overrides `Host` (RFC 9112 §3.2.2), so it must pass as well.
        if let Some(target) = uri.authority()
            && !self.host_allowed(target.as_str())
        {
            return Err(refused("request target", "http.allowed_hosts"));
        }
        let mut hosts = headers.get_all(HOST);
        let host = hosts.next().and_then(|value| value.to_str().ok());
        if hosts.next().is_some() || !host.is_some_and(|host| self.host_allowed(host)) {
            return Err(refused("Host", "http.allowed_hosts"));
        }
        for origin in headers.get_all(ORIGIN) {
            if !origin.to_str().is_ok_and(|origin| self.origin_allowed(origin)) {
                return Err(refused("Origin", "http.allowed_origins"));
            }
        }
        Ok(())
    }

    fn host_allowed(&self, host: &str) -> bool {
        let Some(host) = authority(host) else { return false };
        self.any_host
            || LOOPBACK.contains(&host.name.as_str())
            || self.hosts.iter().any(|allowed| {
                allowed.name == host.name && (allowed.port.is_none() || allowed.port == host.port)
            })
    }

    fn origin_allowed(&self, origin: &str) -> bool {
        if self.any_origin {
            return true;
        }
        let origin = origin.to_ascii_lowercase();
        if self.origins.contains(&origin) {
            return true;
        }
        let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        rest.and_then(authority).is_some_and(|host| LOOPBACK.contains(&host.name.as_str()))
    }
}

fn refused(header: &str, setting: &str) -> ApiError {
    let message = format!("the {header} is not allowed here; an operator can add it to {setting}");
    ApiError::new(Code::OriginNotAllowed, message)
}

/// Parses `name`, `name:port`, `[v6]` and `[v6]:port` (RFC 3986 §3.2, without user information).
fn authority(text: &str) -> Option<Authority> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            (address, after)
        }
        None => {
            let end = text.find(':').unwrap_or(text.len());
            (&text[..end], &text[end..])
        }
    };
    let port = match port {
        "" => None,
        port => {
            let digits = port.strip_prefix(':')?;
            if !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            Some(digits.parse().ok()?)
        }
    };
    // RFC 1035 §2.3.4 limits a name to 255 octets.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
    if name.is_empty() || name.len() > 255 || !name.bytes().all(plain) {
        return None;
    }
    Some(Authority { name: name.to_ascii_lowercase(), port })
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn check(guard: &Guard, path: &str, pairs: &[(HeaderName, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name.clone(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        guard.check(&path.parse().unwrap(), &headers).is_ok()
    }

    fn loopback() -> Guard {
        Guard::new(&[], &[]).unwrap()
    }

    #[test]
    fn only_loopback_names_are_hosts_by_default() {
        for good in ["localhost", "LocalHost:8484", "127.0.0.1:1", "[::1]", "[::1]:8484"] {
            assert!(check(&loopback(), "/mcp", &[(HOST, good)]), "{good} was refused");
        }
        let bad = [
            "evil.example.com",
            "localhost.evil.example",
            "127.0.0.1.evil.example:8484",
            "localhost:port",
            "localhost:99999",
            "user@localhost",
            "localhost/",
            "[::1",
            "::1",
            "[::1]x",
            "",
        ];
        for bad in bad {
            assert!(!check(&loopback(), "/mcp", &[(HOST, bad)]), "{bad} was accepted");
        }
    }

    #[test]
    fn a_request_without_or_with_two_hosts_is_refused() {
        assert!(!check(&loopback(), "/mcp", &[]));
        assert!(!check(&loopback(), "/mcp", &[(HOST, "localhost"), (HOST, "localhost")]));
    }

    #[test]
    fn an_absolute_target_cannot_smuggle_another_host() {
        assert!(!check(&loopback(), "http://evil.example/mcp", &[(HOST, "localhost")]));
        assert!(check(&loopback(), "http://localhost/mcp", &[(HOST, "localhost")]));
    }

    #[test]
    fn a_web_page_from_elsewhere_is_refused() {
        let host = (HOST, "localhost");
        for good in ["http://localhost:6274", "https://127.0.0.1", "http://[::1]:3000"] {
            assert!(check(&loopback(), "/mcp", &[host.clone(), (ORIGIN, good)]), "{good}");
        }
        for bad in ["null", "https://evil.example", "file://localhost", "localhost", "http://"] {
            assert!(!check(&loopback(), "/mcp", &[host.clone(), (ORIGIN, bad)]), "{bad}");
        }
    }

    #[test]
    fn configured_names_are_allowed_and_nothing_like_them() {
        let guard = Guard::new(
            &["mcp.example.org".into(), "10.0.0.5:8484".into()],
            &["https://app.example.org".into()],
        )
        .unwrap();
        assert!(check(&guard, "/mcp", &[(HOST, "MCP.example.org:443")]));
        assert!(check(&guard, "/mcp", &[(HOST, "10.0.0.5:8484")]));
        assert!(!check(&guard, "/mcp", &[(HOST, "10.0.0.5:80")]));
        assert!(!check(&guard, "/mcp", &[(HOST, "x.mcp.example.org")]));
        let host = (HOST, "localhost");
        assert!(check(&guard, "/", &[host.clone(), (ORIGIN, "https://app.example.org")]));
        assert!(!check(&guard, "/", &[host, (ORIGIN, "https://app.example.org.evil")]));
        assert!(Guard::new(&["a b".into()], &["app.example.org".into()]).is_err());
    }

    #[test]
    fn probes_answer_under_any_host() {
        assert!(check(&loopback(), "/health", &[(HOST, "10.1.2.3:8484")]));
        assert!(!check(&loopback(), "/metrics", &[(HOST, "10.1.2.3:8484")]));
    }

    proptest! {
        #[test]
        fn no_host_panics_and_what_is_allowed_is_loopback(host in "\\PC{0,40}|[a-z0-9.:\\[\\]-]{0,30}") {
            if loopback().host_allowed(&host) {
                let lower = host.to_ascii_lowercase();
                let bare = lower.trim_start_matches('[');
                prop_assert!(LOOPBACK.iter().any(|name| bare.starts_with(name)));
            }
        }
    }
}
