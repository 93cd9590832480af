//! REST: the twin of every tool, and administration. Same callers, same path, same audit.
//!
//! Handlers are short: take a verified caller, parse, call the engine, answer. What a route needs is
//! listed in [`routes`] and in the OpenAPI document; a test compares the two.

mod artifacts;
mod audit;
mod authenticated;
mod bans;
mod body;
mod breakers;
mod config;
mod dead_letters;
#[cfg(feature = "faults")]
mod faults;
mod graph;
mod health;
mod job_events;
mod jobs;
mod load;
mod nodes;
pub mod openapi;
mod resource_metadata;
mod roles;
mod schedules;
mod supervision;
mod tokens;
mod tool_stream;
mod tools;
mod users;

use actix_web::Resource;
use actix_web::web::{self, ServiceConfig};

use crate::http::method_not_allowed;

pub use authenticated::Authenticated;
pub use body::JsonBody;
pub use graph::REPORT_HEADER as GRAPH_REPORT_HEADER;

/// Most bytes of a path segment that names something (a user, a tool, an artifact).
const NAME_BYTES_MAX: usize = ultimate_mcp_actors::ids::ID_BYTES_MAX;

/// A path that answers other methods than its own with what it allows.
fn resource(path: &str, allow: &'static str) -> Resource {
    web::resource(path).default_service(web::to(move || async move { method_not_allowed(allow) }))
}

/// Adds every REST route.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(resource("/health", "GET").route(web::get().to(health::health)))
        .service(resource("/ready", "GET").route(web::get().to(health::ready)))
        .service(resource("/metrics", "GET").route(web::get().to(health::metrics)))
        .service(
            resource("/.well-known/oauth-protected-resource", "GET")
                .route(web::get().to(resource_metadata::document)),
        )
        .service(
            resource("/.well-known/oauth-protected-resource/mcp", "GET")
                .route(web::get().to(resource_metadata::document)),
        )
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
        .service(
            resource("/api/v1/artifacts/{id}", "GET").route(web::get().to(artifacts::download)),
        )
        .configure(config_routes)
        .configure(job_routes)
        .configure(operator_routes);
    #[cfg(feature = "faults")]
    config
        .service(
            resource("/api/v1/faults", "GET, DELETE")
                .route(web::get().to(faults::list))
                .route(web::delete().to(faults::disarm)),
        )
        .service(resource("/api/v1/faults/{point}", "PUT").route(web::put().to(faults::arm)));
}

/// The configuration in force.
fn config_routes(service: &mut ServiceConfig) {
    service
        .service(
            resource("/api/v1/config", "GET, PATCH")
                .route(web::get().to(config::get))
                .route(web::patch().to(config::patch)),
        )
        .service(
            resource("/api/v1/config/rollback", "POST").route(web::post().to(config::rollback)),
        );
}

/// The tree, breakers, limits, queues.
fn operator_routes(config: &mut ServiceConfig) {
    config
        .service(resource("/api/v1/supervision", "GET").route(web::get().to(supervision::tree)))
        .service(
            resource("/api/v1/supervision/drain", "POST").route(web::post().to(supervision::drain)),
        )
        .service(
            resource("/api/v1/supervision/{name}/restart", "POST")
                .route(web::post().to(supervision::restart)),
        )
        .service(resource("/api/v1/breakers", "GET").route(web::get().to(breakers::list)))
        .service(
            resource("/api/v1/breakers/{name}/open", "POST").route(web::post().to(breakers::open)),
        )
        .service(
            resource("/api/v1/breakers/{name}/close", "POST")
                .route(web::post().to(breakers::close)),
        )
        .service(
            resource("/api/v1/breakers/{name}/reset", "POST")
                .route(web::post().to(breakers::reset)),
        )
        .service(resource("/api/v1/limits", "GET").route(web::get().to(load::limits)))
        .service(resource("/api/v1/queues", "GET").route(web::get().to(load::queues)));
}

/// Jobs, schedules, dead letters.
fn job_routes(config: &mut ServiceConfig) {
    config
        .service(
            resource("/api/v1/jobs", "GET, POST")
                .route(web::get().to(jobs::list))
                .route(web::post().to(jobs::enqueue)),
        )
        .service(resource("/api/v1/jobs/{id}", "GET").route(web::get().to(jobs::get)))
        .service(resource("/api/v1/jobs/{id}/cancel", "POST").route(web::post().to(jobs::cancel)))
        .service(
            resource("/api/v1/jobs/{id}/events", "GET").route(web::get().to(job_events::stream)),
        )
        .service(
            resource("/api/v1/schedules", "GET, POST")
                .route(web::get().to(schedules::list))
                .route(web::post().to(schedules::create)),
        )
        .service(
            resource("/api/v1/schedules/{id}", "GET, PUT, DELETE")
                .route(web::get().to(schedules::get))
                .route(web::put().to(schedules::replace))
                .route(web::delete().to(schedules::remove)),
        )
        .service(resource("/api/v1/dead-letters", "GET").route(web::get().to(dead_letters::list)))
        .service(
            resource("/api/v1/dead-letters/{id}", "GET, DELETE")
                .route(web::get().to(dead_letters::get))
                .route(web::delete().to(dead_letters::discard)),
        )
        .service(
            resource("/api/v1/dead-letters/{id}/replay", "POST")
                .route(web::post().to(dead_letters::replay)),
        );
}

/// What a node answers that only works jobs.
pub fn worker_routes(config: &mut ServiceConfig) {
    config
        .route("/health", web::get().to(health::health))
        .route("/ready", web::get().to(health::ready))
        .route("/metrics", web::get().to(health::metrics));
}
