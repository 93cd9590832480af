//! What the server offers beside tools: prompts, resources, completion. The product's side of
//! [`crate::mcp::Host`].
//!
//! Called by `host.rs` only. What a tool can do already goes through [`crate::tools_call`]; the rest through
//! [`reading`]. Both admit and record; there is no third way. Refuses nothing by itself.

mod artifacts;
mod catalogue;
mod changes;
mod completion;
mod content;
mod junit;
mod pages;
mod prompts;
mod reading;
mod target;

use ultimate_mcp_actors::deadline::Deadline;

use crate::auth::Caller;
use crate::origin::Origin;
use crate::state::AppState;

pub use catalogue::{resources, templates};
pub use changes::{may_watch, tell};
pub use completion::complete;
pub use content::read;
pub use prompts::{get as prompt, list as prompts};

/// Who asks, from where, on what, until when.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The engine.
    pub state: &'a AppState,
    /// Who asks.
    pub caller: &'a Caller,
    /// From where.
    pub origin: &'a Origin,
    /// Until when.
    pub deadline: Deadline,
}

impl Ask<'_> {
    /// Whether a role of the caller grants this; for lists.
    fn may(&self, permission: &str) -> bool {
        self.state.admission.admit_permission(self.caller, permission).is_ok()
    }
}
