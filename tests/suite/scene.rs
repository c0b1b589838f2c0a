//! A test's own corner of the shared cluster, and the people who act in it. Reads like sentences:
//! `mary.approves(&release).await`, `scene.counts(&signal).await`.

use crate::Cluster;
use crate::cluster::Output;
use crate::eventually;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{ApiResource, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::{ClusterResourceScope, NamespaceResourceScope};
use kube::{Api, Client, Resource, ResourceExt};
use quorate::api::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;

/// Where the operator keeps what belongs to cluster-scoped objects.
pub const OPERATOR_NAMESPACE: &str = crate::cluster::chart::NAMESPACE;

/// A namespace of one test.
pub struct Scene<'a> {
    pub cluster: &'a Cluster,
    pub namespace: String,
    /// The one who may do everything.
    pub admin: Person,
}

/// What became of a signal.
#[derive(Debug)]
pub struct Verdict {
    pub counted: bool,
    pub reason: String,
    pub message: String,
}

impl<'a> Scene<'a> {
    /// A new namespace in which everybody may open instances and read what is going on.
    pub async fn with_namespace(cluster: &'a Cluster, prefix: &str) -> Self {
        let namespace = cluster.plane.temp_namespace(prefix).await.unwrap();
        for role in ["quorate-requester", "quorate-auditor"] {
            let bind = [
                "create",
                "rolebinding",
                role,
                "--clusterrole",
                role,
                "--group=system:authenticated",
                "-n",
                &namespace,
            ];
            cluster.plane.kubectl(&bind).await.unwrap().ok().unwrap();
        }
        Self::within(cluster, &namespace).await
    }

    /// A namespace that is there.
    pub async fn within(cluster: &'a Cluster, namespace: &str) -> Self {
        let admin = Person::new(cluster, cluster.plane.admin().await.unwrap(), namespace).await;
        Self { cluster, namespace: namespace.to_owned(), admin }
    }

    /// A person who acts in this namespace.
    pub async fn as_user(&self, user: &str, groups: &[&str]) -> Person {
        let client = self.cluster.plane.as_user(user, groups).await.unwrap();
        Person::new(self.cluster, client, &self.namespace).await
    }

    /// A new ServiceAccount of this namespace.
    pub async fn as_service_account(&self, name: &str) -> Person {
        self.kubectl(&["create", "serviceaccount", name]).await.ok().unwrap();
        let plane = &self.cluster.plane;
        let token = plane.service_account_token(&self.namespace, name).await.unwrap();
        let client = plane.as_bearer(&token).await.unwrap();
        Person::new(self.cluster, client, &self.namespace).await
    }

    /// kubectl in this namespace, as the one who may do everything.
    pub async fn kubectl(&self, arguments: &[&str]) -> Output {
        let arguments = [&["-n", &self.namespace], arguments].concat();
        self.cluster.plane.kubectl(&arguments).await.unwrap()
    }

    /// kubectl in this namespace with a standard input, as a person.
    pub async fn kubectl_as(&self, user: &str, arguments: &[&str], input: &Value) -> Output {
        let plane = &self.cluster.plane;
        let kubeconfig = plane.kubeconfig_for(user, &[]).unwrap();
        let arguments = [&["-n", &self.namespace], arguments].concat();
        plane.run_tool("kubectl", &kubeconfig, &arguments, &input.to_string()).await.unwrap()
    }

    /// The name of something of this test outside of its namespace.
    pub fn unique(&self, name: &str) -> String {
        format!("{}-{name}", self.namespace)
    }

    /// A cluster-scoped object of this test; its name is [made unique](Self::unique).
    pub async fn has<K>(&self, name: &str, spec: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + DeserializeOwned + Serialize + Debug,
    {
        self.tries_to_have(name, spec).await.unwrap()
    }

    /// The same, where the API server may refuse.
    pub async fn tries_to_have<K>(&self, name: &str, spec: Value) -> kube::Result<K>
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + DeserializeOwned + Serialize + Debug,
    {
        // Through a dynamic object: what the types cannot say must reach the server too.
        let mut object = DynamicObject::new(&self.unique(name), &ApiResource::erase::<K>(&()));
        object.data = json!({"spec": spec});
        let api: Api<DynamicObject> = Api::all_with(self.admin.client.clone(), &ApiResource::erase::<K>(&()));
        let made = api.create(&PostParams::default(), &object).await?;
        Ok(made.try_parse().unwrap())
    }

    /// Changes fields of the spec of a cluster-scoped object, as the one who may do everything.
    pub async fn changes<K>(&self, object: &K, spec: Value)
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let api: Api<K> = Api::all(self.admin.client.clone());
        let patch = Patch::Merge(json!({"spec": spec}));
        api.patch(&object.name_any(), &PatchParams::default(), &patch).await.unwrap();
    }

    /// Waits until `Ready` of the object, as it is now, has this status; gives the message.
    pub async fn ready<K>(&self, object: &K, status: &str) -> String
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope>,
    {
        let api: Api<DynamicObject> = Api::all_with(self.admin.client.clone(), &ApiResource::erase::<K>(&()));
        eventually(&format!("{} has Ready={status}", object.name_any()), async || {
            let object = api.get(&object.name_any()).await.unwrap();
            let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready")?;
            let seen = ready["observedGeneration"].as_i64() == object.metadata.generation;
            (seen && ready["status"] == status).then(|| ready["message"].as_str().unwrap_or_default().to_owned())
        })
        .await
    }

    /// Every signal of the namespace.
    pub async fn signals(&self) -> Vec<ApprovalSignal> {
        self.admin.sees::<ApprovalSignal>().list(&ListParams::default()).await.unwrap().items
    }

    /// The object as it is now.
    pub async fn now<K>(&self, object: &K) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let api: Api<K> = Api::namespaced(self.admin.client.clone(), &object.namespace().unwrap());
        api.get(&object.name_any()).await.unwrap()
    }

    /// Nobody has touched the object since it was read.
    pub async fn untouched<K>(&self, before: &K)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let after = self.now(before).await;
        assert_eq!(
            (before.uid(), before.resource_version()),
            (after.uid(), after.resource_version()),
            "{} was {before:?} and is {after:?}",
            before.name_any()
        );
    }

    /// Waits until people are asked to decide the instance, or to decide this step of it.
    pub async fn asking(&self, instance: &WorkflowInstance) -> WorkflowInstance {
        self.until(instance, "it asks people", |status| status.started_at.is_some()).await
    }

    /// Waits until the instance stands at a step.
    pub async fn at(&self, instance: &WorkflowInstance, step: &str) -> WorkflowInstance {
        self.until(instance, &format!("it stands at {step}"), |status| status.step.as_deref() == Some(step)).await
    }

    /// Waits until a condition of the instance has a status and a reason; gives the message.
    pub async fn says(&self, instance: &WorkflowInstance, type_: &str, status: &str, reason: &str) -> String {
        let says = |found: &WorkflowInstanceStatus| {
            condition(&found.conditions, type_).is_some_and(|c| c.status == status && c.reason == reason)
        };
        let found = self.until(instance, &format!("{type_}={status}, {reason}"), says).await;
        condition(&found.status.unwrap().conditions, type_).unwrap().message.clone()
    }

    /// Waits until the instance has ended; gives how.
    pub async fn outcome_of(&self, instance: &WorkflowInstance) -> Outcome {
        let ended = self.until(instance, "it has an outcome", |status| status.outcome.is_some()).await;
        ended.status.and_then(|status| status.outcome).unwrap()
    }

    /// Waits until something holds of the status of the instance.
    pub async fn until(
        &self,
        instance: &WorkflowInstance,
        what: &str,
        holds: impl Fn(&WorkflowInstanceStatus) -> bool,
    ) -> WorkflowInstance {
        let mut last = None;
        let name = instance.name_any();
        eventually(&format!("{name}: {what}"), async || {
            let found = self.now(instance).await;
            if last.as_ref() != Some(&found) {
                println!("{name}: {:?}", found.status.as_ref().map(|status| &status.conditions));
                last = Some(found.clone());
            }
            found.status.as_ref().is_some_and(&holds).then_some(found)
        })
        .await
    }

    /// Waits until the signal has been judged.
    pub async fn verdict_of(&self, signal: &ApprovalSignal) -> Verdict {
        eventually(&format!("{} of {:?} is judged", signal.name_any(), signal.spec.actor), async || {
            let status = self.now(signal).await.status?;
            let reason = status.reason?;
            let accepted = condition(&status.conditions, "Accepted").unwrap();
            assert_eq!(accepted.reason, reason);
            Some(Verdict { counted: accepted.status == "True", reason, message: accepted.message.clone() })
        })
        .await
    }

    /// The signal counts.
    pub async fn counts(&self, signal: &ApprovalSignal) {
        let verdict = self.verdict_of(signal).await;
        assert!(verdict.counted && verdict.reason == "Counted", "{verdict:?}");
    }

    /// The signal does not count, for this reason, and the message says so.
    pub async fn refuses(&self, signal: &ApprovalSignal, reason: &str, message: &str) {
        let verdict = self.verdict_of(signal).await;
        assert!(!verdict.counted && verdict.reason == reason, "{reason} expected: {verdict:?}");
        assert!(verdict.message.contains(message), "{message:?} expected: {verdict:?}");
    }
}

/// Somebody whom the API server knows, and how they send things.
#[derive(Clone)]
pub struct Person {
    pub client: Client,
    /// Who they are to the API server.
    pub actor: Actor,
    fills_in: bool,
    namespace: String,
}

impl Person {
    async fn new(cluster: &Cluster, client: Client, namespace: &str) -> Self {
        let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
        let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await.unwrap();
        let user = review.status.and_then(|status| status.user_info).unwrap();
        let actor = Actor {
            username: user.username.unwrap_or_default(),
            uid: user.uid.unwrap_or_default(),
            groups: user.groups.unwrap_or_default(),
        };
        Self { client, actor, fills_in: !cluster.mutating, namespace: namespace.to_owned() }
    }

    /// Their username. A person of the directory of a test has an Identity of the same name.
    pub fn name(&self) -> &str {
        &self.actor.username
    }

    /// The objects of a kind in the namespace of the test.
    pub fn sees<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Opens an instance by hand.
    pub async fn opens(&self, name: &str, spec: Value) -> WorkflowInstance {
        self.tries_to_open(name, spec).await.unwrap()
    }

    /// Opens an instance by hand, or is refused.
    pub async fn tries_to_open(&self, name: &str, mut spec: Value) -> kube::Result<WorkflowInstance> {
        self.fill_in(&mut spec, "initiator");
        let metadata = json!({"name": name, "namespace": self.namespace});
        self.creates(&self.namespace, json!({"metadata": metadata, "spec": spec})).await
    }

    /// Approves the instance.
    pub async fn approves(&self, instance: &WorkflowInstance) -> ApprovalSignal {
        self.signals(instance, json!({"decision": "Approve"})).await.unwrap()
    }

    /// Rejects the instance.
    pub async fn rejects(&self, instance: &WorkflowInstance) -> ApprovalSignal {
        self.signals(instance, json!({"decision": "Reject"})).await.unwrap()
    }

    /// Sends a signal about the instance, or is refused.
    pub async fn signals(&self, instance: &WorkflowInstance, mut spec: Value) -> kube::Result<ApprovalSignal> {
        spec["instance"] = json!(instance.name_any());
        self.signals_in(&instance.namespace().unwrap(), spec).await
    }

    /// Sends a signal to a namespace, or is refused.
    pub async fn signals_in(&self, namespace: &str, mut spec: Value) -> kube::Result<ApprovalSignal> {
        self.fill_in(&mut spec, "actor");
        self.creates(namespace, json!({"metadata": {"generateName": "signal-"}, "spec": spec})).await
    }

    /// Creates an object of the test's namespace as it is written, or is refused.
    pub async fn creates<K>(&self, namespace: &str, object: Value) -> kube::Result<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Serialize + Debug,
    {
        let resource = ApiResource::erase::<K>(&());
        let mut sent = DynamicObject::new("", &resource);
        sent.metadata = serde_json::from_value::<ObjectMeta>(object["metadata"].clone()).unwrap();
        sent.data = object;
        sent.data.as_object_mut().unwrap().remove("metadata");
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let made = api.create(&PostParams::default(), &sent).await?;
        Ok(made.try_parse().unwrap())
    }

    /// Who sends, where the server does not fill it in.
    pub fn fill_in(&self, spec: &mut Value, field: &str) {
        if self.fills_in && spec.get(field).is_none() {
            spec[field] = json!(self.actor);
        }
    }
}

/// The spec of an instance with a workflow of its own: one step, `check`.
#[allow(clippy::needless_pass_by_value, reason = "it is written at the call: one_step(json!(…))")]
pub fn one_step(approval: Value) -> Value {
    json!({"workflow": {"nodes": [{"name": "check", "approval": approval}]}})
}

/// What was tried was refused by this policy (or rule, or API), with this message.
#[track_caller]
pub fn refused_by<T: Debug>(tried: kube::Result<T>, by: &str, message: &str) {
    match tried {
        Err(kube::Error::Api(status)) => {
            let told = &status.message;
            assert!((400..500).contains(&status.code), "{status:?}");
            assert!(told.contains(by) && told.contains(message), "{by}, {message} expected: {told}");
        }
        other => panic!("not refused by {by}: {other:?}"),
    }
}
