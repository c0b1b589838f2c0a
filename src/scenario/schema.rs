//! Reads the spec of a kind as strictly as its CRD: what the API server would refuse or prune is a finding, with its place.
//! Rules between fields are left to the engine, which finds them as faults of the definition. Pure.

use super::Finding;
use crate::api::crds;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Reads the spec of an object of that kind; `place` is where it stands.
pub(super) fn strict<T: DeserializeOwned>(kind: &str, place: &str, spec: &Value) -> Result<T, Finding> {
    static SCHEMAS: LazyLock<BTreeMap<String, Value>> = LazyLock::new(schemas);
    let schema = SCHEMAS.get(kind).ok_or_else(|| Finding::quorate(place, format!("{kind} has no schema")))?;
    fits(schema, spec, place)?;
    serde_json::from_value(spec.clone()).map_err(|error| Finding::malformed(place, error.to_string()))
}

/// The schemas of the specs by kind.
fn schemas() -> BTreeMap<String, Value> {
    let spec = |crd: &Value| crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone();
    let crds = crds().unwrap_or_default();
    crds.iter().filter_map(|crd| Some((crd.spec.names.kind.clone(), spec(&serde_json::to_value(crd).ok()?)))).collect()
}

fn fits(schema: &Value, value: &Value, place: &str) -> Result<(), Finding> {
    let wrong = |message: String| Err(Finding::malformed(place, message));
    let fits_type = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        _ => true,
    };
    if !fits_type {
        return wrong(format!("{value} is no {}", schema["type"].as_str().unwrap_or_default()));
    }
    if let Some(words) = schema["enum"].as_array().filter(|words| !words.contains(value)) {
        let words: Vec<_> = words.iter().map(|word| word.as_str().unwrap_or_default()).collect();
        return wrong(format!("{value} is none of {}", words.join(", ")));
    }
    match value {
        Value::Object(fields) => {
            let Some(known) = schema["properties"].as_object() else {
                return fields.iter().try_for_each(|(field, value)| {
                    fits(&schema["additionalProperties"], value, &format!("{place}.{field}"))
                });
            };
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            if let Some(missing) = required.into_iter().find(|field| !fields.contains_key(*field)) {
                return wrong(format!("{missing} is missing"));
            }
            for (field, value) in fields {
                let inside = if place.is_empty() { field.clone() } else { format!("{place}.{field}") };
                match known.get(field) {
                    Some(schema) => fits(schema, value, &inside)?,
                    // An unknown output of a node is for the engine to find, and a fault with a place.
                    None if place.rsplit('.').next() == Some("next") => {}
                    None => {
                        let known: Vec<_> = known.keys().map(String::as_str).collect();
                        let message = format!("there is no such field; fields are {}", known.join(", "));
                        return Err(Finding::malformed(&inside, message));
                    }
                }
            }
            Ok(())
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(number, item)| fits(&schema["items"], item, &format!("{place}[{number}]"))),
        _ => Ok(()),
    }
}
