//! Text: cel-go's strings extension. Positions count characters, not bytes.

use super::{Call, Function, format, global, int, length, list, member, position, text, texts};
use crate::cel::evaluate::Outcome;
use crate::cel::fault::Fault;
use crate::cel::value::Value;

/// The table.
pub const FUNCTIONS: &[Function] = &[
    member("contains", 2, 2, |call, arguments| test(call, arguments, |text, part| text.contains(part))),
    member("startsWith", 2, 2, |call, arguments| test(call, arguments, |text, part| text.starts_with(part))),
    member("endsWith", 2, 2, |call, arguments| test(call, arguments, |text, part| text.ends_with(part))),
    member("charAt", 2, 2, char_at),
    member("indexOf", 2, 3, index_of),
    member("lastIndexOf", 2, 3, last_index_of),
    member("join", 1, 2, join),
    member("lowerAscii", 1, 1, |call, arguments| changed(call, arguments, str::to_ascii_lowercase)),
    member("upperAscii", 1, 1, |call, arguments| changed(call, arguments, str::to_ascii_uppercase)),
    member("trim", 1, 1, |call, arguments| changed(call, arguments, |text| text.trim().to_owned())),
    member("replace", 3, 4, replace),
    member("split", 2, 3, split),
    member("substring", 2, 3, substring),
    member("reverse", 1, 1, reverse),
    member("format", 2, 2, format::format),
    global("strings.quote", 1, 1, quote),
];

fn test<'a>(call: &Call<'a>, arguments: &[Value<'a>], holds: fn(&str, &str) -> bool) -> Outcome<'a> {
    let (text, part) = (text(&arguments[0])?, text(&arguments[1])?);
    call.budget.scan(text.len() + part.len())?;
    Ok(Value::Bool(holds(text, part)))
}

fn changed<'a>(call: &Call<'a>, arguments: &[Value<'a>], change: fn(&str) -> String) -> Outcome<'a> {
    let text = text(&arguments[0])?;
    call.budget.scan(text.len())?;
    call.budget.hold(text.len())?;
    Value::text(&change(text), &call.budget)
}

fn char_at<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let text = text(&arguments[0])?;
    call.budget.scan(text.len())?;
    let at = position(&arguments[1], text.chars().count())?;
    let letter = text.chars().nth(at).map(String::from).unwrap_or_default();
    Value::text(&letter, &call.budget)
}

/// The byte that a character begins at; the end for the one after the last.
fn byte(text: &str, character: usize) -> usize {
    text.char_indices().nth(character).map_or(text.len(), |(byte, _)| byte)
}

/// How many characters come before a byte.
fn characters<'a>(text: &str, byte: Option<usize>) -> Value<'a> {
    byte.map_or(Value::Int(-1), |byte| length(text[..byte].chars().count()))
}

fn index_of<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    if let Value::List(_) = arguments[0] {
        return super::lists::index_of(call, arguments);
    }
    let (text, part) = (text(&arguments[0])?, text(&arguments[1])?);
    call.budget.scan(3 * text.len() + part.len())?;
    let from = arguments.get(2).map_or(Ok(Some(0)), |from| reached(text, from))?;
    Ok(match from {
        Some(from) => characters(text, text[from..].find(part).map(|found| from + found)),
        None if part.is_empty() => characters(text, Some(text.len())),
        None => Value::Int(-1),
    })
}

fn last_index_of<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    if let Value::List(_) = arguments[0] {
        return super::lists::last_index_of(call, arguments);
    }
    let (text, part) = (text(&arguments[0])?, text(&arguments[1])?);
    call.budget.scan(3 * text.len() + part.len())?;
    let last = arguments.get(2).map_or(Ok(Some(text.len())), |last| reached(text, last))?;
    let inside = last.filter(|last| arguments.len() == 2 || *last < text.len());
    Ok(match inside {
        // It may begin at that position, not later.
        Some(last) => characters(text, text[..text.floor_char_boundary(last + part.len())].rfind(part)),
        None if part.is_empty() => characters(text, Some(text.len())),
        None => Value::Int(-1),
    })
}

/// The byte of a position; none when it is after the end.
fn reached(text: &str, position: &Value<'_>) -> Result<Option<usize>, Fault> {
    let given = int(position)?;
    let given = usize::try_from(given).map_err(|_| Fault::new(format!("position {given} is negative")))?;
    Ok((given <= text.chars().count()).then(|| byte(text, given)))
}

fn join<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let items = list(&arguments[0])?;
    let separator = arguments.get(1).map(text).transpose()?.unwrap_or_default();
    call.budget.spend(items.len())?;
    let mut joined = String::new();
    for (number, item) in items.iter().enumerate() {
        let item = text(&item)?.to_owned();
        call.budget.hold(2 * item.len() + separator.len())?;
        if number > 0 {
            joined.push_str(separator);
        }
        joined.push_str(&item);
    }
    Value::text(&joined, &call.budget)
}

fn replace<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let (text, from, to) = (text(&arguments[0])?, text(&arguments[1])?, text(&arguments[2])?);
    let most = arguments.get(3).map(int).transpose()?.unwrap_or(-1);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    call.budget.scan(text.len() + from.len())?;
    // Nothing is found before each character and at the end.
    let count = if from.is_empty() { text.chars().count() + 1 } else { text.matches(from).count() }.min(most);
    call.budget.hold(text.len().saturating_add(count.saturating_mul(to.len())))?;
    call.budget.spend(count)?;
    Value::text(&text.replacen(from, to, most), &call.budget)
}

fn split<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let (text, separator) = (text(&arguments[0])?, text(&arguments[1])?);
    let most = arguments.get(2).map(int).transpose()?.unwrap_or(-1);
    call.budget.scan(text.len() + separator.len())?;
    if most == 0 {
        return Ok(Value::list(Vec::new()));
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let count = if separator.is_empty() { text.chars().count() } else { text.matches(separator).count() + 1 }.min(most);
    call.budget.hold(count.saturating_mul(16))?;
    call.budget.spend(count)?;
    let parts: Vec<&str> = if separator.is_empty() {
        // Between all characters; what is over the number stays together.
        let mut rest = text;
        let mut parts = Vec::with_capacity(count);
        while let (Some(letter), true) = (rest.chars().next(), parts.len() + 1 < count) {
            let (part, after) = rest.split_at(letter.len_utf8());
            parts.push(part);
            rest = after;
        }
        parts.extend((!rest.is_empty()).then_some(rest));
        parts
    } else {
        text.splitn(most, separator).collect()
    };
    texts(parts.into_iter(), &call.budget)
}

fn substring<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let text = text(&arguments[0])?;
    call.budget.scan(3 * text.len())?;
    let length = text.chars().count();
    let from = position(&arguments[1], length)?;
    let to = arguments.get(2).map_or(Ok(length), |to| position(to, length))?;
    if from > to {
        return Err(Fault::new(format!("it would begin at {from}, after its end at {to}")));
    }
    Value::text(&text[byte(text, from)..byte(text, to)], &call.budget)
}

fn reverse<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    match &arguments[0] {
        Value::List(items) => {
            call.budget.hold_list(items.len())?;
            call.budget.spend(items.len() / 2)?;
            Ok(Value::list(items.iter().rev().collect()))
        }
        _ => changed(call, arguments, |text| text.chars().rev().collect()),
    }
}

fn quote<'a>(call: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let text = text(&arguments[0])?;
    call.budget.scan(4 * text.len())?;
    call.budget.hold(2 * text.len())?;
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    Value::text(&quoted, &call.budget)
}
