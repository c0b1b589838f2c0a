//! Many people at once: what the tests of nothing getting lost have in common.

use crate::cluster::{ControlPlane, Operator, OperatorOptions, Options};
use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt};
use quorate::api::{
    Approval, ApprovalSignal, ApprovalSignalSpec, ApproverSource, Decision, NameRef, Node, Quorum, WorkflowDefinition,
    WorkflowDefinitionSpec, WorkflowInstance, WorkflowInstanceSpec,
};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The group of all approvers here.
pub const GROUP: &str = "enrollment-approvers";

/// How long anything may take before a test says that it did not happen.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// A control plane of this test's own, with the chart and no operator yet.
pub async fn control_plane() -> Result<ControlPlane> {
    let cluster = ControlPlane::start(Options::default()).await?;
    let rule = |field: &str, value: &str| format!("activities.rules[0].{field}={value}");
    let rules = [rule("apiGroups[0]", ""), rule("resources", "{configmaps}"), rule("verbs", "{create,patch}")];
    let mut values = vec!["deployment.enabled=false"];
    values.extend(rules.iter().map(String::as_str));
    cluster.install_chart(&values).await?;
    Ok(cluster)
}

/// The real operator, ready.
pub async fn operator(cluster: &ControlPlane) -> Result<Operator> {
    let operator = Operator::spawn(cluster, OperatorOptions::of(env!("CARGO_BIN_EXE_quorate"))).await?;
    operator.wait_ready().await?;
    Ok(operator)
}

/// A definition of one step, `check`, that so many of the group approve.
pub async fn definition(client: &Client, name: &str, required: i64) -> Result<()> {
    let approval = Approval {
        approvers: vec![ApproverSource { group: Some(GROUP.to_owned()), ..ApproverSource::default() }],
        required: Some(Quorum::Number(required)),
        ..Approval::default()
    };
    let node = Node { name: "check".to_owned(), approval: Some(approval), ..Node::default() };
    let spec = WorkflowDefinitionSpec { nodes: vec![node], ..WorkflowDefinitionSpec::default() };
    let api: Api<WorkflowDefinition> = Api::all(client.clone());
    api.create(&PostParams::default(), &WorkflowDefinition::new(name, spec)).await?;
    Ok(())
}

/// An instance of that definition.
pub async fn instance(client: &Client, namespace: &str, name: &str, definition: &str) -> Result<()> {
    let spec = WorkflowInstanceSpec {
        workflow_ref: Some(NameRef { name: definition.to_owned() }),
        ..WorkflowInstanceSpec::default()
    };
    let api: Api<WorkflowInstance> = Api::namespaced(client.clone(), namespace);
    api.create(&PostParams::default(), &WorkflowInstance::new(name, spec)).await?;
    Ok(())
}

/// So many open instances that two of the group decide each.
pub async fn open_pairs(client: &Client, namespace: &str, count: usize) -> Result<Vec<String>> {
    definition(client, "pair", 2).await?;
    let names: Vec<_> = (0..count).map(|number| format!("request-{number}")).collect();
    try_join_all(names.iter().map(|name| instance(client, namespace, name, "pair"))).await?;
    for name in &names {
        open(client, namespace, name).await?;
    }
    Ok(names)
}

/// A signal of whoever the client is.
pub async fn signal(client: &Client, namespace: &str, name: &str, instance: &str, decision: Decision) -> Result<()> {
    let spec = ApprovalSignalSpec { instance: instance.to_owned(), decision, ..ApprovalSignalSpec::default() };
    let mut signal = ApprovalSignal::new(name, spec);
    signal.metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let api: Api<ApprovalSignal> = Api::namespaced(client.clone(), namespace);
    api.create(&PostParams::default(), &signal).await.with_context(|| format!("signal {name}"))?;
    Ok(())
}

/// Different people of the group, connected already.
pub async fn people(cluster: &ControlPlane, count: usize) -> Result<Vec<(String, Client)>> {
    let people = (0..count).map(|number| async move {
        let name = format!("person-{number}");
        let client = cluster.as_user(&name, &[GROUP]).await?;
        client.apiserver_version().await?;
        anyhow::Ok((name, client))
    });
    try_join_all(people).await
}

/// Looks again and again until the condition holds.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        ensure!(began.elapsed() < DEADLINE, "did not happen within {} s: {what}", DEADLINE.as_secs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Every signal of a namespace, once each has a verdict.
pub async fn verdicts(client: &Client, namespace: &str, count: usize) -> Result<Vec<ApprovalSignal>> {
    let api: Api<ApprovalSignal> = Api::namespaced(client.clone(), namespace);
    eventually("every signal has a verdict", async || {
        let signals = api.list(&ListParams::default()).await?.items;
        Ok((signals.len() == count && signals.iter().all(|signal| !reason(signal).is_empty())).then_some(signals))
    })
    .await
}

/// The instance, once it has an outcome.
pub async fn finished(client: &Client, namespace: &str, name: &str) -> Result<WorkflowInstance> {
    let api: Api<WorkflowInstance> = Api::namespaced(client.clone(), namespace);
    eventually(&format!("{name} has an outcome"), async || {
        let instance = api.get(name).await?;
        Ok(instance.status.as_ref().is_some_and(|status| status.outcome.is_some()).then_some(instance))
    })
    .await
}

/// The instance, once its first step is open.
pub async fn open(client: &Client, namespace: &str, name: &str) -> Result<WorkflowInstance> {
    let api: Api<WorkflowInstance> = Api::namespaced(client.clone(), namespace);
    eventually(&format!("{name} is open"), async || {
        let instance = api.get(name).await?;
        Ok(instance.status.as_ref().is_some_and(|status| !status.tasks.is_empty()).then_some(instance))
    })
    .await
}

/// The reason of a verdict; empty while there is none.
pub fn reason(signal: &ApprovalSignal) -> String {
    signal.status.as_ref().and_then(|status| status.reason.clone()).unwrap_or_default()
}

/// How many signals have which verdict.
pub fn tally(signals: &[ApprovalSignal]) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for signal in signals {
        *tally.entry(reason(signal)).or_default() += 1;
    }
    tally
}

/// Checks that the record of an instance says the same as the verdicts: each counted signal once, and no other.
pub fn record_agrees(instance: &WorkflowInstance, signals: &[ApprovalSignal]) -> Result<()> {
    let status = instance.status.as_ref().context("the instance has a status")?;
    let mut recorded: Vec<_> = status.decisions.iter().map(|decision| decision.signal.uid.clone()).collect();
    let mut counted: Vec<_> = signals
        .iter()
        .filter(|signal| signal.spec.instance == instance.name_any() && reason(signal) == "Counted")
        .filter_map(ResourceExt::uid)
        .collect();
    recorded.sort();
    counted.sort();
    ensure!(recorded == counted, "{}: recorded {recorded:?}, verdicts say {counted:?}", instance.name_any());
    let visits: Vec<_> = status.steps.iter().map(|visit| (visit.node.as_str(), visit.visit)).collect();
    ensure!(visits.iter().all(|(_, visit)| *visit == 1), "{}: a step counted twice: {visits:?}", instance.name_any());
    Ok(())
}
