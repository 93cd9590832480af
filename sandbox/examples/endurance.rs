//! What a launcher holds after many thousand runs, beside what it held after the first hundred.
//!
//! Ordinary programs, failing ones, ones that leave processes behind and ones that fork, four at once, with
//! and without a zygote in turn. Ends with 1 when anything was left: processes, control groups, descriptors,
//! mounts, network or process namespaces, or more than a few megabytes of memory. Used by `make bench`.
//!
//! `cargo run --release --example endurance -- [RUNS]`

use std::collections::HashSet;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ultimate_mcp_sandbox::client::RunOptions;
use ultimate_mcp_sandbox::options::ZygoteOptions;
use ultimate_mcp_sandbox::spec::{Language, Limits};
use ultimate_mcp_sandbox::{CellError, LauncherOptions, Link, launcher};

const RUNS_DEFAULT: usize = 20_000;
/// Runs before the first look: caches and allocators have their size after them.
const WARM_UP: usize = 400;
/// Growth of the launcher and of its zygote that is no leak: allocators keep pages.
const SLACK_KIB: u64 = 4096;
const AT_ONCE: usize = 4;

const PROGRAMS: [&str; 5] = [
    "print(1)",
    "raise ValueError(1)",
    "import os\nif os.fork(): os._exit(0)\nimport time; time.sleep(99)",
    "import subprocess; subprocess.run(['/bin/true'])",
    "open('out/a', 'w').write('x' * 10000)",
];

/// Everything counted, each with its name.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Held {
    counts: [(&'static str, usize); 6],
    memory_kib: u64,
}

fn main() -> ExitCode {
    if let Some(code) = launcher::run_if_asked() {
        return code;
    }
    let runs = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(RUNS_DEFAULT);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.map_err(CellError::Io).and_then(|runtime| {
        runtime.block_on(async {
            let started = endure("interpreters started", None, runs).await?;
            let forked =
                endure("forked from a zygote", Some(ZygoteOptions::default()), runs).await?;
            Ok(started && forked)
        })
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "endurance: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn endure(name: &str, zygote: Option<ZygoteOptions>, runs: usize) -> Result<bool, CellError> {
    let options = LauncherOptions { allow_degraded: true, zygote, ..LauncherOptions::default() };
    let idle = usize::from(options.spares)
        + options.zygote.as_ref().map_or(0, |zygote| usize::from(zygote.spares) + 1);
    let link = Link::spawn(options).await?;
    many(&link, WARM_UP).await?;
    let before = at_rest(link.launcher_pid(), idle).await;
    let began = Instant::now();
    many(&link, runs).await?;
    let seconds = began.elapsed().as_secs_f64();
    let after = at_rest(link.launcher_pid(), idle).await;
    let rate = runs as f64 / seconds;
    let mut line = format!("{runs} runs, {name}: {rate:.0} runs/s");
    for ((what, then), (_, now)) in before.counts.iter().zip(after.counts) {
        line += &format!("; {what} {then} → {now}");
    }
    line += &format!("; memory {} → {} KiB\n", before.memory_kib, after.memory_kib);
    std::io::stdout().write_all(line.as_bytes())?;
    let grew = before.counts.iter().zip(after.counts).any(|((_, then), (_, now))| now > *then);
    let fat = after.memory_kib > before.memory_kib + SLACK_KIB;
    Ok(!grew && !fat)
}

async fn many(link: &Link, runs: usize) -> Result<(), CellError> {
    let workers = (0..AT_ONCE).map(|first| {
        let link = link.clone();
        tokio::spawn(async move {
            for n in (first..runs).step_by(AT_ONCE) {
                let code = PROGRAMS[n % PROGRAMS.len()];
                let spec =
                    Language::Python.run_spec("endurance".into(), code, vec![], vec![], limits());
                let spec = spec.map_err(|error| CellError::InvalidSpec(error.to_string()))?;
                link.run(spec, RunOptions::default()).await?;
            }
            Ok::<(), CellError>(())
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.map_err(|error| CellError::Io(std::io::Error::other(error)))??;
    }
    Ok(())
}

/// Looks until what is prepared is prepared and nothing has changed for half a second, 30 s at most.
async fn at_rest(launcher: u32, idle: usize) -> Held {
    let until = Instant::now() + Duration::from_secs(30);
    let (mut held, mut same) = (look(launcher), 0);
    while same < 10 && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = look(launcher);
        let calm = now.counts == held.counts && now.counts[0].1 == idle;
        (held, same) = (now, if calm { same + 1 } else { 0 });
    }
    held
}

fn look(launcher: u32) -> Held {
    let children = children(launcher);
    let zygotes = children.iter().filter(|pid| text(**pid, "comm").trim() == "python3");
    let memory_kib = zygotes.chain([&launcher]).map(|pid| resident_kib(*pid)).sum();
    Held {
        counts: [
            ("processes", children.len()),
            ("descriptors", entries(Path::new(&format!("/proc/{launcher}/fd")))),
            ("mounts", text(launcher, "mountinfo").lines().count()),
            ("control groups", groups(Path::new("/sys/fs/cgroup"), launcher, 5, false)),
            ("network namespaces", namespaces("net")),
            ("process namespaces", namespaces("pid_for_children")),
        ],
        memory_kib,
    }
}

fn text(pid: u32, file: &str) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
}

fn children(pid: u32) -> Vec<u32> {
    let listed = text(pid, &format!("task/{pid}/children"));
    listed.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

fn resident_kib(pid: u32) -> u64 {
    let status = text(pid, "status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Namespaces of a kind that any process of the host is in.
fn namespaces(kind: &str) -> usize {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let links = processes.filter_map(|entry| {
        entry.file_name().to_str()?.parse::<u32>().ok()?;
        std::fs::read_link(entry.path().join("ns").join(kind)).ok()
    });
    links.collect::<HashSet<_>>().len()
}

/// Control groups of the launcher and of its runs, in every hierarchy.
fn groups(folder: &Path, launcher: u32, depth: usize, inside: bool) -> usize {
    let name = format!("ultimate-mcp-cell-{launcher}-");
    let found = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = found.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let counts = folders.map(|entry| {
        let inside = inside || entry.file_name().to_string_lossy().starts_with(&name);
        let below = if depth > 0 { groups(&entry.path(), launcher, depth - 1, inside) } else { 0 };
        usize::from(inside) + below
    });
    counts.sum()
}

fn limits() -> Limits {
    Limits {
        wall: Duration::from_secs(10),
        cpu: Duration::from_secs(10),
        memory_bytes: 256 << 20,
        pids: 64,
        output_bytes: 1 << 20,
        disk_bytes: 64 << 20,
        cpu_milli: 1000,
    }
}
