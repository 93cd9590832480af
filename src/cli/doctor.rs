//! `doctor`: what the cell can and cannot isolate on this host, found by trying.
//!
//! One line per thing, each missing one with its remedy. Fails (69) when code would be refused.

use std::io::Write;

use ultimate_mcp_actors::execution::ExecutionOptions;
use ultimate_mcp_sandbox::probe::{Capability, CellCapabilities, capabilities};

use super::{Exit, Failure, print};

/// Asks a launcher started like the server's.
pub(super) fn doctor(options: &ExecutionOptions, out: &mut dyn Write) -> Result<(), Failure> {
    let launcher = options.launcher_options();
    let found = capabilities(&launcher)
        .map_err(|error| Failure::new(Exit::Unavailable, format!("doctor: {error}")))?;
    print(out, &describe(&found))?;
    match found.obstacle() {
        None if found.hard_limits || options.allow_degraded => Ok(()),
        None => Err(Failure::new(
            Exit::Unavailable,
            "code is refused: limits would be best effort only; see the remedies above, or accept it \
             with cell.allow_degraded = true",
        )),
        Some(obstacle) => Err(Failure::new(
            Exit::Unavailable,
            format!("code is refused: this host cannot isolate it: {obstacle}"),
        )),
    }
}

fn describe(found: &CellCapabilities) -> String {
    let verdict = match (found.can_isolate, found.hard_limits) {
        (false, _) => "cannot isolate code on this host",
        (true, false) => "isolates code on this host, with limits that are best effort only",
        (true, true) => "isolates code on this host, with every limit enforced by the kernel",
    };
    let mut text = format!("The cell {verdict}.\n");
    for item in &found.items {
        text.push_str(&line(item));
    }
    for missing in &found.isolation.degraded {
        text.push_str(&format!("degraded  {missing}\n"));
    }
    text
}

fn line(item: &Capability) -> String {
    let Capability { name, available, needed, detail, remedy } = item;
    match (available, needed) {
        (true, _) => format!("ok        {name}: {detail}\n"),
        (false, true) => format!("missing   {name}: {detail}; {remedy}\n"),
        (false, false) => format!("lacking   {name}: {detail}; {remedy}\n"),
    }
}

#[cfg(test)]
mod tests {
    use ultimate_mcp_sandbox::spec::Isolation;

    use super::*;

    #[test]
    fn each_missing_thing_is_one_line_with_its_remedy() {
        let item = |name: &str, available, needed| Capability {
            name: name.to_owned(),
            available,
            needed,
            detail: "seen".to_owned(),
            remedy: if available { String::new() } else { "do this".to_owned() },
        };
        let isolation =
            Isolation { class: "native".to_owned(), hard_limits: false, degraded: Vec::new() };
        let items = vec![item("a", true, true), item("b", false, true), item("c", false, false)];
        let found = CellCapabilities { items, hard_limits: false, can_isolate: false, isolation };
        let text = describe(&found);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "The cell cannot isolate code on this host.");
        assert_eq!(lines[1], "ok        a: seen");
        assert_eq!(lines[2], "missing   b: seen; do this");
        assert_eq!(lines[3], "lacking   c: seen; do this");
    }
}
