//! The edge around small handlers, and the server on a real socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::body::to_bytes;
use actix_web::dev::Service;
use actix_web::test::{TestRequest, init_service};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpResponse, rt};
use serde_json::Value;
use tokio::sync::Notify;

use super::guard::Guard;
use super::{Body, HttpOptions, app, bind, method_not_allowed};
use crate::error::{ApiError, Code};

fn routes(config: &mut ServiceConfig) {
    let only_get = || async { method_not_allowed("GET") };
    config
        .route("/echo", web::post().to(|body: Body| async { HttpResponse::Ok().body(body.0) }))
        .route("/number/{n}", web::get().to(|_: web::Path<u32>| async { "a number" }))
        .service(
            web::resource("/one")
                .get(|| async { Err::<String, _>(ApiError::new(Code::Overloaded, "full")) })
                .default_service(web::to(only_get)),
        )
        .route("/panic", web::get().to(panics));
}

async fn panics() -> HttpResponse {
    panic!("as asked")
}

async fn answer(request: TestRequest) -> (u16, Value) {
    let options = HttpOptions { body_bytes_max: 1024, ..HttpOptions::default() };
    let service = init_service(app(&options, Guard::new(&[], &[]).unwrap(), routes)).await;
    let request = request.insert_header(("host", "localhost")).to_request();
    let response = match service.call(request).await {
        Ok(response) => response.into_parts().1,
        Err(error) => error.error_response(),
    };
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body()).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

fn get(path: &str) -> TestRequest {
    TestRequest::get().uri(path)
}

#[actix_web::test]
async fn a_panic_is_an_error_to_one_caller() {
    let (status, body) = answer(get("/panic")).await;
    assert_eq!((status, &body["error"]["code"]), (503, &"crashed".into()));
}

#[actix_web::test]
async fn every_refusal_is_typed_json_whoever_refuses() {
    for (request, status, code) in [
        (get("/nowhere"), 404, "not_found"),
        (get("/number/x"), 404, "not_found"),
        (TestRequest::post().uri("/one"), 405, "method_not_allowed"),
        (get("/one"), 503, "overloaded"),
        (TestRequest::post().uri("/echo").set_payload("x".repeat(2000)), 413, "payload_too_large"),
    ] {
        let (got, body) = answer(request).await;
        assert_eq!((got, &body["error"]["code"]), (status, &code.into()), "{body}");
        assert!(body["error"]["message"].is_string());
    }
}

/// What the handlers of the real server tell the test.
#[derive(Default)]
struct Signals {
    begun: Notify,
    dropped: AtomicBool,
    gone: Notify,
}

struct Held(Data<Arc<Signals>>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dropped.store(true, Ordering::SeqCst);
        self.0.gone.notify_one();
    }
}

async fn hold(signals: Data<Arc<Signals>>) -> HttpResponse {
    let _held = Held(signals.clone());
    signals.begun.notify_one();
    std::future::pending().await
}

/// A server on a port the system chose; the test's runtime serves it.
fn start(signals: &Arc<Signals>) -> (SocketAddr, actix_web::dev::ServerHandle) {
    let options = HttpOptions {
        port: 0,
        workers: 1,
        body_bytes_max: 1024,
        body_timeout_ms: 200,
        drain_seconds: 1,
        ..HttpOptions::default()
    };
    let signals = Data::new(Arc::clone(signals));
    let bound = bind(&options, move |config: &mut ServiceConfig| {
        config.app_data(signals.clone()).configure(routes).route("/hold", web::get().to(hold));
    })
    .unwrap();
    let handle = bound.server.handle();
    rt::spawn(bound.server);
    (bound.addresses[0], handle)
}

/// Sends these bytes and reads until the server closes or has answered.
async fn exchange(address: SocketAddr, request: Vec<u8>) -> String {
    rt::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(&request).unwrap();
        let mut answer = String::new();
        let mut buffer = [0; 4096];
        while !answer.contains("}}") {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => answer.push_str(&String::from_utf8_lossy(&buffer[..count])),
            }
        }
        answer
    })
    .await
    .unwrap()
}

#[actix_web::test]
async fn a_chunked_body_over_the_limit_is_413() {
    let signals = Arc::default();
    let (address, handle) = start(&signals);
    let mut request =
        b"POST /echo HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..3 {
        request.extend(format!("200\r\n{}\r\n", "x".repeat(512)).into_bytes());
    }
    let answer = exchange(address, request).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("payload_too_large"), "{answer}");
    handle.stop(false).await;
}

#[actix_web::test]
async fn a_body_that_never_comes_is_408() {
    let signals = Arc::default();
    let (address, handle) = start(&signals);
    let request =
        b"POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nabc".to_vec();
    let answer = exchange(address, request).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    handle.stop(false).await;
}

#[actix_web::test]
async fn a_client_that_hangs_up_ends_its_handler() {
    let signals: Arc<Signals> = Arc::default();
    let (address, handle) = start(&signals);
    let connection = rt::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /hold HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        stream
    });
    let stream = connection.await.unwrap();
    signals.begun.notified().await;
    assert!(!signals.dropped.load(Ordering::SeqCst));
    drop(stream);
    let gone = tokio::time::timeout(Duration::from_secs(10), signals.gone.notified()).await;
    assert!(gone.is_ok(), "the handler outlived its client");
    handle.stop(false).await;
}
