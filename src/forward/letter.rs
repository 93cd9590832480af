//! A forwarded request on the wire: what the sending node vouches for, as headers, and their check.
//!
//! Called by the forwarder and by the first stage of REST routes. Refuses a request that claims to come
//! from a node and does not prove it: it is not treated as a client's.

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HeaderMap, USER_AGENT};
use std::net::IpAddr;
use std::time::Duration;
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::hex;
use ultimate_mcp_actors::ids::SessionId;
use ultimate_mcp_actors::node::{Letterhead, NodeId, SealError, Seals};
use uuid::Uuid;

use crate::once;
use crate::origin::Origin;

/// Digest of the body; checked where the body is read.
pub const BODY_HEADER: &str = "x-umcp-node-body";
const FROM: &str = "x-umcp-node-from";
const TO: &str = "x-umcp-node-to";
const TIME: &str = "x-umcp-node-time";
const NONCE: &str = "x-umcp-node-nonce";
const DEADLINE: &str = "x-umcp-node-deadline";
const CLIENT: &str = "x-umcp-node-client";
const SESSION: &str = "x-umcp-node-session";
const SEAL: &str = "x-umcp-node-seal";
const REQUEST_ID: &str = "x-request-id";
/// In place of a value there is none of.
const NONE: &str = "-";

/// What another node vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The node that sent it on.
    pub from: NodeId,
    /// The client's address.
    pub client_ip: Option<IpAddr>,
    /// The legacy session the client is in.
    pub session_id: Option<SessionId>,
    /// What was left until the client's deadline.
    pub time_left: Duration,
}

/// The letter for one request: method, path and body.
pub(super) fn write(
    own: &NodeId,
    to: &NodeId,
    origin: &Origin,
    token: &str,
    (method, path, body): (&str, &str, &[u8]),
    deadline: Deadline,
) -> Letterhead {
    // A description that no header could carry is not worth a refused call.
    let plain =
        |text: &&str| text.bytes().all(|b| (b' '..=b'~').contains(&b)) && text.trim() == *text;
    let user_agent = origin.user_agent.as_deref().filter(plain).filter(|text| !text.is_empty());
    let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
    Letterhead {
        method: method.to_owned(),
        path: path.to_owned(),
        body_digest: hex::sha256(body),
        token_digest: hex::sha256(token.as_bytes()),
        from: own.clone(),
        to: to.clone(),
        time_ms: now_ms(),
        nonce: Uuid::new_v4(),
        deadline_ms: u64::try_from(deadline.remaining().as_millis()).unwrap_or(u64::MAX),
        client_ip: or_none(origin.ip.map(|ip| ip.to_string())),
        request_id: origin.request_id.as_str().to_owned(),
        session: or_none(origin.session_id.as_ref().map(ToString::to_string)),
        user_agent: user_agent.unwrap_or(NONE).to_owned(),
        idempotency_key: or_none(
            origin.idempotency_key.as_ref().map(|key| key.as_str().to_owned()),
        ),
    }
}

/// The letter as headers.
pub(super) fn headers(letter: &Letterhead, seal: &str) -> [(&'static str, String); 11] {
    [
        (FROM, letter.from.to_string()),
        (TO, letter.to.to_string()),
        (TIME, letter.time_ms.to_string()),
        (NONCE, letter.nonce.to_string()),
        (BODY_HEADER, letter.body_digest.clone()),
        (DEADLINE, letter.deadline_ms.to_string()),
        (CLIENT, letter.client_ip.clone()),
        (SESSION, letter.session.clone()),
        (SEAL, seal.to_owned()),
        (REQUEST_ID, letter.request_id.clone()),
        ("user-agent", letter.user_agent.clone()),
    ]
}

/// What the sending node vouches for; `None` for a request of a client.
///
/// # Errors
/// It claims to come from a node, and does not prove it.
pub fn received(request: &HttpRequest, seals: &Seals) -> Result<Option<Received>, SealError> {
    let headers = request.headers();
    if !headers.contains_key(SEAL) {
        return Ok(None);
    }
    let (letter, seal) = read(request).ok_or(SealError::Broken)?;
    seals.check(&letter, seal, now_ms())?;
    Ok(Some(Received {
        client_ip: letter.client_ip.parse().ok(),
        session_id: some(&letter.session).and_then(|text| SessionId::parse(text).ok()),
        time_left: Duration::from_millis(letter.deadline_ms),
        from: letter.from,
    }))
}

fn read(request: &HttpRequest) -> Option<(Letterhead, &str)> {
    let headers = request.headers();
    let text = |name: &str| only(headers, name);
    let path = request.uri().path_and_query()?.as_str();
    let letter = Letterhead {
        method: request.method().as_str().to_owned(),
        path: path.to_owned(),
        body_digest: text(BODY_HEADER)?.to_owned(),
        token_digest: hex::sha256(only(headers, AUTHORIZATION.as_str())?.as_bytes()),
        from: NodeId::parse(text(FROM)?).ok()?,
        to: NodeId::parse(text(TO)?).ok()?,
        time_ms: text(TIME)?.parse().ok()?,
        nonce: text(NONCE)?.parse().ok()?,
        deadline_ms: text(DEADLINE)?.parse().ok()?,
        client_ip: text(CLIENT)?.to_owned(),
        request_id: text(REQUEST_ID)?.to_owned(),
        session: text(SESSION)?.to_owned(),
        user_agent: only(headers, USER_AGENT.as_str())?.to_owned(),
        idempotency_key: match headers.contains_key(once::HEADER) {
            true => text(once::HEADER)?.to_owned(),
            false => NONE.to_owned(),
        },
    };
    Some((letter, text(SEAL)?))
}

/// The value of a header that is there once.
fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name);
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

fn some(text: &str) -> Option<&str> {
    (text != NONE).then_some(text)
}

fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use ultimate_mcp_actors::node::ClusterSecret;

    use super::*;
    use crate::origin::Transport;

    const TOKEN: &str = "Bearer abc";

    fn node(id: &str) -> NodeId {
        NodeId::parse(id).unwrap()
    }

    fn seals(own: &str) -> Seals {
        Seals::new(node(own), Some(ClusterSecret::of(&[7; 32])), 30)
    }

    fn origin(user_agent: &str) -> Origin {
        let client = TestRequest::default()
            .insert_header(("User-Agent", user_agent))
            .peer_addr("192.0.2.7:1000".parse().unwrap())
            .to_http_request();
        Origin::of(&client, Transport::McpHttp)
    }

    fn forwarded(origin: &Origin, change: impl Fn(TestRequest) -> TestRequest) -> HttpRequest {
        let what = ("POST", "/api/v1/tools/x", &b"{}"[..]);
        let deadline = Deadline::after(Duration::from_secs(5));
        let letter = write(&node("a"), &node("b"), origin, TOKEN, what, deadline);
        let seal = seals("a").seal(&letter).unwrap();
        let mut request = TestRequest::post().uri(what.1).insert_header((AUTHORIZATION, TOKEN));
        for (name, value) in headers(&letter, &seal) {
            request = request.insert_header((name, value));
        }
        change(request).to_http_request()
    }

    #[test]
    fn what_one_node_writes_another_reads() {
        for agent in ["curl/8", "", "caf\u{e9}", "two  words"] {
            let request = forwarded(&origin(agent), |request| request);
            let received = received(&request, &seals("b")).unwrap().unwrap();
            assert_eq!(received.from, node("a"));
            assert_eq!(received.client_ip, Some("192.0.2.7".parse().unwrap()));
            assert!(received.time_left > Duration::from_secs(4));
        }
    }

    #[test]
    fn a_client_that_writes_these_headers_itself_is_refused_and_one_without_is_a_client() {
        let plain = TestRequest::post().insert_header((AUTHORIZATION, TOKEN)).to_http_request();
        assert_eq!(received(&plain, &seals("b")), Ok(None));
        let changes: [fn(TestRequest) -> TestRequest; 6] = [
            |request| request.insert_header((CLIENT, "127.0.0.1")),
            |request| request.insert_header((AUTHORIZATION, "Bearer other")),
            |request| request.uri("/api/v1/tools/y"),
            |request| request.insert_header((SEAL, "00")),
            |request| request.append_header((SEAL, "00")),
            |request| request.insert_header((DEADLINE, "99999999")),
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let request = forwarded(&origin("curl/8"), change);
            assert_eq!(received(&request, &seals("b")), Err(SealError::Broken), "{index}");
        }
    }
}
