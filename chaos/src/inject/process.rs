//! Processes that are killed or stopped: servers, their launcher and cells, Redis, Neo4j.

use std::sync::{Arc, PoisonError};

use anyhow::{Context, Result};

use super::{Undo, meanwhile};
use crate::census;
use crate::rng::Rng;
use crate::server::{Server, signal};
use crate::world::World;

pub(super) fn kill(server: &Arc<Server>) -> Undo {
    let server = Arc::clone(server);
    server.kill();
    // That it does not start shows as a server that never recovers.
    Undo::by(move || drop(server.spawn()))
}

pub(super) fn pause(server: &Server) -> Result<Undo> {
    let pid = server.pid().context("the server had ended")?;
    signal(pid, "STOP")?;
    Ok(Undo::by(move || drop(signal(pid, "CONT"))))
}

pub(super) fn kill_launcher(world: &World) -> Result<Undo> {
    let server = world.server();
    let pid = server.pid().context("the server had ended")?;
    server.notice();
    let family = census::family(pid);
    let launcher = family.iter().find(|life| life.name.starts_with("cell-launcher"));
    signal(launcher.context("the server has no launcher")?.pid, "KILL")?;
    Ok(Undo::by(|| ()))
}

pub(super) fn kill_cells(world: &World, rng: &Rng) -> Undo {
    let (server, mut rng) = (Arc::clone(world.server()), rng.clone());
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

pub(super) fn kill_zygote(world: &World, rng: &Rng) -> Undo {
    let (server, mut rng) = (Arc::clone(world.server()), rng.clone());
    meanwhile(move || {
        std::thread::sleep(rng.millis(100, 300));
        let family = server.pid().map(census::family).unwrap_or_default();
        let launcher = family.iter().find(|life| life.name.starts_with("cell-launcher"));
        let children = launcher.map(|launcher| census::children(launcher.pid)).unwrap_or_default();
        let zygote =
            |pid: &u32| family.iter().any(|life| life.pid == *pid && life.name == "python3");
        // Two while one replaces the other; either may have ended by itself meanwhile.
        for pid in children.into_iter().filter(zygote) {
            let _ = signal(pid, "KILL");
        }
    })
}

pub(super) fn kill_redis(world: &World) -> Undo {
    let redis = Arc::clone(&world.redis);
    redis.lock().unwrap_or_else(PoisonError::into_inner).kill();
    Undo::by(move || redis.lock().unwrap_or_else(PoisonError::into_inner).restart())
}

pub(super) fn pause_redis(world: &World) -> Undo {
    let redis = Arc::clone(&world.redis);
    redis.lock().unwrap_or_else(PoisonError::into_inner).pause();
    Undo::by(move || redis.lock().unwrap_or_else(PoisonError::into_inner).resume())
}

pub(super) fn kill_neo4j(world: &World) -> Result<Undo> {
    let neo4j = Arc::clone(world.neo4j.as_ref().context("there is no Neo4j")?);
    neo4j.kill();
    Ok(Undo::by(move || neo4j.restart()))
}
