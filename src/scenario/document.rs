//! A YAML document and where each of its fields stands, so that whatever is said about a field can say its line. Pure.

use super::Finding;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::{Location, Spanned};
use std::fmt;

/// The lines of a document's fields, by path such as `timeline[0].at`.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines(Vec<(String, Location)>);

impl Lines {
    /// The line of a field; where there is no such field, of the one that it would be in.
    pub(super) fn of(&self, path: &str) -> Option<u64> {
        let known = |path: &str| self.0.iter().find(|(known, _)| known == path).map(|(_, at)| at.line());
        let mut path = path;
        loop {
            if let Some(line) = known(path) {
                return Some(line);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }

    /// The field that stands at that position, or around it.
    fn at(&self, position: Location) -> Option<&str> {
        let place = |at: &Location| (at.line(), at.column());
        let before = self.0.iter().filter(|(_, at)| place(at) <= place(&position));
        before.max_by_key(|(_, at)| place(at)).map(|(path, _)| path.as_str())
    }
}

/// A YAML document.
pub(super) struct Document {
    /// What it says.
    pub(super) value: Value,
    /// Where.
    pub(super) lines: Lines,
}

/// The documents of a text; empty ones are skipped.
pub(super) fn documents(text: &str) -> Result<Vec<Document>, Finding> {
    let nodes: Vec<Spanned<Node>> =
        serde_saphyr::from_multiple(text).map_err(|error| unreadable(&error, &Lines::default()))?;
    let document = |node| {
        let mut lines = Lines::default();
        let value = flatten(node, "", &mut lines);
        Document { value, lines }
    };
    Ok(nodes.into_iter().map(|node| document(node.value)).collect())
}

/// What the reader of YAML says, with the line and the field.
pub(super) fn unreadable(error: &serde_saphyr::Error, lines: &Lines) -> Finding {
    let error = error.without_snippet();
    let position = error.location();
    let place = position.and_then(|position| lines.at(position)).unwrap_or_default();
    // The position is told once, in front.
    let message = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    let message = message.split(" at line ").next().unwrap_or_default();
    Finding { line: position.map(|position| position.line()), ..Finding::malformed(place, message) }
}

/// A value as YAML gives it, with the position of each part.
enum Node {
    Scalar(Value),
    List(Vec<Spanned<Node>>),
    Fields(Vec<(Spanned<String>, Spanned<Node>)>),
}

fn flatten(node: Node, path: &str, lines: &mut Lines) -> Value {
    match node {
        Node::Scalar(value) => value,
        Node::List(items) => {
            let items = items.into_iter().enumerate().map(|(number, item)| {
                let path = format!("{path}[{number}]");
                lines.0.push((path.clone(), item.referenced));
                flatten(item.value, &path, lines)
            });
            Value::Array(items.collect())
        }
        Node::Fields(fields) => {
            let mut found = Map::new();
            for (name, value) in fields {
                let path = if path.is_empty() { name.value.clone() } else { format!("{path}.{}", name.value) };
                lines.0.push((path.clone(), name.referenced));
                found.insert(name.value, flatten(value.value, &path, lines));
            }
            Value::Object(found)
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyNode)
    }
}

struct AnyNode;

impl<'de> Visitor<'de> for AnyNode {
    type Value = Node;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_none<E: de::Error>(self) -> Result<Node, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut found = Vec::new();
        while let Some(item) = items.next_element()? {
            found.push(item);
        }
        Ok(Node::List(found))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Node, A::Error> {
        let mut found = Vec::new();
        while let Some(field) = fields.next_entry()? {
            found.push(field);
        }
        Ok(Node::Fields(found))
    }
}
