//! W3C Trace Context: `traceparent`, from the HTTP header or from MCP's `_meta`.
//!
//! An invalid value is ignored, never an error: the specification says to start a new trace then
//! (Trace Context §3.2.2.5), and a client's broken tracing must not break its calls.

use std::fmt;

/// Length of a version 00 value: `00-` + 32 + `-` + 16 + `-` + 2.
const VERSION_00_BYTES: usize = 55;

/// The caller's position in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    trace_id: [u8; 16],
    parent_id: [u8; 8],
    flags: u8,
}

impl TraceParent {
    /// Parses a header value; `None` for anything the specification calls invalid.
    ///
    /// Versions above 00 are read as if they were 00, provided that they are at least as long and go
    /// on with a dash (§3.2.4); version `ff` is forbidden.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() < VERSION_00_BYTES {
            return None;
        }
        let version = hex::<1>(&bytes[0..2])?[0];
        let longer = bytes.len() > VERSION_00_BYTES;
        if version == 0xff || (version == 0 && longer) || (longer && bytes[55] != b'-') {
            return None;
        }
        if bytes[2] != b'-' || bytes[35] != b'-' || bytes[52] != b'-' {
            return None;
        }
        let trace_id = hex::<16>(&bytes[3..35])?;
        let parent_id = hex::<8>(&bytes[36..52])?;
        let flags = hex::<1>(&bytes[53..55])?[0];
        if trace_id == [0; 16] || parent_id == [0; 8] {
            return None;
        }
        Some(Self { trace_id, parent_id, flags })
    }

    /// The trace id in 32 hex digits.
    pub fn trace_id(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.trace_id))
    }

    /// Whether the caller records this trace (flag bit 0).
    pub fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parent_id = u64::from_be_bytes(self.parent_id);
        write!(f, "00-{}-{parent_id:016x}-{:02x}", self.trace_id(), self.flags)
    }
}

/// Exactly `2 * N` lower-case hex digits.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_valid_traceparent_goes_out_as_it_came_in() {
        let parent = TraceParent::parse(GOOD).unwrap();
        assert_eq!(parent.to_string(), GOOD);
        assert_eq!(parent.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(parent.is_sampled());
    }

    #[test]
    fn an_invalid_traceparent_is_ignored() {
        let zero_trace = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        let zero_parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01";
        let upper = GOOD.to_uppercase();
        let forbidden = GOOD.replacen("00-", "ff-", 1);
        let long = format!("{GOOD}-extra");
        for bad in ["", "00", &zero_trace, zero_parent, &upper, &forbidden, &long] {
            assert_eq!(TraceParent::parse(bad), None, "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_we_know_it() {
        let later = format!("{}-more", GOOD.replacen("00-", "cc-", 1));
        assert_eq!(TraceParent::parse(&later).unwrap().to_string(), GOOD);
        assert_eq!(TraceParent::parse(&later.replace("-more", ".more")), None);
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_parses_is_stable(text in "\\PC{0,70}|[0-9a-f-]{50,60}") {
            if let Some(parent) = TraceParent::parse(&text) {
                prop_assert_eq!(TraceParent::parse(&parent.to_string()), Some(parent));
            }
        }
    }
}
