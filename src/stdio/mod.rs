//! The protocol over standard input and output, for clients that start their server themselves.
//!
//! A bridge and nothing more: each line becomes a text frame of [`/mcp/ws`](crate::mcp) and back, so that
//! eras, limits, cancellation, authorization and audit are those of the WebSocket. Owns the connection and
//! what is in flight on it. Refuses lines that are too long or no UTF-8, and answers what is in flight
//! when the connection breaks, so that no client waits for an answer that cannot come.

mod flight;
mod lines;

use std::time::Duration;

use actix_web::web::Bytes;
use awc::error::WsClientError;
use awc::ws::{CloseCode, Frame, Message};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::mpsc;

use crate::error::{ApiError, Code};
use crate::mcp::failure_message;
use flight::Flight;
pub use lines::{Line, Lines};

/// Largest message of the server that is passed on, in bytes; the largest result has under a tenth.
const FRAME_BYTES_MAX: usize = 64 << 20;
/// Longest time to connect.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// After the end of input: longest wait for answers in flight.
const ANSWERS_MAX: Duration = Duration::from_secs(30);
/// Frames that wait for the socket.
const WAITING_MAX: usize = 16;

/// Why a conversation did not end with the end of its input.
#[derive(Debug, thiserror::Error)]
pub enum StdioError {
    /// No WebSocket was opened.
    #[error("cannot connect to the server at {url}: {problem}")]
    Connect {
        /// Where.
        url: String,
        /// Why not.
        problem: String,
    },
    /// The server does not take the token.
    #[error("the server does not take the token ({0}): make one with `ultimate-mcp token create`")]
    Refused(u16),
    /// The token was revoked, banned or expired meanwhile.
    #[error("the token is no longer accepted: get a new one")]
    Ended,
    /// The server went away.
    #[error("the server closed the connection ({0})")]
    Closed(String),
    /// Nobody reads standard output.
    #[error("standard output is closed")]
    Output,
}

/// Passes messages between `lines` and the server at `url` until the input ends.
///
/// # Errors
/// No connection, or one that ended before the input did; everything in flight was answered then.
pub async fn converse(
    url: &str,
    token: &SecretString,
    message_bytes_max: usize,
) -> Result<(), StdioError> {
    let address = format!("ws{}/mcp/ws", url.strip_prefix("http").unwrap_or(url));
    let connect = awc::Client::builder()
        .timeout(CONNECT_MAX)
        .finish()
        .ws(address)
        .protocols(["mcp"])
        .bearer_auth(token.expose_secret())
        .header("User-Agent", concat!("ultimate-mcp-stdio/", env!("CARGO_PKG_VERSION")))
        .max_frame_size(FRAME_BYTES_MAX)
        .connect();
    let (_, socket) = connect.await.map_err(|error| refusal(url, &error))?;
    let (sink, frames) = socket.split();
    let mut lines = Lines::of_this_process(message_bytes_max);
    let ended = Box::pin(talk(&mut lines, sink, frames)).await;
    lines.finish().await;
    ended
}

fn refusal(url: &str, error: &WsClientError) -> StdioError {
    match error {
        WsClientError::InvalidResponseStatus(status) if matches!(status.as_u16(), 401 | 403) => {
            StdioError::Refused(status.as_u16())
        }
        error => StdioError::Connect { url: url.to_owned(), problem: error.to_string() },
    }
}

async fn talk<S, F, E>(lines: &mut Lines, mut sink: S, mut frames: F) -> Result<(), StdioError>
where
    S: Sink<Message> + Unpin,
    F: Stream<Item = Result<Frame, E>> + Unpin,
    E: std::fmt::Display,
{
    let flight = Flight::default();
    let (to_server, mut waiting) = mpsc::channel(WAITING_MAX);
    let (input, output) = (&mut lines.input, &lines.output);
    // Written apart from reading: a server that does not read may be one whose answers nobody takes.
    let writing = async {
        while let Some(message) = waiting.recv().await {
            if sink.send(message).await.is_err() {
                break;
            }
        }
        let _ = sink.close().await;
        // What ended the connection is told by its reader.
        std::future::pending::<()>().await;
    };
    let pongs = to_server.clone();
    let hearing = hear(&mut frames, output, &flight, pongs);
    let speaking = async {
        speak(input, output, &flight, &to_server).await?;
        let answered = tokio::time::timeout(ANSWERS_MAX, flight.landed()).await;
        if answered.is_err() {
            tracing::warn!("the input ended, and calls in flight are given up");
        }
        let _ = to_server.send(Message::Close(Some(CloseCode::Normal.into()))).await;
        Ok(())
    };
    let ended = tokio::select! {
        ended = speaking => ended,
        error = hearing => Err(error),
        () = writing => Ok(()),
    };
    if let Err(error) = &ended {
        let gone =
            ApiError::new(Code::Unavailable, format!("{error}; whether the call ran is unknown"));
        for id in flight.take() {
            let _ = output.send(failure_message(Some(&id), &gone).into()).await;
        }
    }
    ended
}

/// From standard input to the server, until the input ends.
async fn speak(
    input: &mut mpsc::Receiver<Line>,
    output: &mpsc::Sender<Bytes>,
    flight: &Flight,
    to_server: &mpsc::Sender<Message>,
) -> Result<(), StdioError> {
    while let Some(line) = input.recv().await {
        let (code, problem) = match line {
            Line::Message(text) => {
                flight.departs(&text);
                // An error means that the connection is over, which its reader tells.
                let _ = to_server.send(Message::Text(text.into())).await;
                continue;
            }
            Line::TooLong(max) => {
                (Code::PayloadTooLarge, format!("a line has at most {max} bytes"))
            }
            Line::NotText => (Code::ParseError, "a line must be UTF-8".to_owned()),
        };
        let refused = failure_message(None, &ApiError::new(code, problem));
        output.send(refused.into()).await.map_err(|_| StdioError::Output)?;
    }
    Ok(())
}

/// From the server to standard output, until the connection ends; answers why it did.
async fn hear<F, E>(
    frames: &mut F,
    output: &mpsc::Sender<Bytes>,
    flight: &Flight,
    pongs: mpsc::Sender<Message>,
) -> StdioError
where
    F: Stream<Item = Result<Frame, E>> + Unpin,
    E: std::fmt::Display,
{
    loop {
        match frames.next().await {
            Some(Ok(Frame::Text(json))) => {
                flight.lands(&json);
                if output.send(json).await.is_err() {
                    return StdioError::Output;
                }
            }
            // A pong that finds no room is no loss: what waits there is a sign of life as well.
            Some(Ok(Frame::Ping(bytes))) => drop(pongs.try_send(Message::Pong(bytes))),
            Some(Ok(Frame::Pong(_))) => {}
            Some(Ok(Frame::Close(reason))) => {
                return match reason {
                    Some(reason) if reason.code == CloseCode::Policy => StdioError::Ended,
                    Some(reason) => StdioError::Closed(format!("{:?}", reason.code)),
                    None => StdioError::Closed("no reason given".to_owned()),
                };
            }
            Some(Ok(Frame::Binary(_) | Frame::Continuation(_))) => {
                return StdioError::Closed("it sent a frame that is no message".to_owned());
            }
            Some(Err(error)) => return StdioError::Closed(error.to_string()),
            None => return StdioError::Closed("it went away".to_owned()),
        }
    }
}
