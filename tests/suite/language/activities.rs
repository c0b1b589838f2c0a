//! What the operator does by itself (requirement R51), changes that are limited in time (R56), and what no activity touches.

use super::runs;
use crate::cluster::chart;
use crate::endpoint::{Endpoint, SECRET};
use crate::scene::*;
use crate::{Cluster, ShowsLog, eventually};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use quorate::api::*;
use ring::hmac;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio::sync::OnceCell;

/// What the chart lets activities do here.
const RULES: [&str; 9] = [
    "activities.rules[0].apiGroups[0]=",
    "activities.rules[0].resources={configmaps}",
    "activities.rules[0].verbs={create,patch,delete}",
    "activities.rules[1].apiGroups={batch}",
    "activities.rules[1].resources={jobs}",
    "activities.rules[1].verbs={get,create,delete}",
    "activities.rules[2].apiGroups={rbac.authorization.k8s.io}",
    "activities.rules[2].resources={rolebindings}",
    "activities.rules[2].verbs={create,patch,delete}",
];

/// The cluster of these tests: activities may do something there.
struct Acting {
    cluster: Cluster,
    endpoint: Endpoint,
    environment: Vec<(&'static str, String)>,
    _folder: tempfile::TempDir,
}

impl Acting {
    async fn start() -> Self {
        let endpoint = Endpoint::start();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("endpoints.yaml");
        std::fs::write(folder.path().join("secret"), format!("whsec_{}", STANDARD.encode(SECRET))).unwrap();
        let url = format!("http://{}/hooks", endpoint.address);
        let listed = json!([{"name": "tickets", "url": url, "secretFile": "secret", "timeout": "2s", "headers": {"x-team": "pki"}}]);
        std::fs::write(&file, listed.to_string()).unwrap();
        let environment = vec![("QUORATE_ENDPOINTS_FILE", file.display().to_string())];
        let cluster = Cluster::start_with(true, &RULES, &environment).await;
        Self { cluster, endpoint, environment, _folder: folder }
    }
}

static ACTING: OnceCell<Acting> = OnceCell::const_new();

async fn acting() -> &'static Acting {
    ACTING.get_or_init(Acting::start).await
}

impl Scene<'_> {
    /// An instance of a workflow of one action, opened by Alice with these parameters.
    async fn acts(&self, name: &str, action: Value, parameters: Value) -> WorkflowInstance {
        let nodes = json!([{"name": "act", "displayName": "Act", "action": action}]);
        let definition = self.workflow(name, nodes).await;
        let mut spec = runs(&definition);
        spec["parameters"] = parameters;
        self.as_user("alice", &[]).await.opens(name, spec).await
    }

    /// How it ended, and what is said of it.
    async fn ends(&self, instance: &WorkflowInstance) -> (Outcome, String) {
        let outcome = self.outcome_of(instance).await;
        let status = self.status(instance).await;
        let message = condition(&status.conditions, "Completed").unwrap().message.clone();
        (outcome, message)
    }

    fn config_maps(&self) -> Api<ConfigMap> {
        self.admin.sees()
    }
}

fn config_map(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "${parameters.namespace}"}, "data": data})
}

fn target(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "namespace": "${parameters.namespace}", "name": name})
}

#[tokio::test]
async fn r51_apply() {
    let Acting { cluster, .. } = acting().await;
    let _log = ShowsLog(cluster);
    let scene = Scene::with_namespace(cluster, "act-apply").await;
    let object =
        config_map("site-${parameters.site}", &json!({"by": "${initiator.username}", "count": "${1 + 1} times"}));
    let parameters = json!({"namespace": scene.namespace, "site": "brno"});
    let instance = scene.acts("apply", json!({"apply": {"object": object}}), parameters).await;
    assert_eq!(scene.outcome_of(&instance).await, Outcome::Approved);
    let applied = scene.config_maps().get("site-brno").await.unwrap();
    let data = applied.data.as_ref().unwrap();
    assert_eq!((data["by"].as_str(), data["count"].as_str()), ("alice", "2 times"));
    assert_eq!(applied.managed_fields()[0].manager.as_deref(), Some("quorate"));
    let visit = scene.status(&instance).await.steps[0].clone();
    assert_eq!((visit.output.as_deref(), visit.attempts), (Some("done"), 1));
    let said = format!("applied ConfigMap {}/site-brno", scene.namespace);
    assert_eq!(visit.message.as_deref(), Some(said.as_str()));
}

#[tokio::test]
async fn r51_apply_takes_no_field_of_others_unless_forced() {
    let Acting { cluster, .. } = acting().await;
    let _log = ShowsLog(cluster);
    let scene = Scene::with_namespace(cluster, "act-force").await;
    let theirs =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "site"}, "data": {"a": "theirs"}});
    scene.config_maps().patch("site", &PatchParams::apply("others"), &Patch::Apply(&theirs)).await.unwrap();
    let object = config_map("site", &json!({"a": "ours"}));
    let parameters = json!({"namespace": scene.namespace});
    let polite = scene.acts("polite", json!({"apply": {"object": object}}), parameters.clone()).await;
    let (outcome, message) = scene.ends(&polite).await;
    assert_eq!(outcome, Outcome::Failed);
    assert!(message.contains("conflict with \"others\"") && message.contains("write force: true"), "{message}");
    let forced = scene.acts("forced", json!({"apply": {"object": object, "force": true}}), parameters).await;
    assert_eq!(scene.outcome_of(&forced).await, Outcome::Approved);
    assert_eq!(scene.config_maps().get("site").await.unwrap().data.unwrap()["a"], "ours");
}

#[tokio::test]
async fn r51_patch() {
    let Acting { cluster, .. } = acting().await;
    let _log = ShowsLog(cluster);
    let scene = Scene::with_namespace(cluster, "act-patch").await;
    let made: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "site"}, "data": {"a": "1", "b": "2"}})).unwrap();
    scene.config_maps().create(&PostParams::default(), &made).await.unwrap();
    let parameters = json!({"namespace": scene.namespace, "value": "7"});
    let merge =
        json!({"patch": {"target": target("site"), "patch": {"data": {"a": "${parameters.value}", "b": null}}}});
    let merged = scene.acts("merge", merge, parameters.clone()).await;
    assert_eq!(scene.outcome_of(&merged).await, Outcome::Approved);
    let steps = json!({"patch": {"target": target("site"), "patch": [
        {"op": "test", "path": "/data/a", "value": "7"}, {"op": "add", "path": "/data/c", "value": "3"}]}});
    let patched = scene.acts("json", steps, parameters.clone()).await;
    assert_eq!(scene.outcome_of(&patched).await, Outcome::Approved);
    let data = scene.config_maps().get("site").await.unwrap().data.unwrap();
    assert_eq!(data, BTreeMap::from([("a".to_owned(), "7".to_owned()), ("c".to_owned(), "3".to_owned())]));
    let missing = scene.acts("missing", json!({"patch": {"target": target("nothing"), "patch": {}}}), parameters).await;
    let (outcome, message) = scene.ends(&missing).await;
    assert_eq!(outcome, Outcome::Failed);
    assert!(message.contains("configmaps \"nothing\" not found"), "{message}");
}

#[tokio::test]
async fn r51_delete() {
    let Acting { cluster, .. } = acting().await;
    let _log = ShowsLog(cluster);
    let scene = Scene::with_namespace(cluster, "act-delete").await;
    let made: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "site"}})).unwrap();
    scene.config_maps().create(&PostParams::default(), &made).await.unwrap();
    let parameters = json!({"namespace": scene.namespace});
    let first = scene.acts("delete", json!({"delete": {"target": target("site")}}), parameters.clone()).await;
    assert_eq!(scene.outcome_of(&first).await, Outcome::Approved);
    assert!(scene.config_maps().get_opt("site").await.unwrap().is_none());
    let again = scene.acts("again", json!({"delete": {"target": target("site")}}), parameters).await;
    let (outcome, _) = scene.ends(&again).await;
    assert_eq!(outcome, Outcome::Approved, "gone already is as good");
}

#[tokio::test]
async fn r51_http_is_signed_and_tried_again() {
    let Acting { cluster, endpoint, .. } = acting().await;
    let _log = ShowsLog(cluster);
    let scene = Scene::with_namespace(cluster, "act-http").await;
    let action = json!({"http": {"endpoint": "tickets", "path": "/flaky", "body": "{'who': parameters.who, 'n': 1}"}});
    let instance = scene.acts("call", action, json!({"who": "peter"})).await;
    assert_eq!(scene.outcome_of(&instance).await, Outcome::Approved);
    let calls = endpoint.calls("/flaky");
    assert_eq!(calls.len(), 3, "{calls:?}");
    for call in &calls {
        let header = |name: &str| call.headers[name].clone();
        assert!(call.line.starts_with("POST /hooks/flaky "), "{}", call.line);
        assert_eq!(call.body, r#"{"n":1,"who":"peter"}"#);
        assert_eq!((header("x-team"), header("content-type")), ("pki".to_owned(), "application/json".to_owned()));
        assert_eq!(header("webhook-id"), calls[0].headers["webhook-id"], "every try has the same id");
        assert_eq!(header("idempotency-key"), header("webhook-id"));
        let signed = format!("{}.{}.{}", header("webhook-id"), header("webhook-timestamp"), call.body);
        let tag = STANDARD.decode(header("webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes(), &tag).unwrap();
    }
    let visit = scene.status(&instance).await.steps[0].clone();
    assert_eq!(visit.attempts, 3);
}

#[tokio::test]
async fn r51_http_that_is_refused_fails() {
    let Acting { cluster, endpoint, .. } = acting().await;
    let _log = ShowsLog(cluster);
    let scene = Scene::with_namespace(cluster, "act-bad").await;
    for (path, told) in [
        ("/bad", "endpoint tickets answered 400 Bad Request: says this"),
        ("/away", "endpoint tickets answered 302 Found: says this"),
    ] {
        let action = json!({"http": {"endpoint": "tickets", "path": path}});
        let instance = scene.acts(&path[1..], action, json!({})).await;
        let (outcome, message) = scene.ends(&instance).await;
        assert_eq!((outcome, message), (Outcome::Failed, format!("act failed: {told}")));
        assert_eq!(endpoint.calls(path).len(), 1, "it is tried once");
    }
    assert!(endpoint.calls("/arrived").is_empty(), "no redirect is followed");
}

#[tokio::test]
async fn r51_http_that_hangs_times_out_and_holds_nobody_up() {
    let Acting { cluster, .. } = acting().await;
    let _log = ShowsLog(cluster);
    let scene = Scene::with_namespace(cluster, "act-hang").await;
    let nodes = json!([
        {"name": "call", "action": {"http": {"endpoint": "tickets", "path": "/hang"}, "timeout": "5s"}, "next": {"timedOut": "late"}},
        {"name": "late", "end": {"outcome": "Expired"}},
    ]);
    let mut nodes = nodes;
    nodes[0]["next"]["done"] = json!("Approved");
    let definition = scene.workflow("hang", nodes).await;
    let alice = scene.as_user("alice", &[]).await;
    let mut hanging = Vec::new();
    for number in 0..40 {
        hanging.push(alice.opens(&format!("hang-{number}"), runs(&definition)).await);
    }
    let other = alice.opens("other", one_step(json!({"approvers": [{"user": "mary"}]}))).await;
    let mary = scene.as_user("mary", &[]).await;
    scene.asking(&other).await;
    scene.counts(&mary.approves(&other).await).await;
    assert_eq!(scene.outcome_of(&hanging[0]).await, Outcome::Expired);
    let status = scene.status(&hanging[0]).await;
    assert_eq!(status.steps[0].output.as_deref(), Some("timedOut"));
    assert_eq!(status.steps[0].message.as_deref(), Some("endpoint tickets does not answer within 2s"));
}

/// A Job that no controller of the cluster touches: the test says how it ends.
fn job(namespace: &str) -> Value {
    json!({"job": {"namespace": namespace, "spec": {
        "managedBy": "tests.example.com/hand", "backoffLimit": 0,
        "template": {"spec": {"restartPolicy": "Never", "containers": [
            {"name": "main", "image": "none", "args": ["${parameters.what}"]}]}}}}})
}

/// The Job of an instance, once it is there.
async fn job_of(scene: &Scene<'_>, instance: &WorkflowInstance) -> Job {
    let named = |status: &WorkflowInstanceStatus| status.steps.first().and_then(|visit| visit.job.clone());
    let found = scene.until(instance, "it has a Job", |status| named(status).is_some()).await;
    let name = found.status.as_ref().and_then(named).unwrap();
    scene.admin.sees::<Job>().get(&name).await.unwrap()
}

async fn job_ends(scene: &Scene<'_>, job: &Job, conditions: [&str; 2], complete: bool) {
    let now = "2026-01-01T00:00:00Z";
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|type_| json!({"type": type_, "status": "True", "reason": "Said", "message": "the test says so", "lastTransitionTime": now}))
        .collect();
    let mut status = json!({"startTime": now, "conditions": conditions, "uncountedTerminatedPods": {}, "ready": 0});
    if complete {
        status["completionTime"] = json!(now);
        status["succeeded"] = json!(1);
    }
    let patch = Patch::Merge(json!({"status": status}));
    let api = scene.admin.sees::<Job>();
    api.patch_status(&job.name_any(), &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test]
async fn r51_job_done() {
    let Acting { cluster, .. } = acting().await;
    let _log = ShowsLog(cluster);
    let scene = Scene::with_namespace(cluster, "act-job").await;
    let instance =
        scene.acts("job", job("${parameters.namespace}"), json!({"namespace": scene.namespace, "what": "all"})).await;
    let job = job_of(&scene, &instance).await;
    let spec = job.spec.as_ref().unwrap();
    assert_eq!(spec.template.spec.as_ref().unwrap().containers[0].args.as_deref(), Some(&["all".to_owned()][..]));
    assert_eq!(job.labels()["quorate.dev/instance"], "job");
    job_ends(&scene, &job, ["SuccessCriteriaMet", "Complete"], true).await;
    assert_eq!(scene.outcome_of(&instance).await, Outcome::Approved);
}

#[tokio::test]
async fn r51_job_failed() {
    let Acting { cluster, .. } = acting().await;
    let _log = ShowsLog(cluster);
    let scene = Scene::with_namespace(cluster, "act-job").await;
    let instance =
        scene.acts("job", job("${parameters.namespace}"), json!({"namespace": scene.namespace, "what": "x"})).await;
    let job = job_of(&scene, &instance).await;
    job_ends(&scene, &job, ["FailureTarget", "Failed"], false).await;
    let (outcome, message) = scene.ends(&instance).await;
    assert_eq!(outcome, Outcome::Failed);
    assert!(message.contains(&format!("{} failed: the test says so", job.name_any())), "{message}");
}

#[tokio::test]
async fn r51_job_that_takes_too_long_is_ended() {
    let Acting { cluster, .. } = acting().await;
    let _log = ShowsLog(cluster);
    let scene = Scene::with_namespace(cluster, "act-job").await;
    let mut action = job("${parameters.namespace}");
    action["timeout"] = json!("3s");
    let instance = scene.acts("job", action, json!({"namespace": scene.namespace, "what": "x"})).await;
    let job = job_of(&scene, &instance).await;
    let (outcome, message) = scene.ends(&instance).await;
    assert_eq!(outcome, Outcome::Failed);
    assert!(message.contains("act was not done in time"), "{message}");
    let api = scene.admin.sees::<Job>();
    eventually("the Job is deleted", async || api.get_opt(&job.name_any()).await.unwrap().is_none().then_some(()))
        .await;
}

/// Nothing says what came of the first call: it is made again, under the same id.
#[tokio::test]
async fn r51_killed_between_activity_and_record() {
    let Acting { mut cluster, endpoint, environment, _folder } = Acting::start().await;
    let namespace = {
        let scene = Scene::with_namespace(&cluster, "act-kill").await;
        let action = json!({"http": {"endpoint": "tickets", "path": "/slow-once"}});
        scene.acts("call", action, json!({})).await;
        eventually("the first call has come", async || (!endpoint.calls("/slow-once").is_empty()).then_some(())).await;
        scene.namespace
    };
    cluster.operator.kill().await.unwrap();
    cluster.operator = Cluster::spawn_operator_with(&cluster.plane, &environment).await;
    let scene = Scene::within(&cluster, &namespace).await;
    let instance: WorkflowInstance = scene.admin.sees().get("call").await.unwrap();
    assert_eq!(scene.outcome_of(&instance).await, Outcome::Approved);
    let calls = endpoint.calls("/slow-once");
    let ids: Vec<_> = calls.iter().map(|call| call.headers["webhook-id"].as_str()).collect();
    assert_eq!(ids.len(), 2, "{calls:?}");
    assert_eq!(ids[0], ids[1]);
    assert_eq!(scene.status(&instance).await.steps[0].attempts, 1, "what was never answered is on no record");
}

#[tokio::test]
async fn r51_a_right_that_is_missing_names_the_chart_value() {
    let Acting { cluster, .. } = acting().await;
    let _log = ShowsLog(cluster);
    let scene = Scene::with_namespace(cluster, "act-right").await;
    let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x", "namespace": "${parameters.namespace}"}});
    let instance =
        scene.acts("secret", json!({"apply": {"object": object}}), json!({"namespace": scene.namespace})).await;
    let (outcome, message) = scene.ends(&instance).await;
    assert_eq!(outcome, Outcome::Failed);
    assert!(message.contains("cannot patch resource \"secrets\"") && message.contains("activities.rules"), "{message}");
}

#[tokio::test]
async fn r51_a_definition_that_cannot_work_here_says_so() {
    let Acting { cluster, .. } = acting().await;
    let _log = ShowsLog(cluster);
    let scene = Scene::with_namespace(cluster, "act-ready").await;
    let own = json!({"target": {"apiVersion": "v1", "kind": "ConfigMap", "namespace": chart::NAMESPACE, "name": "x"}});
    for (name, action, told) in [
        (
            "endpoint",
            json!({"http": {"endpoint": "nowhere"}}),
            "there is no endpoint nowhere; add it to the chart value activities.endpoints (known: tickets)",
        ),
        (
            "own",
            json!({"delete": own}),
            "nothing in quorate-system, the operator's own namespace, is touched by an activity",
        ),
        ("job", json!({"job": {"namespace": chart::NAMESPACE, "spec": {"template": {}}}}), "nothing in quorate-system"),
    ] {
        let definition: WorkflowDefinition =
            scene.has(name, json!({"nodes": [{"name": "act", "action": action}]})).await;
        let message = scene.ready(&definition, "False").await;
        assert!(message.contains(told), "{message}");
    }
}

/// What comes from a request must not lead an activity to what it may never touch, although RBAC would allow it.
#[tokio::test]
async fn attack_12_a_request_leads_an_activity_astray() {
    let Acting { cluster, .. } = acting().await;
    let _log = ShowsLog(cluster);
    let scene = Scene::with_namespace(cluster, "act-astray").await;
    let namespace = scene.namespace.clone();
    let proof: Api<ConfigMap> = Api::namespaced(scene.admin.client.clone(), chart::NAMESPACE);
    let before =
        eventually("the record of the proof", async || proof.get_opt("quorate-actor-proof").await.unwrap()).await;
    let named = json!({"delete": {"target": {"apiVersion": "${parameters.version}", "kind": "${parameters.kind}",
        "namespace": "${parameters.namespace}", "name": "${parameters.name}"}}});
    let definition = scene.workflow("astray", json!([{"name": "act", "action": named}])).await;
    let subject =
        json!([{"kind": "${parameters.kind}", "name": "${parameters.name}", "namespace": "${parameters.version}"}]);
    let binding = json!({"apply": {"object": {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "power", "namespace": "${parameters.namespace}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}, "subjects": subject}}});
    let binds = scene.workflow("binds", json!([{"name": "act", "action": binding}])).await;
    let alice = scene.as_user("alice", &[]).await;
    let operator = format!("system:serviceaccount:{}:{}", chart::NAMESPACE, chart::RELEASE);
    for (number, (definition, version, kind, namespace, name, told)) in [
        (&definition, "v1", "ConfigMap", chart::NAMESPACE, "quorate-actor-proof", "the operator's own namespace"),
        (
            &definition,
            "v1",
            "ConfigMap",
            &namespace,
            "../../quorate-system/configmaps/quorate-actor-proof",
            "is no such name",
        ),
        (&definition, "v1", "ConfigMap", "x/configmaps/y?", "z", "is no such name"),
        (&definition, "v1", "Namespace", "", chart::NAMESPACE, "the operator's own namespace"),
        (&definition, "quorate.dev/v1alpha1", "WorkflowInstance", &namespace, "astray-0", "are evidence"),
        (
            &definition,
            "admissionregistration.k8s.io/v1",
            "ValidatingAdmissionPolicy",
            "",
            "quorate-signal-actor",
            "guard decisions",
        ),
        (
            &definition,
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            "",
            "approvalsignals.quorate.dev",
            "are touched by no activity",
        ),
        (
            &definition,
            "apiregistration.k8s.io/v1",
            "APIService",
            "",
            "v1alpha1.quorate.dev",
            "are touched by no activity",
        ),
        (
            &definition,
            "rbac.authorization.k8s.io/v1",
            "ClusterRole",
            "",
            "quorate-operator",
            "those of the installation",
        ),
        (&binds, chart::NAMESPACE, "ServiceAccount", &namespace, "quorate", "give the operator itself a role"),
        (&binds, "", "User", &namespace, &operator, "give the operator itself a role"),
        (&binds, "", "Group", &namespace, "system:serviceaccounts:quorate-system", "give the operator itself a role"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut spec = runs(definition);
        spec["parameters"] = json!({"version": version, "kind": kind, "namespace": namespace, "name": name});
        let instance = alice.opens(&format!("astray-{number}"), spec).await;
        let (outcome, message) = scene.ends(&instance).await;
        assert_eq!(outcome, Outcome::Failed, "{kind} {namespace}/{name}");
        assert!(message.contains(told), "{told}: {message}");
    }
    assert_eq!(proof.get("quorate-actor-proof").await.unwrap().uid(), before.uid());
    assert!(scene.admin.sees::<RoleBinding>().get_opt("power").await.unwrap().is_none());
}

/// Whoever may open an instance could otherwise do whatever the operator may.
#[tokio::test]
async fn attack_12_a_workflow_of_ones_own_has_no_actions() {
    let Acting { cluster, .. } = acting().await;
    let _log = ShowsLog(cluster);
    let scene = Scene::with_namespace(cluster, "act-own").await;
    let alice = scene.as_user("alice", &[]).await;
    let action = json!({"delete": {"target": {"apiVersion": "v1", "kind": "ConfigMap", "namespace": scene.namespace, "name": "x"}}});
    let tried = alice.tries_to_open("own", json!({"workflow": {"nodes": [{"name": "act", "action": action}]}})).await;
    refused_by(tried, "actions are done as the operator", "name one by workflowRef");
}

/// A binding that is kept while its approvers say so, and deleted when they do not.
#[tokio::test]
async fn r56_time_limited() {
    let Acting { cluster, .. } = acting().await;
    let _log = ShowsLog(cluster);
    let scene = Scene::with_namespace(cluster, "act-limited").await;
    let nodes = json!([
        {"name": "keep", "approval": {"approvers": [{"user": "mary"}], "timeout": {"after": "3s"}},
         "next": {"approved": "keep", "rejected": "undo", "expired": "undo"}},
        {"name": "undo", "action": {"delete": {"target": {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "namespace": "${parameters.namespace}", "name": "${parameters.name}"}}}, "next": {"done": "Expired"}},
    ]);
    let definition = scene.workflow("limited", nodes).await;
    let binding: RoleBinding = serde_json::from_value(json!({"metadata": {"name": "on-call"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "peter"}]}))
    .unwrap();
    let bindings = scene.admin.sees::<RoleBinding>();
    bindings.create(&PostParams::default(), &binding).await.unwrap();
    let mut spec = runs(&definition);
    spec["parameters"] = json!({"namespace": scene.namespace, "name": "on-call"});
    let limited = scene.asking(&scene.as_user("alice", &[]).await.opens("limited", spec).await).await;
    scene.counts(&scene.as_user("mary", &[]).await.approves(&limited).await).await;
    let kept = scene.until(&limited, "another period", |status| status.steps.len() == 2).await;
    assert_eq!(kept.status.unwrap().steps[1].node, "keep");
    assert!(bindings.get_opt("on-call").await.unwrap().is_some());
    assert_eq!(scene.outcome_of(&limited).await, Outcome::Expired);
    assert!(bindings.get_opt("on-call").await.unwrap().is_none());
}
