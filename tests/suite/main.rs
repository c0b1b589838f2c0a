//! The tests that need a cluster: a real API server with the chart installed and the operator running.
//!
//! Two control planes serve all tests at once, one that knows MutatingAdmissionPolicy and one that does not. Each test
//! has a namespace of its own ([`scene::Scene`]); what it makes outside of it bears the name of that namespace. A test
//! that disturbs a whole cluster, by removing a policy or stopping the operator, starts [its own](Cluster::start).
#![allow(clippy::doc_markdown, reason = "names of Kubernetes kinds are words here")]
#![allow(clippy::wildcard_imports, reason = "the set-up is the language of these tests")]

mod attacks;
mod bad_input;
mod changes;
#[path = "../cluster/mod.rs"]
mod cluster;
mod collections;
mod endpoint;
mod gate;
mod language;
mod notifications;
mod pending;
mod requests;
mod scene;

use cluster::{ControlPlane, Operator, OperatorOptions, Options};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

/// A control plane with the chart installed, and the operator beside it.
struct Cluster {
    /// The operator. It ends before the control plane does.
    operator: Operator,
    /// The control plane.
    plane: ControlPlane,
    /// Whether the server fills in who sends what (MutatingAdmissionPolicy); else clients do.
    mutating: bool,
}

impl Cluster {
    /// Starts a cluster that nobody else uses. It ends when dropped.
    async fn start(mutating: bool) -> Self {
        Self::start_with(mutating, &[], &[]).await
    }

    /// The same, with more values for the chart and more environment for the operator.
    async fn start_with(mutating: bool, values: &[&str], environment: &[(&str, String)]) -> Self {
        let options = Options { mutating_admission_policies: mutating, ..Options::default() };
        let plane = ControlPlane::start(options).await.unwrap();
        // One of the two carries changes out in the name of their requesters.
        let automatic: &[&str] = if mutating { &AUTOMATIC } else { &[] };
        let values = [&["deployment.enabled=false"], automatic, values].concat();
        plane.install_chart(&values).await.unwrap();
        plane.apply(RIGHTS).await.unwrap().ok().unwrap();
        let execution = [("QUORATE_EXECUTION_AUTOMATIC", mutating.to_string())];
        let operator = Self::spawn_operator_with(&plane, &[&execution, environment].concat()).await;
        Self { operator, plane, mutating }
    }

    /// Starts an operator and waits until it is ready.
    async fn spawn_operator(plane: &ControlPlane) -> Operator {
        Self::spawn_operator_with(plane, &[]).await
    }

    /// The same, with more environment.
    async fn spawn_operator_with(plane: &ControlPlane, environment: &[(&str, String)]) -> Operator {
        let mut options = OperatorOptions::of(env!("CARGO_BIN_EXE_quorate"));
        options.environment.push(("QUORATE_LOG".into(), "info,quorate=debug,kube_runtime=debug".into()));
        options.environment.extend(environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let operator = Operator::spawn(plane, options).await.unwrap();
        operator.wait_ready().await.unwrap();
        operator
    }

    /// The operator still is the process that was started, and nothing in it panicked.
    fn is_well(&self) {
        assert_eq!(self.operator.exit_status(), None, "the operator ended:\n{}", self.operator.log_tail(30));
        let log = std::fs::read_to_string(self.operator.log()).unwrap();
        let panic = log.lines().find(|line| line.contains("panicked at"));
        assert_eq!(panic, None, "something in the operator panicked");
    }
}

/// What lets the operator carry changes out, as values of the chart.
const AUTOMATIC: [&str; 7] = [
    "execution.automatic.enabled=true",
    "execution.automatic.resources[0].apiGroups[0]=",
    "execution.automatic.resources[0].resources[0]=configmaps",
    "execution.automatic.resources[1].apiGroups[0]=rbac.authorization.k8s.io",
    "execution.automatic.resources[1].resources[0]=rolebindings",
    "execution.automatic.resources[2].apiGroups[0]=quorate.dev",
    "execution.automatic.resources[2].resources[0]=businessroles",
];

/// Requesting certificates is everybody's right here.
const RIGHTS: &str = "\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: certificate-requester}
rules:
- {apiGroups: [certificates.k8s.io], resources: [certificatesigningrequests], verbs: [create, get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: certificate-requester}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: certificate-requester}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: 'system:authenticated'}]
";

static WITH: OnceCell<Cluster> = OnceCell::const_new();
static WITHOUT: OnceCell<Cluster> = OnceCell::const_new();

/// The shared cluster whose server fills in who sends what, as servers from 1.36 on do.
async fn with_mutating_policy() -> &'static Cluster {
    WITH.get_or_init(|| Cluster::start(true)).await
}

/// The shared cluster whose server does not: clients fill it in.
async fn without_mutating_policy() -> &'static Cluster {
    WITHOUT.get_or_init(|| Cluster::start(false)).await
}

/// Makes two tests of each `async fn name(cluster: &Cluster)`: one on a server with MutatingAdmissionPolicy, one on a
/// server without. `on_both_servers!(alone: …)` for functions that want a cluster of their own, `Cluster`.
macro_rules! on_both_servers {
    (alone: $($name:ident),* $(,)?) => { $(
        mod $name {
            #[tokio::test]
            async fn with_mutating_policy() {
                super::$name($crate::Cluster::start(true).await).await;
            }
            #[tokio::test]
            async fn without_mutating_policy() {
                super::$name($crate::Cluster::start(false).await).await;
            }
        }
    )* };
    ($($name:ident),* $(,)?) => { $(
        mod $name {
            #[tokio::test]
            async fn with_mutating_policy() {
                let cluster = $crate::with_mutating_policy().await;
                let _log = $crate::ShowsLog(cluster);
                super::$name(cluster).await;
                cluster.is_well();
            }
            #[tokio::test]
            async fn without_mutating_policy() {
                let cluster = $crate::without_mutating_policy().await;
                let _log = $crate::ShowsLog(cluster);
                super::$name(cluster).await;
                cluster.is_well();
            }
        }
    )* };
}

use on_both_servers;

/// Shows the end of the operator's log when the test fails.
struct ShowsLog<'a>(&'a Cluster);

impl Drop for ShowsLog<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("The end of the operator's log:\n{}", self.0.operator.log_tail(20));
        }
    }
}

/// How long something that is going to happen may take. Long: a slow machine is no fault.
const PATIENCE: Duration = Duration::from_mins(1);

/// Looks again and again until there is something to see.
async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "this did not happen in {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
