//! The server that runs on a data directory, as the command line reaches it: at the address it left
//! there, with a token made from the keys that are there too.

use std::fs;
use std::io::Write;
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{Method, Response};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use ultimate_mcp_actors::graph::model::TransferReport;
use ultimate_mcp_actors::ids::CallerId;

use super::{Exit, Failure};
use crate::api::GRAPH_REPORT_HEADER;
use crate::auth::{Authenticator, IssueRequest, KeyRing};
use crate::config::Config;
use crate::serve::URL_FILE;

/// Who the command line is in the audit.
const COMMAND_LINE: &str = "command-line@localhost";
const TOKEN_TTL: Duration = Duration::from_secs(300);
/// Between two pieces of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(120);

/// A running server.
pub(super) struct LiveServer {
    url: String,
    token: SecretString,
}

impl LiveServer {
    /// Finds the server of this data directory.
    ///
    /// # Errors
    /// It left no address, or no token can be made here.
    pub(super) fn find(config: &Config) -> Result<Self, Failure> {
        Ok(Self { url: Self::address(config)?, token: Self::token(config)? })
    }

    /// Where the server of this data directory listens.
    ///
    /// # Errors
    /// It left no address.
    pub(super) fn address(config: &Config) -> Result<String, Failure> {
        let file = config.data_dir.join(URL_FILE);
        let url = fs::read_to_string(&file).map_err(|error| {
            let message = format!("no server is known here: {}: {error}", file.display());
            Failure::new(Exit::Unavailable, message)
        })?;
        Ok(url.trim().to_owned())
    }

    /// An administrator's token from the keys of this data directory, good for five minutes.
    ///
    /// # Errors
    /// The keys cannot be read, or make no tokens.
    pub(super) fn token(config: &Config) -> Result<SecretString, Failure> {
        let unavailable = |message: String| Failure::new(Exit::Unavailable, message);
        let ring = KeyRing::load(&config.auth, &config.data_dir)
            .map_err(|errors| Failure::config(errors.iter().map(ToString::to_string).collect()))?;
        let sub = CallerId::parse(COMMAND_LINE);
        let request = IssueRequest {
            sub: sub.map_err(|error| Failure::new(Exit::Software, error.to_string()))?,
            roles: vec!["admin".to_owned()],
            ttl: Some(TOKEN_TTL),
            custom: serde_json::Map::new(),
        };
        let issued = Authenticator::new(config.auth.clone(), ring).issue(request);
        let issued = issued.map_err(|error| unavailable(error.to_string()))?;
        Ok(issued.token)
    }

    /// Writes the server's graph to `sink`.
    pub(super) async fn export_graph(
        &self,
        sink: &mut impl Write,
    ) -> Result<TransferReport, Failure> {
        let unavailable = |what| self.unavailable(what);
        let answer = self.answer(Method::GET, "/api/v1/graph/export").await?;
        let report = answer.headers().get(GRAPH_REPORT_HEADER);
        let report = report.and_then(|text| serde_json::from_slice(text.as_bytes()).ok());
        let report = report.ok_or_else(|| unavailable("it sent no report".to_owned()))?;
        let mut pieces = answer.bytes_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| unavailable(error.to_string()))?;
            let written = sink.write_all(&piece);
            written.map_err(|error| Failure::new(Exit::Io, error.to_string()))?;
        }
        Ok(report)
    }

    /// Sends a request without a body.
    ///
    /// # Errors
    /// No answer, one that is no success (with what the server said), or one that is not JSON.
    pub(super) async fn send(&self, method: Method, path: &str) -> Result<Value, Failure> {
        let answer = self.answer(method, path).await?;
        let body = answer.bytes().await.map_err(|error| self.unavailable(error.to_string()))?;
        serde_json::from_slice(&body).map_err(|error| self.unavailable(error.to_string()))
    }

    async fn answer(&self, method: Method, path: &str) -> Result<Response, Failure> {
        let client = reqwest::Client::builder().no_proxy().read_timeout(READ_TIMEOUT).build();
        let client = client.map_err(|error| Failure::new(Exit::Software, error.to_string()))?;
        let request = client.request(method, format!("{}{path}", self.url));
        let sent = request.bearer_auth(self.token.expose_secret()).send().await;
        let answer = sent.map_err(|error| self.unavailable(error.to_string()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let said = answer.text().await.unwrap_or_default();
        Err(self.unavailable(format!("{status}: {said}")))
    }

    fn unavailable(&self, what: String) -> Failure {
        Failure::new(Exit::Unavailable, format!("the server at {}: {what}", self.url))
    }
}
