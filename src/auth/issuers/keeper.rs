//! Keeps the keys of one issuer fresh, for as long as the server runs.
//!
//! Started once per configured issuer. Fetches at once, then every `auth.issuer_refresh_seconds`, sooner
//! when a token names a key nobody knows, and with growing pauses while the issuer does not answer. What
//! was fetched last stays in use meanwhile; how long, [`Issuer`] decides.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::{Issuer, fetch};

/// Longest pause between two attempts while the issuer is away.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Fetches keys again and again; never returns unless this machine cannot speak https at all.
pub async fn keep(issuer: Arc<Issuer>) {
    let client = match fetch::client() {
        Ok(client) => client,
        Err(problem) => return issuer.fetch_failed(problem),
    };
    let mut failures = 0;
    loop {
        let fetching = fetch::keys(&client, issuer.options(), issuer.algorithms());
        // Whatever an issuer sends, its keys are asked for again.
        let fetched = AssertUnwindSafe(fetching).catch_unwind().await;
        let fetched = fetched.unwrap_or_else(|_| Err("its answer could not be read".to_owned()));
        let pause = match fetched {
            Ok(fetched) => {
                failures = 0;
                issuer.install(fetched.keys, &fetched.digest, chrono::Utc::now().timestamp());
                issuer.refresh()
            }
            Err(problem) => {
                tracing::warn!(issuer = issuer.name(), problem, "issuer.keys_not_fetched");
                failures += 1;
                issuer.fetch_failed(problem);
                retry_pause(failures).min(issuer.refresh())
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = issuer.asked() => {}
        }
    }
}

/// 1, 2, 4, … seconds.
fn retry_pause(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.saturating_sub(1).min(10)).min(RETRY_PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_while_the_issuer_is_away_up_to_a_limit() {
        let pauses: Vec<u64> = [1, 2, 3, 4, 9, u32::MAX].map(|n| retry_pause(n).as_secs()).into();
        assert_eq!(pauses, [1, 2, 4, 8, 30, 30]);
    }
}
