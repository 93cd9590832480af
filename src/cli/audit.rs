//! `audit verify`: proves the trail whole, offline or beside a running server. `audit erase`: erases a
//! person while the server is stopped.
//!
//! Refuses to make a key: a trail can only be proven with the key it was written with.

use std::io::Write;
use std::path::PathBuf;

use secrecy::ExposeSecret;
use ultimate_mcp_actors::audit::{
    AuditKey, Fault, VerifyReport, Witness, erase_offline, verify_against,
};
use ultimate_mcp_actors::authorization::erase_user_offline;
use ultimate_mcp_actors::engine::{AUDIT_FILE, STATE_FILE};
use ultimate_mcp_actors::ids::CallerId;
use ultimate_mcp_actors::node::NodeId;

use super::{Exit, Failure, print};
use crate::auth::key_file;
use crate::config::{Config, load_policy};
use crate::tools::artifacts::ArtifactStore;

/// Verifies the trail of this data directory; `witness` is an event noted down elsewhere.
pub(super) fn verify(
    config: &Config,
    witness: Option<&str>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let witness = witness.map(parse_witness).transpose()?;
    let (path, key) = trail(config)?;
    let report = verify_against(&path, &key, witness)
        .map_err(|error| Failure::new(Exit::Data, format!("{}: {error}", path.display())))?;
    let intact = report.events_intact;
    match report.broken {
        None => print(out, &summary(&report)),
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

/// Erases a person from the trail, the stored roles and the artifacts of this data directory.
pub(super) fn erase(config: &Config, user: &str, out: &mut dyn Write) -> Result<(), Failure> {
    let user = CallerId::parse(user)
        .map_err(|error| Failure::new(Exit::Usage, format!("--user: {error}")))?;
    let (path, key) = trail(config)?;
    let policy = load_policy(config)?.policy;
    let failed = |error: String| Failure::new(Exit::Unavailable, error);
    // The trail first: it is the one that refuses beside a running server.
    let copies = config.neo4j.is_set() && config.audit.shipping.enabled;
    let report = erase_offline(&path, &key, &user, copies)
        .map_err(|error| failed(format!("{}: {error}", path.display())))?;
    let until = chrono::Utc::now().timestamp() + config.auth.token_ttl_seconds_max as i64;
    let state = config.data_dir.join(STATE_FILE);
    erase_user_offline(&state, policy, &user, until)
        .map_err(|error| failed(format!("{}: {error}", state.display())))?;
    let node = NodeId::load_or_create(&config.node.id, &config.data_dir)
        .map_err(|error| failed(error.to_string()))?;
    let artifacts = ArtifactStore::open_in(&config.data_dir, node, config.tools.artifacts.clone())
        .and_then(|artifacts| artifacts.drop_all_of(&user))
        .map_err(|error| failed(error.to_string()))?;
    let (events, sealed) = (report.events, report.sealed);
    print(out, &format!("erased from {events} events ({sealed} sealed), {artifacts} artifacts\n"))
}

/// The trail of this data directory and its key.
pub(super) fn trail(config: &Config) -> Result<(PathBuf, AuditKey), Failure> {
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
    Ok((path, AuditKey::from_bytes(key.expose_secret())))
}

fn summary(report: &VerifyReport) -> String {
    let VerifyReport { events_intact, first_seq, last_seq, erased, sealed, .. } = report;
    let mut text = format!("ok: {events_intact} events, none changed, removed, reordered or added");
    if *first_seq > 1 {
        text += &format!("; retention removed those before {first_seq}");
    }
    if *erased > 0 {
        text += &format!("; a person was erased from {erased}, {sealed} of them sealed for it");
    }
    if report.witness_removed {
        text += "; the witness is older than the oldest event kept";
    }
    text + &format!("; witness {last_seq}:{}\n", report.last_hash)
}

fn describe(fault: &Fault) -> String {
    match fault {
        Fault::Changed => "the content was changed".to_owned(),
        Fault::Removed => "an event was removed".to_owned(),
        Fault::Reordered { found_at } => format!("an event was moved to {found_at}"),
        Fault::Appended => "an event was added without the key".to_owned(),
        Fault::Truncated { head_seq } => format!("the end was cut off (there were {head_seq})"),
        Fault::CutChanged => "the record of what retention removed was changed".to_owned(),
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
