//! Every example is admitted by the API server, and its processes can be used: the chart values that they name are enough.

use super::kinds::{certificate_requests, crd};
use crate::Cluster;
use crate::scene::*;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use quorate::api::*;
use serde_json::json;
use std::path::{Path, PathBuf};

/// What the examples say that they need.
const VALUES: &[&str] = &[
    "pending.resources[0].apiGroups[0]=cert-manager.io",
    "pending.resources[0].resources[0]=certificaterequests",
    "pending.resources[0].subresources[0]=status",
    "collections.resources[0].apiGroups[0]=cert-manager.io",
    "collections.resources[0].resources[0]=certificates",
    "collections.resources[1].apiGroups[0]=",
    "collections.resources[1].resources[0]=namespaces",
    "activities.rules[0].apiGroups[0]=rbac.authorization.k8s.io",
    "activities.rules[0].resources[0]=rolebindings",
    "activities.rules[0].verbs[0]=delete",
];

#[tokio::test]
async fn r25_every_example_is_admitted_and_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let endpoints = folder.path().join("endpoints.yaml");
    let secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    std::fs::write(
        &endpoints,
        json!([{"name": "ca-revoke", "url": "http://127.0.0.1:1/revoke", "secret": secret}]).to_string(),
    )
    .unwrap();
    let environment = [
        ("QUORATE_ENDPOINTS_FILE", endpoints.display().to_string()),
        ("QUORATE_EXECUTION_AUTOMATIC", "true".to_owned()),
    ];
    let cluster = Cluster::start_with(true, VALUES, &environment).await;
    let certificates = crd(["cert-manager.io", "v1", "Certificate", "certificates"], "Namespaced");
    for crd in [certificate_requests(), certificates] {
        cluster.plane.apply(&crd.to_string()).await.unwrap().ok().unwrap();
    }
    cluster.plane.wait_kinds().await.unwrap();
    let scene = Scene::within(&cluster, OPERATOR_NAMESPACE).await;
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let folder_of = |example: PathBuf| Some(example.join("policy")).filter(|policy| policy.is_dir()).unwrap_or(example);
    let mut policies: Vec<PathBuf> =
        std::fs::read_dir(examples).unwrap().map(|example| folder_of(example.unwrap().path())).collect();
    // What is gated holds what another example brings along: those come last.
    let gates = |policy: &PathBuf| {
        let mut files = std::fs::read_dir(policy).unwrap();
        files.any(|file| std::fs::read_to_string(file.unwrap().path()).unwrap().contains("gate:"))
    };
    policies.sort_by_key(|policy| (gates(policy), policy.clone()));
    for policy in policies {
        let applied = cluster.plane.kubectl(&["apply", "-f", &policy.to_string_lossy()]).await.unwrap();
        // People and roles of two examples may share names; what they are asked for is told apart by their processes.
        applied.ok().unwrap_or_else(|why| panic!("{}: {why:#}", policy.display()));
    }
    let processes: Api<ApprovalProcess> = Api::all(scene.admin.client.clone());
    let processes = processes.list(&ListParams::default()).await.unwrap().items;
    assert!(processes.len() >= 12, "{:?}", processes.iter().map(ResourceExt::name_any).collect::<Vec<_>>());
    for process in processes {
        let told = scene.ready(&process, "True").await;
        assert!(told.starts_with("it can be used"), "{told}");
    }
}
