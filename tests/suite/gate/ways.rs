//! Every way of changing something is held, and opens one request, however often it comes.

use super::*;
use crate::cluster::program;
use crate::eventually;
use kube::Api;
use kube::api::DeleteParams;

#[tokio::test]
async fn r32_every_way_of_changing_is_held_once() {
    let cluster = crate::with_mutating_policy().await;
    let gated = Gated::start(cluster, "r32-ways").await;
    let there = ["edit", "merge", "json", "strategic", "replace", "delete", "apply-changed", "all-1", "all-2"];
    for name in there {
        let mut object = config_map(name, "before");
        if name.starts_with("all") {
            object["metadata"]["labels"] = json!({"group": "all"});
        }
        gated.has_been(object).await;
    }
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "scale"}, "spec": {"replicas": 1,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web"}]}}}});
    gated.has_been(deployment).await;

    let kubectl = program("kubectl").unwrap();
    let nothing = json!(null);
    let ways: Vec<(&str, Vec<&str>, Value)> = vec![
        ("apply", vec!["apply", "-f", "-"], config_map("apply", "after")),
        ("apply-changed", vec!["apply", "-f", "-"], config_map("apply-changed", "after")),
        ("create", vec!["create", "-f", "-"], config_map("create", "after")),
        (
            "merge",
            vec!["patch", "configmap", "merge", "--type=merge", "-p", r#"{"data":{"key":"after"}}"#],
            nothing.clone(),
        ),
        (
            "json",
            vec![
                "patch",
                "configmap",
                "json",
                "--type=json",
                "-p",
                r#"[{"op":"replace","path":"/data/key","value":"after"}]"#,
            ],
            nothing.clone(),
        ),
        ("strategic", vec!["patch", "configmap", "strategic", "-p", r#"{"data":{"key":"after"}}"#], nothing.clone()),
        ("replace", vec!["replace", "-f", "-"], config_map("replace", "after")),
        ("delete", vec!["delete", "configmap", "delete", "--wait=false"], nothing.clone()),
        ("scale", vec!["scale", "deployment/scale", "--replicas=3"], nothing.clone()),
        (
            "server-side",
            vec!["apply", "--server-side", "--field-manager=one", "-f", "-"],
            config_map("server-side", "after"),
        ),
    ];
    for (name, arguments, input) in &ways {
        for _ in 0..2 {
            is_held(&gated.kubectl_as("mary", arguments, input).await);
        }
        let request = gated.request_about(name).await;
        assert_eq!(request.spec.requester.as_ref().unwrap().username, "mary");
        assert!(request.name_any().starts_with("gate-"));
    }
    // Another field manager asks for the same.
    let (_, arguments, input) = ways.last().unwrap();
    let other: Vec<&str> = arguments
        .iter()
        .map(|word| if *word == "--field-manager=one" { "--field-manager=two" } else { word })
        .collect();
    is_held(&gated.kubectl_as("mary", &other, input).await);
    gated.request_about("server-side").await;

    is_held(&gated.kubectl_as("mary", &["delete", "configmaps", "-l", "group=all", "--wait=false"], &nothing).await);
    for name in ["all-1", "all-2"] {
        gated.request_about(name).await;
    }

    let kubeconfig = cluster.plane.kubeconfig_for("mary", &[]).unwrap();
    let kubectl = kubectl.to_string_lossy().into_owned();
    let edit =
        ["KUBE_EDITOR=sed -i s/before/after/", &kubectl, "-n", &gated.scene.namespace, "edit", "configmap", "edit"];
    for _ in 0..2 {
        let edited = cluster.plane.run_tool("/usr/bin/env", &kubeconfig, &edit, "").await.unwrap();
        assert!(edited.status != 0 && edited.stderr.contains("held for approval: changerequest/gate-"), "{edited:?}");
    }
    gated.request_about("edit").await;

    for name in there {
        assert_eq!(gated.data_of(name).await, Some(json!({"key": "before"})), "{name} stays as it is");
    }
    for name in ["apply", "create", "server-side"] {
        assert_eq!(gated.data_of(name).await, None, "{name} is not made");
    }
    assert_eq!(gated.requests().await.len(), ways.len() + 3, "one request for each");
}

#[tokio::test]
async fn r26_deleting_a_collection_is_held_object_by_object() {
    let cluster = crate::with_mutating_policy().await;
    let gated = Gated::start(cluster, "r26-collection").await;
    gated.has_been(config_map("one", "before")).await;
    let mary = gated.scene.as_user("mary", &[]).await;
    let api: Api<k8s_openapi::api::core::v1::ConfigMap> = mary.sees();
    let fields = ListParams::default().fields("metadata.name=one");
    let deleted = api.delete_collection(&DeleteParams::default(), &fields).await;
    refused_by(deleted.map(|_| ()), "gate.quorate.dev", "held for approval");
    assert_eq!(held_of(&gated.request_about("one").await).operation, Operation::Delete);
    assert!(gated.data_of("one").await.is_some());
}

#[tokio::test]
async fn r26_what_means_nothing_and_what_is_not_gated_passes() {
    let cluster = crate::with_mutating_policy().await;
    let gate = json!({"operations": ["UPDATE"], "fields": ["data.key"],
        "resources": [{"apiGroups": [""], "resources": ["configmaps"]}]});
    let gated = Gated::with(cluster, "r26-passes", gate).await;
    gated.kubectl_as("mary", &["create", "-f", "-"], &config_map("web", "before")).await.ok().unwrap();
    let nothing = json!(null);
    let label = ["label", "configmap", "web", "a=b"];
    gated.kubectl_as("mary", &label, &nothing).await.ok().unwrap();
    gated.kubectl_as("mary", &["apply", "-f", "-"], &config_map("web", "before")).await.ok().unwrap();
    let other = ["patch", "configmap", "web", "-p", r#"{"data":{"other":"after"}}"#];
    gated.kubectl_as("mary", &other, &nothing).await.ok().unwrap();
    // What Kubernetes' own controllers do to it is decided by the same conditions.
    let controller = cluster.plane.kubeconfig_for("system:kube-controller-manager", &["system:masters"]).unwrap();
    let label = ["-n", &gated.scene.namespace, "label", "configmap", "web", "c=d"];
    cluster.plane.run_tool("kubectl", &controller, &label, "").await.unwrap().ok().unwrap();
    assert!(gated.requests().await.is_empty());
    let patch = ["patch", "configmap", "web", "-p", r#"{"data":{"key":"after"}}"#];
    is_held(&gated.kubectl_as("mary", &patch, &nothing).await);
    gated.kubectl_as("mary", &["delete", "configmap", "web"], &nothing).await.ok().unwrap();
}

#[tokio::test]
async fn r26_applying_again_what_is_there_passes() {
    let cluster = crate::with_mutating_policy().await;
    let gated = Gated::start(cluster, "r26-again").await;
    gated.has_been(config_map("web", "x")).await;
    for arguments in [
        &["apply", "-f", "-"][..],
        &["apply", "--server-side", "--force-conflicts", "-f", "-"],
        &["replace", "-f", "-"],
    ] {
        gated.kubectl_as("mary", arguments, &config_map("web", "x")).await.ok().unwrap();
    }
    assert!(gated.requests().await.is_empty());
}

#[tokio::test]
async fn attack_15_a_dry_run_of_a_held_change_warns_and_has_no_effect() {
    let cluster = crate::with_mutating_policy().await;
    let gated = Gated::start(cluster, "attack-15").await;
    let apply = ["apply", "--dry-run=server", "-f", "-"];
    let tried = gated.kubectl_as("mary", &apply, &config_map("web", "after")).await;
    assert!(tried.success(), "{tried:?}");
    let told = "needs approval";
    assert!(
        tried.stderr.contains(told) && tried.stderr.contains("0 of 2 approvals from group enrollment-approvers"),
        "{tried:?}"
    );
    assert!(gated.requests().await.is_empty() && gated.data_of("web").await.is_none());
}

#[tokio::test]
async fn r26_an_expression_of_ours_that_the_server_does_not_know_decides_all_the_same() {
    let cluster = crate::with_mutating_policy().await;
    let condition = json!({"name": "by-john", "expression": "initiator.username == 'john' && operation == 'CREATE'"});
    let gate = json!({"operations": ["CREATE"], "matchConditions": [condition],
        "resources": [{"apiGroups": [""], "resources": ["configmaps"]}]});
    let gated = Gated::with(cluster, "r26-ours", gate).await;
    gated.kubectl_as("mary", &["create", "-f", "-"], &config_map("one", "x")).await.ok().unwrap();
    is_held(&gated.kubectl_as("john", &["create", "-f", "-"], &config_map("two", "x")).await);
}

#[tokio::test]
async fn r26_request_is_the_same_to_the_server_and_to_the_operator() {
    let cluster = crate::with_mutating_policy().await;
    let expressions = [
        "!has(request.subResource) && !has(request.requestSubResource)",
        "has(request.options) && has(request.dryRun) && !request.dryRun",
        "request.kind == request.requestKind && request.name != 'kube-root-ca.crt'",
    ];
    let conditions: Vec<Value> = expressions
        .iter()
        .enumerate()
        .map(|(number, expression)| json!({"name": format!("c{number}"), "expression": expression}))
        .collect();
    let gate = json!({"operations": ["CREATE"], "matchConditions": conditions,
        "resources": [{"apiGroups": [""], "resources": ["configmaps"]}]});
    let gated = Gated::with(cluster, "r26-request", gate).await;
    is_held(&gated.kubectl_as("mary", &["create", "-f", "-"], &config_map("one", "x")).await);
}

#[tokio::test]
async fn r26_a_process_that_cannot_be_gated_says_why() {
    let cluster = crate::with_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "r26-never").await;
    let definition: WorkflowDefinition = scene.has("two", two_approvers()).await;
    let cases = [
        ("hooks", "admissionregistration.k8s.io", "validatingwebhookconfigurations", "Kubernetes calls no webhook"),
        ("signals", "quorate.dev", "approvalsignals", "cannot be gated"),
        ("unknown", "example.com", "nothings", "this cluster serves no nothings of API group \"example.com\""),
        ("wildcard", "apps", "*", "name what is gated"),
    ];
    for (name, group, resource, told) in cases {
        let gate = json!({"operations": ["CREATE"], "resources": [{"apiGroups": [group], "resources": [resource]}],
            "namespaces": {"names": [scene.namespace]}});
        let spec = json!({"event": {"gate": gate}, "workflowRef": {"name": definition.name_any()}});
        let process: ApprovalProcess = scene.has(name, spec).await;
        let message = scene.ready(&process, "False").await;
        let message = if message.contains(told) {
            message
        } else {
            eventually(told, async || Some(scene.ready(&process, "False").await).filter(|said| said.contains(told)))
                .await
        };
        assert!(message.contains(told), "{message}");
    }
}

#[tokio::test]
async fn r32_in_a_namespace_that_is_being_removed_it_is_asked_for_elsewhere() {
    let cluster = crate::with_mutating_policy().await;
    let gated = Gated::start(cluster, "r32-leaving").await;
    let namespace = gated.scene.namespace.clone();
    let mut web = config_map("web", "before");
    web["metadata"]["finalizers"] = json!(["example.com/kept"]);
    gated.has_been(web).await;
    gated.scene.kubectl(&["delete", "namespace", &namespace, "--wait=false"]).await.ok().unwrap();
    let patch = ["patch", "configmap", "web", "--type=merge", "-p", r#"{"data":{"key":"after"}}"#];
    let admin = ["--as=mary", "--as-group=system:masters"];
    let patch = [&patch[..], &admin].concat();
    let (first, second) = (gated.scene.kubectl(&patch).await, gated.scene.kubectl(&patch).await);
    is_held(&first);
    is_held(&second);
    let all: kube::Api<ChangeRequest> = kube::Api::namespaced(gated.scene.admin.client.clone(), OPERATOR_NAMESPACE);
    let all = all.list(&kube::api::ListParams::default()).await.unwrap().items;
    let about = all
        .iter()
        .filter(|request| request.spec.changes[0].held.as_ref().is_some_and(|held| held.namespace == namespace));
    assert_eq!(about.count(), 1, "once, in the namespace of the operator");
}
