//! A launcher for tests, and short ways to run code in it.

use std::path::PathBuf;
use std::time::Duration;

use ultimate_mcp_sandbox::client::RunOptions;
use ultimate_mcp_sandbox::spec::{InputFile, Language, Limits, RunReport, RunSpec};
use ultimate_mcp_sandbox::{CellError, LauncherOptions, Link};

pub fn options() -> LauncherOptions {
    LauncherOptions {
        program: std::env::var_os("CELL_TEST_LAUNCHER")
            .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_ultimate-mcp-cell")), PathBuf::from),
        ..LauncherOptions::default()
    }
}

pub async fn link() -> Link {
    Link::spawn(options()).await.expect("the launcher starts")
}

pub fn limits() -> Limits {
    Limits {
        wall: Duration::from_secs(10),
        cpu: Duration::from_secs(10),
        memory_bytes: 256 << 20,
        pids: 64,
        output_bytes: 256 << 10,
        disk_bytes: 32 << 20,
        cpu_milli: 2000,
    }
}

pub fn spec(language: Language, code: &str) -> RunSpec {
    with_files(language, code, vec![])
}

pub fn with_files(language: Language, code: &str, files: Vec<InputFile>) -> RunSpec {
    language.run_spec("test".into(), code, files, vec![], limits()).expect("installed")
}

pub async fn run(link: &Link, spec: RunSpec) -> RunReport {
    try_run(link, spec).await.expect("the run is carried out")
}

pub async fn try_run(link: &Link, spec: RunSpec) -> Result<RunReport, CellError> {
    link.run(spec, RunOptions::default()).await
}

pub async fn python(link: &Link, code: &str) -> RunReport {
    run(link, spec(Language::Python, code)).await
}

pub async fn bash(link: &Link, code: &str) -> RunReport {
    run(link, spec(Language::Bash, code)).await
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
