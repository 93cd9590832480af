//! How far an isolated `print(1)` is from the floor: a bare `python3 -I -S -c 'print(1)'`.
//!
//! Both are measured in turn in one process, so that a noisy machine disturbs them alike. Prints
//! processor time first: wall times on shared machines drift. Used by `make bench`.
//!
//! `cargo run --release --example floor -- [ROUNDS]`

use std::io::Write as _;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use ultimate_mcp_sandbox::client::RunOptions;
use ultimate_mcp_sandbox::options::ZygoteOptions;
use ultimate_mcp_sandbox::spec::{Language, Limits, RunSpec, Status};
use ultimate_mcp_sandbox::{CellError, LauncherOptions, Link, launcher};

const ROUNDS_DEFAULT: usize = 100;
/// Rounds that fill caches and are not counted.
const WARM_UP: usize = 5;

/// One measured thing: wall and processor times of each round.
#[derive(Default)]
struct Series {
    wall: Vec<Duration>,
    cpu: Vec<Duration>,
}

impl Series {
    fn add(&mut self, (wall, cpu): (Duration, Duration)) {
        self.wall.push(wall);
        self.cpu.push(cpu);
    }

    fn at(values: &[Duration], percent: usize) -> f64 {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        sorted[(sorted.len() - 1) * percent / 100].as_secs_f64() * 1000.0
    }

    fn line(&self, name: &str) -> String {
        let cpu = self.cpu.iter().sum::<Duration>().as_secs_f64() * 1000.0 / self.cpu.len() as f64;
        let (p50, p99) = (Self::at(&self.wall, 50), Self::at(&self.wall, 99));
        format!("{name:<34} cpu {cpu:7.2} ms/run   wall p50 {p50:7.2} ms   p99 {p99:7.2} ms\n")
    }
}

fn main() -> ExitCode {
    if let Some(code) = launcher::run_if_asked() {
        return code;
    }
    let rounds = std::env::args().nth(1).and_then(|word| word.parse().ok());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime
        .map_err(CellError::Io)
        .and_then(|runtime| runtime.block_on(measure(rounds.unwrap_or(ROUNDS_DEFAULT))));
    match result {
        Ok(text) => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "floor: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(rounds: usize) -> Result<String, CellError> {
    let options = || LauncherOptions { allow_degraded: true, ..LauncherOptions::default() };
    let prepared = Link::spawn(options()).await?;
    let on_demand = Link::spawn(LauncherOptions { spares: 0, ..options() }).await?;
    let zygote = |spares| Some(ZygoteOptions { spares, ..ZygoteOptions::default() });
    let born = Link::spawn(LauncherOptions { zygote: zygote(8), ..options() }).await?;
    let unpooled = Link::spawn(LauncherOptions { zygote: zygote(0), ..options() }).await?;
    for link in [&born, &unpooled] {
        zygote_is_up(link).await?;
    }
    let mut series: [Series; 6] = Default::default();
    for round in 0..rounds + WARM_UP {
        let measured = [
            bare_run()?,
            isolated(&prepared, same_program()).await?,
            isolated(&on_demand, same_program()).await?,
            isolated(&prepared, as_tool()?).await?,
            isolated(&born, as_tool()?).await?,
            isolated(&unpooled, as_tool()?).await?,
        ];
        if round >= WARM_UP {
            series.iter_mut().zip(measured).for_each(|(series, one)| series.add(one));
        }
    }
    let names = [
        "bare python3 -I -S -c",
        "the same, isolated",
        "the same, nothing prepared",
        "execute_code, isolated",
        "execute_code, zygote",
        "execute_code, zygote, pool empty",
    ];
    let mut out = format!("isolated python print(1), {rounds} rounds in turn\n");
    for (series_of, name) in series.iter().zip(names) {
        out += &series_of.line(name);
    }
    let median = |at: usize| Series::at(&series[at].wall, 50);
    let ratio = |at: usize| median(at) / median(0);
    out += &format!(
        "ratio of p50 to bare: {:.2} isolated, {:.2} nothing prepared, {:.2} execute_code, {:.2} zygote, \
         {:.2} its pool empty; of p99: {:.2} zygote\n",
        ratio(1),
        ratio(2),
        ratio(3),
        ratio(4),
        ratio(5),
        Series::at(&series[4].wall, 99) / Series::at(&series[0].wall, 99),
    );
    for (name, link) in [("started", &prepared), ("zygote", &born)] {
        out += &format!("execute_code, {name}: {:.0} runs/s, 4 at once\n", rate(link).await?);
    }
    Ok(out)
}

/// Waits until a zygote serves Python; its command line tells.
async fn zygote_is_up(link: &Link) -> Result<(), CellError> {
    for _ in 0..200 {
        let code = "print(b'def zygote' in open('/proc/self/cmdline', 'rb').read())";
        let spec = Language::Python.run_spec("floor".into(), code, vec![], vec![], limits());
        let spec = spec.map_err(|error| CellError::InvalidSpec(error.to_string()))?;
        if link.run(spec, RunOptions::default()).await?.stdout == b"True\n" {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(CellError::Io(std::io::Error::other("no zygote is up")))
}

/// Runs per second with four at once.
async fn rate(link: &Link) -> Result<f64, CellError> {
    const RUNS: usize = 400;
    let began = Instant::now();
    let four = (0..4).map(|_| {
        let link = link.clone();
        tokio::spawn(async move {
            for _ in 0..RUNS / 4 {
                isolated(&link, as_tool()?).await?;
            }
            Ok::<(), CellError>(())
        })
    });
    for task in four.collect::<Vec<_>>() {
        task.await.map_err(|error| CellError::Io(std::io::Error::other(error)))??;
    }
    Ok(RUNS as f64 / began.elapsed().as_secs_f64())
}

fn bare_run() -> Result<(Duration, Duration), CellError> {
    let before = children_cpu();
    let began = Instant::now();
    let output = Command::new("/usr/bin/python3")
        .args(["-I", "-S", "-c", "print(1)"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .output()?;
    let wall = began.elapsed();
    if output.stdout != b"1\n" {
        return Err(CellError::Io(std::io::Error::other("bare python did not print 1")));
    }
    Ok((wall, children_cpu().saturating_sub(before)))
}

/// Processor time of children reaped so far (`cutime` and `cstime` of proc_pid_stat(5), in ticks of
/// 10 ms): too coarse for one run, right on average.
fn children_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = fields.split_whitespace().skip(13).take(2).filter_map(|f| f.parse::<u64>().ok());
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

async fn isolated(link: &Link, spec: RunSpec) -> Result<(Duration, Duration), CellError> {
    let began = Instant::now();
    let report = link.run(spec, RunOptions::default()).await?;
    let wall = began.elapsed();
    if report.status != Status::Ok || report.stdout != b"1\n" {
        return Err(CellError::Io(std::io::Error::other(format!("isolated python: {report:?}"))));
    }
    Ok((wall, report.cpu))
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

fn as_tool() -> Result<RunSpec, CellError> {
    let spec = Language::Python.run_spec("floor".into(), "print(1)", vec![], vec![], limits());
    spec.map_err(|error| CellError::InvalidSpec(error.to_string()))
}

fn same_program() -> RunSpec {
    let words = ["/usr/bin/python3", "-I", "-S", "-c", "print(1)"];
    RunSpec {
        execution_id: "floor".into(),
        argv: words.map(str::to_owned).to_vec(),
        env: Vec::new(),
        profile: ultimate_mcp_sandbox::spec::Profile::Python,
        files: Vec::new(),
        stdin: Vec::new(),
        compile_signal: false,
        limits: limits(),
    }
}
