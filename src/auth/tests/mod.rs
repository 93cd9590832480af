//! What authentication promises. `forge` makes tokens the way an attacker or another issuer would.

mod attacks;
mod claims;
mod forge;
mod issuing;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use ultimate_mcp_actors::ids::CallerId;

use super::*;
use crate::config::{AuthOptions, Inputs, KeyAlgorithm, KeyOptions, load};

/// The tests' "now": 2030-01-01, so that no test depends on the machine's clock.
const NOW: i64 = 1_893_456_000;

/// A snapshot under the test's control: roles are taken from the token, revocations from here.
#[derive(Default)]
struct Stub {
    tokens: Mutex<HashSet<String>>,
    users_before: Mutex<Option<i64>>,
}

impl Standing for Stub {
    fn is_revoked(&self, jti: Option<&str>, _: &CallerId, iat: i64) -> bool {
        jti.is_some_and(|jti| self.tokens.lock().unwrap().contains(jti))
            || self.users_before.lock().unwrap().is_some_and(|before| iat <= before)
    }

    fn effective_roles(&self, _: &CallerId, token_roles: &[String]) -> Arc<[String]> {
        token_roles.into()
    }
}

struct Bench {
    authenticator: Authenticator,
    standing: Stub,
    now: Arc<AtomicI64>,
}

impl Bench {
    /// An authenticator with these keys and a clock the test moves.
    fn new(keys: Vec<KeyOptions>) -> Self {
        let options = AuthOptions { keys, ..options() };
        let ring = KeyRing::configured(&options).unwrap();
        let now = Arc::new(AtomicI64::new(NOW));
        let clock = Arc::clone(&now);
        let clock = Arc::new(move || clock.load(Ordering::Relaxed));
        let authenticator = Authenticator::with_clock(options, ring, clock);
        Self { authenticator, standing: Stub::default(), now }
    }

    fn verify(&self, token: &str) -> Result<Caller, AuthError> {
        self.authenticator.verify(token, &self.standing)
    }

    fn wait(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::Relaxed);
    }
}

fn options() -> AuthOptions {
    static DEFAULTS: LazyLock<AuthOptions> =
        LazyLock::new(|| load(&Inputs::default()).unwrap().config.auth);
    DEFAULTS.clone()
}

fn secret_key(kid: &str, algorithm: KeyAlgorithm, secret: &[u8]) -> KeyOptions {
    let secret = String::from_utf8(secret.to_vec()).unwrap();
    KeyOptions {
        kid: kid.to_owned(),
        algorithm,
        secret: Some(secret.into()),
        secret_file: None,
        public_key_file: None,
    }
}

fn public_key(kid: &str, algorithm: KeyAlgorithm, file: PathBuf) -> KeyOptions {
    KeyOptions {
        kid: kid.to_owned(),
        algorithm,
        secret: None,
        secret_file: None,
        public_key_file: Some(file),
    }
}
