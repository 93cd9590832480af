//! Nodes: who this one is, which others there are, and how they prove to each other who they are.
//!
//! A node has an id, made once and kept in its data directory. With Redis configured it announces itself
//! there; what lives on one node only (an artifact, a stateful sandbox) carries the node's id in its
//! [`Handle`], so that any other node can forward a call to it. Called by the face. Refuses requests
//! of nodes that do not hold the cluster's secret.

mod actor;
mod error;
mod handle;
mod id;
mod list;
mod options;
mod registry;
mod seal;

pub use self::error::NodeError;
pub use self::handle::{Handle, InvalidHandle};
pub use self::id::{InvalidNodeId, NODE_ID_BYTES_MAX, NODE_ID_FILE, NodeId};
pub use self::list::{NodeIdentity, NodeList, NodeStatus, NodesHandle};
pub use self::options::NodeOptions;
pub use self::registry::{Listed, NodeWords};
pub use self::seal::{ClusterSecret, Letterhead, SealError, Seals};
