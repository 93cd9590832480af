//! `auth.issuers`: what an operator says about another issuer, and what of it cannot be meant.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;

use super::{AuthOptions, KeyAlgorithm};
use crate::auth::is_role;

/// Longest name of an issuer, in bytes: it leads every id of its callers.
const NAME_BYTES_MAX: usize = 32;

/// One element of `auth.issuers`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerOptions {
    /// What leads the ids of its callers.
    pub name: String,
    /// `iss` of its tokens, exactly.
    pub issuer: String,
    /// `aud` of its tokens.
    pub audience: String,
    /// Where its keys are; `None` = as its metadata say.
    #[serde(default)]
    pub jwks_uri: Option<String>,
    /// What it may sign with; public keys only.
    pub algorithms: Vec<KeyAlgorithm>,
    /// The claim that is mapped to roles; a `/` leads into an object.
    #[serde(default = "roles_claim")]
    pub roles_claim: String,
    /// From values of that claim to roles of the policy.
    #[serde(default)]
    pub roles: BTreeMap<String, String>,
}

fn roles_claim() -> String {
    "roles".to_owned()
}

/// Whether an issuer or its keys may be at this URL: https, or http on this machine.
pub fn is_issuer_url(text: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(text) else { return false };
    let local = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
    let scheme = url.scheme() == "https" || url.scheme() == "http" && local;
    let bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    scheme && bare && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Key and problem of everything that is wrong with the issuers.
pub(super) fn mistakes(auth: &AuthOptions) -> Vec<(String, String)> {
    let mut findings = Vec::new();
    let (mut names, mut urls) = (HashSet::new(), HashSet::from([auth.issuer.as_str()]));
    for (index, issuer) in auth.issuers.iter().enumerate() {
        let mut find = |field: &str, problem: String| {
            findings.push((format!("auth.issuers[{index}].{field}"), problem));
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let length = (1..=NAME_BYTES_MAX).contains(&issuer.name.len());
        if !length || !issuer.name.bytes().all(plain) {
            find("name", format!("must be 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` or `.`"));
        }
        if !names.insert(&issuer.name) {
            find("name", format!("`{}` names another issuer already", issuer.name));
        }
        if !urls.insert(&issuer.issuer) {
            find("issuer", format!("`{}` is auth.issuer or listed already", issuer.issuer));
        }
        for (field, url) in
            [("issuer", Some(&issuer.issuer)), ("jwks_uri", issuer.jwks_uri.as_ref())]
        {
            if let Some(url) = url.filter(|url| !is_issuer_url(url)) {
                let problem = "is no https URL; http is for 127.0.0.1, [::1] and localhost only";
                find(field, format!("`{url}` {problem}"));
            }
        }
        if issuer.audience.is_empty() || issuer.audience.len() > 256 {
            find(
                "audience",
                "must be 1 to 256 bytes: what the issuer calls this server".to_owned(),
            );
        }
        if issuer.algorithms.is_empty() {
            find("algorithms", "must name one, e.g. [\"RS256\"]".to_owned());
        }
        if let Some(shared) = issuer.algorithms.iter().find(|algorithm| algorithm.is_hmac()) {
            let problem = "needs a shared secret, and published keys are none: use auth.keys";
            find("algorithms", format!("{shared:?} {problem}"));
        }
        if let Some(role) = issuer.roles.values().find(|role| !is_role(role)) {
            find("roles", format!("`{role}` cannot be the name of a role"));
        }
    }
    findings
}
