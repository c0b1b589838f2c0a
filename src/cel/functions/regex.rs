//! Regular expressions: matches, and Kubernetes' find and findAll.

use super::{Call, Function, global, int, member, text, texts};
use crate::cel::evaluate::Outcome;
use crate::cel::value::Value;

/// The table.
pub const FUNCTIONS: &[Function] = &[
    Function { pattern: true, ..member("matches", 2, 2, matches) },
    Function { pattern: true, ..global("matches", 2, 2, matches) },
    Function { pattern: true, ..member("find", 2, 2, find) },
    Function { pattern: true, ..member("findAll", 2, 3, find_all) },
];

fn matches<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let searched = text(&arguments[0])?;
    call.search(text(&arguments[1])?, |search| search.is_match(searched, &call.budget)).map(Value::Bool)
}

fn find<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let searched = text(&arguments[0])?;
    let found = call.search(text(&arguments[1])?, |search| search.found(searched, 1, &call.budget))?;
    Value::text(found.first().copied().unwrap_or_default(), &call.budget)
}

fn find_all<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let searched = text(&arguments[0])?;
    let most = arguments.get(2).map(int).transpose()?.unwrap_or(-1);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let found = call.search(text(&arguments[1])?, |search| search.found(searched, most, &call.budget))?;
    texts(found.into_iter(), &call.budget)
}
