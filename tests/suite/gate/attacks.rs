//! Ways around the gate that must fail.

use super::*;
use crate::eventually;
use kube::api::{Api, PostParams};

#[tokio::test]
async fn attack_14_generated_names_share_one_request_and_one_grant() {
    let cluster = crate::with_mutating_policy().await;
    let gated = Gated::start(cluster, "attack-14").await;
    let object =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "web-"}, "data": {"key": "x"}});
    for _ in 0..2 {
        is_held(&gated.kubectl_as("mary", &["create", "-f", "-"], &object).await);
    }
    let request = gated.request_about("web-").await;
    gated.is_approved(&request).await;
    gated.kubectl_as("mary", &["create", "-f", "-"], &object).await.ok().unwrap();
    let again = gated.kubectl_as("mary", &["create", "-f", "-"], &object).await;
    is_held(&again);
}

#[tokio::test]
async fn attack_16_another_version_of_the_gated_kind_is_held_too() {
    let cluster = crate::with_mutating_policy().await;
    let resources = json!([{"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"]}]);
    let gated = Gated::with(cluster, "attack-16", json!({"operations": ["CREATE"], "resources": resources})).await;
    for version in ["autoscaling/v1", "autoscaling/v2"] {
        let spec =
            json!({"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}});
        let object = json!({"apiVersion": version, "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"}, "spec": spec});
        is_held(&gated.kubectl_as("mary", &["create", "-f", "-"], &object).await);
    }
}

#[tokio::test]
async fn attack_17_eviction_is_held_too() {
    let cluster = crate::with_mutating_policy().await;
    let gate = json!({"operations": ["DELETE"], "resources": [{"apiGroups": [""], "resources": ["pods"]}]});
    let gated = Gated::with(cluster, "attack-17", gate).await;
    let scene = &gated.scene;
    eventually("the namespace has its account", async || {
        scene.kubectl(&["get", "serviceaccount", "default"]).await.success().then_some(())
    })
    .await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "web", "image": "web"}]}});
    gated.has_been(pod).await;
    let mary = scene.as_user("mary", &[]).await;
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web", "namespace": scene.namespace}});
    let evict = http::Request::post(format!("/api/v1/namespaces/{}/pods/web/eviction", scene.namespace))
        .body(eviction.to_string().into_bytes())
        .unwrap();
    let evicted = mary.client.request::<Value>(evict).await;
    refused_by(evicted, "gate.quorate.dev", "held for approval");
    is_held(&gated.kubectl_as("mary", &["delete", "pod", "web", "--wait=false"], &json!(null)).await);
}

#[tokio::test]
async fn attack_17_the_approval_of_a_certificate_request_is_held_too() {
    let cluster = crate::with_mutating_policy().await;
    let name = format!("attack-17-{}", std::process::id());
    let condition = json!({"name": "own", "expression": format!("request.name == '{name}'")});
    let resources = json!([{"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"]}]);
    let gate =
        json!({"operations": ["UPDATE"], "resources": resources, "matchConditions": [condition], "namespaces": null});
    let gated = Gated::with(cluster, "attack-17-csr", gate).await;
    let scene = &gated.scene;
    let role = scene.unique("approver");
    let group = "certificates.k8s.io";
    let rules = json!([
        {"apiGroups": [group], "resources": ["certificatesigningrequests"], "verbs": ["get", "list"]},
        {"apiGroups": [group], "resources": ["certificatesigningrequests/approval"], "verbs": ["update", "patch"]},
        {"apiGroups": [group], "resources": ["signers"], "verbs": ["approve"]},
    ]);
    let approver = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": role}, "rules": rules});
    cluster.plane.apply(&approver.to_string()).await.unwrap().ok().unwrap();
    scene.kubectl(&["create", "clusterrolebinding", &role, "--clusterrole", &role, "--user=mary"]).await.ok().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, request);
    let made = json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name},
        "spec": {"request": encoded, "signerName": "example.com/attack-17", "usages": ["client auth"]}});
    gated.kubectl_as("john", &["create", "-f", "-"], &made).await.ok().unwrap();
    let approve = ["certificate", "approve", &name];
    is_held(&gated.kubectl_as("mary", &approve, &json!(null)).await);
    let output = scene.kubectl(&["get", "csr", &name, "-o", "jsonpath={.status.conditions}"]).await.ok().unwrap();
    assert_eq!(output, "", "it is not approved");
    let operators = Scene::within(cluster, OPERATOR_NAMESPACE).await;
    let all = operators.admin.sees::<ChangeRequest>().list(&ListParams::default()).await.unwrap().items;
    let request = all.into_iter().find(|request| held_of(request).name == name).unwrap();
    assert_eq!(held_of(&request).subresource, "approval");
    Gated { scene: operators, process: gated.process.clone() }.is_approved(&request).await;
    gated.kubectl_as("mary", &approve, &json!(null)).await.ok().unwrap();
}

#[tokio::test]
async fn attack_20_an_object_that_is_being_deleted_is_gated_all_the_same() {
    let cluster = crate::with_mutating_policy().await;
    let gate = json!({"operations": ["UPDATE"], "resources": [{"apiGroups": [""], "resources": ["configmaps"]}]});
    let gated = Gated::with(cluster, "attack-20", gate).await;
    let mut object = config_map("web", "before");
    object["metadata"]["finalizers"] = json!(["example.com/stays"]);
    gated.has_been(object).await;
    let nothing = json!(null);
    gated.kubectl_as("mary", &["delete", "configmap", "web", "--wait=false"], &nothing).await.ok().unwrap();
    let patch = ["patch", "configmap", "web", "-p", r#"{"data":{"key":"after"}}"#];
    is_held(&gated.kubectl_as("mary", &patch, &nothing).await);
    assert_eq!(gated.data_of("web").await, Some(json!({"key": "before"})));
    // What holds up a deletion that has begun is taken away by whoever finishes it, and only that.
    let both = r#"{"metadata":{"finalizers":null},"data":{"key":"after"}}"#;
    let both = gated.kubectl_as("mary", &["patch", "configmap", "web", "--type=merge", "-p", both], &nothing).await;
    assert!(both.stderr.contains("held for approval"), "{both:?}");
    assert_eq!(gated.data_of("web").await, Some(json!({"key": "before"})));
    let finalizer = ["patch", "configmap", "web", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#];
    gated.kubectl_as("mary", &finalizer, &nothing).await.ok().unwrap();
    assert_eq!(gated.data_of("web").await, None);
}

#[tokio::test]
async fn attack_22_other_owners_are_held_where_deletion_is() {
    let cluster = crate::with_mutating_policy().await;
    let gate = json!({"operations": ["DELETE"], "resources": [{"apiGroups": [""], "resources": ["configmaps"]}]});
    let gated = Gated::with(cluster, "attack-22", gate).await;
    gated.kubectl_as("mary", &["create", "-f", "-"], &config_map("web", "x")).await.ok().unwrap();
    let nothing = json!(null);
    let owner = r#"{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"gone","uid":"00000000-0000-0000-0000-000000000000"}]}}"#;
    is_held(&gated.kubectl_as("mary", &["patch", "configmap", "web", "-p", owner], &nothing).await);
    let data = ["patch", "configmap", "web", "-p", r#"{"data":{"key":"y"}}"#];
    gated.kubectl_as("mary", &data, &nothing).await.ok().unwrap();
}

#[tokio::test]
async fn attack_24_a_label_that_selects_a_namespace_is_not_the_requesters_to_take_off() {
    let cluster = crate::with_mutating_policy().await;
    let tier = format!("tier-{}", std::process::id());
    let gate = json!({"operations": ["CREATE"], "namespaces": {"matchLabels": {"tier": tier}},
        "resources": [{"apiGroups": [""], "resources": ["configmaps"]}]});
    let gated = Gated::with(cluster, "attack-24", gate).await;
    let (scene, nothing) = (&gated.scene, json!(null));
    let namespace = scene.namespace.clone();
    scene.kubectl(&["label", "namespace", &namespace, &format!("tier={tier}")]).await.ok().unwrap();
    let role = scene.unique("labels");
    scene
        .kubectl(&["create", "clusterrole", &role, "--verb=get,update,patch", "--resource=namespaces"])
        .await
        .ok()
        .unwrap();
    scene.kubectl(&["create", "clusterrolebinding", &role, "--clusterrole", &role, "--user=mary"]).await.ok().unwrap();
    eventually("the namespace is gated", async || {
        let tried = gated.kubectl_as("mary", &["create", "--dry-run=server", "-f", "-"], &config_map("web", "x")).await;
        tried.stderr.contains("needs approval").then_some(())
    })
    .await;

    for change in ["tier-", "tier=other"] {
        let tried =
            gated.kubectl_as("mary", &["label", "--overwrite", "namespace", &namespace, change], &nothing).await;
        let told = "only who holds the verb bypass on it may change the labels";
        assert!(tried.status != 0 && tried.stderr.contains(told), "{tried:?}");
    }
    gated.kubectl_as("mary", &["label", "namespace", &namespace, "other=label"], &nothing).await.ok().unwrap();
    is_held(&gated.kubectl_as("mary", &["create", "-f", "-"], &config_map("web", "x")).await);
    // Who may do everything holds the verb too.
    scene.kubectl(&["label", "namespace", &namespace, "tier-"]).await.ok().unwrap();
}

#[tokio::test]
async fn attack_24_a_label_that_exempts_a_namespace_is_not_the_requesters_to_put_on() {
    let cluster = crate::with_mutating_policy().await;
    let gated = Gated::with(
        cluster,
        "attack-24-in",
        json!({"operations": ["CREATE"], "resources": [{"apiGroups": [""], "resources": ["configmaps"]}]}),
    )
    .await;
    let (scene, nothing) = (&gated.scene, json!(null));
    let namespace = scene.namespace.clone();
    let sandbox = format!("sandbox-{}", std::process::id());
    let gate = json!({"operations": ["CREATE"], "namespaces": {"matchLabels": {"sandbox": sandbox}},
        "resources": [{"apiGroups": [""], "resources": ["configmaps"]}]});
    let skip: ApprovalProcess = scene.has("skip", json!({"event": {"gate": gate}, "skip": true, "order": -100})).await;
    scene.ready(&skip, "True").await;
    let role = scene.unique("labels");
    let create = ["create", "clusterrole", &role, "--verb=get,update,patch", "--resource=namespaces"];
    scene.kubectl(&create).await.ok().unwrap();
    scene.kubectl(&["create", "clusterrolebinding", &role, "--clusterrole", &role, "--user=mary"]).await.ok().unwrap();
    let label = format!("sandbox={sandbox}");
    let put_on = ["label", "namespace", &namespace, &label];
    eventually("it is refused", async || {
        let dry: Vec<&str> = put_on.iter().copied().chain(["--dry-run=server"]).collect();
        let tried = gated.kubectl_as("mary", &dry, &nothing).await;
        (tried.status != 0 && tried.stderr.contains("holds the verb bypass")).then_some(())
    })
    .await;
    let tried = gated.kubectl_as("mary", &put_on, &nothing).await;
    assert!(tried.status != 0, "{tried:?}");
    is_held(&gated.kubectl_as("mary", &["create", "-f", "-"], &config_map("web", "x")).await);
}

#[tokio::test]
async fn attack_37_a_large_object_is_held_with_a_small_request() {
    let cluster = crate::with_mutating_policy().await;
    let gated = Gated::start(cluster, "attack-37").await;
    is_held(&gated.kubectl_as("mary", &["create", "-f", "-"], &config_map("web", &"x".repeat(1_000_000))).await);
    let request = gated.request_about("web").await;
    assert!(request.spec.changes[0].object.is_none() && held_of(&request).digest.starts_with("sha256:"));
    assert!(serde_json::to_string(&request.spec).unwrap().len() < 16 * 1024);
    gated.is_approved(&request).await;
    let passed = gated.kubectl_as("mary", &["create", "-f", "-"], &config_map("web", &"x".repeat(1_000_000))).await;
    assert!(passed.success(), "{}", passed.stderr);
}

#[tokio::test]
async fn attack_42_a_held_secret_reaches_no_request_and_no_log() {
    let cluster = crate::with_mutating_policy().await;
    let gated = Gated::start(cluster, "attack-42").await;
    let word = "cXVvcmF0ZS1zd29yZGZpc2g=";
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "web"}, "data": {"password": word}});
    is_held(&gated.kubectl_as("mary", &["apply", "-f", "-"], &secret).await);
    let request = serde_json::to_string(&gated.request_about("web").await).unwrap();
    assert!(!request.contains(word) && !request.contains("swordfish"), "{request}");
    assert!(request.contains("password") && request.contains("hmac-sha256:"), "{request}");
    let log = std::fs::read_to_string(cluster.operator.log()).unwrap();
    assert!(!log.contains(word), "the log of the operator has the secret");
}

#[tokio::test]
async fn attack_43_a_forged_review_opens_nothing() {
    let cluster = crate::with_mutating_policy().await;
    let gated = Gated::start(cluster, "attack-43").await;
    let (url, authority) = away::reached(&gated).await;
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "one",
        "kind": {"group": "", "version": "v1", "kind": "ConfigMap"}, "resource": {"group": "", "version": "v1", "resource": "configmaps"},
        "name": "web", "namespace": gated.scene.namespace, "operation": "CREATE", "userInfo": {"username": "mary"},
        "object": config_map("web", "x")}});
    let posts = async |path: &str, body: String| away::post(&url, &authority, path, &body).await.0;
    for path in ["/", "/gate", "/gate/", "/gate/0000", "/metrics"] {
        assert_eq!(posts(path, review.to_string()).await, 404, "{path}");
    }
    assert!(gated.requests().await.is_empty());
    assert_eq!(posts(url.path(), "{}".to_owned()).await, 400);
    assert_eq!(posts(url.path(), "x".repeat(8 << 20)).await, 413);
    assert!(gated.requests().await.is_empty());
}

#[tokio::test]
async fn attack_14_nobody_else_makes_a_request_of_the_gates() {
    let cluster = crate::with_mutating_policy().await;
    let gated = Gated::start(cluster, "attack-14-name").await;
    let mary = gated.scene.as_user("mary", &[]).await;
    let api: Api<ChangeRequest> = gated.scene.admin.sees();
    let changes = json!([{"name": "operation", "operation": "Create", "object": config_map("web", "x")}]);
    let request: ChangeRequest =
        serde_json::from_value(json!({"apiVersion": "quorate.dev/v1alpha1", "kind": "ChangeRequest",
        "metadata": {"name": "gate-0000"}, "spec": {"requester": mary.actor, "changes": changes}}))
        .unwrap();
    let made = api.create(&PostParams::default(), &request).await;
    refused_by(made, "quorate", "gate-");
}
