//! `requestState`: what the asker wants to remember, in the hands of a client that can neither read nor change it.
//!
//! AES-256-GCM over the time of sealing and the state, bound to caller, method, what is called and its arguments
//! (MCP 2026-07-28: bind the principal, an expiry, a digest of method and salient parameters). Each is accepted
//! once, within [`LIFE`]: by this node, and by all that share its key when they share [`SharedUses`]. Every refusal
//! looks the same.
//!
//! Layout, in Base64 (URL alphabet): nonce (12, random) · ciphertext of seconds since the epoch (8) and state · tag (16).

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;
use ultimate_mcp_actors::deadline::Deadline;

use crate::error::ApiError;

/// How long a person may take to answer.
pub const LIFE: Duration = Duration::from_secs(600);
/// States that were used and could be shown again, at most; beyond that none is accepted until some expire.
const USED_MAX: usize = 65_536;
const TIME_BYTES: usize = 8;

type Ticket = [u8; NONCE_LEN];

/// What a state is bound to.
#[derive(Clone, Copy, Debug)]
pub struct Bound<'a> {
    /// Who calls.
    pub caller: &'a str,
    /// The method.
    pub method: &'a str,
    /// The tool, prompt or resource.
    pub name: &'a str,
    /// The arguments, as JSON with sorted members.
    pub arguments: &'a str,
}

impl Bound<'_> {
    fn digest(&self) -> Vec<u8> {
        let mut context = Context::new(&SHA256);
        for part in [self.caller, self.method, self.name, self.arguments] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        context.finish().as_ref().to_vec()
    }
}

/// Where nodes that accept each other's states tell each other which were used.
pub trait SharedUses: Send + Sync {
    /// Uses a state up for as long as it could come back; false when that was done before, here or elsewhere.
    ///
    /// # Errors
    /// Nobody can say. It may be asked again, under the same name, by the same process.
    fn use_up<'a>(
        &'a self,
        ticket: &'a str,
        life: Duration,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<bool, ApiError>>;
}

/// Seals states, and remembers which were used.
pub struct Sealer {
    key: LessSafeKey,
    used: Arc<Mutex<Used>>,
    shared: Option<Arc<dyn SharedUses>>,
}

/// What an asker wanted to remember. What came back with a call is used up when it is read: a call that is turned
/// away before that costs nobody his word.
#[derive(Debug)]
pub struct Remembered {
    text: String,
    /// `None` for what never left this process.
    once: Option<Once>,
}

struct Once {
    used: Arc<Mutex<Used>>,
    shared: Option<Arc<dyn SharedUses>>,
    ticket: Ticket,
    expires_at: u64,
    /// Whether this is the call that it counts for; known once it was read.
    counts: OnceCell<bool>,
}

impl std::fmt::Debug for Once {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Once").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl Remembered {
    /// What stayed here while somebody was asked.
    pub fn here(text: String) -> Self {
        Self { text, once: None }
    }

    /// The text; `None` when another call has read it meanwhile.
    ///
    /// # Errors
    /// Whether one has is not known: the other nodes cannot be asked. The state can come back.
    pub async fn read(&self, deadline: Deadline) -> Result<Option<&str>, ApiError> {
        let Some(once) = &self.once else { return Ok(Some(&self.text)) };
        let counts = once.counts.get_or_try_init(|| once.use_up(deadline)).await?;
        Ok(counts.then_some(self.text.as_str()))
    }
}

impl Once {
    /// Here first: of two calls on this node only one asks the others.
    async fn use_up(&self, deadline: Deadline) -> Result<bool, ApiError> {
        if !lock(&self.used).use_up(self.ticket, self.expires_at) {
            return Ok(false);
        }
        let Some(shared) = &self.shared else { return Ok(true) };
        let ticket = URL_SAFE_NO_PAD.encode(self.ticket);
        let said = shared.use_up(&ticket, LIFE, deadline).await;
        if said.is_err() {
            lock(&self.used).give_back(&self.ticket);
        }
        said
    }
}

fn lock(used: &Mutex<Used>) -> MutexGuard<'_, Used> {
    used.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct Used {
    known: HashSet<Ticket>,
    /// The same, the first to expire in front, with the second at which each does.
    by_expiry: VecDeque<(u64, Ticket)>,
}

/// Not sealed here, for this call, within its life; or used before.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused;

impl Sealer {
    /// Under this key; nodes that are to accept each other's states share it.
    pub fn new(key: &[u8; 32]) -> Option<Self> {
        let key = UnboundKey::new(&AES_256_GCM, key).ok()?;
        Some(Self { key: LessSafeKey::new(key), used: Arc::default(), shared: None })
    }

    /// What was used on another node is refused here.
    #[must_use]
    pub fn once_among_nodes(self, shared: Arc<dyn SharedUses>) -> Self {
        Self { shared: Some(shared), ..self }
    }

    /// Under a key that nobody else has and that ends with this process.
    pub fn of_this_process() -> Option<Self> {
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).ok()?;
        Self::new(&key)
    }

    /// Seals a state; `None` when the system has no randomness.
    pub fn seal(&self, bound: &Bound<'_>, state: &str, now_s: u64) -> Option<String> {
        let mut ticket = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut ticket).ok()?;
        let mut body = [&now_s.to_be_bytes()[..], state.as_bytes()].concat();
        let nonce = Nonce::assume_unique_for_key(ticket);
        self.key.seal_in_place_append_tag(nonce, Aad::from(bound.digest()), &mut body).ok()?;
        Some(URL_SAFE_NO_PAD.encode([&ticket[..], &body].concat()))
    }

    /// Opens a state that was not used yet.
    ///
    /// # Errors
    /// The same for whatever is wrong with it.
    pub fn open(&self, bound: &Bound<'_>, sealed: &str, now_s: u64) -> Result<Remembered, Refused> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| Refused)?;
        let (ticket, body) = bytes.split_first_chunk::<NONCE_LEN>().ok_or(Refused)?;
        let mut body = body.to_vec();
        let nonce = Nonce::assume_unique_for_key(*ticket);
        let plain = self.key.open_in_place(nonce, Aad::from(bound.digest()), &mut body);
        let plain = plain.map_err(|_| Refused)?;
        let (sealed_at, state) = plain.split_first_chunk::<TIME_BYTES>().ok_or(Refused)?;
        let expires_at = u64::from_be_bytes(*sealed_at).saturating_add(LIFE.as_secs());
        let text = std::str::from_utf8(state).map_err(|_| Refused)?.to_owned();
        // One from the future was sealed by a clock that was ahead: it expires all the same.
        if now_s >= expires_at || !lock(&self.used).is_free(ticket, now_s) {
            return Err(Refused);
        }
        let (used, shared) = (Arc::clone(&self.used), self.shared.clone());
        let (ticket, counts) = (*ticket, OnceCell::new());
        Ok(Remembered { text, once: Some(Once { used, shared, ticket, expires_at, counts }) })
    }
}

impl Used {
    /// Whether this one can still be used; forgets those that have expired.
    fn is_free(&mut self, ticket: &Ticket, now_s: u64) -> bool {
        while let Some((expiry, first)) = self.by_expiry.front().copied() {
            if expiry > now_s {
                break;
            }
            self.by_expiry.pop_front();
            self.known.remove(&first);
        }
        !self.known.contains(ticket)
    }

    fn use_up(&mut self, ticket: Ticket, expires_at: u64) -> bool {
        if self.known.len() >= USED_MAX || !self.known.insert(ticket) {
            return false;
        }
        let at = self.by_expiry.partition_point(|(expiry, _)| *expiry <= expires_at);
        self.by_expiry.insert(at, (expires_at, ticket));
        true
    }

    fn give_back(&mut self, ticket: &Ticket) {
        self.known.remove(ticket);
        self.by_expiry.retain(|(_, known)| known != ticket);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn bound<'a>() -> Bound<'a> {
        Bound { caller: "ada", method: "tools/call", name: "graph_delete", arguments: "{}" }
    }

    fn sealer() -> Sealer {
        Sealer::new(&[7; 32]).unwrap()
    }

    async fn read(remembered: &Remembered) -> Option<&str> {
        remembered.read(Deadline::after(Duration::from_secs(5))).await.unwrap()
    }

    #[tokio::test]
    async fn a_state_comes_back_once_to_the_same_caller_call_and_arguments_within_its_life() {
        let sealer = sealer();
        let sealed = sealer.seal(&bound(), "remember", NOW).unwrap();
        let others = [
            Bound { caller: "eve", ..bound() },
            Bound { method: "prompts/get", ..bound() },
            Bound { name: "graph_upsert", ..bound() },
            Bound { arguments: r#"{"detach":true}"#, ..bound() },
            // The same bytes, cut elsewhere.
            Bound { method: "tools/callgraph_", name: "delete", ..bound() },
        ];
        for other in others {
            assert!(sealer.open(&other, &sealed, NOW).is_err(), "{other:?}");
        }
        assert!(sealer.open(&bound(), &sealed, NOW + LIFE.as_secs()).is_err(), "late");
        // Opened and not read, it is not used up; of two that are read the first counts.
        let again = [0, 1, 2].map(|_| sealer.open(&bound(), &sealed, NOW + 1).unwrap());
        assert_eq!([read(&again[1]).await, read(&again[1]).await], [Some("remember"); 2]);
        assert_eq!([read(&again[0]).await, read(&again[2]).await], [None; 2]);
        assert!(sealer.open(&bound(), &sealed, NOW + 1).is_err(), "used");
        let elsewhere = Sealer::new(&[8; 32]).unwrap();
        let sealed = sealer.seal(&bound(), "remember", NOW).unwrap();
        assert!(elsewhere.open(&bound(), &sealed, NOW).is_err(), "another key");
    }

    /// What several nodes know together, when it can be asked.
    #[derive(Default)]
    struct Board(Mutex<(HashSet<String>, bool)>);

    impl SharedUses for Board {
        fn use_up<'a>(
            &'a self,
            ticket: &'a str,
            _: Duration,
            _: Deadline,
        ) -> BoxFuture<'a, Result<bool, ApiError>> {
            let mut board = self.0.lock().unwrap();
            let said = match board.1 {
                true => Err(ApiError::new(crate::error::Code::Unavailable, "away")),
                false => Ok(board.0.insert(ticket.to_owned())),
            };
            Box::pin(async { said })
        }
    }

    #[tokio::test]
    async fn a_state_used_on_one_node_is_used_on_all_and_an_outage_uses_none_up() {
        let board = Arc::new(Board::default());
        let [one, two] =
            [(); 2].map(|()| sealer().once_among_nodes(Arc::<Board>::clone(&board) as _));
        let sealed = one.seal(&bound(), "remember", NOW).unwrap();
        board.0.lock().unwrap().1 = true;
        for node in [&one, &two] {
            let opened = node.open(&bound(), &sealed, NOW).unwrap();
            assert!(opened.read(Deadline::after(LIFE)).await.is_err());
        }
        board.0.lock().unwrap().1 = false;
        let [here, there] = [&one, &two].map(|node| node.open(&bound(), &sealed, NOW).unwrap());
        assert_eq!((read(&there).await, read(&here).await), (Some("remember"), None));
        for node in [&one, &two] {
            assert!(node.open(&bound(), &sealed, NOW).is_err(), "used");
        }
    }

    #[tokio::test]
    async fn used_states_are_forgotten_when_they_would_be_refused_anyway() {
        let sealer = sealer();
        for age in 0..3_000 {
            let now = NOW + age;
            let sealed = sealer.seal(&bound(), "", now).unwrap();
            read(&sealer.open(&bound(), &sealed, now).unwrap()).await.unwrap();
        }
        let used = sealer.used.lock().unwrap();
        assert_eq!((used.known.len(), used.by_expiry.len()), (600, 600));
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_refused(bit in 0_usize..(12 + 8 + 5 + 16) * 8) {
            let sealer = sealer();
            let sealed = sealer.seal(&bound(), "state", NOW).unwrap();
            let mut bytes = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let forged = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert!(sealer.open(&bound(), &forged, NOW).is_err());
            prop_assert!(sealer.open(&bound(), &sealed, NOW).is_ok(), "a guess uses nothing up");
        }

        #[test]
        fn whatever_a_client_makes_up_is_refused(text in ".{0,200}", bytes in any::<Vec<u8>>()) {
            let sealer = sealer();
            prop_assert!(sealer.open(&bound(), &text, NOW).is_err());
            let encoded = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert!(sealer.open(&bound(), &encoded, NOW).is_err());
        }
    }
}
