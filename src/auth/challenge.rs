//! `WWW-Authenticate`: how a client gets in (RFC 6750 §3, RFC 9728 §5.1, MCP authorization).
//!
//! The HTTP border puts these on 401 and 403 answers. One challenge names every permission the
//! operation needs, so that a client steps up once and not piecemeal.

use super::AuthError;

/// The challenge of a 401.
///
/// `metadata_url` is the protected-resource metadata document; `scopes` are the permissions the
/// operation needs, empty when unknown. Without credentials in the request no error is named.
pub fn unauthorized(metadata_url: &str, scopes: &[String], error: &AuthError) -> String {
    let mut text = String::from("Bearer ");
    match error {
        AuthError::BadHeader(_) => push(&mut text, "error", "invalid_request"),
        error if error.presented() => push(&mut text, "error", "invalid_token"),
        _ => {}
    }
    if error.presented() {
        push(&mut text, "error_description", &error.public());
    }
    finish(text, metadata_url, scopes)
}

/// The challenge of a 403: `scopes` are all permissions the operation needs.
pub fn insufficient_scope(metadata_url: &str, scopes: &[String]) -> String {
    let mut text = String::from("Bearer ");
    push(&mut text, "error", "insufficient_scope");
    push(&mut text, "error_description", "the caller's roles lack a permission");
    finish(text, metadata_url, scopes)
}

fn finish(mut text: String, metadata_url: &str, scopes: &[String]) -> String {
    if !scopes.is_empty() {
        push(&mut text, "scope", &scopes.join(" "));
    }
    push(&mut text, "resource_metadata", metadata_url);
    text
}

/// Adds `name="value"`; keeps only what a quoted string may hold (RFC 6750 §3: no `"`, no `\`, ASCII).
fn push(text: &mut String, name: &str, value: &str) {
    if !text.ends_with(' ') {
        text.push_str(", ");
    }
    let clean = |c: &char| (' '..='~').contains(c) && *c != '"' && *c != '\\';
    text.push_str(name);
    text.push_str("=\"");
    text.extend(value.chars().filter(clean));
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "http://127.0.0.1:8484/.well-known/oauth-protected-resource/mcp";

    #[test]
    fn without_credentials_the_challenge_names_no_error() {
        let text = unauthorized(URL, &["tools:read".to_owned()], &AuthError::Missing);
        assert_eq!(text, format!("Bearer scope=\"tools:read\", resource_metadata=\"{URL}\""));
    }

    #[test]
    fn an_expired_token_is_called_invalid_and_why() {
        let text = unauthorized(URL, &[], &AuthError::Expired { seconds_ago: 5 });
        assert!(
            text.starts_with("Bearer error=\"invalid_token\", error_description=\"the token has")
        );
    }

    #[test]
    fn all_missing_permissions_are_in_one_challenge() {
        let text = insufficient_scope(URL, &["a:b".to_owned(), "c:d".to_owned()]);
        assert!(
            text.contains("error=\"insufficient_scope\"") && text.contains("scope=\"a:b c:d\"")
        );
    }

    #[test]
    fn nothing_breaks_out_of_the_quotes() {
        let text = insufficient_scope("x\"\r\nSet-Cookie: a\\", &[]);
        assert!(text.ends_with("resource_metadata=\"xSet-Cookie: a\""), "{text}");
    }
}
