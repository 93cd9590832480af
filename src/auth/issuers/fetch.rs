//! Gets an issuer's keys over the network.
//!
//! Called by the keeper only. Asks the configured issuer and what its own metadata name, nobody else: no
//! token can make this server open a connection to an address. Refuses redirects, answers that are
//! large, metadata of another issuer, and plain http off the loopback.

use std::time::Duration;

use jsonwebtoken::Algorithm;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use serde::Deserialize;
use ultimate_mcp_actors::hex;

use super::jwks::{self, IssuerKey};
use crate::config::{IssuerOptions, is_issuer_url};

/// Largest answer that is read, in bytes; a set of four RSA-4096 keys with certificates has 20,000.
const ANSWER_BYTES_MAX: usize = 262_144;

/// Longest one request may take.
const REQUEST_MAX: Duration = Duration::from_secs(5);

/// What an issuer says about itself (OpenID Connect Discovery §3, RFC 8414 §2).
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

/// Keys and the digest of the document they stood in.
pub(super) struct Fetched {
    pub keys: Vec<IssuerKey>,
    pub digest: String,
}

/// A client for one issuer.
///
/// # Errors
/// TLS cannot be set up here.
pub(super) fn client() -> Result<Client, String> {
    let client = Client::builder().no_proxy().redirect(Policy::none()).timeout(REQUEST_MAX);
    client.build().map_err(|error| format!("no client for https: {error}"))
}

/// The keys the issuer publishes now.
///
/// # Errors
/// What was asked and what went wrong, for the operator.
pub(super) async fn keys(
    client: &Client,
    options: &IssuerOptions,
    allowed: &[Algorithm],
) -> Result<Fetched, String> {
    let uri = match &options.jwks_uri {
        Some(uri) => uri.clone(),
        None => discover(client, &options.issuer).await?,
    };
    let document = get(client, &uri).await?;
    let keys = jwks::parse(&document, allowed).map_err(|problem| format!("{uri}: {problem}"))?;
    Ok(Fetched { keys, digest: hex::sha256(&document) })
}

/// Where the issuer publishes its keys, by its metadata.
async fn discover(client: &Client, issuer: &str) -> Result<String, String> {
    let mut problems = Vec::new();
    for url in metadata_urls(issuer)? {
        let problem = match get(client, &url).await {
            Err(problem) => problem,
            Ok(document) => match serde_json::from_slice::<Metadata>(&document) {
                Err(_) => format!("{url}: no metadata with `issuer` and `jwks_uri`"),
                // OpenID Connect Discovery §4.3 and RFC 8414 §3.3: identical, character by character.
                Ok(found) if found.issuer != issuer => {
                    format!("{url}: these are the metadata of `{}`", printable(&found.issuer))
                }
                Ok(found) if !is_issuer_url(&found.jwks_uri) => {
                    format!("{url}: `jwks_uri` is neither https nor on the loopback")
                }
                Ok(found) => return Ok(found.jwks_uri),
            },
        };
        problems.push(problem);
    }
    Err(problems.join("; "))
}

/// OpenID Connect Discovery §4 appends the well-known part, RFC 8414 §3.1 inserts it before the path.
fn metadata_urls(issuer: &str) -> Result<[String; 2], String> {
    let url = Url::parse(issuer).map_err(|_| format!("`{issuer}` is no URL"))?;
    let (origin, path) = (url.origin().ascii_serialization(), url.path().trim_end_matches('/'));
    Ok([
        format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')),
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
    ])
}

/// The body of a 200.
async fn get(client: &Client, url: &str) -> Result<Vec<u8>, String> {
    let failed = |error: reqwest::Error| {
        let kind = if error.is_timeout() { "no answer in time" } else { "no answer" };
        format!("{url}: {kind}")
    };
    let request = client.get(url).header("accept", "application/json");
    let mut answer = request.send().await.map_err(failed)?;
    if answer.status() != 200 {
        return Err(format!("{url}: status {}", answer.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(failed)? {
        if body.len() + part.len() > ANSWER_BYTES_MAX {
            return Err(format!("{url}: more than {ANSWER_BYTES_MAX} bytes"));
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

/// Somebody else's text, fit for a log.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_are_looked_for_where_both_standards_put_them() {
        assert_eq!(
            metadata_urls("https://login.example.org/realms/a").unwrap(),
            [
                "https://login.example.org/realms/a/.well-known/openid-configuration",
                "https://login.example.org/.well-known/oauth-authorization-server/realms/a",
            ]
        );
    }
}
