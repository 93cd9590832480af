//! What the server says, as tables: the same for the terminal view and for `--once`.
//!
//! Called by the view and by `--once`. Reads JSON as it came; what is missing is shown as `-`.

use serde_json::{Map, Value};

/// Answers of one round, each by the last part of its path.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers(pub(super) Map<String, Value>);

/// What was not answered.
static NOTHING: Value = Value::Null;

/// One table: a title, a head, rows of as many cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) title: &'static str,
    pub(super) head: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Answers {
    /// The answer of this part of the server; nothing when there was none.
    fn of(&self, part: &str) -> &Value {
        self.0.get(part).unwrap_or(&NOTHING)
    }

    /// One line: which node, how it is, and why it is not well.
    pub(super) fn headline(&self) -> String {
        let ready = self.of("ready");
        let ill = list(&ready["dependencies"]).iter().filter(|part| part["status"] != "ready");
        let ill: Vec<String> = ill.map(|part| cell(&part["name"])).collect();
        let why = if ill.is_empty() { String::new() } else { format!(" ({})", ill.join(", ")) };
        format!("{} {}{why}", cell(&ready["node"]), cell(&ready["status"]))
    }

    /// Tree, breakers, queues, limits, runs; in this order.
    pub(super) fn tables(&self) -> Vec<Table> {
        vec![self.tree(), self.breakers(), self.queues(), self.limits(), self.runs()]
    }

    fn tree(&self) -> Table {
        let mut rows = Vec::new();
        for node in list(&self.of("supervision")["children"]) {
            branch(node, "", &mut rows);
        }
        let head = vec!["child", "state", "restarts", "panics", "in flight", "last failure"];
        Table { title: "tree", head, rows }
    }

    fn breakers(&self) -> Table {
        let row = |known: &Value| {
            let breaker = &known["breaker"];
            let change = &breaker["last_change"];
            vec![
                cell(&known["name"]),
                cell(&breaker["state"]),
                format!("{}/{}", cell(&breaker["failed"]), cell(&breaker["calls"])),
                cell(&breaker["rejected"]),
                cell(&known["in_flight"]),
                cell(&breaker["retry_after_ms"]),
                cell(&change["reason"]),
            ]
        };
        let rows = list(&self.of("breakers")["breakers"]).iter().map(row).collect();
        let head =
            vec!["breaker", "state", "failed", "refused", "in flight", "retry ms", "last change"];
        Table { title: "breakers", head, rows }
    }

    fn queues(&self) -> Table {
        let queues = self.of("queues");
        let mut rows = Vec::new();
        for mailbox in list(&queues["mailboxes"]) {
            let name = format!("mailbox {}", cell(&mailbox["name"]));
            let lost = format!("{} lost", cell(&mailbox["lost"]));
            rows.push(vec![name, cell(&mailbox["in_flight"]), cell(&mailbox["capacity"]), lost]);
        }
        for lane in list(&queues["jobs"]["lanes"]) {
            let name = format!("jobs {}", cell(&lane["lane"]));
            let (running, dead) = (cell(&lane["running"]), cell(&lane["dead_letters"]));
            let note = format!("{running} running, {dead} dead letters");
            rows.push(vec![name, cell(&lane["queued"]), "-".to_owned(), note]);
        }
        if queues["audit_shipping"].is_object() {
            let shipping = &queues["audit_shipping"];
            let note = format!("oldest {} s", cell(&shipping["lag_seconds"]));
            let lag = cell(&shipping["lag_events"]);
            rows.push(vec!["audit shipping".to_owned(), lag, "-".to_owned(), note]);
        }
        Table { title: "queues", head: vec!["queue", "waiting", "room", "note"], rows }
    }

    fn limits(&self) -> Table {
        let limits = self.of("limits");
        let of = |name: &str, part: &str, used: &str, max: &str| {
            let part = &limits[part];
            vec![name.to_owned(), cell(&part[used]), cell(&part[max])]
        };
        let rows = vec![
            of("calls of the busiest caller", "calls", "busiest_caller", "running_per_caller_max"),
            of("rate limits held", "calls", "rates_held", "rates_held_max"),
            of("runs", "runs", "running", "running_max"),
            of("runs that wait", "runs", "queued", "queued_max"),
            of("sandboxes", "sandboxes", "open", "open_max"),
            of("jobs", "jobs", "held", "held_max"),
        ];
        Table { title: "limits", head: vec!["limit", "used", "most"], rows }
    }

    fn runs(&self) -> Table {
        let row = |job: &Value| {
            let keys = ["job_id", "tool", "owner", "status", "attempt"];
            keys.iter().map(|key| cell(&job[*key])).collect()
        };
        let rows = list(&self.of("jobs")["jobs"]).iter().map(row).collect();
        Table { title: "runs", head: vec!["job", "tool", "owner", "status", "attempt"], rows }
    }
}

impl Table {
    /// The table as text, columns aligned.
    pub(super) fn text(&self) -> String {
        let widths = self.widths();
        let line = |cells: Vec<&str>| {
            let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            format!("  {}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
        };
        let mut text = format!("{}\n{}", self.title, line(self.head.clone()));
        for row in &self.rows {
            text.push_str(&line(row.iter().map(String::as_str).collect()));
        }
        text
    }

    /// The longest cell of each column, in characters.
    pub(super) fn widths(&self) -> Vec<usize> {
        let longest = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let head = self.head.iter().enumerate();
        head.map(|(column, name)| name.len().max(longest(column))).collect()
    }
}

/// A child and what is below it; its path is what a restart takes.
fn branch(node: &Value, above: &str, rows: &mut Vec<Vec<String>>) {
    let name = format!("{above}{}", cell(&node["name"]));
    rows.push(vec![
        name.clone(),
        cell(&node["state"]),
        cell(&node["restarts"]),
        cell(&node["panics"]),
        format!("{}/{}", cell(&node["mailbox"]["in_flight"]), cell(&node["mailbox"]["capacity"])),
        cell(&node["last_failure"]["text"]),
    ]);
    for child in list(&node["children"]) {
        branch(child, &format!("{name}."), rows);
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// One line of what may have been written by strangers: nothing in it can steer a terminal.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}
