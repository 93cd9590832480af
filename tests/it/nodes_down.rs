//! Three nodes when something goes: a rolling restart, a node that dies, a Redis that dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::app::{Answer, eventually, send_to};
use crate::nodes::{Cluster, artifact_of};

/// Callers that call one after the other until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    callers: Vec<JoinHandle<Vec<String>>>,
}

/// One call of a caller: the path and the arguments.
const CALLS: [(&str, &str); 3] = [
    ("/api/v1/tools/lint_code", r#"{"code":"x = 1\n","language":"python"}"#),
    ("/api/v1/tools/graph_query", r#"{"cypher":"MATCH (n) RETURN count(n) AS n"}"#),
    ("/api/v1/tools/execute_code", r#"{"code":"print(6 * 7)"}"#),
];

impl Load {
    /// Callers with a token of their own, and one that stays in a legacy session.
    async fn start(cluster: &Cluster) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let spawn = |work: Box<dyn Fn() -> Asked + Send>| {
            let (stop, done) = (stop.clone(), done.clone());
            std::thread::spawn(move || {
                actix_rt::System::new().block_on(async move {
                    let mut failures = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        match work().await {
                            Ok(answer) if answer.status == 200 => {}
                            failed => failures.push(format!("{failed:?}")),
                        }
                        done.fetch_add(1, Ordering::Relaxed);
                        actix_rt::time::sleep(Duration::from_millis(10)).await;
                    }
                    failures
                })
            })
        };
        let mut callers: Vec<_> = CALLS
            .iter()
            .enumerate()
            .map(|(index, (path, body))| {
                let token = cluster.mint.token(&format!("caller-{index}"), &["developer"]);
                let url = cluster.url.clone();
                spawn(Box::new(move || {
                    let (url, token) = (url.clone(), token.clone());
                    Box::pin(async move {
                        let json = [("Content-Type", "application/json")];
                        let body = body.as_bytes().to_vec();
                        send_to(&url, "POST", path, Some(&token), &json, body).await
                    })
                }))
            })
            .collect();
        let token = cluster.mint.token("in-session", &["viewer"]);
        let session = Cluster::begin_session(&cluster.url, &token).await;
        let url = cluster.url.clone();
        callers.push(spawn(Box::new(move || {
            let (url, token, session) = (url.clone(), token.clone(), session.clone());
            Box::pin(async move {
                let ping = json!({ "jsonrpc": "2.0", "id": 2, "method": "ping" });
                Cluster::legacy(&url, &token, Some(&session), ping).await
            })
        })));
        Self { stop, done, callers }
    }

    fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    /// Until this many more calls are done.
    async fn more(&self, calls: usize) {
        let enough = self.done() + calls;
        eventually("the load goes on", || async { (self.done() >= enough).then_some(()) }).await;
    }

    /// How many calls were made, and what failed.
    fn stop(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let failures: Vec<String> =
            self.callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect();
        (self.done.load(Ordering::Relaxed), failures)
    }
}

type Asked = std::pin::Pin<Box<dyn Future<Output = Result<Answer, String>>>>;

#[actix_web::test]
async fn a_rolling_restart_fails_no_call() {
    let mut cluster = Cluster::start().await;
    let load = Load::start(&cluster).await;
    load.more(20).await;
    for index in 0..3 {
        // `stop` blocks this thread; the callers have their own.
        assert_eq!(cluster.nodes[index].stop("-TERM"), Some(0));
        cluster.restart(index, &[]);
        cluster.served_by(index).await;
        load.more(10).await;
    }
    let (calls, failures) = load.stop();
    eprintln!("rolling restart: {calls} calls, {} failed", failures.len());
    assert!(failures.is_empty(), "{} of {calls} failed: {failures:#?}", failures.len());
    assert!(calls > 60, "{calls}");
}

#[actix_web::test]
async fn a_node_that_dies_takes_only_what_it_had_in_hand() {
    let mut cluster = Cluster::start().await;
    let ada = cluster.mint.token("ada", &["developer"]);
    let path = artifact_of(&cluster.nodes[1], &ada).await;
    let load = Load::start(&cluster).await;
    load.more(20).await;

    // One long run on each node, by way of the proxy.
    let mut runs = Vec::new();
    for run in 0..9 {
        let (url, token) =
            (cluster.url.clone(), cluster.mint.token(&format!("run-{run}"), &["developer"]));
        runs.push(actix_rt::spawn(async move {
            let body = json!({ "code": "import time; time.sleep(2); print('whole')" });
            let json = [("Content-Type", "application/json")];
            let path = "/api/v1/tools/execute_code";
            send_to(&url, "POST", path, Some(&token), &json, body.to_string().into_bytes()).await
        }));
    }
    let admin = cluster.admin();
    eventually("runs have begun on the node", || async {
        let metrics = cluster.nodes[1].send("GET", "/metrics", Some(&admin), &[], None).await;
        let text = String::from_utf8_lossy(&metrics.bytes).into_owned();
        let line = text.lines().find(|line| line.starts_with("cell_runs"))?;
        let runs: f64 = line.rsplit(' ').next()?.parse().ok()?;
        (runs >= 1.0).then_some(())
    })
    .await;
    cluster.nodes[1].stop("-KILL");
    let killed = Instant::now();

    let (mut whole, mut lost) = (0, 0);
    for run in runs {
        let answer = run.await.unwrap().unwrap();
        match answer.status {
            200 => {
                assert_eq!(answer.body["stdout"], "whole\n", "{answer:?}");
                assert_ne!(answer.header("x-served-by"), Some("n2"));
                whole += 1;
            }
            502 => {
                assert_eq!(answer.code(), "node_gone", "{answer:?}");
                assert_eq!(answer.body["error"]["retry"], "unsafe");
                lost += 1;
            }
            _ => panic!("neither whole nor lost: {answer:?}"),
        }
    }
    assert!(whole >= 4 && lost >= 1, "{whole} whole, {lost} lost");
    load.more(30).await;
    let callers = load.callers.len();
    let (calls, failures) = load.stop();
    eprintln!(
        "node killed: {whole} runs whole, {lost} lost; {calls} calls, {} failed",
        failures.len()
    );
    // At the moment of the kill each caller had one call in hand, perhaps there.
    assert!(failures.len() <= callers, "{failures:#?}");
    assert!(failures.iter().all(|f| f.contains("502") && f.contains("node_gone")), "{failures:#?}");

    // What lived there is not there; the node that is asked says so at once.
    let asked = Instant::now();
    let gone = fetched(&cluster, &ada, &path).await;
    assert_eq!((gone.status, gone.code()), (502, "node_gone"), "{gone:?}");
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    eventually("the node counts as gone", || async {
        (fetched(&cluster, &ada, &path).await.body["error"]["retry"] == "never").then_some(())
    })
    .await;
    eprintln!("gone for good after {:?}", killed.elapsed());
    cluster.restart(1, &[]);
    cluster.in_service().await;
    assert_eq!(fetched(&cluster, &ada, &path).await.status, 200, "it is back with its node");
}

/// The artifact, asked of the first node.
async fn fetched(cluster: &Cluster, token: &str, path: &str) -> Answer {
    cluster.nodes[0].send("GET", path, Some(token), &[], None).await
}

#[actix_web::test]
async fn a_redis_that_dies_hangs_nobody_and_all_is_shared_when_it_is_back() {
    let mut cluster = Cluster::start().await;
    let (admin, ada) = (cluster.admin(), cluster.mint.token("ada", &["developer"]));
    let session = Cluster::begin_session(&cluster.nodes[0].url, &ada).await;
    cluster.redis.kill();
    let mut slowest = Duration::ZERO;
    for round in 0..12 {
        let (path, body) = CALLS[round % 3];
        let body: Value = serde_json::from_str(body).unwrap();
        let asked = Instant::now();
        let answer = cluster.send("POST", path, Some(&ada), Some(&body)).await.unwrap();
        slowest = slowest.max(asked.elapsed());
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    eprintln!("redis dead: slowest of 12 calls took {slowest:?}");
    assert!(slowest < Duration::from_secs(6), "{slowest:?}");

    assert_eq!(Cluster::ping(&cluster.nodes[0].url, &ada, &session).await.status, 200);
    let later = Cluster::ping(&cluster.nodes[1].url, &ada, &session).await;
    assert_eq!((later.status, later.code()), (503, "unavailable"), "{later:?}");
    assert!(later.header("retry-after").is_some());
    let role = json!({ "role": "viewer" });
    let given =
        cluster.nodes[0].send("POST", "/api/v1/users/ada/roles", Some(&admin), &[], Some(&role));
    assert_eq!(given.await.status, 200);
    let ready = cluster.nodes[0].send("GET", "/ready", None, &[], None).await;
    assert_eq!((ready.status, &ready.body["status"]), (200, &json!("degraded")));

    cluster.redis.restart();
    let back = Instant::now();
    for node in &cluster.nodes {
        eventually("the role is known", || async {
            let roles = node.send("GET", "/api/v1/users/ada/roles", Some(&admin), &[], None).await;
            (roles.body["roles"] == json!(["viewer"])).then_some(())
        })
        .await;
        eventually("the session is known", || async {
            (Cluster::ping(&node.url, &ada, &session).await.status == 200).then_some(())
        })
        .await;
        eventually("the node is ready", || async {
            let ready = node.send("GET", "/ready", None, &[], None).await;
            (ready.body["status"] != "unavailable").then_some(())
        })
        .await;
    }
    eprintln!("redis back: all is shared after {:?}", back.elapsed());
}
