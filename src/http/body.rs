//! Request bodies: read whole, bounded in size and time, whether announced or chunked.
//!
//! Called by the MCP endpoint and, as the extractor [`Body`], by REST handlers. Reading happens after
//! authentication, so a stranger cannot make the server hold megabytes.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_LENGTH, HeaderMap};
use actix_web::web::{Bytes, BytesMut};
use actix_web::{FromRequest, HttpRequest};
use futures_util::{Stream, StreamExt};

use crate::error::{ApiError, Code};

/// How much a request may send, and how slowly.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// Most bytes of a body.
    pub bytes_max: usize,
    /// Longest time from the first to the last byte.
    pub timeout: Duration,
}

/// A request body within [`BodyLimits`] (from the app's data).
pub struct Body(pub Bytes);

impl FromRequest for Body {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let mut payload = payload.take();
        Box::pin(async move {
            let limits = request.app_data::<BodyLimits>().ok_or_else(|| {
                ApiError::new(Code::Internal, "the server has no body limits configured")
            })?;
            read(request.headers(), &mut payload, *limits).await.map(Body)
        })
    }
}

/// Reads a body.
///
/// # Errors
/// [`Code::PayloadTooLarge`] as soon as the announced or received size passes the limit,
/// [`Code::RequestTimeout`] when the client sends too slowly, [`Code::InvalidRequest`] when the
/// body ends early or its transfer coding is broken.
pub async fn read<S>(
    headers: &HeaderMap,
    body: &mut S,
    limits: BodyLimits,
) -> Result<Bytes, ApiError>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if announced.and_then(|text| text.parse::<u64>().ok()) > Some(limits.bytes_max as u64) {
        return Err(too_large(limits));
    }
    tokio::time::timeout(limits.timeout, collect(body, limits)).await.unwrap_or_else(|_| {
        let seconds = limits.timeout.as_secs_f64();
        Err(ApiError::new(
            Code::RequestTimeout,
            format!("the body did not arrive within {seconds} s; send it again, faster"),
        ))
    })
}

async fn collect<S>(body: &mut S, limits: BodyLimits) -> Result<Bytes, ApiError>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    let mut first = Bytes::new();
    let mut rest: Option<BytesMut> = None;
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(broken)?;
        let received = first.len() + rest.as_ref().map_or(0, BytesMut::len) + chunk.len();
        if received > limits.bytes_max {
            return Err(too_large(limits));
        }
        // Most bodies arrive in one piece and are never copied.
        match &mut rest {
            Some(rest) => rest.extend_from_slice(&chunk),
            None if first.is_empty() => first = chunk,
            None => {
                let mut whole = BytesMut::from(&first[..]);
                whole.extend_from_slice(&chunk);
                first = Bytes::new();
                rest = Some(whole);
            }
        }
    }
    Ok(rest.map_or(first, BytesMut::freeze))
}

fn too_large(limits: BodyLimits) -> ApiError {
    let message = format!("the body is larger than {} bytes", limits.bytes_max);
    ApiError::new(Code::PayloadTooLarge, message)
}

fn broken(error: PayloadError) -> ApiError {
    ApiError::new(Code::InvalidRequest, "the body ended early or its transfer coding is broken")
        .caused_by(error)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;
    use futures_util::stream;

    use super::*;

    const LIMITS: BodyLimits = BodyLimits { bytes_max: 10, timeout: Duration::from_secs(1) };

    async fn read_chunks(chunks: &[&'static str]) -> Result<Bytes, ApiError> {
        let items: Vec<_> =
            chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes()))).collect();
        read(&HeaderMap::new(), &mut stream::iter(items), LIMITS).await
    }

    #[actix_web::test]
    async fn a_body_in_pieces_arrives_whole() {
        assert_eq!(read_chunks(&[]).await.unwrap(), "");
        assert_eq!(read_chunks(&["abc"]).await.unwrap(), "abc");
        assert_eq!(read_chunks(&["abc", "de", "fghij"]).await.unwrap(), "abcdefghij");
    }

    #[actix_web::test]
    async fn an_unannounced_body_over_the_limit_is_refused() {
        let error = read_chunks(&["abcdef", "ghijk"]).await.unwrap_err();
        assert_eq!(error.code, Code::PayloadTooLarge);
    }

    #[actix_web::test]
    async fn an_announced_body_over_the_limit_is_refused_unread() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("11"));
        let mut never = stream::pending();
        let error = read(&headers, &mut never, LIMITS).await.unwrap_err();
        assert_eq!(error.code, Code::PayloadTooLarge);
    }

    #[actix_web::test]
    async fn a_body_that_trickles_is_given_up() {
        let limits = BodyLimits { timeout: Duration::from_millis(1), ..LIMITS };
        let mut never = stream::pending();
        let error = read(&HeaderMap::new(), &mut never, limits).await.unwrap_err();
        assert_eq!(error.code, Code::RequestTimeout);
    }

    #[actix_web::test]
    async fn a_body_that_ends_early_is_a_bad_request() {
        let mut cut = stream::iter([Err(PayloadError::Incomplete(None))]);
        let error = read(&HeaderMap::new(), &mut cut, LIMITS).await.unwrap_err();
        assert_eq!(error.code, Code::InvalidRequest);
    }
}
