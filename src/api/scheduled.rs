//! `Digest` and `Reminder`: mails on a schedule.

use super::notification_topic::default_enabled;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// One mail with all the open tasks of a person, on a schedule: only when something became decidable by them since the last one.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "quorate.dev",
    version = "v1alpha1",
    kind = "Digest",
    plural = "digests",
    category = "approvals",
    status = "ScheduledStatus",
    derive = "PartialEq",
    doc = "One mail with all open tasks of a person, on a schedule, when there are new ones since the last.",
    printcolumn(name = "Schedule", type_ = "string", json_path = ".spec.schedule"),
    printcolumn(name = "Time Zone", type_ = "string", json_path = ".spec.timeZone"),
    printcolumn(name = "Last Run", type_ = "date", json_path = ".status.lastRun"),
    printcolumn(name = "Next Run", type_ = "string", json_path = ".status.nextRun"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(
        name = "Delivering",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Delivering\")].status"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = "1"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct DigestSpec {
    /// When, as five fields of cron: minute, hour, day of the month, month, day of the week.
    #[schemars(length(min = 1, max = 128))]
    pub schedule: String,
    /// The time zone whose clock is meant: a name of the IANA database, e.g. `Europe/Prague`. Default UTC.
    #[serde(default = "default_time_zone")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: String,
    /// The topic. Default task-digest.
    #[serde(default = "default_digest_topic")]
    #[schemars(length(min = 1, max = 253))]
    pub topic: String,
    /// At most so many tasks are listed. Default 10.
    #[serde(default = "default_tasks_to_send")]
    #[schemars(range(min = 1, max = 1000))]
    pub tasks_to_send: u32,
}

/// One mail for every approver with tasks that have been open for so many days, and for their managers.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "quorate.dev",
    version = "v1alpha1",
    kind = "Reminder",
    plural = "reminders",
    category = "approvals",
    status = "ScheduledStatus",
    derive = "PartialEq",
    doc = "One mail for every approver with tasks that have been open for so many days, and for their managers, on a schedule.",
    validation = Rule::new("!has(self.spec.maxDaysOpen) || self.spec.maxDaysOpen >= self.spec.minDaysOpen")
        .message("spec.maxDaysOpen is less than spec.minDaysOpen: no task is ever that old; leave it out for no maximum"),
    printcolumn(name = "Schedule", type_ = "string", json_path = ".spec.schedule"),
    printcolumn(name = "Min", type_ = "integer", json_path = ".spec.minDaysOpen"),
    printcolumn(name = "Max", type_ = "integer", json_path = ".spec.maxDaysOpen"),
    printcolumn(name = "Last Run", type_ = "date", json_path = ".status.lastRun"),
    printcolumn(name = "Next Run", type_ = "string", json_path = ".status.nextRun"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(
        name = "Delivering",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Delivering\")].status"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = "1"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ReminderSpec {
    /// When, as five fields of cron: minute, hour, day of the month, month, day of the week.
    #[schemars(length(min = 1, max = 128))]
    pub schedule: String,
    /// The time zone whose clock and dates are meant: a name of the IANA database, e.g. `Europe/Prague`. Default UTC.
    #[serde(default = "default_time_zone")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: String,
    /// Tasks that have been open for so many days or more: the difference of dates in the time zone. Default 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 36500))]
    pub min_days_open: u32,
    /// Tasks that have been open for so many days or fewer. Left out: no maximum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 36500))]
    pub max_days_open: Option<u32>,
    /// At most so many tasks are listed. Default 10.
    #[serde(default = "default_tasks_to_send")]
    #[schemars(range(min = 1, max = 1000))]
    pub tasks_to_send: u32,
    /// Whether and how the approvers are told. Default: they are, with reminder-medium.
    #[serde(default = "default_approvers")]
    pub approvers: Reminded,
    /// Whether and how their managers are told. Left out: they are not.
    #[serde(default = "default_managers")]
    pub managers: Reminded,
}

/// Whether and how somebody is reminded.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reminded {
    /// Whether they are told. Default true.
    #[serde(default = "default_enabled")]
    pub notify: bool,
    /// The topic. Default reminder-medium for approvers, reminder-manager for managers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub topic: Option<String>,
}

/// What came of a schedule.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScheduledStatus {
    /// `Ready`, with the exact place of each fault, and `Delivering`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The moment of the schedule whose mails were last put into the outbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<Time>,
    /// How many mails that were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_mails: Option<u32>,
    /// Who should have had one and has no mail address, by username: the first few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without_address: Vec<String>,
    /// When the schedule comes next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_run: Option<Time>,
}

fn default_time_zone() -> String {
    "UTC".to_owned()
}

fn default_digest_topic() -> String {
    "task-digest".to_owned()
}

fn default_tasks_to_send() -> u32 {
    10
}

fn default_approvers() -> Reminded {
    Reminded { notify: true, topic: None }
}

fn default_managers() -> Reminded {
    Reminded { notify: false, topic: None }
}
