//! The directory of a story, as it is and as it changes. Pure.

use super::Finding;
use super::format::{DirectoryChange, Members, Scenario};
use super::schema::strict;
use crate::api::{BusinessCalendarSpec, BusinessRoleSpec, IdentitySpec};
use crate::calendar::Calendar;
use crate::directory::{Snapshot, Standing};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The directory as it is now.
pub(super) struct People {
    /// As the story gives them, by name.
    identities: BTreeMap<String, Value>,
    /// As the story gives them, by name.
    roles: BTreeMap<String, Value>,
    /// As the story gives them, by name.
    calendars: BTreeMap<String, Value>,
    /// As the story gives them, by name, and the second in which each was made.
    delegations: BTreeMap<String, (Value, i64)>,
    /// What the engine is given.
    directory: Arc<Snapshot>,
}

impl People {
    /// The directory that a story begins with; its delegations were made in that second.
    pub(super) fn new(scenario: &Scenario, made: i64) -> Result<Self, Finding> {
        let delegations = scenario.delegations.iter().map(|(name, spec)| (name.clone(), (spec.clone(), made)));
        let mut people = Self {
            identities: scenario.identities.clone(),
            roles: scenario.roles.clone(),
            calendars: scenario.calendars.clone(),
            delegations: delegations.collect(),
            directory: Arc::default(),
        };
        people.directory = people.snapshot("")?;
        Ok(people)
    }

    /// What the engine is given.
    pub(super) fn directory(&self) -> &Arc<Snapshot> {
        &self.directory
    }

    /// Changes it; `place` is in front of the names of the change's fields.
    pub(super) fn change(&mut self, change: &DirectoryChange, place: &str, now: i64) -> Result<(), Finding> {
        for (name, patch) in &change.identities {
            let wrong = |message: &str| Err(Finding::malformed(&format!("{place}identities.{name}"), message));
            match patch {
                Value::Null if self.identities.remove(name).is_none() => {
                    return wrong("there is no such identity to remove");
                }
                Value::Null => {}
                Value::Object(patch) => merge(self.identities.entry(name.clone()).or_insert_with(|| json!({})), patch),
                _ => return wrong("fields to change are meant, or null to remove it"),
            }
        }
        for (name, change) in &change.roles {
            let place = format!("{place}roles.{name}");
            let role = self.roles.get_mut(name).and_then(Value::as_object_mut);
            let role = role.ok_or_else(|| Finding::malformed(&place, "there is no such role"))?;
            change_members(role, change, &place)?;
        }
        for (name, spec) in &change.calendars {
            if spec.is_null() {
                self.calendars.remove(name);
            } else {
                self.calendars.insert(name.clone(), spec.clone());
            }
        }
        for (name, spec) in &change.delegations {
            if spec.is_null() {
                self.delegations.remove(name);
            } else {
                self.delegations.insert(name.clone(), (spec.clone(), now));
            }
        }
        self.directory = self.snapshot(place)?;
        Ok(())
    }

    fn snapshot(&self, place: &str) -> Result<Arc<Snapshot>, Finding> {
        let calendars = self.calendars.iter().map(|(name, spec)| {
            let spec: BusinessCalendarSpec = strict("BusinessCalendar", &format!("{place}calendars.{name}"), spec)?;
            Ok((name.clone(), Calendar::compile(&spec)))
        });
        let calendars: Vec<_> = calendars.collect::<Result<_, Finding>>()?;
        let delegations = self.delegations.iter().map(|(name, (spec, made))| delegation(name, spec, *made, place));
        let delegations: Vec<Standing> = delegations.collect::<Result<_, Finding>>()?;
        let snapshot = snapshot(&self.identities, &self.roles, place)?;
        Ok(Arc::new(snapshot.with_calendars(calendars).with_delegations(delegations)))
    }
}

/// A delegation; `by` is its principal.
fn delegation(name: &str, spec: &Value, made: i64, place: &str) -> Result<Standing, Finding> {
    let place = format!("{place}delegations.{name}");
    let mut spec = spec.clone();
    let by = spec.as_object_mut().and_then(|fields| fields.remove("by"));
    let Some(Value::String(by)) = by else {
        return Err(Finding::malformed(&place, "by is missing: whose delegation is it?"));
    };
    spec["principal"] = json!({"username": by});
    Ok(Standing {
        name: name.to_owned(),
        uid: name.to_owned(),
        created_at: made,
        spec: strict("Delegation", &place, &spec)?,
    })
}

fn snapshot(
    identities: &BTreeMap<String, Value>,
    roles: &BTreeMap<String, Value>,
    place: &str,
) -> Result<Snapshot, Finding> {
    let identities = identities.iter().map(|(name, spec)| Ok((name.as_str(), identity(name, spec, place)?)));
    let identities: BTreeMap<&str, IdentitySpec> = identities.collect::<Result<_, Finding>>()?;
    let roles = roles.iter().map(|(name, spec)| Ok((name.as_str(), role(name, spec, place)?)));
    let roles: BTreeMap<&str, BusinessRoleSpec> = roles.collect::<Result<_, Finding>>()?;
    Ok(Snapshot::new(
        identities.iter().map(|(name, spec)| (*name, spec)),
        roles.iter().map(|(name, spec)| (*name, spec)),
    ))
}

fn identity(name: &str, spec: &Value, place: &str) -> Result<IdentitySpec, Finding> {
    let mut spec = spec.clone();
    if let Some(fields) = spec.as_object_mut() {
        fields.entry("username").or_insert_with(|| json!(name));
    }
    strict("Identity", &format!("{place}identities.{name}"), &spec)
}

fn role(name: &str, spec: &Value, place: &str) -> Result<BusinessRoleSpec, Finding> {
    let mut spec = spec.clone();
    for member in spec.get_mut("members").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Value::String(identity) = member {
            *member = json!({"identity": identity});
        }
    }
    strict("BusinessRole", &format!("{place}roles.{name}"), &spec)
}

fn change_members(role: &mut Map<String, Value>, change: &Members, place: &str) -> Result<(), Finding> {
    let Value::Array(members) = role.entry("members").or_insert_with(|| json!([])) else {
        return Err(Finding::malformed(place, "its members are no list"));
    };
    for gone in &change.remove {
        let before = members.len();
        members.retain(|member| member.as_str().or_else(|| member["identity"].as_str()) != Some(gone.as_str()));
        if members.len() == before {
            return Err(Finding::malformed(&format!("{place}.remove"), format!("{gone} is no member")));
        }
    }
    members.extend(change.add.iter().cloned());
    Ok(())
}

/// A JSON merge patch, of one level.
fn merge(target: &mut Value, patch: &Map<String, Value>) {
    let Value::Object(target) = target else { return };
    for (field, value) in patch {
        if value.is_null() {
            target.remove(field);
        } else {
            target.insert(field.clone(), value.clone());
        }
    }
}
