//! The retry budget: a share of all calls, whoever makes them (Finagle's `RetryBudget`). Owned by a
//! dependency. Without it three attempts per call triple the load on whatever fails under its load.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::options::RetryOptions;

/// Retries saved up are worth this many seconds of `budget_per_second`, or this many in any case.
const SAVED_SECONDS: f64 = 10.0;
const SAVED_MIN: f64 = 10.0;

#[derive(Debug)]
struct State {
    tokens: f64,
    filled_at: Instant,
}

#[derive(Debug)]
pub(super) struct Budget {
    per_call: f64,
    per_second: f64,
    most: f64,
    state: Mutex<State>,
}

impl Budget {
    pub(super) fn new(options: &RetryOptions) -> Self {
        let per_second = f64::from(options.budget_per_second);
        Self {
            per_call: f64::from(options.budget_percent) / 100.0,
            per_second,
            most: (per_second * SAVED_SECONDS).max(SAVED_MIN),
            state: Mutex::new(State { tokens: per_second, filled_at: Instant::now() }),
        }
    }

    /// A call begins: it pays in.
    pub(super) fn deposit(&self) {
        self.with(|tokens| *tokens += self.per_call);
    }

    /// Whether one more retry is affordable; takes it.
    pub(super) fn withdraw(&self) -> bool {
        self.with(|tokens| {
            let enough = *tokens >= 1.0;
            if enough {
                *tokens -= 1.0;
            }
            enough
        })
    }

    fn with<R>(&self, change: impl FnOnce(&mut f64) -> R) -> R {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let seconds = now.duration_since(state.filled_at).as_secs_f64();
        state.tokens = (state.tokens + seconds * self.per_second).min(self.most);
        state.filled_at = now;
        let answer = change(&mut state.tokens);
        state.tokens = state.tokens.min(self.most);
        answer
    }
}
