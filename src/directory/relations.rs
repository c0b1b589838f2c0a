//! Managers, guarantors and attributes: what ties people and roles together besides membership.

use super::{Lookup, Role, Snapshot};
use crate::api::{BusinessRoleSpec, Guarantor, IdentitySpec};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

impl Snapshot {
    /// The managers of an Identity, by name.
    #[must_use]
    pub fn managers(&self, identity: &str) -> &[String] {
        self.people.get(identity).map(|person| person.managers.as_slice()).unwrap_or_default()
    }

    /// The Identities that manage these people at a level: 1 their managers, 2 the managers of those. A manager who is inactive
    /// still has managers; a cycle of managers ends where it began.
    #[must_use]
    pub fn supervisors<'a>(&'a self, usernames: impl IntoIterator<Item = &'a str>, level: u32) -> BTreeSet<&'a str> {
        let start = usernames.into_iter().filter_map(|username| self.identity_of(username));
        let mut at: BTreeSet<&str> = start.collect();
        for _ in 0..level {
            at = at.iter().flat_map(|identity| self.managers(identity)).map(String::as_str).collect();
        }
        at
    }

    /// The Identities that vouch for these people.
    #[must_use]
    pub fn guarantors_of<'a>(&'a self, usernames: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
        let people = usernames.into_iter().filter_map(|username| self.person_spec(username));
        people.flat_map(|person| &person.guarantors).map(String::as_str).collect()
    }

    /// The Identities that vouch for a role, of one type or of any; holders of a role that does so included.
    #[must_use]
    pub fn guarantors(&self, role: &str, type_: Option<&str>, now: Timestamp) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        for guarantor in self.guarantors_listed(role, type_) {
            found.extend(guarantor.identity.as_deref().filter(|identity| self.counts(identity, now)));
            if let Some(role) = &guarantor.role {
                found.extend(self.holders(role, now));
            }
        }
        found
    }

    /// The Kubernetes groups whose members vouch for a role, through a role that does so.
    #[must_use]
    pub fn guarantor_groups(&self, role: &str, type_: Option<&str>) -> BTreeSet<&str> {
        let roles = self.guarantors_listed(role, type_).filter_map(|guarantor| guarantor.role.as_deref());
        roles.flat_map(|role| self.role_groups(role)).collect()
    }

    /// Whether somebody vouches for a role now: a person who counts, or the holders of a role that a group holds.
    #[must_use]
    pub fn has_guarantor(&self, role: &str, type_: Option<&str>, now: Timestamp) -> bool {
        !self.guarantors(role, type_, now).is_empty() || !self.guarantor_groups(role, type_).is_empty()
    }

    fn guarantors_listed(&self, role: &str, type_: Option<&str>) -> impl Iterator<Item = &Guarantor> + use<'_> {
        let listed = self.roles.get(role).map(|role| role.spec.guarantors.as_slice()).unwrap_or_default();
        let type_ = type_.map(str::to_owned);
        listed.iter().filter(move |guarantor| type_.is_none() || guarantor.type_ == type_)
    }

    /// An attribute of a role, by name; `displayName` and `criticality` are fields of its own.
    #[must_use]
    pub fn role_attribute(&self, role: &str, name: &str) -> Option<Value> {
        let spec = &self.roles.get(role)?.spec;
        match name {
            "displayName" => spec.display_name.clone().map(Value::from),
            "criticality" => spec.criticality.map(Value::from),
            _ => spec.attributes.get(name).cloned(),
        }
    }

    /// An attribute of a person, by name; `username`, `displayName`, `email`, `locale` and `type` are fields of their own.
    #[must_use]
    pub fn person_attribute(&self, username: &str, name: &str) -> Option<Value> {
        if name == "username" {
            return Some(Value::from(username));
        }
        let spec = self.person_spec(username)?;
        match name {
            "displayName" => spec.display_name.clone().map(Value::from),
            "email" => spec.email.clone().map(Value::from),
            "locale" => spec.locale.clone().map(Value::from),
            "type" => spec.type_.clone().map(Value::from),
            _ => spec.attributes.get(name).cloned(),
        }
    }

    /// A role as expressions see it: its spec and its name.
    #[must_use]
    pub fn describe_role(&self, role: &str) -> Value {
        let mut shown = Map::from_iter([("name".to_owned(), Value::from(role))]);
        if let Some(Role { spec, .. }) = self.roles.get(role) {
            // Members are asked for by function: a role may have thousands.
            let told = BusinessRoleSpec {
                display_name: spec.display_name.clone(),
                groups: spec.groups.clone(),
                members: Vec::new(),
                subroles: spec.subroles.clone(),
                criticality: spec.criticality,
                guarantors: spec.guarantors.clone(),
                attributes: spec.attributes.clone(),
            };
            if let Ok(Value::Object(fields)) = serde_json::to_value(told) {
                shown.extend(fields);
            }
        }
        shown.entry("attributes").or_insert_with(|| json!({}));
        Value::Object(shown)
    }

    /// A person as expressions see them: the spec of their Identity and its name; of somebody unknown the username alone.
    #[must_use]
    pub fn describe_person(&self, username: &str) -> Value {
        let mut shown = Map::new();
        if let Some(identity) = self.identity_of(username) {
            shown.insert("name".to_owned(), Value::from(identity));
            if let Some(Ok(Value::Object(fields))) = self.people.get(identity).map(serde_json::to_value) {
                shown.extend(fields);
            }
        }
        shown.insert("username".to_owned(), Value::from(username));
        for list in ["managers", "guarantors"] {
            shown.entry(list).or_insert_with(|| json!([]));
        }
        shown.entry("attributes").or_insert_with(|| json!({}));
        Value::Object(shown)
    }

    /// Whether somebody is known, and counts, as far as the directory can tell.
    #[must_use]
    pub fn is_out(&self, username: &str, now: Timestamp) -> bool {
        matches!(self.look_up(username, now), Lookup::Inactive(_) | Lookup::Contested)
    }

    pub(super) fn person_spec(&self, username: &str) -> Option<&IdentitySpec> {
        self.people.get(self.identity_of(username)?)
    }
}
