//! How much the operator writes, as the API server's audit log tells it.

use crate::cluster::{Operator, OperatorOptions, ports};
use crate::load::{
    control_plane, definition, eventually, finished, instance, open, open_pairs, people, signal, verdicts,
};
use anyhow::{Context, Result, ensure};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use quorate::api::{ApprovalSignal, Decision, WorkflowInstance};
use std::collections::BTreeMap;
use std::time::Duration;

/// Per instance at most steps + counted signals + 2 status writes, plus one verdict per signal; and a restart with nothing to
/// do writes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_per_instance_are_bounded_and_a_restart_writes_nothing() -> Result<()> {
    const INSTANCES: usize = 20;
    let cluster = control_plane().await?;
    // Both listen at the same address, as the pods behind one Service: the API server need not be told of another.
    let gate = ports::free()?;
    let mut options = OperatorOptions::of(env!("CARGO_BIN_EXE_quorate"));
    options.environment.push(("QUORATE_GATE_ADDRESS".to_owned(), gate.to_string()));
    options.environment.push(("QUORATE_GATE_URL".to_owned(), format!("https://{gate}")));
    let mut first = Operator::spawn(&cluster, options.clone()).await?;
    first.wait_ready().await?;
    let admin = cluster.admin().await?;
    let namespace = cluster.temp_namespace("writes").await?;
    let names = open_pairs(&admin, &namespace, INSTANCES).await?;
    let people = people(&cluster, 2).await?;
    for (person, client) in &people {
        // One after the other, so that every signal may cost its own write.
        for name in &names[..INSTANCES / 2] {
            signal(client, &namespace, &format!("{name}-{person}"), name, Decision::Approve).await?;
        }
    }
    for name in &names[..INSTANCES / 2] {
        finished(&admin, &namespace, name).await?;
    }
    let signals = verdicts(&admin, &namespace, INSTANCES).await?;
    let written = cluster.audit().writes(|entry| entry.namespace == namespace && entry.subresource == "status").await?;
    let mut per_object: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for entry in &written {
        *per_object.entry((entry.resource.as_str(), entry.name.as_str())).or_default() += 1;
    }
    let (steps, counted) = (1, 2);
    for ((resource, name), count) in &per_object {
        let allowed = match *resource {
            "workflowinstances" => steps + counted + 2,
            "approvalsignals" => 1,
            other => anyhow::bail!("status of {other} {name} was written"),
        };
        ensure!(*count <= allowed, "{resource} {name} was written {count} times, {allowed} are allowed");
    }
    ensure!(per_object.keys().filter(|(resource, _)| *resource == "approvalsignals").count() == signals.len());

    ensure!(first.terminate(Duration::from_secs(15)).await? == 0, "the operator stops cleanly");
    let log = cluster.audit().since_now().await;
    let mut second = Operator::spawn(&cluster, options).await?;
    second.wait_ready().await?;
    // What was there before is looked at before what comes now.
    instance(&admin, &namespace, "probe", "pair").await?;
    open(&admin, &namespace, "probe").await?;
    ensure!(second.terminate(Duration::from_secs(15)).await? == 0, "the operator stops cleanly");
    let written = log
        .writes(|entry| {
            // The probe, and how many instances run on its definition.
            let counted = entry.resource == "workflowdefinitions" && entry.subresource == "status";
            // What the API server knows of the gate is put back at every start, whatever somebody made of it meanwhile.
            let gate = entry.resource == "validatingwebhookconfigurations";
            let probe = entry.name == "probe" || entry.resource == "events" || counted || gate;
            entry.user.contains(":quorate") && entry.resource != "selfsubjectreviews" && !probe
        })
        .await?;
    let told: Vec<_> = written
        .iter()
        .map(|entry| format!("{} {}/{} {}", entry.verb, entry.resource, entry.subresource, entry.name))
        .collect();
    written.is_empty().then_some(()).with_context(|| format!("a restart with nothing to do wrote {told:?}"))
}

/// Signals go with their instance: nobody else may delete them, and the operator does when the instance is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_of_a_deleted_instance_are_swept() -> Result<()> {
    let cluster = control_plane().await?;
    let mut options = OperatorOptions::of(env!("CARGO_BIN_EXE_quorate"));
    options.environment.push(("QUORATE_SWEEP_INTERVAL".to_owned(), "500ms".to_owned()));
    let operator = Operator::spawn(&cluster, options).await?;
    operator.wait_ready().await?;
    let admin = cluster.admin().await?;
    let namespace = cluster.temp_namespace("sweep").await?;
    definition(&admin, "one", 1).await?;
    let (_, person) = people(&cluster, 1).await?.remove(0);
    for name in ["kept", "deleted"] {
        instance(&admin, &namespace, name, "one").await?;
        signal(&person, &namespace, name, name, Decision::Approve).await?;
        finished(&admin, &namespace, name).await?;
    }
    verdicts(&admin, &namespace, 2).await?;
    let signals: Api<ApprovalSignal> = Api::namespaced(admin.clone(), &namespace);
    let refused = signals.delete("deleted", &DeleteParams::default()).await;
    ensure!(refused.is_err(), "a signal was deleted by hand");

    let instances: Api<WorkflowInstance> = Api::namespaced(admin.clone(), &namespace);
    instances.delete("deleted", &DeleteParams::default()).await?;
    eventually("the signals of the deleted instance are gone", async || {
        let left: Vec<_> = signals.list(&ListParams::default()).await?.iter().map(ResourceExt::name_any).collect();
        ensure!(left.contains(&"kept".to_owned()), "the signal of the other instance is gone: {left:?}");
        Ok((left.len() == 1).then_some(()))
    })
    .await
}
