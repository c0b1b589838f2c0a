//! A made-up story: who there is, what is defined, what happens. Plain data; `made_up` and `definitions` make it, `play` plays it.

use quorate::api::{ApproverSource, BusinessRoleSpec, Decision, IdentitySpec, NamedApprovers, WorkflowDefinitionSpec};
use quorate::directory::Standing;
use quorate::engine::{Object, Right};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

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

#[derive(Clone)]
pub struct Story {
    /// The definition, and what it is edited to.
    pub definitions: Vec<WorkflowDefinitionSpec>,
    pub directory: Directory,
    pub administrators: Vec<ApproverSource>,
    pub request: Request,
    pub events: Vec<Event>,
}

/// A story that fails is read by people: a line for each thing in it.
impl fmt::Debug for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = |value: serde_json::Result<String>| value.unwrap_or_default();
        for definition in &self.definitions {
            writeln!(f, "definition {}", json(serde_json::to_string(definition)))?;
        }
        for (name, person) in &self.directory.identities {
            writeln!(f, "{name} {}", json(serde_json::to_string(person)))?;
        }
        for (name, role) in &self.directory.roles {
            writeln!(f, "{name} {}", json(serde_json::to_string(role)))?;
        }
        for standing in &self.directory.delegations {
            writeln!(f, "{} {}", standing.created_at, json(serde_json::to_string(&standing.spec)))?;
        }
        writeln!(f, "calendars {}", self.directory.calendars)?;
        writeln!(f, "administrators {}", json(serde_json::to_string(&self.administrators)))?;
        writeln!(f, "{:?}", self.request)?;
        for Event { clock, lag, change, signals } in &self.events {
            writeln!(f, "{clock:+} s, lag {lag}, {change:?}")?;
            for signal in signals {
                writeln!(f, "  {signal:?}")?;
            }
        }
        Ok(())
    }
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
    /// Restored without a gap, restored a moment ago, or broken.
    Proof(Option<bool>),
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

impl Story {
    /// Whether two usernames are one person's, or look as if they were. Where the directory comes to know one that looks like
    /// another as somebody of their own, it tells them apart.
    pub fn alike(&self, one: &str, other: &str) -> bool {
        fn looks(username: &str) -> &str {
            match username {
                "Anna" => "anna",
                "f\u{456}ona" => "fiona",
                other => other,
            }
        }
        let told_apart = self
            .events
            .iter()
            .any(|event| matches!(event.change, Change::Rival(Some(username)) if username == one || username == other));
        person(one) == person(other) || (looks(one) == looks(other) && !told_apart)
    }
}
