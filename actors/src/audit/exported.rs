//! The proof of an exported file: every line by itself, and that they follow one another.
//!
//! Called by `ultimate-mcp audit verify --export`. Needs the key and nothing else. A filtered export has
//! gaps: what stands in it is proven, what does not is not; the report says how many gaps there are.

use std::io::BufRead;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::chain::{AuditKey, Erased, HASH_BYTES, Hash, same};
use super::row::Stored;
use crate::hex;

/// Longest line that is read, in bytes: an event has bounds.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// What the proof found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExportReport {
    /// Events that are what the server wrote.
    pub events: u64,
    /// Seq of the first.
    pub first_seq: i64,
    /// Seq of the last.
    pub last_seq: i64,
    /// Places where events are missing between two lines.
    pub gaps: u64,
    /// The first line that is wrong, counted from 1, and why.
    pub broken: Option<(u64, &'static str)>,
}

/// A line as it was exported.
#[derive(Deserialize)]
struct Line<'a> {
    seq: i64,
    event_id: Uuid,
    ts_us: i64,
    event_type: &'a str,
    phase: &'a str,
    call_id: Option<Uuid>,
    user_id: Option<String>,
    tool: Option<String>,
    success: Option<bool>,
    #[serde(borrow)]
    body: &'a RawValue,
    #[serde(borrow)]
    who: Option<&'a RawValue>,
    format: i64,
    erased: i64,
    salt: Option<&'a str>,
    commitment: Option<&'a str>,
    seal: Option<&'a str>,
    prev_hash: &'a str,
    hash: &'a str,
}

/// Proves an export in JSON Lines.
///
/// # Errors
/// The file cannot be read; what is *wrong* in it is the report's content.
pub fn verify_export(mut file: impl BufRead, key: &AuditKey) -> std::io::Result<ExportReport> {
    let mut report = ExportReport::default();
    let mut last: Option<(i64, Hash)> = None;
    let (mut text, mut scratch, mut number) = (String::new(), Vec::new(), 0);
    loop {
        text.clear();
        let read = std::io::Read::take(&mut file, LINE_BYTES_MAX).read_line(&mut text)?;
        if read == 0 {
            return Ok(report);
        }
        number += 1;
        match prove(&text, key, last, &mut scratch) {
            Err(why) => {
                report.broken = Some((number, why));
                return Ok(report);
            }
            Ok((seq, hash)) => {
                report.events += 1;
                if report.events == 1 {
                    report.first_seq = seq;
                }
                report.gaps += u64::from(last.is_some_and(|(before, _)| seq > before + 1));
                report.last_seq = seq;
                last = Some((seq, hash));
            }
        }
    }
}

fn prove(
    text: &str,
    key: &AuditKey,
    last: Option<(i64, Hash)>,
    scratch: &mut Vec<u8>,
) -> Result<(i64, Hash), &'static str> {
    let line: Line<'_> =
        serde_json::from_str(text).map_err(|_| "it is no line of an export of ours")?;
    let malformed = "a hash, salt or seal is malformed";
    let bytes = |text: Option<&str>| text.map(unhex).transpose();
    let (salt, seal) =
        bytes(line.salt).and_then(|salt| Ok((salt, bytes(line.seal)?))).map_err(|()| malformed)?;
    let commitment = bytes(line.commitment).map_err(|()| malformed)?;
    let hash = unhex(line.hash).map_err(|()| malformed)?;
    let prev: Hash = unhex(line.prev_hash).ok().and_then(|h| h.try_into().ok()).ok_or(malformed)?;
    match last {
        Some((seq, _)) if line.seq <= seq => return Err("it does not follow the line before"),
        Some((seq, hash)) if line.seq == seq + 1 && !same(&hash, &prev) => {
            return Err("it follows another event than the line before");
        }
        _ => {}
    }
    let stored = Stored {
        seq: line.seq,
        event_id: line.event_id.as_bytes(),
        ts_us: line.ts_us,
        event_type: line.event_type,
        phase: line.phase,
        call_id: line.call_id.as_ref().map(|id| id.as_bytes().as_slice()),
        user_id: line.user_id.as_deref(),
        tool: line.tool.as_deref(),
        success: line.success.map(i64::from),
        body: line.body.get(),
        hash: &hash,
        format: line.format,
        who: line.who.map(RawValue::get),
        salt: salt.as_deref(),
        commitment: commitment.as_deref(),
        erased: Erased::from_column(line.erased).ok_or("it is no line of an export of ours")?,
        seal: seal.as_deref(),
    };
    let proven = stored.proven(line.seq, &prev, key, scratch);
    proven.map(|hash| (line.seq, hash)).ok_or("its content and its hash disagree")
}

/// Bytes of hexadecimal text, at most as many as a hash has.
fn unhex(text: &str) -> Result<Vec<u8>, ()> {
    let bounded = text.len() <= 2 * HASH_BYTES;
    bounded.then(|| hex::decode(text)).flatten().ok_or(())
}
