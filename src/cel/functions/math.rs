//! Numbers: cel-go's math extension, without its bits.

use super::{ANY, Call, Function, global};
use crate::cel::evaluate::Outcome;
use crate::cel::fault::Fault;
use crate::cel::operators::compare;
use crate::cel::value::{List, Value};
use std::cmp::Ordering;
use std::rc::Rc;

/// The table.
pub const FUNCTIONS: &[Function] = &[
    global("math.greatest", 1, ANY, |call, arguments| extreme(call, arguments, Ordering::Greater)),
    global("math.least", 1, ANY, |call, arguments| extreme(call, arguments, Ordering::Less)),
    global("math.abs", 1, 1, abs),
    global("math.sign", 1, 1, sign),
    global("math.ceil", 1, 1, |_, arguments| double(&arguments[0]).map(|value| Value::Double(value.ceil()))),
    global("math.floor", 1, 1, |_, arguments| double(&arguments[0]).map(|value| Value::Double(value.floor()))),
    global("math.round", 1, 1, |_, arguments| double(&arguments[0]).map(|value| Value::Double(value.round()))),
    global("math.trunc", 1, 1, |_, arguments| double(&arguments[0]).map(|value| Value::Double(value.trunc()))),
    global("math.isNaN", 1, 1, |_, arguments| double(&arguments[0]).map(|value| Value::Bool(value.is_nan()))),
    global("math.isInf", 1, 1, |_, arguments| double(&arguments[0]).map(|value| Value::Bool(value.is_infinite()))),
    global("math.isFinite", 1, 1, |_, arguments| double(&arguments[0]).map(|value| Value::Bool(value.is_finite()))),
];

fn double(value: &Value<'_>) -> Result<f64, Fault> {
    if let Value::Double(value) = value { Ok(*value) } else { Err(Fault::mismatch()) }
}

/// Over the arguments, or over the elements of a single list.
fn extreme<'a>(call: &Call<'a>, arguments: &[Value<'a>], wanted: Ordering) -> Outcome<'a> {
    let items = match arguments {
        [Value::List(items)] => items.clone(),
        several => List::Owned(Rc::new(several.to_vec())),
    };
    call.budget.spend(2 * items.len())?;
    if !items.iter().all(|item| matches!(item, Value::Int(_) | Value::Uint(_) | Value::Double(_))) {
        return Err(Fault::mismatch());
    }
    let mut items = items.iter();
    let mut best = items.next().ok_or_else(|| Fault::new("an empty list has neither a least nor a greatest"))?;
    for item in items {
        if compare(&item, &best, &call.budget)? == Some(wanted) {
            best = item;
        }
    }
    Ok(best)
}

fn abs<'a>(_: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    match &arguments[0] {
        Value::Int(value) => value.checked_abs().map(Value::Int).ok_or_else(|| Fault::new("the result is too large")),
        Value::Uint(value) => Ok(Value::Uint(*value)),
        Value::Double(value) => Ok(Value::Double(value.abs())),
        _ => Err(Fault::mismatch()),
    }
}

fn sign<'a>(_: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    match &arguments[0] {
        Value::Int(value) => Ok(Value::Int(value.signum())),
        Value::Uint(value) => Ok(Value::Uint((*value).min(1))),
        Value::Double(value) if *value == 0.0 || value.is_nan() => Ok(Value::Double(*value)),
        Value::Double(value) => Ok(Value::Double(value.signum())),
        _ => Err(Fault::mismatch()),
    }
}
