//! `format`, and numbers as Go writes them.

use super::{Call, list, text, time};
use crate::cel::budget::Budget;
use crate::cel::evaluate::Outcome;
use crate::cel::fault::Fault;
use crate::cel::value::Value;

/// The most digits after the point.
const MAX_PRECISION: usize = 100;

/// `'%s has %d'.format([name, count])`: %s anything, %d a number, %f and %e a double, %b, %o, %x and %X in that base, %% itself.
pub fn format<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let (template, items) = (text(&arguments[0])?, list(&arguments[1])?);
    let budget = &call.budget;
    budget.scan(template.len())?;
    budget.hold(template.len())?;
    let (mut written, mut items) = (String::with_capacity(template.len()), items.iter());
    let mut letters = template.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            written.push(letter);
            continue;
        }
        if letters.next_if_eq(&'%').is_some() {
            written.push('%');
            continue;
        }
        let precision = if letters.next_if_eq(&'.').is_some() {
            let mut digits = String::new();
            while let Some(digit) = letters.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            let precision = digits.parse().ok().filter(|precision| *precision <= MAX_PRECISION);
            Some(precision.ok_or_else(|| Fault::new(format!("at most {MAX_PRECISION} digits after the point")))?)
        } else {
            None
        };
        let verb = letters.next().ok_or_else(|| Fault::new("a % stands at the end"))?;
        let item = items.next().ok_or_else(|| Fault::new("there are fewer values than places for them"))?;
        budget.spend(1)?;
        let part = written_as(verb, precision, &item, budget)?;
        // Digits of a double cost more than letters do.
        budget.spend(2 * part.len())?;
        budget.hold(part.len())?;
        written.push_str(&part);
    }
    match items.next() {
        Some(_) => Err(Fault::new("there are more values than places for them")),
        None => Value::text(&written, budget),
    }
}

fn written_as(verb: char, precision: Option<usize>, item: &Value<'_>, budget: &Budget) -> Result<String, Fault> {
    let misfit = || Fault::new(format!("%{verb} does not take {}", item.type_name()));
    Ok(match (verb, item) {
        ('s', item) => plain(item, false, budget)?,
        ('d' | 'f' | 'e', Value::Double(value)) if !value.is_finite() => infinite(*value).to_owned(),
        ('d', Value::Int(value)) => value.to_string(),
        ('d', Value::Uint(value)) => value.to_string(),
        ('d', Value::Double(value)) => value.to_string(),
        ('f', number) => format!("{:.*}", precision.unwrap_or(6), double(number).ok_or_else(misfit)?),
        ('e', number) => exponent(&format!("{:.*e}", precision.unwrap_or(6), double(number).ok_or_else(misfit)?)),
        ('b', Value::Bool(value)) => u8::from(*value).to_string(),
        ('b' | 'o' | 'x' | 'X', Value::Int(value)) => {
            let sign = if *value < 0 { "-" } else { "" };
            format!("{sign}{}", in_base(verb, value.unsigned_abs()))
        }
        ('b' | 'o' | 'x' | 'X', Value::Uint(value)) => in_base(verb, *value),
        ('x' | 'X', Value::Text(text)) => hexadecimal(verb, text.as_str().as_bytes(), budget)?,
        ('x' | 'X', Value::Bytes(bytes)) => hexadecimal(verb, bytes, budget)?,
        ('d' | 'b' | 'o' | 'x' | 'X', _) => return Err(misfit()),
        _ => return Err(Fault::new(format!("%{verb} is unknown; there are %s, %d, %f, %e, %b, %o, %x, %X and %%"))),
    })
}

#[expect(clippy::cast_precision_loss, reason = "as every language rounds it")]
fn double(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Double(value) => Some(*value),
        Value::Int(value) => Some(*value as f64),
        Value::Uint(value) => Some(*value as f64),
        _ => None,
    }
}

fn in_base(verb: char, value: u64) -> String {
    match verb {
        'b' => format!("{value:b}"),
        'o' => format!("{value:o}"),
        'x' => format!("{value:x}"),
        _ => format!("{value:X}"),
    }
}

fn hexadecimal(verb: char, bytes: &[u8], budget: &Budget) -> Result<String, Fault> {
    use std::fmt::Write;
    budget.spend(bytes.len())?;
    budget.hold(2 * bytes.len())?;
    let mut written = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let outcome = if verb == 'x' { write!(written, "{byte:02x}") } else { write!(written, "{byte:02X}") };
        outcome.map_err(|_| Fault::new("it cannot be written"))?;
    }
    Ok(written)
}

fn infinite(value: f64) -> &'static str {
    match value {
        value if value.is_nan() => "NaN",
        value if value > 0.0 => "Infinity",
        _ => "-Infinity",
    }
}

/// Anything as text.
fn plain(value: &Value<'_>, inner: bool, budget: &Budget) -> Result<String, Fault> {
    budget.spend(5)?;
    let written = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) if !value.is_finite() => infinite(*value).to_owned(),
        Value::Double(value) => value.to_string(),
        Value::Text(text) => text.as_str().to_owned(),
        Value::Bytes(bytes) => {
            // What is no text is written as three bytes.
            budget.hold(3 * bytes.len())?;
            String::from_utf8_lossy(bytes).into_owned()
        }
        Value::Timestamp(moment) => moment.to_string(),
        Value::Duration(nanoseconds) => time::seconds(*nanoseconds),
        Value::Type(name) => (*name).to_owned(),
        Value::List(items) => {
            let mut parts = Vec::new();
            for item in items.iter() {
                parts.push(plain(&item, true, budget)?);
            }
            format!("[{}]", parts.join(", "))
        }
        Value::Map(map) => {
            budget.hold_list(map.len().saturating_mul(2))?;
            let mut parts = Vec::new();
            for (key, value) in map.entries() {
                parts.push(format!("{}: {}", plain(&key, true, budget)?, plain(&value, true, budget)?));
            }
            parts.sort_unstable();
            format!("{{{}}}", parts.join(", "))
        }
        Value::Optional(_) => return Err(Fault::new("%s does not take optional_type")),
    };
    // Each level of a list writes its elements once more.
    budget.hold(written.len().saturating_mul(1 + usize::from(inner)))?;
    Ok(written)
}

/// The shortest text that is read as the same double, as Go's %g writes it: with an exponent from a million on.
pub fn shortest(value: f64) -> String {
    if !value.is_finite() {
        return match value {
            value if value.is_nan() => "NaN".to_owned(),
            value if value > 0.0 => "+Inf".to_owned(),
            _ => "-Inf".to_owned(),
        };
    }
    let scientific = format!("{value:e}");
    let power: i32 = scientific.split('e').nth(1).and_then(|power| power.parse().ok()).unwrap_or_default();
    if (-4..6).contains(&power) { value.to_string() } else { exponent(&scientific) }
}

/// An exponent with a sign and at least two digits.
fn exponent(scientific: &str) -> String {
    let (digits, power) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let (sign, power) = power.strip_prefix('-').map_or(('+', power), |power| ('-', power));
    format!("{digits}e{sign}{power:0>2}")
}
