//! Several processes about one operation: what is before it, and what is after it; and one instance for each subject.

use super::*;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Api, PostParams};

/// Somebody of the group before, and somebody of the same group after.
fn around(group: &str) -> Value {
    let step = |name: &str| json!({"name": name, "approval": {"approvers": [{"group": group}]}});
    json!([step("before"), {"name": "change", "execute": {}}, step("after")])
}

struct Two<'a> {
    scene: Scene<'a>,
    first: ApprovalProcess,
    second: ApprovalProcess,
    alice: Person,
    boss: Person,
}

impl<'a> Two<'a> {
    async fn processes(cluster: &'a Cluster, prefix: &str) -> Self {
        let scene = Scene::with_namespace(cluster, prefix).await;
        let alice = scene.as_user("alice", &[]).await;
        scene.may_edit(&alice).await;
        let first = scene.gate("first", around(prefix), json!({"onMatch": "Continue", "order": 1})).await;
        let second = scene.gate("second", around(prefix), json!({"onMatch": "Continue", "order": 2})).await;
        let boss = scene.as_user("boss", &[prefix]).await;
        Self { scene, first, second, alice, boss }
    }

    async fn creates(&self) -> kube::Result<ConfigMap> {
        let map = serde_json::from_value(config_map("web", "x")).unwrap();
        self.alice.sees::<ConfigMap>().create(&PostParams::default(), &map).await
    }

    /// The first process agrees to what was held, and the second one asks.
    async fn until_the_second(&self) -> (ChangeRequest, WorkflowInstance, WorkflowInstance) {
        refused_by(self.creates().await, "gate.quorate.dev", "held for approval");
        let request = self.scene.held_about("web").await;
        let one = self.scene.asked_for(&request, "operation", &self.first).await;
        let asked = self.scene.now(&request).await.status.unwrap().changes.remove(0).instances;
        assert_eq!(asked.len(), 1, "the second is not asked before the first agrees: {asked:?}");
        self.scene.counts(&self.boss.approves(&one).await).await;
        let two = self.scene.asked_for(&request, "operation", &self.second).await;
        self.scene.says(&one, "Completed", "False", "WaitingForExecution").await;
        (request, one, two)
    }
}

#[tokio::test]
async fn r16_r27_what_is_before_goes_in_order_then_the_command_then_what_is_after() {
    let two = Two::processes(crate::with_mutating_policy().await, "r16-phases").await;
    let (request, one, other) = two.until_the_second().await;
    refused_by(two.creates().await, "gate.quorate.dev", "held for approval");
    two.scene.counts(&two.boss.approves(&other).await).await;
    two.scene.tells(&request, "Completed", "False", "WaitingForExecution").await;
    assert_eq!(two.scene.now(&one).await.status.unwrap().step.as_deref(), Some("change"), "nothing after it yet");
    two.creates().await.unwrap();
    assert_eq!(two.scene.completed(&request).await, [ChangeState::Executed]);
    for instance in [&one, &other] {
        let after = two.scene.at(instance, "after").await;
        // It may open in the second in which the one before closed: the boss, who decides both, says which is meant.
        let decision = json!({"decision": "Approve", "step": "after"});
        two.scene.counts(&two.boss.signals(&after, decision).await.unwrap()).await;
        assert_eq!(two.scene.outcome_of(instance).await, Outcome::Approved);
    }
    assert_eq!(two.scene.completed(&request).await, [ChangeState::Executed]);
}

#[tokio::test]
async fn r28_a_rejection_of_the_second_ends_the_first_and_is_told() {
    let two = Two::processes(crate::with_mutating_policy().await, "r28-phases").await;
    let (request, one, other) = two.until_the_second().await;
    let rejection = json!({"decision": "Reject", "comment": "not on a Friday"});
    two.scene.counts(&two.boss.signals(&other, rejection).await.unwrap()).await;
    assert_eq!(two.scene.completed(&request).await, [ChangeState::Rejected]);
    assert_eq!(two.scene.outcome_of(&one).await, Outcome::Cancelled);
    assert_eq!(two.scene.outcome_of(&other).await, Outcome::Rejected);
    refused_by(two.creates().await, "gate.quorate.dev", "rejected: changerequest/");
    refused_by(two.creates().await, "gate.quorate.dev", "not on a Friday");
    assert!(two.scene.config_map("web").await.is_none());
}

#[tokio::test]
async fn r25_each_person_who_is_added_to_a_binding_has_an_instance() {
    // The example gates the bindings of the whole cluster.
    let cluster = Cluster::start(true).await;
    let _log = crate::ShowsLog(&cluster);
    let scene = Scene::with_namespace(&cluster, "r25-subjects").await;
    let role = ["create", "rolebinding", "admins", "--clusterrole=admin", "--user=alice", "--user=olga"];
    scene.kubectl(&role).await.ok().unwrap();
    scene.kubectl(&["create", "rolebinding", "viewers", "--clusterrole=view", "--user=anna"]).await.ok().unwrap();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/role-for-user/policy");
    cluster.plane.kubectl(&["apply", "-f", &folder.to_string_lossy()]).await.unwrap().ok().unwrap();
    let processes: Api<ApprovalProcess> = Api::all(scene.admin.client.clone());
    for name in ["role-removed-from-user", "role-modified-for-user", "role-added-to-user"] {
        scene.ready(&processes.get(name).await.unwrap(), "True").await;
    }
    let process = processes.get("role-added-to-user").await.unwrap();
    let (alice, cilla) = (scene.as_user("alice", &[]).await, scene.as_user("cilla", &[]).await);
    let bindings: Api<RoleBinding> = alice.sees();
    let user = |name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name});
    let mut binding = bindings.get("viewers").await.unwrap();
    binding.subjects = serde_json::from_value(json!([user("anna"), user("peter"), user("paul")])).unwrap();
    let adds = async || bindings.replace("viewers", &PostParams::default(), &binding).await;
    refused_by(adds().await, "gate.quorate.dev", "held for approval");
    let request = scene.held_about("viewers").await;
    let planned: Vec<_> = held_of(&request).processes.iter().map(|process| process.name.clone()).collect();
    assert_eq!(planned, ["role-added-to-user"]);
    let mut instances = scene.all_asked_for(&request, "operation", &process, 2).await;
    instances.sort_by_key(|instance| instance.spec.subjects.clone());
    assert_eq!(
        (&instances[0].spec.subjects[..], &instances[1].spec.subjects[..]),
        (&["paul".into()][..], &["peter".into()][..])
    );
    scene.refuses(&scene.as_user("peter", &[]).await.approves(&instances[1]).await, "SelfApproval", "").await;
    scene.counts(&cilla.approves(&instances[1]).await).await;
    // Nobody knows the manager of the other one.
    refused_by(adds().await, "gate.quorate.dev", "held for approval");
    let cancel = json!({"decision": "Cancel"});
    scene.counts(&alice.signals(&instances[0], cancel).await.unwrap()).await;
    assert_eq!(scene.completed(&request).await, [ChangeState::Cancelled], "one that does not agree ends it");
    // With the one whose manager agrees it passes.
    binding.subjects = serde_json::from_value(json!([user("anna"), user("peter")])).unwrap();
    let adds = async || bindings.replace("viewers", &PostParams::default(), &binding).await;
    refused_by(adds().await, "gate.quorate.dev", "held for approval");
    let all = scene.admin.sees::<ChangeRequest>().list(&ListParams::default()).await.unwrap().items;
    let again = all.into_iter().find(|found| found.name_any() != request.name_any()).unwrap();
    let instance = scene.asked_for(&again, "operation", &process).await;
    scene.counts(&cilla.approves(&instance).await).await;
    scene.tells(&again, "Completed", "False", "WaitingForExecution").await;
    adds().await.unwrap();
    assert_eq!(scene.completed(&again).await, [ChangeState::Executed]);
    cluster.is_well();
}
