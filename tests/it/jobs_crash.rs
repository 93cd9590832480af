//! Jobs under kill -9: of the server, of workers, of Redis. Real processes; the clients keep asking with
//! their idempotency keys as a client would.
//!
//! Nothing acknowledged is lost, nothing that is not idempotent runs twice (the audits of all nodes are
//! the witness), every job ends in a definite state.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use ultimate_mcp_testkit::Redis;

use crate::app::TestApp;
use crate::tokens::Mint;

/// Clients that enqueue at once.
const CLIENTS: usize = 16;
/// The longest the whole of it may take on a busy machine.
const ALL_MAX: Duration = Duration::from_secs(240);

/// Everybody may ask as often as they like, and queue as much.
fn policy(dir: &Path) -> String {
    let text = include_str!("../../config/policy.toml");
    let fast = text.replace("calls_per_minute = 6000", "calls_per_minute = 100000000");
    assert_ne!(text, fast);
    let path = dir.join("policy.toml");
    std::fs::write(&path, fast).unwrap();
    path.to_str().unwrap().to_owned()
}

fn settings(dir: &Path, redis: Option<&Redis>) -> Vec<(String, String)> {
    let mut settings = vec![
        ("POLICY_FILE", policy(dir)),
        ("JOBS__PER_CALLER_MAX", "100000".to_owned()),
        ("JOBS__WORKERS", "16".to_owned()),
        ("JOBS__LEASE_SECONDS", "2".to_owned()),
        ("JOBS__RETRY_INITIAL_MS", "50".to_owned()),
        ("HTTP__DRAIN_SECONDS", "1".to_owned()),
    ];
    if let Some(redis) = redis {
        let key = dir.join("jobs.key");
        // base64 of 32 bytes.
        std::fs::write(&key, "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU=").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&key, mode).unwrap();
        settings.push(("REDIS__URLS", format!("[\"{}\"]", redis.url())));
        settings.push(("JOBS__ENGINE", "redis".to_owned()));
        settings.push(("JOBS__SECRET_FILE", key.to_str().unwrap().to_owned()));
    }
    settings.into_iter().map(|(key, value)| (format!("ULTIMATE_MCP__{key}"), value)).collect()
}

fn pairs(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// Clients that enqueue `total` jobs through whatever server is there, until each is acknowledged.
struct Load {
    url: RefCell<String>,
    token: String,
    total: usize,
    next: Cell<usize>,
    /// Key → the job that was acknowledged for it.
    acknowledged: RefCell<HashMap<usize, String>>,
}

impl Load {
    fn new(app: &TestApp, token: String, total: usize) -> Rc<Self> {
        let url = RefCell::new(app.url.clone());
        let (next, acknowledged) = (Cell::new(0), RefCell::default());
        Rc::new(Self { url, token, total, next, acknowledged })
    }

    /// Every third job may be repeated; the lanes take turns.
    async fn client(self: Rc<Self>) {
        let client = awc::Client::builder().timeout(Duration::from_secs(10)).finish();
        loop {
            let key = self.next.get();
            if key >= self.total {
                return;
            }
            self.next.set(key + 1);
            let lane = ["interactive", "normal", "low"][key % 3];
            let body = json!({
                "tool": "list_prompts", "priority": lane, "idempotent": key.is_multiple_of(3),
                "max_attempts": 10,
            });
            while !self.enqueue(&client, key, &body).await {
                actix_web::rt::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    async fn enqueue(&self, client: &awc::Client, key: usize, body: &Value) -> bool {
        let url = format!("{}/api/v1/jobs", self.url.borrow());
        let request = client
            .post(url)
            .insert_header(("Authorization", format!("Bearer {}", self.token)))
            .insert_header(("Idempotency-Key", format!("key-{key}")));
        let Ok(mut answer) = request.send_json(body).await else { return false };
        let status = answer.status().as_u16();
        let Ok(bytes) = answer.body().await else { return false };
        if status != 202 {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            assert!(matches!(status, 429 | 503 | 504), "{status}: {text}");
            return false;
        }
        let answer: Value = serde_json::from_slice(&bytes).unwrap();
        let id = answer["job_id"].as_str().unwrap().to_owned();
        self.acknowledged.borrow_mut().insert(key, id);
        true
    }

    /// Lets the clients work, and `disturb` whenever another share of the jobs is acknowledged.
    async fn run(self: &Rc<Self>, times: usize, mut disturb: impl FnMut(usize)) {
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| actix_web::rt::spawn(Rc::clone(self).client())).collect();
        let end = Instant::now() + ALL_MAX;
        for time in 1..=times {
            while self.acknowledged.borrow().len() < self.total * time / (times + 1) {
                assert!(Instant::now() < end, "{} acknowledged", self.acknowledged.borrow().len());
                actix_web::rt::time::sleep(Duration::from_millis(5)).await;
            }
            disturb(time);
        }
        for client in clients {
            let left = end.saturating_duration_since(Instant::now());
            actix_web::rt::time::timeout(left, client).await.unwrap().unwrap();
        }
    }
}

/// Every job of the server, once all of them are over.
async fn settled(app: &TestApp, token: &str, total: usize) -> HashMap<String, Value> {
    let end = Instant::now() + ALL_MAX;
    loop {
        let mut active = 0;
        for state in ["queued", "claimed", "running"] {
            let path = format!("/api/v1/jobs?state={state}&limit=200");
            let page = app.send("GET", &path, Some(token), &[], None).await;
            active += page.body["jobs"].as_array().map_or(1, Vec::len);
        }
        if active == 0 {
            break;
        }
        assert!(Instant::now() < end, "{active} jobs or more never ended");
        actix_web::rt::time::sleep(Duration::from_millis(200)).await;
    }
    let mut jobs = HashMap::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/api/v1/jobs?limit=200{cursor}");
        let page = app.send("GET", &path, Some(token), &[], None).await.body;
        for job in page["jobs"].as_array().unwrap() {
            jobs.insert(job["job_id"].as_str().unwrap().to_owned(), job.clone());
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(jobs.len(), total, "one job for each key, neither lost nor made twice");
    jobs
}

/// Calls of tools in these audits, by the job whose run they were.
fn runs(audits: &[&Path]) -> HashMap<String, HashSet<Vec<u8>>> {
    let mut runs: HashMap<String, HashSet<Vec<u8>>> = HashMap::new();
    for dir in audits {
        let audit = rusqlite::Connection::open(dir.join("audit.db")).unwrap();
        let mut events = audit
            .prepare("SELECT call_id, body FROM event WHERE tool = 'list_prompts' AND call_id IS NOT NULL")
            .unwrap();
        let mut rows = events.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let (call, body): (Vec<u8>, String) = (row.get(0).unwrap(), row.get(1).unwrap());
            let Some((_, rest)) = body.split_once("\"job_id\":\"") else { continue };
            runs.entry(rest[..36].to_owned()).or_default().insert(call);
        }
    }
    runs
}

/// What was promised about these jobs.
fn judge(load: &Load, jobs: &HashMap<String, Value>, runs: &HashMap<String, HashSet<Vec<u8>>>) {
    let mut unknown = 0;
    for (key, id) in load.acknowledged.borrow().iter() {
        let job = jobs.get(id).unwrap_or_else(|| panic!("job {id} was acknowledged and is lost"));
        let times = runs.get(id).map_or(0, HashSet::len);
        let status = job["status"].as_str().unwrap();
        let idempotent = key.is_multiple_of(3);
        match status {
            "completed" => assert!(times >= 1, "{job} completed without a run"),
            "outcome_unknown" if !idempotent => unknown += 1,
            other => panic!("{other}: {job}"),
        }
        assert!(idempotent || times <= 1, "{job} is not idempotent and ran {times} times");
    }
    assert!(unknown <= load.total / 20, "{unknown} of {} outcomes are unknown", load.total);
}

#[actix_web::test]
async fn ten_thousand_jobs_survive_a_server_that_is_killed_again_and_again() {
    let dir = TempDir::new().unwrap();
    let settings = settings(dir.path(), None);
    let app = RefCell::new(TestApp::start_with(&pairs(&settings)));
    let token = Mint::of(&app.borrow()).token("load", &["admin"]);
    let load = Load::new(&app.borrow(), token.clone(), 10_000);
    load.run(5, |_| {
        let mut app = app.borrow_mut();
        app.stop("-KILL");
        app.restart_with(&pairs(&settings));
        load.url.replace(app.url.clone());
    })
    .await;
    let mut app = app.into_inner();
    let jobs = settled(&app, &token, 10_000).await;
    app.stop("-TERM");
    judge(&load, &jobs, &runs(&[app.data.path()]));
}

#[actix_web::test]
async fn shared_jobs_survive_workers_server_and_redis_that_are_killed() {
    let dir = TempDir::new().unwrap();
    let redis = RefCell::new(Redis::start());
    let settings = settings(dir.path(), Some(&redis.borrow()));
    let serving: Vec<(String, String)> = settings
        .iter()
        .filter(|(key, _)| !key.ends_with("JOBS__WORKERS"))
        .cloned()
        .chain([("ULTIMATE_MCP__JOBS__WORKERS".to_owned(), "0".to_owned())])
        .collect();
    let server = RefCell::new(TestApp::start_with(&pairs(&serving)));
    let work = || RefCell::new(TestApp::worker_with(&pairs(&settings)));
    let workers = [work(), work()];
    let token = Mint::of(&server.borrow()).token("load", &["admin"]);
    let load = Load::new(&server.borrow(), token.clone(), 4_000);
    load.run(8, |time| match time % 4 {
        1 | 3 => {
            let mut worker = workers[time / 2 % 2].borrow_mut();
            worker.stop("-KILL");
            worker.restart_as_worker(&pairs(&settings));
        }
        2 => {
            redis.borrow_mut().kill();
            redis.borrow_mut().restart();
        }
        _ => {
            let mut server = server.borrow_mut();
            server.stop("-KILL");
            server.restart_with(&pairs(&serving));
            load.url.replace(server.url.clone());
        }
    })
    .await;
    let server = server.into_inner();
    let jobs = settled(&server, &token, 4_000).await;
    let mut workers = workers.map(RefCell::into_inner);
    workers.iter_mut().for_each(|worker| {
        worker.stop("-TERM");
    });
    judge(&load, &jobs, &runs(&[workers[0].data.path(), workers[1].data.path()]));
}

#[actix_web::test]
async fn a_worker_answers_for_its_health_only_and_refuses_a_queue_it_cannot_share() {
    let dir = TempDir::new().unwrap();
    let alone = crate::app::cli(dir.path(), &["worker"]);
    assert_eq!(alone.status.code(), Some(78));
    let said = String::from_utf8_lossy(&alone.stderr).into_owned();
    assert!(said.contains("jobs.engine = \"redis\""), "{said}");
    let redis = Redis::start();
    let settings = settings(dir.path(), Some(&redis));
    let worker = TestApp::worker_with(&pairs(&settings));
    assert_eq!(worker.send("GET", "/health", None, &[], None).await.status, 200);
    assert_eq!(worker.send("GET", "/ready", None, &[], None).await.status, 200);
    let token = Mint::of(&worker).token("root", &["admin"]);
    let metrics = worker.send("GET", "/metrics", Some(&token), &[], None).await;
    let text = String::from_utf8(metrics.bytes).unwrap();
    for name in
        ["jobs_queued{", "jobs_running{", "jobs_dead_letters{", "jobs_oldest_ms{", "jobs_retries"]
    {
        assert!(text.contains(name), "{name} is not in {text}");
    }
    for path in ["/mcp", "/api/v1/jobs", "/api/v1/tools/list_prompts"] {
        assert_eq!(
            worker.send("POST", path, Some(&token), &[], Some(&json!({}))).await.status,
            404
        );
    }
}
