//! Somebody else's cluster, reached through a context of their kubeconfig: what is there is found out before anything is
//! changed, and whatever the story makes is removed again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use super::cast::{Names, PROCESS, REQUESTER, REQUESTS, WORKFLOW};
use super::telling::Telling;
use crate::cluster::chart::{NAMESPACE, RELEASE};
use crate::cluster::{Operator, OperatorOptions, Output, generated, kubectl, root};

/// The label of a namespace that a demo has made and will remove; its value is what the names of that demo end with.
const MARK: &str = "quorate.dev/demo";

/// How long one kubectl or helm may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long the instances of removed requests may take to be cancelled.
const CANCELLING: Duration = Duration::from_secs(15);

/// Where the version of helm is pinned.
const HELM_MODULE: &str = include_str!("../tools/helm/go.mod");

/// A cluster that is not ours.
pub struct Guest {
    context: String,
    version: String,
    names: Names,
    kubectl: PathBuf,
    /// The program that installs Quorate; none where it is installed.
    helm: Option<PathBuf>,
    /// Where kubectl and helm remember things meanwhile.
    folder: TempDir,
}

impl Guest {
    /// Looks at the cluster, and says what is in the way. Changes nothing.
    pub async fn arrive(context: &str) -> Result<Self> {
        let mut guest = Self {
            context: context.to_owned(),
            version: String::new(),
            names: Names::unique(),
            kubectl: find("kubectl", "see https://kubernetes.io/docs/tasks/tools/, or build it: make tools")?,
            helm: None,
            folder: tempfile::Builder::new().prefix("quorate-demo-").tempdir()?,
        };
        let version = guest.json(&["version"]).await.with_context(|| format!("context {context} cannot be used"))?;
        version["serverVersion"]["gitVersion"].as_str().unwrap_or_default().clone_into(&mut guest.version);
        for whom in ["users", "groups"] {
            let may = guest.kubectl(&["auth", "can-i", "impersonate", whom], "").await?;
            ensure!(
                may.stdout.trim() == "yes",
                "the user of context {context} may not impersonate {whom}, so that nobody in the story could speak; \
                 use a context of a cluster administrator"
            );
        }
        let namespace = guest.namespace().await?;
        if let Some(mark) = namespace.as_ref().and_then(mark_of) {
            bail!(
                "another demo is playing on this cluster. If it was killed, remove what it left:\n{}",
                guest.removal_of_installation(&format!("-{mark}"))
            );
        }
        if guest.kinds().await?.is_empty() {
            ensure!(
                namespace.is_none(),
                "namespace {NAMESPACE} exists, but Quorate is not installed; remove the namespace, or install the chart: \
                 helm --kube-context {context} install {RELEASE} charts/quorate -n {NAMESPACE}"
            );
            let pinned = HELM_MODULE.lines().find_map(|line| line.strip_prefix("require helm.sh/helm/v4 "));
            let how = format!("go install helm.sh/helm/v4/cmd/helm@{}", pinned.unwrap_or("latest"));
            guest.helm = Some(find("helm", &format!("{how} (it goes to $(go env GOPATH)/bin)"))?);
        }
        Ok(guest)
    }

    /// Whether the cluster has Quorate of its own.
    pub fn has_quorate(&self) -> bool {
        self.helm.is_none()
    }

    /// The version of its server.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What the objects of this run are called.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// kubectl as the user of the context, or in the name of whom the arguments say.
    pub async fn kubectl(&self, arguments: &[&str], input: &str) -> Result<Output> {
        let mut command = Command::new(&self.kubectl);
        let cache = self.folder.path().join("kubectl");
        command.args(["--context", &self.context]).args(arguments).env("KUBECACHEDIR", cache);
        run("kubectl", command, input).await
    }

    /// Installs the chart of this checkout, without a Deployment, and runs its operator here.
    pub async fn install(&self) -> Result<Operator> {
        let namespace = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": { "name": NAMESPACE, "labels": { MARK: self.names.mark() } },
        });
        self.kubectl(&["create", "-f", "-"], &namespace.to_string()).await?.ok()?;
        let chart = root().join("charts/quorate").to_string_lossy().into_owned();
        let install = ["install", RELEASE, &chart, "-n", NAMESPACE, "--set", "deployment.enabled=false"];
        self.helm(&install).await?.ok().context("the chart cannot be installed")?;
        let kinds = self.kinds().await?;
        let wait = ["wait", "--for=condition=Established", "--timeout=30s"];
        let wait: Vec<_> = wait.into_iter().chain(kinds.iter().map(String::as_str)).collect();
        self.kubectl(&wait, "").await?.ok()?;
        // What kubectl has learned about the server before does not hold any more.
        let _ = std::fs::remove_dir_all(self.folder.path().join("kubectl"));

        // The API server of a guest does not reach this machine.
        let options = OperatorOptions { gate: false, ..OperatorOptions::beside_this_program()? };
        let operator = Operator::spawn_with(&self.operators_kubeconfig().await?, options).await?;
        operator.wait_ready().await?;
        Ok(operator)
    }

    /// The cluster as the context has it, with the token of the ServiceAccount that the chart has made.
    async fn operators_kubeconfig(&self) -> Result<Value> {
        let token = self.kubectl(&["create", "token", RELEASE, "-n", NAMESPACE], "").await?.ok()?;
        let mut kubeconfig = self.json(&["config", "view", "--raw", "--minify", "--flatten"]).await?;
        kubeconfig["users"] = json!([{ "name": RELEASE, "user": { "token": token.trim() } }]);
        kubeconfig["contexts"][0]["context"]["user"] = json!(RELEASE);
        Ok(kubeconfig)
    }

    /// The end of the log of the cluster's own operator; empty if it cannot be read.
    pub async fn log_tail(&self) -> String {
        let label = "app.kubernetes.io/name=quorate";
        let found = self.json(&["get", "deployments", "-A", "-l", label]).await.unwrap_or_default();
        let Some(namespace) = found["items"][0]["metadata"]["namespace"].as_str() else { return String::new() };
        let logs = self.kubectl(&["logs", "-n", namespace, "-l", label, "--tail=12"], "").await;
        logs.map(|logs| logs.stdout).unwrap_or_default()
    }

    /// Removes whatever the story has made, as far as it came. Says whether all of it is gone.
    pub async fn tidy_up(&self, operator: Option<Operator>, telling: &Telling) -> bool {
        telling.chapter("Tidying up");
        let failures = if self.has_quorate() {
            self.remove_story(telling).await
        } else {
            self.remove_installation(operator, telling).await
        };
        for why in &failures {
            telling.failed(why, None);
        }
        if !failures.is_empty() {
            let suffix = self.names.of("");
            let what =
                if self.has_quorate() { self.removal_of_story(&suffix) } else { self.removal_of_installation(&suffix) };
            telling.explain("What may be left is found and removed by:");
            telling.shown(&what);
        }
        failures.is_empty()
    }

    /// Removes Quorate, which was not there before, and with it all that is of its kinds.
    async fn remove_installation(&self, operator: Option<Operator>, telling: &Telling) -> Vec<anyhow::Error> {
        match self.namespace().await {
            // Interrupted early, or somebody else was faster.
            Ok(namespace) if namespace.as_ref().and_then(mark_of) != Some(self.names.mark()) => {
                telling.done("nothing had been made yet");
                return Vec::new();
            }
            Ok(_) => {}
            Err(why) => return vec![why],
        }
        let mut failures = Vec::new();
        let mut swept = |done: Result<Output>| failures.extend(done.and_then(Output::ok).err());
        swept(self.delete("csr", &self.requests()).await);
        swept(self.delete("clusterrole,clusterrolebinding", &[self.names.of(REQUESTER)]).await);
        drop(operator);
        for name in self.requests() {
            swept(self.delete_events("default", &name).await);
        }
        swept(self.helm(&["uninstall", RELEASE, "-n", NAMESPACE, "--ignore-not-found"]).await);
        match self.kinds().await {
            Ok(kinds) if kinds.is_empty() => {}
            // Named TYPE/NAME, as `kubectl delete` takes them too.
            Ok(kinds) => swept(self.delete_named(&kinds).await),
            Err(why) => swept(Err(why)),
        }
        swept(self.delete("namespace", &[NAMESPACE.to_owned()]).await);
        if failures.is_empty() {
            telling.done("the requests, the chart, its kinds and its namespace are gone: the cluster is as it was");
        }
        failures
    }

    /// Removes what the story has made of an installation that stays.
    async fn remove_story(&self, telling: &Telling) -> Vec<anyhow::Error> {
        let mut failures = Vec::new();
        let mut swept = |done: Result<Output>| failures.extend(done.and_then(Output::ok).err());
        // Unfinished instances cannot be deleted: without its request, one is cancelled.
        swept(self.delete("csr", &self.requests()).await);
        let instances = self.finished_instances().await;
        for instance in instances.iter().flatten() {
            let what = std::iter::once(format!("workflowinstance/{}", instance.name))
                .chain(instance.revision.as_ref().map(|revision| format!("controllerrevision/{revision}")));
            let what: Vec<_> = ["-n".to_owned(), instance.namespace.clone()].into_iter().chain(what).collect();
            swept(self.delete_named(&what).await);
            swept(self.delete_events(&instance.namespace, &instance.name).await);
        }
        for name in self.requests() {
            swept(self.delete_events("default", &name).await);
        }
        swept(self.delete("approvalprocess", &[self.names.of(PROCESS)]).await);
        swept(self.delete("workflowdefinition", &[self.names.of(WORKFLOW)]).await);
        swept(self.delete("clusterrole,clusterrolebinding", &[self.names.of(REQUESTER)]).await);
        let signals = match instances {
            Ok(instances) => self.signals_left(&instances).await,
            Err(why) => Err(why),
        };
        match signals {
            Ok(left) if failures.is_empty() => {
                telling.done("the requests, their instances and the rules of the story are gone");
                if left > 0 {
                    telling.explain(&format!(
                        "{left} signals remain: the operator alone may remove them, and does so with its next sweep (every hour by default)."
                    ));
                }
            }
            Ok(_) => {}
            Err(why) => failures.push(why),
        }
        failures
    }

    /// The instances of the story, as soon as all of them are finished.
    async fn finished_instances(&self) -> Result<Vec<Remnant>> {
        let selector = format!("--field-selector=spec.processRef.name={}", self.names.of(PROCESS));
        let deadline = Instant::now() + CANCELLING;
        loop {
            let list = self.json(&["get", "workflowinstances", "-A", &selector]).await?;
            let all: Vec<_> = list["items"].as_array().into_iter().flatten().map(Remnant::of).collect();
            let unfinished: Vec<_> =
                all.iter().filter(|instance| !instance.finished).map(|instance| &*instance.name).collect();
            if unfinished.is_empty() {
                return Ok(all);
            }
            ensure!(
                Instant::now() < deadline,
                "unfinished after {} s, so that it cannot be removed: {}; does the operator run?",
                CANCELLING.as_secs(),
                unfinished.join(", ")
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// How many signals of removed instances are still there.
    async fn signals_left(&self, instances: &[Remnant]) -> Result<usize> {
        let list = self.json(&["get", "approvalsignals", "-A"]).await?;
        let is_ours = |signal: &&Value| {
            instances.iter().any(|instance| {
                signal["metadata"]["namespace"] == *instance.namespace && signal["spec"]["instance"] == *instance.name
            })
        };
        Ok(list["items"].as_array().into_iter().flatten().filter(is_ours).count())
    }

    /// What a person would type to remove what the story leaves behind, its names ending with `suffix`.
    fn removal_of_story(&self, suffix: &str) -> String {
        let kubectl = format!("kubectl --context {} delete --ignore-not-found", self.context);
        let requests: Vec<_> = REQUESTS.iter().map(|name| format!("{name}{suffix}")).collect();
        let selector = format!("--field-selector spec.processRef.name={PROCESS}{suffix}");
        [
            format!("{kubectl} csr {}", requests.join(" ")),
            format!("{kubectl} clusterrole,clusterrolebinding {REQUESTER}{suffix}"),
            format!("{kubectl} approvalprocess/{PROCESS}{suffix} workflowdefinition/{WORKFLOW}{suffix}"),
            format!("kubectl --context {} get workflowinstances -A {selector}", self.context),
        ]
        .join("\n")
    }

    /// The same where the story had installed Quorate.
    fn removal_of_installation(&self, suffix: &str) -> String {
        let kubectl = format!("kubectl --context {}", self.context);
        let requests: Vec<_> = REQUESTS.iter().map(|name| format!("{name}{suffix}")).collect();
        [
            format!("helm --kube-context {} uninstall {RELEASE} -n {NAMESPACE} --ignore-not-found", self.context),
            format!("{kubectl} get crd -o name | grep '[.]quorate[.]dev$' | xargs -r {kubectl} delete"),
            format!("{kubectl} delete --ignore-not-found csr {}", requests.join(" ")),
            format!("{kubectl} delete --ignore-not-found clusterrole,clusterrolebinding {REQUESTER}{suffix}"),
            format!("{kubectl} delete --ignore-not-found namespace {NAMESPACE}"),
        ]
        .join("\n")
    }

    fn requests(&self) -> Vec<String> {
        REQUESTS.iter().map(|name| self.names.of(name)).collect()
    }

    async fn delete(&self, kinds: &str, names: &[String]) -> Result<Output> {
        let mut arguments = vec![kinds.to_owned()];
        arguments.extend_from_slice(names);
        self.delete_named(&arguments).await
    }

    /// Events about an object. They would go by themselves, within the hour.
    async fn delete_events(&self, namespace: &str, about: &str) -> Result<Output> {
        let selector = format!("--field-selector=involvedObject.name={about}");
        self.delete_named(&["events".to_owned(), "-n".to_owned(), namespace.to_owned(), selector]).await
    }

    async fn delete_named(&self, what: &[String]) -> Result<Output> {
        let mut arguments = vec!["delete", "--ignore-not-found", "--timeout=60s"];
        arguments.extend(what.iter().map(String::as_str));
        self.kubectl(&arguments, "").await
    }

    async fn helm(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(self.helm.as_ref().context("helm was not looked for")?);
        command.args(["--kube-context", &self.context]).args(arguments);
        for (variable, folder) in
            [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")]
        {
            command.env(variable, self.folder.path().join("helm").join(folder));
        }
        run("helm", command, "").await
    }

    async fn json(&self, arguments: &[&str]) -> Result<Value> {
        let arguments: Vec<_> = arguments.iter().copied().chain(["-o", "json"]).collect();
        Ok(serde_json::from_str(&self.kubectl(&arguments, "").await?.ok()?)?)
    }

    /// The namespace that the chart goes to, if it is there.
    async fn namespace(&self) -> Result<Option<Value>> {
        let arguments = ["get", "namespace", NAMESPACE, "--ignore-not-found", "-o", "json"];
        let answer = self.kubectl(&arguments, "").await?.ok()?;
        Ok(if answer.trim().is_empty() { None } else { Some(serde_json::from_str(&answer)?) })
    }

    /// The kinds of Quorate that the cluster has, as `TYPE/NAME`.
    async fn kinds(&self) -> Result<Vec<String>> {
        let all = self.kubectl(&["get", "crd", "-o", "name"], "").await?.ok()?;
        Ok(all.lines().filter(|name| name.ends_with(".quorate.dev")).map(str::to_owned).collect())
    }
}

/// An instance that the story has left.
struct Remnant {
    namespace: String,
    name: String,
    finished: bool,
    revision: Option<String>,
}

impl Remnant {
    fn of(instance: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            namespace: text(&instance["metadata"]["namespace"]),
            name: text(&instance["metadata"]["name"]),
            finished: instance["status"]["outcome"].is_string(),
            revision: instance["status"]["revision"].as_str().map(str::to_owned),
        }
    }
}

/// What the names of the demo end with that has made a namespace.
fn mark_of(namespace: &Value) -> Option<&str> {
    namespace["metadata"]["labels"][MARK].as_str()
}

/// Runs kubectl or helm, but not for ever.
async fn run(tool: &str, command: Command, input: &str) -> Result<Output> {
    let output = tokio::time::timeout(PATIENCE, kubectl::run(command, input)).await;
    output.with_context(|| format!("{tool} does not end"))?.with_context(|| format!("{tool} does not start"))
}

/// A program on PATH, or else one that `make tools` has built.
fn find(program: &str, how: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let built = generated().join("bin");
    let candidates = std::env::split_paths(&path).chain([built]).map(|folder| folder.join(program));
    candidates.into_iter().find(|file| is_program(file)).with_context(|| format!("{program} is missing: {how}"))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
