//! Changes of the configuration at random: valid and invalid files, SIGHUP, requests, rollbacks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{Complaints, Scene, Undo, meanwhile};
use crate::rng::Rng;
use crate::server::{Server, signal};
use crate::workload::Workload;

/// Files that must change nothing.
const INVALID: [&str; 5] = [
    "[admission\n",
    "[admission]\ntotal_factor = 0\n",
    "[admission]\ntotal_faktor = 5\n",
    "[telemetry]\nlog_filter = \"==\"\n",
    "[supervision.default]\nbackoff_initial_ms = 500\nbackoff_max_ms = 100\n",
];
/// Every key that is changed here.
const KEYS: [&str; 4] = [
    "admission.total_factor",
    "redis.resilience.retry.initial_ms",
    "supervision.default.backoff_initial_ms",
    "telemetry.log_filter",
];
/// A file that was written is in force within two looks of a second each.
const SETTLED_MAX: Duration = Duration::from_secs(6);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Changes until it is undone; then everything is as it was before.
pub(super) fn begin(scene: &Scene<'_>, rng: &mut Rng) -> Result<Undo> {
    let server = Arc::clone(scene.world.server());
    let changer = Changer {
        file: server.config().to_owned(),
        server,
        load: Arc::clone(scene.load),
        complaints: scene.complaints.clone(),
    };
    let before = changer.values()?;
    let (changing, mut rng) = (changer.clone(), rng.clone());
    let changes = meanwhile(move || {
        changing.change(&mut rng);
        std::thread::sleep(rng.millis(20, 200));
    });
    Ok(Undo::by(move || {
        drop(changes);
        changer.restore(&before);
    }))
}

#[derive(Clone)]
struct Changer {
    file: PathBuf,
    server: Arc<Server>,
    load: Arc<Workload>,
    complaints: Complaints,
}

impl Changer {
    fn change(&self, rng: &mut Rng) {
        match rng.below(6) {
            0 => self.write(INVALID[rng.below(INVALID.len())]),
            1 => self.write(&valid(rng)),
            2 => self.hang_up(),
            3 => self.patch(&json!({ "admission.total_factor": 3 + rng.below(40) }), true),
            4 => self.patch(&json!({ "admission.total_factor": -1, "http.port": 1 }), false),
            _ => self.roll_back(),
        }
    }

    /// In one step, as editors and deployments do.
    fn write(&self, text: &str) {
        let new = self.file.with_extension("new");
        let written = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, &self.file));
        if let Err(error) = written {
            self.complaints.add(format!("the configuration file: {error}"));
        }
    }

    fn hang_up(&self) {
        let sent = self.server.pid().map(|pid| signal(pid, "HUP"));
        if !matches!(sent, Some(Ok(()))) {
            self.complaints.add(format!("SIGHUP found no server: {sent:?}"));
        }
    }

    /// What is right is taken or, while the file is wrong, refused; what is wrong is refused.
    fn patch(&self, body: &Value, right: bool) {
        let told = self.load.order_now(Method::PATCH, "/api/v1/config", Some(body.clone()));
        let fits = match &told {
            Ok((200, _)) => right,
            Ok((400..=499, body)) => body["error"]["code"].is_string(),
            _ => false,
        };
        if !fits {
            self.complaints.add(format!("PATCH {body} was told {told:?}"));
        }
    }

    /// Back or forth; 409 when there is nothing to go back to or a file is wrong.
    fn roll_back(&self) {
        let told = self.load.order_now(Method::POST, "/api/v1/config/rollback", None);
        if !matches!(&told, Ok((200 | 409 | 422, _))) {
            self.complaints.add(format!("a rollback was told {told:?}"));
        }
    }

    /// Values in force of the keys that are changed here.
    fn values(&self) -> Result<Vec<Value>> {
        let told = self.load.order_now(Method::GET, "/api/v1/config", None);
        let (status, config) = told.map_err(anyhow::Error::msg)?;
        ensure!(status == 200, "the configuration: {status} {config}");
        let problem = &config["problem"];
        ensure!(problem == &json!([]), "the configuration has a problem: {problem}");
        Ok(KEYS.iter().map(|key| config["values"][key]["value"].clone()).collect())
    }

    /// An empty file and no patches: as it was.
    fn restore(&self, before: &[Value]) {
        self.write("");
        let nothing: Map<String, Value> =
            KEYS.iter().map(|key| ((*key).to_owned(), Value::Null)).collect();
        let end = Instant::now() + SETTLED_MAX;
        loop {
            self.hang_up();
            let nothing = Some(Value::Object(nothing.clone()));
            let told = self.load.order_now(Method::PATCH, "/api/v1/config", nothing);
            let now = self.values();
            if matches!(&now, Ok(values) if values == before) {
                return;
            }
            if Instant::now() > end {
                let text = format!("configuration before {before:?}, in the end {now:?}; {told:?}");
                return self.complaints.add(text);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// A file with other values, one of which waits for the next start.
fn valid(rng: &mut Rng) -> String {
    format!(
        "[admission]\ntotal_factor = {}\n[supervision.default]\nbackoff_initial_ms = {}\n\
         [redis.resilience.retry]\ninitial_ms = {}\n[cell]\nqueue_max = {}\n\
         [telemetry]\nlog_filter = \"info,ultimate_mcp={}\"\n",
        3 + rng.below(40),
        20 + rng.below(100),
        5 + rng.below(20),
        256 + rng.below(100),
        ["info", "warn", "debug"][rng.below(3)],
    )
}
