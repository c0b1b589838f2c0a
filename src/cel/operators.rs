//! Operators, equality and order. Numbers are compared by what they are worth, whatever their types; whole numbers never wrap.

use super::budget::Budget;
use super::evaluate::Outcome;
use super::fault::Fault;
use super::functions::time;
use super::value::{Map, Value};
use std::cmp::Ordering;

/// What an operator between two values comes to.
pub fn binary<'a>(sign: &str, left: &Value<'a>, right: &Value<'a>, budget: &Budget) -> Outcome<'a> {
    Ok(match sign {
        "==" => Value::Bool(equal(left, right, budget)?),
        "!=" => Value::Bool(!equal(left, right, budget)?),
        "in" => Value::Bool(contains(left, right, budget)?),
        "<" => Value::Bool(compare(left, right, budget)?.is_some_and(Ordering::is_lt)),
        "<=" => Value::Bool(compare(left, right, budget)?.is_some_and(Ordering::is_le)),
        ">" => Value::Bool(compare(left, right, budget)?.is_some_and(Ordering::is_gt)),
        ">=" => Value::Bool(compare(left, right, budget)?.is_some_and(Ordering::is_ge)),
        "+" => return add(left, right, budget),
        sign => return arithmetic(sign, left, right),
    })
}

/// `-operand`.
pub fn negate<'a>(operand: &Value<'a>) -> Outcome<'a> {
    match operand {
        Value::Int(value) => value.checked_neg().map(Value::Int).ok_or_else(overflow),
        Value::Double(value) => Ok(Value::Double(-value)),
        other => Err(Fault::new(format!("- is not defined for {}", other.type_name()))),
    }
}

fn overflow() -> Fault {
    Fault::new("the result is too large")
}

fn add<'a>(left: &Value<'a>, right: &Value<'a>, budget: &Budget) -> Outcome<'a> {
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => {
            let (left, right) = (left.as_str(), right.as_str());
            budget.hold(left.len() + right.len())?;
            Value::text(&[left, right].concat(), budget)
        }
        (Value::Bytes(left), Value::Bytes(right)) => {
            budget.hold(left.len() + right.len())?;
            Value::bytes(&[left.as_ref(), right.as_ref()].concat(), budget)
        }
        (Value::List(left), Value::List(right)) => {
            budget.hold_list(left.len() + right.len())?;
            budget.spend(left.len().midpoint(right.len()))?;
            Ok(Value::list(left.iter().chain(right.iter()).collect()))
        }
        _ => arithmetic("+", left, right),
    }
}

fn arithmetic<'a>(sign: &str, left: &Value<'a>, right: &Value<'a>) -> Outcome<'a> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => whole_numbers(sign, *left, *right).map(Value::Int),
        (Value::Uint(left), Value::Uint(right)) => {
            let result = match sign {
                "+" => left.checked_add(*right),
                "-" => left.checked_sub(*right),
                "*" => left.checked_mul(*right),
                _ if *right == 0 => return Err(by_zero(sign)),
                "/" => Some(left / right),
                _ => Some(left % right),
            };
            result.map(Value::Uint).ok_or_else(overflow)
        }
        (Value::Double(left), Value::Double(right)) => Ok(Value::Double(match sign {
            "+" => left + right,
            "-" => left - right,
            "*" => left * right,
            "/" => left / right,
            _ => return Err(Fault::mismatch()),
        })),
        _ => time::arithmetic(sign, left, right),
    }
}

fn whole_numbers(sign: &str, left: i64, right: i64) -> Result<i64, Fault> {
    let result = match sign {
        "+" => left.checked_add(right),
        "-" => left.checked_sub(right),
        "*" => left.checked_mul(right),
        _ if right == 0 => return Err(by_zero(sign)),
        "/" => left.checked_div(right),
        _ => left.checked_rem(right),
    };
    result.ok_or_else(overflow)
}

fn by_zero(sign: &str) -> Fault {
    Fault::new(if sign == "/" { "division by zero" } else { "remainder of a division by zero" })
}

/// The whole number that a number is worth.
pub fn whole(value: &Value<'_>) -> Option<i128> {
    match value {
        Value::Int(value) => Some(i128::from(*value)),
        Value::Uint(value) => Some(i128::from(*value)),
        Value::Double(value) if value.fract() == 0.0 && value.abs() < 1e30 => Some(truncated(*value)),
        _ => None,
    }
}

/// A double without its fraction; its amount is below 1e30.
#[expect(clippy::cast_possible_truncation, reason = "checked by those who call")]
fn truncated(value: f64) -> i128 {
    value as i128
}

/// How two numbers compare, exactly; none when one of them is not a number.
fn numbers(left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
    match (left, right) {
        (Value::Double(left), Value::Double(right)) => left.partial_cmp(right),
        (Value::Double(left), right) => numbers(right, &Value::Double(*left)).map(Ordering::reverse),
        (left, Value::Double(right)) => {
            if right.is_nan() {
                return None;
            }
            let bound = 1e30;
            if right.abs() >= bound {
                return Some(if *right > 0.0 { Ordering::Less } else { Ordering::Greater });
            }
            let floor = right.floor();
            let order = whole(left)?.cmp(&truncated(floor));
            // Equal to the floor of a fraction is less than the fraction.
            Some(if order.is_eq() && floor < *right { Ordering::Less } else { order })
        }
        (left, right) => Some(whole(left)?.cmp(&whole(right)?)),
    }
}

fn is_number(value: &Value<'_>) -> bool {
    matches!(value, Value::Int(_) | Value::Uint(_) | Value::Double(_))
}

/// How two values compare that have an order: numbers, text, bytes, bools, moments, durations.
pub fn compare(left: &Value<'_>, right: &Value<'_>, budget: &Budget) -> Result<Option<Ordering>, Fault> {
    Ok(match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (left, right) if is_number(left) && is_number(right) => numbers(left, right),
        (Value::Text(left), Value::Text(right)) => {
            budget.scan(left.as_str().len().min(right.as_str().len()))?;
            Some(left.as_str().cmp(right.as_str()))
        }
        (Value::Bytes(left), Value::Bytes(right)) => {
            budget.scan(left.len().min(right.len()))?;
            Some(left.cmp(right))
        }
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Timestamp(left), Value::Timestamp(right)) => Some(left.cmp(right)),
        (Value::Duration(left), Value::Duration(right)) => Some(left.cmp(right)),
        _ => return Err(Fault::mismatch()),
    })
}

/// Whether two values are equal; values of different types are not, save for numbers.
pub fn equal(left: &Value<'_>, right: &Value<'_>, budget: &Budget) -> Result<bool, Fault> {
    budget.spend(1)?;
    Ok(match (left, right) {
        (Value::Int(left), Value::Int(right)) => left == right,
        (Value::Null, Value::Null) => true,
        (Value::Type(left), Value::Type(right)) => left == right,
        (Value::Optional(left), Value::Optional(right)) => match (left, right) {
            (Some(left), Some(right)) => equal(left, right, budget)?,
            (left, right) => left.is_none() && right.is_none(),
        },
        (Value::Text(left), Value::Text(right)) if left.as_str().len() != right.as_str().len() => false,
        (Value::List(left), Value::List(right)) => {
            if left.len() != right.len() {
                return Ok(false);
            }
            budget.spend(left.len() / 2)?;
            for (left, right) in left.iter().zip(right.iter()) {
                if !equal(&left, &right, budget)? {
                    return Ok(false);
                }
            }
            true
        }
        // Comparing maps looks each key up.
        (Value::Map(left), Value::Map(right)) => {
            if left.len() != right.len() {
                return Ok(false);
            }
            budget.hold_list(left.len().saturating_mul(2))?;
            budget.spend(left.len().saturating_mul(8))?;
            for (key, value) in left.entries() {
                match right.get(&key, budget)? {
                    Some(other) if equal(&value, &other, budget)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (left, right) => match compare(left, right, budget) {
            Ok(order) => order.is_some_and(Ordering::is_eq),
            Err(fault) => match budget.exhausted() {
                Some(_) => return Err(fault),
                None => false,
            },
        },
    })
}

/// Whether two keys of maps are the same; both are text, bools or numbers.
pub fn same_key(left: &Value<'_>, right: &Value<'_>) -> bool {
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => left.as_str() == right.as_str(),
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (left, right) => is_number(left) && is_number(right) && numbers(left, right).is_some_and(Ordering::is_eq),
    }
}

fn contains(element: &Value<'_>, whole: &Value<'_>, budget: &Budget) -> Result<bool, Fault> {
    match whole {
        Value::List(items) => {
            for item in items.iter() {
                if equal(element, &item, budget)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Value::Map(map) => Ok(map.get(element, budget)?.is_some()),
        _ => Err(Fault::mismatch()),
    }
}

/// A total order over all values in which what is equal for [`equal`] is equal, for looking things up: by kind first.
/// It takes no budget; who sorts pays for [`weight`] before.
pub fn order(left: &Value<'_>, right: &Value<'_>) -> Ordering {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => left.cmp(right),
        (left, right) if is_number(left) && is_number(right) => numbers(left, right).unwrap_or_else(|| {
            let not_a_number = |value: &Value<'_>| matches!(value, Value::Double(value) if value.is_nan());
            not_a_number(left).cmp(&not_a_number(right))
        }),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Text(left), Value::Text(right)) => left.as_str().cmp(right.as_str()),
        (Value::Bytes(left), Value::Bytes(right)) => left.cmp(right),
        (Value::Timestamp(left), Value::Timestamp(right)) => left.cmp(right),
        (Value::Duration(left), Value::Duration(right)) => left.cmp(right),
        (Value::Type(left), Value::Type(right)) => left.cmp(right),
        (Value::List(left), Value::List(right)) => {
            let differing = left.iter().zip(right.iter()).map(|(left, right)| order(&left, &right));
            let differing = differing.into_iter().find(|order| order.is_ne());
            differing.unwrap_or_else(|| left.len().cmp(&right.len()))
        }
        (Value::Map(left), Value::Map(right)) => {
            left.len().cmp(&right.len()).then_with(|| order(&sorted_entries(left), &sorted_entries(right)))
        }
        (Value::Optional(left), Value::Optional(right)) => match (left, right) {
            (Some(left), Some(right)) => order(left, right),
            (left, right) => left.is_some().cmp(&right.is_some()),
        },
        (left, right) => kind(left).cmp(&kind(right)),
    }
}

/// Keys and values as a list of pairs in the order of the keys.
fn sorted_entries<'a>(map: &Map<'a>) -> Value<'a> {
    let pairs = map.entries().into_iter().map(|(key, value)| Value::list(Vec::from([key, value])));
    let mut pairs: Vec<_> = pairs.collect();
    pairs.sort_by(order);
    Value::list(pairs)
}

fn kind(value: &Value<'_>) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Int(_) | Value::Uint(_) | Value::Double(_) => 2,
        Value::Text(_) => 3,
        Value::Bytes(_) => 4,
        Value::List(_) => 5,
        Value::Map(_) => 6,
        Value::Timestamp(_) => 7,
        Value::Duration(_) => 8,
        Value::Optional(_) => 9,
        Value::Type(_) => 10,
    }
}

/// The steps that it takes to look at all of a value. Counting takes steps as well.
pub fn weight(value: &Value<'_>, budget: &Budget) -> Result<usize, Fault> {
    budget.spend(1)?;
    Ok(match value {
        Value::Text(text) => 1 + text.as_str().len() / 64,
        Value::Bytes(bytes) => 1 + bytes.len() / 64,
        Value::List(items) => {
            let mut sum = 1;
            for item in items.iter() {
                sum += weight(&item, budget)?;
            }
            sum
        }
        Value::Map(map) => {
            budget.hold_list(map.len().saturating_mul(2))?;
            let mut sum = 1;
            for (key, value) in map.entries() {
                // Comparing maps builds lists of their entries.
                sum += 8 + weight(&key, budget)? + weight(&value, budget)?;
            }
            sum
        }
        Value::Optional(Some(value)) => weight(value, budget)?,
        _ => 1,
    })
}
