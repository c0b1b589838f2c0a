//! Sizes, types, and values of one type made from another. A conversion that would lose more than a fraction fails.

use super::{Call, Function, format, global, length, member, time};
use crate::cel::evaluate::Outcome;
use crate::cel::fault::Fault;
use crate::cel::value::Value;

/// The table.
pub const FUNCTIONS: &[Function] = &[
    global("size", 1, 1, size),
    member("size", 1, 1, size),
    global("type", 1, 1, |_, arguments| Ok(Value::Type(arguments[0].type_name()))),
    global("dyn", 1, 1, |_, arguments| Ok(arguments[0].clone())),
    global("int", 1, 1, int),
    global("uint", 1, 1, uint),
    global("double", 1, 1, double),
    global("bool", 1, 1, bool),
    global("string", 1, 1, string),
    global("bytes", 1, 1, bytes),
];

fn size<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    Ok(length(match &arguments[0] {
        Value::Text(text) => {
            call.budget.scan(text.as_str().len())?;
            text.as_str().chars().count()
        }
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.len(),
        Value::Map(map) => map.len(),
        _ => return Err(Fault::mismatch()),
    }))
}

fn out_of_range(type_name: &str) -> Fault {
    Fault::new(format!("the number is out of the range of {type_name}"))
}

/// What the text says is not told: faults go where everybody reads them.
fn unreadable(type_name: &str) -> Fault {
    Fault::new(format!("the text cannot be read as {type_name}"))
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn int<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::Int(match &arguments[0] {
        Value::Int(value) => *value,
        Value::Uint(value) => i64::try_from(*value).map_err(|_| out_of_range("int"))?,
        Value::Double(value) if *value > -9_223_372_036_854_775_808.0 && *value < 9_223_372_036_854_775_808.0 => {
            *value as i64
        }
        Value::Double(_) => return Err(out_of_range("int")),
        Value::Text(text) => {
            call.budget.scan(text.as_str().len())?;
            text.as_str().parse().map_err(|_| unreadable("int"))?
        }
        Value::Timestamp(moment) => moment.as_second() - i64::from(moment.subsec_nanosecond() < 0),
        Value::Duration(nanoseconds) => *nanoseconds,
        _ => return Err(Fault::mismatch()),
    }))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
fn uint<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::Uint(match &arguments[0] {
        Value::Uint(value) => *value,
        Value::Int(value) => u64::try_from(*value).map_err(|_| out_of_range("uint"))?,
        Value::Double(value) if *value >= 0.0 && *value < 18_446_744_073_709_551_616.0 => *value as u64,
        Value::Double(_) => return Err(out_of_range("uint")),
        Value::Text(text) => {
            call.budget.scan(text.as_str().len())?;
            text.as_str().parse().map_err(|_| unreadable("uint"))?
        }
        _ => return Err(Fault::mismatch()),
    }))
}

#[expect(clippy::cast_precision_loss, reason = "as every language rounds it")]
fn double<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::Double(match &arguments[0] {
        Value::Double(value) => *value,
        Value::Int(value) => *value as f64,
        Value::Uint(value) => *value as f64,
        Value::Text(text) => {
            call.budget.scan(text.as_str().len())?;
            text.as_str().parse().map_err(|_| unreadable("double"))?
        }
        _ => return Err(Fault::mismatch()),
    }))
}

fn bool<'a>(_: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    match &arguments[0] {
        Value::Bool(value) => Ok(Value::Bool(*value)),
        Value::Text(text) => match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(unreadable("bool")),
        },
        _ => Err(Fault::mismatch()),
    }
}

fn string<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let built = match &arguments[0] {
        text @ Value::Text(_) => return Ok(text.clone()),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) => format::shortest(*value),
        Value::Bytes(bytes) => {
            call.budget.scan(bytes.len())?;
            let text = std::str::from_utf8(bytes).map_err(|_| Fault::new("the bytes are no UTF-8 text"))?;
            return Value::text(text, &call.budget);
        }
        Value::Timestamp(moment) => moment.to_string(),
        Value::Duration(nanoseconds) => time::seconds(*nanoseconds),
        _ => return Err(Fault::mismatch()),
    };
    Value::text(&built, &call.budget)
}

fn bytes<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    match &arguments[0] {
        bytes @ Value::Bytes(_) => Ok(bytes.clone()),
        Value::Text(text) => Value::bytes(text.as_str().as_bytes(), &call.budget),
        _ => Err(Fault::mismatch()),
    }
}
