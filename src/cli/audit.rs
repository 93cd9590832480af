//! `audit verify`: proves the trail whole, offline or beside a running server.
//!
//! Refuses to make a key: a trail can only be proven with the key it was written with.

use std::io::Write;

use secrecy::ExposeSecret;
use ultimate_mcp_actors::audit::{AuditKey, Fault, Witness, verify_against};
use ultimate_mcp_actors::engine::AUDIT_FILE;

use super::{Exit, Failure, print};
use crate::auth::key_file;
use crate::config::Config;

/// Verifies the trail of this data directory; `witness` is an event noted down elsewhere.
pub(super) fn verify(
    config: &Config,
    witness: Option<&str>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let witness = witness.map(parse_witness).transpose()?;
    let path = config.data_dir.join(AUDIT_FILE);
    if !path.exists() {
        let message = format!(
            "there is no audit trail at {}; name the server's directory with --data-dir",
            path.display()
        );
        return Err(Failure::new(Exit::Unavailable, message));
    }
    let key = key_file::load(&config.data_dir.join("keys").join(key_file::AUDIT_KEY))
        .map_err(|error| Failure::new(Exit::Config, error.to_string()))?;
    let key = AuditKey::from_bytes(key.expose_secret());
    let report = verify_against(&path, &key, witness)
        .map_err(|error| Failure::new(Exit::Data, format!("{}: {error}", path.display())))?;
    let intact = report.events_intact;
    match report.broken {
        None => print(
            out,
            &format!(
                "ok: {intact} events, none changed, removed, reordered or added; witness \
                 {intact}:{}\n",
                report.last_hash
            ),
        ),
        Some(broken) => {
            let what = describe(&broken.fault);
            let message = format!(
                "{}: {what} at event {}; the {intact} before it are intact",
                path.display(),
                broken.seq
            );
            Err(Failure::new(Exit::Data, message))
        }
    }
}

fn describe(fault: &Fault) -> String {
    match fault {
        Fault::Changed => "the content was changed".to_owned(),
        Fault::Removed => "an event was removed".to_owned(),
        Fault::Reordered { found_at } => format!("an event was moved to {found_at}"),
        Fault::Appended => "an event was added without the key".to_owned(),
        Fault::Truncated { head_seq } => format!("the end was cut off (there were {head_seq})"),
        Fault::HeadMissing => "the record of the last event is missing".to_owned(),
        Fault::HeadChanged => "the record of the last event was changed".to_owned(),
        Fault::HeadOld { head_seq } => {
            format!("the record of the last event was put back to an older one ({head_seq})")
        }
        Fault::WitnessDisagrees => {
            "the event noted down as witness is not there: the file was put back to an earlier state"
                .to_owned()
        }
    }
}

/// `seq:hash` as this command and every audit line on standard output print it.
fn parse_witness(text: &str) -> Result<Witness, Failure> {
    let wrong = || Failure::new(Exit::Usage, "--witness: write it as SEQ:HASH, 64 hex digits");
    let (seq, hex) = text.split_once(':').ok_or_else(wrong)?;
    let seq = seq.parse().map_err(|_| wrong())?;
    let mut hash = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    for (index, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).map_err(|_| wrong())?;
    }
    Ok(Witness { seq, hash })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_is_a_position_and_a_hash() {
        let witness = parse_witness(&format!("12:{}", "ab".repeat(32))).unwrap();
        assert_eq!((witness.seq, witness.hash), (12, [0xab; 32]));
        for bad in ["", "12", "12:", "x:ab", &format!("1:{}", "zz".repeat(32)), "1:+1+1"] {
            assert!(parse_witness(bad).is_err(), "{bad}");
        }
    }
}
