//! What definitions, processes and partitions say about who is told what: event, recipients, template.

use super::SupervisorOf;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;

/// Who is told what when something happens.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = on_may_be_true)]
pub struct Notification {
    /// The event.
    #[serde(alias = "true")]
    #[schemars(schema_with = "event_schema")]
    pub on: NotificationEvent,
    /// Who is told.
    #[schemars(length(min = 1, max = 16))]
    pub to: Vec<Recipient>,
    /// The `NotificationTopic`, or one that is built in. Default: the built-in one of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub topic: Option<String>,
}

/// What happens in an instance. The first seven happen to a partition, the rest to the instance.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum NotificationEvent {
    /// Somebody is asked, now that they may decide. `Approvers` are those who are asked just now.
    Assigned,
    /// A partition opened. May be written `partitionOpened` too.
    #[serde(alias = "partitionOpened")]
    Opened,
    /// A partition has enough approvals.
    Approved,
    /// A partition has enough rejections.
    Rejected,
    /// The time of a partition was over.
    Expired,
    /// Another partition of the step was rejected first, or the instance ended.
    Superseded,
    /// A level of escalation was called. `Approvers` are those who are asked besides.
    Escalated,
    /// A decision counted.
    Decision,
    /// The operation was carried out.
    Executed,
    /// The instance ended, whatever its outcome.
    Completed,
    /// The instance ended as Failed.
    Failed,
}

impl NotificationEvent {
    /// The topic that is built in for it.
    #[must_use]
    pub fn topic(self) -> &'static str {
        match self {
            Self::Assigned => "task-assigned",
            Self::Opened => "partition-waiting",
            Self::Approved | Self::Rejected | Self::Expired | Self::Superseded => "partition-changed",
            Self::Escalated => "escalated",
            Self::Decision => "decision-recorded",
            Self::Executed | Self::Completed | Self::Failed => "request-done",
        }
    }
}

impl fmt::Display for NotificationEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{self:?}");
        f.write_str(&name.to_ascii_lowercase())
    }
}

/// Who is told: exactly one of its fields is set.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("oneOf" = [
    {"required": ["person"]}, {"required": ["address"]}, {"required": ["user"]}, {"required": ["role"]},
    {"required": ["supervisorOf"]}, {"required": ["channel"]}
]))]
pub struct Recipient {
    /// Somebody by their part in the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<Part>,
    /// A mail address. Not in a workflow of an instance's own: whoever may create one must not send mail to the world.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 254), regex(pattern = r"^[^@\s<>,;]+@[^@\s<>,;]+$"))]
    pub address: Option<String>,
    /// One person, by username or Identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub user: Option<String>,
    /// The holders of a `BusinessRole`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub role: Option<String>,
    /// The managers of whom the request is about, of who asked, or of everyone who was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor_of: Option<SupervisorOf>,
    /// A webhook or chat that the installation configures, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub channel: Option<String>,
}

/// The part that somebody has in a request.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Part {
    /// Who asked.
    #[default]
    Initiator,
    /// The people whom it is about; where the process gives `subjectEmail`, those addresses for whoever has no Identity.
    Subject,
    /// Everyone who was asked, whether they decided or not.
    Approvers,
    /// The managers of whom it is about or, where it is about nobody, of who asked.
    Managers,
}

/// Tells somebody, and goes on: an output `done`.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Notify {
    /// The `NotificationTopic`, or one that is built in. Default: request-done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub topic: Option<String>,
    /// Who is told.
    #[schemars(length(min = 1, max = 16))]
    pub to: Vec<Recipient>,
}

/// The template that somebody is told by.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicRef {
    /// The `NotificationTopic`, or one that is built in. Default: the built-in one of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub topic: Option<String>,
}

/// kubectl, and whatever else reads YAML as version 1.1 has it, makes the word true of a bare `on`, also of a key. So both are
/// taken, one of them.
fn on_may_be_true(schema: &mut Schema) {
    let Some(on) = schema.pointer("/properties/on").cloned() else { return };
    let mut written = on;
    written["description"] = json!("What YAML makes of a bare on: the same as on.");
    if let Some(properties) = schema.pointer_mut("/properties").and_then(Value::as_object_mut) {
        properties.insert("true".to_owned(), written);
    }
    schema.insert("required".to_owned(), json!(["to"]));
    schema.insert("oneOf".to_owned(), json!([{"required": ["on"]}, {"required": ["true"]}]));
}

fn event_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "enum": ["assigned", "opened", "partitionOpened", "approved", "rejected", "expired", "superseded", "escalated", "decision", "executed", "completed", "failed"],
        "description": "The event: assigned (somebody may decide now), opened (or partitionOpened), approved, rejected, expired, superseded (what becomes of a partition), escalated, decision (one counted), executed (the operation was carried out), completed (it ended, whatever the outcome), failed."
    })
}

#[cfg(test)]
mod tests {
    use super::{Notification, NotificationEvent};
    use serde_json::{from_value, json};

    #[test]
    fn what_yaml_makes_of_on_is_understood() {
        for key in ["on", "true"] {
            let read = from_value::<Notification>(json!({key: "completed", "to": [{"person": "Initiator"}]}));
            assert_eq!(read.expect(key).on, NotificationEvent::Completed);
        }
    }
}
