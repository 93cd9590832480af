//! What this host can isolate, each missing thing with its remedy. Shown by `doctor` and by readiness.
//!
//! The answers come from a real launcher that tried each thing; nothing is inferred from being root.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use serde::{Deserialize, Serialize};

use crate::client::start;
use crate::error::CellError;
use crate::options::LauncherOptions;
use crate::spec::Isolation;
use crate::wire::message::{Event, Request};
use crate::wire::socket;

/// How long a launcher may take to try everything. Measured: 20–60 ms.
pub(crate) const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// One thing the cell builds on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    /// What it is.
    pub name: String,
    /// Whether it works here, found by trying.
    pub available: bool,
    /// Whether nothing may run without it.
    pub needed: bool,
    /// What was seen.
    pub detail: String,
    /// How to get it; empty when it is there.
    pub remedy: String,
}

/// The whole answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellCapabilities {
    /// Each thing the cell builds on.
    pub items: Vec<Capability>,
    /// Every limit of a run is enforced by the kernel for the whole tree.
    pub hard_limits: bool,
    /// Code can be isolated here (with best-effort limits when `hard_limits` is false).
    pub can_isolate: bool,
    /// What reports will say about the confinement.
    pub isolation: Isolation,
}

impl CellCapabilities {
    /// The answer where no launcher could be asked.
    pub fn unknown(detail: &str) -> Self {
        let launcher = Capability {
            name: "launcher".to_owned(),
            available: false,
            needed: true,
            detail: detail.to_owned(),
            remedy: "see the log of the server".to_owned(),
        };
        let isolation =
            Isolation { class: "none".to_owned(), hard_limits: false, degraded: Vec::new() };
        Self { items: vec![launcher], hard_limits: false, can_isolate: false, isolation }
    }

    /// Each missing thing with its remedy, one line each; empty when nothing is missing.
    pub fn missing(&self) -> Vec<String> {
        let missing = self.items.iter().filter(|item| !item.available);
        missing.map(|item| format!("{}: {} ({})", item.name, item.detail, item.remedy)).collect()
    }

    /// Why nothing can be isolated, in one line; `None` when it can.
    pub fn obstacle(&self) -> Option<String> {
        if self.can_isolate {
            return None;
        }
        let missing = self.items.iter().filter(|item| item.needed && !item.available);
        let lines: Vec<String> = missing
            .map(|item| format!("{}: {} ({})", item.name, item.detail, item.remedy))
            .collect();
        Some(if lines.is_empty() { "the trial run failed".to_owned() } else { lines.join("; ") })
    }

    /// Why a run is refused under these options, if it is.
    pub(crate) fn refusal(&self, allow_degraded: bool) -> Option<String> {
        if let Some(obstacle) = self.obstacle() {
            return Some(obstacle);
        }
        if self.hard_limits || allow_degraded {
            return None;
        }
        Some(format!(
            "limits would be best effort only ({}); set cell.allow_degraded = true to accept that",
            self.isolation.degraded.join("; ")
        ))
    }
}

/// Starts a launcher, lets it try everything, and ends it. Blocks for some ten milliseconds.
///
/// # Errors
/// [`CellError::Start`] when the launcher cannot be started or does not answer.
pub fn capabilities(options: &LauncherOptions) -> Result<CellCapabilities, CellError> {
    let (ours, mut child) = start::spawn(options, Stdio::inherit())?;
    let answer = handshake(&ours, options);
    drop(ours);
    // The launcher leaves when its socket closes.
    let _ = child.wait();
    answer
}

fn handshake(
    socket: &std::os::fd::OwnedFd,
    options: &LauncherOptions,
) -> Result<CellCapabilities, CellError> {
    let options = serde_json::to_vec(options).map_err(|e| CellError::Start(e.to_string()))?;
    socket::send(socket, &Request::Hello { options }.encode(), &[])?;
    let until = Instant::now() + READY_TIMEOUT;
    let left = until.saturating_duration_since(Instant::now());
    let span = rustix::event::Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(10),
        tv_nsec: left.subsec_nanos().into(),
    };
    let ready = poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&span))?;
    if ready == 0 {
        return Err(CellError::Start("it did not answer in time".to_owned()));
    }
    let mut buffer = socket::buffer();
    let Some((len, _)) = socket::receive(socket, &mut buffer)? else {
        return Err(CellError::Start("it ended before it was ready".to_owned()));
    };
    parse_ready(&buffer[..len])
}

/// The capabilities in the launcher's first message.
pub(crate) fn parse_ready(bytes: &[u8]) -> Result<CellCapabilities, CellError> {
    match Event::decode(bytes) {
        Ok(Event::Ready { capabilities }) => serde_json::from_slice(&capabilities)
            .map_err(|error| CellError::Start(format!("its answer is unreadable: {error}"))),
        Ok(_) | Err(_) => Err(CellError::Start("its first answer is not a greeting".to_owned())),
    }
}
