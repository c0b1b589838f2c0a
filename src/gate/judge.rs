//! Whether one operation may go on: a function of what is asked, of the change requests that are known about it, and of the moment.

use crate::api::{
    Actor, Change, ChangeOperation, ChangeRequest, ChangeRequestSpec, ChangeState, ChangeStatus, ChangeTarget,
    Execution, Held, Operation,
};
use crate::change::carrier::{REPEATED, VALID_FOR};
use crate::hex::hex;
use jiff::{SignedDuration, Timestamp};
use kube::core::ObjectMeta;
use kube::{Resource as _, ResourceExt as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// The name of the one change of a request that the gate opens.
pub const CHANGE: &str = "operation";

/// The label by which the requests of one requester about one operation on one object are found.
pub const OBJECT_LABEL: &str = "quorate.dev/operation";

/// What the names of the gate's requests begin with: nobody else may use it.
pub const PREFIX: &str = "gate-";

/// What is judged by.
pub struct Facts<'a> {
    /// Who asks.
    pub requester: &'a Actor,
    /// What is asked, and who has to agree; with a reason where the requester may pass without approval.
    pub held: &'a Held,
    /// The object to keep with the request.
    pub object: Option<&'a Value>,
    /// How the processes say that it is carried out.
    pub execution: &'a Execution,
    /// Where its request lives.
    pub namespace: &'a str,
    /// The requests of that namespace with its [`object_label`], or its name.
    pub known: &'a [ChangeRequest],
    /// Whether a request was claimed for the very name that the server now makes up again: a call that it repeats.
    pub repeats: &'a dyn Fn(&ChangeRequest) -> bool,
    /// The moment.
    pub now: Timestamp,
}

/// What becomes of an operation that needs approval.
#[derive(Clone, Debug, PartialEq)]
pub enum Judgement {
    /// It goes on: it is the same one that passed a moment ago.
    Repeat,
    /// It goes on once the grant of this request is claimed.
    Claim(Box<ChangeRequest>),
    /// It is refused, and a request is opened. One with a reason to pass goes on once it is recorded.
    Open(Box<ChangeRequest>),
    /// It is refused: this request is being decided.
    Wait(Box<ChangeRequest>),
    /// It is refused: this request was rejected.
    Rejected(Box<ChangeRequest>),
}

/// Judges an operation.
#[must_use]
pub fn judge(facts: &Facts<'_>) -> Judgement {
    let name = name(facts.requester, facts.held);
    let mut family: Vec<(u32, &ChangeRequest)> =
        facts.known.iter().filter_map(|request| Some((number(&name, &request.name_any())?, request))).collect();
    family.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    let own = family.iter().filter(|(_, request)| is_for(request, facts));
    for (_, request) in own {
        if facts.held.bypass_reason.is_some() {
            let made = request.creation_timestamp().map_or(Timestamp::MIN, |made| made.0);
            if facts.now.duration_since(made) <= REPEATED {
                return Judgement::Repeat;
            }
            continue;
        }
        match standing(request, facts) {
            Standing::Spent => {}
            Standing::Open => return Judgement::Wait(Box::new((*request).clone())),
            Standing::Rejected => return Judgement::Rejected(Box::new((*request).clone())),
            Standing::Granted => return Judgement::Claim(Box::new((*request).clone())),
            Standing::Claimed => return Judgement::Repeat,
        }
    }
    let next = family.first().map_or(1, |(number, _)| number + 1);
    let name = if next == 1 { name } else { format!("{name}-{next}") };
    Judgement::Open(Box::new(opened(name, facts)))
}

/// What was asked before by the same requester about the same operation on the same object, and was something else: the newest
/// one that was approved or rejected.
#[must_use]
pub fn drifted<'a>(facts: &'a Facts<'_>) -> Option<&'a ChangeRequest> {
    let name = name(facts.requester, facts.held);
    let others = facts.known.iter().filter(|request| {
        let held = held_of(request);
        number(&name, &request.name_any()).is_none()
            && held.is_some_and(|held| held.bypass_reason.is_none() && same_object(held, facts.held))
            && is_requester(request, facts.requester)
            && matches!(standing(request, facts), Standing::Granted | Standing::Rejected | Standing::Open)
    });
    others.max_by_key(|request| (request.creation_timestamp().map(|made| made.0), request.name_any()))
}

/// Where a request stands for whoever would pass by it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Standing {
    /// People are asked.
    Open,
    /// Its grant can be claimed.
    Granted,
    /// Its grant was claimed a moment ago.
    Claimed,
    /// It was rejected, not long ago.
    Rejected,
    /// Nobody passes by it any more.
    Spent,
}

fn standing(request: &ChangeRequest, facts: &Facts<'_>) -> Standing {
    let now = facts.now;
    let Some(change) = change_of(request) else { return Standing::Open };
    match change.state {
        ChangeState::Pending | ChangeState::InApproval => Standing::Open,
        ChangeState::Approved => match &change.grant {
            None => Standing::Open,
            Some(grant) if grant.used_at.is_some() => Standing::Spent,
            Some(grant) => match &grant.claimed_at {
                None if grant.valid_until.0 > now => Standing::Granted,
                // Under a name that the server makes up each repetition would make another object.
                Some(_) if facts.held.generated_name && !(facts.repeats)(request) => Standing::Spent,
                Some(claimed) if now.duration_since(claimed.0) <= REPEATED => Standing::Claimed,
                None | Some(_) => Standing::Spent,
            },
        },
        ChangeState::Rejected => {
            let valid_for = request.spec.execution.as_ref().map_or(VALID_FOR, valid_for);
            let decided = change.decided_at.as_ref().or(change.ended_at.as_ref()).map(|at| at.0);
            let stands = decided.is_none_or(|decided| now.duration_since(decided) < valid_for);
            if stands { Standing::Rejected } else { Standing::Spent }
        }
        ChangeState::Expired | ChangeState::Cancelled | ChangeState::Executed | ChangeState::Failed => Standing::Spent,
    }
}

/// How long the approval of a change can be used.
#[must_use]
pub fn valid_for(execution: &Execution) -> SignedDuration {
    execution.valid_for.as_ref().and_then(|text| text.parse().ok()).unwrap_or(VALID_FOR)
}

/// What the gate held back with a request.
#[must_use]
pub fn held_of(request: &ChangeRequest) -> Option<&Held> {
    request.spec.changes.first()?.held.as_ref()
}

/// Where the change of a request stands; none where nobody has looked at it.
#[must_use]
pub fn change_of(request: &ChangeRequest) -> Option<&ChangeStatus> {
    request.status.as_ref()?.changes.iter().find(|change| change.name == CHANGE)
}

/// Whether a request under this name is the gate's own, for exactly this.
fn is_for(request: &ChangeRequest, facts: &Facts<'_>) -> bool {
    is_requester(request, facts.requester)
        && held_of(request).is_some_and(|held| {
            same_object(held, facts.held)
                && (&held.digest, &held.base, &held.bypass_reason)
                    == (&facts.held.digest, &facts.held.base, &facts.held.bypass_reason)
                && asked_all(held, facts.held)
        })
        && request.meta().deletion_timestamp.is_none()
}

/// Whether every process that must agree now was among those that were asked then (rule 18).
fn asked_all(then: &Held, now: &Held) -> bool {
    now.processes.iter().all(|process| then.processes.iter().any(|asked| asked.name == process.name))
}

fn is_requester(request: &ChangeRequest, requester: &Actor) -> bool {
    request.spec.requester.as_ref().is_some_and(|stamped| stamped.is_same(requester))
}

fn same_object(one: &Held, other: &Held) -> bool {
    let object = |held: &Held| {
        let Held { operation, group, resource, subresource, namespace, name, generated_name, .. } = held;
        (*operation, [group, resource, subresource, namespace, name].map(Clone::clone), *generated_name)
    };
    object(one) == object(other)
}

/// The name of the first request for this of this requester. Short enough to be typed: should two ever share it, the second is told
/// apart by what it holds, and takes the next number.
#[must_use]
pub fn name(requester: &Actor, held: &Held) -> String {
    let what = json!([object(requester, held), held.digest, held.base, held.bypass_reason]);
    format!("{PREFIX}{}", hash(&what).split_at(16).0)
}

/// The value of [`OBJECT_LABEL`]: the same for whatever one requester asks about one operation on one object.
#[must_use]
pub fn object_label(requester: &Actor, held: &Held) -> String {
    hash(&object(requester, held))
}

fn object(requester: &Actor, held: &Held) -> Value {
    let Held { operation, group, resource, subresource, namespace, name, generated_name, .. } = held;
    let of = json!([operation, group, resource, subresource, namespace, name, generated_name]);
    json!([requester.username, requester.lasting_uid(), of])
}

fn hash(value: &Value) -> String {
    hex(&Sha256::digest(value.to_string().as_bytes())[..20])
}

/// The number of a request of that name: 1 for the name itself, then `-2`, `-3`.
fn number(name: &str, of: &str) -> Option<u32> {
    let rest = of.strip_prefix(name)?;
    if rest.is_empty() { Some(1) } else { rest.strip_prefix('-')?.parse().ok().filter(|number| *number > 1) }
}

fn opened(name: String, facts: &Facts<'_>) -> ChangeRequest {
    let held = facts.held;
    let target = ChangeTarget {
        api_version: if held.group.is_empty() {
            held.version.clone()
        } else {
            format!("{}/{}", held.group, held.version)
        },
        kind: held.kind.clone(),
        namespace: Some(held.namespace.clone()).filter(|namespace| !namespace.is_empty()),
        name: held.name.clone(),
    };
    let operation = match held.operation {
        Operation::Create => ChangeOperation::Create,
        Operation::Update => ChangeOperation::Update,
        Operation::Delete => ChangeOperation::Delete,
    };
    let change = Change {
        name: CHANGE.to_owned(),
        operation,
        object: facts.object.cloned(),
        target: (held.operation == Operation::Delete).then_some(target),
        held: Some(held.clone()),
        ..Change::default()
    };
    let corrects = drifted(facts).filter(|other| standing(other, facts) == Standing::Rejected);
    let spec = ChangeRequestSpec {
        requester: Some(facts.requester.clone()),
        reason: held.bypass_reason.clone(),
        supersedes: corrects.map(kube::ResourceExt::name_any).filter(|_| held.bypass_reason.is_none()),
        changes: vec![change],
        execution: Some(facts.execution.clone()),
    };
    let mut request = ChangeRequest::new(&name, spec);
    request.metadata = ObjectMeta {
        name: Some(name),
        namespace: Some(facts.namespace.to_owned()),
        labels: Some(BTreeMap::from([(OBJECT_LABEL.to_owned(), object_label(facts.requester, held))])),
        ..ObjectMeta::default()
    };
    request
}
