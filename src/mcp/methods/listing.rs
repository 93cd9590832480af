//! What lists other than that of tools have in common: pages, and the members of the modern era. They
//! depend on the token, hence privately cacheable only.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use ultimate_mcp_actors::deadline::Deadline;

use crate::error::ApiError;
use crate::mcp::Host;
use crate::mcp::cursor::{self, List};
use crate::mcp::endpoint::Exchange;
use crate::mcp::failure::Failure;
use crate::mcp::params::Params;
use crate::mcp::wire::{self, text};

/// One page of a list, as it was asked for.
pub struct Page<'x, H: Host> {
    exchange: &'x Exchange<H>,
    list: List,
    after: Option<String>,
    /// When the client stops waiting.
    pub deadline: Deadline,
}

impl<'x, H: Host> Page<'x, H> {
    /// Reads which page is wanted.
    ///
    /// # Errors
    /// -32602 for a cursor that is none of this list.
    pub fn read(
        exchange: &'x Exchange<H>,
        params: &Params<'_>,
        list: List,
    ) -> Result<Self, Failure> {
        let refusal = || {
            let message = "cursor must be a nextCursor of the same list";
            Failure::invalid_params(exchange.revision, message)
        };
        let parse = |raw| text(raw).and_then(|cursor| cursor::parse(list, &cursor));
        let after = params.cursor.map(|raw| parse(raw).ok_or_else(refusal)).transpose()?;
        let deadline = exchange.deadline();
        Ok(Self { exchange, list, after, deadline })
    }

    /// The entries, or why there are none.
    ///
    /// # Errors
    /// The host's, as this revision says it.
    pub fn entries<T>(&self, entries: Result<Vec<T>, ApiError>) -> Result<Vec<T>, Failure> {
        entries.map_err(|error| Failure::of(self.exchange.revision, error))
    }

    /// The page, of entries that are sorted by `key`.
    pub fn answer<'e, T, V: Serialize>(
        &self,
        id: &RawValue,
        entries: &'e [T],
        key: impl Fn(&'e T) -> &'e str,
        view: impl Fn(&'e T) -> V,
    ) -> Result<Vec<u8>, Failure> {
        let (endpoint, revision) = (&self.exchange.endpoint, self.exchange.revision);
        let before = |after: &String| {
            entries.iter().take_while(|entry| key(entry) <= after.as_str()).count()
        };
        let start = self.after.as_ref().map_or(0, before);
        let end = (start + endpoint.options.page_entries_max).min(entries.len());
        let page = &entries[start..end];
        let next = match page.last() {
            Some(last) if end < entries.len() => Some(cursor::after(self.list, key(last))),
            _ => None,
        };
        let result = Listed {
            field: self.list.field(),
            entries: page.iter().map(view).collect(),
            next,
            hints: Hints::of(self.exchange, endpoint.options.tools_ttl_ms),
        };
        wire::success(id, result).map_err(|error| Failure::of(revision, error))
    }
}

struct Listed<'a, V> {
    field: &'static str,
    entries: Vec<V>,
    next: Option<String>,
    hints: Option<Hints<'a>>,
}

impl<V: Serialize> Serialize for Listed<'_, V> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        map.serialize_entry(self.field, &self.entries)?;
        if let Some(next) = &self.next {
            map.serialize_entry("nextCursor", next)?;
        }
        if let Some(hints) = &self.hints {
            map.serialize_entry("resultType", hints.result_type)?;
            map.serialize_entry("ttlMs", &hints.ttl_ms)?;
            map.serialize_entry("cacheScope", hints.cache_scope)?;
            map.serialize_entry("_meta", hints.meta)?;
        }
        map.end()
    }
}

/// What results of 2026-07-28 that may be kept say beside their content.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hints<'a> {
    result_type: &'static str,
    ttl_ms: u64,
    cache_scope: &'static str,
    #[serde(rename = "_meta")]
    meta: &'a RawValue,
}

impl<'a> Hints<'a> {
    /// The hints, in the modern era.
    pub fn of<H: Host>(exchange: &'a Exchange<H>, ttl_ms: u64) -> Option<Self> {
        let meta = &*exchange.endpoint.result_meta;
        let hints = Self { result_type: "complete", ttl_ms, cache_scope: "private", meta };
        exchange.revision.is_modern().then_some(hints)
    }
}

/// What results of 2026-07-28 that must not be kept say beside their content.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Complete<'a> {
    result_type: &'static str,
    #[serde(rename = "_meta")]
    meta: &'a RawValue,
}

impl<'a> Complete<'a> {
    /// The members, in the modern era.
    pub fn of<H: Host>(exchange: &'a Exchange<H>) -> Option<Self> {
        let meta = &*exchange.endpoint.result_meta;
        exchange.revision.is_modern().then_some(Self { result_type: "complete", meta })
    }
}
