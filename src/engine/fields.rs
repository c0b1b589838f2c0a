//! What an approval records: six types of fields, their limits, and their values as expressions see them (requirement R13).

use super::Facts;
use crate::api::{CountedDecision, Decision, Field, FieldType};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use url::Url;

/// The most digits of a short number.
const SHORT_DIGITS: usize = 6;

/// The longest value, in bytes.
const MAX_VALUE: usize = 4096;

/// What is wrong with the fields of a partition: the place within them, and what to do.
pub(super) fn faults(fields: &[Field]) -> Vec<(String, String)> {
    let mut faults = Vec::new();
    let mut names = BTreeSet::new();
    for field in fields {
        let place = format!(".fields[{}]", field.name);
        if !names.insert(&field.name) {
            faults.push((place.clone(), "another field has this name; field names are unique".to_owned()));
        }
        let radio = field.type_ == FieldType::RadioButton;
        if radio && field.options.is_empty() {
            faults.push((format!("{place}.options"), "a RadioButton needs options to choose from".to_owned()));
        }
        if !radio && !field.options.is_empty() {
            faults.push((
                format!("{place}.options"),
                "options go with the type RadioButton alone; remove them".to_owned(),
            ));
        }
        let options: BTreeSet<_> = field.options.iter().collect();
        if options.len() < field.options.len() {
            faults.push((format!("{place}.options"), "an option is listed twice; options are unique".to_owned()));
        }
        if field.must_be.is_some() && field.type_ != FieldType::CheckBox {
            faults.push((format!("{place}.mustBe"), "goes with the type CheckBox alone; remove it".to_owned()));
        }
    }
    faults
}

/// Whether the values may go with a decision. Each value that is given must be right; what is required, and what a check box must
/// say, only matters to an approval (semantics.md 10).
///
/// # Errors
/// The field, its value and its limit, for people.
pub(super) fn accept(
    partition: &str,
    fields: &[Field],
    decision: Decision,
    given: &BTreeMap<String, String>,
) -> Result<(), String> {
    for name in given.keys() {
        if !fields.iter().any(|field| field.name == *name) {
            let names: Vec<_> = fields.iter().map(|field| field.name.as_str()).collect();
            let known =
                if names.is_empty() { "it has none".to_owned() } else { format!("fields are {}", names.join(", ")) };
            return Err(format!("partition {partition}: there is no field {name}; {known}"));
        }
    }
    for field in fields {
        let place = format!("partition {partition}: field {}", field.name);
        let value = given.get(&field.name);
        if let Some(value) = value {
            acceptable(field, value).map_err(|why| format!("{place}: {why}"))?;
        }
        if decision != Decision::Approve {
            continue;
        }
        match (value, field.must_be) {
            (None, Some(must)) => return Err(format!("{place} is missing; an approval must say \"{must}\"")),
            (Some(value), Some(must)) if *value != must.to_string() => {
                return Err(format!("{place}: is {value}; an approval must say \"{must}\""));
            }
            (None, None) if field.required => {
                return Err(format!("{place} is missing; an approval needs {}", wanted(field)));
            }
            _ => {}
        }
    }
    Ok(())
}

fn wanted(field: &Field) -> String {
    match field.type_ {
        FieldType::CheckBox => "\"true\" or \"false\"".to_owned(),
        FieldType::NumberShort => format!("a whole number of at most {SHORT_DIGITS} digits"),
        FieldType::NumberLong => "a whole number".to_owned(),
        FieldType::RadioButton => format!("one of {}", field.options.join(", ")),
        FieldType::Text => "a text".to_owned(),
        FieldType::URL => "a link that begins with https:// or http://".to_owned(),
    }
}

fn acceptable(field: &Field, value: &str) -> Result<(), String> {
    if value.len() > MAX_VALUE {
        return Err(format!("has {} bytes, at most {MAX_VALUE}", value.len()));
    }
    let shown: String = value.chars().take(80).collect();
    match field.type_ {
        FieldType::CheckBox if value == "true" || value == "false" => Ok(()),
        FieldType::CheckBox => Err(format!("{shown:?} is neither \"true\" nor \"false\"")),
        FieldType::NumberShort => match digits(value) {
            Some(count) if count <= SHORT_DIGITS => Ok(()),
            Some(count) => Err(format!("{shown} has {count} digits, at most {SHORT_DIGITS}")),
            None => Err(format!("{shown:?} is no whole number")),
        },
        FieldType::NumberLong if digits(value).is_none() => Err(format!("{shown:?} is no whole number")),
        FieldType::NumberLong => value
            .parse::<i64>()
            .map(|_| ())
            .map_err(|_| format!("{shown} is out of range; it must lie between {} and {}", i64::MIN, i64::MAX)),
        FieldType::RadioButton if field.options.iter().any(|option| option == value) => Ok(()),
        FieldType::RadioButton => Err(format!("{shown:?} is none of the options: {}", field.options.join(", "))),
        FieldType::Text if field.required && value.trim().is_empty() => Err("is empty; it is required".to_owned()),
        FieldType::Text => Ok(()),
        FieldType::URL => link(value).map_err(|why| format!("{shown:?} {why}")),
    }
}

/// How many digits a whole number has; none when it is something else.
fn digits(value: &str) -> Option<usize> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    (!digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())).then_some(digits.len())
}

/// A link that is safe to show to others: http or https, nothing hidden in it (attack 40).
fn link(value: &str) -> Result<(), &'static str> {
    if value.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
        return Err("holds spaces or control characters; a link has none");
    }
    let url = Url::parse(value).map_err(|_| "is no link; write it in full, such as https://example.com/file")?;
    let written = value.to_ascii_lowercase();
    if !(written.starts_with("https://") || written.starts_with("http://")) || !url.has_host() {
        return Err("is no web link; it must begin with https:// or http://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user name or password; leave them out");
    }
    Ok(())
}

/// The recorded values with their types, as expressions see them: a check box is a bool, a number an int, the rest text.
pub(super) fn typed(facts: &Facts<'_>, decision: &CountedDecision, given: &BTreeMap<String, String>) -> Value {
    let graph = match &facts.definition {
        super::Definition::Usable { graph, .. } => Some(*graph),
        _ => None,
    };
    let step = graph.and_then(|graph| graph.step(&decision.step));
    let rule = step.and_then(|step| step.partition(&decision.partition));
    let values = given.iter().map(|(name, value)| {
        let field = rule.and_then(|rule| rule.fields.iter().find(|field| field.name == *name));
        let typed = match field.map(|field| field.type_) {
            Some(FieldType::CheckBox) => value.parse::<bool>().map_or(Value::Null, Value::from),
            Some(FieldType::NumberShort | FieldType::NumberLong) => {
                value.parse::<i64>().map_or(Value::Null, Value::from)
            }
            Some(FieldType::RadioButton | FieldType::Text | FieldType::URL) | None => Value::from(value.as_str()),
        };
        (name.clone(), typed)
    });
    Value::Object(values.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::accept;
    use crate::api::{Decision, Field, FieldType};
    use std::collections::BTreeMap;

    fn judge(type_: FieldType, value: &str) -> Result<(), String> {
        let options = vec!["passport".to_owned(), "id-card".to_owned()];
        let options = if type_ == FieldType::RadioButton { options } else { Vec::new() };
        let field = Field { name: "f".to_owned(), type_, options, required: true, ..Field::default() };
        let given = BTreeMap::from([("f".to_owned(), value.to_owned())]);
        accept("identity", &[field], Decision::Approve, &given)
    }

    #[test]
    fn r13_each_type_has_its_limits() {
        use FieldType::{CheckBox, NumberLong, NumberShort, RadioButton, Text, URL};
        for (type_, value) in [
            (CheckBox, "true"),
            (CheckBox, "false"),
            (NumberShort, "0"),
            (NumberShort, "999999"),
            (NumberShort, "-999999"),
            (NumberLong, "9223372036854775807"),
            (NumberLong, "-9223372036854775808"),
            (RadioButton, "passport"),
            (Text, "Žluťoučký kůň"),
            (URL, "https://example.com/a?b=c#d"),
            (URL, "HTTP://example.com"),
        ] {
            assert_eq!(judge(type_, value), Ok(()), "{type_:?} {value}");
        }
        for (type_, value, told) in [
            (CheckBox, "yes", "neither"),
            (CheckBox, "True", "neither"),
            (NumberShort, "1234567", "1234567 has 7 digits, at most 6"),
            (NumberShort, "1.5", "no whole number"),
            (NumberShort, "", "no whole number"),
            (NumberShort, "+1", "no whole number"),
            (NumberShort, "٣", "no whole number"),
            (NumberLong, "9223372036854775808", "out of range"),
            (NumberLong, "0x10", "no whole number"),
            (RadioButton, "Passport", "none of the options"),
            (Text, "  ", "empty"),
            (Text, &"x".repeat(4097), "4097 bytes, at most 4096"),
            (URL, "javascript:alert(1)", "no web link"),
            (URL, "data:text/html,x", "no web link"),
            (URL, "https:example.com", "no web link"),
            (URL, "ftp://example.com", "no web link"),
            (URL, "https://", "no link"),
            (URL, "example.com", "no link"),
            (URL, "https://example.com/\r\nX", "control characters"),
            (URL, " https://example.com", "spaces"),
            (URL, "https://user:pass@example.com", "password"),
        ] {
            let refused = judge(type_, value).expect_err(value);
            assert!(refused.starts_with("partition identity: field f"), "{refused}");
            assert!(refused.contains(told), "{type_:?} {value}: {refused}");
        }
    }

    #[test]
    fn rule10_fields_are_needed_to_approve_and_not_to_reject() {
        let field =
            |type_, required, must_be| Field { name: "f".to_owned(), type_, required, must_be, ..Field::default() };
        let none = BTreeMap::new();
        let text = [field(FieldType::Text, true, None)];
        assert!(accept("p", &text, Decision::Approve, &none).is_err());
        assert_eq!(accept("p", &text, Decision::Reject, &none), Ok(()));
        let tick = [field(FieldType::CheckBox, false, Some(true))];
        let said = |value: &str| BTreeMap::from([("f".to_owned(), value.to_owned())]);
        assert!(accept("p", &tick, Decision::Approve, &none).is_err());
        assert!(accept("p", &tick, Decision::Approve, &said("false")).is_err());
        assert_eq!(accept("p", &tick, Decision::Approve, &said("true")), Ok(()));
        assert_eq!(accept("p", &tick, Decision::Reject, &said("false")), Ok(()));
        assert!(accept("p", &tick, Decision::Reject, &said("maybe")).is_err(), "a wrong value is never recorded");
        assert!(accept("p", &[], Decision::Approve, &said("true")).is_err(), "nor one of a field that does not exist");
    }
}
