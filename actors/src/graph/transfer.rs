//! The graph as JSON Lines: the way in and out of every engine, and to Neo4j.
//!
//! ```text
//! {"graph":"ultimate-mcp","version":1}
//! {"node":{"key":"ada","labels":["Entity","Person"],"properties":{"born":1815}}}
//! {"relationship":{"start":"ada","type":"KNOWS","end":"charles","properties":{}}}
//! {"end":{"nodes":2,"relationships":1,"sha256":"…"}}
//! ```
//! Nodes come before relationships, both sorted by identity, so equal graphs give equal bytes. The
//! digest covers all lines but the last. Called by the stores; refuses a missing or other header, a
//! missing last line (a file cut off), counts or a digest that differ, and any wrong record, each
//! with its line number.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::batch::{NodeChange, RelationshipChange, check_relationship};
use super::error::GraphError;
use super::model::{RelationshipRef, TransferReport};
use super::options::GraphOptions;
use super::property::{self, Changes, Property};
use crate::hex;

/// Version of the format.
pub const FORMAT_VERSION: u32 = 1;
/// Name in the header.
const FORMAT_NAME: &str = "ultimate-mcp";
/// Longest line in bytes; the largest node that can be stored fits.
const LINE_BYTES_MAX: u64 = 4 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    graph: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "P: Deserialize<'de> + Default"))]
struct Node<P> {
    key: String,
    labels: Vec<String>,
    #[serde(default)]
    properties: P,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "P: Deserialize<'de> + Default"))]
struct Relationship<P> {
    start: String,
    r#type: String,
    end: String,
    #[serde(default)]
    properties: P,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    nodes: u64,
    relationships: u64,
    /// Absent in files made by hand.
    #[serde(default)]
    sha256: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", bound(deserialize = "P: Deserialize<'de> + Default"))]
enum Line<P> {
    Node(Node<P>),
    Relationship(Relationship<P>),
    End(End),
}

/// Writes the format.
pub struct ExportWriter {
    sink: Box<dyn Write + Send>,
    digest: Context,
    report: TransferReport,
}

impl ExportWriter {
    /// Writes the header.
    ///
    /// # Errors
    /// [`GraphError::Engine`] when the sink fails; so for all methods.
    pub fn begin(sink: Box<dyn Write + Send>) -> Result<Self, GraphError> {
        let mut writer =
            Self { sink, digest: Context::new(&SHA256), report: TransferReport::default() };
        writer.line(&Header { graph: FORMAT_NAME.to_owned(), version: FORMAT_VERSION }, true)?;
        Ok(writer)
    }

    fn line(&mut self, line: &impl Serialize, digested: bool) -> Result<(), GraphError> {
        let failed = |detail: String| GraphError::Engine { detail };
        let mut text = serde_json::to_vec(line).map_err(|error| failed(error.to_string()))?;
        text.push(b'\n');
        if digested {
            self.digest.update(&text);
        }
        self.sink.write_all(&text).map_err(|error| failed(format!("writing an export: {error}")))
    }

    /// Writes a node.
    pub fn node(
        &mut self,
        key: &str,
        mut labels: Vec<String>,
        properties: &BTreeMap<String, Property>,
    ) -> Result<(), GraphError> {
        labels.sort();
        self.report.nodes += 1;
        let properties = json(properties);
        self.line(&Line::Node(Node { key: key.to_owned(), labels, properties }), true)
    }

    /// Writes a relationship.
    pub fn relationship(
        &mut self,
        identity: RelationshipRef,
        properties: &BTreeMap<String, Property>,
    ) -> Result<(), GraphError> {
        let RelationshipRef { start, end, r#type } = identity;
        self.report.relationships += 1;
        let properties = json(properties);
        self.line(&Line::Relationship(Relationship { start, r#type, end, properties }), true)
    }

    /// Writes the last line and flushes the sink.
    pub fn finish(mut self) -> Result<TransferReport, GraphError> {
        self.report.sha256 = hex::encode(self.digest.clone().finish().as_ref());
        let end = End {
            nodes: self.report.nodes,
            relationships: self.report.relationships,
            sha256: Some(self.report.sha256.clone()),
        };
        self.line(&Line::<Map<String, Value>>::End(end), false)?;
        let flushed = self.sink.flush();
        flushed.map_err(|error| GraphError::Engine {
            detail: format!("writing an export: {error}"),
        })?;
        Ok(self.report)
    }
}

fn json(properties: &BTreeMap<String, Property>) -> BTreeMap<&str, Value> {
    properties.iter().map(|(name, value)| (name.as_str(), value.to_json())).collect()
}

/// One record of an import.
#[derive(Debug)]
pub enum Record {
    /// A node.
    Node(NodeChange),
    /// A relationship.
    Relationship(RelationshipChange),
}

/// Reads the format.
pub struct ImportReader<'a> {
    source: Box<dyn BufRead + Send>,
    options: &'a GraphOptions,
    digest: Context,
    line: u64,
    report: TransferReport,
    ended: bool,
}

/// Properties as written: floats must not lose their last bit on the way.
type Raw = BTreeMap<String, Box<RawValue>>;

impl<'a> ImportReader<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`GraphError::Import`] with the line; so for all methods.
    pub fn begin(
        source: Box<dyn BufRead + Send>,
        options: &'a GraphOptions,
    ) -> Result<Self, GraphError> {
        let mut reader = Self {
            source,
            options,
            digest: Context::new(&SHA256),
            line: 0,
            report: TransferReport::default(),
            ended: false,
        };
        let Some(text) = reader.read_line()? else {
            return Err(reader.wrong("the file is empty"));
        };
        let header: Header = serde_json::from_str(&text)
            .map_err(|error| reader.wrong(format!("not the header of an export: {error}")))?;
        if header.graph != FORMAT_NAME || header.version != FORMAT_VERSION {
            let (name, version) = (header.graph, header.version);
            return Err(reader.wrong(format!(
                "format {name:?} version {version}; this reads {FORMAT_NAME:?} version {FORMAT_VERSION}"
            )));
        }
        reader.digest.update(text.as_bytes());
        Ok(reader)
    }

    /// Number of the line read last, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    fn wrong(&self, problem: impl Into<String>) -> GraphError {
        GraphError::Import { line: self.line, problem: problem.into() }
    }

    /// The next line with its end, or `None` at the end of the file.
    fn read_line(&mut self) -> Result<Option<String>, GraphError> {
        let mut bytes = Vec::new();
        self.line += 1;
        let mut limited = std::io::Read::take(&mut self.source, LINE_BYTES_MAX + 1);
        let read = limited.read_until(b'\n', &mut bytes);
        read.map_err(|error| self.wrong(format!("cannot be read: {error}")))?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if bytes.len() as u64 > LINE_BYTES_MAX {
            return Err(self.wrong(format!("longer than {LINE_BYTES_MAX} bytes")));
        }
        String::from_utf8(bytes).map(Some).map_err(|_| self.wrong("not UTF-8"))
    }

    /// The next record; `None` after the last line, whose counts and digest then fit.
    pub fn next_record(&mut self) -> Result<Option<Record>, GraphError> {
        if self.ended {
            return Ok(None);
        }
        let Some(text) = self.read_line()? else {
            return Err(self.wrong("the file ends before its last line; it was cut off"));
        };
        let line: Line<Raw> = serde_json::from_str(&text)
            .map_err(|error| self.wrong(format!("neither node, relationship nor end: {error}")))?;
        let record = match line {
            Line::End(end) => return self.end(end).map(|()| None),
            Line::Node(node) => self.node(node).map(Record::Node),
            Line::Relationship(relationship) => {
                self.relationship(relationship).map(Record::Relationship)
            }
        };
        self.digest.update(text.as_bytes());
        record.map(Some).map_err(|error| self.wrong(error.to_string()))
    }

    fn node(&mut self, node: Node<Raw>) -> Result<NodeChange, GraphError> {
        self.report.nodes += 1;
        property::check_key(&node.key, "key")?;
        Ok(NodeChange {
            labels: property::parse_labels(&node.labels, "labels")?,
            properties: self.properties(&node.properties)?,
            key: node.key,
        })
    }

    fn relationship(&mut self, line: Relationship<Raw>) -> Result<RelationshipChange, GraphError> {
        self.report.relationships += 1;
        let identity = RelationshipRef { start: line.start, end: line.end, r#type: line.r#type };
        check_relationship(&identity, "relationship")?;
        Ok(RelationshipChange { identity, properties: self.properties(&line.properties)? })
    }

    fn properties(&self, raw: &Raw) -> Result<Changes, GraphError> {
        if raw.len() > self.options.properties_max {
            let max = self.options.properties_max;
            return Err(GraphError::invalid("properties", format!("more than {max} properties")));
        }
        let mut changes = Changes::new();
        for (name, value) in raw {
            let path = format!("properties.{name}");
            property::check_property_name(name, &path)?;
            changes.insert(name.clone(), Some(exact(value.get(), &path, self.options)?));
        }
        property::check_entity(&changes, "properties")?;
        Ok(changes)
    }

    fn end(&mut self, end: End) -> Result<(), GraphError> {
        self.ended = true;
        let counted = (self.report.nodes, self.report.relationships);
        if counted != (end.nodes, end.relationships) {
            return Err(self.wrong(format!(
                "announces {} nodes and {} relationships, but {} and {} came before it",
                end.nodes, end.relationships, counted.0, counted.1
            )));
        }
        self.report.sha256 = hex::encode(self.digest.clone().finish().as_ref());
        if end.sha256.is_some_and(|announced| announced != self.report.sha256) {
            return Err(self.wrong("the digest differs: the file was changed after the export"));
        }
        if self.read_line()?.is_some() {
            return Err(self.wrong("nothing may follow the last line"));
        }
        Ok(())
    }

    /// What was read; complete after [`ImportReader::next_record`] answered `None`.
    pub fn report(&self) -> TransferReport {
        self.report.clone()
    }
}

/// A property with its floats as exact as they were written: `serde_json` without its feature
/// `float_roundtrip` may be off by the last bit, the standard library never is.
fn exact(raw: &str, path: &str, options: &GraphOptions) -> Result<Property, GraphError> {
    let wrong = |error: serde_json::Error| GraphError::invalid(path, error.to_string());
    let value: Value = serde_json::from_str(raw).map_err(wrong)?;
    let mut property = Property::parse(&value, path, options)?;
    let float = |raw: &str| raw.trim().parse::<f64>().ok();
    match &mut property {
        Property::Float(number) => *number = float(raw).unwrap_or(*number),
        Property::List(items) if matches!(items.first(), Some(Property::Float(_))) => {
            let raws: Vec<&RawValue> = serde_json::from_str(raw).map_err(wrong)?;
            for (item, raw) in items.iter_mut().zip(raws) {
                if let (Property::Float(number), Some(exact)) = (item, float(raw.get())) {
                    *number = exact;
                }
            }
        }
        _ => {}
    }
    Ok(property)
}
