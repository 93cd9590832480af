//! Admission: may this caller run this tool now, and within which limits?
//!
//! `tools_call` asks [`Admission::admit`] and gets a [`Permit`], which nothing else can make.

mod admit;
mod permit;
mod rate;
mod running;
mod shared;
#[cfg(test)]
mod tests;

pub use admit::{Admission, PolicySource, Usage, unknown_role};
pub use permit::{AdminPermit, Permit, RunCaps};
