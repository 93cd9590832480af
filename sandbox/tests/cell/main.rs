//! The cell as its users see it: real launchers, real runs. One binary, one module per kind of promise.
//!
//! Needs what the cell needs: root or user namespaces, and python3, node and bash in /usr.

#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

mod artifacts;
mod confinement;
mod happy;
mod harness;
mod lifecycle;
mod limits;
mod sessions;
mod unprivileged;
mod zygote;
