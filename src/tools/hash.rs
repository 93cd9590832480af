//! Content hashes: SHA-256 in lower-case hexadecimal, as results and audit events show them.

pub use ultimate_mcp_actors::hex::sha256 as sha256_hex;
