//! Nothing is lost (R34): two hundred people in one second, and an operator killed in the middle of a hundred decisions.

use crate::cluster::ControlPlane;
use crate::load::{
    control_plane, definition, eventually, finished, instance, open, open_pairs, operator, people, reason,
    record_agrees, signal, tally, verdicts,
};
use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use quorate::api::{ApprovalSignal, Decision, Outcome};

/// 200 different people signal one instance at once; 150 of them are needed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r34_two_hundred_people_in_one_second() -> Result<()> {
    let cluster = control_plane().await?;
    let _operator = operator(&cluster).await?;
    let admin = cluster.admin().await?;
    let namespace = cluster.temp_namespace("crowd").await?;
    definition(&admin, "crowd", 150).await?;
    instance(&admin, &namespace, "crowd", "crowd").await?;
    open(&admin, &namespace, "crowd").await?;

    let people = people(&cluster, 200).await?;
    let sent = people.iter().map(|(name, client)| signal(client, &namespace, name, "crowd", Decision::Approve));
    try_join_all(sent).await?;

    let signals = verdicts(&admin, &namespace, 200).await?;
    let instance = finished(&admin, &namespace, "crowd").await?;
    let status = instance.status.as_ref().context("the instance has a status")?;
    ensure!(status.outcome == Some(Outcome::Approved), "{:?}", status.outcome);
    let tally = tally(&signals);
    ensure!(tally.get("Counted") == Some(&150) && tally.get("StepClosed") == Some(&50), "{tally:?}");
    record_agrees(&instance, &signals)?;
    one_verdict_each(&cluster, &namespace, 200, false).await
}

/// 100 instances get their deciding signals at once; the operator is killed when some have been judged, and started again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r34_operator_killed_among_a_hundred_decisions() -> Result<()> {
    const INSTANCES: usize = 100;
    let cluster = control_plane().await?;
    let mut first = operator(&cluster).await?;
    let admin = cluster.admin().await?;
    let namespace = cluster.temp_namespace("killed").await?;
    let names = open_pairs(&admin, &namespace, INSTANCES).await?;
    let people = people(&cluster, 3).await?;
    let [(_, one), (_, two), (_, three)] = people.as_slice() else { anyhow::bail!("three people") };
    let early: Vec<_> = names.iter().map(|name| format!("{name}-first")).collect();
    try_join_all(
        names
            .iter()
            .zip(&early)
            .map(|(name, signal_name)| signal(one, &namespace, signal_name, name, Decision::Approve)),
    )
    .await?;
    verdicts(&admin, &namespace, INSTANCES).await?;

    // Every third is rejected; the others get a second approval, and a third one that comes too late or not.
    let rejected = |number: usize| number.is_multiple_of(3);
    let sending = async {
        let namespace = namespace.as_str();
        let deciding = names.iter().enumerate().map(|(number, name)| async move {
            let decision = if rejected(number) { Decision::Reject } else { Decision::Approve };
            signal(two, namespace, &format!("{name}-second"), name, decision).await
        });
        try_join_all(deciding).await
    };
    let api: Api<ApprovalSignal> = Api::namespaced(admin.clone(), &namespace);
    let killing = async {
        eventually("some of the deciding signals are judged", async || {
            let signals = api.list(&ListParams::default()).await?.items;
            let judged =
                signals.iter().filter(|signal| signal.name_any().ends_with("-second") && !reason(signal).is_empty());
            Ok((judged.count() >= 10).then_some(()))
        })
        .await?;
        first.kill().await?;
        operator(&cluster).await
    };
    let (sent, second) = tokio::join!(sending, killing);
    sent?;
    let _second = second?;
    try_join_all(names.iter().map(|name| {
        let signal_name = format!("{name}-third");
        let namespace = namespace.clone();
        async move { signal(three, &namespace, &signal_name, name, Decision::Approve).await }
    }))
    .await?;

    let signals = verdicts(&admin, &namespace, 3 * INSTANCES).await?;
    for (number, name) in names.iter().enumerate() {
        let instance = finished(&admin, &namespace, name).await?;
        let status = instance.status.as_ref().context("the instance has a status")?;
        let expected = if rejected(number) { Outcome::Rejected } else { Outcome::Approved };
        ensure!(status.outcome == Some(expected), "{name}: {:?}", status.outcome);
        record_agrees(&instance, &signals)?;
    }
    let tally = tally(&signals);
    ensure!(tally.get("Counted") == Some(&(2 * INSTANCES)), "{tally:?}");
    ensure!(tally.get("StepClosed") == Some(&INSTANCES), "{tally:?}");
    one_verdict_each(&cluster, &namespace, 3 * INSTANCES, true).await
}

/// The API server's own record: no signal's status was written twice, and every one was written. A write whose sender is killed
/// before it is answered may be carried out and yet be logged as failed: `killed` allows for those.
async fn one_verdict_each(cluster: &ControlPlane, namespace: &str, signals: usize, killed: bool) -> Result<()> {
    let written = cluster
        .audit()
        .writes(|entry| {
            entry.resource == "approvalsignals" && entry.subresource == "status" && entry.namespace == namespace
        })
        .await?;
    let mut names: Vec<_> = written.iter().map(|entry| entry.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    ensure!(written.len() == names.len(), "{} verdicts were written for {} signals", written.len(), names.len());
    ensure!(killed || names.len() == signals, "{} signals have a verdict, not {signals}", names.len());
    Ok(())
}
