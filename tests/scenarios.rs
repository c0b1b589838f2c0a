//! Decisions as data: each file of `tests/scenarios/` tells a story (a definition, a directory, who signs what and when) and
//! says what must come of it. This runner plays it through [`quorate::engine::advance`] as the operator does: the status is fed
//! back, a signal is judged until it has a verdict, an edited definition becomes another revision. The format is described in
//! `tests/scenarios/README.md`; a field that it does not know fails the scenario.
//!
//! At every step of every story the runner also checks that
//! - the order in which a batch arrives, and signals that arrive twice, make no difference;
//! - computing again changes nothing;
//! - a crash after the status was written, before any verdict was, changes no status: the whole batch is judged again;
//! - an outcome, and a decision that counted, never change any more.
//!
//! It does no IO but reading the file, and knows no clock.

use jiff::{SignedDuration, Timestamp};
use quorate::api::{
    Actor, ApprovalSignalSpec, ApproverSource, BusinessRoleSpec, Decision, IdentitySpec, Outcome, TaskState,
    WorkflowDefinitionSpec, WorkflowInstanceSpec, WorkflowInstanceStatus, condition,
};
use quorate::directory::Snapshot;
use quorate::engine::graph::{Fault, Graph, check, compile};
use quorate::engine::revision::Content;
use quorate::engine::{Definition, Facts, Instance, Object, Plan, Proof, Settings, Signal, Verdict, advance};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// One test per file, so that a failure names its story; a file that is not listed fails `every_file_has_its_test`.
macro_rules! scenarios {
    ($($name:ident)*) => {
        $(#[test] fn $name() { run(stringify!($name)); })*
        const LISTED: &[&str] = &[$(stringify!($name)),*];
    };
}

scenarios! {
    attack01_no_initiator
    attack01_unproven_initiator
    attack06_service_account
    attack06_service_account_as_administrator
    attack08_alias
    attack09_one_person_two_groups
    attack10_empty_role
    attack11_removed_before_counting
    attack19_recreated_under_the_same_name
    attack26_sources_changed_after_the_start
    attack29_wrong_step
    attack30_replay
    attack31_one_person_both_ways
    attack32_terminal_outcome
    attack34_clock_goes_back
    attack34_clock_goes_forward
    r03_user
    r04_inactive_and_expired
    r04_role_hierarchy
    r09_fallback_to_administrators
    r09_initiator_is_the_only_approver
    r09_no_approvers_in_a_loop
    r09_nobody_at_all
    r09_outcome_if_no_approvers
    r10_two_of_five
    r11_partitions_in_parallel
    r17_definition_comes_later
    r17_definition_edited_while_running
    r19_dangling_edge
    r19_duplicate_names
    r19_falling_into_an_end
    r19_impossible_quorums
    r19_neither_or_both
    r19_quorum_of_a_group
    r19_quorum_of_a_role_with_groups
    r19_rejection_may_not_approve
    r19_unknown_output
    r19_unknown_role
    r19_unknown_start
    r19_unreachable_nodes
    r20_all
    r20_percentage_rounds_up
    r20_percentages
    r20_reject_threshold
    r21_no_self_approval
    r21_one_person_two_groups
    r21_one_vote_across_partitions
    r21_self_approval_allowed
    r33_anyone_named_may_signal
    r34_all_in_one_second
    rule02_groups_cannot_be_listed
    rule03_contested_identities
    rule06_administrators_only_while_needed
    rule06_quorum_unreachable
    rule06_rejected_votes_are_no_approvals
    rule06_renamed_voter
    rule06_shrinking_directory
    rule07_approve_and_reject_same_second
    rule07_order_of_creation
    rule07_role_lost_afterwards
    rule08_max_signal_age
    rule09_superseded_siblings
    rule11_ambiguous_partition
    rule11_double_click
    rule11_earlier_visit_signal
    rule11_required_comment
    rule11_same_second_as_a_step_closed
    rule11_same_second_as_an_administrator
    rule11_same_second_with_a_partition
    rule11_too_many_visits
    rule11_visits_and_loops
    rule13_rejection_leads_to_another_step
    rule15_broken_proof
    rule15_broken_proof_after_the_decision
    rule26_object_gone
}

#[test]
fn every_file_has_its_test() {
    let files: BTreeSet<String> = std::fs::read_dir(folder())
        .expect("tests/scenarios")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    let listed: BTreeSet<String> = LISTED.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(files, listed, "files of tests/scenarios (left) and the list in tests/scenarios.rs (right)");
}

/// A story and what must come of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Scenario {
    /// In a sentence or two: the rule that it shows.
    about: String,
    /// The spec of a `WorkflowDefinition`; left out: it does not exist yet.
    definition: Option<Value>,
    /// Specs of Identities by name; `username` defaults to the name.
    #[serde(default)]
    identities: BTreeMap<String, Value>,
    /// Specs of `BusinessRoles` by name; a member may be written as the bare name of its Identity.
    #[serde(default)]
    roles: BTreeMap<String, Value>,
    #[serde(default)]
    settings: Installation,
    #[serde(default)]
    instance: Request,
    /// The object that waits for the outcome; left out: the instance stands for itself.
    #[serde(default)]
    object: ObjectState,
    /// Left out: proven for long.
    proof: Option<ProofState>,
    #[serde(default)]
    timeline: Vec<Step>,
    /// What holds at the end.
    expect: Option<Expect>,
    /// Instead of a story: the faults of the definition, word by word.
    faults: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Installation {
    administrators: Vec<ApproverSource>,
    max_signal_age: String,
}

impl Default for Installation {
    fn default() -> Self {
        Self { administrators: Vec::new(), max_signal_age: "1h".to_owned() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Request {
    initiator: Option<String>,
    subjects: Vec<String>,
    title: Option<String>,
    created_at: Timestamp,
}

impl Default for Request {
    fn default() -> Self {
        let created_at = "2026-03-02T09:00:00Z".parse().expect("a time");
        Self { initiator: Some("requester".to_owned()), subjects: Vec::new(), title: None, created_at }
    }
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
enum ObjectState {
    #[default]
    None,
    Waiting,
    Approved,
    Denied,
    Gone(String),
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
enum ProofState {
    Since(String),
    Broken(String),
}

/// What happens at one moment, in the order of the fields; then the operator computes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Step {
    /// A moment, or an offset from the creation of the instance. Left out: the moment of the step before.
    at: Option<String>,
    /// The API server's clock jumps by so much, and stays off.
    clock: Option<String>,
    /// The definition is edited, or `deleted`.
    definition: Option<Value>,
    directory: Option<DirectoryChange>,
    proof: Option<ProofState>,
    object: Option<ObjectState>,
    /// Sent and delivered together.
    #[serde(default)]
    signals: Vec<SignalLine>,
    expect: Option<Expect>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct DirectoryChange {
    /// Merged into the spec; null removes the Identity.
    #[serde(default)]
    identities: BTreeMap<String, Value>,
    #[serde(default)]
    roles: BTreeMap<String, Members>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Members {
    #[serde(default)]
    add: Vec<Value>,
    #[serde(default)]
    remove: Vec<String>,
}

/// A signal, and the verdict on it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct SignalLine {
    /// Default: who sent it, with a number from the second on.
    name: Option<String>,
    /// The username; null: not stamped.
    by: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    decision: Decision,
    step: Option<String>,
    partition: Option<String>,
    visit: Option<u32>,
    #[serde(rename = "instanceUID")]
    instance_uid: Option<String>,
    comment: Option<String>,
    /// When it was sent, when that is not when it is delivered.
    sent: Option<String>,
    /// The reason of its verdict; `waits` while it has none.
    verdict: String,
    /// A part of the verdict's message.
    says: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Expect {
    /// An outcome, or `none`.
    outcome: Option<String>,
    step: Option<String>,
    waiting: Option<String>,
    title: Option<String>,
    /// Every node that was entered, in order.
    path: Option<Vec<String>>,
    /// By partition.
    #[serde(default)]
    tasks: BTreeMap<String, TaskLine>,
    /// Who decided what through which source, e.g. `mary Approve review/default#1 through role security`.
    decisions: Option<Vec<String>>,
    /// `Status Reason` by type.
    #[serde(default)]
    conditions: BTreeMap<String, String>,
    /// A part of the message of the conditions.
    says: Option<String>,
    /// Verdicts of signals that waited, by name.
    #[serde(default)]
    verdicts: BTreeMap<String, String>,
    /// The outcome that is being written to the object, or `none`.
    write_back: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct TaskLine {
    state: Option<TaskState>,
    approvals: Option<u32>,
    rejections: Option<u32>,
    required: Option<u32>,
    /// The sources, as the status lists them.
    approvers: Option<Vec<String>>,
    /// Everybody whom the sources list, as far as the status names them.
    people: Option<Vec<String>>,
}

/// Reads and plays one story.
fn run(name: &str) {
    let path = folder().join(format!("{name}.yaml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let scenario: Scenario =
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(!scenario.about.trim().is_empty(), "{name}: about is empty");
    if let Some(faults) = &scenario.faults {
        let found = World::new(&scenario).faults(scenario.definition.as_ref().expect("faults need a definition"));
        assert_eq!(&found, faults, "{name}: faults found (left) and expected (right)");
        return;
    }
    let mut world = World::new(&scenario);
    let mut plan = world.operate(&format!("{name}, at the beginning"));
    for (number, step) in scenario.timeline.iter().enumerate() {
        let place =
            format!("{name}, timeline[{number}]{}", step.at.as_ref().map(|at| format!(" at {at}")).unwrap_or_default());
        let sent = world.happen(step, &place);
        plan = world.operate(&place);
        for (line, uid) in step.signals.iter().zip(sent) {
            world.verdict_is(&uid, &line.verdict, line.says.as_deref(), &place);
        }
        if let Some(expect) = &step.expect {
            world.check(expect, &plan, &place);
        }
    }
    let place = format!("{name}, at the end");
    assert!(
        scenario.expect.is_some() || scenario.timeline.last().is_some_and(|step| step.expect.is_some()),
        "{place}: nothing is expected"
    );
    if let Some(expect) = &scenario.expect {
        world.check(expect, &plan, &place);
    }
}

/// Everything that the operator would see, and what has come of it.
struct World {
    created_at: i64,
    spec: WorkflowInstanceSpec,
    /// The definition as it is now.
    definition: Option<Content>,
    /// Every revision that ever was current.
    revisions: BTreeMap<String, Content>,
    identities: BTreeMap<String, Value>,
    roles: BTreeMap<String, Value>,
    settings: Settings,
    proof: Proof,
    object: ObjectState,
    /// Seconds since the epoch, were it not for `clock_off`.
    moment: i64,
    clock_off: i64,
    status: WorkflowInstanceStatus,
    unjudged: Vec<Signal>,
    verdicts: BTreeMap<String, Verdict>,
    sent: usize,
    names: BTreeSet<String>,
}

impl World {
    fn new(scenario: &Scenario) -> Self {
        let created_at = scenario.instance.created_at.as_second();
        let mut world = Self {
            created_at,
            spec: WorkflowInstanceSpec {
                initiator: scenario.instance.initiator.as_ref().map(|username| actor(username, &[])),
                subjects: scenario.instance.subjects.clone(),
                title: scenario.instance.title.clone(),
                ..WorkflowInstanceSpec::default()
            },
            definition: None,
            revisions: BTreeMap::new(),
            identities: scenario.identities.clone(),
            roles: scenario.roles.clone(),
            settings: Settings {
                administrators: scenario.settings.administrators.clone(),
                max_signal_age: duration(&scenario.settings.max_signal_age),
            },
            proof: Proof::Since(created_at - 86_400),
            object: scenario.object.clone(),
            moment: created_at,
            clock_off: 0,
            status: WorkflowInstanceStatus::default(),
            unjudged: Vec::new(),
            verdicts: BTreeMap::new(),
            sent: 0,
            names: BTreeSet::new(),
        };
        if let Some(proof) = &scenario.proof {
            world.proof = world.proof(proof);
        }
        if let Some(definition) = &scenario.definition {
            world.define(definition);
        }
        world
    }

    fn define(&mut self, definition: &Value) {
        let workflow: WorkflowDefinitionSpec = strict("WorkflowDefinition", "definition", definition);
        let content = Content { workflow_name: "definition".to_owned(), workflow, process: None };
        self.revisions.insert(content.name().expect("JSON"), content.clone());
        self.definition = Some(content);
    }

    fn faults(&self, definition: &Value) -> Vec<String> {
        let workflow: WorkflowDefinitionSpec = strict("WorkflowDefinition", "definition", definition);
        let faults = compiled(&workflow, &self.directory()).err().unwrap_or_default();
        faults.iter().map(ToString::to_string).collect()
    }

    fn directory(&self) -> Snapshot {
        let identities: BTreeMap<&str, IdentitySpec> =
            self.identities.iter().map(|(name, spec)| (name.as_str(), identity(name, spec))).collect();
        let roles: BTreeMap<&str, BusinessRoleSpec> =
            self.roles.iter().map(|(name, spec)| (name.as_str(), role(name, spec))).collect();
        Snapshot::new(
            identities.iter().map(|(name, spec)| (*name, spec)),
            roles.iter().map(|(name, spec)| (*name, spec)),
        )
    }

    fn proof(&self, proof: &ProofState) -> Proof {
        match proof {
            ProofState::Since(since) => Proof::Since(self.moment_of(since)),
            ProofState::Broken(why) => Proof::Broken(why.clone()),
        }
    }

    /// A moment, or an offset from the creation of the instance.
    fn moment_of(&self, text: &str) -> i64 {
        text.parse::<Timestamp>().map_or_else(|_| self.created_at + duration(text), Timestamp::as_second)
    }

    fn now(&self) -> i64 {
        self.moment + self.clock_off
    }

    /// Makes happen what a step says; gives the uids of its signals.
    fn happen(&mut self, step: &Step, place: &str) -> Vec<String> {
        if let Some(at) = &step.at {
            let moment = self.moment_of(at);
            assert!(moment >= self.moment, "{place}: is before the step before; time goes on, clocks jump (clock)");
            self.moment = moment;
        }
        if let Some(jump) = &step.clock {
            self.clock_off += duration(jump);
        }
        match &step.definition {
            Some(Value::String(word)) => {
                assert_eq!(word, "deleted", "{place}: definition");
                self.definition = None;
            }
            Some(definition) => self.define(definition),
            None => {}
        }
        if let Some(change) = &step.directory {
            self.change_directory(change, place);
        }
        if let Some(proof) = &step.proof {
            self.proof = self.proof(proof);
        }
        if let Some(object) = &step.object {
            self.object = object.clone();
        }
        step.signals.iter().map(|line| self.send(line, place)).collect()
    }

    fn change_directory(&mut self, change: &DirectoryChange, place: &str) {
        for (name, patch) in &change.identities {
            match patch {
                Value::Null => {
                    self.identities.remove(name).unwrap_or_else(|| panic!("{place}: there is no identity {name}"));
                }
                patch => merge(
                    self.identities.entry(name.clone()).or_insert_with(|| Value::Object(serde_json::Map::new())),
                    patch,
                ),
            }
        }
        for (name, change) in &change.roles {
            let role = self.roles.get_mut(name).unwrap_or_else(|| panic!("{place}: there is no role {name}"));
            let fields = role.as_object_mut().expect("a role");
            let members =
                fields.entry("members").or_insert_with(|| Value::Array(Vec::new())).as_array_mut().expect("members");
            for gone in &change.remove {
                let before = members.len();
                members.retain(|member| member.as_str().or_else(|| member["identity"].as_str()) != Some(gone.as_str()));
                assert!(members.len() < before, "{place}: {gone} is no member of {name}");
            }
            members.extend(change.add.iter().cloned());
        }
    }

    fn send(&mut self, line: &SignalLine, place: &str) -> String {
        self.sent += 1;
        let uid = format!("signal-{:04}", self.sent);
        let sender = line.by.clone().unwrap_or_else(|| "nobody".to_owned());
        let name = line.name.clone().unwrap_or_else(|| {
            let numbered = (2..).map(|number| format!("{sender}-{number}"));
            std::iter::once(sender.clone()).chain(numbered).find(|name| !self.names.contains(name)).expect("a name")
        });
        assert!(self.names.insert(name.clone()), "{place}: there is a signal {name} already");
        let created_at = line.sent.as_ref().map_or(self.now(), |sent| self.moment_of(sent));
        let spec = ApprovalSignalSpec {
            instance: "request".to_owned(),
            instance_uid: line.instance_uid.clone(),
            step: line.step.clone(),
            partition: line.partition.clone(),
            visit: line.visit,
            decision: line.decision,
            comment: line.comment.clone(),
            actor: line.by.as_ref().map(|username| actor(username, &line.groups)),
        };
        self.unjudged.push(Signal { name, uid: uid.clone(), created_at, spec });
        uid
    }

    /// Computes, checks what must hold of every computation, and takes over what came of it, until nothing changes any more.
    fn operate(&mut self, place: &str) -> Plan {
        for _ in 0..4 {
            let plan = self.compute(&self.status, &self.unjudged);
            self.holds_in_any_order(&plan, place);
            self.survives_a_crash(&plan, place);
            self.takes_nothing_back(&plan, place);
            let changed = plan.status != self.status || !plan.verdicts.is_empty();
            for verdict in &plan.verdicts {
                let uid = &verdict.signal.uid;
                assert!(self.unjudged.iter().any(|signal| signal.uid == *uid), "{place}: {uid} was not to be judged");
                self.unjudged.retain(|signal| signal.uid != *uid);
                assert!(
                    self.verdicts.insert(uid.clone(), verdict.clone()).is_none(),
                    "{place}: {uid} has two verdicts"
                );
            }
            self.status = plan.status.clone();
            if !changed {
                assert!(plan.notes.is_empty(), "{place}: nothing changed, but people are told {:?}", plan.notes);
                return plan;
            }
        }
        panic!("{place}: computing again still changes something");
    }

    fn holds_in_any_order(&self, plan: &Plan, place: &str) {
        let backwards: Vec<Signal> = self.unjudged.iter().rev().cloned().collect();
        let twice: Vec<Signal> = self.unjudged.iter().chain(&backwards).cloned().collect();
        for (how, signals) in [("backwards", backwards), ("twice", twice)] {
            same(plan, &self.compute(&self.status, &signals), &format!("{place}: the batch delivered {how}"));
        }
    }

    /// The status was written, and nothing after it.
    fn survives_a_crash(&self, plan: &Plan, place: &str) {
        let again = self.compute(&plan.status, &self.unjudged);
        for verdict in plan.verdicts.iter().filter(|verdict| verdict.reason.counted()) {
            assert!(again.verdicts.contains(verdict), "{place}: after a crash, {verdict:?} is not given again");
        }
        if !plan.verdicts.is_empty() {
            assert_eq!(again.status.decisions, plan.status.decisions, "{place}: after a crash another decision counts");
        }
    }

    fn takes_nothing_back(&self, plan: &Plan, place: &str) {
        let (before, after) = (&self.status, &plan.status);
        assert!(after.decisions.starts_with(&before.decisions), "{place}: a decision that counted changed");
        assert!(after.steps.len() >= before.steps.len(), "{place}: a visit is gone");
        if before.outcome.is_some() {
            assert_eq!(before, after, "{place}: changed after its end");
        }
        if before.revision.is_some() {
            assert_eq!(before.revision, after.revision, "{place}: runs on another revision");
        }
    }

    fn compute(&self, status: &WorkflowInstanceStatus, signals: &[Signal]) -> Plan {
        let directory = self.directory();
        // As the operator does: an instance that has started runs on its revision, whatever became of the definition.
        let (content, usable) = match &status.revision {
            Some(revision) => (self.revisions.get(revision), true),
            None => (self.definition.as_ref(), false),
        };
        let compiled = content.map(|content| {
            let graph = if usable { compile(&content.workflow) } else { compiled(&content.workflow, &directory) };
            (content.name().expect("JSON"), graph)
        });
        let definition = match &compiled {
            None => Definition::Missing("there is no WorkflowDefinition definition; create it".to_owned()),
            Some((_, Err(faults))) => Definition::Faulty { name: "WorkflowDefinition definition", faults },
            Some((revision, Ok(graph))) => Definition::Usable { graph, revision },
        };
        let facts = Facts {
            instance: Instance {
                name: "request",
                uid: "uid-1",
                generation: Some(1),
                created_at: self.created_at,
                spec: &self.spec,
            },
            status,
            definition,
            signals,
            directory: &directory,
            settings: &self.settings,
            proof: &self.proof,
            object: match &self.object {
                ObjectState::None => Object::None,
                ObjectState::Waiting => Object::Waiting,
                ObjectState::Approved => Object::Decided(true),
                ObjectState::Denied => Object::Decided(false),
                ObjectState::Gone(what) => Object::Gone(what.clone()),
            },
            now: Timestamp::from_second(self.now()).expect("a time"),
        };
        advance(&facts)
    }

    fn verdict_is(&self, uid: &str, expected: &str, says: Option<&str>, place: &str) {
        let verdict = self.verdicts.get(uid);
        let found = verdict.map_or_else(|| "waits".to_owned(), |verdict| verdict.reason.to_string());
        let message = verdict.map(|verdict| verdict.message.as_str()).unwrap_or_default();
        let who = verdict.map_or(uid, |verdict| verdict.signal.name.as_str());
        assert_eq!(found, expected, "{place}: the verdict on {who}; it says: {message}");
        if let Some(says) = says {
            assert!(message.contains(says), "{place}: the verdict on {who} says\n  {message}\nwhich has no\n  {says}");
        }
    }

    fn check(&self, expect: &Expect, plan: &Plan, place: &str) {
        let status = &self.status;
        let word = |outcome: Option<Outcome>| outcome.map_or_else(|| "none".to_owned(), |outcome| outcome.to_string());
        equal("outcome", expect.outcome.as_ref(), &word(status.outcome), place);
        equal("step", expect.step.as_ref(), &status.step.clone().unwrap_or_default(), place);
        equal("waiting", expect.waiting.as_ref(), &status.waiting.clone().unwrap_or_default(), place);
        equal("title", expect.title.as_ref(), &status.title.clone().unwrap_or_default(), place);
        equal("path", expect.path.as_ref(), &status.steps.iter().map(|visit| visit.node.clone()).collect(), place);
        equal("writeBack", expect.write_back.as_ref(), &word(plan.write_back), place);
        equal("decisions", expect.decisions.as_ref(), &decisions(status), place);
        for (partition, line) in &expect.tasks {
            let Some(task) = status.tasks.iter().find(|task| task.partition == *partition) else {
                panic!("{place}: there is no task {partition}");
            };
            let field = |field: &str| format!("task {partition}: {field}");
            equal(&field("state"), line.state.as_ref(), &task.state, place);
            equal(&field("approvals"), line.approvals.as_ref(), &task.approvals, place);
            equal(&field("rejections"), line.rejections.as_ref(), &task.rejections, place);
            equal(&field("required"), line.required.as_ref(), &task.required, place);
            let sources = task.approvers.iter().map(|summary| summary.source.clone()).collect();
            equal(&field("approvers"), line.approvers.as_ref(), &sources, place);
            let people = task.approvers.iter().flat_map(|summary| summary.names.clone()).collect();
            equal(&field("people"), line.people.as_ref(), &people, place);
        }
        for (type_, says) in &expect.conditions {
            let Some(found) = condition(&status.conditions, type_) else {
                panic!("{place}: there is no condition {type_}")
            };
            assert_eq!(
                format!("{} {}", found.status, found.reason),
                *says,
                "{place}: condition {type_}; it says: {}",
                found.message
            );
        }
        if let Some(says) = &expect.says {
            let message =
                condition(&status.conditions, "Ready").map(|ready| ready.message.as_str()).unwrap_or_default();
            assert!(message.contains(says), "{place}: the conditions say\n  {message}\nwhich has no\n  {says}");
        }
        for (name, verdict) in &expect.verdicts {
            let uid = self
                .verdicts
                .values()
                .find(|verdict| verdict.signal.name == *name)
                .map(|verdict| verdict.signal.uid.clone());
            let waiting = self.unjudged.iter().find(|signal| signal.name == *name).map(|signal| signal.uid.clone());
            let uid = uid.or(waiting).unwrap_or_else(|| panic!("{place}: there is no signal {name}"));
            self.verdict_is(&uid, verdict, None, place);
        }
    }
}

fn decisions(status: &WorkflowInstanceStatus) -> Vec<String> {
    let line = |decision: &quorate::api::CountedDecision| {
        let quorate::api::CountedDecision { actor, decision, step, visit, partition, through, .. } = decision;
        format!("{actor} {decision:?} {step}/{partition}#{visit} through {through}")
    };
    status.decisions.iter().map(line).collect()
}

fn same(plan: &Plan, other: &Plan, place: &str) {
    let verdicts = |plan: &Plan| {
        let mut verdicts = plan.verdicts.clone();
        verdicts.sort_by(|one, other| one.signal.uid.cmp(&other.signal.uid));
        verdicts
    };
    assert_eq!(plan.status, other.status, "{place}: the status differs");
    assert_eq!(verdicts(plan), verdicts(other), "{place}: the verdicts differ");
    assert_eq!(plan.write_back, other.write_back, "{place}: the effects differ");
    assert_eq!(plan.notes, other.notes, "{place}: people are told something else");
}

fn equal<T: Debug + PartialEq>(what: &str, expected: Option<&T>, found: &T, place: &str) {
    if let Some(expected) = expected {
        assert_eq!(found, expected, "{place}: {what}");
    }
}

fn compiled(workflow: &WorkflowDefinitionSpec, directory: &Snapshot) -> Result<Graph, Vec<Fault>> {
    let graph = compile(workflow)?;
    let faults = check(&graph, directory);
    if faults.is_empty() { Ok(graph) } else { Err(faults) }
}

fn actor(username: &str, groups: &[String]) -> Actor {
    Actor { username: username.to_owned(), uid: String::new(), groups: groups.to_vec() }
}

fn identity(name: &str, spec: &Value) -> IdentitySpec {
    let mut spec = spec.clone();
    if let Some(fields) = spec.as_object_mut() {
        fields.entry("username").or_insert_with(|| Value::String(name.to_owned()));
    }
    strict("Identity", &format!("identities.{name}"), &spec)
}

fn role(name: &str, spec: &Value) -> BusinessRoleSpec {
    let mut spec = spec.clone();
    for member in spec.get_mut("members").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Value::String(identity) = member {
            *member = serde_json::json!({"identity": identity});
        }
    }
    strict("BusinessRole", &format!("roles.{name}"), &spec)
}

/// Reads the spec of a kind, and fails on a field that its CRD does not have.
fn strict<T: serde::de::DeserializeOwned>(kind: &str, place: &str, spec: &Value) -> T {
    static SCHEMAS: LazyLock<BTreeMap<String, Value>> = LazyLock::new(schemas);
    known_fields(&SCHEMAS[kind], spec, place);
    serde_json::from_value(spec.clone()).unwrap_or_else(|error| panic!("{place}: {error}"))
}

fn schemas() -> BTreeMap<String, Value> {
    let crds = quorate::api::crds().expect("the CRDs");
    let spec = |crd: &Value| crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone();
    crds.iter().map(|crd| (crd.spec.names.kind.clone(), spec(&serde_json::to_value(crd).expect("JSON")))).collect()
}

fn known_fields(schema: &Value, value: &Value, place: &str) {
    match value {
        Value::Object(fields) => {
            let Some(known) = schema["properties"].as_object() else {
                return;
            };
            for (field, value) in fields {
                // An unknown output of a node is for the engine to find, and a fault with a place.
                let Some(schema) = known.get(field) else {
                    let known: Vec<_> = known.keys().map(String::as_str).collect();
                    assert!(
                        place.rsplit('.').next() == Some("next"),
                        "{place}: there is no field {field}; fields are {}",
                        known.join(", ")
                    );
                    continue;
                };
                known_fields(schema, value, &format!("{place}.{field}"));
            }
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(number, item)| known_fields(&schema["items"], item, &format!("{place}[{number}]"))),
        _ => {}
    }
}

/// A JSON merge patch.
fn merge(target: &mut Value, patch: &Value) {
    let (Value::Object(target), Value::Object(patch)) = (target, patch) else { panic!("only fields can be merged") };
    for (field, value) in patch {
        if value.is_null() {
            target.remove(field);
        } else {
            target.insert(field.clone(), value.clone());
        }
    }
}

/// Seconds of a duration such as `+5s`, `-24h`, `1h30m`.
fn duration(text: &str) -> i64 {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let duration: SignedDuration =
        digits.parse().unwrap_or_else(|error| panic!("{text} is neither a moment nor a duration: {error}"));
    sign * duration.as_secs()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}
