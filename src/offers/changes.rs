//! Which resources change, and telling the streams that want to hear of it.
//!
//! [`tell`] looks at the jobs that are watched, and at no others: when some job moved on this node, and every
//! two seconds for those of other nodes. A run and its test report change with each event of their job;
//! callers are told of their own jobs only. The other resources never change, or nobody knows when they do.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use ultimate_mcp_actors::ids::CallerId;

use super::target::Target;
use crate::auth::Caller;
use crate::mcp::Wish;
use crate::state::AppState;

/// Longest time between two looks.
const LOOK: Duration = Duration::from_secs(2);
/// Shortest time between two looks, however much happens to other jobs.
const PAUSE: Duration = Duration::from_millis(200);

/// Whether the URI can name something that this caller may read.
pub fn may_watch(state: &AppState, caller: &Caller, uri: &str) -> bool {
    let may = |permission| state.admission.admit_permission(caller, permission).is_ok();
    Target::parse(uri).is_some_and(|target| may(target.permission()))
}

/// What was seen of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    events: u64,
    /// It can only be replayed now, which is not looked for.
    is_final: bool,
}

/// Tells until it is dropped.
pub async fn tell(state: Arc<AppState>) {
    let mut seen: HashMap<Wish, Seen> = HashMap::new();
    loop {
        state.engine.jobs.moved(LOOK).await;
        let watched = state.hub.watched();
        seen.retain(|wish, _| watched.contains_key(wish));
        for (wish, since_ms) in watched {
            let before = seen.get(&wish).copied();
            if before.is_some_and(|before| before.is_final) {
                continue;
            }
            let Some((now, last_at_ms)) = look(&state, &wish).await else { continue };
            if is_news(before, now, last_at_ms >= since_ms) {
                state.hub.resource_updated_for(&wish);
            }
            seen.insert(wish, now);
        }
        sleep(PAUSE).await;
    }
}

/// At the first look, what happened since the wish; later, anything that happened since.
fn is_news(before: Option<Seen>, now: Seen, is_after_wish: bool) -> bool {
    before.map_or(is_after_wish, |before| before != now)
}

/// How a job stands and when something happened to it last; `None` for what is no job of this caller. A
/// store that cannot be asked now is asked at the next look.
async fn look(state: &AppState, wish: &Wish) -> Option<(Seen, i64)> {
    let id = match Target::parse(&wish.uri)? {
        Target::Run(id) | Target::TestReport(id) => id,
        _ => return None,
    };
    let owner = CallerId::parse(&wish.caller).ok()?;
    let view = state.engine.jobs.get(id.into(), Some(&owner)).await.ok()??;
    let status = &view.job.status;
    let seen = Seen { events: status.event_count, is_final: status.state.is_final() };
    Some((seen, status.events.last().map_or(0, |event| event.at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_and_what_was_before_the_wish_is_not() {
        let (queued, ended) =
            (Seen { events: 1, is_final: false }, Seen { events: 3, is_final: true });
        assert!(!is_news(None, queued, false));
        assert!(is_news(None, ended, true), "it ended between the wish and the first look");
        assert!(!is_news(Some(queued), queued, true));
        assert!(is_news(Some(queued), ended, true));
    }
}
