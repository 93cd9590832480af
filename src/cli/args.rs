//! The shape of the command line; nothing is done here.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args, Parser, Subcommand};

use super::{Exit, Failure};
use crate::config::{Inputs, Loaded, load};

/// What `--help` says at its end.
const AFTER_HELP: &str = "\
Settings: `ultimate-mcp config explain` shows every key with its default, unit and reason; set one in \
a file (--config) or by the environment: http.port is ULTIMATE_MCP__HTTP__PORT.

Exit codes: 0 success, 64 usage, 65 data (e.g. a broken audit trail), 69 unavailable (port in use, no \
isolation), 70 internal, 74 input/output, 78 configuration.";

/// A resilient execution engine for AI agents: an MCP endpoint over supervised actors and an isolated
/// cell.
#[derive(Debug, Parser)]
#[command(name = "ultimate-mcp", version, after_help = AFTER_HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every subcommand understands.
#[derive(Clone, Debug, Default, Args)]
pub struct Common {
    /// Directory of this instance's state: audit, roles, graph, keys [default: ./data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Configuration file (TOML); repeatable, later files win
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,
}

impl Common {
    /// Where to look for settings.
    pub fn inputs(&self, environment: Vec<(OsString, OsString)>) -> Result<Inputs, Failure> {
        let inputs = Inputs { files: self.config.clone(), env: environment, ..Inputs::default() };
        match self.data_dir.as_deref().map(|dir| dir.to_str()) {
            None => Ok(inputs),
            Some(Some(dir)) if !dir.is_empty() => Ok(inputs.flag("--data-dir", "data_dir", dir)),
            Some(_) => Err(Failure::new(Exit::Usage, "--data-dir: must be a path in UTF-8")),
        }
    }

    /// The effective configuration.
    pub fn load(&self, environment: Vec<(OsString, OsString)>) -> Result<Loaded, Failure> {
        Ok(load(&self.inputs(environment)?)?)
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the server
    Serve {
        #[command(flatten)]
        #[allow(missing_docs, reason = "documented at Common; clap would take it as help")]
        common: Common,
    },
    /// Speak MCP over standard input and output, for a client that starts its server itself
    Stdio(StdioArgs),
    /// Work jobs and nothing else: no calls are served, only /health, /ready and /metrics
    Worker {
        #[command(flatten)]
        #[allow(missing_docs, reason = "documented at Common; clap would take it as help")]
        common: Common,
    },
    /// Make tokens
    Token {
        #[command(subcommand)]
        #[allow(missing_docs, reason = "documented at TokenCommand")]
        command: TokenCommand,
    },
    /// Look at the configuration
    Config {
        #[command(subcommand)]
        #[allow(missing_docs, reason = "documented at ConfigCommand")]
        command: ConfigCommand,
    },
    /// Look at the audit trail
    Audit {
        #[command(subcommand)]
        #[allow(missing_docs, reason = "documented at AuditCommand")]
        command: AuditCommand,
    },
    /// Look at jobs that could not be carried out, queue them again or drop them, at the running server
    DeadLetters {
        #[command(subcommand)]
        #[allow(missing_docs, reason = "documented at DeadLettersCommand")]
        command: DeadLettersCommand,
    },
    /// Say what the cell can and cannot isolate on this host, and what to do about it
    Doctor {
        #[command(flatten)]
        #[allow(missing_docs, reason = "documented at Common")]
        common: Common,
    },
    /// Watch a running server: tree, breakers, queues, limits, runs
    Top(TopArgs),
    /// Back up the whole instance, sealed, to a folder or an S3 bucket; also beside a running server
    Backup(BackupArgs),
    /// Restore a backup into a new data directory
    Restore(RestoreArgs),
    /// Move the knowledge graph, while the server is stopped
    Graph {
        #[command(subcommand)]
        #[allow(missing_docs, reason = "documented at GraphCommand")]
        command: GraphCommand,
    },
}

/// `stdio`
#[derive(Debug, Args)]
pub struct StdioArgs {
    /// A running server, e.g. http://127.0.0.1:8484 [default: the one that runs on the data directory, or
    /// one in this process]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,

    /// File with the caller's token [default: ULTIMATE_MCP_TOKEN, or a token from the instance's own key]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Role in a token from the instance's own key
    #[arg(long, default_value = "developer", value_name = "NAME")]
    pub role: String,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at Common")]
    pub common: Common,
}

/// `top`
#[derive(Debug, Args)]
pub struct TopArgs {
    /// The server, e.g. http://127.0.0.1:8080 [default: the one that runs on the data directory]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,

    /// An administrator's token [default: made from the keys of the data directory]
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,

    /// Print everything once and end
    #[arg(long)]
    pub once: bool,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at Common")]
    pub common: Common,
}

/// `backup`
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Folder or s3://BUCKET/PREFIX [default: backup.target]
    #[arg(long, value_name = "TARGET")]
    pub to: Option<String>,

    /// File with the key that seals backups [default: backup.key_file]
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,

    /// Only the audit's events since the last backup: cheap enough for every few minutes
    #[arg(long, conflicts_with_all = ["list", "verify", "new_key"])]
    pub audit_only: bool,

    /// List the complete backups: instance and id
    #[arg(long, conflicts_with_all = ["verify", "new_key"])]
    pub list: bool,

    /// Read every backup whole and compare it with its manifest
    #[arg(long, conflicts_with = "new_key")]
    pub verify: bool,

    /// Make a key in a new file
    #[arg(long, value_name = "FILE")]
    pub new_key: Option<PathBuf>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at Common")]
    pub common: Common,
}

/// `restore`
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Folder or s3://BUCKET/PREFIX [default: backup.target]
    #[arg(long, value_name = "TARGET")]
    pub from: Option<String>,

    /// File with the key the backup was sealed with [default: backup.key_file]
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,

    /// Which instance, when the target holds several (`backup --list`)
    #[arg(long, value_name = "INSTANCE")]
    pub instance: Option<String>,

    /// Which backup [default: the newest, or the newest before --until]
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,

    /// Restore the audit up to this moment, e.g. 2026-11-22T18:00:00Z [default: as far as it reaches]
    #[arg(long, value_name = "TIME")]
    pub until: Option<DateTime<Utc>>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at Common")]
    pub common: Common,
}

/// `token …`
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Print a new token and nothing else; works without a running server
    Create(CreateToken),
}

/// `token create`
#[derive(Debug, Args)]
pub struct CreateToken {
    /// For whom: the name under which calls are audited
    #[arg(long, value_name = "NAME")]
    pub sub: String,

    /// Role, as in the policy; repeatable
    #[arg(long, required = true, value_name = "ROLE")]
    pub role: Vec<String>,

    /// How long it lives, e.g. 30m, 8h, 7d [default: auth.token_ttl_seconds]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub ttl: Option<Duration>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at Common")]
    pub common: Common,
}

/// `config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print "ok", or every mistake with its file or variable and its key
    Check {
        #[command(flatten)]
        #[allow(missing_docs, reason = "documented at Common")]
        common: Common,
    },
    /// Print every key with its default, unit and reason, as a file to start from
    Explain,
    /// Print the effective configuration as TOML, each value with its source, secrets redacted
    Dump {
        #[command(flatten)]
        #[allow(missing_docs, reason = "documented at Common")]
        common: Common,
    },
}

/// `audit …`
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Prove that no event was changed, removed, reordered or added without the key
    Verify {
        /// An event noted down elsewhere: its number and hash. Shows that the whole file was not put back
        /// to an earlier state
        #[arg(long, value_name = "SEQ:HASH")]
        witness: Option<String>,
        /// Prove an exported file (JSON Lines) instead of the trail; `-` is standard input
        #[arg(long, value_name = "FILE", conflicts_with = "witness")]
        export: Option<PathBuf>,
        #[command(flatten)]
        #[allow(missing_docs, reason = "documented at Common")]
        common: Common,
    },
    /// Write events to a file, oldest first; works beside a running server
    Export(ExportAudit),
    /// Erase a person from trail, roles and artifacts while the server is stopped; while it runs, use
    /// DELETE /api/v1/users/{user_id}
    Erase {
        /// Whom: the name under which calls are audited
        #[arg(long, value_name = "NAME")]
        user: String,
        #[command(flatten)]
        #[allow(missing_docs, reason = "documented at Common")]
        common: Common,
    },
}

/// `dead-letters …`
#[derive(Debug, Subcommand)]
pub enum DeadLettersCommand {
    /// List them, newest first, a line of JSON each
    List {
        #[command(flatten)]
        #[allow(missing_docs, reason = "documented at Common")]
        common: Common,
    },
    /// Show one: why, how often tried, whose; never its arguments
    Show {
        /// The job
        id: String,
        #[command(flatten)]
        #[allow(missing_docs, reason = "documented at Common")]
        common: Common,
    },
    /// Queue one again, with the rights its caller has then
    Replay {
        /// The job
        id: String,
        #[command(flatten)]
        #[allow(missing_docs, reason = "documented at Common")]
        common: Common,
    },
    /// Drop one with its arguments
    Discard {
        /// The job
        id: String,
        #[command(flatten)]
        #[allow(missing_docs, reason = "documented at Common")]
        common: Common,
    },
}

impl DeadLettersCommand {
    /// What every subcommand understands.
    pub fn common(&self) -> &Common {
        match self {
            Self::List { common }
            | Self::Show { common, .. }
            | Self::Replay { common, .. }
            | Self::Discard { common, .. } => common,
        }
    }
}

/// `audit export`
#[derive(Debug, Args)]
pub struct ExportAudit {
    /// The file, which must not exist; `-` is standard output
    pub file: PathBuf,

    /// jsonl (its lines can be proven with the key) or csv
    #[arg(long, default_value = "jsonl", value_name = "FORMAT")]
    pub format: String,

    /// Only events of this type
    #[arg(long = "type", value_name = "TYPE")]
    pub event_type: Option<String>,

    /// Only events of this user
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,

    /// Only calls of this tool
    #[arg(long, value_name = "NAME")]
    pub tool: Option<String>,

    /// Only what succeeded (true) or failed (false)
    #[arg(long, value_name = "BOOL")]
    pub success: Option<bool>,

    /// Not before this time, e.g. 2026-11-22T18:00:00Z
    #[arg(long, value_name = "TIME")]
    pub start: Option<chrono::DateTime<chrono::Utc>>,

    /// Before this time
    #[arg(long, value_name = "TIME")]
    pub end: Option<chrono::DateTime<chrono::Utc>>,

    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at Common")]
    pub common: Common,
}

/// `graph …`
#[derive(Debug, Subcommand)]
pub enum GraphCommand {
    /// Write the graph to a new file as JSON Lines
    Export {
        /// The file; `-` is standard output
        file: PathBuf,
        #[command(flatten)]
        #[allow(missing_docs, reason = "documented at Common")]
        common: Common,
    },
    /// Read an exported file into an empty graph, all or nothing
    Import {
        /// The file; `-` is standard input
        file: PathBuf,
        #[command(flatten)]
        #[allow(missing_docs, reason = "documented at Common")]
        common: Common,
    },
}
