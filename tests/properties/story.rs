//! A made-up story: who there is, what is defined, what happens. Plain data; `made_up` and `definitions` make it, `play` plays it.

use quorate::api::{ApproverSource, BusinessRoleSpec, Decision, IdentitySpec, NamedApprovers, WorkflowDefinitionSpec};
use quorate::directory::Standing;
use quorate::engine::{Object, Right};
use serde_json::Value;
use std::collections::BTreeMap;

pub const CREATED_AT: i64 = 1_800_000_000;
pub const ROBOT: &str = "system:serviceaccount:ci:robot";
/// The first four have an Identity, with an alias each. The last ones look like others, and nobody knows them.
pub const USERS: &[&str] = &["anna", "boris", "clara", "david", "emil", "fiona", "Anna", "f\u{456}ona"];
pub const ALIASES: &[&str] = &["anna@github", "boris@github", "clara@github", "david@github"];
pub const GROUPS: &[&str] = &["red", "blue", "system:serviceaccounts"];
pub const ROLES: &[&str] = &["chiefs", "leads", "workers"];
pub const NODES: &[&str] = &["one", "two", "three", "four", "five"];
pub const PARTITIONS: &[&str] = &["security", "finance", "legal"];
/// The first one exists.
pub const CALENDARS: &[&str] = &["office", "missing"];
/// What comments and fields hold, and nothing else may.
pub const MARKER: &str = "CONFIDENTIAL";

#[derive(Clone, Debug)]
pub struct Story {
    /// The definition, and what it is edited to.
    pub definitions: Vec<WorkflowDefinitionSpec>,
    pub directory: Directory,
    pub administrators: Vec<ApproverSource>,
    pub request: Request,
    pub events: Vec<Event>,
}

/// What the instance says.
#[derive(Clone, Debug)]
pub struct Request {
    pub initiator: Option<&'static str>,
    pub subjects: Vec<&'static str>,
    pub roles: [Option<&'static str>; 3],
    pub excluded: Vec<&'static str>,
    pub parameters: BTreeMap<String, Value>,
    pub process: bool,
}

#[derive(Clone, Debug)]
pub struct Directory {
    pub identities: BTreeMap<String, IdentitySpec>,
    pub roles: BTreeMap<String, BusinessRoleSpec>,
    pub delegations: Vec<Standing>,
    pub calendars: bool,
}

/// What happens between two computations.
#[derive(Clone, Debug)]
pub struct Event {
    /// By how much the clock moves; back as well.
    pub clock: i64,
    /// By how much the knowledge of signals lags behind.
    pub lag: i64,
    pub change: Change,
    pub signals: Vec<Sent>,
}

#[derive(Clone, Debug)]
pub enum Change {
    Nothing,
    Active(usize, bool),
    Members(&'static str, Vec<&'static str>),
    Managers(usize, Vec<&'static str>),
    /// Another Identity claims that username, or none does.
    Rival(Option<&'static str>),
    Delegate(Standing),
    Undelegate,
    Calendars(bool),
    Proof(bool),
    Object(Object),
    /// The definition as it is now: one of the story, or none.
    Edit(Option<usize>),
    /// Whether the snapshot that the instance runs on can be read.
    Snapshot(bool),
}

#[derive(Clone, Debug)]
pub struct Sent {
    pub actor: Option<&'static str>,
    pub groups: Vec<&'static str>,
    pub rights: Vec<Right>,
    pub decision: Decision,
    pub step: Option<&'static str>,
    pub partition: Option<&'static str>,
    pub visit: Option<u32>,
    pub comment: bool,
    pub fields: Fill,
    pub delegate_to: Option<String>,
    pub approvers: Vec<NamedApprovers>,
    /// Seconds before (or after) the moment.
    pub age: i64,
}

/// How the fields of a signal are filled in.
#[derive(Clone, Copy, Debug)]
pub enum Fill {
    None,
    /// As the task that is open asks for.
    Right,
    /// With something.
    Wrong,
}

pub fn identity_name(username: &str) -> String {
    format!("id-{username}")
}

/// A username and its alias are one person here, worked out from the names alone.
pub fn person(username: &str) -> &str {
    username.strip_suffix("@github").unwrap_or(username)
}

/// Whom somebody may be: who looks like another one, and is not known, may be the other one.
pub fn may_be(username: &str) -> &str {
    match person(username) {
        "Anna" => "anna",
        "f\u{456}ona" => "fiona",
        other => other,
    }
}
