//! What the gate held is carried out by the operator, in the name of who asked, where the processes want it.

use super::*;
use crate::changes::one_of;
use crate::cluster::audit::Entry;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};

const AUTOMATIC: &str = r#"{"execution": {"mode": "Automatic"}}"#;

fn automatic() -> Value {
    serde_json::from_str(AUTOMATIC).unwrap()
}

impl Scene<'_> {
    /// The one request of the gate about an object of that name.
    pub async fn held_about(&self, name: &str) -> ChangeRequest {
        let all = self.admin.sees::<ChangeRequest>().list(&ListParams::default()).await.unwrap().items;
        let mut found: Vec<_> = all.into_iter().filter(|request| held_of(request).name == name).collect();
        assert_eq!(found.len(), 1, "one request about {name}: {found:?}");
        found.remove(0)
    }

    /// What somebody wrote to ConfigMaps here.
    async fn written_by(&self, user: &str) -> Vec<Entry> {
        let own =
            |entry: &Entry| entry.resource == "configmaps" && entry.namespace == self.namespace && entry.user == user;
        self.cluster.plane.audit().writes(own).await.unwrap()
    }
}

fn map(name: &str, data: &str) -> ConfigMap {
    serde_json::from_value(config_map(name, data)).unwrap()
}

#[tokio::test]
async fn r31_what_was_held_is_carried_out_as_who_asked_once() {
    let cluster = crate::with_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "r31-held").await;
    let alice = scene.as_user("alice", &["team"]).await;
    scene.may_edit(&alice).await;
    let process = scene.gate("check", one_of("r31-held"), automatic()).await;
    let (all, own): (Api<ConfigMap>, Api<ConfigMap>) = (scene.admin.sees(), alice.sees());
    for name in ["changed", "removed"] {
        all.create(&PostParams::default(), &map(name, "before")).await.unwrap();
    }
    let told = "it is carried out once approved";
    refused_by(own.create(&PostParams::default(), &map("made", "after")).await, "gate.quorate.dev", told);
    let patch = Patch::Merge(json!({"data": {"key": "after", "more": "x"}}));
    refused_by(own.patch("changed", &PatchParams::default(), &patch).await, "gate.quorate.dev", told);
    refused_by(own.delete("removed", &DeleteParams::default()).await.map(|_| ()), "gate.quorate.dev", told);

    let mary = scene.as_user("mary", &["r31-held"]).await;
    for name in ["made", "changed", "removed"] {
        let request = scene.held_about(name).await;
        let instance = scene.asked_for(&request, "operation", &process).await;
        scene.counts(&mary.approves(&instance).await).await;
        assert_eq!(scene.completed(&request).await, [ChangeState::Executed], "{name}");
        let change = scene.now(&request).await.status.unwrap().changes.remove(0);
        assert_eq!(change.attempts, 1, "{change:?}");
        let grant = change.grant.unwrap();
        assert!(grant.claimed_at.is_some() && grant.used_at.is_some(), "{grant:?}");
    }
    let data = async |name: &str| json!(scene.config_map(name).await.unwrap().data);
    assert_eq!(data("made").await, json!({"key": "after"}));
    assert_eq!(data("changed").await, json!({"key": "after", "more": "x"}));
    assert!(scene.config_map("removed").await.is_none());
    assert_eq!(scene.written_by("alice").await.len(), 3, "each once, as the one who asked");
    assert_eq!(scene.admin.sees::<ChangeRequest>().list(&ListParams::default()).await.unwrap().items.len(), 3);
    // The grant is spent.
    refused_by(own.delete("made", &DeleteParams::default()).await.map(|_| ()), "gate.quorate.dev", told);
}

#[tokio::test]
async fn r31_what_changed_meanwhile_is_left_as_it_is() {
    let cluster = crate::with_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "r31-drift").await;
    let alice = scene.as_user("alice", &[]).await;
    scene.may_edit(&alice).await;
    let process = scene.gate("check", one_of("r31-drift"), automatic()).await;
    let (all, own): (Api<ConfigMap>, Api<ConfigMap>) = (scene.admin.sees(), alice.sees());
    all.create(&PostParams::default(), &map("web", "before")).await.unwrap();
    let patch = |data: Value| Patch::Merge(json!({"data": data}));
    let tried = own.patch("web", &PatchParams::default(), &patch(json!({"key": "after"}))).await;
    refused_by(tried, "gate.quorate.dev", "held for approval");
    let request = scene.held_about("web").await;
    all.patch("web", &PatchParams::default(), &patch(json!({"other": "drifted"}))).await.unwrap();
    let instance = scene.asked_for(&request, "operation", &process).await;
    scene.counts(&scene.as_user("mary", &["r31-drift"]).await.approves(&instance).await).await;
    assert_eq!(scene.completed(&request).await, [ChangeState::Failed]);
    let told = scene.tells(&request, "Completed", "True", "Failed").await;
    assert!(told.contains("ConfigMap web has changed since this was asked for"), "{told}");
    let data = json!(scene.config_map("web").await.unwrap().data);
    assert_eq!(data, json!({"key": "before", "other": "drifted"}));
    scene.held_about("web").await;
}

#[tokio::test]
async fn r31_one_process_that_wants_the_requester_to_is_enough() {
    let cluster = crate::with_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "r31-both").await;
    let alice = scene.as_user("alice", &[]).await;
    scene.may_edit(&alice).await;
    let mut more = automatic();
    more["onMatch"] = json!("Continue");
    more["order"] = json!(1);
    let first = scene.gate("first", one_of("r31-both"), more).await;
    let second = scene.gate("second", one_of("r31-both"), json!({"order": 2})).await;
    let own: Api<ConfigMap> = alice.sees();
    let told = "the same command passes once approved";
    refused_by(own.create(&PostParams::default(), &map("web", "x")).await, "gate.quorate.dev", told);
    let request = scene.held_about("web").await;
    let mary = scene.as_user("mary", &["r31-both"]).await;
    for process in [&first, &second] {
        let instance = scene.asked_for(&request, "operation", process).await;
        scene.counts(&mary.approves(&instance).await).await;
    }
    let told = scene.tells(&request, "Completed", "False", "WaitingForExecution").await;
    assert!(told.contains("the same request passes once"), "{told}");
    assert!(scene.config_map("web").await.is_none());
    own.create(&PostParams::default(), &map("web", "x")).await.unwrap();
    assert_eq!(scene.completed(&request).await, [ChangeState::Executed]);
}

#[tokio::test]
async fn r31_what_was_not_kept_whole_needs_the_same_command() {
    let cluster = crate::with_mutating_policy().await;
    let scene = Scene::with_namespace(cluster, "r31-large").await;
    let alice = scene.as_user("alice", &[]).await;
    scene.may_edit(&alice).await;
    let process = scene.gate("check", one_of("r31-large"), automatic()).await;
    let (own, large) = (alice.sees::<ConfigMap>(), map("web", &"x".repeat(300 * 1024)));
    let told = "the same command passes once approved (it is too large for Quorate to keep, and so to carry out)";
    refused_by(own.create(&PostParams::default(), &large).await, "gate.quorate.dev", told);
    let request = scene.held_about("web").await;
    let instance = scene.asked_for(&request, "operation", &process).await;
    scene.counts(&scene.as_user("mary", &["r31-large"]).await.approves(&instance).await).await;
    let told = scene.tells(&request, "Completed", "False", "WaitingForExecution").await;
    assert!(told.contains("it is too large for Quorate to keep"), "{told}");
    own.create(&PostParams::default(), &large).await.unwrap();
    assert_eq!(scene.completed(&request).await, [ChangeState::Executed]);
}

#[tokio::test]
async fn r31_a_service_account_is_held_approved_by_a_person_and_passes() {
    let cluster = crate::with_mutating_policy().await;
    for (prefix, more) in [("r31-account", json!({})), ("r31-account-auto", automatic())] {
        let scene = Scene::with_namespace(cluster, prefix).await;
        let flux = scene.as_service_account("flux").await;
        let account = format!("--serviceaccount={}:flux", scene.namespace);
        scene.kubectl(&["create", "rolebinding", "flux", "--clusterrole=edit", &account]).await.ok().unwrap();
        let process = scene.gate("check", one_of(prefix), more.clone()).await;
        let own: Api<ConfigMap> = flux.sees();
        let tried = own.create(&PostParams::default(), &map("web", "x")).await;
        refused_by(tried, "gate.quorate.dev", "held for approval");
        let request = scene.held_about("web").await;
        assert_eq!(request.spec.requester.as_ref().unwrap().username, flux.name());
        let instance = scene.asked_for(&request, "operation", &process).await;
        scene.refuses(&flux.approves(&instance).await, "SelfApproval", "").await;
        scene.counts(&scene.as_user("mary", &[prefix]).await.approves(&instance).await).await;
        if more == json!({}) {
            scene.tells(&request, "Completed", "False", "WaitingForExecution").await;
            own.create(&PostParams::default(), &map("web", "x")).await.unwrap();
        }
        assert_eq!(scene.completed(&request).await, [ChangeState::Executed], "{prefix}");
        assert!(scene.config_map("web").await.is_some());
        scene.held_about("web").await;
    }
}

#[tokio::test]
async fn attack_45_two_operators_hold_once_and_carry_out_once() {
    let cluster = Cluster::start(true).await;
    let scene = Scene::with_namespace(&cluster, "attack-45").await;
    let alice = scene.as_user("alice", &[]).await;
    scene.may_edit(&alice).await;
    let process = scene.gate("check", one_of("attack-45"), automatic()).await;
    let configurations: Api<k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration> =
        Api::all(scene.admin.client.clone());
    let configuration = json!(configurations.get("quorate-gate").await.unwrap());
    let url: url::Url = configuration["webhooks"][0]["clientConfig"]["url"].as_str().unwrap().parse().unwrap();
    let first = format!("{}://{}:{}", url.scheme(), url.host_str().unwrap(), url.port().unwrap());
    let environment = [("QUORATE_GATE_URL", first), ("QUORATE_EXECUTION_AUTOMATIC", "true".to_owned())];
    let second = Cluster::spawn_operator_with(&cluster.plane, &environment).await;

    let own: Api<ConfigMap> = alice.sees();
    let (parameters, object) = (PostParams::default(), map("web", "x"));
    for tried in futures::future::join_all((0..6).map(|_| own.create(&parameters, &object))).await {
        refused_by(tried, "gate.quorate.dev", "held for approval: changerequest/gate-");
    }
    let request = scene.held_about("web").await;
    let instance = scene.asked_for(&request, "operation", &process).await;
    scene.counts(&scene.as_user("mary", &["attack-45"]).await.approves(&instance).await).await;
    assert_eq!(scene.completed(&request).await, [ChangeState::Executed]);
    let written = scene.written_by("alice").await;
    assert_eq!(written.len(), 1, "{written:?}");
    let attempts = |entry: &Entry| {
        entry.resource == "configmaps"
            && entry.namespace == scene.namespace
            && entry.verb == "create"
            && entry.code != 403
    };
    let attempts = cluster.plane.audit().entries(attempts).await.unwrap();
    assert_eq!(attempts.iter().filter(|entry| entry.user == "alice").count(), 1, "{attempts:?}");
    let instances = scene.admin.sees::<WorkflowInstance>().list(&ListParams::default()).await.unwrap().items;
    assert_eq!(instances.len(), 1, "one instance");
    scene.held_about("web").await;
    assert_eq!(second.exit_status(), None);
    cluster.is_well();
}

#[tokio::test]
async fn r31_membership_of_a_group_is_a_matter_of_its_owner() {
    // The example gates the roles of the whole cluster.
    let cluster = Cluster::start(true).await;
    let _log = crate::ShowsLog(&cluster);
    let scene = Scene::within(&cluster, OPERATOR_NAMESPACE).await;
    for role in ["quorate-requester", "quorate-auditor"] {
        let role_ref = format!("--clusterrole={role}");
        let bind = ["create", "rolebinding", role, &role_ref, "--group=system:authenticated"];
        scene.kubectl(&bind).await.ok().unwrap();
    }
    let rights = ["create", "clusterrole", "groups", "--verb=get,patch,update", "--resource=businessroles.quorate.dev"];
    cluster.plane.kubectl(&rights).await.unwrap().ok().unwrap();
    let bound = ["create", "clusterrolebinding", "groups", "--clusterrole=groups", "--user=alice"];
    cluster.plane.kubectl(&bound).await.unwrap().ok().unwrap();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/group-membership/policy");
    cluster.plane.kubectl(&["apply", "-f", &folder.to_string_lossy()]).await.unwrap().ok().unwrap();
    let processes: Api<ApprovalProcess> = Api::all(scene.admin.client.clone());
    let process = processes.get("group-membership").await.unwrap();
    scene.ready(&process, "True").await;

    let (alice, olga) = (scene.as_user("alice", &[]).await, scene.as_user("olga", &[]).await);
    let roles: Api<BusinessRole> = Api::all(alice.client.clone());
    let joins = async |group: &str, who: &str| {
        let patch = Patch::Merge(json!({"spec": {"members": [{"identity": who}]}}));
        roles.patch(group, &PatchParams::default(), &patch).await
    };
    let members = async |group: &str| roles.get(group).await.unwrap().spec.members.len();

    // Nobody owns it.
    refused_by(joins("nobodys", "peter").await, "gate.quorate.dev", "held for approval");
    let request = scene.held_about("nobodys").await;
    assert_eq!(scene.completed(&request).await, [ChangeState::Rejected]);
    refused_by(joins("nobodys", "peter").await, "gate.quorate.dev", "rejected: changerequest/");
    // The owner rejects.
    let told = "it is carried out once approved";
    let about = async |who: &str| {
        let all = scene.admin.sees::<ChangeRequest>().list(&ListParams::default()).await.unwrap().items;
        let wanted = json!([{"identity": who}]);
        let about = |request: &ChangeRequest| {
            request.spec.changes[0].object.as_ref().is_some_and(|object| object["spec"]["members"] == wanted)
                && held_of(request).name == "climbers"
        };
        let mut found: Vec<_> = all.into_iter().filter(about).collect();
        found.sort_by_key(|request| (request.creation_timestamp(), request.name_any()));
        found.pop().unwrap()
    };
    refused_by(joins("climbers", "peter").await, "gate.quorate.dev", told);
    let rejected = about("peter").await;
    let instance = scene.asked_for(&rejected, "operation", &process).await;
    assert_eq!((&instance.spec.subjects[..], instance.spec.role.as_deref()), (&["peter".into()][..], Some("climbers")));
    scene.refuses(&scene.as_user("peter", &[]).await.approves(&instance).await, "SelfApproval", "").await;
    scene.counts(&olga.rejects(&instance).await).await;
    assert_eq!(scene.completed(&rejected).await, [ChangeState::Rejected]);
    refused_by(joins("climbers", "peter").await, "gate.quorate.dev", "rejected: changerequest/");
    assert_eq!((members("climbers").await, members("nobodys").await), (0, 0));
    // The owner approves another one, which R57 takes for a correction.
    refused_by(joins("climbers", "anna").await, "gate.quorate.dev", told);
    let approved = about("anna").await;
    assert_eq!(approved.spec.supersedes, Some(rejected.name_any()));
    let instance = scene.asked_for(&approved, "operation", &process).await;
    scene.counts(&olga.approves(&instance).await).await;
    assert_eq!(scene.completed(&approved).await, [ChangeState::Executed]);
    assert_eq!(scene.now(&rejected).await.status.unwrap().superseded_by, Some(approved.name_any()));
    assert_eq!(members("climbers").await, 1);
    assert_eq!(scene.outcome_of(&instance).await, Outcome::Approved);
    cluster.is_well();
}
