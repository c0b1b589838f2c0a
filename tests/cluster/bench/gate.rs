//! What the gate adds to a request: fifty people patch `ConfigMaps`, without a gate and with one, in one run.
//!
//! Everybody has a `ConfigMap` in each of three namespaces. In the first round no process gates anything; in the second one
//! namespace is gated and its requests pass (the process says `skip`), one is gated and its requests are held, and one is not
//! gated. Each round mixes the three, so that what differs between them is the gate alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use quorate::api::{ApprovalProcess, ChangeRequest, is_true};
use serde::Serialize;
use serde_json::json;
use tokio::task::JoinSet;

use super::report::Distribution;
use crate::cluster::{ControlPlane, kubeconfig};

/// People who ask at the same time.
const PEOPLE: usize = 50;

/// How often each of them asks.
const PACE: Duration = Duration::from_millis(500);

/// How long the gate may take to be ready.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a request meets in the second round.
#[derive(Clone, Copy, Debug)]
enum Met {
    Nothing,
    Passes,
    Held,
}

const MET: [Met; 3] = [Met::Nothing, Met::Passes, Met::Held];

/// Latencies of patches, in milliseconds.
#[derive(Debug, Serialize)]
pub struct Gate {
    /// No process gates anything.
    pub without: Distribution,
    /// A process gates `ConfigMaps` elsewhere.
    pub not_gated: Distribution,
    /// The operator is asked, and lets it pass.
    pub passes: Distribution,
    /// The operator is asked, and refuses: it is held already.
    pub held: Distribution,
}

/// Asks for so long in each round.
pub async fn measure(cluster: &ControlPlane, round: Duration) -> Result<Gate> {
    let admin = cluster.admin().await?;
    let mut namespaces = Vec::new();
    for met in ["bench-free", "bench-passes", "bench-held"] {
        namespaces.push(cluster.temp_namespace(met).await?);
    }
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "bench-editors"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "bench-editors"}],
    });
    cluster.apply(&binding.to_string()).await?.ok()?;
    for namespace in &namespaces {
        let config_maps: Api<ConfigMap> = Api::namespaced(admin.clone(), namespace);
        for number in 0..PEOPLE {
            let mut config_map = ConfigMap::default();
            config_map.metadata.name = Some(format!("of-{number}"));
            config_maps.create(&PostParams::default(), &config_map).await?;
        }
    }
    let mut people = Vec::new();
    for number in 0..PEOPLE {
        let mut config =
            kubeconfig::config(cluster.kubeconfig(&format!("bench-{number}"), &["bench-editors"])?).await?;
        config.default_retry = false;
        let client = kube::Client::try_from(config)?;
        let config_maps: Vec<Api<ConfigMap>> =
            namespaces.iter().map(|namespace| Api::namespaced(client.clone(), namespace)).collect();
        config_maps[0].get(&format!("of-{number}")).await?;
        people.push(Arc::new(config_maps));
    }

    let [first, second, third] = ask(&people, round, "without", false).await?;
    let without = Distribution::of(first.into_iter().chain(second).chain(third))?;

    gate(cluster, "bench-gate-passes", &namespaces[1], None).await?;
    gate(cluster, "bench-gate-held", &namespaces[2], Some("two")).await?;
    // Every request of the held namespace is there before the round: what is measured is what repeats meet.
    ask(&people, PACE, "held", true).await?;
    let [not_gated, passes, held] = ask(&people, round, "held", true).await?;
    let requests: Api<ChangeRequest> = Api::namespaced(admin.clone(), &namespaces[2]);
    let opened = requests.list(&ListParams::default()).await?.items.len();
    ensure!(opened == PEOPLE, "{PEOPLE} people asked for one change each, and {opened} change requests were opened");

    let processes: Api<ApprovalProcess> = Api::all(admin);
    for name in ["bench-gate-passes", "bench-gate-held"] {
        processes.delete(name, &kube::api::DeleteParams::default()).await?;
    }
    Ok(Gate {
        without,
        not_gated: Distribution::of(not_gated)?,
        passes: Distribution::of(passes)?,
        held: Distribution::of(held)?,
    })
}

/// Everybody patches at their pace, for so long; gives how long each patch took, by what it meets.
async fn ask(
    people: &[Arc<Vec<Api<ConfigMap>>>],
    round: Duration,
    word: &'static str,
    gated: bool,
) -> Result<[Vec<Duration>; 3]> {
    let until = Instant::now() + round;
    let mut asking = JoinSet::new();
    for (number, config_maps) in people.iter().enumerate() {
        let config_maps = config_maps.clone();
        asking.spawn(async move {
            let name = format!("of-{number}");
            let mut took: [Vec<Duration>; 3] = Default::default();
            let mut ticks = tokio::time::interval(PACE);
            // Not everybody in the same moment.
            tokio::time::sleep(PACE * u32::try_from(number)? / u32::try_from(PEOPLE)?).await;
            let mut turn = number;
            while Instant::now() < until {
                ticks.tick().await;
                turn += 1;
                let met = turn % MET.len();
                let refused = gated && matches!(MET[met], Met::Held);
                // What is held is the same change every time; what passes is a new one.
                let value = if refused { word.to_owned() } else { format!("{word} {turn}") };
                let patch = Patch::Merge(json!({"data": {"value": value}}));
                let began = Instant::now();
                match config_maps[met].patch(&name, &PatchParams::default(), &patch).await {
                    Ok(_) if !refused => {}
                    Err(kube::Error::Api(status)) if refused && status.message.contains("held for approval") => {}
                    Ok(_) => bail!("{name}: a patch passed that should have been held"),
                    Err(error) => return Err(error).context(name),
                }
                took[met].push(began.elapsed());
            }
            anyhow::Ok(took)
        });
    }
    let mut all: [Vec<Duration>; 3] = Default::default();
    while let Some(took) = asking.join_next().await {
        for (all, took) in all.iter_mut().zip(took??) {
            all.extend(took);
        }
    }
    Ok(all)
}

/// Gates the `ConfigMaps` of a namespace, and waits until that is in force.
async fn gate(cluster: &ControlPlane, name: &str, namespace: &str, workflow: Option<&str>) -> Result<()> {
    let mut spec = json!({
        "event": {"gate": {
            "operations": ["UPDATE"],
            "resources": [{"apiGroups": [""], "resources": ["configmaps"]}],
            "namespaces": {"names": [namespace]},
        }},
    });
    match workflow {
        Some(workflow) => spec["workflowRef"] = json!({"name": workflow}),
        None => spec["skip"] = json!(true),
    }
    let process = ApprovalProcess::new(name, serde_json::from_value(spec)?);
    let processes: Api<ApprovalProcess> = Api::all(cluster.admin().await?);
    processes.create(&PostParams::default(), &process).await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let process = processes.get(name).await?;
        if process.status.as_ref().is_some_and(|status| is_true(&status.conditions, "Ready")) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "ApprovalProcess {} is not ready: {:?}", process.name_any(), process.status);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
