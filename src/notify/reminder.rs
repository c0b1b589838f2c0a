//! One mail for every approver with tasks that have been open for so many days, and one for each of their managers (semantics.md
//! 33). Pure.
//!
//! Whoever decides for somebody else is reminded as themselves, and it is their own managers who are told.

use super::run::{Decider, Mail, Occasion, Run, contact};
use crate::api::ReminderSpec;
use crate::directory::{Contact, Lookup};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

#[cfg(test)]
mod escalation;
#[cfg(test)]
mod tests;

/// The topic of approvers, and what is sent where another one cannot be.
const TO_APPROVERS: &str = "reminder-medium";

/// The same for managers.
const TO_MANAGERS: &str = "reminder-manager";

/// A run of a Reminder.
#[must_use]
pub fn reminder<'a>(occasion: Occasion<'a>, spec: &'a ReminderSpec) -> Run<'a> {
    let mut run = Run::new(occasion);
    let of_age: Vec<bool> = (0..occasion.tasks.len()).map(|task| is_of_age(spec, occasion.age(task))).collect();
    let to_approvers = spec.approvers.topic.as_deref().unwrap_or(TO_APPROVERS);
    let to_managers = spec.managers.topic.as_deref().unwrap_or(TO_MANAGERS);
    let tell_approvers = spec.approvers.notify && occasion.topics.is_enabled(to_approvers);
    let tell_managers = spec.managers.notify && occasion.topics.is_enabled(to_managers);
    for approver in occasion.deciders() {
        let due: Vec<usize> = approver.tasks.iter().copied().filter(|task| of_age[*task]).collect();
        if due.is_empty() {
            continue;
        }
        let managers = if tell_managers { managers(&occasion, &approver) } else { Vec::new() };
        let key = &approver.key;
        if tell_approvers {
            send(&mut run, spec, &approver, &due, (vec![key.clone()], approver.contact.clone()), to_approvers);
        }
        for (manager, contact) in managers {
            send(&mut run, spec, &approver, &due, (vec![key.clone(), manager], contact), to_managers);
        }
    }
    run
}

fn is_of_age(spec: &ReminderSpec, age: i64) -> bool {
    i64::from(spec.min_days_open) <= age && spec.max_days_open.is_none_or(|most| age <= i64::from(most))
}

/// The managers who count now, each once; not the approver, whoever is entered as their own manager.
fn managers(occasion: &Occasion<'_>, approver: &Decider) -> Vec<(String, Contact)> {
    let directory = occasion.directory;
    let identity = directory.identity_of(&approver.contact.username);
    let named = identity.map(|identity| directory.managers(identity)).unwrap_or_default();
    let usernames = named.iter().filter_map(|manager| directory.username(manager));
    let counting = usernames.filter(|username| matches!(directory.look_up(username, occasion.now), Lookup::Known(_)));
    let others = counting.map(|username| (directory.person(username), username));
    let others: BTreeMap<_, _> = others.filter(|(manager, _)| *manager != approver.key).collect();
    others.into_iter().map(|(manager, username)| (manager, contact(directory, username))).collect()
}

fn send<'a>(
    run: &mut Run<'a>,
    spec: &'a ReminderSpec,
    approver: &Decider,
    due: &[usize],
    (id, to): (Vec<String>, Contact),
    topic: &'a str,
) {
    if to.email.is_none() {
        run.without_address.insert(to.username);
        return;
    }
    let is_approver = id.len() == 1;
    let at_most = usize::try_from(spec.tasks_to_send).unwrap_or(usize::MAX);
    let listed: Vec<usize> = due.iter().copied().take(at_most).collect();
    let Contact { username, email, .. } = &approver.contact;
    let username = Some(username.as_str()).filter(|username| !username.is_empty());
    let name = approver.contact.display_name.as_deref().or(username).or(email.as_deref());
    let parameters = [
        ("taskCount", json!(due.len())),
        ("restCount", json!(due.len() - listed.len())),
        ("totalCount", json!(approver.tasks.len())),
        ("approver", json!({"username": username, "displayName": name, "email": email})),
        ("minDays", json!(spec.min_days_open)),
        ("maxDays", json!(spec.max_days_open)),
    ];
    let parameters: Map<String, Value> = parameters.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
    run.mails.push(Mail {
        id,
        to,
        topic,
        stand_in: if is_approver { TO_APPROVERS } else { TO_MANAGERS },
        listed,
        new: 0,
        links: is_approver,
        parameters,
    });
}
