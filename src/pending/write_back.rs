//! What is written to an object that waits, and how to see that it has been: the JSON merge patches of a process.

use crate::api::{Outcome, WriteBack, Writing};
use crate::cel::Template;
use crate::cel::{Expression, Input, Scope};
use serde_json::{Map, Value, json};

/// What the strings of a patch may name.
pub static PATCH_SCOPE: Scope = Scope { variables: &["object", "outcome", "message", "now"], directory: false };

/// What the condition may name that tells whether a patch has been written.
pub static WRITTEN_SCOPE: Scope = Scope { variables: &["object"], directory: false };

/// What is sent to an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// Through which subresource; none: the object itself.
    pub subresource: Option<String>,
    /// The JSON merge patch.
    pub patch: Value,
}

/// What is wrong with the write-back of a process; `place` is where it stands.
#[must_use]
pub fn faults(write_back: &WriteBack, place: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, writing) in [("approved", &write_back.approved), ("rejected", &write_back.rejected)] {
        if writing.patch.as_object().is_none_or(Map::is_empty) {
            faults.push(format!("{place}.{name}.patch: it changes nothing; write the fields that tell the outcome"));
        }
        if let Err(misfits) = Template::compile(&writing.patch, &PATCH_SCOPE) {
            let told =
                misfits.into_iter().map(|fault| format!("{place}.{name}.patch{}: {}", fault.place, fault.message));
            faults.extend(told);
        }
        if let Some(Err(why)) = writing.written.as_ref().map(|source| Expression::compile(source, &WRITTEN_SCOPE)) {
            faults.push(format!("{place}.{name}.written: {why}"));
        }
    }
    faults
}

/// What is to be written for an outcome.
///
/// # Errors
/// The expression that cannot be told, and why.
pub fn render(
    write_back: &WriteBack,
    object: &Value,
    outcome: Outcome,
    message: &str,
    now: &str,
) -> Result<Written, String> {
    let (name, writing) = match outcome {
        Outcome::Approved => ("approved", &write_back.approved),
        _ => ("rejected", &write_back.rejected),
    };
    let told = |place: &str, why: &str| format!("writeBack.{name}.patch{place}: {why}");
    let template = Template::compile(&writing.patch, &PATCH_SCOPE).map_err(|faults| {
        faults.iter().map(|fault| told(&fault.place, &fault.message)).collect::<Vec<_>>().join("; ")
    })?;
    let variables = variables(object, outcome, message, now);
    let patch = template
        .render(&Input { variables, ..Input::default() })
        .map_err(|fault| told(&fault.place, &fault.message))?;
    Ok(Written { subresource: writing.subresource.clone(), patch })
}

/// Which outcome can be seen in an object: approved or not; none while it waits.
///
/// # Errors
/// That both can be seen, or that it cannot be told.
pub fn seen(write_back: &WriteBack, object: &Value) -> Result<Option<bool>, String> {
    let approved = shows(&write_back.approved, object, &[Outcome::Approved])?;
    let rejected = shows(&write_back.rejected, object, &[Outcome::Rejected, Outcome::Expired, Outcome::Failed])?;
    match (approved, rejected) {
        (false, false) => Ok(None),
        (true, true) => Err("both writeBack.approved and writeBack.rejected can be seen in it".to_owned()),
        (approved, _) => Ok(Some(approved)),
    }
}

fn shows(writing: &Writing, object: &Value, outcomes: &[Outcome]) -> Result<bool, String> {
    if let Some(source) = &writing.written {
        let variables = Map::from_iter([("object".to_owned(), object.clone())]);
        let condition = Expression::compile(source, &WRITTEN_SCOPE)?;
        return condition.holds(&Input { variables, ..Input::default() }).map_err(|why| format!("written: {why}"));
    }
    Ok(outcomes.iter().any(|outcome| {
        let variables = variables(object, *outcome, "", "");
        applied(&writing.patch, Some(object), &Input { variables, ..Input::default() })
    }))
}

/// Whether a patch would change nothing in this part of an object. Who said what, and when, is not compared.
fn applied(patch: &Value, part: Option<&Value>, input: &Input) -> bool {
    match patch {
        Value::Object(fields) => part
            .filter(|part| part.is_object())
            .is_some_and(|part| fields.iter().all(|(name, patch)| applied(patch, part.get(name), input))),
        Value::Null => part.is_none_or(Value::is_null),
        _ => part.is_some_and(|part| same(patch, part, input)),
    }
}

/// Whether a value is what the template comes to.
fn same(template: &Value, value: &Value, input: &Input) -> bool {
    match (template, value) {
        (Value::Array(templates), Value::Array(values)) => {
            templates.len() == values.len() && templates.iter().zip(values).all(|(one, other)| same(one, other, input))
        }
        (Value::Object(templates), Value::Object(values)) => {
            templates.len() == values.len()
                && templates
                    .iter()
                    .all(|(name, template)| values.get(name).is_some_and(|value| same(template, value, input)))
        }
        (Value::String(_), value) => {
            let Ok(compiled) = Template::compile(template, &PATCH_SCOPE) else { return false };
            let varies = compiled.variables().into_iter().any(|name| ["message", "now"].contains(&name));
            if varies { *value != json!("") && !value.is_null() } else { compiled.render(input).as_ref() == Ok(value) }
        }
        (template, value) => template == value,
    }
}

fn variables(object: &Value, outcome: Outcome, message: &str, now: &str) -> Map<String, Value> {
    let named = [
        ("object", object.clone()),
        ("outcome", json!(outcome.to_string())),
        ("message", json!(message)),
        ("now", json!(now)),
    ];
    named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Takes whatever the patches write out of an object: the outcome is no part of what is approved.
pub fn take_out(write_back: &WriteBack, object: &mut Value) {
    for writing in [&write_back.approved, &write_back.rejected] {
        cut(&writing.patch, object);
    }
}

fn cut(patch: &Value, part: &mut Value) {
    let (Some(patches), Some(fields)) = (patch.as_object(), part.as_object_mut()) else { return };
    for (name, patch) in patches {
        if let Some(inner) = fields.get_mut(name) {
            if patch.is_object() && inner.is_object() {
                cut(patch, inner);
            }
            if !patch.is_object() || !inner.is_object() || inner.as_object().is_some_and(Map::is_empty) {
                fields.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{faults, render, seen, take_out};
    use crate::api::{Outcome, WriteBack};
    use serde_json::{Value, json};

    fn by_phase() -> WriteBack {
        let writing =
            |phase: &str| json!({"subresource": "status", "patch": {"status": {"phase": phase, "why": "${message}"}}});
        from(json!({"approved": writing("${outcome}"), "rejected": writing("Refused")}))
    }

    fn from(written: Value) -> WriteBack {
        serde_json::from_value(written).expect("a write-back")
    }

    #[test]
    fn r29_an_outcome_is_seen_once_its_patch_would_change_nothing() {
        for (object, expected) in [
            (json!({"spec": {}}), None),
            (json!({"status": {"phase": "Pending"}}), None),
            (json!({"status": {"phase": "Approved"}}), None),
            (json!({"status": {"phase": "Approved", "why": "mary said so", "more": 1}}), Some(true)),
            (json!({"status": {"phase": "Refused", "why": "no"}}), Some(false)),
        ] {
            assert_eq!(seen(&by_phase(), &object), Ok(expected), "{object}");
        }
    }

    #[test]
    fn what_was_rendered_is_seen() {
        let object = json!({"metadata": {"name": "box"}, "spec": {"size": 3}});
        for outcome in [Outcome::Approved, Outcome::Rejected, Outcome::Expired] {
            let patch = render(&by_phase(), &object, outcome, "told", "2026-01-01T00:00:00Z").expect("rendered").patch;
            assert_eq!(seen(&by_phase(), &patch), Ok(Some(outcome == Outcome::Approved)));
        }
    }

    #[test]
    fn a_condition_tells_what_a_patch_cannot() {
        let conditions = |type_: &str| {
            json!({
                "patch": {"status": {"conditions": format!("${{object.?status.conditions.orValue([]) + [{{'type': '{type_}'}}]}}")}},
                "written": format!("object.?status.conditions.orValue([]).exists(c, c.type == '{type_}')"),
            })
        };
        let write_back = from(json!({"approved": conditions("Go"), "rejected": conditions("Stop")}));
        let object = json!({"status": {"conditions": [{"type": "Seen"}]}});
        assert_eq!(seen(&write_back, &object), Ok(None));
        let patch = render(&write_back, &object, Outcome::Rejected, "", "").expect("rendered").patch;
        assert_eq!(patch["status"]["conditions"], json!([{"type": "Seen"}, {"type": "Stop"}]));
        assert_eq!(seen(&write_back, &patch), Ok(Some(false)));
    }

    #[test]
    fn null_means_that_the_field_is_not_there() {
        let write_back = from(
            json!({"approved": {"patch": {"spec": {"hold": null}}}, "rejected": {"patch": {"spec": {"hold": "no"}}}}),
        );
        assert_eq!(seen(&write_back, &json!({"spec": {"hold": "yes"}})), Ok(None));
        assert_eq!(seen(&write_back, &json!({"spec": {"size": 1}})), Ok(Some(true)));
    }

    #[test]
    fn the_outcome_is_no_part_of_what_is_approved() {
        let mut object =
            json!({"metadata": {"name": "box"}, "spec": {"size": 3}, "status": {"phase": "Approved", "why": "x"}});
        take_out(&by_phase(), &mut object);
        assert_eq!(object, json!({"metadata": {"name": "box"}, "spec": {"size": 3}}));
    }

    #[test]
    fn faults_name_their_place() {
        let told = faults(
            &from(json!({"approved": {"patch": {}}, "rejected": {"patch": {"a": ["${nobody}"]}, "written": "1 +"}})),
            "spec.event.pending.writeBack",
        );
        let places = ["writeBack.approved.patch: it changes", "writeBack.rejected.patch.a[0]: ", "rejected.written: "];
        assert_eq!(told.len(), places.len());
        for (told, place) in told.iter().zip(places) {
            assert!(told.contains(place), "{told}");
        }
    }
}
