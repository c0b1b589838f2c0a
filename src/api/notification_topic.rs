//! `NotificationTopic`: the templates of one kind of message, in several languages.

use super::ReadyStatus;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// The templates of one kind of message. One that has the name of a built-in topic overrides it, language by language.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "quorate.dev",
    version = "v1alpha1",
    kind = "NotificationTopic",
    plural = "notificationtopics",
    shortname = "topic",
    category = "approvals",
    status = "ReadyStatus",
    derive = "PartialEq",
    doc = "The templates of one kind of message, in several languages; disabled, nothing of that kind is sent.",
    printcolumn(name = "Enabled", type_ = "boolean", json_path = ".spec.enabled"),
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
pub struct NotificationTopicSpec {
    /// Whether anything of this topic is sent. Default true.
    #[serde(default = "default_enabled")]
    pub enabled: bool,
    /// One template for each language. A language that is missing is served by the built-in text of this name, if there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["locale".into()]))]
    pub templates: Vec<Template>,
}

/// The text of a message in one language: templates in the language of Jinja, as docs/notifications.md tells.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    /// The language, a BCP 47 tag such as `en`, `cs` or `pt-BR`.
    #[schemars(length(min = 2, max = 35), regex(pattern = r"^[A-Za-z0-9]{2,8}([-_][A-Za-z0-9]{1,8})*$"))]
    pub locale: String,
    /// The subject: one line.
    #[schemars(length(min = 1, max = 1024))]
    pub subject: String,
    /// The message as plain text.
    #[schemars(length(min = 1, max = 65536))]
    pub text: String,
    /// The message as HTML, values escaped. Left out: the mail is plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 131_072))]
    pub html: Option<String>,
}

pub(super) fn default_enabled() -> bool {
    true
}
