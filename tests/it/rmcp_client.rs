//! The official Rust client, rmcp, drives the server in both of its lifecycles.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig,
    ClientRequest, ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationCapability,
    GetPromptRequestParams, Implementation, ProgressNotificationParam, ProtocolVersion,
    ReadResourceRequestParams, ResourceUpdatedNotificationParam, ServerNotification,
    SubscribeRequestParams, SubscriptionFilter,
};
use rmcp::service::{
    NotificationContext, PeerRequestOptions, RequestContext, RoleClient, RunningService,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt};
use serde_json::{Value, json};

use crate::app::{Shared, TestApp, eventually};
use crate::mcp_clients::start;
use crate::mcp_clients_more::check;

static APP: Shared = Shared::new();

/// How far, and in words.
type Progress = (f64, Option<String>);

/// A client with a person who agrees to everything, and with ears.
#[derive(Clone, Default)]
struct Person {
    asked: Arc<Mutex<Vec<String>>>,
    progress: Arc<Mutex<Vec<Progress>>>,
    updated: Arc<Mutex<Vec<String>>>,
}

type Client = RunningService<RoleClient, Person>;

impl ClientHandler for Person {
    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, rmcp::ErrorData> {
        if let ElicitRequestParams::FormElicitationParams { message, .. } = request {
            self.asked.lock().unwrap().push(message);
        }
        let agreed = json!({ "delete": true });
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(agreed))
    }

    async fn on_progress(
        &self,
        said: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.progress.lock().unwrap().push((said.progress, said.message));
    }

    async fn on_resource_updated(
        &self,
        said: ResourceUpdatedNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.updated.lock().unwrap().push(said.uri);
    }

    fn get_info(&self) -> ClientConfig {
        let mut able = ClientCapabilities::default();
        able.elicitation = Some(ElicitationCapability::default());
        ClientConfig::new(able, Implementation::new("rmcp", "3"))
    }
}

fn call(name: &'static str, arguments: Value) -> CallToolRequestParams {
    CallToolRequestParams::new(name).with_arguments(arguments.as_object().unwrap().clone())
}

async fn tool(client: &Client, name: &'static str, arguments: Value) -> CallToolResult {
    client.call_tool(call(name, arguments)).await.unwrap()
}

async fn read(client: &Client, uri: &str) -> Value {
    let read = client.read_resource(ReadResourceRequestParams::new(uri)).await.unwrap();
    serde_json::to_value(read).unwrap()["contents"][0]["text"].clone()
}

/// What every client is asked to do, as `mcp_clients_more::check` reads it.
async fn seen(client: &Client, key: &str) -> Value {
    let tools = client.list_all_tools().await.unwrap();
    let ran = tool(client, "execute_code", json!({ "code": "print(6*7)" })).await;
    let wrong = json!({ "code": "x", "timeout_seconds": 9000 });
    let wrong = tool(client, "execute_code", wrong).await;
    let prompts = client.list_all_prompts().await.unwrap();
    let arguments = json!({ "code": "x = 1", "seniority": "junior" });
    let review = GetPromptRequestParams::new("code_review")
        .with_arguments(arguments.as_object().unwrap().clone());
    let prompt = serde_json::to_value(client.get_prompt(review).await.unwrap()).unwrap();
    let resources = client.list_all_resources().await.unwrap();
    let templates = client.list_all_resource_templates().await.unwrap();
    let node = json!({ "key": key, "labels": ["Asked"], "properties": {} });
    tool(client, "graph_upsert", json!({ "nodes": [node] })).await;
    let deleted = tool(client, "graph_delete", json!({ "nodes": [key], "confirm": true })).await;
    json!({
        "tools": tools.iter().map(|tool| &tool.name).collect::<Vec<_>>(),
        "ran": ran.structured_content,
        "wrong": { "is_error": wrong.is_error },
        "prompts": prompts.iter().map(|prompt| &prompt.name).collect::<Vec<_>>(),
        "prompt": prompt["messages"][0]["content"]["text"],
        "resources": resources.iter().map(|resource| &resource.uri).collect::<Vec<_>>(),
        "templates": templates.len(),
        "readme": read(client, "resource://ultimate-mcp/readme").await,
        "asked": *client.service().asked.lock().unwrap(),
        "deleted": deleted.structured_content,
        "cancelled": cancelled(client).await,
    })
}

/// Milliseconds until a call of nearly a minute was given up.
async fn cancelled(client: &Client) -> u64 {
    let code = json!({ "code": "import time\ntime.sleep(45)", "timeout_seconds": 50 });
    let request = ClientRequest::CallToolRequest(CallToolRequest::new(call("execute_code", code)));
    let begun = Instant::now();
    let handle =
        client.send_cancellable_request(request, PeerRequestOptions::no_options()).await.unwrap();
    actix_web::rt::time::sleep(Duration::from_millis(800)).await;
    handle.cancel(Some("it takes too long".to_owned())).await.unwrap();
    u64::try_from(begun.elapsed().as_millis()).unwrap()
}

/// Output comes as progress while the code runs.
async fn progresses(client: &Client) {
    let code =
        "import time\nfor i in range(3):\n    print('line', i, flush=True)\n    time.sleep(0.3)";
    tool(client, "execute_code", json!({ "code": code })).await;
    let said = client.service().progress.lock().unwrap().clone();
    assert!(said.len() >= 2 && said.is_sorted_by(|a, b| a.0 < b.0), "{said:?}");
    assert_eq!(said.last().unwrap().1.as_deref(), Some("line 2"));
}

/// The changes of a run are told to who watches it.
async fn watches(client: &Client, modern: bool) {
    let code = json!({ "code": "import time\ndef test_slow():\n    time.sleep(1.5)\n" });
    let queued = tool(client, "run_tests_async", code).await.structured_content.unwrap();
    let uri = format!("resource://ultimate-mcp/runs/{}", queued["job_id"].as_str().unwrap());
    if modern {
        let filter = SubscriptionFilter::builder().resource_subscriptions([uri.clone()]).build();
        let mut stream = client.listen(filter).await.unwrap();
        let told = tokio::time::timeout(Duration::from_secs(30), stream.next()).await.unwrap();
        let Ok(Some(ServerNotification::ResourceUpdatedNotification(told))) = told else {
            panic!("{told:?}")
        };
        assert_eq!(told.params.uri, uri);
        return stream.cancel().await.unwrap();
    }
    #[allow(deprecated, reason = "the way of sessions, which have no other")]
    client.subscribe(SubscribeRequestParams::new(uri.clone())).await.unwrap();
    eventually("the change is told", || async {
        client.service().updated.lock().unwrap().contains(&uri).then_some(())
    })
    .await;
}

async fn drive(lifecycle: ClientLifecycleMode, version: ProtocolVersion) {
    let app: Arc<TestApp> = APP.get(start);
    let modern = version == ProtocolVersion::V_2026_07_28;
    let user = format!("rmcp-{version}");
    let url = format!("{}/mcp", app.url);
    let config =
        StreamableHttpClientTransportConfig::with_uri(url).auth_header(app.token(&user, "admin"));
    let transport = StreamableHttpClientTransport::from_config(config);
    let client = Person::default().serve_with_lifecycle(transport, lifecycle).await.unwrap();
    progresses(&client).await;
    watches(&client, modern).await;
    let seen = seen(&client, &user).await;
    check(&app, &user, &seen).await;
    client.cancel().await.unwrap();
}

#[actix_web::test]
async fn the_rust_client_works_with_discovery() {
    let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
    let lifecycle = ClientLifecycleMode::Discover { preferred_versions };
    drive(lifecycle, ProtocolVersion::V_2026_07_28).await;
}

#[actix_web::test]
async fn the_rust_client_works_with_a_session() {
    drive(ClientLifecycleMode::Initialize, ProtocolVersion::V_2025_11_25).await;
}
