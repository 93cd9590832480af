//! Where values come from: the embedded defaults, files, environment variables, flags.
//!
//! Each source is a layer of its own, so that every value and every mistake knows its source.
//! Refuses: unreadable files, TOML that does not parse, environment values that are not text.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::docs::BASE_TOML;
use super::error::Mistake;
use super::overlay::{OVERLAY_NAME, Overlay};

/// What every environment variable of ours starts with; `__` separates the parts of a key.
pub const ENV_PREFIX: &str = "ULTIMATE_MCP__";

/// How the embedded defaults are called in messages and in `config dump`.
pub const BASE_NAME: &str = "default";

/// Largest configuration file read, in bytes; ours has less than a hundredth of that.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where to look for settings besides the defaults.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Files, weakest first.
    pub files: Vec<PathBuf>,
    /// The process environment (or a test's).
    pub env: Vec<(OsString, OsString)>,
    /// Flags of the command line: name as typed, key, text.
    pub flags: Vec<(String, String, String)>,
    /// What an administrator changed at run time, which wins over all else.
    pub overlay: Overlay,
}

impl Inputs {
    /// Adds a flag, which wins over all else.
    pub fn flag(mut self, name: &str, key: &str, text: impl Into<String>) -> Self {
        self.flags.push((name.to_owned(), key.to_owned(), text.into()));
        self
    }
}

/// One source and what it sets.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub name: String,
    pub dict: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}

/// The embedded defaults.
pub(super) fn base() -> Layer {
    let dict = Toml::from_str(BASE_TOML).expect("base.toml is compiled in and a test parses it");
    Layer { name: BASE_NAME.to_owned(), dict }
}

/// All layers over the defaults, weakest first; mistakes are added to `mistakes`.
pub(super) fn read(inputs: &Inputs, base: &Layer, mistakes: &mut Vec<Mistake>) -> Vec<Layer> {
    let defaults = Figment::from(base.clone());
    let mut layers = Vec::new();
    for path in &inputs.files {
        match read_file(path) {
            Ok(layer) => layers.push(layer),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    let mut variables: Vec<_> = inputs.env.iter().filter_map(ours).collect();
    variables.sort();
    for (name, raw) in variables {
        let path = name[ENV_PREFIX.len()..].to_ascii_lowercase().replace("__", ".");
        let malformed = path.is_empty() || path.split('.').any(str::is_empty);
        match raw.to_str() {
            _ if malformed => mistakes.push(Mistake {
                source: name,
                key: String::new(),
                problem: format!("write the name as {ENV_PREFIX}SECTION__KEY"),
            }),
            Some(text) => {
                layers.push(Layer { dict: nested(&path, parse(&defaults, &path, text)), name })
            }
            None => mistakes.push(Mistake {
                source: name,
                key: path,
                problem: "the value is not UTF-8".to_owned(),
            }),
        }
    }
    for (name, key, text) in &inputs.flags {
        let dict = nested(key, parse(&defaults, key, text));
        layers.push(Layer { name: name.clone(), dict });
    }
    if !inputs.overlay.is_empty() {
        layers.push(Layer { name: OVERLAY_NAME.to_owned(), dict: inputs.overlay.dict() });
    }
    layers
}

fn ours((name, value): &(OsString, OsString)) -> Option<(String, OsString)> {
    let name = name.to_str()?;
    name.starts_with(ENV_PREFIX).then(|| (name.to_owned(), value.clone()))
}

fn read_file(path: &Path) -> Result<Layer, Mistake> {
    let name = path.display().to_string();
    let text = read_text(path)?;
    // Only message and line: the error's own text quotes the file, and with it perhaps a secret.
    let dict = Toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        let problem = format!("line {line} is not valid TOML: {}", error.message());
        Mistake { source: name.clone(), key: String::new(), problem }
    })?;
    Ok(Layer { name, dict })
}

/// The text of a file of reasonable size.
pub(super) fn read_text(path: &Path) -> Result<String, Mistake> {
    let mistake =
        |problem| Mistake { source: path.display().to_string(), key: String::new(), problem };
    let unreadable = |error: std::io::Error| mistake(format!("cannot be read: {error}"));
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > FILE_BYTES_MAX {
        return Err(mistake(format!("is larger than {FILE_BYTES_MAX} bytes")));
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

/// A value from the environment or a flag. Where the default is text, the text is taken as it is, so
/// that an issuer called `1234` stays text; elsewhere it is read as TOML, and what is no TOML is text.
/// (figment's own parser of such values panics on some texts.)
fn parse(defaults: &Figment, path: &str, text: &str) -> Value {
    if matches!(defaults.find_value(path), Ok(Value::String(..))) {
        return Value::from(text);
    }
    let parsed: Option<Dict> = Toml::from_str(&format!("value = {text}")).ok();
    match parsed.filter(|dict| dict.len() == 1).and_then(|mut dict| dict.remove("value")) {
        Some(value) => value,
        None => Value::from(text),
    }
}

pub(super) fn nested(path: &str, value: Value) -> Dict {
    let (mut keys, mut value): (Vec<&str>, Value) = (path.split('.').collect(), value);
    let root = keys.remove(0);
    for key in keys.into_iter().rev() {
        value = Value::from(Dict::from([(key.to_owned(), value)]));
    }
    Dict::from([(root.to_owned(), value)])
}
