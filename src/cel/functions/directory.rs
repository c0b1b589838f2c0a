//! The directory: who holds a role, who guarantees it, whom somebody answers to.

use super::{Call, Function, global, text, texts};
use crate::cel::Directory;
use crate::cel::evaluate::Outcome;
use crate::cel::fault::Fault;
use crate::cel::value::Value;

/// The table.
pub const FUNCTIONS: &[Function] = &[
    Function { directory: true, ..global("members", 1, 1, members) },
    Function { directory: true, ..global("guarantors", 1, 2, guarantors) },
    Function { directory: true, ..global("managers", 1, 1, managers) },
];

/// What a question to the directory is charged, whatever the answer.
const QUESTION: usize = 200;

fn members<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let role = named(&arguments[0])?;
    answer(call, |directory| directory.members(&role))
}

fn guarantors<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let role = named(&arguments[0])?;
    let type_ = arguments.get(1).map(text).transpose()?;
    answer(call, |directory| directory.guarantors(&role, type_))
}

fn managers<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let identity = named(&arguments[0])?;
    answer(call, |directory| directory.managers(&identity))
}

/// The name of a role or an Identity: itself, or its object's `metadata.name` or `name`.
fn named(value: &Value<'_>) -> Result<String, Fault> {
    let name = match value {
        Value::Map(map) => {
            let metadata = map.field("metadata");
            let inside = if let Some(Value::Map(metadata)) = metadata { metadata.field("name") } else { None };
            inside.or_else(|| map.field("name"))
        }
        value => Some(value.clone()),
    };
    match name {
        Some(Value::Text(name)) => Ok(name.as_str().to_owned()),
        Some(_) => Err(Fault::mismatch()),
        None => Err(Fault::new("the object has neither metadata.name nor name")),
    }
}

fn answer<'a>(call: &Call<'a>, ask: impl FnOnce(&dyn Directory) -> Vec<String>) -> Outcome<'a> {
    call.budget.spend(QUESTION)?;
    let directory = call.input.directory.as_deref().ok_or_else(|| Fault::new("there is no directory here"))?;
    let names = ask(directory);
    call.budget.spend(names.len())?;
    texts(names.iter().map(String::as_str), &call.budget)
}
