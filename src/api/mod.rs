//! REST: the twin of every tool, and administration. Same callers, same path, same audit.
//!
//! Handlers are short: take a verified caller, parse, call the engine, answer. What a route needs is
//! listed in [`routes`] and in the OpenAPI document; a test compares the two.

mod artifacts;
mod audit;
mod authenticated;
mod bans;
mod body;
mod graph;
mod health;
mod nodes;
pub mod openapi;
mod roles;
mod supervision;
mod tokens;
mod tools;
mod users;

use actix_web::web::{self, ServiceConfig};

use crate::http::method_not_allowed;

pub use authenticated::Authenticated;
pub use body::JsonBody;
pub use graph::REPORT_HEADER as GRAPH_REPORT_HEADER;

/// Most bytes of a path segment that names something (a user, a tool, an artifact).
const NAME_BYTES_MAX: usize = ultimate_mcp_actors::ids::ID_BYTES_MAX;

/// Adds every REST route.
pub fn routes(config: &mut ServiceConfig) {
    let resource = |path: &str, allow: &'static str| {
        web::resource(path)
            .default_service(web::to(move || async move { method_not_allowed(allow) }))
    };
    config
        .service(resource("/health", "GET").route(web::get().to(health::health)))
        .service(resource("/ready", "GET").route(web::get().to(health::ready)))
        .service(resource("/metrics", "GET").route(web::get().to(health::metrics)))
        .service(resource("/api/v1/openapi.json", "GET").route(web::get().to(openapi::document)))
        .service(resource("/api/v1/tools", "GET").route(web::get().to(tools::list)))
        .service(resource("/api/v1/tools/{name}", "POST").route(web::post().to(tools::call)))
        .service(
            resource("/api/v1/users/{user_id}/roles", "GET, POST, DELETE")
                .route(web::get().to(roles::list))
                .route(web::post().to(roles::assign))
                .route(web::delete().to(roles::remove)),
        )
        .service(
            resource("/api/v1/users/{user_id}", "DELETE").route(web::delete().to(users::erase)),
        )
        .service(
            resource("/api/v1/bans", "GET, POST, DELETE")
                .route(web::get().to(bans::list))
                .route(web::post().to(bans::ban))
                .route(web::delete().to(bans::lift)),
        )
        .service(resource("/api/v1/nodes", "GET").route(web::get().to(nodes::list)))
        .service(resource("/api/v1/audit", "GET").route(web::get().to(audit::query)))
        .service(resource("/api/v1/audit/export", "GET").route(web::get().to(audit::export)))
        .service(resource("/api/v1/graph/export", "GET").route(web::get().to(graph::export)))
        .service(resource("/api/v1/auth/token", "POST").route(web::post().to(tokens::create)))
        .service(resource("/api/v1/auth/refresh", "POST").route(web::post().to(tokens::refresh)))
        .service(resource("/api/v1/auth/revoke", "POST").route(web::post().to(tokens::revoke)))
        .service(resource("/api/v1/supervision", "GET").route(web::get().to(supervision::tree)))
        .service(
            resource("/api/v1/artifacts/{id}", "GET").route(web::get().to(artifacts::download)),
        );
}
