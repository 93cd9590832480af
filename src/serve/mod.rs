//! `ultimate-mcp serve`, `worker` and `stdio`: starts the engine and the server, waits, drains.
//!
//! Order: directories and keys → telemetry → engine → routes → listen → say where. Ends on SIGTERM and
//! SIGINT with 0 after a goodbye (`http.lame_duck_seconds`) and a drain, and with a failure when the root supervisor gave up.

mod banner;
mod files;
mod used_states;
mod wiring;

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Data;
use secrecy::SecretString;
use tokio::signal::unix::{SignalKind, signal};
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::engine::{Engine, StartError};
use ultimate_mcp_actors::jobs::JobsEngine;
use ultimate_mcp_actors::supervision::{Exit, ExitSignal, install_panic_hook};

use crate::breaker_trail::BreakerTrail;
use crate::config::{Config, Loaded, PolicyText, load_policy};
use crate::http::Bound;
use crate::mcp::{Endpoint, Sealer};
use crate::reload::{Parts, Reload};
use crate::state::AppState;
use crate::stdio::StdioError;
use crate::telemetry::LogTo;
use crate::{api, http, stdio, telemetry};

use used_states::UsedStates;

pub use files::{DataFiles, FilesError, URL_FILE, private_data_dir};

/// How long a node that starts waits to learn what the others know. Longer, and one that starts while
/// Redis is away would serve nobody.
const JOIN_MAX: Duration = Duration::from_secs(3);

/// Why the server did not start, or how it failed.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Directories, keys or the policy.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// Logging or metrics.
    #[error(transparent)]
    Telemetry(#[from] telemetry::TelemetryError),
    /// An actor.
    #[error(transparent)]
    Engine(#[from] StartError),
    /// Templates, prompts or schemas.
    #[error("{0}")]
    Tools(String),
    /// The address.
    #[error("cannot listen on {address}: {source}; choose another with ULTIMATE_MCP__HTTP__PORT")]
    Listen {
        /// Where.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The command is not for this configuration.
    #[error("{0}")]
    Worker(&'static str),
    /// Its address cannot be noted down in the data directory.
    #[error("cannot write to the data directory: {0}")]
    Announce(std::io::Error),
    /// Signals cannot be waited for.
    #[error("signals cannot be handled: {0}")]
    Signals(std::io::Error),
    /// The conversation that the server ran for.
    #[error(transparent)]
    Stdio(#[from] StdioError),
    /// The tree gave up: the process must be restarted from outside.
    #[error("the engine gave up: {child} could not be kept running ({text})")]
    GaveUp {
        /// The child.
        child: String,
        /// Its last failure.
        text: String,
    },
}

/// What a node is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It serves calls, and works jobs as `jobs.workers` says.
    Server,
    /// It works jobs of a shared queue and answers nothing but health, readiness and metrics.
    Worker,
}

impl Role {
    /// A worker beside no queue would be a server that nobody can call.
    fn check(self, config: &Config) -> Result<(), ServeError> {
        let jobs = &config.jobs;
        let problem = match (self, jobs.engine) {
            (Self::Server, _) => return Ok(()),
            (Self::Worker, JobsEngine::Sqlite) => {
                "a worker needs jobs.engine = \"redis\": jobs.db belongs to one process, and `serve` \
                 works its jobs itself"
            }
            (Self::Worker, JobsEngine::Redis) if jobs.workers == 0 => {
                "a worker needs jobs.workers of at least 1"
            }
            (Self::Worker, JobsEngine::Redis) => return Ok(()),
        };
        Err(ServeError::Worker(problem))
    }
}

/// Runs the server until it is told to stop.
///
/// # Errors
/// It did not start, or the engine gave up.
pub fn serve(loaded: Loaded, role: Role) -> Result<(), ServeError> {
    start(loaded, Purpose::Serve(role))
}

/// Runs the server for one conversation over standard input and output, and ends with it.
///
/// # Errors
/// As [`serve`]; what ended the conversation before its input ended.
pub fn serve_stdio(loaded: Loaded, conversation: Conversation) -> Result<(), ServeError> {
    start(loaded, Purpose::Converse(conversation))
}

/// Who talks over standard input and output.
pub struct Conversation {
    /// For whom.
    pub token: SecretString,
    /// Longest line.
    pub message_bytes_max: usize,
}

/// What a server runs for.
enum Purpose {
    /// Whoever calls, until it is told to stop.
    Serve(Role),
    /// One conversation, until its end.
    Converse(Conversation),
}

impl Purpose {
    fn role(&self) -> Role {
        match self {
            Self::Serve(role) => *role,
            Self::Converse(_) => Role::Server,
        }
    }

    fn log_to(&self) -> LogTo {
        match self {
            Self::Serve(_) => LogTo::Stdout,
            Self::Converse(_) => LogTo::Stderr,
        }
    }

    /// Holds the conversation; never ends where there is none.
    async fn converse(&self, url: &str) -> Result<(), StdioError> {
        match self {
            Self::Serve(_) => std::future::pending().await,
            Self::Converse(Conversation { token, message_bytes_max }) => {
                stdio::converse(url, token, *message_bytes_max).await
            }
        }
    }
}

fn start(loaded: Loaded, purpose: Purpose) -> Result<(), ServeError> {
    let policy = load_policy(&loaded.config).map_err(FilesError::from)?;
    purpose.role().check(&loaded.config)?;
    let config = &loaded.config;
    let files = DataFiles::prepare(config, policy.policy.clone())?;
    let telemetry = telemetry::init(&config.telemetry, files.node.as_str(), purpose.log_to())?;
    install_panic_hook();
    let served = actix_rt::System::new().block_on(run(loaded, policy, purpose, files, &telemetry));
    // Dropped last: flushes the log.
    drop(telemetry);
    served
}

async fn run(
    loaded: Loaded,
    policy: PolicyText,
    purpose: Purpose,
    files: DataFiles,
    telemetry: &telemetry::Telemetry,
) -> Result<(), ServeError> {
    let config = Arc::new(loaded.config.clone());
    let config_version = loaded.version_under(&policy.text);
    let trail = wiring::SupervisionTrail::default();
    let options = wiring::engine_options(&config, &files, config_version);
    let breakers = BreakerTrail::default();
    let (engine, exit) = Engine::start(options, trail.observer(), breakers.observer()).await?;
    trail.attach(&engine);
    breakers.attach(engine.audit.clone());
    let (metrics, log) = (telemetry.metrics.clone(), telemetry.log.clone());
    let reloading =
        |admission| Reload::new(loaded, policy, Parts { engine: engine.clone(), admission, log });
    let state = wiring::state(&config, &files, engine.clone(), metrics, breakers, reloading)?;
    if !engine.authorization.settled(JOIN_MAX).await {
        tracing::warn!("serving before other nodes' revocations and bans are known: redis is away");
    }
    let bound = listen(&config, purpose.role(), &state)?;
    let port = bound.addresses.first().map_or(config.http.port, |address| address.port());
    // Held while the server runs: the command line finds it there.
    let url = config.http.base_url(port);
    let _announced = files.announce(&url).map_err(ServeError::Announce)?;
    match &purpose {
        Purpose::Serve(Role::Server) => banner::print(&config, &files, &state, &bound),
        Purpose::Serve(Role::Worker) => banner::print_worker(&config, &files, &bound),
        Purpose::Converse(_) => {}
    }
    let server = bound.server.handle();
    let serving = actix_rt::spawn(bound.server);

    let watching = actix_rt::spawn(crate::reload::watch(state.reload.clone()));
    let prompts = crate::tools::prompts::watch(
        state.prompts.clone(),
        engine.audit.clone(),
        Arc::clone(&state.hub),
    );
    let watching_prompts = actix_rt::spawn(prompts);
    let keepers: Vec<_> = state.authenticator.issuers().iter().map(Arc::clone).collect();
    let keepers: Vec<_> =
        keepers.into_iter().map(|one| actix_rt::spawn(crate::auth::issuers::keep(one))).collect();
    let telling = actix_rt::spawn(crate::offers::tell(Arc::clone(&state)));
    let (ended, talked) = tokio::select! {
        ended = wait(exit) => (ended?, Ok(())),
        talked = Box::pin(purpose.converse(&url)) => (None, talked),
    };
    watching.abort();
    watching_prompts.abort();
    telling.abort();
    keepers.iter().for_each(|keeper| keeper.abort());
    if ended.is_none() && matches!(purpose, Purpose::Serve(_)) {
        leave(&state, Duration::from_secs(config.http.lame_duck_seconds)).await?;
    }
    let deadline = Deadline::after(Duration::from_secs(config.http.drain_seconds));
    tracing::info!(drain_seconds = config.http.drain_seconds, "draining");
    // Streams of jobs and of changes end now, or they would hold the server up; running jobs have the whole drain.
    engine.jobs.close();
    state.hub.close();
    // Stops accepting, lets open requests finish, within `http.drain_seconds`.
    server.stop(true).await;
    if let Err(error) = serving.await {
        tracing::error!(%error, "the HTTP server ended badly");
    }
    let report = engine.drain(deadline).await;
    tracing::info!(clean = report.is_clean(), "drained");
    match ended {
        None | Some(Exit::Drained(_)) => Ok(talked?),
        Some(Exit::Failed { child, text, .. }) => {
            Err(ServeError::GaveUp { child: child.to_string(), text: text.to_string() })
        }
    }
}

/// Says goodbye to load balancers and serves on until they have looked away. A second signal cuts it
/// short.
async fn leave(state: &AppState, span: Duration) -> Result<(), ServeError> {
    state.leave();
    if span.is_zero() {
        return Ok(());
    }
    tracing::info!(lame_duck_seconds = span.as_secs(), "leaving");
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;
    tokio::select! {
        () = tokio::time::sleep(span) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Waits for a signal (`None`) or the end of the tree.
async fn wait(exit: ExitSignal) -> Result<Option<Exit>, ServeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;
    tokio::select! {
        _ = terminate.recv() => Ok(None),
        _ = interrupt.recv() => Ok(None),
        ended = exit.wait() => Ok(Some(ended)),
    }
}

fn listen(config: &Config, role: Role, state: &Arc<AppState>) -> Result<Bound, ServeError> {
    let shared = state.engine.nodes.seals().derived("mcp request state");
    let sealer = shared.map_or_else(Sealer::of_this_process, |key| Sealer::new(&key));
    let mut sealer =
        sealer.ok_or_else(|| ServeError::Tools("the system has no randomness".to_owned()))?;
    if let Some(redis) = &state.engine.redis {
        sealer = sealer.once_among_nodes(Arc::new(UsedStates::new(redis.clone())));
    }
    let endpoint = Endpoint::new(
        Arc::clone(state),
        config.mcp.clone(),
        config.http.body_limits(),
        wiring::identity(),
        Arc::clone(&state.hub),
        sealer,
    )
    .map_err(|error| ServeError::Tools(error.to_string()))?;
    let (endpoint, state) = (Data::new(endpoint), Data::from(Arc::clone(state)));
    let mut servers = config.auth.authorization_servers.clone();
    for issuer in &config.auth.issuers {
        if !servers.contains(&issuer.issuer) {
            servers.push(issuer.issuer.clone());
        }
    }
    let metadata = Data::new(http::ResourceMetadata::new(&servers, &config.http.public_url));
    let routes = move |app: &mut actix_web::web::ServiceConfig| {
        app.app_data(state.clone()).app_data(metadata.clone());
        match role {
            Role::Server => {
                app.configure(Endpoint::routes(endpoint.clone()))
                    .configure(Endpoint::socket_routes(endpoint.clone()))
                    .configure(api::routes);
            }
            Role::Worker => {
                app.configure(api::worker_routes);
            }
        }
    };
    http::bind(&config.http, routes).map_err(|source| ServeError::Listen {
        address: std::net::SocketAddr::new(config.http.bind, config.http.port).to_string(),
        source,
    })
}
