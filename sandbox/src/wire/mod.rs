//! The language of server and launcher: versioned, length-checked messages over a SEQPACKET socket.
//!
//! Everything larger than a few kilobytes (files, standard input) travels in sealed memory files
//! passed as descriptors, so that one message never exceeds [`MESSAGE_BYTES_MAX`]. Decoding survives
//! any bytes: it answers [`Malformed`], never panics, never allocates more than the message holds.

pub(crate) mod codec;
pub(crate) mod memfd;
pub(crate) mod message;
pub(crate) mod runfile;
pub(crate) mod socket;
pub(crate) mod step;

/// Raised whenever the meaning of a message changes; both ends are the same binary, so they match.
pub(crate) const VERSION: u16 = 2;

/// Largest message in bytes. The default socket buffer (net.core.wmem_default, 212992) holds it.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Most descriptors in one message: an order for a sandbox that stays (description, three streams, and
/// the two pipes of its steps).
pub(crate) const FDS_MAX: usize = 6;

/// The bytes are not a message of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed message: {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);
