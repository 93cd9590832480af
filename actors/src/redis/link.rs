//! One connection to Redis: multiplexed, to a node or to a whole cluster.
//!
//! Used by the client and by [`super::Dedicated`]. Follows MOVED and ASK by itself: a redirected
//! command was not carried out, so sending it on repeats nothing. Nothing else is repeated here, and
//! the cluster client below repeats nothing either (it cannot know what may be sent twice).

use deadpool_redis::redis::aio::{ConnectionLike, MultiplexedConnection};
use deadpool_redis::redis::cluster_async::ClusterConnection;
use deadpool_redis::redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use deadpool_redis::redis::{
    self, Cmd, ErrorKind, Pipeline, RedisResult, ServerErrorKind, Value, cmd, pipe,
};

/// Redirects followed for one command; more mean that the cluster is being moved about.
const REDIRECTS_MAX: usize = 5;

/// Cheap to clone; clones share the connection.
#[derive(Clone)]
pub(super) enum Link {
    /// To one server.
    Node(MultiplexedConnection),
    /// To every node of a cluster.
    Cluster(ClusterConnection),
}

impl Link {
    pub(super) async fn query(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Node(node) => node.req_packed_command(command).await?.extract_error(),
            Self::Cluster(cluster) => query_cluster(cluster, command).await,
        }
    }

    /// Answers of all commands; of the transaction, when it is one.
    pub(super) async fn pipeline<T>(&mut self, pipeline: &Pipeline) -> RedisResult<T>
    where
        T: redis::FromRedisValue,
    {
        match self {
            Self::Node(node) => pipeline.query_async(node).await,
            Self::Cluster(cluster) => pipeline.query_async(cluster).await,
        }
    }
}

async fn query_cluster(cluster: &mut ClusterConnection, command: &Cmd) -> RedisResult<Value> {
    let answer = |value: RedisResult<Value>| value.and_then(Value::extract_error);
    let mut result = answer(cluster.req_packed_command(command).await);
    for _ in 0..REDIRECTS_MAX {
        let Err(error) = &result else { break };
        let ErrorKind::Server(kind @ (ServerErrorKind::Moved | ServerErrorKind::Ask)) =
            error.kind()
        else {
            break;
        };
        let Some(route) = error.redirect_node().and_then(|(address, _)| by_address(address)) else {
            break;
        };
        result = match kind {
            ServerErrorKind::Ask => ask(cluster, command, route).await,
            _ => {
                let route = RoutingInfo::SingleNode(route);
                answer(cluster.route_command(command.clone(), route).await)
            }
        };
    }
    result
}

/// ASKING counts for the next command on the same connection only, so both go as one.
async fn ask(
    cluster: &mut ClusterConnection,
    command: &Cmd,
    route: SingleNodeRoutingInfo,
) -> RedisResult<Value> {
    let mut both = pipe();
    both.add_command(cmd("ASKING")).add_command(command.clone());
    let answers = cluster.route_pipeline(both, 1, 1, route).await?;
    answers.into_iter().next().unwrap_or(Value::Nil).extract_error()
}

fn by_address(address: &str) -> Option<SingleNodeRoutingInfo> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok()?;
    Some(SingleNodeRoutingInfo::ByAddress { host: host.to_owned(), port })
}
