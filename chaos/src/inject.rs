//! Faults: begun with parameters from the seed, undone by a guard, so also when the runner panics or is
//! interrupted.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;
use ultimate_mcp_testkit::Proxy;

use crate::census;
use crate::record::{Kind, Outcome, Record};
use crate::rng::Rng;
use crate::scenario::{Engine, Fault, Trouble};
use crate::server::signal;
use crate::workload::Workload;
use crate::world::World;

/// Slow clients at once.
const SLOW_CLIENTS: usize = 24;
/// A piece that is written to fill the disk.
const FILL_BYTES: usize = 64 * 1024;
/// A burning thread works and rests this long.
const BURN: Duration = Duration::from_millis(5);

/// Undoes a fault when dropped.
pub struct Undo(Option<Box<dyn FnOnce() + Send>>);

impl Undo {
    fn by(undo: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(undo)))
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some(undo) = self.0.take() {
            undo();
        }
    }
}

/// A fault that has begun.
pub struct Begun {
    /// What was done, with its parameters.
    pub what: String,
    /// How long it is to last.
    pub lasts: Duration,
    /// Ends it.
    pub undo: Undo,
}

/// How often in a row a fault happens.
pub fn times(fault: Fault, rng: &mut Rng) -> usize {
    match fault {
        Fault::KillServer => 2 + rng.below(2),
        Fault::PauseServer | Fault::KillLauncher => 1 + rng.below(2),
        Fault::Kill(Engine::Redis) => 1 + rng.below(2),
        _ => 1,
    }
}

/// Begins it.
///
/// # Errors
/// When it cannot be done here.
pub fn begin(fault: Fault, world: &World, load: &Arc<Workload>, rng: &mut Rng) -> Result<Begun> {
    // What must be noticed by a health check lasts until it has been.
    let lasts = if fault.is_away() { rng.millis(4500, 6000) } else { rng.millis(2500, 4000) };
    let (lasts, undo) = match fault {
        Fault::KillServer => (rng.millis(20, 400), kill_server(world)),
        Fault::PauseServer => (rng.millis(500, 2000), pause_server(world)?),
        Fault::KillLauncher => (rng.millis(500, 1500), kill_launcher(world)?),
        Fault::KillCells => (lasts, kill_cells(world, rng)),
        Fault::Kill(Engine::Redis) => (lasts, kill_redis(world)),
        Fault::Kill(Engine::Neo4j) => (lasts, kill_neo4j(world)?),
        Fault::PauseRedis => (lasts, pause_redis(world)),
        Fault::Net(engine, trouble) => (lasts, disturb(way(world, engine)?, trouble)),
        Fault::SlowClients => (lasts, slow_clients(world.server.port())),
        Fault::DyingClients => (lasts, dying_clients(world.server.port(), load)),
        Fault::BurnCpu => (lasts, burn_cpu()),
        Fault::FillDisk(percent) => (lasts, fill_disk(world.server.data(), percent)?),
    };
    let what = format!("{} for {} ms", fault.name(), lasts.as_millis());
    Ok(Begun { what, lasts, undo })
}

/// Lets `work` go on on a thread of its own until the fault is undone.
fn meanwhile(mut work: impl FnMut() + Send + 'static) -> Undo {
    let ends = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&ends);
    let thread = std::thread::spawn(move || {
        while !seen.load(Ordering::SeqCst) {
            work();
        }
    });
    Undo::by(move || {
        ends.store(true, Ordering::SeqCst);
        let _ = thread.join();
    })
}

fn kill_server(world: &World) -> Undo {
    let server = Arc::clone(&world.server);
    server.kill();
    // That it does not start shows as a server that never recovers.
    Undo::by(move || drop(server.spawn()))
}

fn pause_server(world: &World) -> Result<Undo> {
    let pid = world.server.pid().context("the server had ended")?;
    signal(pid, "STOP")?;
    Ok(Undo::by(move || drop(signal(pid, "CONT"))))
}

fn kill_launcher(world: &World) -> Result<Undo> {
    let pid = world.server.pid().context("the server had ended")?;
    world.server.notice();
    let family = census::family(pid);
    let launcher = family.iter().find(|life| life.name.starts_with("cell-launcher"));
    signal(launcher.context("the server has no launcher")?.pid, "KILL")?;
    Ok(Undo::by(|| ()))
}

fn kill_cells(world: &World, rng: &Rng) -> Undo {
    let (server, mut rng) = (Arc::clone(&world.server), rng.clone());
    meanwhile(move || {
        std::thread::sleep(rng.millis(100, 300));
        let family = server.pid().map(census::family).unwrap_or_default();
        let cells: Vec<_> = family.iter().filter(|life| life.name == "cell-init").collect();
        if !cells.is_empty() {
            // It may have ended by itself meanwhile.
            let _ = signal(cells[rng.below(cells.len())].pid, "KILL");
        }
    })
}

fn kill_redis(world: &World) -> Undo {
    let redis = Arc::clone(&world.redis);
    redis.lock().unwrap_or_else(PoisonError::into_inner).kill();
    Undo::by(move || redis.lock().unwrap_or_else(PoisonError::into_inner).restart())
}

fn pause_redis(world: &World) -> Undo {
    let redis = Arc::clone(&world.redis);
    redis.lock().unwrap_or_else(PoisonError::into_inner).pause();
    Undo::by(move || redis.lock().unwrap_or_else(PoisonError::into_inner).resume())
}

fn kill_neo4j(world: &World) -> Result<Undo> {
    let neo4j = Arc::clone(world.neo4j.as_ref().context("there is no Neo4j")?);
    neo4j.kill();
    Ok(Undo::by(move || neo4j.restart()))
}

fn way(world: &World, engine: Engine) -> Result<Arc<Proxy>> {
    match engine {
        Engine::Redis => Ok(Arc::clone(&world.redis_way)),
        Engine::Neo4j => Ok(Arc::clone(world.neo4j_way.as_ref().context("there is no Neo4j")?)),
    }
}

fn disturb(way: Arc<Proxy>, trouble: Trouble) -> Undo {
    match trouble {
        Trouble::Late => way.delay(Duration::from_millis(500)),
        Trouble::Erratic => way.delay_about(Duration::from_secs(1), Duration::from_millis(500)),
        Trouble::Narrow => way.throttle(1000),
        Trouble::Resets => way.reset_some(30),
        Trouble::HalfOpen => way.mute(),
        Trouble::Partition => way.stall(),
    }
    Undo::by(move || way.heal())
}

fn slow_clients(port: u16) -> Undo {
    let head =
        b"POST /api/v1/tools/execute_code HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n";
    let mut clients: Vec<(TcpStream, usize)> = Vec::new();
    meanwhile(move || {
        while clients.len() < SLOW_CLIENTS {
            let Ok(client) = TcpStream::connect(("127.0.0.1", port)) else { break };
            clients.push((client, 0));
        }
        // Whom the server turned away comes again.
        clients.retain_mut(|(client, sent)| {
            let byte = head[*sent % head.len()];
            *sent += 1;
            client.write_all(&[byte]).is_ok()
        });
        std::thread::sleep(Duration::from_millis(100));
    })
}

/// Every one of its calls is written down: what became of it is unknown to the client, not to the audit.
fn dying_clients(port: u16, load: &Arc<Workload>) -> Undo {
    let load = Arc::clone(load);
    meanwhile(move || {
        let request_id = load.id("dying");
        let began = load.now();
        let body = json!({ "code": format!("print('{request_id}')") }).to_string();
        let token = &load.tokens().admin;
        let whole = format!(
            "POST /api/v1/tools/execute_code HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\
             Authorization: Bearer {token}\r\nContent-Type: application/json\r\n\
             X-Request-Id: {request_id}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let sent = TcpStream::connect(("127.0.0.1", port))
            .and_then(|mut stream| stream.write_all(whole.as_bytes()).map(|()| stream));
        std::thread::sleep(Duration::from_millis(10));
        drop(sent);
        load.note(Record {
            request_id,
            kind: Kind::Run,
            began,
            ended: load.now(),
            outcome: Outcome::Unknown("the client hung up".to_owned()),
            subject: String::new(),
            made: String::new(),
        });
        std::thread::sleep(Duration::from_millis(40));
    })
}

fn burn_cpu() -> Undo {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let burn = || {
        let began = Instant::now();
        while began.elapsed() < BURN {
            std::hint::spin_loop();
        }
        std::thread::sleep(BURN);
    };
    let burning: Vec<Undo> = (0..threads).map(|_| meanwhile(burn)).collect();
    Undo::by(move || drop(burning))
}

fn fill_disk(data: &Path, percent: u8) -> Result<Undo> {
    let path = data.join("filler");
    let mut file = std::fs::File::create(&path)?;
    let undo = Undo::by({
        let path = path.clone();
        move || drop(std::fs::remove_file(path))
    });
    let piece = vec![0_u8; FILL_BYTES];
    loop {
        let disk = rustix::fs::statvfs(data)?;
        let used = (disk.f_blocks - disk.f_bavail) * 100;
        if percent < 100 && used >= u64::from(percent) * disk.f_blocks {
            break;
        }
        // The last piece goes in byte by byte as far as it does; then the disk is full.
        if file.write_all(&piece).is_err() {
            break;
        }
    }
    Ok(undo)
}
