//! Rules between keys, which no type and no range can hold.
//!
//! Refuses above all: a server open to the network with a key nobody configured.

use std::collections::HashSet;

use actix_web::http::Uri;
use actix_web::http::header::{HOST, HeaderMap, HeaderValue};
use ultimate_mcp_actors::graph::GraphEngine;
use ultimate_mcp_actors::jobs::JobsEngine;

use super::{Config, KeyOptions};

/// Longest `kid`, in bytes.
pub const KID_BYTES_MAX: usize = 128;

/// What is wrong: key and problem.
type Findings = Vec<(String, String)>;

/// Every rule that is broken. `doubtful` tells which keys are known to be wrong already, so that a
/// mistyped key is not also reported as a missing one.
pub(super) fn check(config: &Config, doubtful: impl Fn(&str) -> bool) -> Findings {
    let mut findings = Findings::new();
    exposure(config, doubtful, &mut findings);
    keys(config, &mut findings);
    lifetimes(config, &mut findings);
    urls(config, &mut findings);
    jobs(config, &mut findings);
    parts(config, &mut findings);
    findings
}

fn exposure(config: &Config, doubtful: impl Fn(&str) -> bool, findings: &mut Findings) {
    let bind = config.http.bind;
    if bind.is_loopback() {
        return;
    }
    if config.auth.keys.is_empty() && !doubtful("auth.keys") {
        findings.push((
            "http.bind".to_owned(),
            format!(
                "{bind} is open to the network, so `auth.keys` must name a key, e.g. \
                 keys = [{{ kid = \"primary\", algorithm = \"HS256\", secret_file = \"/run/secrets/token.key\" }}] \
                 with a file made by `openssl rand -base64 48`; or bind to 127.0.0.1"
            ),
        ));
    }
    // An address of its own is a name clients can use; "all addresses" is none.
    let nameless = bind.is_unspecified() && config.http.allowed_hosts.is_empty();
    if nameless && !doubtful("http.allowed_hosts") {
        findings.push((
            "http.bind".to_owned(),
            format!(
                "{bind} is every address, so `http.allowed_hosts` must list the names clients use, \
                 e.g. [\"mcp.example.org\"]"
            ),
        ));
    }
}

fn keys(config: &Config, findings: &mut Findings) {
    let mut seen = HashSet::new();
    for (index, key) in config.auth.keys.iter().enumerate() {
        let mut find = |field: &str, problem: String| {
            findings.push((format!("auth.keys[{index}].{field}"), problem));
        };
        let printable = key.kid.bytes().all(|byte| byte.is_ascii_graphic());
        if key.kid.is_empty() || key.kid.len() > KID_BYTES_MAX || !printable {
            find("kid", format!("must be 1 to {KID_BYTES_MAX} visible ASCII characters"));
        }
        if !seen.insert(&key.kid) {
            find("kid", format!("`{}` names another key already", key.kid));
        }
        if let Some(problem) = material(key) {
            find("algorithm", problem);
        }
    }
    if let Some(kid) = &config.auth.signing_kid {
        let signs = config.auth.keys.iter().any(|k| &k.kid == kid && k.algorithm.is_hmac());
        if !signs {
            findings.push((
                "auth.signing_kid".to_owned(),
                format!("`{kid}` is not the kid of an HS256, HS384 or HS512 key of `auth.keys`"),
            ));
        }
    }
}

fn material(key: &KeyOptions) -> Option<String> {
    let given = (key.secret.is_some(), key.secret_file.is_some(), key.public_key_file.is_some());
    let algorithm = key.algorithm;
    match (algorithm.is_hmac(), given) {
        (true, (true, false, false) | (false, true, false)) => None,
        (true, _) => Some(format!("{algorithm:?} needs either `secret` or `secret_file`")),
        (false, (false, false, true)) => None,
        (false, _) => Some(format!("{algorithm:?} needs `public_key_file` and nothing else")),
    }
}

fn lifetimes(config: &Config, findings: &mut Findings) {
    let auth = &config.auth;
    if auth.issuer_refresh_seconds > auth.issuer_stale_seconds_max {
        findings.push((
            "auth.issuer_refresh_seconds".to_owned(),
            format!(
                "{} is more than auth.issuer_stale_seconds_max = {}: keys would lapse between fetches",
                auth.issuer_refresh_seconds, auth.issuer_stale_seconds_max
            ),
        ));
    }
    if auth.token_ttl_seconds > auth.token_ttl_seconds_max {
        findings.push((
            "auth.token_ttl_seconds".to_owned(),
            format!(
                "{} is more than auth.token_ttl_seconds_max = {}",
                auth.token_ttl_seconds, auth.token_ttl_seconds_max
            ),
        ));
    }
    for (key, text) in [("auth.issuer", &auth.issuer), ("auth.audience", &auth.audience)] {
        if text.is_empty() || text.len() > 256 {
            findings.push((key.to_owned(), "must be 1 to 256 bytes".to_owned()));
        }
    }
}

fn urls(config: &Config, findings: &mut Findings) {
    findings.extend(super::issuers::mistakes(&config.auth));
    let web = |text: &str| {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let clean = !text.contains(['#', '"', '\\']) && text.bytes().all(|b| b.is_ascii_graphic());
        clean && rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
    };
    let advertised = &config.node.advertise_url;
    if !advertised.is_empty() && !answers_to(config, advertised) {
        findings.push((
            "node.advertise_url".to_owned(),
            "its host is none this server answers to: add it to http.allowed_hosts".to_owned(),
        ));
    }
    let mut find = |key: String, text: &str| {
        findings.push((key, format!("`{text}` is not an http or https URL without fragment")));
    };
    let public_url = &config.http.public_url;
    if !public_url.is_empty() && !web(public_url) {
        find("http.public_url".to_owned(), public_url);
    }
    for (index, url) in config.auth.authorization_servers.iter().enumerate() {
        if !web(url) {
            find(format!("auth.authorization_servers[{index}]"), url);
        }
    }
}

/// Whether a request to this URL would pass the guard; what is no URL is reported elsewhere.
fn answers_to(config: &Config, url: &str) -> bool {
    let host = url.split_once("://").map(|(_, rest)| rest.trim_end_matches('/'));
    let Some(host) = host.and_then(|host| HeaderValue::from_str(host).ok()) else { return true };
    let mut headers = HeaderMap::new();
    headers.insert(HOST, host);
    let guard = config.http.guard().ok();
    guard.is_none_or(|guard| guard.check(&Uri::from_static("/"), &headers).is_ok())
}

/// A queue shared by nodes needs the Redis they share.
fn jobs(config: &Config, findings: &mut Findings) {
    if config.jobs.engine == JobsEngine::Redis && !config.redis.is_configured() {
        findings.push((
            "jobs.engine".to_owned(),
            "\"redis\" needs `redis.urls`; or use \"sqlite\"".to_owned(),
        ));
    }
}

/// What the parts themselves say about their sections. Ranges were checked before, so this is about
/// what a range cannot say: filters, host names, values that depend on each other.
fn parts(config: &Config, findings: &mut Findings) {
    for text in config.http.problems() {
        findings.push(split("http", &text));
    }
    for text in config.mcp.problems() {
        findings.push(split("mcp", &text));
    }
    for text in config.telemetry.problems() {
        findings.push(split("telemetry", &text));
    }
    if config.graph.engine == GraphEngine::Neo4j && !config.neo4j.is_set() {
        let problem = "is \"neo4j\", and neo4j.uri names no server".to_owned();
        findings.push(("graph.engine".to_owned(), problem));
    }
    let engine = [
        ("audit", config.audit.mistakes()),
        ("authorization", config.authorization.mistakes()),
        ("sessions", config.sessions.mistakes()),
        ("node", config.node.mistakes()),
        ("sandboxes", config.sandboxes.mistakes()),
        ("cache", config.cache.mistakes()),
        ("cell", config.cell.mistakes()),
        ("graph", config.graph.mistakes()),
        ("idempotency", config.idempotency.mistakes()),
        ("neo4j", config.neo4j.mistakes()),
        ("jobs", config.jobs.mistakes()),
        ("redis", config.redis.mistakes()),
        ("supervision", config.supervision.mistakes()),
    ];
    for (section, mistakes) in engine {
        for mistake in mistakes {
            findings.push((format!("{section}.{}", mistake.key), mistake.message));
        }
    }
}

/// `section.key: problem` or `key problem`, as the parts word it, into key and problem.
fn split(section: &str, text: &str) -> (String, String) {
    let end = text.find([' ', ':']).unwrap_or(text.len());
    let (key, problem) = text.split_at(end);
    let key = match key.starts_with(section) {
        true => key.to_owned(),
        false => format!("{section}.{key}"),
    };
    (key, problem.trim_start_matches([' ', ':']).to_owned())
}
