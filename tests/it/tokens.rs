//! Tokens no server would issue: signed with the instance's own key, saying whatever a test needs.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use crate::app::TestApp;

/// Makes tokens with the key that a server keeps in its data directory.
pub struct Mint {
    key: EncodingKey,
    kid: Option<String>,
}

impl Mint {
    /// The mint of this server.
    pub fn of(app: &TestApp) -> Self {
        let text = std::fs::read_to_string(app.data.path().join("keys/token.key")).unwrap();
        let key = EncodingKey::from_secret(&STANDARD.decode(text.trim()).unwrap());
        let genuine = app.token("mint", "viewer");
        Self { key, kid: jsonwebtoken::decode_header(&genuine).unwrap().kid }
    }

    /// The mint of servers that are configured with this secret.
    pub fn with_secret(secret: &[u8], kid: &str) -> Self {
        Self { key: EncodingKey::from_secret(secret), kid: Some(kid.to_owned()) }
    }

    /// A token as the server itself would issue it.
    pub fn token(&self, sub: &str, roles: &[&str]) -> String {
        self.sign(&claims(sub, roles))
    }

    /// A token with exactly these claims.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with(claims, &self.key)
    }

    /// The same claims under the same key's name, signed with another key.
    pub fn forge(&self, claims: &Value) -> String {
        self.sign_with(claims, &EncodingKey::from_secret(&[7; 32]))
    }

    /// The same claims with no signature and the algorithm `none`.
    pub fn unsigned(&self, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.", part(&json!({ "alg": "none", "kid": self.kid })), part(claims))
    }

    fn sign_with(&self, claims: &Value, key: &EncodingKey) -> String {
        let header = Header { kid: self.kid.clone(), ..Header::default() };
        jsonwebtoken::encode(&header, claims, key).unwrap()
    }
}

/// Claims of a good token of one hour that can be refreshed.
pub fn claims(sub: &str, roles: &[&str]) -> Value {
    let now = chrono::Utc::now().timestamp();
    json!({
        "sub": sub,
        "roles": roles,
        "iat": now,
        "exp": now + 3600,
        "refresh_until": now + 3600,
        "iss": "ultimate-mcp",
        "aud": "ultimate-mcp",
        "jti": uuid::Uuid::new_v4(),
    })
}
