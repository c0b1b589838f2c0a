//! Values that may be absent. What looks into them lazily (orValue, optMap) is no function: see [`crate::cel::check`].

use super::{Call, Function, global, list, member};
use crate::cel::evaluate::Outcome;
use crate::cel::fault::Fault;
use crate::cel::value::Value;

/// The table.
pub const FUNCTIONS: &[Function] = &[
    global("optional.of", 1, 1, |_, arguments| Ok(Value::some(arguments[0].clone()))),
    global("optional.none", 0, 0, |_, _| Ok(Value::Optional(None))),
    global("optional.ofNonZeroValue", 1, 1, |_, arguments| {
        let value = &arguments[0];
        Ok(if is_zero(value) { Value::Optional(None) } else { Value::some(value.clone()) })
    }),
    global("optional.unwrap", 1, 1, unwrap),
    member("unwrapOpt", 1, 1, unwrap),
    member("hasValue", 1, 1, |_, arguments| match &arguments[0] {
        Value::Optional(inside) => Ok(Value::Bool(inside.is_some())),
        _ => Err(Fault::mismatch()),
    }),
    member("value", 1, 1, |_, arguments| match &arguments[0] {
        Value::Optional(Some(value)) => Ok(value.as_ref().clone()),
        Value::Optional(None) => Err(Fault::new("the value is absent; orValue(…) gives one for that case")),
        _ => Err(Fault::mismatch()),
    }),
];

fn is_zero(value: &Value<'_>) -> bool {
    match value {
        Value::Null | Value::Bool(false) | Value::Int(0) | Value::Uint(0) | Value::Duration(0) => true,
        Value::Double(value) => *value == 0.0,
        Value::Text(text) => text.as_str().is_empty(),
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::List(items) => items.len() == 0,
        Value::Map(map) => map.len() == 0,
        _ => false,
    }
}

/// The values that are there.
fn unwrap<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let items = list(&arguments[0])?;
    call.budget.hold_list(items.len())?;
    call.budget.spend(items.len())?;
    let mut built = Vec::new();
    for item in items.iter() {
        match item {
            Value::Optional(inside) => built.extend(inside.map(|value| value.as_ref().clone())),
            _ => return Err(Fault::mismatch()),
        }
    }
    Ok(Value::list(built))
}
