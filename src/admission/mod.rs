//! Admission: may this caller run this tool now, and within which limits?

mod permit;

pub use permit::{Permit, RunCaps};
