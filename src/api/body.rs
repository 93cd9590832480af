//! The body of a REST request: JSON, and said to be JSON.
//!
//! A web form can send any text to any address without being asked first, but not under this type
//! (Fetch, "CORS-safelisted request-header").

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::Bytes;
use actix_web::{FromRequest, HttpRequest};
use ultimate_mcp_actors::hex;

use crate::error::{ApiError, Code};
use crate::forward::BODY_HEADER;
use crate::http::Body;
use crate::mcp::is_json;

/// A body within the limits whose `Content-Type` is JSON, or none at all.
pub struct JsonBody(pub Bytes);

impl FromRequest for JsonBody {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let kind = request.headers().get(CONTENT_TYPE);
        let json = kind.is_some_and(|kind| is_json(kind.as_bytes()));
        let sealed = request.headers().get(BODY_HEADER).cloned();
        let read = Body::from_request(request, payload);
        Box::pin(async move {
            let Body(body) = read.await?;
            // What another node sent on is what it sealed.
            if sealed.is_some_and(|sealed| sealed.as_bytes() != hex::sha256(&body).as_bytes()) {
                let message = "the body is not the one the sending node sealed";
                return Err(ApiError::new(Code::Unauthenticated, message));
            }
            match json || body.is_empty() {
                true => Ok(Self(body)),
                false => Err(ApiError::new(
                    Code::UnsupportedMediaType,
                    "Content-Type must be application/json",
                )),
            }
        })
    }
}
