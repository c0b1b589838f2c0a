//! What [`super::advance()`] goes by, and what comes of it: plain data.

use crate::api::{ChangeRequestSpec, ChangeRequestStatus, Execution, Held, Outcome, PlannedProcess};
use crate::engine::{Note, Proof};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

/// Everything that [`advance()`](super::advance()) goes by.
pub struct Facts<'a> {
    /// The request, without its status.
    pub request: Request<'a>,
    /// The status as it was last written.
    pub status: &'a ChangeRequestStatus,
    /// Since when the API server provably proves who asks.
    pub proof: &'a Proof,
    /// What was found about changes that were not looked at before, by name.
    pub looks: &'a BTreeMap<String, Look>,
    /// The instances of this request that exist, by name.
    pub instances: &'a BTreeMap<String, Seen>,
    /// What the processes say about carrying out, by name.
    pub terms: &'a BTreeMap<String, Terms>,
    /// Whether the installation lets the operator repeat requests in the name of their requesters.
    pub automatic: bool,
    /// The request that this one corrects.
    pub precedent: &'a Precedent,
    /// What is seen of changes that were let through, by name.
    pub effects: &'a BTreeMap<String, Effect>,
    /// What came of carrying changes out, by name.
    pub results: &'a BTreeMap<String, Result>,
    /// The moment, in the API server's time.
    pub now: Timestamp,
}

/// The request, without its status.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// metadata.name.
    pub name: &'a str,
    /// metadata.uid.
    pub uid: &'a str,
    /// metadata.generation.
    pub generation: Option<i64>,
    /// metadata.creationTimestamp in seconds.
    pub created_at: i64,
    /// The spec, which never changes.
    pub spec: &'a ChangeRequestSpec,
}

/// What was found about a change written by hand.
#[derive(Clone, Debug, PartialEq)]
pub enum Look {
    /// It may not be asked for: why, for people.
    Refused(String),
    /// It cannot be told yet who must agree: why, for people.
    Held(String),
    /// It can be asked for.
    Found(Box<Found>),
}

/// Who must agree to a change written by hand, and what it is about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The processes, in order.
    pub processes: Vec<PlannedProcess>,
    /// The request as the gate would see it.
    pub held: Option<Held>,
    /// The object as it is to be, as people are shown it.
    pub object: Option<Value>,
}

/// An instance of the request.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Seen {
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Whether it has agreed, and waits until the change is carried out.
    pub agreed: bool,
    /// Where it stands, for people; with the comments of rejections, which the requester sees.
    pub message: String,
}

/// What a process says about carrying out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Terms {
    /// Who carries it out, and until when.
    pub execution: Option<Execution>,
}

/// The request that another one corrects.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Precedent {
    /// It corrects none.
    None,
    /// It has been ended for this one.
    Ended,
    /// It can be ended for this one.
    Open,
    /// It cannot be corrected: why, for people.
    Refused(String),
}

/// What is seen of a change that was let through.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Effect {
    /// It is there.
    Seen,
    /// It provably is not.
    Missing,
    /// It is not there now; whether it was cannot be told: why, for people.
    Unknown(String),
}

/// What came of carrying a change out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Result {
    /// It is carried out.
    Done(String),
    /// The API server refused: what it said, and whether it may answer otherwise later.
    Refused {
        /// For people.
        message: String,
        /// Whether it is worth another try.
        again: bool,
    },
}

/// What is to be done. The status is written first, with the resourceVersion that the facts were read at.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The new status; nothing is written when it equals the old one.
    pub status: ChangeRequestStatus,
    /// Instances to open, if they do not exist.
    pub open: Vec<Opening>,
    /// Changes to carry out now: the attempt is recorded in the status.
    pub carry_out: Vec<Attempt>,
    /// Whether the request that this one corrects is to be ended; everything else waits for that.
    pub end_precedent: bool,
    /// What to tell people in an Event, in order.
    pub notes: Vec<Note>,
    /// When to compute again although nothing changes.
    pub wake_at: Option<Timestamp>,
}

/// A change to carry out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attempt {
    /// The change, by name.
    pub change: String,
    /// Whether somebody tried before and could not record what came of it.
    pub in_doubt: bool,
}

/// An instance to open.
#[derive(Clone, Debug, PartialEq)]
pub struct Opening {
    /// metadata.name.
    pub name: String,
    /// The change, by name.
    pub change: String,
    /// The process, and what it says that the change is about.
    pub process: PlannedProcess,
    /// Whom it is about, where each subject has an instance of their own.
    pub subject: Option<String>,
    /// Whether it looks at the change afterwards and decides nothing about it.
    pub review: bool,
}
