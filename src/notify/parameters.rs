//! What templates and webhooks see of an occurrence. Never what people commented or recorded, and nothing of the object that waits.

use super::compose::Setting;
use super::history::Occurrence;
use super::story::Story;
use super::tasks::{partition_title, step_title, title};
use crate::api::{CountedDecision, Decision, Field, StepVisit, TaskState};
use crate::engine::graph::{Required, Rule, Step};
use crate::engine::source::Source;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// What templates see of an occurrence, but for what differs by recipient.
pub(super) struct Parameters<'a> {
    story: &'a Story<'a>,
    occurrence: &'a Occurrence,
    setting: &'a Setting<'a>,
    command: String,
}

/// How a task stood.
struct Standing {
    state: TaskState,
    approvals: u32,
    /// None where that is not on record any more.
    required: Option<u32>,
}

impl<'a> Parameters<'a> {
    pub(super) fn new(story: &'a Story<'a>, occurrence: &'a Occurrence, setting: &'a Setting<'a>) -> Self {
        let mut parameters = Self { story, occurrence, setting, command: String::new() };
        if occurrence.event.asks() {
            parameters.command = parameters.kubectl().unwrap_or_default();
        }
        parameters
    }

    /// For one recipient, in their language. How to decide is told to whoever is asked, and to nobody else.
    pub(super) fn to(&self, locale: Option<&str>, recipient: &Value, asked: bool) -> Value {
        let facts = self.story.facts;
        let (spec, status) = (facts.instance.spec, facts.status);
        let workflow = spec.workflow_ref.as_ref().map(|reference| reference.name.as_str());
        let directory = facts.directory;
        let mut filled = json!({
            "recipient": recipient,
            "url": self.setting.links.task(facts.instance.namespace, facts.instance.name),
            "timeZone": self.setting.time_zone,
            "event": self.occurrence.event.to_string(),
            "instance": {
                "name": facts.instance.name,
                "namespace": facts.instance.namespace,
                "title": title(facts, self.story.graph).to(locale),
                "workflow": workflow,
                "outcome": status.outcome.map(|outcome| outcome.to_string()),
                "startedAt": time(status.started_at.as_ref()),
                "completedAt": time(status.completed_at.as_ref()),
            },
            "initiator": spec.initiator.as_ref().map(|initiator| self.person(&initiator.username)),
            "subjects": spec.subjects.iter().map(|name| self.person(directory.subject(name))).collect::<Value>(),
            "task": self.task(),
            "decision": self.decision().map(|decision| self.shown(decision)),
            "level": Some(self.occurrence.level).filter(|level| *level > 0),
            "command": if asked { self.command.as_str() } else { "" },
        });
        if let Some(step) = self.story.step(self.occurrence).filter(|_| filled["task"].is_object()) {
            let partition = self.rule().and_then(partition_title);
            filled["task"]["stepTitle"] = json!(step_title(step).to(locale));
            filled["task"]["partitionTitle"] = json!(partition.map(|title| title.to(locale).to_owned()));
        }
        filled
    }

    /// What webhooks are sent.
    pub(super) fn event(&self) -> Value {
        let facts = self.story.facts;
        json!({
            "event": self.occurrence.event.to_string(),
            "instance": {
                "namespace": facts.instance.namespace,
                "name": facts.instance.name,
                "uid": facts.instance.uid,
                "title": title(facts, self.story.graph).text,
            },
            "task": self.task(),
            "decision": self.decision().map(|decision| self.shown(decision)),
            "outcome": facts.status.outcome.map(|outcome| outcome.to_string()),
            // Chats make a link of this address and of no other.
            "url": self.setting.links.task(facts.instance.namespace, facts.instance.name),
            "at": self.occurrence.at.to_string(),
        })
    }

    fn decision(&self) -> Option<&'a CountedDecision> {
        self.story.facts.status.decisions.get(self.occurrence.decision?)
    }

    fn shown(&self, decision: &CountedDecision) -> Value {
        json!({
            "decision": decision.decision,
            "actor": self.person(&decision.actor),
            "onBehalfOf": decision.on_behalf_of.as_ref().map(|principal| self.person(principal)),
            "to": self.whom(decision),
            "step": Some(&decision.step).filter(|step| !step.is_empty()),
            "partition": Some(&decision.partition).filter(|partition| !partition.is_empty()),
            "at": decision.at.0.to_string(),
        })
    }

    /// To whom a decision gives the task; nobody else, where somebody takes theirs back.
    fn whom(&self, decision: &CountedDecision) -> Option<String> {
        let directory = self.story.facts.directory;
        let to = decision.delegate_to.iter().filter(|to| !directory.same_person(to, &decision.actor));
        let named = decision.approvers.iter().filter_map(Source::named);
        let shown: Vec<String> =
            to.map(|to| directory.contact_of(to).name().to_owned()).chain(named.map(|it| it.to_string())).collect();
        Some(shown.join(", ")).filter(|shown| !shown.is_empty())
    }

    fn person(&self, username: &str) -> Value {
        let contact = self.story.facts.directory.contact_of(username);
        json!({"username": username, "displayName": contact.name()})
    }

    /// The partition; where a whole step is meant, its only one.
    fn rule(&self) -> Option<&'a Rule> {
        let step = self.story.step(self.occurrence)?;
        match (&self.occurrence.partition, step.partitions.as_slice()) {
            (Some(partition), _) => step.partition(partition),
            (None, [only]) if self.occurrence.decision.is_none() => Some(only),
            (None, _) => None,
        }
    }

    fn task(&self) -> Value {
        let here = self.story.visit(self.occurrence).zip(self.story.step(self.occurrence));
        let Some((visit, step)) = here.filter(|_| self.occurrence.decision.is_none() || self.rule().is_some()) else {
            return Value::Null;
        };
        let (opened_at, deadline) = (visit.entered_at.0.to_string(), time(visit.deadline.as_ref()));
        let Some(rule) = self.rule() else {
            return json!({
                "step": visit.node, "stepTitle": step.title, "partition": null, "partitionTitle": null, "visit": visit.visit,
                "state": null, "approvals": null, "required": null, "openedAt": opened_at, "deadline": deadline, "onBehalfOf": null,
            });
        };
        let Standing { state, approvals, required } = self.standing(visit, rule);
        json!({
            "step": visit.node,
            "stepTitle": step.title,
            "partition": rule.name,
            "partitionTitle": partition_title(rule).map(|title| title.text),
            "visit": visit.visit,
            "state": state,
            "approvals": approvals,
            "required": required,
            "openedAt": opened_at,
            "deadline": deadline,
            "onBehalfOf": self.occurrence.on_behalf_of().map(|principal| self.person(principal)),
        })
    }

    /// How the task stands, or stood when its step was left: the status has the tasks of the newest visit alone.
    fn standing(&self, visit: &StepVisit, rule: &Rule) -> Standing {
        let status = self.story.facts.status;
        let here = |step: &str, number: u32, partition: &str| {
            step == visit.node && number == visit.visit && partition == rule.name
        };
        if let Some(task) = status.tasks.iter().find(|task| here(&task.step, task.visit, &task.partition)) {
            return Standing { state: task.state, approvals: task.approvals, required: Some(task.required) };
        }
        let counted = status.decisions.iter().filter(|it| here(&it.step, it.visit, &it.partition));
        let approvals = counted.filter(|it| it.decision == Decision::Approve).count();
        let approvals = u32::try_from(approvals).unwrap_or(u32::MAX);
        let state = visit.partitions.get(&rule.name).copied().unwrap_or(TaskState::Superseded);
        let required = match rule.required {
            Required::Number(number) => Some(number),
            // The approval that completed it was the last.
            Required::All | Required::Percent(_) => (state == TaskState::Approved).then_some(approvals),
        };
        Standing { state, approvals, required }
    }

    /// A command that decides the task. Every value is written as JSON, which is YAML that means nothing else.
    fn kubectl(&self) -> Option<String> {
        let instance = &self.story.facts.instance;
        let (visit, step) = self.story.visit(self.occurrence).zip(self.story.step(self.occurrence))?;
        let rule = self.rule()?;
        let quoted = |text: &str| Value::from(text).to_string();
        let mut command = String::from("kubectl create -f - <<'EOF'\n");
        let mut line = |text: std::fmt::Arguments<'_>| _ = writeln!(command, "{text}");
        line(format_args!("apiVersion: quorate.dev/v1alpha1"));
        line(format_args!("kind: ApprovalSignal"));
        line(format_args!("metadata:"));
        // The server adds five letters, and a name has 253.
        let short: String = instance.name.chars().take(200).collect();
        line(format_args!("  generateName: {}", quoted(&format!("{short}-"))));
        line(format_args!("  namespace: {}", quoted(instance.namespace)));
        line(format_args!("spec:"));
        line(format_args!("  instance: {}", quoted(instance.name)));
        line(format_args!("  instanceUID: {}", quoted(instance.uid)));
        line(format_args!("  step: {}", quoted(&visit.node)));
        line(format_args!("  partition: {}", quoted(&rule.name)));
        line(format_args!("  visit: {}", visit.visit));
        line(format_args!("  decision: Approve # or Reject"));
        if needs_comment(step) {
            line(format_args!("  comment: \"\""));
        }
        let needed: Vec<&Field> =
            rule.fields.iter().filter(|field| field.required || field.must_be.is_some()).collect();
        if !needed.is_empty() {
            line(format_args!("  fields:"));
            for field in needed {
                let value = field.must_be.map(|must_be| must_be.to_string()).unwrap_or_default();
                let options: Vec<String> = field.options.iter().map(|option| quoted(option)).collect();
                let choice = if options.is_empty() { String::new() } else { format!(": {}", options.join(" or ")) };
                line(format_args!("    {}: {} # {:?}{choice}", quoted(&field.name), quoted(&value), field.type_));
            }
        }
        command.push_str("EOF\n");
        Some(command)
    }
}

fn needs_comment(step: &Step) -> bool {
    step.require_comment == crate::api::RequireComment::Always
}

fn time(time: Option<&Time>) -> Option<String> {
    time.map(|time| Timestamp::to_string(&time.0))
}
