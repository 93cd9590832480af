//! What a session subscribed to (`resources/subscribe`, 2025 revisions), as its stream or socket serves it.
//!
//! The session keeps the URIs ([`super::live::LiveSessions`]); its open stream watches them and says what
//! it hears. A session without a stream watches nothing: there is nobody to tell.

use serde_json::json;
use ultimate_mcp_actors::ids::SessionId;

use super::hub::{Change, Heard, Hub, ListChanged};
use super::live::LiveSessions;
use super::notify;
use super::watched::Watched;

/// The watch of one open stream.
#[derive(Default)]
pub struct SessionWatch {
    /// The state of the subscriptions that is watched.
    version: u64,
    held: Vec<Watched>,
}

impl SessionWatch {
    /// Watches what the session is subscribed to now. What is beyond the caller's limit is not watched.
    pub fn follow(&mut self, hub: &Hub, live: &LiveSessions, caller: &str, session: &SessionId) {
        let Some((version, uris)) = live.subscriptions(session, self.version) else { return };
        self.version = version;
        let held = uris.iter().filter_map(|uri| hub.watch(caller, uri).ok()).collect();
        // The new ones are taken before the old ones go, so that what stays is never forgotten.
        self.held = held;
    }
}

/// Says to the session what its stream heard.
pub fn say(live: &LiveSessions, session: &SessionId, heard: &Heard) {
    match heard {
        Heard::Change(Change::List(list)) => list_changed(live, session, *list),
        Heard::Change(Change::ResourceUpdated(uri)) => {
            if live.is_subscribed(session, uri) {
                updated(live, session, uri);
            }
        }
        Heard::Missed => {
            ListChanged::ALL.into_iter().for_each(|list| list_changed(live, session, list));
            let all = live.subscriptions(session, u64::MAX);
            let uris = all.map(|(_, uris)| uris).unwrap_or_default();
            uris.iter().for_each(|uri| updated(live, session, uri));
        }
        Heard::Closing => {}
    }
}

/// Says that a list changed.
pub fn list_changed(live: &LiveSessions, session: &SessionId, list: ListChanged) {
    let message = notify::notification(list.method(), serde_json::Map::new());
    live.send(session, &message.unwrap_or_default());
}

fn updated(live: &LiveSessions, session: &SessionId, uri: &str) {
    let message = notify::notification("notifications/resources/updated", json!({ "uri": uri }));
    live.send(session, &message.unwrap_or_default());
}
