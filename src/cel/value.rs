//! Values: what an expression works with. JSON is looked at where it lies and never copied.

use super::budget::{Budget, VALUE};
use super::fault::Fault;
use jiff::Timestamp;
use serde_json::Value as Json;
use std::rc::Rc;

/// A value of CEL.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// null.
    Null,
    /// true or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number without a sign.
    Uint(u64),
    /// A number with a fraction.
    Double(f64),
    /// Text.
    Text(Text<'a>),
    /// Bytes.
    Bytes(Rc<[u8]>),
    /// A list.
    List(List<'a>),
    /// A map.
    Map(Map<'a>),
    /// A moment.
    Timestamp(Timestamp),
    /// A length of time, in nanoseconds.
    Duration(i64),
    /// A value that may be absent.
    Optional(Option<Rc<Value<'a>>>),
    /// A type, by its name.
    Type(&'static str),
}

/// Text, of the input or built.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    /// Of the input or of the expression.
    Borrowed(&'a str),
    /// Built.
    Owned(Rc<str>),
}

/// A list, of the input or built.
#[derive(Clone, Debug)]
pub enum List<'a> {
    /// Of the input.
    Json(&'a [Json]),
    /// Built.
    Owned(Rc<Vec<Value<'a>>>),
}

/// A map, of the input or built.
#[derive(Clone, Debug)]
pub enum Map<'a> {
    /// Of the input.
    Json(&'a serde_json::Map<String, Json>),
    /// Built: as written, without a key twice. It is never longer than an expression is, so that it is searched from its start.
    Owned(Rc<Vec<(Value<'a>, Value<'a>)>>),
}

impl Text<'_> {
    /// The text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Owned(text) => text,
        }
    }
}

impl<'a> List<'a> {
    /// How many values it has.
    pub fn len(&self) -> usize {
        match self {
            Self::Json(items) => items.len(),
            Self::Owned(items) => items.len(),
        }
    }

    /// The value at a position.
    pub fn get(&self, position: usize) -> Option<Value<'a>> {
        match self {
            Self::Json(items) => items.get(position).map(Value::from),
            Self::Owned(items) => items.get(position).cloned(),
        }
    }

    /// The values in their order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Value<'a>> + ExactSizeIterator + '_ {
        (0..self.len()).map(|position| self.get(position).unwrap_or(Value::Null))
    }
}

impl<'a> Map<'a> {
    /// How many keys it has.
    pub fn len(&self) -> usize {
        match self {
            Self::Json(fields) => fields.len(),
            Self::Owned(entries) => entries.len(),
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &Value<'_>, budget: &Budget) -> Result<Option<Value<'a>>, Fault> {
        match (self, key) {
            (Self::Json(fields), Value::Text(key)) => {
                budget.scan(key.as_str().len())?;
                Ok(fields.get(key.as_str()).map(Value::from))
            }
            (Self::Json(_), _) => Ok(None),
            (Self::Owned(entries), key) => {
                spend_on_keys(entries.len(), key, budget)?;
                let found = entries.iter().find(|(other, _)| super::operators::same_key(other, key));
                Ok(found.map(|(_, value)| value.clone()))
            }
        }
    }

    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<Value<'a>> {
        match self {
            Self::Json(fields) => fields.get(name).map(Value::from),
            Self::Owned(entries) => entries
                .iter()
                .find(|(key, _)| matches!(key, Value::Text(key) if key.as_str() == name))
                .map(|(_, value)| value.clone()),
        }
    }

    /// Keys and values: of the input in the order of the keys, of an expression as written.
    pub fn entries(&self) -> Vec<(Value<'a>, Value<'a>)> {
        match self {
            Self::Json(fields) => {
                let mut fields: Vec<_> = fields.iter().collect();
                fields.sort_unstable_by_key(|(key, _)| *key);
                fields.into_iter().map(|(key, value)| (Value::borrowed(key), value.into())).collect()
            }
            Self::Owned(entries) => entries.as_ref().clone(),
        }
    }
}

impl<'a> Value<'a> {
    /// Text that lives elsewhere.
    pub fn borrowed(text: &'a str) -> Self {
        Self::Text(Text::Borrowed(text))
    }

    /// Text that was built, charged to the budget.
    pub fn text(text: &str, budget: &Budget) -> Result<Self, Fault> {
        budget.hold(VALUE + text.len())?;
        Ok(Self::Text(Text::Owned(Rc::from(text))))
    }

    /// Bytes that were built, charged to the budget.
    pub fn bytes(bytes: &[u8], budget: &Budget) -> Result<Self, Fault> {
        budget.hold(VALUE + bytes.len())?;
        Ok(Self::Bytes(Rc::from(bytes)))
    }

    /// A list that was built; its length was charged before.
    pub fn list(items: Vec<Self>) -> Self {
        Self::List(List::Owned(Rc::new(items)))
    }

    /// An optional with a value.
    pub fn some(value: Self) -> Self {
        Self::Optional(Some(Rc::new(value)))
    }

    /// The name of its type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
        }
    }

    /// The value as JSON: bytes in base64, moments in RFC 3339, durations in seconds with the unit.
    pub fn json(&self, budget: &Budget) -> Result<Json, Fault> {
        budget.spend(1)?;
        budget.hold(VALUE)?;
        Ok(match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Int(value) => Json::from(*value),
            Self::Uint(value) => Json::from(*value),
            Self::Double(value) => serde_json::Number::from_f64(*value)
                .map(Json::Number)
                .ok_or_else(|| Fault::new(format!("it yields {value}, which JSON does not have")))?,
            Self::Text(text) => {
                budget.hold(text.as_str().len())?;
                Json::String(text.as_str().to_owned())
            }
            Self::Bytes(bytes) => {
                budget.hold(bytes.len() * 2)?;
                Json::String(super::functions::encoders::encoded(bytes))
            }
            Self::List(items) => {
                budget.hold_list(items.len())?;
                let items: Result<Vec<Json>, Fault> = items.iter().map(|item| item.json(budget)).collect();
                Json::Array(items?)
            }
            Self::Map(map) => {
                // A map of JSON has room for more than it holds.
                budget.hold(700)?;
                budget.hold_list(map.len().saturating_mul(4))?;
                let mut fields = serde_json::Map::new();
                for (key, value) in map.entries() {
                    let key = match &key {
                        Self::Text(key) => key.as_str().to_owned(),
                        Self::Int(key) => key.to_string(),
                        Self::Uint(key) => key.to_string(),
                        Self::Bool(key) => key.to_string(),
                        other => return Err(Fault::new(format!("a map has a key of type {}", other.type_name()))),
                    };
                    budget.hold(key.len())?;
                    fields.insert(key, value.json(budget)?);
                }
                Json::Object(fields)
            }
            Self::Timestamp(moment) => Json::String(moment.to_string()),
            Self::Duration(nanoseconds) => Json::String(super::functions::time::seconds(*nanoseconds)),
            Self::Optional(_) => {
                return Err(Fault::new("it yields a value that may be absent: end it with .orValue(…) or .value()"));
            }
            Self::Type(name) => return Err(Fault::new(format!("it yields the type {name}, not a value"))),
        })
    }
}

impl<'a> From<&'a Json> for Value<'a> {
    fn from(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(value), _) => Self::Int(value),
                (None, Some(value)) => Self::Uint(value),
                (None, None) => Self::Double(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::borrowed(text),
            Json::Array(items) => Self::List(List::Json(items)),
            Json::Object(fields) => Self::Map(Map::Json(fields)),
        }
    }
}

const _: () = assert!(size_of::<Value<'_>>() <= VALUE, "a list takes what it is charged");

/// The steps of comparing a key with so many others.
pub fn spend_on_keys(count: usize, key: &Value<'_>, budget: &Budget) -> Result<(), Fault> {
    let length = if let Value::Text(key) = key { key.as_str().len() } else { 0 };
    budget.spend(count / 2 + count.saturating_mul(length / 64))
}

/// How long a JSON map is as text, near enough and without writing it; it stops counting above `most`.
pub fn length(fields: &serde_json::Map<String, Json>, most: usize) -> usize {
    fn digits(value: u64) -> usize {
        2 + value.checked_ilog10().map_or(0, |log| log as usize)
    }
    fn add(json: &Json, most: usize, sum: &mut usize) {
        *sum += match json {
            Json::Null | Json::Bool(_) => 5,
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(value), _) => digits(value.unsigned_abs()) + usize::from(value < 0),
                (None, Some(value)) => digits(value),
                (None, None) => 10,
            },
            Json::String(text) => text.len() + 3,
            Json::Array(_) | Json::Object(_) => 3,
        };
        match json {
            Json::Array(items) if *sum <= most => items.iter().for_each(|item| {
                if *sum <= most {
                    add(item, most, sum);
                }
            }),
            Json::Object(fields) => add_fields(fields, most, sum),
            _ => {}
        }
    }
    fn add_fields(fields: &serde_json::Map<String, Json>, most: usize, sum: &mut usize) {
        for (name, value) in fields {
            if *sum > most {
                return;
            }
            *sum += name.len() + 3;
            add(value, most, sum);
        }
    }
    let mut sum = 2;
    add_fields(fields, most, &mut sum);
    sum
}
