//! Lists as sets (cel-go's sets extension), and the differences of two lists.

use super::lists::Lookup;
use super::{Call, Function, global, list, text};
use crate::cel::evaluate::Outcome;
use crate::cel::fault::Fault;
use crate::cel::value::{List, Value};
use std::rc::Rc;

/// The table.
pub const FUNCTIONS: &[Function] = &[
    global("sets.contains", 2, 2, |call, arguments| covers(call, &arguments[0], &arguments[1]).map(Value::Bool)),
    global("sets.equivalent", 2, 2, |call, arguments| {
        let both = covers(call, &arguments[0], &arguments[1])? && covers(call, &arguments[1], &arguments[0])?;
        Ok(Value::Bool(both))
    }),
    global("sets.intersects", 2, 2, intersects),
    global("added", 2, 2, |call, arguments| difference(call, &arguments[0], &arguments[1])),
    global("removed", 2, 2, |call, arguments| difference(call, &arguments[1], &arguments[0])),
    global("modified", 3, 3, modified),
];

fn covers<'a>(call: &Call<'a>, whole: &Value<'a>, part: &Value<'a>) -> Result<bool, Fault> {
    let lookup = Lookup::new(list(whole)?, &call.budget)?;
    for item in list(part)?.iter() {
        if !lookup.contains(&item, &call.budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn intersects<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let lookup = Lookup::new(list(&arguments[0])?, &call.budget)?;
    for item in list(&arguments[1])?.iter() {
        if lookup.contains(&item, &call.budget)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

/// A list of which null is the empty one: so an object says that it has none.
fn perhaps<'a>(value: &Value<'a>) -> Result<List<'a>, Fault> {
    match value {
        Value::Null => Ok(List::Json(&[])),
        value => list(value).cloned(),
    }
}

/// What is in one list and not in the other, in its order, each once.
fn difference<'a>(call: &Call<'a>, of: &Value<'a>, without: &Value<'a>) -> Outcome<'a> {
    let lookup = Lookup::new(&perhaps(without)?, &call.budget)?;
    let mut built = Vec::new();
    for item in perhaps(of)?.iter() {
        if !lookup.contains(&item, &call.budget)? {
            call.budget.hold_list(1)?;
            built.push(item);
        }
    }
    super::lists::distinct(&List::Owned(Rc::new(built)), &call.budget)
}

/// The elements of the new list whose key is in the old one, on elements that are all different from them.
fn modified<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let (new, old, name) = (perhaps(&arguments[0])?, perhaps(&arguments[1])?, text(&arguments[2])?);
    let budget = &call.budget;
    let key = |item: &Value<'a>| match item {
        Value::Map(map) => Ok(map.field(name)),
        other => {
            Err(Fault::new(format!("the lists have {} where maps with the field {name} belong", other.type_name())))
        }
    };
    budget.hold_list(old.len())?;
    let mut keys = Vec::new();
    for item in old.iter() {
        keys.extend(key(&item)?);
    }
    let (keys, whole) = (Lookup::new(&List::Owned(Rc::new(keys)), budget)?, Lookup::new(&old, budget)?);
    let mut built = Vec::new();
    for item in new.iter() {
        let Some(key) = key(&item)? else { continue };
        if keys.contains(&key, budget)? && !whole.contains(&item, budget)? {
            budget.hold_list(1)?;
            built.push(item);
        }
    }
    super::lists::distinct(&List::Owned(Rc::new(built)), budget)
}
