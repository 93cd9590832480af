//! Real servers for tests, started as processes of their own on loopback, and a proxy that breaks their
//! connections.
//!
//! Called by tests only. Everything ends with the value that started it. What is missing on the machine
//! is a panic that names it: a test that cannot reach its database must not pass.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]
#![allow(clippy::disallowed_methods, reason = "threads of their own; no arbiter is near")]

mod haproxy;
mod neo4j;
mod process;
mod proxy;
mod redis;
mod s3;
mod tls;

pub use haproxy::HaProxy;
pub use neo4j::{Exclusive, Neo4j, OwnNeo4j, exclusive as neo4j_exclusive};
pub use process::free_port;
pub use proxy::Proxy;
pub use redis::{Redis, RedisCluster, RedisSentinels};
pub use s3::S3;
pub use tls::{Certificate, TlsFront};
