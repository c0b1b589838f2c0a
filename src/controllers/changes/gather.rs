//! Gathers the facts that a change request is moved by.

use super::look::{self, Place};
use super::{Error, Known, digest_key};
use crate::api::{
    Change, ChangeRequest, ChangeRequestStatus, ChangeState, ChangeStatus, Held, Operation, Outcome, WorkflowInstance,
    condition,
};
use crate::change;
use crate::change::advance::{instance_name, processes, state_of, wanted};
use crate::change::facts::{Effect, Facts, Look, Plan, Precedent, Request, Seen, Terms};
use crate::change::payload::happened;
use crate::controllers::Context;
use crate::controllers::instances::comments;
use crate::engine::Proof;
use crate::proof::Stamped;
use kube::{Api, ResourceExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// Everything that one computation goes by, owned.
pub struct Gathered {
    /// The request, as it was just read.
    pub request: ChangeRequest,
    status: ChangeRequestStatus,
    proof: Proof,
    looks: BTreeMap<String, Look>,
    instances: BTreeMap<String, Seen>,
    terms: BTreeMap<String, Terms>,
    precedent: Precedent,
    effects: BTreeMap<String, Effect>,
}

impl Gathered {
    /// What becomes of the request.
    pub fn plan(&self, results: &Known, context: &Context) -> Plan {
        let (name, uid) = (self.request.name_any(), self.request.uid().unwrap_or_default());
        change::advance(&Facts {
            request: about(&self.request, &name, &uid),
            status: &self.status,
            proof: &self.proof,
            looks: &self.looks,
            instances: &self.instances,
            terms: &self.terms,
            automatic: context.options.automatic,
            precedent: &self.precedent,
            effects: &self.effects,
            results,
            now: context.clock.now(),
        })
    }

    /// The status that the plan was computed from.
    pub fn status(&self) -> &ChangeRequestStatus {
        &self.status
    }
}

fn about<'a>(request: &'a ChangeRequest, name: &'a str, uid: &'a str) -> Request<'a> {
    Request {
        name,
        uid,
        generation: request.metadata.generation,
        created_at: request.creation_timestamp().map_or(i64::MIN, |time| time.0.as_second()),
        spec: &request.spec,
    }
}

/// Gathers the facts of a request that was just read.
pub async fn gather(request: ChangeRequest, context: &Arc<Context>) -> Result<Gathered, Error> {
    let status = request.status.clone().unwrap_or_default();
    let mut gathered = Gathered {
        status,
        proof: context.prover.proof(),
        looks: BTreeMap::new(),
        instances: BTreeMap::new(),
        terms: BTreeMap::new(),
        precedent: Precedent::None,
        effects: BTreeMap::new(),
        request,
    };
    let fresh = ChangeStatus::default();
    let state = |change: &Change| state_of(&gathered.status, &change.name).unwrap_or(&fresh).clone();
    let changes: Vec<(Change, ChangeStatus)> =
        gathered.request.spec.changes.iter().map(|change| (change.clone(), state(change))).collect();
    if changes.iter().any(|(_, status)| status.state == ChangeState::Pending) {
        // Whoever asks must have been stamped under the policies as they still are.
        gathered.proof = context.prover.confirm(Stamped::Changes, Instant::now()).await?;
        gathered.precedent = precedent(&gathered.request, context).await?;
        if may_begin(&gathered) {
            for (change, _) in
                changes.iter().filter(|(change, status)| status.state == ChangeState::Pending && change.held.is_none())
            {
                let found = look::look(change, &gathered.request, context).await?;
                gathered.looks.insert(change.name.clone(), found);
            }
        }
    }
    for (change, status) in &changes {
        for process in processes(change, status) {
            gathered.terms.insert(process.name.clone(), terms_of(&process.name, context));
        }
        if let Some(Look::Found(found)) = gathered.looks.get(&change.name) {
            for process in &found.processes {
                gathered.terms.insert(process.name.clone(), terms_of(&process.name, context));
            }
        }
        for name in names(&gathered.request, change, status) {
            if let Some(seen) = seen(&name, change, &gathered.request, context).await? {
                gathered.instances.insert(name, seen);
            }
        }
        let claimed = status.grant.as_ref().is_some_and(|grant| grant.claimed_at.is_some());
        if claimed
            && status.state == ChangeState::Approved
            && let Some(held) = change.held.as_ref().or(status.held.as_ref())
        {
            gathered.effects.insert(change.name.clone(), effect(held, context).await?);
        }
    }
    Ok(gathered)
}

/// Whether it makes sense to look at what is asked for.
fn may_begin(gathered: &Gathered) -> bool {
    let created = gathered.request.creation_timestamp().map_or(i64::MIN, |time| time.0.as_second());
    let proven = matches!(gathered.proof, Proof::Since(since) if created > since);
    proven && matches!(gathered.precedent, Precedent::None | Precedent::Ended)
}

fn terms_of(process: &str, context: &Context) -> Terms {
    let found = context.processes.get(&kube::runtime::reflector::ObjectRef::new(process));
    Terms { execution: found.and_then(|process| process.spec.execution.clone()) }
}

/// The instances of a change that may exist and are not known to have ended.
fn names(request: &ChangeRequest, change: &Change, status: &ChangeStatus) -> Vec<String> {
    let (name, uid) = (request.name_any(), request.uid().unwrap_or_default());
    let of = about(request, &name, &uid);
    let mut names = Vec::new();
    for process in processes(change, status) {
        if status.state == ChangeState::InApproval {
            names.extend(
                wanted(process)
                    .iter()
                    .map(|subject| instance_name(&of, &change.name, &process.name, subject.as_deref(), false)),
            );
        }
        if status.state == ChangeState::Approved {
            // Those that wait at their execute nodes may be withdrawn.
            names.extend(status.instances.iter().filter(|own| own.process == process.name).map(|own| own.name.clone()));
        }
        if status.state == ChangeState::Executed {
            names.push(instance_name(&of, &change.name, &process.name, None, true));
        }
    }
    let known = |name: &String| status.instances.iter().find(|instance| instance.name == *name);
    names.retain(|name| known(name).is_some_and(|instance| instance.outcome.is_none()));
    names
}

/// An instance of a change, if it exists: under that name, and opened by the operator for this very change.
async fn seen(name: &str, change: &Change, request: &ChangeRequest, context: &Context) -> Result<Option<Seen>, Error> {
    let namespace = request.namespace().unwrap_or_default();
    let api: Api<WorkflowInstance> = Api::namespaced(context.client.clone(), &namespace);
    let failed = |source| Error::Api { name: name.to_owned(), source };
    let Some(instance) = api.get_opt(name).await.map_err(failed)? else { return Ok(None) };
    let own =
        instance.spec.change_ref.as_ref().is_some_and(|reference| {
            reference.uid == request.uid().unwrap_or_default() && reference.change == change.name
        });
    if !own {
        return Err(Error::NameTaken { name: name.to_owned(), request: request.name_any() });
    }
    let status = instance.status.unwrap_or_default();
    let says = |type_| condition(&status.conditions, type_);
    let mut message = says("Approved").map(|condition| condition.message.clone()).unwrap_or_default();
    if status.outcome == Some(Outcome::Rejected) {
        message.push_str(&comments(&namespace, &status, context).await?);
    }
    let agreed = says("Completed").is_some_and(|completed| completed.reason == "WaitingForExecution");
    Ok(Some(Seen { outcome: status.outcome, agreed, message }))
}

/// Whether the effect of what was let through is there, as far as the operator may see it.
async fn effect(held: &Held, context: &Context) -> Result<Effect, Error> {
    if held.generated_name {
        return Ok(Effect::Unknown("its effect cannot be seen, since the server made up the name".to_owned()));
    }
    let place = Place::held(held);
    match look::read(&place, context).await {
        Ok(now) if happened(held, now.as_ref(), &digest_key(context)) => Ok(Effect::Seen),
        // An object that was made and removed again leaves no trace, and fields may be set back: that an object is still there
        // is all that can be proven.
        Ok(_) if held.operation == Operation::Delete => Ok(Effect::Missing),
        Ok(_) => Ok(Effect::Unknown("its effect was not seen".to_owned())),
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(Effect::Unknown(format!(
            "the operator may not read {}, so that its effect was not seen (chart value gate.observe)",
            held.resource
        ))),
        Err(kube::Error::Api(status)) if status.is_not_found() => {
            Ok(Effect::Unknown("its effect was not seen".to_owned()))
        }
        Err(source) => Err(Error::Api { name: held.name.clone(), source }),
    }
}

/// What becomes of the request that this one corrects.
async fn precedent(request: &ChangeRequest, context: &Context) -> Result<Precedent, Error> {
    let Some(name) = &request.spec.supersedes else { return Ok(Precedent::None) };
    let own = request.name_any();
    if *name == own {
        return Ok(Precedent::Refused("spec.supersedes: a change request cannot correct itself".to_owned()));
    }
    let namespace = request.namespace().unwrap_or_default();
    let api: Api<ChangeRequest> = Api::namespaced(context.client.clone(), &namespace);
    let found = api.get_opt(name).await.map_err(|source| Error::Api { name: name.clone(), source })?;
    let precedent = found.map_or_else(
        || Precedent::Refused(format!("spec.supersedes: there is no changerequest {name} in {namespace}")),
        |older| correctable(&older, request),
    );
    // The gate names what was rejected before for the record: whoever is held now did not write that, and is asked about all the same.
    let gated = request.spec.changes.iter().any(|change| change.held.is_some());
    Ok(if gated && matches!(precedent, Precedent::Refused(_)) { Precedent::None } else { precedent })
}

/// Whether a request may be ended for one that corrects it: of the same requester, and nothing of it carried out. One that was
/// rejected has ended already, and is only told what corrects it.
pub fn correctable(older: &ChangeRequest, newer: &ChangeRequest) -> Precedent {
    let (name, status) = (older.name_any(), older.status.clone().unwrap_or_default());
    let same = older.spec.requester.as_ref().zip(newer.spec.requester.as_ref());
    let refused = |why: String| Precedent::Refused(format!("spec.supersedes: {why}"));
    if !same.is_some_and(|(older, newer)| older.is_same(newer)) {
        return refused(format!("changerequest {name} was made by somebody else"));
    }
    let done = status.completed_at.is_some();
    match &status.superseded_by {
        Some(by) if *by == newer.name_any() => return Precedent::Ended,
        // What was refused may be corrected in more than one way: there is nothing to end.
        Some(_) if done => {}
        Some(by) => return refused(format!("changerequest {name} was corrected by {by} before")),
        None => {}
    }
    let under_way = status.changes.iter().find(|change| {
        let claimed = change.grant.as_ref().is_some_and(|grant| grant.claimed_at.is_some());
        change.state == ChangeState::Executed
            || (change.state == ChangeState::Approved && (change.attempts > 0 || claimed))
    });
    match under_way {
        Some(change) => refused(format!("change {} of changerequest {name} is carried out", change.name)),
        None if done && status.superseded_by.is_some() => Precedent::Ended,
        None => Precedent::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::{Precedent, correctable};
    use crate::api::{Actor, ChangeRequest, ChangeRequestSpec, ChangeRequestStatus, ChangeState, ChangeStatus};
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn of_mary(name: &str) -> ChangeRequest {
        let requester = Some(Actor { username: "mary".to_owned(), ..Actor::default() });
        ChangeRequest::new(name, ChangeRequestSpec { requester, ..ChangeRequestSpec::default() })
    }

    fn ended(state: ChangeState, superseded_by: Option<&str>) -> ChangeRequest {
        let change = ChangeStatus { name: "operation".to_owned(), state, ..ChangeStatus::default() };
        let mut request = of_mary("older");
        request.status = Some(ChangeRequestStatus {
            changes: vec![change],
            superseded_by: superseded_by.map(str::to_owned),
            completed_at: Some(Time(Timestamp::UNIX_EPOCH)),
            ..ChangeRequestStatus::default()
        });
        request
    }

    #[test]
    fn r57_what_was_rejected_can_be_corrected_and_what_was_carried_out_cannot() {
        let newer = of_mary("newer");
        assert_eq!(correctable(&ended(ChangeState::Rejected, None), &newer), Precedent::Open);
        for by in ["newer", "another"] {
            assert_eq!(correctable(&ended(ChangeState::Rejected, Some(by)), &newer), Precedent::Ended);
        }
        assert!(matches!(correctable(&ended(ChangeState::Executed, None), &newer), Precedent::Refused(_)));
    }
}
