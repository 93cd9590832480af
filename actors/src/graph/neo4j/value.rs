//! Stored values on their way to and from Neo4j.

use std::collections::BTreeMap;

use crate::graph::model::KEY_PROPERTY;
use crate::graph::property::{Changes, Property};
use crate::neo4j::{BoltList, BoltMap, BoltNull, BoltType, value};

/// A stored value for Neo4j.
pub(super) fn to_bolt(property: &Property) -> BoltType {
    match property {
        Property::Bool(truth) => BoltType::from(*truth),
        Property::Int(int) => BoltType::from(*int),
        Property::Float(float) => BoltType::from(*float),
        Property::Text(text) => BoltType::from(text.as_str()),
        Property::List(items) => {
            BoltType::List(BoltList::from(items.iter().map(to_bolt).collect::<Vec<_>>()))
        }
    }
}

/// Changes as a map; what is to be removed is null, which `SET n += map` removes.
pub(super) fn changes(changes: &Changes) -> BoltMap {
    let null = || BoltType::Null(BoltNull);
    changes
        .iter()
        .map(|(name, change)| (name.as_str().into(), change.as_ref().map_or_else(null, to_bolt)))
        .collect()
}

/// What is new as a map: nothing to remove.
pub(super) fn given(changes: &Changes) -> BoltMap {
    let set = changes.iter().filter_map(|(name, change)| Some((name, change.as_ref()?)));
    set.map(|(name, property)| (name.as_str().into(), to_bolt(property))).collect()
}

/// Stored properties without the key; temporal values, which no upsert writes, as ISO 8601 text.
pub(super) fn stored(properties: Option<&BoltType>) -> BTreeMap<String, Property> {
    let Some(BoltType::Map(map)) = properties else { return BTreeMap::new() };
    map.value
        .iter()
        .filter(|(name, _)| name.value != KEY_PROPERTY)
        .filter_map(|(name, value)| Some((name.value.clone(), from_bolt(value)?)))
        .collect()
}

fn from_bolt(value: &BoltType) -> Option<Property> {
    Some(match value {
        BoltType::Null(_) | BoltType::Map(_) => return None,
        BoltType::Boolean(truth) => Property::Bool(truth.value),
        BoltType::Integer(int) => Property::Int(int.value),
        BoltType::Float(float) => Property::Float(float.value),
        BoltType::String(text) => Property::Text(text.value.clone()),
        BoltType::List(items) => Property::List(items.iter().filter_map(from_bolt).collect()),
        other => Property::Text(value::to_json(other).as_str()?.to_owned()),
    })
}

/// A list of texts.
pub(super) fn texts(value: Option<&BoltType>) -> Vec<String> {
    let Some(BoltType::List(items)) = value else { return Vec::new() };
    let text = |item: &BoltType| match item {
        BoltType::String(text) => Some(text.value.clone()),
        _ => None,
    };
    items.iter().filter_map(text).collect()
}

/// A list parameter.
pub(super) fn list(items: impl IntoIterator<Item = BoltType>) -> BoltType {
    BoltType::List(BoltList::from(items.into_iter().collect::<Vec<_>>()))
}

/// A map parameter.
pub(super) fn map<const N: usize>(entries: [(&str, BoltType); N]) -> BoltType {
    BoltType::Map(entries.into_iter().map(|(name, value)| (name.into(), value)).collect())
}
