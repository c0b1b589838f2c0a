//! What changes between two objects, for people: bounded, and without the values that nobody may see.

use crate::api::Difference;
use serde_json::Value;

/// What stands for a value that nobody may see.
pub const REDACTED: &str = "(redacted)";

/// How many differences are kept.
const MOST: usize = 64;
/// How long a value may be, in bytes.
const VALUE: usize = 512;
/// How long a place may be, in bytes.
const PATH: usize = 1024;
/// How long all of them together may be, in bytes.
const TOTAL: usize = 16 * 1024;

/// An object with the values at these pointers replaced, where a segment `*` stands for every item of a list and every field. Keys
/// and the lengths of lists stay.
#[must_use]
pub fn redact(mut object: Value, pointers: &[String]) -> Value {
    for pointer in pointers {
        let segments: Vec<String> =
            pointer.split('/').skip(1).map(|segment| segment.replace("~1", "/").replace("~0", "~")).collect();
        blank_at(&mut object, &segments);
    }
    object
}

fn blank_at(value: &mut Value, segments: &[String]) {
    let Some((segment, rest)) = segments.split_first() else { return blank(value) };
    match value {
        Value::Object(fields) if segment == "*" => fields.values_mut().for_each(|field| blank_at(field, rest)),
        Value::Array(items) if segment == "*" => items.iter_mut().for_each(|item| blank_at(item, rest)),
        Value::Object(fields) => {
            if let Some(field) = fields.get_mut(segment) {
                blank_at(field, rest);
            }
        }
        Value::Array(items) => {
            if let Some(item) = segment.parse::<usize>().ok().and_then(|index| items.get_mut(index)) {
                blank_at(item, rest);
            }
        }
        _ => {}
    }
}

/// What is wrong with a pointer to what nobody may see; none where it names the same thing wherever that stands.
#[must_use]
pub fn moves(pointer: &str) -> Option<String> {
    let place = pointer.split('/').skip(1).find(|segment| segment.parse::<usize>().is_ok())?;
    Some(format!(
        "{pointer}: {place} is a place in a list, and what stands there moves; write * for every item, as in {}",
        pointer.split('/').map(|segment| if segment == place { "*" } else { segment }).collect::<Vec<_>>().join("/")
    ))
}

fn blank(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(blank),
        Value::Array(items) => items.iter_mut().for_each(blank),
        other => *other = REDACTED.into(),
    }
}

/// What changes from the old object to the new one. A redacted value that changes is named, not told.
#[must_use]
pub fn differences(old: &Value, new: &Value, pointers: &[String]) -> Vec<Difference> {
    let shown = (redact(old.clone(), pointers), redact(new.clone(), pointers));
    let mut found = Found::default();
    found.walk("", (Some(old), Some(new)), (Some(&shown.0), Some(&shown.1)));
    found.bounded()
}

/// Two values, or one where the other is missing.
type Pair<'a> = (Option<&'a Value>, Option<&'a Value>);

#[derive(Default)]
struct Found {
    list: Vec<Difference>,
    length: usize,
    more: usize,
}

impl Found {
    /// `real` decides what differs, `shown` is what people see of it: both have the same shape.
    fn walk<'a>(&mut self, path: &str, real: Pair<'a>, shown: Pair<'a>) {
        match real {
            (old, new) if old == new => {}
            (Some(Value::Object(old)), Some(Value::Object(new))) => {
                let keys = old.keys().chain(new.keys().filter(|key| !old.contains_key(*key)));
                for key in keys {
                    let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
                    let below = |of: Option<&'a Value>| of?.get(key);
                    self.walk(&path, (old.get(key), new.get(key)), (below(shown.0), below(shown.1)));
                }
            }
            (Some(Value::Array(old)), Some(Value::Array(new))) => {
                for index in 0..old.len().max(new.len()) {
                    let below = |of: Option<&'a Value>| of?.get(index);
                    let path = format!("{path}/{index}");
                    self.walk(&path, (old.get(index), new.get(index)), (below(shown.0), below(shown.1)));
                }
            }
            _ => self.note(path, shown),
        }
    }

    fn note(&mut self, path: &str, shown: Pair<'_>) {
        let told = |value: Option<&Value>| value.map(|value| cut(value.to_string(), VALUE));
        let difference = Difference { path: cut(path.to_owned(), PATH), from: told(shown.0), to: told(shown.1) };
        let length = difference.path.len()
            + difference.from.as_ref().map_or(0, String::len)
            + difference.to.as_ref().map_or(0, String::len);
        if self.list.len() + 1 < MOST && self.length + length <= TOTAL {
            self.length += length;
            self.list.push(difference);
        } else {
            self.more += 1;
        }
    }

    fn bounded(mut self) -> Vec<Difference> {
        if self.more > 0 {
            let more = format!("{} more fields change", self.more);
            self.list.push(Difference { path: String::new(), from: None, to: Some(more) });
        }
        self.list
    }
}

/// At most so many bytes of a text, and a sign that something is left out.
#[must_use]
pub fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        let mut end = most - '…'.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Difference, MOST, REDACTED, TOTAL, differences, moves, redact};
    use serde_json::{Value, json};

    fn told(list: &[Difference]) -> Vec<String> {
        let side = |value: &Option<String>| value.clone().unwrap_or_default();
        list.iter().map(|one| format!("{} {} → {}", one.path, side(&one.from), side(&one.to))).collect()
    }

    #[test]
    fn r55_keys_stay_and_values_go() {
        let object = json!({"data": {"password": "hunter2"}, "list": [{"key": 1}, null], "kind": "Secret"});
        let pointers = ["/data".to_owned(), "/list".to_owned(), "/missing".to_owned()];
        let expected = json!({"data": {"password": REDACTED}, "list": [{"key": REDACTED}, REDACTED], "kind": "Secret"});
        assert_eq!(redact(object, &pointers), expected);
    }

    #[test]
    fn r55_what_is_redacted_in_lists_stays_so_wherever_it_moves() {
        let pointers = ["/spec/containers/*/env/*/value".to_owned()];
        let env = |list: Value| json!({"spec": {"containers": [{"env": list}]}});
        let old = env(json!([{"name": "a", "value": "hunter2"}]));
        let new = env(json!([{"name": "b", "value": "x"}, {"name": "a", "value": "hunter2"}]));
        let hidden = env(json!([{"name": "b", "value": REDACTED}, {"name": "a", "value": REDACTED}]));
        assert_eq!(redact(new.clone(), &pointers), hidden);
        let told = told(&differences(&old, &new, &pointers)).join(" ");
        assert!(!told.contains("hunter2"), "{told}");
        let why = moves("/spec/containers/0/env/*/value").expect("a place in a list");
        assert!(why.contains("/spec/containers/*/env/*/value"), "{why}");
        assert_eq!(moves("/spec/containers/*/env/*/value"), None);
    }

    #[test]
    fn only_what_changes_is_told_and_no_redacted_value() {
        let old = json!({"a": {"b/c": 1, "same": [1]}, "data": {"key": "one"}, "list": [1, 2]});
        let new = json!({"a": {"b/c": 2, "same": [1]}, "data": {"key": "two", "other": "three"}, "list": [1]});
        let told = told(&differences(&old, &new, &["/data".to_owned()]));
        let word = format!("\"{REDACTED}\"");
        assert_eq!(
            told,
            [
                "/a/b~1c 1 → 2".to_owned(),
                format!("/data/key {word} → {word}"),
                format!("/data/other  → {word}"),
                "/list/1 2 → ".to_owned()
            ]
        );
    }

    #[test]
    fn attack_37_what_is_told_is_bounded() {
        let many: Value = (0..1000).map(|number| (format!("key-{number}"), json!("x".repeat(2000)))).collect();
        let list = differences(&json!({}), &many, &[]);
        assert!(list.len() <= MOST);
        let length: usize = told(&list).iter().map(String::len).sum();
        assert!(length < TOTAL + 4096, "{length}");
        let told = list.last().and_then(|last| last.to.clone()).unwrap_or_default();
        assert!(told.ends_with("more fields change"), "{told}");
    }
}
