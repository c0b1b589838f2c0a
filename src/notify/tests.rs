//! What a scenario cannot show: what messages say, their ids, and what the installation and the process add.

use super::{Composed, Destination, Event, Links, Message, Occurrence, Rendered, Setting, Story, Texts, open_tasks};
use crate::api::{
    Actor, ApprovalProcessSpec, ApprovalSignalSpec, BusinessRoleSpec, ChangeRef, Decision, IdentitySpec, NameRef,
    NotificationEvent, Outcome, WorkflowDefinitionSpec, WorkflowInstanceSpec, WorkflowInstanceStatus,
};
use crate::directory::Snapshot;
use crate::engine::graph::{Graph, compile};
use crate::engine::revision::Content;
use crate::engine::{Definition, Facts, Instance, Object, Proof, Right, Settings, Signal, advance};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const START: i64 = 1_772_442_000; // 2026-03-02T09:00:00Z

/// An instance on its way.
struct Stage {
    graph: Graph,
    spec: WorkflowInstanceSpec,
    directory: Arc<Snapshot>,
    settings: Settings,
    status: WorkflowInstanceStatus,
    object: Object,
    now: i64,
    sent: usize,
}

impl Stage {
    fn new(workflow: &Value, people: &Value) -> Self {
        let workflow: WorkflowDefinitionSpec = serde_json::from_value(workflow.clone()).expect("a definition");
        let people = people.as_object().expect("people by name").iter().map(|(name, fields)| {
            let mut spec = fields.clone();
            spec["username"] = json!(fields.get("username").cloned().unwrap_or_else(|| json!(name)));
            (name.clone(), serde_json::from_value(spec).expect("an Identity"))
        });
        let people: BTreeMap<String, IdentitySpec> = people.collect();
        Self {
            graph: compile(&workflow).expect("a definition without faults"),
            spec: WorkflowInstanceSpec {
                workflow_ref: Some(NameRef { name: "access".to_owned() }),
                initiator: Some(Actor { username: "ina".to_owned(), ..Actor::default() }),
                ..WorkflowInstanceSpec::default()
            },
            directory: Arc::new(Snapshot::new(people.iter().map(|(name, spec)| (name.as_str(), spec)), [])),
            settings: Settings { administrators: Vec::new(), max_signal_age: 3600 },
            status: WorkflowInstanceStatus::default(),
            object: Object::None,
            now: START,
            sent: 0,
        }
    }

    fn with_facts<T>(&self, signals: &[Signal], question: impl Fn(&Facts<'_>) -> T) -> T {
        question(&Facts {
            instance: Instance {
                namespace: "prod",
                name: "request-1",
                uid: "uid-1",
                generation: Some(1),
                created_at: START,
                spec: &self.spec,
            },
            status: &self.status,
            definition: Definition::Usable { graph: &self.graph, revision: "workflow-1" },
            newest: None,
            signals,
            recorded: &[],
            seen_until: self.now,
            directory: &self.directory,
            settings: &self.settings,
            proof: &Proof::Since(0),
            object: self.object.clone(),
            performed: None,
            now: Timestamp::from_second(self.now).expect("in range"),
        })
    }

    fn operate(&mut self, signals: &[Signal]) {
        self.status = self.with_facts(signals, advance).status;
    }

    fn decide(&mut self, by: &str, decision: Decision) {
        self.now += 60;
        self.sent += 1;
        let signal = Signal {
            name: format!("{by}-{}", self.sent),
            uid: format!("signal-{}", self.sent),
            created_at: self.now,
            spec: ApprovalSignalSpec {
                instance: "request-1".to_owned(),
                decision,
                comment: Some("a secret remark".to_owned()),
                actor: Some(Actor { username: by.to_owned(), ..Actor::default() }),
                ..ApprovalSignalSpec::default()
            },
            rights: BTreeSet::from([Right::Administer]),
        };
        self.operate(&[signal]);
    }

    fn tell(&self, added: &Added) -> (Vec<Occurrence>, Composed) {
        let links = Links { base: "https://q.example.com".parse().ok() };
        let setting = Setting { links: &links, time_zone: "Europe/Prague" };
        self.with_facts(&[], |facts| {
            let story = Story::new(facts, added.process.as_ref(), &added.subscriptions).expect("a story");
            let due = story.occurrences();
            let composed = story.compose(&due, &Echo { disabled: added.disabled }, &setting);
            (due, composed)
        })
    }

    fn messages(&self) -> Vec<Message> {
        self.tell(&Added::default()).1.messages
    }
}

/// What others than the definition say.
#[derive(Default)]
struct Added {
    process: Option<ApprovalProcessSpec>,
    subscriptions: Vec<(String, BTreeSet<NotificationEvent>)>,
    disabled: &'static str,
}

/// A text that says everything that a template could.
struct Echo {
    disabled: &'static str,
}

impl Texts for Echo {
    fn is_enabled(&self, topic: &str) -> bool {
        topic != self.disabled
    }

    fn render(&self, topic: &str, stand_in: &str, locale: Option<&str>, parameters: &Value) -> Rendered {
        let subject = format!("{topic} {stand_in} {}", locale.unwrap_or("-"));
        let fault = (topic == "broken").then(|| "spec.templates[0]: is broken".to_owned());
        Rendered { subject, text: parameters.to_string(), html: None, fault, unsuited: None }
    }
}

fn parameters(message: &Message) -> Value {
    serde_json::from_str(&message.text).expect("an echo")
}

fn to(messages: &[Message]) -> Vec<String> {
    let line = |message: &Message| match &message.to {
        Destination::Mail { address, .. } => format!("{} {address}", message.topic),
        Destination::Channel(channel) => format!("{} #{channel}", message.topic),
    };
    let mut lines: Vec<String> = messages.iter().map(line).collect();
    lines.sort();
    lines
}

fn people() -> Value {
    json!({
        "ina": {"email": "ina@example.com", "displayName": "Ina I."},
        "mary": {"email": "Mary@example.com", "locale": "cs-CZ"},
        "john": {"email": "mary@EXAMPLE.com"},
    })
}

fn check(approval: &Value) -> Value {
    json!({"displayName": "Access", "displayNames": {"cs": "Přístup"},
        "nodes": [{"name": "check", "displayName": "Check", "displayNames": {"cs": "Kontrola"}, "approval": approval}]})
}

#[test]
fn a_request_to_decide_says_what_for_whom_until_when_and_how() {
    let fields = json!([
        {"name": "met", "type": "CheckBox", "mustBe": true},
        {"name": "number", "type": "NumberShort", "required": true},
        {"name": "remark", "type": "Text"}
    ]);
    let approval = json!({"timeout": {"after": "72h"}, "requireComment": "Always", "partitions": [{
        "name": "security", "displayName": "Security", "displayNames": {"cs": "Bezpečnost"},
        "approvers": [{"user": "mary"}], "notify": {}, "fields": fields}]});
    let mut stage = Stage::new(&check(&approval), &people());
    stage.spec.subjects = vec!["suse".to_owned()];
    stage.operate(&[]);
    let messages = stage.messages();
    let [message] = messages.as_slice() else { panic!("one message, not {messages:?}") };
    assert_eq!(message.to, Destination::Mail { address: "Mary@example.com".to_owned(), name: None });
    assert_eq!(message.subject, "task-assigned task-assigned cs-CZ");
    assert_eq!(message.thread.as_deref(), Some("uid-1"));
    assert_eq!(message.about.namespace.as_deref(), Some("prod"));
    let command = "kubectl create -f - <<'EOF'
apiVersion: quorate.dev/v1alpha1
kind: ApprovalSignal
metadata:
  generateName: \"request-1-\"
  namespace: \"prod\"
spec:
  instance: \"request-1\"
  instanceUID: \"uid-1\"
  step: \"check\"
  partition: \"security\"
  visit: 1
  decision: Approve # or Reject
  comment: \"\"
  fields:
    \"met\": \"true\" # CheckBox
    \"number\": \"\" # NumberShort
EOF
";
    let suse = json!({"username": "suse", "displayName": "suse"});
    let expected = json!({
        "recipient": {"username": "mary", "displayName": "mary", "email": "Mary@example.com", "locale": "cs-CZ"},
        "url": "https://q.example.com/tasks/prod/request-1",
        "timeZone": "Europe/Prague",
        "event": "assigned",
        "instance": {"name": "request-1", "namespace": "prod", "title": "Přístup", "workflow": "access", "outcome": null,
            "startedAt": "2026-03-02T09:00:00Z", "completedAt": null},
        "initiator": {"username": "ina", "displayName": "Ina I."},
        "subjects": [suse],
        "task": {"step": "check", "stepTitle": "Kontrola", "partition": "security", "partitionTitle": "Bezpečnost",
            "visit": 1, "state": "Open", "approvals": 0, "required": 1, "openedAt": "2026-03-02T09:00:00Z",
            "deadline": "2026-03-05T09:00:00Z", "onBehalfOf": null},
        "decision": null,
        "level": null,
        "command": command,
    });
    assert_eq!(parameters(message), expected);
    let written: serde_json::Map<String, Value> =
        serde_saphyr::from_str(command.split_once('\n').expect("lines").1.trim_end_matches("EOF\n")).expect("YAML");
    assert_eq!(written["spec"]["decision"], "Approve", "what follows is a remark");
}

#[test]
fn how_to_decide_is_told_to_whoever_is_asked_alone() {
    let notifications = json!([
        {"on": "opened", "to": [{"person": "Initiator"}, {"person": "Approvers"}]},
        {"on": "assigned", "to": [{"person": "Initiator"}, {"person": "Approvers"}]},
        {"on": "approved", "to": [{"person": "Approvers"}]}
    ]);
    let mut stage =
        Stage::new(&check(&json!({"approvers": [{"user": "mary"}], "notifications": notifications})), &people());
    stage.operate(&[]);
    let commands = |stage: &Stage| {
        let told = stage.messages().into_iter();
        let asked = told.filter(|message| parameters(message)["command"] != "").collect::<Vec<_>>();
        to(&asked)
    };
    assert_eq!(commands(&stage), ["partition-waiting Mary@example.com", "task-assigned Mary@example.com"]);
    assert_eq!(stage.messages().len(), 4);
    stage.decide("mary", Decision::Approve);
    assert_eq!(commands(&stage), [""; 0], "it is decided");
    assert_eq!(to(&stage.messages()).len(), 3, "who asked hears of everything, the approver of the outcome");
}

#[test]
fn the_id_follows_from_whom_it_tells_what() {
    let approval = json!({"approvers": [{"user": "mary"}, {"user": "john"}], "required": 2, "notify": {}});
    let mut stage = Stage::new(&check(&approval), &people());
    stage.operate(&[]);
    let (due, composed) = stage.tell(&Added::default());
    let ids: BTreeSet<_> = composed.messages.iter().map(|message| &message.id).collect();
    assert_eq!(ids.len(), 2, "two people who share a mailbox are asked one by one: {:?}", to(&composed.messages));
    assert!(ids.iter().all(|id| id.len() == 64));
    assert_eq!(composed.marks.len(), due.len());
    assert_eq!(stage.tell(&Added::default()), (due.clone(), composed.clone()), "computed again, it is the same");
    stage.decide("mary", Decision::Approve);
    let (later, _) = stage.tell(&Added::default());
    let known: BTreeSet<_> = due.iter().map(|occurrence| &occurrence.id).collect();
    assert!(later.iter().all(|occurrence| known.contains(&occurrence.id)), "what was told keeps its id: {later:?}");
}

#[test]
fn one_mailbox_is_told_once_by_each_topic() {
    let notifications = json!([
        {"on": "completed", "to": [{"person": "Approvers"}, {"user": "mary"}, {"address": "MARY@example.com"}]},
        {"on": "completed", "to": [{"user": "mary"}], "topic": "broken"},
    ]);
    let mut workflow = check(&json!({"approvers": [{"user": "mary"}, {"user": "john"}]}));
    workflow["notifications"] = notifications;
    let mut stage = Stage::new(&workflow, &people());
    stage.operate(&[]);
    stage.decide("mary", Decision::Approve);
    let (_, composed) = stage.tell(&Added::default());
    assert_eq!(composed.messages.len(), 2, "{:?}", to(&composed.messages));
    assert_eq!(composed.faults, BTreeSet::from([("broken".to_owned(), "spec.templates[0]: is broken".to_owned())]));
    let topics: BTreeSet<_> = composed.messages.iter().map(|message| message.topic.as_str()).collect();
    assert_eq!(topics, BTreeSet::from(["broken", "request-done"]));
    let (_, composed) = stage.tell(&Added { disabled: "request-done", ..Added::default() });
    assert_eq!((composed.messages.len(), composed.marks.len()), (1, 1), "a disabled topic is dealt with");
}

#[test]
fn a_decision_tells_who_decided_and_never_what_they_remarked() {
    let mut workflow = check(&json!({"approvers": [{"user": "mary"}, {"user": "john"}], "required": 2}));
    workflow["notifications"] = json!([{"on": "decision", "to": [{"person": "Initiator"}]}]);
    let mut stage = Stage::new(&workflow, &people());
    stage.operate(&[]);
    stage.decide("mary", Decision::Approve);
    stage.decide("root", Decision::Stop);
    let messages = stage.messages();
    let shown: Vec<Value> = messages.iter().map(|message| parameters(message)["decision"].clone()).collect();
    let actor = |name: &str| json!({"username": name, "displayName": name});
    let vote = json!({"decision": "Approve", "actor": actor("mary"), "onBehalfOf": null, "to": null, "step": "check",
        "partition": "default", "at": "2026-03-02T09:01:00Z"});
    let stop = json!({"decision": "Stop", "actor": actor("root"), "onBehalfOf": null, "to": null, "step": "check",
        "partition": null, "at": "2026-03-02T09:02:00Z"});
    assert_eq!(shown, [vote, stop]);
    assert!(messages.iter().all(|it| !it.text.contains("secret") && !it.event.to_string().contains("secret")));
    assert_eq!(parameters(&messages[1])["task"], Value::Null, "it is about the whole");
}

#[test]
fn whom_it_is_about_is_told_by_the_address_that_the_process_gave() {
    let approval = json!({"approvers": [{"user": "mary"}], "notifyUser": {}});
    let mut stage = Stage::new(&check(&approval), &people());
    stage.operate(&[]);
    assert_eq!(to(&stage.messages()), ["partition-waiting ina@example.com"], "about nobody: who asked");
    stage.spec.subjects = vec!["guest".to_owned()];
    let (_, composed) = stage.tell(&Added::default());
    assert_eq!(to(&composed.messages), [""; 0], "nobody knows how to reach them");
    assert_eq!(composed.without_address, BTreeSet::from(["guest".to_owned()]));
    assert_eq!(composed.marks.len(), 1);
    stage.spec.subject_emails = vec!["guest@example.org".to_owned()];
    let (_, composed) = stage.tell(&Added::default());
    assert_eq!(to(&composed.messages), ["partition-waiting guest@example.org"]);
    assert_eq!(composed.without_address, BTreeSet::new());
    stage.spec.subjects = vec!["mary".to_owned()];
    assert_eq!(to(&stage.messages()), ["partition-waiting Mary@example.com"], "the directory knows better");
}

#[test]
fn processes_and_channels_hear_of_everything_that_they_name() {
    let mut stage = Stage::new(&check(&json!({"approvers": [{"user": "mary"}]})), &people());
    stage.operate(&[]);
    assert_eq!(stage.tell(&Added::default()).0, [], "nothing for what nobody asked for");
    stage.decide("mary", Decision::Approve);
    assert_eq!(stage.status.outcome, Some(Outcome::Approved));
    let process = ApprovalProcessSpec {
        notifications: serde_json::from_value(json!([{"on": "approved", "to": [{"person": "Initiator"}]}]))
            .expect("notifications"),
        ..ApprovalProcessSpec::default()
    };
    let all = [NotificationEvent::Assigned, NotificationEvent::Opened, NotificationEvent::Completed];
    let added =
        Added { process: Some(process), subscriptions: vec![("audit".to_owned(), all.into())], ..Added::default() };
    let (due, composed) = stage.tell(&added);
    assert_eq!(
        to(&composed.messages),
        [
            "partition-changed ina@example.com",
            "partition-waiting #audit",
            "request-done #audit",
            "task-assigned #audit"
        ]
    );
    let last = composed.messages.last().expect("messages");
    assert_eq!(
        last.event,
        json!({"event": "completed", "instance": {"namespace": "prod", "name": "request-1", "uid": "uid-1", "title": "Access"},
            "task": null, "decision": null, "outcome": "Approved", "at": "2026-03-02T09:01:00Z",
            "url": "https://q.example.com/tasks/prod/request-1"})
    );
    assert!(due.iter().all(|occurrence| matches!(occurrence.event, Event::On(_))));
}

#[test]
fn executed_is_what_was_carried_out_and_nothing_else() {
    let events = vec![("audit".to_owned(), BTreeSet::from([NotificationEvent::Executed]))];
    let executed = |spec: &dyn Fn(&mut WorkflowInstanceSpec), execute: bool, process: Option<Value>| {
        let mut workflow = check(&json!({"approvers": [{"user": "mary"}]}));
        if execute {
            let nodes = workflow["nodes"].as_array_mut().expect("nodes");
            nodes.push(json!({"name": "carry-out", "execute": {}}));
        }
        let mut stage = Stage::new(&workflow, &people());
        spec(&mut stage.spec);
        stage.operate(&[]);
        stage.decide("mary", Decision::Approve);
        assert_eq!(stage.status.outcome, Some(Outcome::Approved));
        let process = process.map(|process| serde_json::from_value(process).expect("a process"));
        stage.tell(&Added { process, subscriptions: events.clone(), ..Added::default() }).0.len()
    };
    let object = |spec: &mut WorkflowInstanceSpec| spec.object = Some(json!({"kind": "ConfigMap"}));
    let change = |review: bool| {
        move |spec: &mut WorkflowInstanceSpec| {
            let change = ChangeRef { name: "c".to_owned(), uid: "u".to_owned(), change: "a".to_owned(), review };
            spec.object = Some(json!({"kind": "ConfigMap"}));
            spec.change_ref = Some(change);
        }
    };
    assert_eq!(executed(&|_| (), true, None), 0, "there was nothing to carry out");
    assert_eq!(executed(&object, true, None), 1);
    assert_eq!(executed(&object, false, None), 1, "the outcome was written to what waited");
    assert_eq!(executed(&change(false), true, None), 1);
    assert_eq!(executed(&change(false), false, None), 0, "it is carried out elsewhere, later");
    assert_eq!(executed(&change(true), true, None), 0, "it looks at what happened before");
    let collection = json!({"event": {"collection": {"resource": {"resource": "configmaps"}, "when": "Entered"}}});
    assert_eq!(executed(&object, true, Some(collection)), 0, "what entered a collection has entered");
}

#[test]
fn open_tasks_say_who_may_decide_them_now() {
    let approval = json!({"required": 2, "approvers": [
        {"user": "mary"}, {"user": "john"}, {"user": "ina"}, {"user": "system:serviceaccount:ci:bot"},
        {"group": "board", "mail": "board@example.com"}]});
    let mut stage = Stage::new(&check(&approval), &people());
    stage.operate(&[]);
    let tasks = stage.with_facts(&[], open_tasks);
    let [task] = tasks.as_slice() else { panic!("one task, not {tasks:?}") };
    let people = |task: &super::OpenTask| task.people.iter().map(|asked| asked.username.clone()).collect::<Vec<_>>();
    assert_eq!(people(task), ["john", "mary"], "not who asked, and no machine");
    assert_eq!(task.mails, ["board@example.com"]);
    assert_eq!(task.key(), "uid-1/check/1/default");
    assert_eq!((task.title.to(Some("cs")), task.step_title.to(Some("de"))), ("Přístup", "Check"));
    assert_eq!((task.partition_title.clone(), task.required, task.initiator.as_deref()), (None, 2, Some("ina")));
    stage.decide("mary", Decision::Approve);
    let tasks = stage.with_facts(&[], open_tasks);
    assert_eq!((people(&tasks[0]), tasks[0].approvals), (vec!["john".to_owned()], 1));
    stage.decide("john", Decision::Reject);
    assert_eq!(stage.with_facts(&[], open_tasks), [], "nobody is asked about what is decided");
}

#[test]
fn the_mailbox_of_a_group_that_is_somebodys_own_brings_no_second_request() {
    let approval = json!({"notify": {}, "approvers": [
        {"user": "mary"}, {"group": "board", "mail": "mary@EXAMPLE.com"}, {"group": "desk", "mail": "desk@example.com"}]});
    let mut stage = Stage::new(&check(&approval), &people());
    stage.operate(&[]);
    assert_eq!(to(&stage.messages()), ["task-assigned Mary@example.com", "task-assigned desk@example.com"]);
}

#[test]
fn a_title_that_shows_nothing_is_none() {
    let approval = json!({"approvers": [{"user": "mary"}], "notify": {}});
    for title in ["", "  ", "\u{202e}\u{200b}\u{7}"] {
        let mut stage = Stage::new(&check(&approval), &people());
        stage.spec.title = Some(title.to_owned());
        stage.operate(&[]);
        let shown: Vec<Value> =
            stage.messages().iter().map(|message| parameters(message)["instance"]["title"].clone()).collect();
        assert_eq!(shown, ["Přístup"], "{title:?}");
    }
}

#[test]
fn ten_thousand_approvers_are_asked_each_once() {
    let members: Vec<String> = (0..10_000).map(|number| format!("person-{number}")).collect();
    let workflow = check(&json!({"approvers": [{"role": "everybody"}], "notify": {}}));
    let mut stage = Stage::new(&workflow, &people());
    let identities: Vec<(String, IdentitySpec)> = members
        .iter()
        .map(|name| {
            let spec = json!({"username": name, "email": format!("{name}@example.com")});
            (name.clone(), serde_json::from_value(spec).expect("an Identity"))
        })
        .collect();
    let role: BusinessRoleSpec = serde_json::from_value(json!({
        "members": members.iter().map(|identity| json!({"identity": identity})).collect::<Vec<_>>()
    }))
    .expect("a role");
    let named = identities.iter().map(|(name, spec)| (name.as_str(), spec));
    stage.directory = Arc::new(Snapshot::new(named, [("everybody", &role)]));
    stage.operate(&[]);
    let (_, composed) = stage.tell(&Added::default());
    let ids: BTreeSet<_> = composed.messages.iter().map(|message| &message.id).collect();
    assert_eq!(ids.len(), 10_000);
}

#[test]
fn a_workflow_of_an_instances_own_sends_no_mail_to_the_world() {
    let workflow: WorkflowDefinitionSpec = serde_json::from_value(json!({
        "notifications": [{"on": "completed", "to": [{"person": "Initiator"}, {"address": "world@example.com"}], "topic": "t"}],
        "nodes": [{"name": "check", "approval": {
            "approvers": [{"user": "mary"}, {"group": "board", "mail": "world@example.com"}],
            "notify": {"topic": "n"}, "notifyUser": {"topic": "u"},
            "escalations": [{"after": "1h", "approvers": [{"group": "board", "mail": "world@example.com"}], "topic": "e"}]
        }}, {"name": "tell", "notify": {"to": [{"address": "world@example.com"}]}}]
    }))
    .expect("a workflow");
    let content = |workflow_name: &str| Content {
        workflow_name: workflow_name.to_owned(),
        workflow: workflow.clone(),
        process: None,
    };
    let graph = content("access").compile().expect("a definition may");
    let faults = content("").compile().expect_err("an instance may not");
    let places: Vec<&str> = faults.iter().map(|fault| fault.place.as_str()).collect();
    assert_eq!(
        places,
        [
            "spec.notifications[0].to[1].address",
            "spec.nodes[tell].notify.to[0].address",
            "spec.nodes[check].approval.approvers[1].mail",
            "spec.nodes[check].approval.escalations[0].approvers[0].mail"
        ]
    );
    let topics: Vec<String> = graph.topics().into_iter().map(|(place, topic)| format!("{place}: {topic}")).collect();
    assert_eq!(
        topics,
        [
            "spec.nodes[check].approval.escalations[0].topic: e",
            "spec.nodes[check].approval.notify.topic: n",
            "spec.nodes[check].approval.notifyUser.topic: u",
            "spec.notifications[0].topic: t"
        ]
    );
}
