//! The one place where a decision is made: [`advance()`], a pure function of facts.
//!
//! It does no IO and knows no kube client, no async runtime, no log, no clock and no source of chance: whatever happens (a crash,
//! a retry, a stale cache, two leaders) is handled by computing again from the facts. It cannot fail: bad input becomes a
//! condition, a verdict or an outcome. A test reads the imports of this folder and of [`crate::directory`].
//!
//! - [`graph`]: a definition, checked and made explicit; [`source`]s of approvers, [`condition`]s and `fields` are its parts
//! - [`input`]: what expressions see
//! - `eligibility`: whom the sources mean at this moment, and who is barred
//! - `stock`: who is left to decide, and when the administrators stand in
//! - `handover`: who decides for whom
//! - `judge`: what becomes of one vote; `administer`: of every other signal; `before`: the order in which they are judged
//! - [`activity`]: what actions come to; `acting`: the way through them
//! - `path`: the way along the edges; `time`: escalations and deadlines
//! - [`advance()`]: what becomes of an instance
//! - `describe`: where it stands, in words
//! - [`asking()`]: who may decide each open task now; [`asked_in()`]: who was asked in a visit
//! - [`explain()`]: the same for one person; [`visible()`]: what they may see of what was recorded
//! - [`revision`]: the snapshot of a definition, named by its content
//!
//! Rules are numbered as in the project's rule book ("semantics"): `rule 7` and so on.

mod acting;
pub mod activity;
mod administer;
mod advance;
mod asking;
mod before;
pub mod condition;
mod describe;
mod eligibility;
mod explain;
mod fields;
pub mod graph;
mod handover;
pub mod input;
mod judge;
mod path;
pub mod revision;
pub mod source;
mod stock;
mod time;
mod view;

pub use advance::advance;
pub use asking::{Asking, Everyone, Invited, asked_in, asking};
pub use explain::{Explanation, TaskExplanation, explain};
pub use judge::Reason;
pub use view::{Seen, visible};

use crate::api::{ApprovalSignalSpec, Outcome, SignalRef, WorkflowInstanceSpec, WorkflowInstanceStatus};
use crate::directory::Snapshot;
use activity::{Activity, Performed};
use graph::{Fault, Graph};
use jiff::Timestamp;
use source::Source;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A refusal: the word, and the sentence.
type Refusal = (Reason, String);

/// Everything that [`advance()`] goes by.
pub struct Facts<'a> {
    /// The instance, without its status.
    pub instance: Instance<'a>,
    /// The status as it was last written.
    pub status: &'a WorkflowInstanceStatus,
    /// The definition that the instance runs on, or is to start on.
    pub definition: Definition<'a>,
    /// The definition as it is now, for a restart; none where nobody asks for one.
    pub newest: Option<Definition<'a>>,
    /// The signals that have no verdict yet, in any order.
    pub signals: &'a [Signal],
    /// Signals that were judged before: what they recorded, for expressions and for those who may see it. May be left out where
    /// nothing reads it ([`Graph::reads_decisions`]).
    pub recorded: &'a [Signal],
    /// Every signal that was created in this second or before is among the facts, or has a verdict: until when time limits can be
    /// told (semantics.md 15). In seconds.
    pub seen_until: i64,
    /// The directory of this moment.
    pub directory: &'a Arc<Snapshot>,
    /// What the installation sets.
    pub settings: &'a Settings,
    /// Since when the API server provably proves who sends what.
    pub proof: &'a Proof,
    /// The object that waits for the outcome.
    pub object: Object,
    /// What came of the activity that was asked for last; none when nothing did since the status was written.
    pub performed: Option<&'a Performed>,
    /// The moment, in the API server's time.
    pub now: Timestamp,
}

/// The instance, without its status.
#[derive(Clone, Copy)]
pub struct Instance<'a> {
    /// metadata.namespace.
    pub namespace: &'a str,
    /// metadata.name.
    pub name: &'a str,
    /// metadata.uid.
    pub uid: &'a str,
    /// metadata.generation.
    pub generation: Option<i64>,
    /// metadata.creationTimestamp in seconds.
    pub created_at: i64,
    /// The spec, which never changes.
    pub spec: &'a WorkflowInstanceSpec,
}

/// The definition that an instance runs on, or is to start on.
pub enum Definition<'a> {
    /// It does not exist (yet), or its snapshot is lost: the place and what to do.
    Missing(String),
    /// It cannot work: instances wait until it is mended.
    Faulty {
        /// Its name, for messages.
        name: &'a str,
        /// What is wrong.
        faults: &'a [Fault],
    },
    /// It can work.
    Usable {
        /// The graph.
        graph: &'a Graph,
        /// The name of the snapshot that holds it.
        revision: &'a str,
    },
}

impl Definition<'_> {
    /// Why it cannot be run on, for people; none when it can.
    #[must_use]
    pub fn unusable(&self) -> Option<String> {
        match self {
            Self::Missing(why) => Some(why.clone()),
            Self::Faulty { name, faults } => {
                let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
                Some(format!("{name} cannot work: {}", faults.join("; ")))
            }
            Self::Usable { .. } => None,
        }
    }
}

/// A signal that has no verdict yet.
#[derive(Clone, Debug)]
pub struct Signal {
    /// metadata.name.
    pub name: String,
    /// metadata.uid.
    pub uid: String,
    /// metadata.creationTimestamp in seconds.
    pub created_at: i64,
    /// What was signed.
    pub spec: ApprovalSignalSpec,
    /// What the API server's authorizer allows the actor.
    pub rights: BTreeSet<Right>,
}

/// A right that somebody has or has not: what a `SubjectAccessReview` tells.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Right {
    /// The verb `cancel` on the instance.
    Cancel,
    /// The verb `administer` on the instance.
    Administer,
    /// A verb on the process that opened it.
    Process(String),
}

/// What the installation sets.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who is asked when too few others may decide.
    pub administrators: Vec<Source>,
    /// Signals older than so many seconds when they are counted are refused.
    pub max_signal_age: i64,
}

/// Since when the API server provably proves who sends what.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Proof {
    /// Without a gap after this second: what was created in it or before is not proven.
    Since(i64),
    /// Not at the moment: decisions wait. Why, for people.
    Broken(String),
}

/// The object that waits for the outcome of an instance.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Object {
    /// None does: the instance stands for itself.
    None,
    /// It waits.
    Waiting,
    /// The operation on it is held back until everything about it is agreed: it is carried out elsewhere, and an `execute` node
    /// waits for that.
    Held,
    /// The same, and it has been let through or is being carried out: it cannot be taken back any more.
    Passing,
    /// The outcome of this very instance has been written to it: approved or not.
    Decided(bool),
    /// It is gone, replaced, changed, or decided elsewhere: what happened, for people.
    Gone(String),
}

/// What is to be done. The status is written first, with the resourceVersion that the facts were read at; verdicts and effects
/// follow only then, so that nothing is done that is not recorded.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The new status; nothing is written when it equals the old one.
    pub status: WorkflowInstanceStatus,
    /// One verdict for each signal that could be judged.
    pub verdicts: Vec<Verdict>,
    /// The outcome to write to the waiting object; the instance completes when that is seen there.
    pub write_back: Option<Outcome>,
    /// What the operator is to do: begun only when the status is written, so that it is on record; what comes of it is a fact
    /// of the next computation.
    pub activity: Option<Activity>,
    /// What to tell people in an Event, in order.
    pub notes: Vec<Note>,
    /// When to compute again although nothing changes: an escalation, a deadline, another try of what failed.
    pub wake_at: Option<Timestamp>,
}

/// What becomes of one signal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// The signal.
    pub signal: SignalRef,
    /// Whether it counted, and if not, why, in one word.
    pub reason: Reason,
    /// The same for people.
    pub message: String,
}

/// Something to tell in an Event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Note {
    /// Whether somebody should do something about it.
    pub warning: bool,
    /// A CamelCase word.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}
