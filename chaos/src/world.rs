//! The processes of one scenario: Redis, the way to Neo4j, the server or servers, and the surroundings that
//! some faults ask for. Everything ends with this value.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use ultimate_mcp_testkit::{Neo4j, OwnNeo4j, Proxy, Redis, TlsFront, free_port};

use crate::place::{Clock, MemoryGroup, SmallDisk};
use crate::scenario::{Fault, Scenario};
use crate::server::{Server, Surroundings};
use crate::workload::Tokens;

/// Host uids of one node's runs: nodes must not share any.
const UIDS: usize = 10_000;
/// Of the first node; the default.
const UID_BASE: usize = 400_000;

/// Neo4j, which takes 10 to 25 s to start: one for all scenarios, started when the first needs it.
#[derive(Default)]
pub struct SharedNeo4j(Mutex<Option<Arc<OwnNeo4j>>>);

impl SharedNeo4j {
    fn get(&self) -> Arc<OwnNeo4j> {
        let mut held = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(held.get_or_insert_with(|| Arc::new(Neo4j::start_own())))
    }
}

/// What runs in one scenario. Fields are dropped in this order: the servers before what they need.
pub struct World {
    /// The servers under test; one, or several that share what they can.
    pub nodes: Vec<Arc<Server>>,
    /// The way to Redis.
    pub redis_way: Arc<Proxy>,
    /// TLS on that way, where it is spoken.
    pub redis_tls: Option<Arc<TlsFront>>,
    /// Redis.
    pub redis: Arc<Mutex<Redis>>,
    /// The way to Neo4j, where the graph is kept there.
    pub neo4j_way: Option<Arc<Proxy>>,
    /// Neo4j.
    pub neo4j: Option<Arc<OwnNeo4j>>,
    /// The control group in which the server runs, where it has one of its own.
    pub memory: Option<Arc<MemoryGroup>>,
    /// The wall clock of the server, where it can be set.
    pub clock: Option<Clock>,
    _disk: Option<SmallDisk>,
    /// Keys and data directories.
    pub folder: TempDir,
}

impl World {
    /// Starts everything; the servers answer when this returns.
    ///
    /// # Errors
    /// When something does not start.
    pub fn start(scenario: &Scenario, neo4j: &SharedNeo4j) -> Result<Self> {
        let folder = TempDir::with_prefix("ultimate-mcp-chaos-")?;
        let data = folder.path().join("node-0");
        let disk = scenario.needs_small_disk().then(|| SmallDisk::mount(&data)).transpose()?;
        let memory = scenario.has(|fault| matches!(fault, Fault::FillMemory(_)));
        let memory = memory.then(MemoryGroup::make).transpose()?.map(Arc::new);
        let clock = scenario.has(|fault| fault == Fault::JumpClock);
        let clock = clock.then(|| Clock::make(folder.path())).transpose()?;
        let redis = Redis::start();
        let redis_way = Proxy::to(redis.port());
        let mut shared = settings(folder.path(), redis_way.port())?;
        let redis_tls = scenario
            .has(|fault| fault == Fault::RotateCertificate)
            .then(|| Arc::new(TlsFront::start(redis_way.port())));
        if let Some(front) = &redis_tls {
            shared.extend(tls_settings(folder.path(), front)?);
        }
        let neo4j = scenario.needs_neo4j().then(|| neo4j.get());
        let neo4j_way = neo4j.as_ref().map(|neo4j| Arc::new(Proxy::to(neo4j.server.port)));
        if let (Some(neo4j), Some(way)) = (&neo4j, &neo4j_way) {
            shared.extend(neo4j_settings(&neo4j.server.password, way.port()));
        }
        let surroundings = Surroundings {
            environment: clock.as_ref().map(Clock::variables).unwrap_or_default(),
            group: memory.as_ref().map(|memory| memory.door()),
        };
        let nodes = (0..scenario.node_count())
            .map(|index| {
                let (mut own, port) = (shared.clone(), free_port());
                if scenario.node_count() > 1 {
                    own.extend(node_settings(folder.path(), index, port)?);
                }
                let data = folder.path().join(format!("node-{index}"));
                Server::new(&data, port, own, surroundings.clone())
            })
            .collect::<Result<Vec<_>>>()?;
        let world = Self {
            nodes,
            redis_way: Arc::new(redis_way),
            redis_tls,
            redis: Arc::new(Mutex::new(redis)),
            neo4j_way,
            neo4j,
            memory,
            clock,
            _disk: disk,
            folder,
        };
        world.nodes.iter().try_for_each(|node| node.start())?;
        Ok(world)
    }

    /// The first server, or the only one.
    pub fn server(&self) -> &Arc<Server> {
        &self.nodes[0]
    }

    /// Where the servers answer.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.url()).collect()
    }

    /// The last lines of what every server warned of.
    pub fn said(&self, lines: usize) -> String {
        self.nodes.iter().map(|node| node.said(lines)).collect::<Vec<_>>().join("\n")
    }

    /// Tokens for the workload's callers, issued two hours ago where the clock is about to jump.
    ///
    /// # Errors
    /// When the server's command line makes none.
    pub fn tokens(&self) -> Result<Tokens> {
        let clock = self.clock.as_ref().map(Clock::two_hours_ago).unwrap_or_default();
        let token = |sub: &str, role: &str| -> Result<String> {
            let arguments = ["token", "create", "--sub", sub, "--role", role];
            let out = self.server().cli_with(&arguments, &clock)?;
            let said = String::from_utf8_lossy(&out.stderr);
            ensure!(out.status.success(), "no token for {role}: {said}");
            Ok(String::from_utf8(out.stdout)?.trim().to_owned())
        };
        Ok(Tokens {
            admin: token("chaos", "admin")?,
            developer: token("chaos-developer", "developer")?,
            viewer: token("chaos-viewer", "viewer")?,
            lowered: token("chaos-lowered", "developer")?,
            many: token("chaos-many", "admin")?,
        })
    }
}

/// Makes a file with a secret in it that only its owner can read.
///
/// # Errors
/// When it cannot be written.
pub fn secret_file(folder: &Path, name: &str, secret: &str) -> Result<String> {
    let path = folder.join(name);
    std::fs::write(&path, secret)?;
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
    Ok(path.to_str().context("a folder with a strange name")?.to_owned())
}

/// Settings that differ from the defaults: rates that do not stand in the way, short leases and checks, so
/// that what follows from a fault is seen within the scenario.
fn settings(folder: &Path, redis_port: u16) -> Result<Vec<(String, String)>> {
    let text = include_str!("../../config/policy.toml");
    let fast = text.replace("calls_per_minute = 6000", "calls_per_minute = 100000000");
    ensure!(text != fast, "config/policy.toml names another rate for admin");
    let settings = [
        ("POLICY_FILE", secret_file(folder, "policy.toml", &fast)?),
        ("AUDIT__STDOUT", "off".to_owned()),
        ("HTTP__DRAIN_SECONDS", "5".to_owned()),
        // A keyed call that a kill cut off is known as such 10 s after its deadline (docs/redis.md).
        ("HTTP__REQUEST_TIMEOUT_SECONDS", "6".to_owned()),
        ("MCP__CALL_SECONDS_MAX", "6".to_owned()),
        // Clients of before a fault and of after it call at the same time, as the same caller.
        ("ADMISSION__RUNNING_PER_CALLER_MAX", "64".to_owned()),
        ("JOBS__PER_CALLER_MAX", "100000".to_owned()),
        ("JOBS__LEASE_SECONDS", "2".to_owned()),
        ("JOBS__RETRY_INITIAL_MS", "50".to_owned()),
        ("JOBS__RETRY_MAX_MS", "1000".to_owned()),
        ("REDIS__URLS", format!("[\"redis://127.0.0.1:{redis_port}\"]")),
    ];
    Ok(settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// What the server trusts on its way to Redis.
///
/// # Errors
/// When it cannot be written.
pub fn trust(folder: &Path, certificates: &[String]) -> Result<String> {
    secret_file(folder, "redis-ca.pem", &certificates.concat())
}

fn tls_settings(folder: &Path, front: &TlsFront) -> Result<Vec<(String, String)>> {
    let settings = [
        ("REDIS__URLS", format!("[\"rediss://127.0.0.1:{}\"]", front.port())),
        ("REDIS__CA_FILE", trust(folder, &[front.certificate("first")])?),
    ];
    Ok(settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn neo4j_settings(password: &str, port: u16) -> Vec<(String, String)> {
    let settings = [
        ("GRAPH__ENGINE", "neo4j".to_owned()),
        ("NEO4J__URI", format!("bolt://127.0.0.1:{port}")),
        ("NEO4J__PASSWORD", password.to_owned()),
        ("NEO4J__CONNECT_TIMEOUT_MS", "2000".to_owned()),
        ("NEO4J__QUERY_TIMEOUT_MS", "4000".to_owned()),
        ("NEO4J__HEALTH_INTERVAL_MS", "500".to_owned()),
        ("NEO4J__RECONNECT_MAX_MS", "1000".to_owned()),
        ("NEO4J__RESILIENCE__ATTEMPT_TIMEOUT_MS", "5000".to_owned()),
    ];
    settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// One of several nodes: what docs/nodes.md asks for, and a queue of jobs that all share.
fn node_settings(folder: &Path, index: usize, port: u16) -> Result<Vec<(String, String)>> {
    let token_key = secret_file(folder, "token-1.key", &"first token key ".repeat(4))?;
    let cluster_key = secret_file(folder, "cluster.key", &"the nodes' secret ".repeat(4))?;
    let jobs_key = secret_file(folder, "jobs-1.key", JOBS_KEYS[0])?;
    let settings = [
        ("NODE__ID", format!("n{}", index + 1)),
        ("NODE__ADVERTISE_URL", format!("http://127.0.0.1:{port}")),
        ("NODE__SECRET_FILE", cluster_key),
        ("NODE__HEARTBEAT_MS", "200".to_owned()),
        ("NODE__GONE_AFTER_MS", "3000".to_owned()),
        ("CELL__UID_BASE", (UID_BASE + UIDS * index).to_string()),
        // Longer than the clients' looks at `/ready` need to notice.
        ("HTTP__LAME_DUCK_SECONDS", "1".to_owned()),
        ("AUTH__KEYS", format!("[{}]", token_key_table("first", &token_key))),
        ("JOBS__ENGINE", "redis".to_owned()),
        ("JOBS__SECRET_FILE", jobs_key),
    ];
    Ok(settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// Keys of jobs, 32 bytes in base64: before a rotation and after it.
pub const JOBS_KEYS: [&str; 2] = [
    "Y2hhb3MgY2hhb3MgY2hhb3MgY2hhb3MgY2hhb3MgISE=",
    "c29oYWMgc29oYWMgc29oYWMgc29oYWMgc29oYWMgISE=",
];

/// An entry of `auth.keys`.
pub fn token_key_table(kid: &str, file: &str) -> String {
    format!("{{kid=\"{kid}\", algorithm=\"HS256\", secret_file=\"{file}\"}}")
}
