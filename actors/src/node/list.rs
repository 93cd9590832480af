//! Which nodes there are, as far as this one knows; and the way to it.
//!
//! Called by the face: `/api/v1/nodes`, readiness, forwarding. Without Redis a node knows of itself only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use uuid::Uuid;

use super::actor::{NodesActor, Setup};
use super::id::NodeId;
use super::options::NodeOptions;
use super::registry::{Listed, NodeWords, Registry};
use super::seal::{ClusterSecret, Seals};
use crate::redis::RedisClient;
use crate::supervision::{ChildSpec, SpawnError, Supervisor};

/// Who this node is.
#[derive(Clone, Debug)]
pub struct NodeIdentity {
    /// Its id.
    pub id: NodeId,
    /// What all nodes share, if this one takes part.
    pub secret: Option<ClusterSecret>,
    /// The version of the program.
    pub version: String,
    /// The version of policy and settings.
    pub config_version: String,
    /// `[node]`.
    pub options: NodeOptions,
}

/// The nodes, as the registry had them last.
#[derive(Clone, Debug, Default)]
pub struct NodeList {
    /// Each once, this one among them, by id.
    pub nodes: Vec<Listed>,
    /// Another process says to be this node.
    pub id_taken: bool,
    /// Why the list may be old.
    pub error: Option<String>,
}

impl NodeList {
    pub(super) fn new(mut nodes: Vec<Listed>, id_taken: bool) -> Self {
        nodes.sort_by(|a, b| a.id.cmp(&b.id));
        Self { nodes, id_taken, error: None }
    }
}

/// How another node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeStatus {
    /// It says that it is there.
    Up,
    /// It was told to stop and finishes what it has in hand.
    Leaving,
    /// It has said nothing for too long.
    Gone,
}

/// The way to the nodes. Cheap to clone.
#[derive(Clone)]
pub struct NodesHandle {
    identity: Arc<NodeIdentity>,
    seals: Arc<Seals>,
    published: Arc<ArcSwap<NodeList>>,
    leaving: Arc<AtomicBool>,
    config_version: Arc<ArcSwap<String>>,
    news: Arc<Notify>,
    is_shared: bool,
}

impl NodesHandle {
    /// Starts the actor as `nodes`, if there is a Redis to speak through.
    ///
    /// # Errors
    /// The actor cannot be started.
    pub async fn start(
        supervisor: &Supervisor,
        identity: NodeIdentity,
        redis: Option<RedisClient>,
    ) -> Result<Self, SpawnError> {
        let words = NodeWords {
            boot: Uuid::new_v4(),
            url: identity.options.advertise_url.trim_end_matches('/').to_owned(),
            version: identity.version.clone(),
            config_version: identity.config_version.clone(),
            started_at: chrono::Utc::now().timestamp(),
            leaving: false,
        };
        let alone = Listed { id: identity.id.clone(), age_ms: 0, words: words.clone() };
        let published = Arc::new(ArcSwap::from_pointee(NodeList::new(vec![alone], false)));
        let (leaving, news) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
        let config_version = Arc::new(ArcSwap::from_pointee(identity.config_version.clone()));
        let (is_shared, registry) = (redis.is_some(), redis.map(Registry::new).map(Arc::new));
        if let Some(registry) = registry {
            let setup = Setup {
                own: identity.id.clone(),
                words,
                leaving: leaving.clone(),
                config_version: config_version.clone(),
                news: news.clone(),
                heartbeat: Duration::from_millis(identity.options.heartbeat_ms),
                registry,
                published: published.clone(),
            };
            let spec = ChildSpec::new("nodes", 1, move || NodesActor::new(setup.clone()));
            supervisor.spawn(spec.optional()).await?;
        }
        let skew = identity.options.clock_skew_seconds;
        let seals = Seals::new(identity.id.clone(), identity.secret.clone(), skew);
        let (identity, seals) = (Arc::new(identity), Arc::new(seals));
        Ok(Self { identity, seals, published, leaving, config_version, news, is_shared })
    }

    /// This node.
    pub fn own(&self) -> &NodeIdentity {
        &self.identity
    }

    /// Seals letters to other nodes and checks theirs.
    pub fn seals(&self) -> &Seals {
        &self.seals
    }

    /// Whether there may be other nodes.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// The nodes, as they were a heartbeat ago.
    pub fn list(&self) -> Arc<NodeList> {
        self.published.load_full()
    }

    /// How a node of the list stands. While the registry cannot be reached nobody is declared gone.
    pub fn status(&self, node: &Listed) -> NodeStatus {
        match node.age_ms > self.identity.options.gone_after_ms {
            true => NodeStatus::Gone,
            false if node.words.leaving => NodeStatus::Leaving,
            false => NodeStatus::Up,
        }
    }

    /// Tells the others that this node now runs another configuration, and shows it in its own list.
    pub fn set_config_version(&self, version: &str) {
        self.config_version.store(Arc::new(version.to_owned()));
        self.published.rcu(|list| {
            let mut list = NodeList::clone(list);
            let own = list.nodes.iter_mut().filter(|node| node.id == self.identity.id);
            own.for_each(|node| node.words.config_version = version.to_owned());
            list
        });
        self.news.notify_one();
    }

    /// Tells the others that this node will stop.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        self.news.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use ultimate_mcp_testkit::Redis;

    use super::*;
    use crate::redis::RedisOptions;
    use crate::testing::root;

    fn identity(id: &str, config_version: &str) -> NodeIdentity {
        NodeIdentity {
            id: NodeId::parse(id).unwrap(),
            secret: None,
            version: "1".into(),
            config_version: config_version.into(),
            options: NodeOptions { heartbeat_ms: 50, gone_after_ms: 500, ..Default::default() },
        }
    }

    async fn node(supervisor: &Supervisor, redis: &Redis, id: &str, version: &str) -> NodesHandle {
        let options = RedisOptions { urls: vec![redis.url()], ..Default::default() };
        let client = RedisClient::new(options, Arc::new(|_: &str, _| {})).unwrap();
        NodesHandle::start(supervisor, identity(id, version), Some(client)).await.unwrap()
    }

    async fn seen(nodes: &NodesHandle, look: impl Fn(&[(String, NodeStatus, String)]) -> bool) {
        let begun = std::time::Instant::now();
        loop {
            let list = nodes.list();
            let rows: Vec<_> = list
                .nodes
                .iter()
                .map(|n| (n.id.to_string(), nodes.status(n), n.words.config_version.clone()))
                .collect();
            if look(&rows) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(5), "{rows:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn row(id: &str, status: NodeStatus, version: &str) -> (String, NodeStatus, String) {
        (id.to_owned(), status, version.to_owned())
    }

    #[actix::test]
    async fn nodes_see_each_other_come_differ_leave_and_vanish() {
        use NodeStatus::{Gone, Leaving, Up};
        let redis = Redis::start();
        let (ours, theirs) = (root(), root());
        let a = node(&ours, &redis, "a", "v1").await;
        let b = node(&theirs, &redis, "b", "v2").await;
        for nodes in [&a, &b] {
            seen(nodes, |rows| rows == [row("a", Up, "v1"), row("b", Up, "v2")]).await;
        }
        b.leave();
        seen(&a, |rows| rows.contains(&row("b", Leaving, "v2"))).await;
        theirs.drain(crate::testing::soon()).await;
        seen(&a, |rows| rows.contains(&row("b", Gone, "v2"))).await;
    }

    #[actix::test]
    async fn a_node_whose_id_another_uses_says_so() {
        let redis = Redis::start();
        let (first, second) = (root(), root());
        let one = node(&first, &redis, "same", "v").await;
        seen(&one, |rows| rows.len() == 1).await;
        let _two = node(&second, &redis, "same", "v").await;
        let begun = std::time::Instant::now();
        while !one.list().id_taken {
            assert!(begun.elapsed() < Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[actix::test]
    async fn while_redis_is_away_the_last_list_stays() {
        let mut redis = Redis::start();
        let supervisor = root();
        let a = node(&supervisor, &redis, "a", "v").await;
        seen(&a, |rows| rows.len() == 1).await;
        redis.kill();
        let begun = std::time::Instant::now();
        while a.list().error.is_none() {
            assert!(begun.elapsed() < Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        seen(&a, |rows| rows == [row("a", NodeStatus::Up, "v")]).await;
    }
}
