//! Neo4j Community: one server shared by all tests, or one of a test's own.
//!
//! A server takes 10 to 25 s to start and has one database, so most tests share the one that `make test`
//! starts and take turns; a test that kills its server starts its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use neo4rs::{ConfigBuilder, Graph, query};
use tempfile::TempDir;

use crate::process::{free_port, wait_until};

const REMEDY: &str = "run `make test`, which starts one, or \
    `tests/kit/servers/with-servers.sh cargo test …`";
/// Nodes deleted in one transaction: a server with a small heap takes no more.
const DELETE_MAX: i64 = 10_000;

/// A test that failed may leave something behind that still works for a moment.
const EMPTY_ATTEMPTS_MAX: usize = 50;

/// A Neo4j server that answers.
#[derive(Clone, Debug)]
pub struct Neo4j {
    /// `bolt://127.0.0.1:<port>`.
    pub uri: String,
    /// Port of Bolt.
    pub port: u16,
    /// Always `neo4j`.
    pub user: &'static str,
    /// Its password.
    pub password: String,
}

/// The shared server, empty, for one test at a time: hold this for as long as you use it.
pub struct Exclusive {
    /// The server.
    pub server: Neo4j,
    _turn: File,
}

/// Waits for its turn, empties the shared server (nodes, indexes, constraints) and hands it out.
pub async fn exclusive() -> Exclusive {
    let variable =
        |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; {REMEDY}"));
    let (uri, password) =
        (variable("ULTIMATE_MCP_TEST_NEO4J"), variable("ULTIMATE_MCP_TEST_NEO4J_PASSWORD"));
    let port = uri.rsplit(':').next().and_then(|port| port.parse().ok());
    let port = port.unwrap_or_else(|| panic!("no port in {uri}"));
    let server = Neo4j { uri, port, user: "neo4j", password };
    // Tests of other processes and threads wait here; blocking one test thread is what is wanted.
    let file = std::env::temp_dir().join(format!("ultimate-mcp-neo4j-{port}.lock"));
    let turn = File::create(file).unwrap();
    turn.lock().unwrap();
    server.empty().await;
    Exclusive { server, _turn: turn }
}

impl Neo4j {
    /// A connection that only tests use.
    pub async fn graph(&self) -> Graph {
        let config = ConfigBuilder::default()
            .uri(self.uri.as_str())
            .user(self.user)
            .password(self.password.as_str())
            .connection_timeout(Duration::from_secs(60))
            .build()
            .unwrap();
        Graph::connect(config).unwrap_or_else(|error| panic!("{}: {error}; {REMEDY}", self.uri))
    }

    /// Removes every node, relationship, constraint and index.
    pub async fn empty(&self) {
        let graph = self.graph().await;
        loop {
            let delete = query("MATCH (n) WITH n LIMIT $max DETACH DELETE n RETURN count(*) AS n");
            let mut rows = graph.execute(delete.param("max", DELETE_MAX)).await.unwrap();
            let row = rows.next().await.unwrap().unwrap();
            if row.get::<i64>("n").unwrap() == 0 {
                break;
            }
        }
        for (show, drop) in [
            ("SHOW CONSTRAINTS YIELD name RETURN name", "DROP CONSTRAINT"),
            ("SHOW INDEXES YIELD name, type WHERE type <> 'LOOKUP' RETURN name", "DROP INDEX"),
        ] {
            let mut last = None;
            for _ in 0..EMPTY_ATTEMPTS_MAX {
                let mut names = Vec::new();
                let mut rows = graph.execute(query(show)).await.unwrap();
                while let Some(row) = rows.next().await.unwrap() {
                    names.push(row.get::<String>("name").unwrap());
                }
                if names.is_empty() {
                    last = None;
                    break;
                }
                for name in names {
                    let dropped = graph.run(query(&format!("{drop} `{name}` IF EXISTS"))).await;
                    last = dropped.err();
                }
            }
            assert!(last.is_none(), "the shared server cannot be emptied: {last:?}");
        }
    }
}

/// A server of a test's own, which it may kill.
pub struct OwnNeo4j {
    /// How to reach it while it runs.
    pub server: Neo4j,
    folder: TempDir,
}

impl Neo4j {
    /// Starts a server of the test's own; takes 10 to 25 s.
    pub fn start_own() -> OwnNeo4j {
        let (port, folder) = (free_port(), TempDir::new().unwrap());
        let server = Neo4j {
            uri: format!("bolt://127.0.0.1:{port}"),
            port,
            user: "neo4j",
            password: "own-password".to_owned(),
        };
        let own = OwnNeo4j { server, folder };
        own.script("up");
        own
    }
}

impl OwnNeo4j {
    fn script(&self, verb: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("servers/neo4j.sh");
        let mut command = Command::new(script);
        command.arg(verb).arg("-d").arg(self.folder.path());
        command.args(["-p", &self.server.port.to_string(), "-w", &self.server.password]);
        let out = command.output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.path().join("pid")
    }

    /// SIGKILL; what it acknowledged is on its disk.
    pub fn kill(&self) {
        let pid = std::fs::read_to_string(self.pid_file()).unwrap();
        let _ = Command::new("kill").args(["-9", pid.trim()]).status();
        let gone = || !Path::new("/proc").join(pid.trim()).exists();
        wait_until("neo4j is gone", gone);
    }

    /// Starts it again on the same port and data; returns when it has answered a query, which takes it a second or
    /// more after it has opened its port.
    pub fn restart(&self) {
        self.script("up");
        let server = self.server.clone();
        // On a thread of its own: the caller may be part of a runtime.
        let asked = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let graph = server.graph().await;
                graph.run(query("CALL db.ping()")).await.unwrap();
            });
        });
        asked.join().unwrap();
    }
}

impl Drop for OwnNeo4j {
    fn drop(&mut self) {
        if self.pid_file().exists() {
            self.kill();
        }
    }
}
