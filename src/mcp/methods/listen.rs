//! `subscriptions/listen` (2026-07-28): a stream of changes, of the kinds that were asked for and exist.
//!
//! First the acknowledgement with what was accepted, then notifications, at the server's stop the
//! response. Nothing survives the stream; the client that hangs up ends it. Refuses more URIs than the
//! cap, and what is no filter.

use std::collections::HashSet;
use std::collections::VecDeque;

use actix_web::http::header::HeaderMap;
use futures_util::StreamExt;
use futures_util::stream::{LocalBoxStream, SelectAll, unfold};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::discover::LISTENABLE;
use crate::error::Code;
use crate::mcp::endpoint::Exchange;
use crate::mcp::failure::Failure;
use crate::mcp::hub::{Change, Heard, ListChanged};
use crate::mcp::meta::Meta;
use crate::mcp::params::Params;
use crate::mcp::respond::Reply;
use crate::mcp::revision::Revision;
use crate::mcp::stream::Part;
use crate::mcp::task::{Task, TaskView};
use crate::mcp::watch::{Tick, Watch};
use crate::mcp::wire::{self, object};
use crate::mcp::{Host, Watched, notify};

/// Most resources one stream watches.
const URIS_MAX: usize = 256;
/// Longest URI, in bytes.
const URI_BYTES_MAX: usize = 2048;
/// Most tasks one stream follows.
const TASKS_MAX: usize = 64;

/// What a client asks for, or is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Filter {
    #[serde(skip_serializing_if = "is_false")]
    pub tools_list_changed: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub prompts_list_changed: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub resources_list_changed: bool,
    #[serde(skip_serializing_if = "HashSet::is_empty")]
    pub resource_subscriptions: HashSet<String>,
    #[serde(skip_serializing_if = "HashSet::is_empty")]
    pub task_ids: HashSet<String>,
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Filter {
    /// What of it there is here.
    fn accepted(self) -> Self {
        Self {
            tools_list_changed: self.tools_list_changed && LISTENABLE.tools,
            prompts_list_changed: self.prompts_list_changed && LISTENABLE.prompts,
            resources_list_changed: self.resources_list_changed && LISTENABLE.resources,
            resource_subscriptions: self.resource_subscriptions,
            task_ids: self.task_ids,
        }
    }

    fn wants(&self, list: ListChanged) -> bool {
        match list {
            ListChanged::Tools => self.tools_list_changed,
            ListChanged::Prompts => self.prompts_list_changed,
            ListChanged::Resources => self.resources_list_changed,
        }
    }
}

/// Opens the stream.
pub async fn answer<H: Host>(
    exchange: Exchange<H>,
    headers: &HeaderMap,
    id: &RawValue,
    params: &Params<'_>,
) -> Reply {
    let filter = match read(params) {
        Ok(filter) => filter,
        Err(failure) => return Reply::failure(Some(id), &failure),
    };
    let can_tasks = Meta::read(params).client_can().tasks;
    let (filter, tasks) = match followed(&exchange, filter, can_tasks).await {
        Ok(followed) => followed,
        Err(failure) => return Reply::failure(Some(id), &failure),
    };
    let opened = (|| {
        let Exchange { endpoint, caller, origin, .. } = exchange;
        let mut filter = filter;
        filter.resource_subscriptions.retain(|uri| endpoint.host.may_watch(&caller, uri));
        let name = endpoint.host.caller_id(&caller);
        let uris = filter.resource_subscriptions.iter();
        let watched = uris.map(|uri| endpoint.hub.watch(name, uri)).collect::<Result<_, _>>();
        let watched = watched.map_err(Failure::http)?;
        let watch = Watch::begin(endpoint, caller, headers, origin).map_err(Failure::http)?;
        let mut pump = Pump {
            watch,
            filter,
            _watched: watched,
            tasks,
            id: id.to_owned(),
            ready: VecDeque::new(),
            over: false,
        };
        pump.acknowledge();
        Ok(pump)
    })();
    match opened {
        Ok(pump) => {
            let next = |mut pump: Pump<H>| async move { Some((pump.next_part().await?, pump)) };
            Reply::stream(unfold(pump, next).boxed_local())
        }
        Err(failure) => Reply::failure(Some(id), &failure),
    }
}

/// What is told of tasks, without what is none of the caller's, or of a client that declared none.
async fn followed<H: Host>(
    exchange: &Exchange<H>,
    mut filter: Filter,
    can_tasks: bool,
) -> Result<(Filter, Tasks), Failure> {
    let mut tasks = Tasks::new();
    let Exchange { endpoint, caller, origin, .. } = exchange;
    let asked = std::mem::take(&mut filter.task_ids);
    for id in asked.into_iter().filter(|_| can_tasks) {
        match endpoint.host.task(caller, origin, &id, exchange.deadline()).await {
            Ok(_) => {
                tasks.push(endpoint.host.task_changes(caller, &id));
                filter.task_ids.insert(id);
            }
            Err(error) if error.code == Code::NotFound => {}
            Err(error) => return Err(Failure::of(exchange.revision, error)),
        }
    }
    Ok((filter, tasks))
}

type Tasks = SelectAll<LocalBoxStream<'static, Task>>;

fn read(params: &Params<'_>) -> Result<Filter, Failure> {
    let refused = |message: &str| Failure::invalid_params(Revision::V2026_07_28, message);
    let filter: Option<Filter> = params.notifications.and_then(object);
    let Some(filter) = filter else {
        return Err(refused("notifications must be an object of booleans and a list of URIs"));
    };
    let uris = &filter.resource_subscriptions;
    if uris.len() > URIS_MAX || uris.iter().any(|uri| uri.len() > URI_BYTES_MAX) {
        return Err(refused("resourceSubscriptions may have 256 URIs of 2048 bytes each"));
    }
    if filter.task_ids.len() > TASKS_MAX {
        return Err(refused("taskIds may have 64 members"));
    }
    Ok(filter.accepted())
}

struct Pump<H: Host> {
    watch: Watch<H>,
    filter: Filter,
    /// As long as the stream is open.
    _watched: Vec<Watched>,
    tasks: Tasks,
    id: Box<RawValue>,
    ready: VecDeque<Vec<u8>>,
    /// The response was made: it is the last message.
    over: bool,
}

#[derive(Serialize)]
struct Tagged<'a> {
    #[serde(rename = "_meta")]
    meta: Subscription<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notifications: Option<&'a Filter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<&'a str>,
    #[serde(rename = "resultType", skip_serializing_if = "Option::is_none")]
    result_type: Option<&'static str>,
}

/// A task, in a notification.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(rename = "_meta")]
    meta: Subscription<'a>,
    #[serde(flatten)]
    task: TaskView<'a>,
}

#[derive(Serialize)]
struct Subscription<'a> {
    #[serde(rename = "io.modelcontextprotocol/subscriptionId")]
    id: &'a RawValue,
}

impl<H: Host> Pump<H> {
    fn tagged(&self) -> Tagged<'_> {
        let meta = Subscription { id: &self.id };
        Tagged { meta, notifications: None, uri: None, result_type: None }
    }

    fn acknowledge(&mut self) {
        let params = Tagged { notifications: Some(&self.filter), ..self.tagged() };
        let message = notify::notification("notifications/subscriptions/acknowledged", params);
        self.ready.extend(message);
    }

    fn list(&mut self, list: ListChanged) {
        if self.filter.wants(list) {
            let message = notify::notification(list.method(), self.tagged());
            self.ready.extend(message);
        }
    }

    fn updated(&mut self, uri: &str) {
        let params = Tagged { uri: Some(uri), ..self.tagged() };
        let message = notify::notification("notifications/resources/updated", params);
        self.ready.extend(message);
    }

    fn task(&mut self, task: &Task) {
        let params = Told { meta: Subscription { id: &self.id }, task: TaskView::full(task) };
        let message = notify::notification("notifications/tasks", params);
        self.ready.extend(message);
    }

    fn respond(&mut self) {
        let result = Tagged { result_type: Some("complete"), ..self.tagged() };
        let response = wire::success(&self.id, result);
        self.ready.extend(response.ok());
        self.over = true;
    }

    /// The next part; `None` at the end.
    async fn next_part(&mut self) -> Option<Part> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some(Part::Message(message));
            }
            if self.over {
                return None;
            }
            let tick = tokio::select! {
                biased;
                tick = self.watch.next() => tick,
                Some(task) = self.tasks.next() => {
                    self.task(&task);
                    continue;
                }
            };
            match tick {
                Tick::Ended | Tick::Heard(Heard::Closing) => self.respond(),
                Tick::ToolsChanged => self.list(ListChanged::Tools),
                Tick::Heard(Heard::Change(Change::List(list))) => self.list(list),
                Tick::Heard(Heard::Change(Change::ResourceUpdated(uri))) => {
                    if self.filter.resource_subscriptions.contains(&*uri) {
                        self.updated(&uri);
                    }
                }
                Tick::Heard(Heard::Missed) => {
                    ListChanged::ALL.into_iter().for_each(|list| self.list(list));
                    let uris = self.filter.resource_subscriptions.clone();
                    uris.iter().for_each(|uri| self.updated(uri));
                }
                Tick::Beat => return Some(Part::Beat),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Filter, u16> {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        read(&Params::read(Some(raw))).map_err(|failure| failure.status)
    }

    #[test]
    fn only_what_exists_is_accepted_and_only_a_filter_is_one() {
        let asked = r#"{"notifications":{"toolsListChanged":true,"promptsListChanged":true,
            "taskIds":["t"],"resourceSubscriptions":["a:b"]}}"#;
        let filter = parse(asked).unwrap();
        assert!(filter.tools_list_changed);
        assert_eq!(filter.prompts_list_changed, LISTENABLE.prompts);
        assert!(filter.resource_subscriptions.contains("a:b"));
        assert_eq!(parse(r#"{"notifications":{}}"#), Ok(Filter::default()));
        let many: Vec<_> = (0..=URIS_MAX).map(|n| format!("a:{n}")).collect();
        let many = serde_json::json!({"notifications": {"resourceSubscriptions": many}});
        for bad in [
            "{}",
            r#"{"notifications":null}"#,
            r#"{"notifications":[]}"#,
            r#"{"notifications":{"toolsListChanged":1}}"#,
            r#"{"notifications":{"resourceSubscriptions":"a:b"}}"#,
            &many.to_string(),
        ] {
            assert_eq!(parse(bad), Err(200), "{bad}");
        }
    }
}
