//! The part of `quorate check` that looks at topics and at schedules of mails.

use super::definitions::Checked;
use crate::api::{DigestSpec, NotificationTopicSpec, ReminderSpec};
use crate::notify::{schedule, topics};
use crate::scenario::{Finding, NamedFile, specs};

/// What is wrong with the `NotificationTopics`, Digests and Reminders of a file.
pub(super) fn checked(file: &NamedFile) -> Result<Vec<Checked>, Finding> {
    let mut all = Vec::new();
    for (name, spec) in specs::<NotificationTopicSpec>(file, "NotificationTopic")? {
        all.push(found("NotificationTopic", &name, topics::faults(&name, &spec)));
    }
    for (name, spec) in specs::<DigestSpec>(file, "Digest")? {
        all.push(found("Digest", &name, schedule::faults(&spec.schedule, &spec.time_zone)));
    }
    for (name, spec) in specs::<ReminderSpec>(file, "Reminder")? {
        let mut faults = schedule::faults(&spec.schedule, &spec.time_zone);
        // The API server refuses it by a rule between fields, which the schema does not have.
        if let Some(max) = spec.max_days_open.filter(|max| *max < spec.min_days_open) {
            faults.push(format!(
                "spec.maxDaysOpen: {max} is less than spec.minDaysOpen, {}: no task is ever that old; leave it out for no maximum",
                spec.min_days_open
            ));
        }
        all.push(found("Reminder", &name, faults));
    }
    Ok(all)
}

fn found(kind: &str, name: &str, faults: Vec<String>) -> Checked {
    Checked { name: format!("{kind} {name}"), warnings: Vec::new(), faults }
}
