//! New certificates; and new keys for tokens and jobs, as an operator rotates them on nodes that must not stop: first every node
//! learns the new key beside the old one, then clients get new tokens, then every node forgets the old key.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::json;

use super::{Scene, Undo};
use crate::record::{Kind, Outcome, Record};
use crate::server::Server;
use crate::workload::Request;
use crate::world::{JOBS_KEYS, World, secret_file, token_key_table, trust};

/// Until every client has looked at a node that is back, and calls in hand with old tokens have ended.
const NOTICED: Duration = Duration::from_millis(700);

/// Carries the rotation out. There is nothing to undo: the new keys stay.
pub(super) fn rotate(scene: &Scene<'_>) -> Result<Undo> {
    let (world, load) = (scene.world, scene.load);
    let folder = world.folder.path();
    let (first, second) = (
        token_key_table("first", &folder.join("token-1.key").display().to_string()),
        token_key_table("second", &secret_file(folder, "token-2.key", &"second key ".repeat(6))?),
    );
    let jobs = [
        folder.join("jobs-1.key").display().to_string(),
        secret_file(folder, "jobs-2.key", JOBS_KEYS[1])?,
    ];
    // Tokens are still signed with the old key: a node that has not been restarted must know it. Jobs, too.
    one_by_one(scene, |node| {
        node.set("AUTH__KEYS", &format!("[{first}, {second}]"));
        node.set("AUTH__SIGNING_KID", "first");
        node.set("JOBS__PREVIOUS_SECRET_FILES", &format!("[\"{}\"]", jobs[1]));
    })?;
    one_by_one(scene, |node| {
        node.set("AUTH__SIGNING_KID", "second");
        node.set("JOBS__SECRET_FILE", &jobs[1]);
        node.set("JOBS__PREVIOUS_SECRET_FILES", &format!("[\"{}\"]", jobs[0]));
    })?;
    let old = load.tokens();
    load.change_tokens(world.tokens()?);
    std::thread::sleep(NOTICED);
    one_by_one(scene, |node| node.set("AUTH__KEYS", &format!("[{second}]")))?;
    for node in 0..world.nodes.len() {
        try_old_token(scene, node, &old.admin);
    }
    Ok(Undo::by(|| ()))
}

/// A new certificate on the way to Redis, as an operator replaces it: first the new one is trusted beside the
/// old one, then it is served; when that is undone, the old one is forgotten.
pub(super) fn rotate_certificate(world: &World) -> Result<Undo> {
    let front = world.redis_tls.clone().context("nobody speaks TLS")?;
    let folder = world.folder.path().to_owned();
    front.make("second");
    let (first, second) = (front.certificate("first"), front.certificate("second"));
    trust(&folder, &[first, second.clone()])?;
    front.serve("second");
    // A file that cannot be written leaves the old certificate trusted.
    Ok(Undo::by(move || drop(trust(&folder, &[second]))))
}

/// Restarts one node after the other with the new settings.
fn one_by_one(scene: &Scene<'_>, settings: impl Fn(&Server)) -> Result<()> {
    for node in &scene.world.nodes {
        settings(node);
        node.stop()?;
        node.start()?;
        std::thread::sleep(NOTICED);
    }
    Ok(())
}

/// A token of a key that was taken away opens nothing any more.
fn try_old_token(scene: &Scene<'_>, node: usize, token: &str) {
    let load = scene.load;
    let (request_id, began) = (load.id("old-token"), load.now());
    let body = Some(json!({ "code": "print('never')" }));
    let headers = [("X-Request-Id", request_id.as_str())];
    let told = load.send_now(Request {
        node,
        method: Method::POST,
        path: "/api/v1/tools/execute_code",
        token: Some(token),
        headers: &headers,
        body,
    });
    let outcome = match told {
        Ok((401, _)) => Outcome::Done,
        Ok((status, body)) => Outcome::Granted(format!("{status} {body}, with an old token")),
        Err(reason) => Outcome::Unknown(reason),
    };
    load.note(Record {
        request_id: request_id.clone(),
        kind: Kind::Refused,
        node,
        began,
        ended: load.now(),
        outcome,
        subject: request_id,
        made: String::new(),
    });
}
