//! What a scenario file may say, field by field; `docs/scenarios.md` explains it to users. A field that is not here fails the
//! file. Plain data: read by `read`, played by `world`, compared by `expect`.

use super::document::Lines;
use super::moment::{Moment, Seconds};
use crate::api::{Decision, NamedApprovers, Operation, TaskState};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A story about one approval, and what must come of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Scenario {
    /// In a sentence or two: what it shows.
    pub about: String,
    /// The definition; left out: it does not exist yet.
    pub definition: Option<DefinitionLine>,
    /// Files that hold the directory.
    #[serde(default)]
    pub directory: DirectoryFiles,
    /// Specs of Identities by name; `username` defaults to the name.
    #[serde(default)]
    pub identities: BTreeMap<String, Value>,
    /// Specs of `BusinessRoles` by name; a member may be written as the bare name of its Identity.
    #[serde(default)]
    pub roles: BTreeMap<String, Value>,
    /// Specs of `BusinessCalendars` by name.
    #[serde(default)]
    pub calendars: BTreeMap<String, Value>,
    /// Specs of Delegations by name, with `by`: whose they are.
    #[serde(default)]
    pub delegations: BTreeMap<String, Value>,
    /// What Kubernetes knows of people, by username: goes with whatever they send and ask.
    #[serde(default)]
    pub accounts: BTreeMap<String, Account>,
    /// What the installation sets.
    #[serde(default)]
    pub settings: Installation,
    /// The instance.
    #[serde(default)]
    pub instance: Request,
    /// The object that waits for the outcome; left out: the instance stands for itself.
    #[serde(default)]
    pub object: ObjectLine,
    /// Whether it is proven who sends what; left out: since a day before the instance.
    pub proof: Option<ProofLine>,
    /// What happens, in order.
    #[serde(default)]
    pub timeline: Vec<Step>,
    /// What holds at the end.
    pub expect: Option<Expect>,
    /// Instead of a timeline: the faults of the definition, word by word.
    pub faults: Option<Vec<String>>,
    /// Instead of a timeline: what works but may not be meant, word by word.
    pub warnings: Option<Vec<String>>,
    /// Where each field stands in the file.
    #[serde(skip)]
    pub(super) lines: Lines,
}

/// A definition, as a scenario gives it.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Value")]
pub enum DefinitionLine {
    /// The spec, and what the definition is called.
    Inline {
        /// metadata.name.
        name: String,
        /// The spec.
        spec: Value,
    },
    /// It is in a file; [`super::read()`] puts its spec here.
    File(DefinitionFile),
    /// It is deleted.
    Deleted,
}

/// The file that holds a definition.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefinitionFile {
    /// Relative to the scenario: a manifest, a bare spec, or a folder of manifests.
    pub file: String,
    /// Which `WorkflowDefinition`, where there are several.
    pub name: Option<String>,
}

impl TryFrom<Value> for DefinitionLine {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match &value {
            Value::String(word) if word == "deleted" => Ok(Self::Deleted),
            Value::Object(fields) if fields.contains_key("file") => {
                serde_json::from_value(value).map(Self::File).map_err(|error| error.to_string())
            }
            Value::Object(_) => Ok(Self::Inline { name: "definition".to_owned(), spec: value }),
            _ => Err("a definition is a spec, {file: name}, or the word deleted".to_owned()),
        }
    }
}

/// Files that hold the directory.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectoryFiles {
    /// Relative to the scenario: files, or folders of files, with Identities and `BusinessRoles`; other kinds are skipped.
    pub files: Vec<String>,
}

/// What the installation sets.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Installation {
    /// Who is asked when too few others may decide.
    pub administrators: Vec<NamedApprovers>,
    /// Older signals are refused when they are counted.
    pub max_signal_age: Seconds,
}

impl Default for Installation {
    fn default() -> Self {
        Self { administrators: Vec::new(), max_signal_age: Seconds(7 * 86_400) }
    }
}

/// What Kubernetes knows of somebody.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Account {
    /// The groups that are proven.
    pub groups: Vec<String>,
    /// What RBAC allows: `cancel` and `administer` on the instance, any other verb on the process.
    pub rights: Vec<String>,
}

/// The instance.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Request {
    /// The username of who asked; null: nobody.
    pub initiator: Option<String>,
    /// The usernames of whom it is about.
    pub subjects: Vec<String>,
    /// The title.
    pub title: Option<String>,
    /// The `BusinessRole` that it is about.
    pub role: Option<String>,
    /// The superior role.
    pub superior_role: Option<String>,
    /// The subrole.
    pub sub_role: Option<String>,
    /// For conditions and expressions.
    pub parameters: BTreeMap<String, Value>,
    /// Usernames of others who may not decide.
    pub exclude_approvers: Vec<String>,
    /// The process that opened it, by name.
    pub process: Option<String>,
    /// What waits for the outcome, as expressions see it: `object`.
    pub payload: Option<Value>,
    /// What it was before the change, as expressions see it: `oldObject`.
    pub old_payload: Option<Value>,
    /// What is to be done to it, as expressions see it.
    pub operation: Option<Operation>,
    /// When it was created: what offsets count from.
    pub created_at: Timestamp,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            initiator: Some("requester".to_owned()),
            subjects: Vec::new(),
            title: None,
            role: None,
            superior_role: None,
            sub_role: None,
            parameters: BTreeMap::new(),
            exclude_approvers: Vec::new(),
            process: None,
            payload: None,
            old_payload: None,
            operation: None,
            created_at: Timestamp::constant(1_772_442_000, 0), // 2026-03-02T09:00:00Z
        }
    }
}

/// The object that waits for the outcome.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum ObjectLine {
    /// There is none.
    #[default]
    None,
    /// It waits.
    Waiting,
    /// The operation on it is held back: `approved` says that it has been carried out.
    Held,
    /// The same, let through or being carried out.
    Passing,
    /// The outcome has been written to it: it is approved.
    Approved,
    /// The outcome has been written to it: it is denied.
    Denied,
    /// It is gone: what happened.
    Gone(String),
}

/// Whether it is proven who sends what.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum ProofLine {
    /// Without a gap since then.
    Since(Moment),
    /// It is not: why.
    Broken(String),
}

/// What happens at one moment, in the order of the fields; then the operator computes until nothing changes any more.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Step {
    /// When. Left out: at the moment of the step before.
    pub at: Option<Moment>,
    /// The API server's clock jumps by so much, and stays off.
    pub clock: Option<Seconds>,
    /// The definition is edited, or deleted.
    pub definition: Option<DefinitionLine>,
    /// The directory changes.
    pub directory: Option<DirectoryChange>,
    /// Whether it is proven who sends what, from now on.
    pub proof: Option<ProofLine>,
    /// The object that waits, from now on.
    pub object: Option<ObjectLine>,
    /// What came of the activity that the instance asks for.
    pub activity: Option<ActivityLine>,
    /// Every signal that was made by then is known to the operator; left out: by now. Deadlines wait for it.
    pub seen_until: Option<Moment>,
    /// Sent and delivered together.
    #[serde(default)]
    pub signals: Vec<SignalLine>,
    /// What holds then.
    pub expect: Option<Expect>,
}

/// What came of an activity.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ActivityLine {
    /// The node that asks for it.
    pub node: String,
    /// What came of it.
    pub came: CameLine,
    /// What is said of it.
    #[serde(default)]
    pub message: String,
}

/// What came of a try.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CameLine {
    /// It is done.
    Done,
    /// It failed for good.
    Failed,
    /// It failed for the moment, and is tried again.
    Again,
    /// Its Job runs.
    Runs,
    /// Its Job was ended, since its time was over.
    TimedOut,
}

/// A change of the directory.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DirectoryChange {
    /// By name: merged into the spec; null removes the Identity.
    #[serde(default)]
    pub identities: BTreeMap<String, Value>,
    /// By name: who joins and leaves the `BusinessRole`.
    #[serde(default)]
    pub roles: BTreeMap<String, Members>,
    /// By name: null removes the `BusinessCalendar`, a spec replaces it.
    #[serde(default)]
    pub calendars: BTreeMap<String, Value>,
    /// By name: null removes the Delegation, a spec adds it.
    #[serde(default)]
    pub delegations: BTreeMap<String, Value>,
}

/// Who joins and leaves a `BusinessRole`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Members {
    /// Members, or bare names of their Identities.
    #[serde(default)]
    pub add: Vec<Value>,
    /// Names of Identities.
    #[serde(default)]
    pub remove: Vec<String>,
}

/// A signal, and the verdict that is expected on it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SignalLine {
    /// For [`Expect::verdicts`]. Default: who sent it, with a number from the second on.
    pub name: Option<String>,
    /// The username that is proven; left out: not stamped.
    pub by: Option<String>,
    /// The groups that are proven, besides those of the account.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The decision.
    pub decision: Decision,
    /// As in an `ApprovalSignal`.
    pub step: Option<String>,
    /// As in an `ApprovalSignal`.
    pub partition: Option<String>,
    /// As in an `ApprovalSignal`.
    pub visit: Option<u32>,
    /// As in an `ApprovalSignal`; the instance has the uid `uid-1`.
    #[serde(rename = "instanceUID")]
    pub instance_uid: Option<String>,
    /// As in an `ApprovalSignal`.
    pub comment: Option<String>,
    /// As in an `ApprovalSignal`.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// As in an `ApprovalSignal`.
    pub delegate_to: Option<String>,
    /// As in an `ApprovalSignal`.
    #[serde(default)]
    pub approvers: Vec<NamedApprovers>,
    /// What RBAC allows the sender, besides what it allows the account.
    #[serde(default)]
    pub rights: Vec<String>,
    /// When it was sent, when that is not when it is delivered.
    pub sent: Option<Moment>,
    /// `Counted`, the reason of the refusal, or `waits` while it has none.
    pub verdict: String,
    /// A part of the verdict's message.
    pub says: Option<String>,
}

/// What must hold; what is left out is not looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Expect {
    /// An outcome, or `none`.
    pub outcome: Option<String>,
    /// The step that is open, as in the status.
    pub step: Option<String>,
    /// What it waits for, as in the status, e.g. `1/2`.
    pub waiting: Option<String>,
    /// The title, as in the status.
    pub title: Option<String>,
    /// Every node that was entered, in order.
    pub path: Option<Vec<String>>,
    /// By partition.
    pub tasks: BTreeMap<String, TaskLine>,
    /// What counted, in order, e.g. `mary Approve review/default#1 through role security`.
    pub decisions: Option<Vec<String>>,
    /// Status and reason by type, e.g. `True QuorumUnreachable`.
    pub conditions: BTreeMap<String, String>,
    /// A part of the message of the conditions.
    pub says: Option<String>,
    /// By name: verdicts on signals that had to wait.
    pub verdicts: BTreeMap<String, String>,
    /// What the operator is to do now, without what it is not looked at, or `none`; e.g. `{delete: {target: {name: x}}}`.
    pub activity: Option<Value>,
    /// How often the action where it stands was tried.
    pub attempts: Option<u32>,
    /// Who has been told what since this was last looked at, by mail or channel, in any order, e.g. `task-assigned mary@example.com`.
    pub notified: Option<Vec<String>>,
    /// The outcome that is being written to the object, or `none`.
    pub write_back: Option<String>,
    /// When something happens next although nobody does anything, or `none`.
    pub next_wakeup: Option<String>,
    /// By username: what the person may see of what was decided, in order, e.g. `mary Approve check/identity#1 number=7 "checked"`.
    pub sees: BTreeMap<String, Vec<String>>,
    /// By username: parts of what they are told when they ask why.
    pub explain: BTreeMap<String, Vec<String>>,
}

/// What must hold of a task.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct TaskLine {
    /// Whether it is decided.
    pub state: Option<TaskState>,
    /// How many have approved.
    pub approvals: Option<u32>,
    /// How many have rejected.
    pub rejections: Option<u32>,
    /// How many must approve.
    pub required: Option<u32>,
    /// The sources, as the status lists them.
    pub approvers: Option<Vec<String>>,
    /// Everybody whom the sources list, as far as the status names them.
    pub people: Option<Vec<String>>,
}
