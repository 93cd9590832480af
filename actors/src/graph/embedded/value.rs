//! The engine's values as JSON, and JSON parameters as the engine's values.
//!
//! Called for each query. Refuses parameters beyond the configured size, depth or 64-bit integers.

use std::collections::HashMap;

use marsdb_graph::{Edge, Node, PropertyValue, TzId};
use marsdb_query::{Literal, PathElem, Value as Cell, temporal};
use serde_json::{Map, Number, Value, json};

use crate::graph::cypher::Parameter;
use crate::graph::error::GraphError;
use crate::graph::property::Property;

/// Deepest nesting of a parameter.
const PARAMETER_DEPTH_MAX: usize = 8;
/// Most items of one list in a parameter: the engine copies lists where it walks them.
const PARAMETER_ITEMS_MAX: usize = 10_000;

/// A result's cell as JSON.
pub(super) fn to_json(cell: &Cell) -> Value {
    match cell {
        Cell::Node(node) => node_json(node),
        Cell::Edge(edge) => edge_json(edge),
        Cell::Property(property) => property_json(property),
        Cell::Literal(literal) => match literal {
            Literal::Int(int) => Value::from(*int),
            Literal::Float(float) => float_json(*float),
            Literal::String(text) => Value::String(text.clone()),
            Literal::Bool(truth) => Value::Bool(*truth),
            // Parameters were put in before the query ran.
            Literal::Null | Literal::Param(_) => Value::Null,
        },
        Cell::List(items) => Value::Array(items.iter().map(to_json).collect()),
        Cell::Map(entries) => Value::Object(
            entries.iter().map(|(name, cell)| (name.clone(), to_json(cell))).collect(),
        ),
        Cell::Path(elements) => path_json(elements),
        Cell::Null => Value::Null,
    }
}

fn node_json(node: &Node) -> Value {
    json!({
        "id": node.id.0.to_string(),
        "labels": node.labels,
        "properties": properties_json(&node.props),
    })
}

fn edge_json(edge: &Edge) -> Value {
    json!({
        "id": edge.id.0.to_string(),
        "type": edge.label,
        "start": edge.src.0.to_string(),
        "end": edge.dst.0.to_string(),
        "properties": properties_json(&edge.props),
    })
}

fn path_json(elements: &[PathElem]) -> Value {
    let (mut nodes, mut relationships) = (Vec::new(), Vec::new());
    for element in elements {
        match element {
            PathElem::Node(node) => nodes.push(node_json(node)),
            PathElem::Edge(edge) => relationships.push(edge_json(edge)),
        }
    }
    json!({ "length": relationships.len(), "nodes": nodes, "relationships": relationships })
}

fn properties_json(properties: &std::collections::BTreeMap<String, PropertyValue>) -> Value {
    Value::Object(
        properties.iter().map(|(name, value)| (name.clone(), property_json(value))).collect(),
    )
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

fn property_json(property: &PropertyValue) -> Value {
    let text = match property {
        PropertyValue::Null => return Value::Null,
        PropertyValue::Bool(truth) => return Value::Bool(*truth),
        PropertyValue::Int(int) => return Value::from(*int),
        PropertyValue::Float(float) => return float_json(*float),
        PropertyValue::List(items) => return items.iter().map(property_json).collect(),
        PropertyValue::Map(entries) => return properties_json(entries),
        PropertyValue::String(text) => text.clone(),
        PropertyValue::Date(days) => temporal::format_date(*days),
        PropertyValue::Duration { months, days, seconds, nanos } => {
            temporal::format_duration(*months, *days, *seconds, *nanos)
        }
        PropertyValue::LocalTime(nanos) => temporal::format_local_time(*nanos),
        PropertyValue::Time { nanos_of_day, offset_seconds } => {
            temporal::format_time(*nanos_of_day, *offset_seconds)
        }
        PropertyValue::LocalDateTime { epoch_seconds, nanos } => {
            temporal::format_local_date_time(*epoch_seconds, *nanos)
        }
        PropertyValue::DateTime { epoch_seconds, nanos, zone } => {
            let zone = match zone {
                TzId::Offset(seconds) => temporal::TzId::Offset(*seconds),
                TzId::Named(name) => temporal::TzId::Named(name.clone()),
            };
            temporal::format_date_time(*epoch_seconds, *nanos, &zone)
        }
    };
    Value::String(text)
}

/// The parameters that a query uses, for the engine; all are measured.
///
/// # Errors
/// [`GraphError::Invalid`] with the path.
pub(in crate::graph) fn parameters(
    given: &Map<String, Value>,
    used: &[Parameter],
    bytes_max: usize,
) -> Result<HashMap<String, PropertyValue>, GraphError> {
    let bytes = serde_json::to_vec(given).map_or(usize::MAX, |json| json.len());
    if bytes > bytes_max {
        return Err(GraphError::invalid(
            "parameters",
            format!("{bytes} bytes of JSON; at most {bytes_max} are allowed"),
        ));
    }
    let mut parameters = HashMap::new();
    for Parameter { name, engine_name } in used {
        let value = given.get(name).unwrap_or(&Value::Null);
        let value = parameter(value, &format!("parameters.{name}"), 0)?;
        parameters.insert(engine_name.clone(), value);
    }
    Ok(parameters)
}

fn parameter(value: &Value, path: &str, depth: usize) -> Result<PropertyValue, GraphError> {
    if depth > PARAMETER_DEPTH_MAX {
        let problem = format!("nested deeper than {PARAMETER_DEPTH_MAX}");
        return Err(GraphError::invalid(path, problem));
    }
    Ok(match value {
        Value::Null => PropertyValue::Null,
        Value::Bool(truth) => PropertyValue::Bool(*truth),
        Value::String(text) => PropertyValue::String(text.clone()),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(int), _) => PropertyValue::Int(int),
            (None, Some(float)) if number.is_f64() => PropertyValue::Float(float),
            _ => return Err(GraphError::invalid(path, "integers must fit into 64 bits with sign")),
        },
        Value::Array(items) if items.len() > PARAMETER_ITEMS_MAX => {
            let problem = format!("more than {PARAMETER_ITEMS_MAX} items");
            return Err(GraphError::invalid(path, problem));
        }
        Value::Array(items) => PropertyValue::List(
            items
                .iter()
                .enumerate()
                .map(|(index, item)| parameter(item, &format!("{path}[{index}]"), depth + 1))
                .collect::<Result<_, _>>()?,
        ),
        Value::Object(fields) => PropertyValue::Map(
            fields
                .iter()
                .map(|(name, field)| {
                    Ok((name.clone(), parameter(field, &format!("{path}.{name}"), depth + 1)?))
                })
                .collect::<Result<_, GraphError>>()?,
        ),
    })
}

/// A stored value for the engine.
pub(super) fn to_engine(property: &Property) -> PropertyValue {
    match property {
        Property::Bool(truth) => PropertyValue::Bool(*truth),
        Property::Int(int) => PropertyValue::Int(*int),
        Property::Float(float) => PropertyValue::Float(*float),
        Property::Text(text) => PropertyValue::String(text.clone()),
        Property::List(items) => PropertyValue::List(items.iter().map(to_engine).collect()),
    }
}

/// A stored value from the engine; temporal ones, which no upsert writes, as their ISO 8601 text.
pub(super) fn from_engine(property: &PropertyValue) -> Option<Property> {
    Some(match property {
        PropertyValue::Null | PropertyValue::Map(_) => return None,
        PropertyValue::Bool(truth) => Property::Bool(*truth),
        PropertyValue::Int(int) => Property::Int(*int),
        PropertyValue::Float(float) => Property::Float(*float),
        PropertyValue::List(items) => {
            Property::List(items.iter().filter_map(from_engine).collect())
        }
        other => match property_json(other) {
            Value::String(text) => Property::Text(text),
            _ => return None,
        },
    })
}
