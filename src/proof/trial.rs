//! The trial: honest objects pass a server-side dry run, objects with one forged field are refused by the very policy.

use crate::api::{
    Actor, ApprovalSignal, ApprovalSignalSpec, Change, ChangeOperation, ChangeRequest, ChangeRequestSpec, ChangeTarget,
    Decision, Delegation, DelegationSpec, NameRef, WorkflowInstance, WorkflowInstanceSpec,
};
use crate::runtime::client::who_am_i;
use crate::runtime::clock::Clock;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::time::Instant;

/// The name under which the policies make no exception for the operator.
const SELF_TEST: &str = "quorate-self-test";

/// Runs the trial; what does not hold goes into `faults`.
///
/// Returns the second that the API server stamped on an honest object, if it passed.
pub(super) async fn run(
    client: &Client,
    namespace: &str,
    clock: &Clock,
    faults: &mut Vec<String>,
) -> Result<Option<i64>, kube::Error> {
    let myself = who_am_i(client).await?;
    let signal = |actor| {
        let spec = ApprovalSignalSpec {
            instance: SELF_TEST.to_owned(),
            decision: Decision::Reject,
            actor: Some(actor),
            ..ApprovalSignalSpec::default()
        };
        named(ApprovalSignal::new(SELF_TEST, spec))
    };
    let instance = |initiator| {
        let spec = WorkflowInstanceSpec {
            workflow_ref: Some(NameRef { name: SELF_TEST.to_owned() }),
            initiator: Some(initiator),
            ..WorkflowInstanceSpec::default()
        };
        named(WorkflowInstance::new(SELF_TEST, spec))
    };
    let delegation = |principal| {
        let to = format!("{SELF_TEST}-delegate");
        named(Delegation::new(
            SELF_TEST,
            DelegationSpec { to, principal: Some(principal), ..DelegationSpec::default() },
        ))
    };
    let request = |requester| {
        let target = ChangeTarget {
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            name: SELF_TEST.to_owned(),
            namespace: None,
        };
        let change = Change {
            name: SELF_TEST.to_owned(),
            operation: ChangeOperation::Delete,
            target: Some(target),
            ..Change::default()
        };
        let spec =
            ChangeRequestSpec { requester: Some(requester), changes: vec![change], ..ChangeRequestSpec::default() };
        named(ChangeRequest::new(SELF_TEST, spec))
    };
    let signals: Api<ApprovalSignal> = Api::namespaced(client.clone(), namespace);
    let instances: Api<WorkflowInstance> = Api::namespaced(client.clone(), namespace);
    let delegations: Api<Delegation> = Api::all(client.clone());
    let requests: Api<ChangeRequest> = Api::namespaced(client.clone(), namespace);
    let forged = [
        ("username", Actor { username: "quorate-self-test".to_owned(), ..myself.clone() }),
        ("uid", Actor { uid: format!("{}-forged", myself.uid), ..myself.clone() }),
        (
            "groups",
            Actor { groups: [myself.groups.as_slice(), &["quorate-self-test".to_owned()]].concat(), ..myself.clone() },
        ),
    ];
    let asked = Instant::now();
    let stamped = passes(&signals, &signal(myself.clone()), faults).await?;
    if let Some(second) = stamped {
        clock.set(second, asked, Instant::now());
    }
    passes(&instances, &instance(myself.clone()), faults).await?;
    passes(&delegations, &delegation(myself.clone()), faults).await?;
    passes(&requests, &request(myself), faults).await?;
    for (field, actor) in forged {
        let place = format!("an ApprovalSignal with a forged {field}");
        refused(&signals, &signal(actor.clone()), &place, "quorate-signal-actor", faults).await?;
        let place = format!("a WorkflowInstance with a forged {field}");
        refused(&instances, &instance(actor.clone()), &place, "quorate-instance-initiator", faults).await?;
        let place = format!("a Delegation with a forged {field}");
        refused(&delegations, &delegation(actor.clone()), &place, "quorate-delegation-principal", faults).await?;
        let place = format!("a ChangeRequest with a forged {field}");
        refused(&requests, &request(actor), &place, "quorate-change-requester", faults).await?;
    }
    Ok(stamped)
}

fn named<K: Resource<DynamicType = ()>>(mut object: K) -> K {
    *object.meta_mut() = ObjectMeta { name: Some(SELF_TEST.to_owned()), ..ObjectMeta::default() };
    object
}

async fn dry_run<K>(api: &Api<K>, object: &K) -> Result<K, kube::Error>
where
    K: Clone + DeserializeOwned + Serialize + Debug,
{
    api.create(&PostParams { dry_run: true, field_manager: None }, object).await
}

async fn passes<K>(api: &Api<K>, object: &K, faults: &mut Vec<String>) -> Result<Option<i64>, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize + Debug,
{
    match dry_run(api, object).await {
        Ok(stamped) => Ok(stamped.creation_timestamp().map(|time| time.0.as_second())),
        Err(kube::Error::Api(status)) if (400..500).contains(&status.code) && status.code != 429 => {
            faults.push(format!("an honest {} is refused: {}", K::kind(&()), status.message));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn refused<K>(
    api: &Api<K>,
    object: &K,
    place: &str,
    policy: &str,
    faults: &mut Vec<String>,
) -> Result<(), kube::Error>
where
    K: Clone + DeserializeOwned + Serialize + Debug,
{
    match dry_run(api, object).await {
        Ok(_) => faults.push(format!("{place} is not refused: policy {policy} is not in force")),
        Err(kube::Error::Api(status)) if (400..500).contains(&status.code) && status.code != 429 => {
            let by_policy = status.message.contains(&format!("ValidatingAdmissionPolicy '{policy}'"))
                && status.message.contains("must be the sender");
            if !by_policy {
                faults.push(format!("{place} is not refused by policy {policy} but: {}", status.message));
            }
        }
        Err(error) => return Err(error),
    }
    Ok(())
}
