//! Base64, as cel-go's encoders extension has it.

use super::{Call, Function, global, text};
use crate::cel::evaluate::Outcome;
use crate::cel::fault::Fault;
use crate::cel::value::Value;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

/// The table.
pub const FUNCTIONS: &[Function] = &[global("base64.encode", 1, 1, encode), global("base64.decode", 1, 1, decode)];

/// Bytes in base64.
pub fn encoded(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn encode<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let Value::Bytes(bytes) = &arguments[0] else { return Err(Fault::mismatch()) };
    call.budget.scan(bytes.len())?;
    call.budget.hold(bytes.len().saturating_mul(2))?;
    Value::text(&encoded(bytes), &call.budget)
}

fn decode<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let text = text(&arguments[0])?;
    call.budget.scan(text.len())?;
    call.budget.hold(text.len())?;
    let engine = if text.ends_with('=') { STANDARD } else { STANDARD_NO_PAD };
    let bytes = engine.decode(text).map_err(|_| Fault::new("it is no base64"))?;
    Value::bytes(&bytes, &call.budget)
}
