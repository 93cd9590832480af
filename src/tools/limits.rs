//! The limits a caller may ask for, bounded by what the caller's roles allow.
//!
//! Used by every tool that runs code. The ranges in the schema are the widest any role can have;
//! `policy.toml` narrows them, and the error says to what.

use std::time::Duration;

use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;
use ultimate_mcp_sandbox::spec::Limits;

use crate::admission::RunCaps;
use crate::error::{ApiError, Problem};

/// What a run gets when neither the caller nor the caller's roles say otherwise. Node alone needs
/// about 45 MB resident and a dozen threads (measured, Node 20).
const MEMORY_MB: u32 = 512;
const PIDS: u32 = 64;
const OUTPUT_KB: u32 = 1024;
const DISK_MB: u32 = 64;
const CPU: f64 = 1.0;

/// Bounds of one run. Each is optional and bounded by the caller's roles.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, default, expecting = "an object of limits")]
pub struct LimitArgs {
    /// Memory of the whole process tree in MiB, files in the working directory included (default 512).
    #[garde(range(min = 16, max = 65536))]
    pub memory_mb: Option<u32>,
    /// Processes and threads at once (default 64).
    #[garde(range(min = 1, max = 4096))]
    pub pids: Option<u32>,
    /// KiB kept of stdout and of stderr, each; writing more ends the run with `output_limit` (default 1024).
    #[garde(range(min = 1, max = 65536))]
    pub output_kb: Option<u32>,
    /// MiB the run may hold in files (default 64).
    #[garde(range(min = 1, max = 65536))]
    pub disk_mb: Option<u32>,
    /// Processors the run may use at once; fractions are allowed (default 1).
    #[garde(range(min = 0.05, max = 64.0))]
    pub cpu: Option<f64>,
}

/// The limits of one run: what was asked, else the default, never more than the roles allow.
///
/// `timeout_default_seconds` is the tool's own. Asking for more than allowed is an error that names
/// every such field and its bound.
pub fn resolve(
    timeout_seconds: Option<f64>,
    timeout_default_seconds: f64,
    asked: &LimitArgs,
    caps: &RunCaps,
) -> Result<Limits, ApiError> {
    let mut problems = Vec::new();
    let mut bound = |path: &str, asked: Option<f64>, default: f64, cap: f64| match asked {
        Some(value) if value > cap => {
            let problem = format!("is {value}; your roles allow at most {cap}");
            problems.push(Problem { path: path.to_owned(), problem });
            cap
        }
        Some(value) => value,
        None => default.min(cap),
    };
    let wall = bound(
        "timeout_seconds",
        timeout_seconds,
        timeout_default_seconds,
        caps.timeout_seconds_max,
    );
    let whole = |value: Option<u32>| value.map(f64::from);
    let memory_mb = bound(
        "limits.memory_mb",
        whole(asked.memory_mb),
        MEMORY_MB.into(),
        caps.memory_mb_max.into(),
    );
    let pids = bound("limits.pids", whole(asked.pids), PIDS.into(), caps.pids_max.into());
    let output_kb = bound(
        "limits.output_kb",
        whole(asked.output_kb),
        OUTPUT_KB.into(),
        caps.output_kb_max.into(),
    );
    let disk_mb =
        bound("limits.disk_mb", whole(asked.disk_mb), DISK_MB.into(), caps.disk_mb_max.into());
    let cpu = bound("limits.cpu", asked.cpu, CPU, caps.cpu_max);
    if !problems.is_empty() {
        return Err(ApiError::invalid_arguments(problems));
    }
    Ok(Limits {
        wall: Duration::from_secs_f64(wall),
        // A tree on several processors uses up processor time faster than the clock runs.
        cpu: Duration::from_secs_f64(wall * cpu.max(1.0)),
        memory_bytes: memory_mb as u64 * 1024 * 1024,
        pids: pids as u32,
        output_bytes: output_kb as u64 * 1024,
        disk_bytes: disk_mb as u64 * 1024 * 1024,
        cpu_milli: (cpu * 1000.0).round() as u32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::testing::caps;

    #[test]
    fn what_is_not_asked_is_the_default_but_never_more_than_the_roles_allow() {
        let limits = resolve(None, 8.0, &LimitArgs::default(), &caps()).unwrap();
        assert_eq!(limits.wall, Duration::from_secs(8));
        assert_eq!(limits.memory_bytes, 512 << 20);
        let poor = RunCaps { memory_mb_max: 64, timeout_seconds_max: 2.0, ..caps() };
        let limits = resolve(None, 8.0, &LimitArgs::default(), &poor).unwrap();
        assert_eq!(limits.wall, Duration::from_secs(2));
        assert_eq!(limits.memory_bytes, 64 << 20);
    }

    #[test]
    fn asking_for_more_than_the_roles_allow_names_each_field_and_its_bound() {
        let asked = LimitArgs { memory_mb: Some(9999), cpu: Some(3.5), ..LimitArgs::default() };
        let error = resolve(Some(61.0), 8.0, &asked, &caps()).unwrap_err();
        let said: Vec<_> =
            error.problems.iter().map(|p| format!("{}: {}", p.path, p.problem)).collect();
        assert_eq!(
            said,
            [
                "timeout_seconds: is 61; your roles allow at most 60",
                "limits.memory_mb: is 9999; your roles allow at most 1024",
                "limits.cpu: is 3.5; your roles allow at most 2",
            ]
        );
    }
}
