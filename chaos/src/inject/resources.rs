//! What runs short, and a clock that jumps: processor, disk, memory, wall time.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{Undo, meanwhile};
use crate::rng::Rng;
use crate::world::World;

/// A piece that is written to fill the disk.
const FILL_BYTES: usize = 64 * 1024;
/// A burning thread works and rests this long.
const BURN: Duration = Duration::from_millis(5);
/// An hour: further than any lease or health check looks, not as far as a token lives.
const JUMP_SECONDS: i64 = 3600;
/// The neighbour has taken its memory by then.
const HOLD_MAX: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Takes so many bytes, touches them, and keeps them until its standard input ends.
const HOLDER: &str = "import sys; held = b'x' * int(sys.argv[1]); sys.stdin.read()";

pub(super) fn burn_cpu() -> Undo {
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

pub(super) fn fill_disk(data: &Path, percent: u8) -> Result<Undo> {
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

/// A neighbour in the server's control group takes what is missing to `percent` of its limit.
pub(super) fn fill_memory(world: &World, percent: u8) -> Result<Undo> {
    let group = Arc::clone(world.memory.as_ref().context("the server has no control group")?);
    let (used, limit) = group.usage()?;
    let wanted = limit / 100 * u64::from(percent);
    let missing = wanted.saturating_sub(used);
    let mut command = Command::new("sh");
    command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(group.door());
    command.args(["/usr/bin/python3", "-c", HOLDER, &missing.to_string()]);
    let holder = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut holder = holder.spawn().context("no neighbour can be started")?;
    let end = Instant::now() + HOLD_MAX;
    while group.usage()?.0 < wanted {
        let alive = holder.try_wait()?.is_none();
        if !alive || Instant::now() > end {
            give_back(&mut holder);
        }
        ensure!(alive && Instant::now() < end, "the neighbour could not take {missing} bytes");
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(Undo::by(move || give_back(&mut holder)))
}

fn give_back(holder: &mut Child) {
    // Both fail only when it has ended, which is what is wanted.
    let _ = (holder.kill(), holder.wait());
}

/// An hour forth, an hour back and so on, in an order from the seed; the real time in the end.
pub(super) fn jump_clock(world: &World, rng: &mut Rng) -> Result<Undo> {
    let clock = world.clock.clone().context("the server's clock cannot be set")?;
    clock.set(JUMP_SECONDS)?;
    let (jumping, mut rng) = (clock.clone(), rng.clone());
    // The server reads the file once a second.
    let mut next = Instant::now() + Duration::from_millis(1500);
    let jumps = meanwhile(move || {
        if Instant::now() >= next {
            let seconds = [JUMP_SECONDS, -JUMP_SECONDS, 0][rng.below(3)];
            // A jump that fails is one fewer.
            let _ = jumping.set(seconds);
            next += rng.millis(1200, 2000);
        }
        std::thread::sleep(LOOK_EVERY);
    });
    Ok(Undo::by(move || {
        drop(jumps);
        let _ = clock.set(0);
    }))
}
