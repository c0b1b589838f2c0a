//! What happens, chapter by chapter.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};

use super::access::Access;
use super::cast::{
    ADMIN, ANNE, APPROVERS, CAROL, CHARLES, EXAMPLE, FORGERY, JOHN, LAPTOP, MARTHA, MARY, Names, PHONE, PROCESS,
    Person, SAM, STAFF, TABLET, WORKFLOW,
};
use super::certificate::{self, Request};
use super::telling::{Broken, Telling};
use crate::cluster::root;

/// How long something that has been asked for may take to happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at something that is to happen.
const PAUSE: Duration = Duration::from_millis(50);

/// What Anne thinks of Martha's phone.
const OBJECTION: &str = "this phone has no screen lock";

/// The story, on a cluster where Quorate is installed.
pub struct Story<'a> {
    /// The cluster.
    pub access: &'a Access,
    /// What the objects are called.
    pub names: &'a Names,
    /// Where it is told.
    pub telling: &'a Telling,
}

/// A CertificateSigningRequest that Martha has made.
struct Asked {
    name: String,
    uid: String,
    request: Request,
}

/// A WorkflowInstance.
struct Instance {
    namespace: String,
    name: String,
    version: String,
    status: Value,
}

impl Story<'_> {
    /// Plays it to its end, or to the first claim that does not hold.
    pub async fn play(&self) -> Result<()> {
        self.who_must_agree().await?;
        let (laptop, instance) = self.martha_asks().await?;
        self.two_approve(&laptop, &instance).await?;
        self.anne_rejects().await?;
        self.votes_that_do_not_count().await?;
        self.somebody_elses_name().await
    }

    async fn who_must_agree(&self) -> Result<()> {
        self.telling.chapter("Who must agree");
        let output = if self.names.mark().is_empty() {
            self.typed(&ADMIN, &format!("kubectl apply -f {EXAMPLE}"));
            let folder = root().join(EXAMPLE);
            self.access.kubectl(&ADMIN, &["apply", "-f", &folder.to_string_lossy()], "").await?
        } else {
            let mark = self.names.mark();
            self.typed(
                &ADMIN,
                &format!("kubectl apply -f -   # {EXAMPLE}, every name with -{mark}, for requests with -{mark}"),
            );
            self.access.kubectl(&ADMIN, &["apply", "-f", "-"], &self.names.example()?.to_string()).await?
        };
        self.telling.shown(&output.ok()?);

        let rules = [
            format!("workflowdefinition/{}", self.names.of(WORKFLOW)),
            format!("approvalprocess/{}", self.names.of(PROCESS)),
        ];
        let usable = async || {
            let all = rules.iter().map(|rule| async move { self.access.object(&ADMIN, &["get", rule]).await });
            let all = try_join_all(all).await?;
            Ok(all.iter().map(readiness).collect::<Vec<_>>().join(", "))
        };
        let usable = self.eventually("the workflow and the process can be used", "Ready, Ready", usable).await;
        match usable {
            Err(why) if !self.access.is_ours() => {
                let look = "kubectl get pods -A -l app.kubernetes.io/name=quorate";
                bail!("{why}\nDoes the operator of this installation run? {look}");
            }
            usable => usable?,
        }

        let everybody = [&ANNE, &CHARLES, &JOHN, &MARY, &SAM, &MARTHA, &CAROL];
        let groups = everybody.map(|person| self.is_approver(person));
        let holders: Vec<_> = try_join_all(groups).await?.into_iter().flatten().collect();
        self.check(
            &format!("anne, charles, john, mary and sam hold the group {APPROVERS}; martha and carol do not"),
            "anne, charles, john, mary, sam",
            &holders.join(", "),
        )?;
        let rights = [("create", "approvalsignals"), ("list", "approvalsignals"), ("list", "workflowinstances")];
        let rights = try_join_all(rights.map(|(verb, kind)| self.may(&MARY, verb, kind))).await?;
        self.check("mary may send signals, and read neither signals nor instances", "yes, no, no", &rights.join(", "))
    }

    async fn martha_asks(&self) -> Result<(Asked, Instance)> {
        self.telling.chapter("Martha asks for a certificate");
        self.telling.explain("She makes a key, and a CertificateSigningRequest for a client certificate:");
        let asked = self.ask(LAPTOP, MARTHA.name, STAFF).await?;
        let instance =
            self.opened(&asked, "the operator has opened one instance for it, which waits for two approvals").await?;
        self.telling.explain("People cannot read instances. The platform team looks:");
        let Instance { namespace, name, .. } = &instance;
        let mut arguments = vec!["get", "wfi", "-n", namespace];
        if !self.access.is_ours() {
            arguments.push(name);
        }
        let table = self.shown(&ADMIN, &arguments).await?;
        let row = table.lines().find(|line| line.starts_with(&**name)).unwrap_or_default();
        let waiting = row.split_whitespace().find(|word| *word == "0/2").unwrap_or("no 0/2");
        self.check("kubectl shows what it waits for", "0/2", waiting)?;
        self.check("the request waits, undecided", "no condition", &self.state(&asked).await?)?;
        Ok((asked, instance))
    }

    async fn two_approve(&self, asked: &Asked, instance: &Instance) -> Result<()> {
        self.telling.chapter("Mary and John approve");
        let signal = self.signal(&MARY, instance, "Approve", None).await?;
        self.telling.explain("A decision is an object. Mary's approve.yaml; John's says the same:");
        self.telling.shown(&signal);
        let mary = self.send(&MARY, instance, "approve.yaml", &signal).await?;
        self.eventually("Mary's approval counts", "Counted", async || self.verdict(instance, &mary).await).await?;
        let sender = self.read_signal(instance, &mary).await?;
        let actor = sender["spec"]["actor"]["username"].as_str().unwrap_or_default();
        self.check("it carries its sender, proven by the API server", MARY.name, actor)?;
        self.check("one is not enough", "1/2, no condition", &self.where_both_stand(asked).await?)?;

        let signal = self.signal(&JOHN, instance, "Approve", None).await?;
        let john = self.send(&JOHN, instance, "approve.yaml", &signal).await?;
        self.eventually("John's approval counts", "Counted", async || self.verdict(instance, &john).await).await?;
        let decided =
            async || Ok(self.instance_of(asked).await?.map(|instance| instance.decided()).unwrap_or_default());
        self.eventually("that is two of five: the instance is approved", "Approved by mary, john", decided).await?;
        let signed = async || self.state(asked).await;
        self.eventually(
            "the operator approves the request, kube-controller-manager signs it",
            "Approved, certificate",
            signed,
        )
        .await?;
        self.martha_reads(asked).await
    }

    async fn martha_reads(&self, asked: &Asked) -> Result<()> {
        let path = "{.status.certificate}";
        self.typed(&MARTHA, &format!("kubectl get csr {} -o jsonpath='{path}' | base64 -d > martha.crt", asked.name));
        let encoded =
            self.access.read(&MARTHA, &["get", "csr", &asked.name, "-o", &format!("jsonpath={path}")]).await?;
        let pem = certificate::decode(&encoded)?;
        let trusted = ["get", "configmap", "extension-apiserver-authentication", "-n", "kube-system"];
        let trusted = self.access.object(&ADMIN, &trusted).await?;
        let authorities =
            trusted["data"]["client-ca-file"].as_str().context("the cluster trusts no client certificates")?;
        let found = asked.request.read(&pem, authorities)?;
        self.check("it is Martha's, in her own name and group", "CN=martha, O=staff", &found.subject)?;
        let until = found.valid_until.as_deref();
        self.holds(&format!("it is valid now, until {}", until.unwrap_or("the past")), until.is_some())?;
        self.holds("it is for clients, and for nothing else", found.client)?;
        self.holds("it is signed by the authority that the API server trusts", found.signed)?;
        self.holds("it is for Martha's key, which never left her", found.own_key)?;

        let Some(table) = self.access.whoami_with(&pem, &asked.request.key()).await? else { return Ok(()) };
        self.typed(&MARTHA, "kubectl --client-certificate martha.crt --client-key martha.key auth whoami");
        self.telling.shown(&table);
        let attribute = |name: &str| {
            let line = table.lines().find_map(|line| line.strip_prefix(name));
            line.map(str::trim).unwrap_or_default().to_owned()
        };
        let known = format!("{} {}", attribute("Username"), attribute("Groups"));
        self.check("it logs in, as martha of staff", "martha [staff system:authenticated]", &known)
    }

    async fn anne_rejects(&self) -> Result<()> {
        self.telling.chapter("Anne rejects another request, and says why");
        let asked = self.ask(PHONE, MARTHA.name, STAFF).await?;
        let instance = self.opened(&asked, "an instance waits for two approvals").await?;
        let signal = self.signal(&ANNE, &instance, "Reject", Some(OBJECTION)).await?;
        let anne = self.send(&ANNE, &instance, &format!("reject.yaml   # comment: {OBJECTION}"), &signal).await?;
        self.eventually("Anne's rejection counts", "Counted", async || self.verdict(&instance, &anne).await).await?;
        let decided =
            async || Ok(self.instance_of(&asked).await?.map(|instance| instance.decided()).unwrap_or_default());
        self.eventually("one rejection is enough: the instance is rejected", "Rejected by anne", decided).await?;
        let denied = async || self.state(&asked).await;
        self.eventually("the request is denied, there is no certificate", "Denied", denied).await?;
        let message =
            self.shown(&MARTHA, &["get", "csr", &asked.name, "-o", "jsonpath={.status.conditions[*].message}"]).await?;
        self.contains("Martha reads who, and why", &format!("anne: {OBJECTION}"), &message)
    }

    async fn votes_that_do_not_count(&self) -> Result<()> {
        self.telling.chapter("Carol, who is no approver, and Martha herself try");
        let asked = self.ask(TABLET, MARTHA.name, STAFF).await?;
        let before = self.opened(&asked, "an instance waits for two approvals").await?;
        let mut sent = Vec::new();
        for person in [&CAROL, &MARTHA] {
            let signal = self.signal(person, &before, "Approve", None).await?;
            sent.push(self.send(person, &before, "approve.yaml", &signal).await?);
        }
        let verdicts = async || {
            let all = sent.iter().map(|signal| self.verdict(&before, signal));
            Ok(try_join_all(all).await?.join(", "))
        };
        self.eventually("neither counts", "NotAnApprover, SelfApproval", verdicts).await?;
        self.telling.explain("People cannot read signals either. The platform team looks:");
        let selector = format!("--field-selector=spec.instance={}", before.name);
        let table = self.shown(&ADMIN, &["get", "sig", "-n", &before.namespace, "-o", "wide", &selector]).await?;
        let asked_are = format!("carol may not decide step enrollment; asked are group {APPROVERS}");
        self.contains("Carol's says who is asked", &asked_are, &table)?;
        self.contains(
            "Martha's says that nobody decides for themselves",
            "martha asked for it and may not decide",
            &table,
        )?;
        self.check("the request waits as before", "0/2, no condition", &self.where_both_stand(&asked).await?)?;
        let after = self.instance_of(&asked).await?.context("the instance is gone")?;
        self.check("nothing has touched the instance (metadata.resourceVersion)", &before.version, &after.version)
    }

    async fn somebody_elses_name(&self) -> Result<()> {
        self.telling.chapter("Martha asks for a certificate in Mary's name");
        let asked = self.ask(FORGERY, MARY.name, APPROVERS).await?;
        self.eventually("it is denied at once", "Denied", async || self.state(&asked).await).await?;
        let message =
            self.shown(&MARTHA, &["get", "csr", &asked.name, "-o", "jsonpath={.status.conditions[*].message}"]).await?;
        self.contains("not in Mary's name", "it asks for CN=mary, and martha may ask for CN=martha only", &message)?;
        let group = format!("it asks for O={APPROVERS}, a group that martha is not in");
        self.contains("nor with a group that Martha is not in", &group, &message)?;
        self.check(
            "nobody was bothered: no instance was opened",
            "0",
            &self.instances_of(&asked).await?.len().to_string(),
        )
    }

    /// Martha makes a key and a CertificateSigningRequest for that user and group.
    async fn ask(&self, name: &str, user: &str, group: &str) -> Result<Asked> {
        let file = format!("{name}.yaml");
        let name = self.names.of(name);
        let request = Request::new(&name, user, group)?;
        self.typed(&MARTHA, &format!("kubectl create -f {file}   # CN={user}, O={group}"));
        let created = self.access.kubectl(&MARTHA, &["create", "-f", "-"], &request.object.to_string()).await?;
        self.telling.shown(&created.ok()?);
        let object = self.access.object(&MARTHA, &["get", "csr", &name]).await?;
        let uid = text(&object["metadata"]["uid"]);
        Ok(Asked { name, uid, request })
    }

    /// Waits for the instance of a request, the only one.
    async fn opened(&self, asked: &Asked, claim: &str) -> Result<Instance> {
        let waiting = async || {
            let all = self.instances_of(asked).await?;
            let all: Vec<_> = all.iter().map(Instance::stand).collect();
            Ok(if all.is_empty() { "no instance".to_owned() } else { all.join(" and ") })
        };
        self.eventually(claim, "0/2", waiting).await?;
        self.instance_of(asked).await?.context("the instance is gone")
    }

    /// A signal as its sender has it in a file.
    async fn signal(&self, who: &Person, instance: &Instance, decision: &str, comment: Option<&str>) -> Result<String> {
        let comment = comment.map(|comment| format!("  comment: {}\n", json!(comment)));
        // Older servers have no MutatingAdmissionPolicy.
        let actor = if self.server_fills_in().await? {
            None
        } else {
            Some(format!("  actor: {}   # as in: kubectl auth whoami\n", self.who_is(who).await?))
        };
        Ok(format!(
            "apiVersion: quorate.dev/v1alpha1\n\
             kind: ApprovalSignal\n\
             metadata:\n  generateName: decision-\n  namespace: {}\n\
             spec:\n  instance: {}\n  decision: {decision}\n{}{}",
            instance.namespace,
            instance.name,
            comment.unwrap_or_default(),
            actor.unwrap_or_default()
        ))
    }

    /// Sends a signal with plain kubectl; gives its name.
    async fn send(&self, who: &Person, instance: &Instance, file: &str, signal: &str) -> Result<String> {
        self.typed(who, &format!("kubectl create -f {file}"));
        let created = self.access.kubectl(who, &["create", "-f", "-"], signal).await?.ok();
        let created = created.with_context(|| format!("{} cannot signal for {}", who.name, instance.name))?;
        self.telling.shown(&created);
        let name = created.trim().strip_suffix(" created").and_then(|line| line.split_once('/'));
        Ok(name.context("kubectl does not say what it has created")?.1.to_owned())
    }

    /// What became of a signal; empty until it is judged.
    async fn verdict(&self, instance: &Instance, signal: &str) -> Result<String> {
        let signal = self.read_signal(instance, signal).await?;
        Ok(signal["status"]["reason"].as_str().unwrap_or("no verdict").to_owned())
    }

    async fn read_signal(&self, instance: &Instance, signal: &str) -> Result<Value> {
        self.access.object(&ADMIN, &["get", "approvalsignal", "-n", &instance.namespace, signal]).await
    }

    /// The conditions of a request, and whether it has its certificate.
    async fn state(&self, asked: &Asked) -> Result<String> {
        let request = self.access.object(&MARTHA, &["get", "csr", &asked.name]).await?;
        let conditions = request["status"]["conditions"].as_array();
        let mut state: Vec<_> = conditions.into_iter().flatten().map(|condition| text(&condition["type"])).collect();
        if state.is_empty() {
            state.push("no condition".to_owned());
        }
        if request["status"]["certificate"].is_string() {
            state.push("certificate".to_owned());
        }
        Ok(state.join(", "))
    }

    /// Where the instance of a request stands, and the request itself.
    async fn where_both_stand(&self, asked: &Asked) -> Result<String> {
        let instance = self.instance_of(asked).await?.context("the instance is gone")?;
        Ok(format!("{}, {}", instance.stand(), self.state(asked).await?))
    }

    async fn instance_of(&self, asked: &Asked) -> Result<Option<Instance>> {
        Ok(self.instances_of(asked).await?.pop())
    }

    /// The instances that were opened for a request.
    async fn instances_of(&self, asked: &Asked) -> Result<Vec<Instance>> {
        let selector = format!("--field-selector=spec.processRef.name={}", self.names.of(PROCESS));
        let list = self.access.object(&ADMIN, &["get", "workflowinstances", "-A", &selector]).await?;
        let all = list["items"].as_array().into_iter().flatten();
        let ours = all.filter(|item| item["spec"]["object"]["metadata"]["uid"] == *asked.uid);
        Ok(ours.map(Instance::of).collect())
    }

    /// Whether the API server fills in who sent a signal.
    async fn server_fills_in(&self) -> Result<bool> {
        let policy = ["get", "mutatingadmissionpolicy", "quorate-signal-actor", "--ignore-not-found", "-o", "name"];
        let found = self.access.kubectl(&ADMIN, &policy, "").await?;
        Ok(found.success() && !found.stdout.trim().is_empty())
    }

    /// Somebody as the API server knows them.
    async fn who_is(&self, who: &Person) -> Result<Value> {
        let review = self.access.object(who, &["auth", "whoami"]).await?;
        let mut actor = review["status"]["userInfo"].clone();
        if let Some(attributes) = actor.as_object_mut() {
            attributes.remove("extra");
        }
        Ok(actor)
    }

    async fn is_approver(&self, who: &Person) -> Result<Option<&'static str>> {
        let actor = self.who_is(who).await?;
        ensure!(actor["username"] == who.name, "the API server knows {} as {}", who.name, actor["username"]);
        let mut groups = actor["groups"].as_array().into_iter().flatten();
        Ok(groups.any(|group| group == APPROVERS).then_some(who.name))
    }

    /// `yes` or `no`.
    async fn may(&self, who: &Person, verb: &str, kind: &str) -> Result<String> {
        let answer =
            self.access.kubectl(who, &["auth", "can-i", verb, &format!("{kind}.quorate.dev"), "-A"], "").await?;
        Ok(answer.stdout.trim().to_owned())
    }

    /// Types a command and shows what it prints.
    async fn shown(&self, who: &Person, arguments: &[&str]) -> Result<String> {
        let words: Vec<_> = arguments.iter().map(|argument| quoted(argument)).collect();
        self.typed(who, &format!("kubectl {}", words.join(" ")));
        let printed = self.access.read(who, arguments).await?;
        self.telling.shown(&printed);
        Ok(printed)
    }

    fn typed(&self, who: &Person, command: &str) {
        self.telling.typed(&self.access.line(who, command));
    }

    /// A claim that holds as soon as `look` finds what is expected.
    async fn eventually(&self, claim: &str, expected: &str, look: impl AsyncFn() -> Result<String>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = look().await?;
            if found == expected || Instant::now() > deadline {
                let found = if found == expected { found } else { format!("{found} after {} s", PATIENCE.as_secs()) };
                return self.check(claim, expected, &found);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A claim that holds or does not.
    fn check(&self, claim: &str, expected: &str, found: &str) -> Result<()> {
        self.claim(claim, expected, found, expected == found)
    }

    /// A claim that a text contains another.
    fn contains(&self, claim: &str, expected: &str, found: &str) -> Result<()> {
        self.claim(claim, &format!("a text with \"{expected}\""), found.trim(), found.contains(expected))
    }

    /// A claim without more to say.
    fn holds(&self, claim: &str, holds: bool) -> Result<()> {
        self.claim(claim, "yes", "no", holds)
    }

    fn claim(&self, claim: &str, expected: &str, found: &str, holds: bool) -> Result<()> {
        if holds {
            self.telling.holds(claim);
            return Ok(());
        }
        Err(Broken { claim: claim.to_owned(), expected: expected.to_owned(), found: found.to_owned() }.into())
    }
}

impl Instance {
    fn of(object: &Value) -> Self {
        let metadata = &object["metadata"];
        Self {
            namespace: text(&metadata["namespace"]),
            name: text(&metadata["name"]),
            version: text(&metadata["resourceVersion"]),
            status: object["status"].clone(),
        }
    }

    /// What it waits for, or how it ended.
    fn stand(&self) -> String {
        let stand = self.status["waiting"].as_str().or_else(|| self.status["outcome"].as_str());
        stand.unwrap_or("not started").to_owned()
    }

    /// How it ended, and by whose decisions.
    fn decided(&self) -> String {
        let decisions = self.status["decisions"].as_array().into_iter().flatten();
        let people: Vec<_> = decisions.map(|decision| text(&decision["actor"])).collect();
        let outcome = self.status["outcome"].as_str().unwrap_or("undecided");
        format!("{outcome} by {}", people.join(", "))
    }
}

/// `Ready`, or what a definition or process says instead.
fn readiness(object: &Value) -> String {
    let conditions = object["status"]["conditions"].as_array();
    let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
    match ready {
        Some(condition) if condition["status"] == "True" => "Ready".to_owned(),
        Some(condition) => text(&condition["message"]),
        None => "no word from the operator".to_owned(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// An argument as a shell needs it.
fn quoted(argument: &str) -> String {
    match argument.split_once('=') {
        Some((option, path)) if path.starts_with('{') => format!("{option}='{path}'"),
        _ => argument.to_owned(),
    }
}
