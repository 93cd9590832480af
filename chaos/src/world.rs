//! The processes of one scenario: Redis, the way to Neo4j, the server, and a small disk where one is
//! asked for. Everything ends with this value.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use ultimate_mcp_testkit::{Neo4j, OwnNeo4j, Proxy, Redis};

use crate::scenario::Scenario;
use crate::server::Server;
use crate::workload::Tokens;

/// Room on the small disk: a twentieth of it is what a scenario writes, several times over.
const DISK_MB: u64 = 512;

/// Neo4j, which takes 10 to 25 s to start: one for all scenarios, started when the first needs it.
#[derive(Default)]
pub struct SharedNeo4j(Mutex<Option<Arc<OwnNeo4j>>>);

impl SharedNeo4j {
    fn get(&self) -> Arc<OwnNeo4j> {
        let mut held = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(held.get_or_insert_with(|| Arc::new(Neo4j::start_own())))
    }
}

/// A file system of its own; unmounted with this value.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Whether this process may mount.
    pub fn is_possible() -> bool {
        rustix::process::geteuid().is_root()
    }

    fn mount(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path)?;
        let options = format!("size={DISK_MB}m,mode=0700");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &options, "ultimate-mcp-chaos"]).arg(path);
        ensure!(command.status()?.success(), "cannot mount a small disk; needs root");
        Ok(Self(path.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still holds a file of it must not keep it in the tree.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// What runs in one scenario. Fields are dropped in this order: the server before what it needs.
pub struct World {
    /// The server under test.
    pub server: Arc<Server>,
    /// The way to Redis.
    pub redis_way: Arc<Proxy>,
    /// Redis.
    pub redis: Arc<Mutex<Redis>>,
    /// The way to Neo4j, where the graph is kept there.
    pub neo4j_way: Option<Arc<Proxy>>,
    /// Neo4j.
    pub neo4j: Option<Arc<OwnNeo4j>>,
    _disk: Option<SmallDisk>,
    _folder: TempDir,
}

impl World {
    /// Starts everything; the server answers when this returns.
    ///
    /// # Errors
    /// When something does not start.
    pub fn start(scenario: &Scenario, neo4j: &SharedNeo4j) -> Result<Self> {
        let folder = TempDir::with_prefix("ultimate-mcp-chaos-")?;
        let data = folder.path().join("data");
        let disk = scenario.needs_small_disk().then(|| SmallDisk::mount(&data)).transpose()?;
        let redis = Redis::start();
        let redis_way = Proxy::to(redis.port());
        let mut settings = settings(folder.path(), redis_way.port())?;
        let neo4j = scenario.needs_neo4j().then(|| neo4j.get());
        let neo4j_way = neo4j.as_ref().map(|neo4j| Arc::new(Proxy::to(neo4j.server.port)));
        if let (Some(neo4j), Some(way)) = (&neo4j, &neo4j_way) {
            settings.extend(neo4j_settings(&neo4j.server.password, way.port()));
        }
        let server = Server::new(folder.path(), &data, settings)?;
        server.start()?;
        Ok(Self {
            server,
            redis_way: Arc::new(redis_way),
            redis: Arc::new(Mutex::new(redis)),
            neo4j_way,
            neo4j,
            _disk: disk,
            _folder: folder,
        })
    }

    /// Tokens for the workload's callers.
    ///
    /// # Errors
    /// When the server's command line makes none.
    pub fn tokens(&self) -> Result<Tokens> {
        let token = |sub: &str, role: &str| -> Result<String> {
            let out = self.server.cli(&["token", "create", "--sub", sub, "--role", role])?;
            let said = String::from_utf8_lossy(&out.stderr);
            ensure!(out.status.success(), "no token for {role}: {said}");
            Ok(String::from_utf8(out.stdout)?.trim().to_owned())
        };
        Ok(Tokens {
            admin: token("chaos", "admin")?,
            developer: token("chaos-developer", "developer")?,
            viewer: token("chaos-viewer", "viewer")?,
            lowered: token("chaos-lowered", "developer")?,
        })
    }
}

/// Settings that differ from the defaults: rates that do not stand in the way, short leases and checks, so
/// that what follows from a fault is seen within the scenario.
fn settings(folder: &Path, redis_port: u16) -> Result<Vec<(String, String)>> {
    let text = include_str!("../../config/policy.toml");
    let fast = text.replace("calls_per_minute = 6000", "calls_per_minute = 100000000");
    ensure!(text != fast, "config/policy.toml names another rate for admin");
    let policy = folder.join("policy.toml");
    std::fs::write(&policy, fast)?;
    std::fs::set_permissions(&policy, PermissionsExt::from_mode(0o600))?;
    let policy = policy.to_str().context("a folder with a strange name")?;
    let settings = [
        ("POLICY_FILE", policy.to_owned()),
        ("AUDIT__STDOUT", "off".to_owned()),
        ("HTTP__DRAIN_SECONDS", "5".to_owned()),
        // A keyed call that a kill cut off is known as such 10 s after its deadline (docs/redis.md).
        ("HTTP__REQUEST_TIMEOUT_SECONDS", "6".to_owned()),
        ("MCP__CALL_SECONDS_MAX", "6".to_owned()),
        ("JOBS__PER_CALLER_MAX", "100000".to_owned()),
        ("JOBS__LEASE_SECONDS", "2".to_owned()),
        ("JOBS__RETRY_INITIAL_MS", "50".to_owned()),
        ("JOBS__RETRY_MAX_MS", "1000".to_owned()),
        ("REDIS__URLS", format!("[\"redis://127.0.0.1:{redis_port}\"]")),
    ];
    Ok(settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn neo4j_settings(password: &str, port: u16) -> Vec<(String, String)> {
    let settings = [
        ("GRAPH__ENGINE", "neo4j".to_owned()),
        ("NEO4J__URI", format!("bolt://127.0.0.1:{port}")),
        ("NEO4J__PASSWORD", password.to_owned()),
        ("NEO4J__CONNECT_TIMEOUT_MS", "1000".to_owned()),
        ("NEO4J__QUERY_TIMEOUT_MS", "4000".to_owned()),
        ("NEO4J__HEALTH_INTERVAL_MS", "500".to_owned()),
        ("NEO4J__RECONNECT_MAX_MS", "1000".to_owned()),
        ("NEO4J__RESILIENCE__ATTEMPT_TIMEOUT_MS", "5000".to_owned()),
    ];
    settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
