//! `stdio`: an MCP server on standard input and output, for clients that start their server themselves.
//!
//! Talks to the server that runs on the data directory; where none runs, this process is one until its input
//! ends. Refuses a token as an argument, which everybody on the machine could read.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use ultimate_mcp_actors::ids::CallerId;

use super::args::StdioArgs;
use super::live::LiveServer;
use super::{Exit, Failure};
use crate::auth::{Authenticator, IssueRequest, KeyRing};
use crate::config::{Config, Loaded, load};
use crate::serve::{Conversation, ServeError};
use crate::stdio::{self, StdioError};

/// The variable with the caller's token.
const TOKEN_VARIABLE: &str = "ULTIMATE_MCP_TOKEN";
/// Largest token file, in bytes.
const TOKEN_FILE_BYTES_MAX: u64 = 65_536;
/// `sub` of a token that is made here.
const DEVELOPER: &str = "developer@localhost";
/// How long a server whose directory is taken may need to say where it is.
const ANNOUNCED_MAX: Duration = Duration::from_secs(5);

/// Carries one conversation from its first line to the end of the input.
pub(super) fn stdio(
    args: &StdioArgs,
    environment: Vec<(OsString, OsString)>,
) -> Result<(), Failure> {
    let given = given_token(args, &environment)?;
    let inputs = args.common.inputs(environment)?;
    // Whatever else is configured: a server of this process's own is for this machine, on a free port.
    let inputs = inputs.flag("stdio", "http.bind", "127.0.0.1").flag("stdio", "http.port", "0");
    let inputs = inputs.flag("stdio", "http.public_url", "");
    let loaded = load(&inputs)?;
    if let Some(url) = &args.url {
        if !url.starts_with("http://") {
            let message =
                "--url: must begin with http://; a remote server is reached by HTTP directly";
            return Err(Failure::new(Exit::Usage, message));
        }
        let token = given.ok_or_else(|| {
            let message = format!("--url needs a token: set {TOKEN_VARIABLE} or --token-file");
            Failure::new(Exit::Usage, message)
        })?;
        return bridge(url.trim_end_matches('/'), &token, &loaded.config);
    }
    let token = match given {
        Some(token) => token,
        None => own_token(&loaded.config, &args.role)?,
    };
    match running(&loaded.config) {
        Some(url) => bridge(&url, &token, &loaded.config),
        None => own_server(loaded, token),
    }
}

/// A server of this process; when another one was faster, that one.
fn own_server(loaded: Loaded, token: SecretString) -> Result<(), Failure> {
    let config = loaded.config.clone();
    let bytes_max = config.http.body_bytes_max;
    let conversation = Conversation { token: token.clone(), message_bytes_max: bytes_max };
    match crate::serve::serve_stdio(loaded, conversation) {
        Err(ServeError::Engine(error)) => {
            let found = actix_rt::System::new().block_on(announced(&config));
            match found {
                Some(url) => bridge(&url, &token, &config),
                None => Err(Failure::new(Exit::Unavailable, error.to_string())),
            }
        }
        ended => super::serve::ended(ended),
    }
}

/// The server that has just taken the directory, once it says where it is.
async fn announced(config: &Config) -> Option<String> {
    let look = async {
        loop {
            if let Some(url) = running(config) {
                return url;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(ANNOUNCED_MAX, look).await.ok()
}

fn bridge(url: &str, token: &SecretString, config: &Config) -> Result<(), Failure> {
    let conversation = stdio::converse(url, token, config.http.body_bytes_max);
    let ended = actix_rt::System::new().block_on(conversation);
    ended.map_err(|error| {
        let exit = match error {
            StdioError::Refused(_) | StdioError::Ended => Exit::Config,
            StdioError::Output => Exit::Io,
            StdioError::Connect { .. } | StdioError::Closed(_) => Exit::Unavailable,
        };
        Failure::new(exit, error.to_string())
    })
}

/// The server of this data directory, if one answers where it said it would.
fn running(config: &Config) -> Option<String> {
    let url = LiveServer::address(config).ok()?;
    let address: SocketAddr = url.strip_prefix("http://")?.parse().ok()?;
    TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    Some(url)
}

/// The token in the file or the environment.
fn given_token(
    args: &StdioArgs,
    environment: &[(OsString, OsString)],
) -> Result<Option<SecretString>, Failure> {
    if let Some(file) = &args.token_file {
        return read_token(file).map(Some);
    }
    let value = environment.iter().find(|(name, _)| name == TOKEN_VARIABLE);
    let Some((_, value)) = value else { return Ok(None) };
    match value.to_str().map(str::trim) {
        Some(token) if !token.is_empty() => Ok(Some(SecretString::from(token))),
        _ => Err(Failure::new(Exit::Usage, format!("{TOKEN_VARIABLE}: holds no token"))),
    }
}

fn read_token(path: &Path) -> Result<SecretString, Failure> {
    let failed = |what: String| {
        Failure::new(Exit::Config, format!("--token-file: {}: {what}", path.display()))
    };
    let file = fs::File::open(path).map_err(|error| failed(error.to_string()))?;
    let about = file.metadata().map_err(|error| failed(error.to_string()))?;
    if about.permissions().mode() & 0o077 != 0 {
        return Err(failed("others can read it: chmod 600".to_owned()));
    }
    let mut text = String::new();
    let read = file.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| failed(error.to_string()))?;
    match text.trim() {
        "" => Err(failed("it is empty".to_owned())),
        token => Ok(SecretString::from(token)),
    }
}

/// A token from the instance's own key: whoever can read the key may be whoever it likes.
fn own_token(config: &Config, role: &str) -> Result<SecretString, Failure> {
    let usage = |message: String| Failure::new(Exit::Usage, message);
    if !config.auth.keys.is_empty() {
        let message = format!("keys are configured: set {TOKEN_VARIABLE} or --token-file");
        return Err(usage(message));
    }
    crate::serve::private_data_dir(&config.data_dir)
        .map_err(|error| Failure::new(Exit::Config, error.to_string()))?;
    let ring = KeyRing::load(&config.auth, &config.data_dir)
        .map_err(|errors| Failure::config(errors.iter().map(ToString::to_string).collect()))?;
    let sub = CallerId::parse(DEVELOPER);
    let request = IssueRequest {
        sub: sub.map_err(|error| Failure::new(Exit::Software, error.to_string()))?,
        roles: vec![role.to_owned()],
        // Desktop clients run for weeks.
        ttl: Some(Duration::from_secs(config.auth.token_ttl_seconds_max)),
        custom: serde_json::Map::new(),
    };
    let issued = Authenticator::new(config.auth.clone(), ring).issue(request);
    let issued = issued.map_err(|error| usage(format!("--role: {error}")))?;
    Ok(SecretString::from(issued.token.expose_secret()))
}
