//! How long actors that panicked were away, from what the server logs: the panic, the backoff that was chosen,
//! and the moment the actor took messages again.

use std::collections::HashMap;

use serde_json::Value;

use crate::evidence::Restart;

/// Seconds of a day.
const DAY: f64 = 86_400.0;

/// A panic whose actor is not back yet.
struct Down {
    at: f64,
    delay_ms: f64,
}

/// Every restart after a panic in this log.
pub fn measure(log: &str) -> Vec<Restart> {
    let mut down: HashMap<String, Down> = HashMap::new();
    let mut restarts = Vec::new();
    for line in log.lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
        let (Some(child), Some(message), Some(at)) =
            (line["labels"]["child"].as_str(), line["message"].as_str(), seconds(&line))
        else {
            continue;
        };
        match message {
            _ if message.starts_with("panic: ") => {
                down.insert(child.to_owned(), Down { at, delay_ms: 0.0 });
            }
            "supervision.restarting" => {
                if let Some(down) = down.get_mut(child) {
                    down.delay_ms = line["labels"]["delay_ms"].as_f64().unwrap_or(0.0);
                }
            }
            "supervision.running" => {
                if let Some(Down { at: since, delay_ms }) = down.remove(child) {
                    let away_ms = (at - since).rem_euclid(DAY) * 1000.0;
                    let beyond_backoff_ms = (away_ms - delay_ms).max(0.0);
                    restarts.push(Restart { child: child.to_owned(), beyond_backoff_ms });
                }
            }
            _ => {}
        }
    }
    restarts
}

/// Seconds since midnight of `2026-01-02T03:04:05.678901Z`.
fn seconds(line: &Value) -> Option<f64> {
    let time = line["@timestamp"].as_str()?.split_once('T')?.1.trim_end_matches('Z');
    let mut parts = time.split(':').map(|part| part.parse::<f64>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    Some(hours * 3600.0 + minutes * 60.0 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_measured_from_the_panic_without_its_backoff() {
        let line = |time: &str, message: &str, child: &str, more: &str| {
            format!(
                r#"{{"@timestamp":"2026-01-02T{time}Z","message":"{message}","labels":{{"child":"{child}"{more}}}}}"#
            )
        };
        let log = [
            line("23:59:59.900000", "panic: on purpose", "audit", ""),
            line("23:59:59.900500", "supervision.restarting", "audit", r#","delay_ms":200"#),
            line("23:59:59.950000", "supervision.running", "graph", ""),
            line("00:00:00.102000", "supervision.running", "audit", ""),
            line("00:00:01.000000", "supervision.running", "audit", ""),
            "not json".to_owned(),
        ];
        let restarts = measure(&log.join("\n"));
        assert_eq!(restarts.len(), 1, "{restarts:?}");
        assert_eq!(restarts[0].child, "audit");
        assert!((restarts[0].beyond_backoff_ms - 2.0).abs() < 0.01, "{restarts:?}");
    }
}
