//! Three real servers behind HAProxy with a Redis between them: one service, whichever node answers.
//!
//! HAProxy runs the configuration of `docs/nodes.md`, so that what is documented is what was tested.

use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ultimate_mcp_actors::hex;
use ultimate_mcp_actors::node::{ClusterSecret, Letterhead, NodeId, Seals};
use ultimate_mcp_testkit::{HaProxy, Redis, free_port};

use crate::app::{Answer, TestApp, eventually, send_to};
use crate::asking::a_word_given_to_one_node_counts_once_on_all;
use crate::nodes_handles::{
    a_stateful_sandbox_answers_through_any_node_to_its_owner_alone,
    an_artifact_is_fetched_through_any_node_by_its_owner_alone,
};
use crate::tokens::Mint;

/// What one node changes, every node knows within this.
const SEEN_WITHIN: Duration = Duration::from_secs(1);
const SECRET: &str = "a secret that all of these nodes share";
const KID: &str = "all";

/// Three nodes, their Redis and their load balancer.
pub struct Cluster {
    pub nodes: Vec<TestApp>,
    pub redis: Redis,
    pub mint: Mint,
    /// Where clients go.
    pub url: String,
    ports: Vec<u16>,
    folder: tempfile::TempDir,
    _proxy: HaProxy,
}

impl Cluster {
    /// Starts everything; all nodes are in service and know each other when this returns.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with more settings for each node.
    pub async fn start_with(more: &[(&str, &str)]) -> Self {
        let (redis, folder) = (Redis::start(), tempfile::tempdir().unwrap());
        for name in ["token.key", "cluster.key"] {
            let mut file = std::fs::OpenOptions::new();
            let mut file = file
                .create_new(true)
                .write(true)
                .mode(0o600)
                .open(folder.path().join(name))
                .unwrap();
            std::io::Write::write_all(&mut file, SECRET.as_bytes()).unwrap();
        }
        let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let nodes = std::thread::scope(|scope| {
            let start = |index| {
                let settings = settings(&folder, &redis, &ports, index);
                scope.spawn(move || TestApp::start_with(&[&borrowed(&settings)[..], more].concat()))
            };
            let starting: Vec<_> = (0..3).map(start).collect();
            starting.into_iter().map(|node| node.join().unwrap()).collect()
        });
        let front = free_port();
        let proxy = HaProxy::start(&configuration(front, &ports), front);
        let url = format!("http://127.0.0.1:{front}");
        let mint = Mint::with_secret(SECRET.as_bytes(), KID);
        let cluster = Self { nodes, redis, mint, url, ports, folder, _proxy: proxy };
        cluster.in_service().await;
        cluster
    }

    /// Until the proxy sends requests to every node and all are in step.
    pub async fn in_service(&self) {
        let admin = self.admin();
        for (index, node) in self.nodes.iter().enumerate() {
            eventually("the node is in step", || async {
                let list = node.send("GET", "/api/v1/nodes", Some(&admin), &[], None).await;
                let up = list.body["nodes"].as_array()?.iter().filter(|n| n["status"] == "up");
                (up.count() == 3 && list.body["sharing"]["in_step"] == true).then_some(())
            })
            .await;
            self.served_by(index).await;
        }
    }

    /// Until the proxy sends requests to this node.
    pub async fn served_by(&self, index: usize) {
        let name = format!("n{}", index + 1);
        eventually("the proxy uses the node", || async {
            let answer = self.send("GET", "/health", None, None).await;
            (answer.ok()?.header("x-served-by") == Some(&name)).then_some(())
        })
        .await;
    }

    pub fn admin(&self) -> String {
        self.mint.token("root", &["admin"])
    }

    /// Starts a node again that has ended, in its own data directory.
    pub fn restart(&mut self, index: usize, more: &[(&str, &str)]) {
        let settings = settings(&self.folder, &self.redis, &self.ports, index);
        let env = [&borrowed(&settings)[..], more].concat();
        self.nodes[index].restart_with(&env);
    }

    /// A REST request by way of the proxy.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Answer, String> {
        let headers = [("Content-Type", "application/json")];
        let body = body.map_or(Vec::new(), |body| body.to_string().into_bytes());
        send_to(&self.url, method, path, token, &headers, body).await
    }

    /// A message of revision 2025-06-18, in a session or to begin one.
    pub async fn legacy(
        url: &str,
        token: &str,
        session: Option<&str>,
        message: Value,
    ) -> Result<Answer, String> {
        let mut headers = vec![
            ("Accept", "application/json, text/event-stream"),
            ("Content-Type", "application/json"),
        ];
        headers.extend(session.map(|id| ("Mcp-Session-Id", id)));
        let body = message.to_string().into_bytes();
        send_to(url, "POST", "/mcp", Some(token), &headers, body).await
    }

    /// Begins a legacy session at one node.
    pub async fn begin_session(url: &str, token: &str) -> String {
        let params = json!({
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" },
        });
        let message =
            json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params });
        let answer = Self::legacy(url, token, None, message).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.header("mcp-session-id").unwrap().to_owned()
    }

    /// `ping` in a session.
    pub async fn ping(url: &str, token: &str, session: &str) -> Answer {
        let message = json!({ "jsonrpc": "2.0", "id": 2, "method": "ping" });
        Self::legacy(url, token, Some(session), message).await.unwrap()
    }
}

fn settings(
    folder: &tempfile::TempDir,
    redis: &Redis,
    ports: &[u16],
    index: usize,
) -> Vec<(&'static str, String)> {
    let file = |name: &str| folder.path().join(name).display().to_string();
    let keys =
        format!("[{{kid=\"{KID}\", algorithm=\"HS256\", secret_file=\"{}\"}}]", file("token.key"));
    vec![
        ("ULTIMATE_MCP__HTTP__PORT", ports[index].to_string()),
        ("ULTIMATE_MCP__HTTP__WORKERS", "1".into()),
        ("ULTIMATE_MCP__HTTP__LAME_DUCK_SECONDS", "1".into()),
        ("ULTIMATE_MCP__HTTP__TRUSTED_PROXIES", "[\"127.0.0.1\"]".into()),
        ("ULTIMATE_MCP__AUTH__KEYS", keys),
        ("ULTIMATE_MCP__REDIS__URLS", format!("[\"{}\"]", redis.url())),
        ("ULTIMATE_MCP__REDIS__PATIENCE_MS", "1000".into()),
        ("ULTIMATE_MCP__NODE__ID", format!("n{}", index + 1)),
        ("ULTIMATE_MCP__NODE__ADVERTISE_URL", format!("http://127.0.0.1:{}", ports[index])),
        ("ULTIMATE_MCP__NODE__SECRET_FILE", file("cluster.key")),
        ("ULTIMATE_MCP__NODE__HEARTBEAT_MS", "200".into()),
        ("ULTIMATE_MCP__NODE__GONE_AFTER_MS", "3000".into()),
        ("ULTIMATE_MCP__CELL__UID_BASE", (500_000 + 10_000 * index).to_string()),
    ]
}

fn borrowed<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// The documented configuration with our addresses in it.
fn configuration(front: u16, ports: &[u16]) -> String {
    let page = include_str!("../../docs/nodes.md");
    let text = page.split("```haproxy\n").nth(1).unwrap().split("```").next().unwrap();
    let mut text = text.replace("bind :8480", &format!("bind 127.0.0.1:{front}"));
    for (index, port) in ports.iter().enumerate() {
        let documented = format!("10.0.0.{}:8484", index + 1);
        assert!(text.contains(&documented), "{documented} is not in the page");
        text = text.replace(&documented, &format!("127.0.0.1:{port}"));
    }
    text
}

/// Waits until it holds on every node and says how long the slowest took, at most [`SEEN_WITHIN`].
async fn seen_everywhere<F: Future<Output = bool>>(
    what: &str,
    nodes: &[TestApp],
    look: impl Fn(usize) -> F,
) {
    let begun = Instant::now();
    for index in 0..nodes.len() {
        while !look(index).await {
            assert!(begun.elapsed() < SEEN_WITHIN, "{what}: node {} does not know", index + 1);
        }
    }
    eprintln!("{what}: seen everywhere after {:?}", begun.elapsed());
}

#[actix_web::test]
async fn three_nodes_are_one_service() {
    let mut cluster = Cluster::start().await;
    modern_calls_are_answered_by_any_node(&cluster).await;
    a_legacy_session_moves_from_node_to_node(&cluster).await;
    an_artifact_is_fetched_through_any_node_by_its_owner_alone(&cluster).await;
    a_stateful_sandbox_answers_through_any_node_to_its_owner_alone(&cluster).await;
    a_word_given_to_one_node_counts_once_on_all(&cluster).await;
    what_is_changed_on_one_node_holds_on_all_within_a_second(&cluster).await;
    a_ban_holds_on_all_nodes_and_its_refusals_are_recorded(&cluster).await;
    only_who_holds_the_secret_speaks_for_a_client(&cluster).await;
    nodes_that_differ_say_so(&mut cluster).await;
}

async fn modern_calls_are_answered_by_any_node(cluster: &Cluster) {
    let token = cluster.mint.token("ada", &["developer"]);
    let mut by = std::collections::BTreeSet::new();
    for round in 0..9 {
        let body = json!({ "code": format!("print({round} * 2)") });
        let answer = cluster.send("POST", "/api/v1/tools/execute_code", Some(&token), Some(&body));
        let answer = answer.await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.body["stdout"], format!("{}\n", round * 2));
        by.insert(answer.header("x-served-by").unwrap().to_owned());
    }
    assert_eq!(by.len(), 3, "only {by:?} answered");
    for node in &cluster.nodes {
        let answer = node.mcp(&token, "tools/list", json!({})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

async fn a_legacy_session_moves_from_node_to_node(cluster: &Cluster) {
    let (ada, eve) =
        (cluster.mint.token("ada", &["viewer"]), cluster.mint.token("eve", &["viewer"]));
    let session = Cluster::begin_session(&cluster.nodes[0].url, &ada).await;
    for node in &cluster.nodes {
        assert_eq!(Cluster::ping(&node.url, &ada, &session).await.status, 200);
        assert_eq!(Cluster::ping(&node.url, &eve, &session).await.status, 404);
    }
    let headers = [("Mcp-Session-Id", session.as_str())];
    let url = &cluster.nodes[2].url;
    let ended = send_to(url, "DELETE", "/mcp", Some(&ada), &headers, Vec::new()).await.unwrap();
    assert_eq!(ended.status, 204, "{ended:?}");
    for node in &cluster.nodes {
        assert_eq!(Cluster::ping(&node.url, &ada, &session).await.status, 404);
    }
}

async fn what_is_changed_on_one_node_holds_on_all_within_a_second(cluster: &Cluster) {
    let (admin, nodes) = (cluster.admin(), &cluster.nodes);
    let bob = cluster.mint.token("bob", &["developer"]);
    let status = |index: usize, token: String| async move {
        nodes[index].tool(&token, "execute_code", json!({})).await.status
    };
    let role = json!({ "role": "viewer" });
    let path = "/api/v1/users/bob/roles";
    let given = nodes[0].send("POST", path, Some(&admin), &[], Some(&role)).await;
    assert_eq!(given.status, 200, "{given:?}");
    let bobs = |index| {
        let token = bob.clone();
        async move { status(index, token).await == 403 }
    };
    seen_everywhere("role", nodes, bobs).await;

    let carol = cluster.mint.token("carol", &["viewer"]);
    let revoke = json!({ "user_id": "carol" });
    let revoked =
        nodes[1].send("POST", "/api/v1/auth/revoke", Some(&admin), &[], Some(&revoke)).await;
    assert_eq!(revoked.status, 200, "{revoked:?}");
    let carols = |index: usize| {
        let token = carol.clone();
        async move {
            nodes[index].send("GET", "/api/v1/tools", Some(&token), &[], None).await.status == 401
        }
    };
    seen_everywhere("revocation", nodes, carols).await;

    // Of two nodes that are asked to exchange the same token, one does.
    let dora = cluster.mint.token("dora", &["viewer"]);
    let refresh =
        |index: usize| nodes[index].send("POST", "/api/v1/auth/refresh", Some(&dora), &[], None);
    let (one, two) = futures_util::join!(refresh(0), refresh(2));
    let granted = [one.status, two.status].iter().filter(|status| **status == 200).count();
    assert_eq!(granted, 1, "{one:?} {two:?}");
}

async fn a_ban_holds_on_all_nodes_and_its_refusals_are_recorded(cluster: &Cluster) {
    let (admin, nodes) = (cluster.admin(), &cluster.nodes);
    let mallory = cluster.mint.token("mallory", &["admin"]);
    let list = |index: usize, from: &'static str| {
        let token = mallory.clone();
        let headers = [("X-Forwarded-For", from)];
        async move { nodes[index].send("GET", "/api/v1/tools", Some(&token), &headers, None).await }
    };
    for (body, from) in [
        (json!({ "user_id": "mallory", "reason": "abuse", "ttl_seconds": 60 }), "192.0.2.1"),
        (json!({ "network": "198.51.100.0/24", "reason": "abuse" }), "198.51.100.7"),
    ] {
        assert_eq!(list(2, from).await.status, 200);
        let made = nodes[2].send("POST", "/api/v1/bans", Some(&admin), &[], Some(&body)).await;
        assert_eq!(made.status, 200, "{made:?}");
        let banned = |index| async move { list(index, from).await.status == 403 };
        seen_everywhere("ban", nodes, banned).await;
        let refused = list(0, from).await;
        assert_eq!(refused.code(), "banned", "{refused:?}");
        assert!(refused.body["error"]["message"].as_str().unwrap().contains("abuse"));
        let mut subject = body.clone();
        subject.as_object_mut().unwrap().retain(|name, _| name == "user_id" || name == "network");
        let lifted = nodes[0].send("DELETE", "/api/v1/bans", Some(&admin), &[], Some(&subject));
        assert_eq!(lifted.await.body["lifted"], 1);
        let free = |index| async move { list(index, from).await.status == 200 };
        seen_everywhere("end of the ban", nodes, free).await;
    }
    let own = json!({ "user_id": "root" });
    let refused = nodes[0].send("POST", "/api/v1/bans", Some(&admin), &[], Some(&own)).await;
    assert_eq!((refused.status, refused.code()), (409, "conflict"), "{refused:?}");
    eventually("the refusal stands in the audit", || async {
        let path = "/api/v1/audit?type=authz_denied&user=mallory";
        let trail = nodes[0].send("GET", path, Some(&admin), &[], None).await;
        let events = trail.body["events"].as_array()?.clone();
        events.iter().any(|event| event["details"]["code"] == "banned").then_some(())
    })
    .await;
}

async fn only_who_holds_the_secret_speaks_for_a_client(cluster: &Cluster) {
    let token = cluster.mint.token("ada", &["developer"]);
    let (path, body) = ("/api/v1/tools/lint_code", br#"{"code":"x=1","language":"python"}"#);
    let id = |text: &str| NodeId::parse(text).unwrap();
    let letter = |to: &str| Letterhead {
        method: "POST".into(),
        path: path.into(),
        body_digest: hex::sha256(body),
        token_digest: hex::sha256(format!("Bearer {token}").as_bytes()),
        from: id("n1"),
        to: id(to),
        time_ms: chrono::Utc::now().timestamp_millis(),
        nonce: uuid::Uuid::new_v4(),
        deadline_ms: 20_000,
        client_ip: "203.0.113.9".into(),
        request_id: "sealed-1".into(),
        session: "-".into(),
        user_agent: "client/1".into(),
        idempotency_key: "-".into(),
    };
    let sealed = |letter: &Letterhead, secret: &str| {
        let secret = ClusterSecret::of(secret.as_bytes());
        Seals::new(id("n1"), Some(secret), 30).seal(letter).unwrap()
    };
    let post = |letter: Letterhead, seal: String, body: Vec<u8>| {
        let (url, token) = (cluster.nodes[1].url.clone(), token.clone());
        async move {
            let (time, nonce) = (letter.time_ms.to_string(), letter.nonce.to_string());
            let deadline = letter.deadline_ms.to_string();
            let headers = [
                ("Content-Type", "application/json"),
                ("x-umcp-node-from", letter.from.as_str()),
                ("x-umcp-node-to", letter.to.as_str()),
                ("x-umcp-node-time", &time),
                ("x-umcp-node-nonce", &nonce),
                ("x-umcp-node-body", &letter.body_digest),
                ("x-umcp-node-deadline", &deadline),
                ("x-umcp-node-client", &letter.client_ip),
                ("x-umcp-node-session", &letter.session),
                ("x-umcp-node-seal", &seal),
                ("x-request-id", &letter.request_id),
                ("user-agent", &letter.user_agent),
            ];
            send_to(&url, "POST", path, Some(&token), &headers, body).await.unwrap()
        }
    };
    let good = letter("n2");
    let seal = sealed(&good, SECRET);
    let taken = post(good.clone(), seal.clone(), body.to_vec()).await;
    assert_eq!(taken.status, 200, "{taken:?}");
    assert!(taken.header("x-umcp-node-answer").is_some() && taken.body["structured"].is_object());
    let other = letter("n3");
    let changed = letter("n2");
    for (why, answer) in [
        ("sent twice", post(good, seal, body.to_vec()).await),
        ("another node's", post(other.clone(), sealed(&other, SECRET), body.to_vec()).await),
        (
            "another secret",
            post(letter("n2"), sealed(&letter("n2"), &"x".repeat(40)), body.to_vec()).await,
        ),
        ("another body", post(changed.clone(), sealed(&changed, SECRET), b"{}".to_vec()).await),
    ] {
        assert_eq!((answer.status, answer.code()), (401, "unauthenticated"), "{why}: {answer:?}");
    }
    let admin = cluster.admin();
    eventually("client and sender stand in the audit", || async {
        let trail = "/api/v1/audit?type=code_lint&user=ada";
        let trail = cluster.nodes[1].send("GET", trail, Some(&admin), &[], None).await;
        let events = trail.body["events"].as_array()?.clone();
        let found = events.iter().any(|event| {
            event["ip_address"] == "203.0.113.9"
                && event["request_id"] == "sealed-1"
                && event["details"]["forwarded_by"] == "n1"
        });
        found.then_some(())
    })
    .await;
}

async fn nodes_that_differ_say_so(cluster: &mut Cluster) {
    let admin = cluster.admin();
    let list = cluster.nodes[0].send("GET", "/api/v1/nodes", Some(&admin), &[], None).await;
    assert_eq!((&list.body["differ"], &list.body["node"]), (&json!(false), &json!("n1")));
    cluster.nodes[2].stop("-TERM");
    cluster.restart(2, &[("ULTIMATE_MCP__SESSIONS__IDLE_SECONDS", "77")]);
    let nodes = &cluster.nodes;
    let differ = |index: usize| {
        let admin = admin.clone();
        async move {
            let list = nodes[index].send("GET", "/api/v1/nodes", Some(&admin), &[], None).await;
            list.body["differ"] == true
        }
    };
    seen_everywhere("config version", nodes, differ).await;
}
