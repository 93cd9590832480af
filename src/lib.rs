//! The face of Ultimate MCP: HTTP, MCP, authentication, admission, tools, configuration, command line.
//!
//! Read [`tools_call`] first: every call, whatever its transport, is that one function.
#![forbid(unsafe_code)]

pub mod admission;
pub mod auth;
pub mod cli;
pub mod config;
pub mod error;
pub mod http;
pub mod mcp;
pub mod origin;
pub mod telemetry;
pub mod tools;
