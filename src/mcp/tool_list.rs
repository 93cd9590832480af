//! The tools a caller may see, serialised once for every revision.
//!
//! The host builds the full list at start, and one filtered list per set of permissions; filtered
//! lists share their entries. Sorted by name, so that pages and answers are the same every time.

use std::sync::Arc;

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::cursor::{self, List};
use super::header_params::{self, HeaderParam};
use super::revision::Revision;
use crate::tools::{ToolDescriptor, views};

/// Why a tool cannot be listed; found at start, not by a client.
#[derive(Debug, thiserror::Error)]
#[error("tool \"{tool}\": {problem}")]
pub struct InvalidTool {
    tool: String,
    problem: String,
}

/// Tools, sorted by name.
#[derive(Clone, Debug, Default)]
pub struct ToolList {
    entries: Vec<Arc<Entry>>,
}

#[derive(Debug)]
struct Entry {
    name: &'static str,
    modern: Arc<RawValue>,
    /// 2025-06-18 and 2025-11-25: an output schema only when its root is an object.
    structured: Arc<RawValue>,
    /// 2025-03-26: neither title nor output schema.
    plain: Arc<RawValue>,
    header_params: Vec<HeaderParam>,
}

impl ToolList {
    /// Serialises these tools.
    ///
    /// # Errors
    /// The first tool that no client could call: a bad or doubled name, no description, an input
    /// schema whose root is no object, a bad `x-mcp-header`.
    pub fn new<'a>(
        descriptors: impl IntoIterator<Item = &'a ToolDescriptor>,
    ) -> Result<Self, InvalidTool> {
        let mut entries = Vec::new();
        for descriptor in descriptors {
            let entry = Entry::new(descriptor)
                .map_err(|problem| InvalidTool { tool: descriptor.name.to_owned(), problem })?;
            entries.push(Arc::new(entry));
        }
        entries.sort_by_key(|entry| entry.name);
        if let Some(pair) = entries.windows(2).find(|pair| pair[0].name == pair[1].name) {
            let problem = "the name is taken twice".to_owned();
            return Err(InvalidTool { tool: pair[0].name.to_owned(), problem });
        }
        Ok(Self { entries })
    }

    /// The tools whose names are kept, sharing their serialised forms.
    pub fn filter(&self, keep: impl Fn(&str) -> bool) -> Self {
        let kept = self.entries.iter().filter(|entry| keep(entry.name));
        Self { entries: kept.cloned().collect() }
    }

    /// The same list where tools of the same names are those of `other`.
    pub fn with(&self, other: &Self) -> Self {
        let replaced = self.entries.iter().map(|entry| other.entry(entry.name).unwrap_or(entry));
        Self { entries: replaced.cloned().collect() }
    }

    /// Whether both lists say the same, as far as they were made of the same tools.
    pub fn is_same(&self, other: &Self) -> bool {
        self.entries.len() == other.entries.len()
            && self.entries.iter().zip(&other.entries).all(|(one, two)| Arc::ptr_eq(one, two))
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.entries.iter().map(|entry| entry.name)
    }

    /// Whether this tool is in the list.
    pub fn contains(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    /// The parameters of this tool that are repeated in headers.
    pub(super) fn header_params(&self, name: &str) -> &[HeaderParam] {
        self.entry(name).map_or(&[], |entry| &entry.header_params)
    }

    /// The page after this tool (or the first), as this revision writes it.
    pub(super) fn page(
        &self,
        after: Option<&str>,
        revision: Revision,
        entries_max: usize,
    ) -> Page<'_> {
        let start = after.map_or(0, |after| self.entries.partition_point(|e| e.name <= after));
        let end = (start + entries_max).min(self.entries.len());
        let last = (end < self.entries.len()).then(|| self.entries[end - 1].name);
        Page {
            entries: &self.entries[start..end],
            revision,
            next: last.map(|name| cursor::after(List::Tools, name)),
        }
    }

    fn entry(&self, name: &str) -> Option<&Arc<Entry>> {
        let index = self.entries.binary_search_by(|entry| entry.name.cmp(name)).ok()?;
        Some(&self.entries[index])
    }
}

impl Entry {
    fn new(tool: &ToolDescriptor) -> Result<Self, String> {
        let of_a_name = |b: u8| b.is_ascii_alphanumeric() || b"_.-/".contains(&b);
        if !(1..=64).contains(&tool.name.len()) || !tool.name.bytes().all(of_a_name) {
            return Err("a name is 1 to 64 of A-Z, a-z, 0-9, _, ., -, /".to_owned());
        }
        if tool.description.is_empty() {
            return Err("the description is missing".to_owned());
        }
        if !has_object_root(&tool.input_schema) {
            return Err("the input schema's root must be an object".to_owned());
        }
        let header_params = header_params::of_schema(&tool.input_schema)?;
        let raw = |value: &Value| to_raw_value(value).map(Arc::from).map_err(|e| e.to_string());
        let mut annotations =
            serde_json::to_value(tool.annotations).map_err(|error| error.to_string())?;
        let mut full = json!({
            "name": tool.name,
            "title": tool.title,
            "description": tool.description,
            "inputSchema": tool.input_schema,
            "annotations": annotations.clone(),
        });
        if let Some(meta) = tool.edition_meta() {
            full["_meta"] = meta;
        }
        if let Some(page) = views::of(tool.name) {
            full["_meta"]["ui"] = json!({ "resourceUri": page });
        }
        let structured: Arc<RawValue> = if has_object_root(&tool.output_schema) {
            full["outputSchema"] = tool.output_schema.clone();
            raw(&full)?
        } else {
            let without = raw(&full)?;
            if !tool.output_schema.is_null() {
                full["outputSchema"] = tool.output_schema.clone();
            }
            without
        };
        annotations["title"] = tool.title.into();
        let plain = json!({
            "name": tool.name,
            "description": tool.description,
            "inputSchema": tool.input_schema,
            "annotations": annotations,
        });
        let (modern, plain) = (raw(&full)?, raw(&plain)?);
        Ok(Self { name: tool.name, modern, structured, plain, header_params })
    }

    fn as_of(&self, revision: Revision) -> &RawValue {
        match revision {
            Revision::V2026_07_28 => &self.modern,
            Revision::V2025_06_18 | Revision::V2025_11_25 => &self.structured,
            Revision::V2025_03_26 => &self.plain,
        }
    }
}

fn has_object_root(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("object")
}

/// Some of the tools; serialises as their array.
pub(super) struct Page<'a> {
    entries: &'a [Arc<Entry>],
    revision: Revision,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

impl Serialize for Page<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut list = to.serialize_seq(Some(self.entries.len()))?;
        for entry in self.entries {
            list.serialize_element(entry.as_of(self.revision))?;
        }
        list.end()
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_host::descriptor;
    use super::*;

    fn list(names: &[&'static str]) -> ToolList {
        let descriptors: Vec<_> = names.iter().map(|name| descriptor(name)).collect();
        ToolList::new(&descriptors).unwrap()
    }

    fn names(page: &Page<'_>) -> Vec<&'static str> {
        page.entries.iter().map(|entry| entry.name).collect()
    }

    #[test]
    fn pages_cover_every_tool_once_in_the_same_order() {
        let tools = list(&["c", "a", "e", "b", "d"]);
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let page = tools.page(after.as_deref(), Revision::V2026_07_28, 2);
            seen.extend(names(&page));
            match page.next {
                Some(next) => after = cursor::parse(List::Tools, &next),
                None => break,
            }
        }
        assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn a_cursor_stays_right_when_its_tool_is_gone() {
        let tools = list(&["a", "c", "d"]);
        assert_eq!(names(&tools.page(Some("b"), Revision::V2025_11_25, 9)), ["c", "d"]);
        assert_eq!(names(&tools.page(Some("z"), Revision::V2025_11_25, 9)), Vec::<&str>::new());
    }

    #[test]
    fn a_filtered_list_knows_only_what_was_kept() {
        let tools = list(&["a", "b"]).filter(|name| name == "b");
        assert!(tools.contains("b") && !tools.contains("a"));
        assert_eq!(tools.names().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn another_version_takes_the_place_of_its_name_and_no_other() {
        let tools = list(&["a", "b", "c"]);
        let (kept, other) = (tools.filter(|name| name != "a"), list(&["a", "b"]));
        let changed = kept.with(&other);
        assert_eq!(changed.names().collect::<Vec<_>>(), ["b", "c"]);
        assert!(!changed.is_same(&kept) && changed.is_same(&kept.with(&other)));
        assert!(kept.is_same(&tools.filter(|name| name != "a")) && !kept.is_same(&tools));
    }

    #[test]
    fn a_tool_that_no_client_could_call_is_found_at_start() {
        let good = descriptor("a");
        let mut bad = vec![vec![good.clone(), good.clone()]];
        for change in [
            |tool: &mut ToolDescriptor| tool.name = "a b",
            |tool: &mut ToolDescriptor| tool.description.clear(),
            |tool: &mut ToolDescriptor| tool.input_schema = json!({"type": "array"}),
            |tool: &mut ToolDescriptor| tool.input_schema = Value::Null,
        ] {
            let mut tool = good.clone();
            change(&mut tool);
            bad.push(vec![tool]);
        }
        for tools in bad {
            assert!(ToolList::new(&tools).is_err(), "{tools:?}");
        }
    }

    #[test]
    fn an_output_that_is_no_object_is_only_told_to_modern_clients() {
        let mut tool = descriptor("a");
        tool.output_schema = json!({"type": "array"});
        let tools = ToolList::new([&tool]).unwrap();
        let has_output = |revision| {
            let json = serde_json::to_value(tools.page(None, revision, 9)).unwrap();
            json[0].get("outputSchema").is_some()
        };
        assert!(has_output(Revision::V2026_07_28));
        assert!(!has_output(Revision::V2025_11_25));
        assert!(!has_output(Revision::V2025_03_26));
    }
}
