//! Objects that enter or leave a collection: what belongs to it, and what a change of that comes to.
//!
//! Pure: no IO. What belonged to a collection is remembered in [`Entry`]s, which the controller writes down *before* it opens an
//! instance: after a crash whatever was begun is finished, and nothing is opened twice.

use crate::api::{ApprovalProcessSpec, CollectionEvent, LabelOperator, LabelRequirement, LabelSelector, When};
use crate::cel::{Expression, Input};
use crate::hex::hex;
use crate::pending::{Asked, OBJECT_SCOPE, about_faults, instance_name_of, of_gates_alone, unfit};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// What is remembered of an object.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_excessive_bools, reason = "a record, kept small: false is left out")]
pub struct Entry {
    /// metadata.name.
    pub name: String,
    /// metadata.namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Whether it belongs to the collection.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub member: bool,
    /// How often it has opened an instance.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub count: u32,
    /// The last of those instances may not be there yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub opening: bool,
    /// It is gone: forgotten once nothing is to be opened for it any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
    /// A controller owns it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub owned: bool,
    /// Whom and what it is about, as it was last seen: for when it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// What an object is at this moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Now {
    /// metadata.name.
    pub name: String,
    /// metadata.namespace.
    pub namespace: Option<String>,
    /// A controller owns it.
    pub owned: bool,
    /// Whether it belongs to the collection.
    pub member: bool,
    /// Whom and what it is about; none where nobody asks.
    pub asked: Option<Asked>,
}

/// What the entry of an object is to be, now that it has been seen; none where nothing is worth remembering.
#[must_use]
pub fn seen(before: Option<&Entry>, now: &Now, when: When) -> Option<Entry> {
    let was = before.is_some_and(|before| before.member);
    let moved = match when {
        When::Entered => !was && now.member,
        When::Left => was && !now.member,
    };
    let count = before.map_or(0, |before| before.count) + u32::from(moved);
    // For objects that may leave it is kept what they were about, for whatever is being opened too.
    let asked = match (when, now.member) {
        (When::Left, true) => now.asked.clone(),
        _ if moved => now.asked.clone().or_else(|| before.and_then(|before| before.asked.clone())),
        _ => before.filter(|before| before.opening).and_then(|before| before.asked.clone()),
    };
    let entry = Entry {
        name: now.name.clone(),
        namespace: now.namespace.clone(),
        member: now.member,
        count,
        opening: moved || before.is_some_and(|before| before.opening),
        gone: false,
        owned: now.owned,
        asked,
    };
    (entry.member || entry.count > 0).then_some(entry)
}

/// What the entry of an object is to be, now that it is gone; none where it can be forgotten. `triggers` tells whether this removal
/// is one that counts.
#[must_use]
pub fn gone(before: &Entry, when: When, triggers: bool) -> Option<Entry> {
    let moved = when == When::Left && before.member && triggers;
    let opening = moved || before.opening;
    opening.then(|| Entry {
        member: false,
        count: before.count + u32::from(moved),
        opening,
        gone: true,
        ..before.clone()
    })
}

/// What the entry is once its instance is there; none where it can be forgotten.
#[must_use]
pub fn opened(entry: &Entry, when: When) -> Option<Entry> {
    let asked = entry.asked.clone().filter(|_| when == When::Left && entry.member);
    (!entry.gone).then(|| Entry { opening: false, asked, ..entry.clone() })
}

/// Whether an object belongs to a collection.
///
/// # Errors
/// Why that cannot be told.
pub fn belongs(event: &CollectionEvent, object: &Value) -> Result<bool, String> {
    if !event.selector.as_ref().is_none_or(|selector| selects(selector, object)) {
        return Ok(false);
    }
    let Some(source) = &event.expression else { return Ok(true) };
    let variables = Map::from_iter([("object".to_owned(), object.clone())]);
    let compiled = Expression::compile(source, &OBJECT_SCOPE).map_err(told)?;
    compiled.holds(&Input { variables, ..Input::default() }).map_err(told)
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn told(why: String) -> String {
    format!("spec.event.collection.expression: {why}")
}

fn selects(selector: &LabelSelector, object: &Value) -> bool {
    let label = |key: &str| object["metadata"]["labels"][key].as_str();
    let holds = |requirement: &LabelRequirement| {
        let value = label(&requirement.key);
        let listed = value.is_some_and(|value| requirement.values.iter().any(|listed| listed == value));
        match requirement.operator {
            LabelOperator::In => listed,
            LabelOperator::NotIn => !listed,
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    };
    selector.match_labels.iter().all(|(key, value)| label(key) == Some(value))
        && selector.match_expressions.iter().all(holds)
}

/// What defines a collection, as a hash: when it changes, what belongs to it from then on triggers nothing.
#[must_use]
pub fn definition(event: &CollectionEvent) -> String {
    let text = serde_json::json!([event.resource, event.selector, event.expression]).to_string();
    hex(&Sha256::digest(text.as_bytes())[..16])
}

/// The name of the instance that an object opens for the `count`th time; for one subject, or for all.
#[must_use]
pub fn instance_name(process_uid: &str, uid: &str, entry: &Entry, subject: Option<&str>, attempt: u32) -> String {
    let subject = subject.map(|subject| format!("/{subject}")).unwrap_or_default();
    instance_name_of(&entry.name, &format!("{process_uid}/{uid}/{}{subject}/{attempt}", entry.count))
}

/// What is wrong with a process by itself.
#[must_use]
pub fn faults(spec: &ApprovalProcessSpec) -> Vec<String> {
    let Some(event) = &spec.event.collection else { return Vec::new() };
    let place = "spec.event.collection";
    let mut faults = Vec::new();
    faults.extend(
        unfit(&event.resource.api_group, &event.resource.resource).map(|why| format!("{place}.resource: {why}")),
    );
    if let Some(Err(why)) = event.expression.as_ref().map(|source| Expression::compile(source, &OBJECT_SCOPE)) {
        faults.push(told(why));
    }
    for requirement in event.selector.iter().flat_map(|selector| &selector.match_expressions) {
        let lists = matches!(requirement.operator, LabelOperator::In | LabelOperator::NotIn);
        if lists == requirement.values.is_empty() {
            let should = if lists { "needs values" } else { "takes no values" };
            faults.push(format!(
                "{place}.selector.matchExpressions[{}]: {:?} {should}",
                requirement.key, requirement.operator
            ));
        }
    }
    if event.automated && event.when == When::Entered {
        faults.push(format!("{place}.automated: is about removals; leave it out with when: Entered"));
    }
    if spec.initiator.is_none() {
        faults.push("spec.initiator: is missing, and an object that enters or leaves does not say who asked; write a CEL expression over object that yields a username, or a map with username, uid and groups".to_owned());
    }
    if spec.skip {
        faults.push("spec.skip: a collection that opens nothing is for nothing; name a workflow".to_owned());
    }
    faults.extend(about_faults(spec));
    faults.extend(of_gates_alone(spec));
    faults
}

#[cfg(test)]
mod tests {
    use super::{Entry, Now, belongs, faults, gone, instance_name, opened, seen};
    use crate::api::{ApprovalProcessSpec, CollectionEvent, When};
    use crate::pending::Asked;
    use serde_json::{Value, json};

    fn now(member: bool) -> Now {
        Now { name: "cart".to_owned(), namespace: None, owned: false, member, asked: Some(Asked::default()) }
    }

    /// Which of these sightings open an instance: `+` it belongs, `-` it does not, `x` it is gone.
    fn opens(when: When, sightings: &str) -> Vec<usize> {
        let (mut entry, mut opens): (Option<Entry>, _) = (None, Vec::new());
        for (at, sighting) in sightings.chars().enumerate() {
            entry = match (sighting, &entry) {
                ('x', Some(before)) => gone(before, when, true),
                ('x', None) => None,
                (sign, before) => seen(before.as_ref(), &now(sign == '+'), when),
            };
            if let Some(begun) = entry.as_ref().filter(|entry| entry.opening) {
                opens.push(at);
                entry = opened(begun, when);
            }
        }
        assert!(!sightings.ends_with('x') || entry.is_none(), "{sightings}: what is gone is forgotten");
        opens
    }

    #[test]
    fn r29_objects_enter_and_leave() {
        for (when, sightings, expected) in [
            (When::Entered, "+", vec![0]),
            (When::Entered, "-++", vec![1]),
            (When::Entered, "+-+", vec![0, 2]),
            (When::Entered, "+x", vec![0]),
            (When::Left, "+-", vec![1]),
            (When::Left, "+x", vec![1]),
            (When::Left, "-x", vec![]),
            (When::Left, "+-x", vec![1]),
            (When::Left, "+-+-", vec![1, 3]),
        ] {
            assert_eq!(opens(when, sightings), expected, "{when:?} {sightings}");
        }
    }

    #[test]
    fn r29_every_time_has_a_name_of_its_own() {
        let entry = |count| Entry { name: "cart".to_owned(), count, ..Entry::default() };
        let first = instance_name("p", "o", &entry(1), None, 0);
        assert_eq!(first, instance_name("p", "o", &entry(1), None, 0));
        for other in [
            instance_name("p", "o", &entry(2), None, 0),
            instance_name("q", "o", &entry(1), None, 0),
            instance_name("p", "o", &entry(1), Some("mary"), 0),
            instance_name("p", "o", &entry(1), None, 1),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn a_crash_before_the_instance_is_there_forgets_nothing() {
        let begun = seen(None, &now(true), When::Entered).expect("remembered");
        assert!(begun.opening && begun.asked.is_some());
        let left = seen(Some(&begun), &now(false), When::Entered).expect("remembered");
        assert!(left.opening && left.count == 1 && left.asked.is_some(), "{left:?}");
        let gone = gone(&left, When::Entered, true).expect("remembered");
        assert!(gone.opening && gone.gone && gone.asked.is_some());
        assert_eq!(opened(&gone, When::Entered), None);
    }

    #[test]
    fn a_removal_that_does_not_count_is_forgotten() {
        let member = seen(None, &now(true), When::Left).expect("remembered");
        assert_eq!(gone(&member, When::Left, false), None);
    }

    fn collection(written: Value) -> CollectionEvent {
        serde_json::from_value(written).expect("a collection")
    }

    #[test]
    fn r29_selector_and_expression_both_hold() {
        let event = collection(json!({
            "resource": {"resource": "nodes"},
            "when": "Entered",
            "selector": {"matchLabels": {"tier": "prod"}, "matchExpressions": [{"key": "old", "operator": "DoesNotExist"}]},
            "expression": "object.spec.size > 2",
        }));
        for (labels, size, expected) in [
            (json!({"tier": "prod"}), json!(3), Ok(true)),
            (json!({"tier": "prod"}), json!(1), Ok(false)),
            (json!({"tier": "test"}), json!(3), Ok(false)),
            (json!({"tier": "prod", "old": ""}), json!(3), Ok(false)),
            (json!({"tier": "test"}), json!("x"), Ok(false)),
        ] {
            let object = json!({"metadata": {"labels": labels}, "spec": {"size": size}});
            assert_eq!(belongs(&event, &object), expected, "{object}");
        }
        let untold = belongs(&event, &json!({"metadata": {"labels": {"tier": "prod"}}, "spec": {}}));
        assert!(untold.expect_err("cannot be told").starts_with("spec.event.collection.expression: "));
    }

    #[test]
    fn what_a_collection_lacks_is_told() {
        let event = collection(json!({
            "resource": {"resource": "secrets"},
            "when": "Entered",
            "automated": true,
            "selector": {"matchExpressions": [{"key": "tier", "operator": "In"}]},
            "expression": "nobody",
        }));
        let mut spec = ApprovalProcessSpec { skip: true, ..ApprovalProcessSpec::default() };
        spec.event.collection = Some(event);
        let told = faults(&spec).join("; ");
        for fault in
            ["Secrets", "nobody", "matchExpressions[tier]: In needs values", "automated", "spec.initiator", "spec.skip"]
        {
            assert!(told.contains(fault), "{fault}: {told}");
        }
    }
}
