//! Neo4j's values as JSON, in the words the embedded engine uses, and JSON as Neo4j's values.
//!
//! Called for every cell of every answer. The driver's own conversion loses labels, types and
//! durations; this one loses nothing.

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use marsdb_query::temporal;
use neo4rs::{
    BoltList, BoltMap, BoltNode, BoltPath, BoltRelation, BoltType, BoltUnboundedRelation,
};
use serde_json::{Map, Number, Value, json};

/// Nanoseconds of a second.
const NANOS: i64 = 1_000_000_000;

/// A cell as JSON.
pub fn to_json(cell: &BoltType) -> Value {
    match cell {
        BoltType::Null(_) => Value::Null,
        BoltType::Boolean(truth) => Value::Bool(truth.value),
        BoltType::Integer(int) => Value::from(int.value),
        BoltType::Float(float) => float_json(float.value),
        BoltType::String(text) => Value::String(text.value.clone()),
        BoltType::List(items) => items.iter().map(to_json).collect(),
        BoltType::Map(entries) => Value::Object(map_json(entries)),
        BoltType::Node(node) => node_json(node),
        BoltType::Relation(relation) => relation_json(relation),
        BoltType::UnboundedRelation(relation) => unbound_json(relation, None),
        BoltType::Path(path) => path_json(path),
        BoltType::Bytes(bytes) => bytes.value.iter().map(|byte| Value::from(*byte)).collect(),
        other => Value::String(temporal_text(other).unwrap_or_else(|| point_text(other))),
    }
}

fn map_json(entries: &BoltMap) -> Map<String, Value> {
    // Neo4j keeps no order; ours is that of the names.
    let mut sorted: Vec<_> = entries.value.iter().collect();
    sorted.sort_by(|a, b| a.0.value.cmp(&b.0.value));
    sorted.into_iter().map(|(name, cell)| (name.value.clone(), to_json(cell))).collect()
}

fn node_json(node: &BoltNode) -> Value {
    let mut labels: Vec<&str> = node
        .labels
        .iter()
        .filter_map(|label| match label {
            BoltType::String(label) => Some(label.value.as_str()),
            _ => None,
        })
        .collect();
    labels.sort_unstable();
    json!({
        "id": node.id.value.to_string(),
        "labels": labels,
        "properties": map_json(&node.properties),
    })
}

fn relation_json(relation: &BoltRelation) -> Value {
    json!({
        "id": relation.id.value.to_string(),
        "type": relation.typ.value,
        "start": relation.start_node_id.value.to_string(),
        "end": relation.end_node_id.value.to_string(),
        "properties": map_json(&relation.properties),
    })
}

fn unbound_json(relation: &BoltUnboundedRelation, ends: Option<(i64, i64)>) -> Value {
    let end = |id: Option<i64>| id.map_or(Value::Null, |id| Value::String(id.to_string()));
    json!({
        "id": relation.id.value.to_string(),
        "type": relation.typ.value,
        "start": end(ends.map(|ends| ends.0)),
        "end": end(ends.map(|ends| ends.1)),
        "properties": map_json(&relation.properties),
    })
}

/// A path comes as its distinct nodes and relationships and the order to walk them in: pairs of the
/// relationship (from 1, negative when walked backwards) and the node (from 0) it leads to.
fn path_json(path: &BoltPath) -> Value {
    let (all, relations, steps) = (path.nodes(), path.rels(), path.indices());
    let mut at = 0usize;
    let mut nodes: Vec<Value> = all.first().map(node_json).into_iter().collect();
    let mut relationships = Vec::new();
    for step in steps.chunks_exact(2) {
        let (relation, next) = (step[0].value, step[1].value as usize);
        let (Some(from), Some(to)) = (all.get(at), all.get(next)) else { break };
        let Some(found) = relations.get(relation.unsigned_abs().saturating_sub(1) as usize) else {
            break;
        };
        let ends =
            if relation > 0 { (from.id.value, to.id.value) } else { (to.id.value, from.id.value) };
        relationships.push(unbound_json(found, Some(ends)));
        nodes.push(node_json(to));
        at = next;
    }
    json!({ "length": relationships.len(), "nodes": nodes, "relationships": relationships })
}

/// JSON knows no NaN and no infinity: they become text.
fn float_json(float: f64) -> Value {
    match Number::from_f64(float) {
        Some(number) => Value::Number(number),
        None if float.is_nan() => Value::String("NaN".to_owned()),
        None if float > 0.0 => Value::String("Infinity".to_owned()),
        None => Value::String("-Infinity".to_owned()),
    }
}

/// ISO 8601, written by the embedded engine's own functions, so that both engines write alike.
fn temporal_text(cell: &BoltType) -> Option<String> {
    let local = |time: NaiveDateTime| (time.and_utc().timestamp(), time.nanosecond() as i32);
    let nanos_of_day = |time: NaiveTime| {
        i64::from(time.num_seconds_from_midnight()) * NANOS + i64::from(time.nanosecond())
    };
    Some(match cell {
        BoltType::Date(date) => {
            let date = NaiveDate::try_from(date).ok()?;
            let epoch = NaiveDate::from_ymd_opt(1970, 1, 1)?;
            temporal::format_date((date - epoch).num_days())
        }
        BoltType::LocalTime(time) => {
            temporal::format_local_time(nanos_of_day(NaiveTime::from(time)))
        }
        BoltType::Time(time) => {
            let (time, offset) = <(NaiveTime, FixedOffset)>::from(time);
            temporal::format_time(nanos_of_day(time), offset.local_minus_utc())
        }
        BoltType::LocalDateTime(time) => {
            let (seconds, nanos) = local(NaiveDateTime::try_from(time).ok()?);
            temporal::format_local_date_time(seconds, nanos)
        }
        BoltType::DateTime(time) => {
            let time = DateTime::<FixedOffset>::try_from(time).ok()?;
            let zone = temporal::TzId::Offset(time.offset().local_minus_utc());
            temporal::format_date_time(time.timestamp(), time.nanosecond() as i32, &zone)
        }
        BoltType::DateTimeZoneId(time) => {
            let name = time.tz_id().to_owned();
            let time = DateTime::<FixedOffset>::try_from(time).ok()?;
            let zone = temporal::TzId::Named(name);
            temporal::format_date_time(time.timestamp(), time.nanosecond() as i32, &zone)
        }
        BoltType::Duration(_) => {
            // The driver keeps the four parts to itself, but a map of its own gives them out.
            let mut map = BoltMap::new();
            map.put("duration".into(), cell.clone());
            let (months, days, seconds, nanos) =
                map.get::<(i64, i64, i64, i64)>("duration").ok()?;
            temporal::format_duration(months, days, seconds, i32::try_from(nanos).ok()?)
        }
        _ => return None,
    })
}

fn point_text(cell: &BoltType) -> String {
    match cell {
        BoltType::Point2D(point) => {
            format!("point({}, {}; srid {})", point.x.value, point.y.value, point.sr_id.value)
        }
        BoltType::Point3D(point) => format!(
            "point({}, {}, {}; srid {})",
            point.x.value, point.y.value, point.z.value, point.sr_id.value
        ),
        other => format!("{other:?}"),
    }
}

/// JSON as a parameter. Numbers beyond 64 bits become doubles.
pub fn from_json(value: &Value) -> BoltType {
    match value {
        Value::Null => BoltType::Null(neo4rs::BoltNull),
        Value::Bool(truth) => BoltType::from(*truth),
        Value::Number(number) => match number.as_i64() {
            Some(int) => BoltType::from(int),
            None => BoltType::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => BoltType::from(text.as_str()),
        Value::Array(items) => {
            BoltType::List(BoltList::from(items.iter().map(from_json).collect::<Vec<_>>()))
        }
        Value::Object(fields) => BoltType::Map(
            fields.iter().map(|(name, field)| (name.as_str().into(), from_json(field))).collect(),
        ),
    }
}
