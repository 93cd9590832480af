//! HTTP: listening, limits, the edge every request passes, and how failures look on the wire.
//!
//! Knows no route but what it is given ([`bind`] takes the routes). What holds for every path lives in
//! [`edge`]; what a handler needs ([`Body`], [`error_response`]) is exported here.

pub mod body;
pub mod edge;
pub mod guard;
pub mod metrics;
mod options;
mod reply;
mod request_id;
mod resource_metadata;
mod server;
#[cfg(test)]
mod tests;

pub use body::{Body, BodyLimits};
pub use edge::RequestContext;
pub use options::HttpOptions;
pub use reply::{Advice, error_response, error_response_with_status, method_not_allowed};
pub use request_id::RequestId;
pub use resource_metadata::ResourceMetadata;
pub use server::{Bound, app, bind};
