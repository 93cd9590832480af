//! What clients did and what they were told.

use std::time::Duration;

/// A part of the whole that a fault can hurt and a call can need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The server process, or its disk: everything needs it.
    Server,
    /// The launcher and the cells below it.
    Cell,
    /// Redis, or the way to it.
    Redis,
    /// Neo4j, or the way to it.
    Neo4j,
    /// The file in which roles are stored, or the actor that owns it.
    Roles,
    /// The queue of jobs.
    Jobs,
}

/// A kind of call that the workload makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `execute_code` over REST: prints an id that nobody else prints.
    Run,
    /// The same over MCP, in Bash.
    McpRun,
    /// `execute_code` under an idempotency key, sent again until the answer is definite.
    Once,
    /// `lint_code`, whose one finding is known.
    Lint,
    /// `list_prompts` over MCP.
    Prompts,
    /// `graph_upsert` of a node of its own.
    Upsert,
    /// `graph_query` for a node that was acknowledged.
    Query,
    /// A job under an idempotency key, sent again until it is acknowledged; its run must not be repeated.
    Job,
    /// A role for a user of its own.
    Role,
    /// A call that policy denies.
    Refused,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Run,
        Self::McpRun,
        Self::Once,
        Self::Lint,
        Self::Prompts,
        Self::Upsert,
        Self::Query,
        Self::Job,
        Self::Role,
        Self::Refused,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::McpRun => "mcp-run",
            Self::Once => "once",
            Self::Lint => "lint",
            Self::Prompts => "prompts",
            Self::Upsert => "upsert",
            Self::Query => "query",
            Self::Job => "job",
            Self::Role => "role",
            Self::Refused => "refused",
        }
    }

    /// What must be well for it to succeed, beside the server itself. `neo4j`: the graph is kept there.
    pub fn needs(self, neo4j: bool) -> &'static [Part] {
        match self {
            Self::Run | Self::McpRun | Self::Lint => &[Part::Cell],
            // Keys are kept in Redis wherever one is named.
            Self::Once => &[Part::Cell, Part::Redis],
            Self::Upsert | Self::Query if neo4j => &[Part::Neo4j],
            // The queue is the node's own file; runs of jobs come later.
            Self::Job => &[Part::Jobs],
            Self::Role => &[Part::Roles],
            Self::Upsert | Self::Query | Self::Prompts | Self::Refused => &[],
        }
    }

    /// Whether a fault of these parts may make it fail.
    pub fn is_affected(self, hurt: &[Part], neo4j: bool) -> bool {
        hurt.contains(&Part::Server) || self.needs(neo4j).iter().any(|part| hurt.contains(part))
    }
}

/// What the client knows after a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The right answer. For [`Kind::Refused`]: it was refused.
    Done,
    /// A typed error: HTTP status and code.
    Failed(u16, String),
    /// The tool ran to an end that is not the one asked for, e.g. `killed`.
    Ended(String),
    /// No answer: it may have happened or not.
    Unknown(String),
    /// An answer that no fault excuses.
    Wrong(String),
    /// Something was granted that policy denies.
    Granted(String),
}

impl Outcome {
    /// Whether the caller got what it asked for.
    pub fn is_done(&self) -> bool {
        *self == Self::Done
    }
}

/// One request.
#[derive(Clone, Debug)]
pub struct Record {
    /// `X-Request-Id`; unique.
    pub request_id: String,
    /// What it was.
    pub kind: Kind,
    /// The node it was sent to.
    pub node: usize,
    /// When it was sent, since the scenario began.
    pub began: Duration,
    /// When its outcome was known.
    pub ended: Duration,
    /// What the client was told.
    pub outcome: Outcome,
    /// Idempotency key, node key, or user; `""` when nothing is named.
    pub subject: String,
    /// What came of it: execution id of a keyed run, job id of a job; `""` otherwise.
    pub made: String,
}
