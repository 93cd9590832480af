//! Listening: the app factory and the server with its limits.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::{Server, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::web::ServiceConfig;
use actix_web::{App, Error, HttpServer};

use super::edge::Edge;
use super::guard::Guard;
use super::options::HttpOptions;

/// A server that listens but does not run yet: await `server`.
pub struct Bound {
    /// The future that serves; its handle stops it gracefully.
    pub server: Server,
    /// Where it listens, with the port the system chose when 0 was asked for.
    pub addresses: Vec<SocketAddr>,
}

/// One worker's app: the edge around these routes.
pub fn app<C>(
    options: &HttpOptions,
    guard: Guard,
    routes: C,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = Error,
        InitError = (),
    > + use<C>,
>
where
    C: FnOnce(&mut ServiceConfig),
{
    let edge = Rc::new(Edge::new(guard, options.trusted_proxies.clone()));
    App::new()
        .app_data(options.body_limits())
        .configure(routes)
        .wrap(from_fn(move |request, next| Rc::clone(&edge).pass(request, next)))
}

/// Binds the address of the options and prepares the server.
///
/// Signals are left alone: the caller drains with `server.handle().stop(true)`.
///
/// # Errors
/// The address is taken or not ours; the options name a host or origin that is none.
pub fn bind<C>(options: &HttpOptions, routes: C) -> io::Result<Bound>
where
    C: Fn(&mut ServiceConfig) + Clone + Send + 'static,
{
    let guard = options
        .guard()
        .map_err(|problems| io::Error::new(io::ErrorKind::InvalidInput, problems.join("; ")))?;
    let workers = match options.workers {
        0 => std::thread::available_parallelism()?.get(),
        workers => workers,
    };
    let for_workers = options.clone();
    let http = HttpServer::new(move || app(&for_workers, guard.clone(), routes.clone()))
        .workers(workers)
        .max_connections(options.connections_max)
        .backlog(options.backlog)
        .keep_alive(Duration::from_secs(options.keep_alive_seconds))
        .client_request_timeout(Duration::from_millis(options.head_timeout_ms))
        .client_disconnect_timeout(Duration::from_millis(options.disconnect_timeout_ms))
        // A small answer must not wait for the acknowledgement of the one before.
        .tcp_nodelay(true)
        // A client that hangs up cancels its call: drop the handler at once instead of finishing for
        // nobody. (Clients that close only their sending half are not served; HTTP clients do not.)
        .h1_allow_half_closed(false)
        .shutdown_timeout(options.drain_seconds)
        .disable_signals()
        .bind(SocketAddr::new(options.bind, options.port))?;
    let addresses = http.addrs();
    Ok(Bound { server: http.run(), addresses })
}
