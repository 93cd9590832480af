//! `config check` and `config dump`.

use std::ffi::OsString;
use std::io::Write;

use super::args::Common;
use super::{Failure, print};
use crate::auth::KeyRing;
use crate::config::load_policy;

/// Everything `serve` would trip over before it listens: values, policy, key files, directories.
pub(super) fn check(
    common: &Common,
    environment: Vec<(OsString, OsString)>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let loaded = common.load(environment)?;
    let mut problems = Vec::new();
    if let Err(errors) = KeyRing::configured(&loaded.config.auth) {
        let source = loaded.source_of("auth.keys");
        problems.extend(errors.iter().map(|error| format!("{source}: {error}")));
    }
    if let Err(error) = load_policy(&loaded.config) {
        problems.extend(error.mistakes.iter().map(ToString::to_string));
    }
    let (cell, tools) = (&loaded.config.cell, &loaded.config.tools);
    let cell_tools = Some(cell.tools_dir.clone()).filter(|path| !path.as_os_str().is_empty());
    for (key, dir) in [
        ("cell.tools_dir", &cell_tools),
        ("tools.templates_dir", &tools.templates_dir),
        ("tools.prompts_dir", &tools.prompts_dir),
    ] {
        if let Some(dir) = dir.as_ref().filter(|dir| !dir.is_dir()) {
            let source = loaded.source_of(key);
            problems.push(format!("{source}: {key}: {} is no directory", dir.display()));
        }
    }
    match problems.is_empty() {
        true => print(out, "ok\n"),
        false => Err(Failure::config(problems)),
    }
}

/// The effective configuration.
pub(super) fn dump(
    common: &Common,
    environment: Vec<(OsString, OsString)>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    print(out, &common.load(environment)?.dump())
}
