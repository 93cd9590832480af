//! Clients that are slow, and clients that die.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::{Undo, meanwhile};
use crate::record::{Kind, Outcome, Record};
use crate::workload::Workload;

/// Slow clients at once.
const SLOW_CLIENTS: usize = 24;

pub(super) fn slow(port: u16) -> Undo {
    let head =
        b"POST /api/v1/tools/execute_code HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n";
    let mut clients: Vec<(TcpStream, usize)> = Vec::new();
    meanwhile(move || {
        while clients.len() < SLOW_CLIENTS {
            let Ok(client) = TcpStream::connect(("127.0.0.1", port)) else { break };
            clients.push((client, 0));
        }
        // Whom the server turned away comes again.
        clients.retain_mut(|(client, sent)| {
            let byte = head[*sent % head.len()];
            *sent += 1;
            client.write_all(&[byte]).is_ok()
        });
        std::thread::sleep(Duration::from_millis(100));
    })
}

/// Every one of its calls is written down: what became of it is unknown to the client, not to the audit.
pub(super) fn dying(port: u16, load: &Arc<Workload>) -> Undo {
    let load = Arc::clone(load);
    meanwhile(move || {
        let request_id = load.id("dying");
        let began = load.now();
        let body = json!({ "code": format!("print('{request_id}')") }).to_string();
        let token = &load.tokens().admin;
        let whole = format!(
            "POST /api/v1/tools/execute_code HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\
             Authorization: Bearer {token}\r\nContent-Type: application/json\r\n\
             X-Request-Id: {request_id}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let sent = TcpStream::connect(("127.0.0.1", port))
            .and_then(|mut stream| stream.write_all(whole.as_bytes()).map(|()| stream));
        std::thread::sleep(Duration::from_millis(10));
        drop(sent);
        load.note(Record {
            request_id,
            kind: Kind::Run,
            node: 0,
            began,
            ended: load.now(),
            outcome: Outcome::Unknown("the client hung up".to_owned()),
            subject: String::new(),
            made: String::new(),
        });
        std::thread::sleep(Duration::from_millis(40));
    })
}
