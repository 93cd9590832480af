//! `token create`: a token from the command line, with the keys the server uses.
//!
//! Works without a running server. Refuses roles the policy does not know: such a token would be
//! accepted and could do nothing, which is hard to find out.

use std::ffi::OsString;
use std::io::Write;

use secrecy::ExposeSecret;
use ultimate_mcp_actors::ids::CallerId;

use super::args::CreateToken;
use super::{Exit, Failure, print};
use crate::admission::unknown_role;
use crate::auth::{Authenticator, IssueRequest, KeyRing};
use crate::config::load_policy;

pub(super) fn create(
    request: &CreateToken,
    environment: Vec<(OsString, OsString)>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let config = request.common.load(environment)?.config;
    let sub = CallerId::parse(&request.sub)
        .map_err(|error| Failure::new(Exit::Usage, format!("--sub: {error}")))?;
    let policy = load_policy(&config)?.policy;
    if let Some(role) = request.role.iter().find(|role| !policy.roles.contains_key(*role)) {
        return Err(Failure::new(Exit::Usage, format!("--role: {}", unknown_role(&policy, role))));
    }
    let ring = KeyRing::load(&config.auth, &config.data_dir)
        .map_err(|errors| Failure::config(errors.iter().map(ToString::to_string).collect()))?;
    let issued = Authenticator::new(config.auth, ring)
        .issue(IssueRequest {
            sub,
            roles: request.role.clone(),
            ttl: request.ttl,
            custom: serde_json::Map::new(),
        })
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    print(out, &format!("{}\n", issued.token.expose_secret()))
}
