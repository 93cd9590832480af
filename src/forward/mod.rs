//! From node to node: a call for what lives elsewhere is sent there, with the caller's own token.
//!
//! The node that owns the thing authenticates, admits and audits the call itself, as if the client had
//! come to it: there is one path. What the client cannot prove there (its address, its request id, its
//! session) the sending node vouches for with a seal. Called by [`crate::tools_call`] and the download of
//! artifacts. Refuses to send on what another node sent, so there are no loops.

mod answer;
mod letter;

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder, Response};
use secrecy::ExposeSecret;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::fault::Retry;
use ultimate_mcp_actors::node::{Handle, NodeId, NodeStatus, NodesHandle};

use crate::error::{ApiError, Code};
use crate::once;
use crate::origin::Origin;
use crate::tools::ToolOutput;

pub use answer::{ANSWER_HEADER, Envelope};
pub use letter::{BODY_HEADER, Received, received};

/// How much longer than the caller's deadline the other node's answer is waited for: the node that
/// does the work says best how it ended.
const GRACE: Duration = Duration::from_secs(1);

/// When a node that is expected to be there, but does not answer, may be asked again.
const ABSENT_RETRY: Duration = Duration::from_secs(1);

/// Sends calls to other nodes. Cheap to clone.
#[derive(Clone)]
pub struct Forwarder {
    nodes: NodesHandle,
    client: reqwest::Client,
    places: Arc<Semaphore>,
}

/// Something to be asked of another node.
struct Errand<'a> {
    method: Method,
    path: String,
    body: Vec<u8>,
    node: &'a NodeId,
    deadline: Deadline,
}

impl Forwarder {
    /// A forwarder among these nodes.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(nodes: NodesHandle) -> Result<Self, reqwest::Error> {
        let options = &nodes.own().options;
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_millis(options.connect_timeout_ms))
            // A node is where the registry says, not where an answer or the environment points.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        let places = Arc::new(Semaphore::new(options.forwards_max));
        Ok(Self { nodes, client, places })
    }

    /// The other node that a handle names, when calls can go there at all.
    pub fn elsewhere(&self, handle: &str) -> Option<NodeId> {
        let node = Handle::node_of(handle)?;
        (self.nodes.is_shared() && node != self.nodes.own().id).then_some(node)
    }

    /// Runs a tool on another node.
    ///
    /// # Errors
    /// The other node's own; [`Code::NodeGone`] when it is not there or vanished with the call.
    pub async fn tool(
        &self,
        origin: &Origin,
        node: &NodeId,
        name: &str,
        arguments: &RawValue,
        deadline: Deadline,
    ) -> Result<ToolOutput, ApiError> {
        let path = format!("/api/v1/tools/{name}");
        let body = arguments.get().as_bytes().to_vec();
        let errand = Errand { method: Method::POST, path, body, node, deadline };
        let (response, body) = self.run(origin, errand).await?;
        answer::output(&response, &body, node)
    }

    /// Fetches an artifact from another node.
    ///
    /// # Errors
    /// As [`Forwarder::tool`].
    pub async fn artifact(
        &self,
        origin: &Origin,
        node: &NodeId,
        handle: &Handle,
        deadline: Deadline,
    ) -> Result<Vec<u8>, ApiError> {
        let path = format!("/api/v1/artifacts/{handle}");
        let errand = Errand { method: Method::GET, path, body: Vec::new(), node, deadline };
        let (response, body) = self.run(origin, errand).await?;
        match response.is_success {
            true => Ok(body),
            false => Err(answer::failure(&body, node)),
        }
    }

    async fn run(
        &self,
        origin: &Origin,
        errand: Errand<'_>,
    ) -> Result<(answer::Head, Vec<u8>), ApiError> {
        let node = errand.node;
        if let Some(sender) = &origin.passage.forwarded_by {
            let message = format!("node {sender} sent this here, but it belongs to node {node}");
            return Err(ApiError::new(Code::NotFound, message));
        }
        let url = self.url(node)?;
        let Ok(_place) = self.places.try_acquire() else {
            let message = "too many calls are on their way to other nodes";
            return Err(ApiError::new(Code::Overloaded, message));
        };
        let patience = errand.deadline.remaining() + GRACE;
        let exchange = async {
            let request = self.request(origin, &url, errand)?;
            let response = request.send().await.map_err(|error| lost(node, error))?;
            self.read(response, node).await
        };
        tokio::time::timeout(patience, exchange).await.unwrap_or_else(|_elapsed| {
            let message = format!("node {node} did not answer in time; effects are unknown");
            Err(ApiError::new(Code::DeadlineExceeded, message))
        })
    }

    /// Where the node is reached.
    fn url(&self, node: &NodeId) -> Result<String, ApiError> {
        let list = self.nodes.list();
        let listed = list.nodes.iter().find(|listed| listed.id == *node);
        let there = listed.filter(|listed| self.nodes.status(listed) != NodeStatus::Gone);
        let Some(there) = there else {
            let message = format!("node {node} is gone, and with it what lived there; begin anew");
            return Err(gone(message, Retry::Never));
        };
        if there.words.url.is_empty() || !self.nodes.seals().has_secret() {
            let message = format!(
                "calls cannot be sent on to node {node}: set node.advertise_url and node.secret_file"
            );
            return Err(gone(message, Retry::Never));
        }
        Ok(there.words.url.clone())
    }

    fn request(
        &self,
        origin: &Origin,
        url: &str,
        errand: Errand<'_>,
    ) -> Result<RequestBuilder, ApiError> {
        let Some(token) = &origin.passage.authorization else {
            let message =
                "this lives on another node, and the call carries no token to go there with";
            return Err(ApiError::new(Code::NotFound, message));
        };
        let token = token.expose_secret();
        let Errand { method, path, body, node, deadline } = errand;
        let own = &self.nodes.own().id;
        let letter =
            letter::write(own, node, origin, token, (method.as_str(), &path, &body), deadline);
        let sealed = self.nodes.seals().seal(&letter).map_err(|error| {
            ApiError::new(Code::Internal, "the call could not be sealed").caused_by(error)
        })?;
        let mut request = self.client.request(method, format!("{url}{path}"));
        request = request.header(AUTHORIZATION, token).header(CONTENT_TYPE, "application/json");
        for (name, value) in letter::headers(&letter, &sealed) {
            request = request.header(name, value);
        }
        if let Some(key) = &origin.idempotency_key {
            request = request.header(once::HEADER, key.as_str());
        }
        if let Some(trace) = origin.traceparent() {
            request = request.header("traceparent", trace);
        }
        Ok(request.body(body))
    }

    /// The whole answer, within `node.answer_bytes_max`.
    async fn read(
        &self,
        mut response: Response,
        node: &NodeId,
    ) -> Result<(answer::Head, Vec<u8>), ApiError> {
        let head = answer::Head::of(&response);
        let bytes_max = self.nodes.own().options.answer_bytes_max;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| lost(node, error))? {
            if body.len() + chunk.len() > bytes_max {
                let message = format!("the answer of node {node} has more than {bytes_max} bytes");
                let error = ApiError::new(Code::Internal, message);
                return Err(ApiError { retry: Retry::Unsafe, ..error });
            }
            body.extend_from_slice(&chunk);
        }
        Ok((head, body))
    }
}

/// What a failed exchange means for the caller: before the request was sent nothing was done.
fn lost(node: &NodeId, error: reqwest::Error) -> ApiError {
    let (message, retry) = match error.is_connect() {
        true => (
            format!("node {node} does not answer; what lives there comes back with it, or is gone"),
            Retry::After(ABSENT_RETRY),
        ),
        false => (
            format!("node {node} went away with the call in hand; effects are unknown"),
            Retry::Unsafe,
        ),
    };
    gone(message, retry).caused_by(error)
}

fn gone(message: String, retry: Retry) -> ApiError {
    ApiError { retry, ..ApiError::new(Code::NodeGone, message) }
}
