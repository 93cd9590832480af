//! Faults: begun with parameters from the seed, undone by a guard, so also when the runner panics or is
//! interrupted.

mod clients;
mod keys;
mod points;
mod process;
mod reload;
mod resources;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use ultimate_mcp_testkit::Proxy;

use crate::rng::Rng;
use crate::scenario::{Engine, Fault, Trouble, VICTIM};
use crate::workload::Workload;
use crate::world::World;

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

/// What faults themselves find wrong: an order answered wrongly, something that does not come back.
#[derive(Clone, Default)]
pub struct Complaints(Arc<Mutex<Vec<String>>>);

impl Complaints {
    fn add(&self, text: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }

    /// All of them.
    pub fn taken(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What a fault has to do with.
pub struct Scene<'a> {
    /// The processes.
    pub world: &'a World,
    /// The clients.
    pub load: &'a Arc<Workload>,
    /// Where it says what it finds wrong.
    pub complaints: &'a Complaints,
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
pub fn begin(fault: Fault, scene: &Scene<'_>, rng: &mut Rng) -> Result<Begun> {
    let (world, load) = (scene.world, scene.load);
    // What must be noticed by a health check lasts until it has been.
    let lasts = if fault.is_away() { rng.millis(4500, 6000) } else { rng.millis(3500, 4500) };
    let (lasts, undo) = match fault {
        Fault::KillServer => (rng.millis(20, 400), process::kill(world.server())),
        Fault::PauseServer => (rng.millis(500, 2000), process::pause(world.server())?),
        Fault::KillLauncher => (rng.millis(1500, 2500), process::kill_launcher(world)?),
        Fault::KillCells => (lasts, process::kill_cells(world, rng)),
        Fault::KillZygote => (lasts, process::kill_zygote(world, rng)),
        Fault::Kill(Engine::Redis) => (lasts, process::kill_redis(world)),
        Fault::Kill(Engine::Neo4j) => (lasts, process::kill_neo4j(world)?),
        Fault::PauseRedis => (lasts, process::pause_redis(world)),
        Fault::Net(engine, trouble) => (lasts, disturb(way(world, engine)?, trouble)),
        Fault::SlowClients => (lasts, clients::slow(world.server().port())),
        Fault::DyingClients => (lasts, clients::dying(world.server().port(), load)),
        Fault::BurnCpu => (lasts, resources::burn_cpu()),
        Fault::FillDisk(percent) => (lasts, resources::fill_disk(world.server().data(), percent)?),
        Fault::FillMemory(percent) => (lasts, resources::fill_memory(world, percent)?),
        Fault::JumpClock => (lasts * 2, resources::jump_clock(world, rng)?),
        Fault::ConfigReload => (lasts, reload::begin(scene, rng)?),
        Fault::InjectSteps => (lasts, points::arm(scene, &points::STEPS)?),
        Fault::InjectAudit => (lasts, points::arm(scene, &points::AUDIT)?),
        Fault::Panics(actor) => (Duration::ZERO, points::panic_again_and_again(scene, actor)?),
        Fault::KillNode => (rng.millis(2000, 3500), process::kill(&world.nodes[VICTIM])),
        Fault::PauseNode => (rng.millis(2000, 3500), process::pause(&world.nodes[VICTIM])?),
        Fault::RotateCertificate => (lasts, keys::rotate_certificate(world)?),
        Fault::RotateKeys => (Duration::ZERO, keys::rotate(scene)?),
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
