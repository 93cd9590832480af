//! Redis as a single server, three sentinels over a master and a replica, or a cluster of three.

use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::process::{Process, free_port, wait_until};

const REMEDY: &str = "install redis-server (`make test` does)";

/// One Redis server with a folder of its own. It appends to disk with an fsync per write, so that what it
/// acknowledged survives [`Redis::kill`].
pub struct Redis {
    process: Process,
    port: u16,
    folder: TempDir,
    extra: Vec<String>,
}

impl Redis {
    /// Starts a server on a free port.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more arguments, e.g. `["--requirepass", "secret"]`.
    pub fn start_with(extra: &[&str]) -> Self {
        let (port, folder) = (free_port(), TempDir::new().unwrap());
        let extra: Vec<String> = extra.iter().map(|&text| text.to_owned()).collect();
        let process = Self::spawn(port, &folder, &extra);
        Self { process, port, folder, extra }
    }

    fn spawn(port: u16, folder: &TempDir, extra: &[String]) -> Process {
        let mut command = Command::new("redis-server");
        let fixed = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"];
        command.args(fixed).args(["--appendfsync", "always", "--port", &port.to_string()]);
        command.arg("--dir").arg(folder.path()).args(extra);
        let mut process = Process::spawn(&mut command, REMEDY);
        let password = extra.iter().position(|text| text == "--requirepass");
        let password = password.and_then(|at| extra.get(at + 1)).cloned();
        wait_until("redis answers", || {
            assert!(!process.has_ended(), "redis-server ended at once: is port {port} taken?");
            let out = cli(port, password.as_deref(), &["ping"]);
            out.status.success() && out.stdout.starts_with(b"PONG")
        });
        process
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `redis://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGSTOP: it accepts connections and never answers.
    pub fn pause(&self) {
        self.process.signal("STOP");
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.process.signal("CONT");
    }

    /// Starts it again on the same port and folder.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = Self::spawn(self.port, &self.folder, &self.extra);
    }

    /// What `redis-cli` prints for these arguments.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let password = self.extra.iter().position(|text| text == "--requirepass");
        let password = password.and_then(|at| self.extra.get(at + 1));
        let out = cli(self.port, password.map(String::as_str), arguments);
        String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
    }
}

fn cli(port: u16, password: Option<&str>, arguments: &[&str]) -> Output {
    let mut command = Command::new("redis-cli");
    command.args(["-p", &port.to_string()]);
    if let Some(password) = password {
        command.args(["--no-auth-warning", "-a", password]);
    }
    command.args(arguments).output().unwrap_or_else(|error| panic!("redis-cli: {error}; {REMEDY}"))
}

/// Three masters that share the slots.
pub struct RedisCluster {
    /// Its servers.
    pub nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts and joins three servers; all slots are served when this returns.
    pub fn start() -> Self {
        let nodes: Vec<Redis> = (0..3)
            .map(|_| {
                let bus = free_port().to_string();
                let fixed = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1500"];
                Redis::start_with(&[&fixed[..], &["--cluster-port", &bus]].concat())
            })
            .collect();
        let addresses: Vec<String> =
            nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let mut create = vec!["--cluster", "create"];
        create.extend(addresses.iter().map(String::as_str));
        create.push("--cluster-yes");
        let said = nodes[0].cli(&create);
        assert!(said.contains("[OK] All 16384 slots covered"), "{said}");
        let whole = |node: &Redis| node.cli(&["cluster", "info"]).contains("cluster_state:ok");
        wait_until("every node sees the cluster", || nodes.iter().all(whole));
        Self { nodes }
    }

    /// `redis://…` of every node.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }
}

/// A master, its replica, and three sentinels that watch them.
pub struct RedisSentinels {
    /// The first master.
    pub master: Redis,
    /// Its replica.
    pub replica: Redis,
    sentinels: Vec<(Process, u16)>,
    _folder: TempDir,
}

impl RedisSentinels {
    /// The name the sentinels know the master by.
    pub const MASTER: &'static str = "main";

    /// Starts all five; the sentinels know the replica and each other when this returns.
    pub fn start() -> Self {
        let master = Redis::start();
        let replica = Redis::start_with(&["--replicaof", &format!("127.0.0.1 {}", master.port())]);
        let folder = TempDir::new().unwrap();
        let sentinels: Vec<(Process, u16)> =
            (0..3).map(|index| sentinel(&folder, index, master.port())).collect();
        let knows = |port: u16| {
            let out = cli(port, None, &["sentinel", "master", Self::MASTER]);
            let text = String::from_utf8_lossy(&out.stdout).into_owned();
            let field = |name: &str| {
                text.lines().skip_while(|line| *line != name).nth(1).map(str::to_owned)
            };
            field("num-slaves").as_deref() == Some("1")
                && field("num-other-sentinels").as_deref() == Some("2")
        };
        wait_until("the sentinels know everybody", || {
            sentinels.iter().all(|(_, port)| knows(*port))
        });
        Self { master, replica, sentinels, _folder: folder }
    }

    /// `redis://…` of every sentinel.
    pub fn urls(&self) -> Vec<String> {
        self.sentinels.iter().map(|(_, port)| format!("redis://127.0.0.1:{port}")).collect()
    }
}

fn sentinel(folder: &TempDir, index: usize, master: u16) -> (Process, u16) {
    let (port, name) = (free_port(), RedisSentinels::MASTER);
    let file: PathBuf = folder.path().join(format!("sentinel-{index}.conf"));
    let text = format!(
        "port {port}\nbind 127.0.0.1\nsentinel monitor {name} 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds {name} 1000\nsentinel failover-timeout {name} 3000\n"
    );
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new("redis-server");
    command.arg(&file).arg("--sentinel").arg("--dir").arg(folder.path());
    (Process::spawn(&mut command, REMEDY), port)
}
