//! The face of Ultimate MCP: HTTP, MCP, authentication, admission, tools, configuration, command line.
//!
//! Read [`tools_call`] first: every call, whatever its transport, is that one function.
#![forbid(unsafe_code)]

pub mod admission;
pub mod api;
pub mod auth;
mod breaker_trail;
pub mod cli;
pub mod config;
pub mod error;
pub mod forward;
mod host;
pub mod http;
mod instruments;
mod jobs;
pub mod mcp;
mod offers;
pub mod once;
pub mod origin;
mod record;
pub mod reload;
pub mod serve;
mod state;
pub mod stdio;
mod tasks;
pub mod telemetry;
pub mod time_limit;
pub mod tools;
pub mod tools_call;
pub mod workflow;
