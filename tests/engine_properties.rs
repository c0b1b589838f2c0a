//! What must hold of every instance, whatever the definition, the directory, the signals and the clock: proptest makes up
//! stories and plays them through [`quorate::engine::advance`]. Who may decide is worked out here once more, in another way
//! than the engine does. Stories with a point of their own are in `tests/scenarios/`.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use quorate::api::{
    Actor, Approval, ApprovalSignalSpec, ApproverSource, BusinessRoleSpec, CountedDecision, Decision, End, EndOutcome,
    IdentitySpec, Member, NoApprovers, Node, Outcome, Partition, Quorum, RequireComment, SelfApproval,
    WorkflowDefinitionSpec, WorkflowInstanceSpec, WorkflowInstanceStatus,
};
use quorate::directory::Snapshot;
use quorate::engine::graph::{Graph, GraphNode, Required, Rule, Step, check, compile};
use quorate::engine::source::Source;
use quorate::engine::{Definition, Facts, Instance, Object, Plan, Proof, Settings, Signal, advance};
use quorate::scenario::invariants::{in_any_order, taken_back};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const CREATED_AT: i64 = 1_800_000_000;
const ROBOT: &str = "system:serviceaccount:ci:robot";
/// The first four have an Identity, with an alias each.
const USERS: &[&str] = &["anna", "boris", "clara", "david", "emil", "fiona"];
const ALIASES: &[&str] = &["anna@github", "boris@github", "clara@github", "david@github"];
const GROUPS: &[&str] = &["red", "blue", "system:serviceaccounts"];
const ROLES: &[&str] = &["chiefs", "leads", "workers"];
const NODES: &[&str] = &["one", "two", "three", "four"];
const PARTITIONS: &[&str] = &["security", "finance", "legal"];

/// A made-up story.
#[derive(Clone, Debug)]
struct Story {
    definition: WorkflowDefinitionSpec,
    directory: Directory,
    administrators: Vec<ApproverSource>,
    initiator: Option<&'static str>,
    subjects: Vec<&'static str>,
    events: Vec<Event>,
}

#[derive(Clone, Debug)]
struct Directory {
    identities: BTreeMap<String, IdentitySpec>,
    roles: BTreeMap<String, BusinessRoleSpec>,
}

/// What happens between two computations.
#[derive(Clone, Debug)]
struct Event {
    /// By how much the clock moves; back as well.
    clock: i64,
    change: Change,
    signals: Vec<Sent>,
}

#[derive(Clone, Debug)]
enum Change {
    Nothing,
    Active(usize, bool),
    Members(&'static str, Vec<&'static str>),
    /// Another Identity claims that username, or none does.
    Rival(Option<&'static str>),
    Proof(bool),
    Object(Object),
}

#[derive(Clone, Debug)]
struct Sent {
    actor: Option<&'static str>,
    groups: Vec<&'static str>,
    decision: Decision,
    step: Option<&'static str>,
    partition: Option<&'static str>,
    visit: Option<u32>,
    comment: bool,
    /// Seconds before (or after) the moment.
    age: i64,
}

fn sources() -> impl Strategy<Value = Vec<ApproverSource>> {
    let named = |text: &str| Some(text.to_owned());
    let source = prop_oneof![
        4 => select(USERS).prop_map(move |user| ApproverSource { user: named(user), ..ApproverSource::default() }),
        1 => select(ALIASES).prop_map(move |user| ApproverSource { user: named(user), ..ApproverSource::default() }),
        1 => Just(ApproverSource { user: named(ROBOT), ..ApproverSource::default() }),
        3 => select(GROUPS).prop_map(move |group| ApproverSource { group: named(group), ..ApproverSource::default() }),
        3 => select(ROLES).prop_map(move |role| ApproverSource { role: named(role), ..ApproverSource::default() }),
    ];
    vec(source, 1..4)
}

fn quorum() -> impl Strategy<Value = Option<Quorum>> {
    prop_oneof![
        8 => Just(None),
        6 => (1..4i64).prop_map(|number| Some(Quorum::Number(number))),
        1 => select(&["All", "1%", "34%", "50%", "100%"][..]).prop_map(|text| Some(Quorum::Text(text.to_owned()))),
    ]
}

fn approval() -> impl Strategy<Value = Approval> {
    let one = (sources(), quorum(), weighted(0.3, 1..3u32));
    let partitions = prop_oneof![1 => Just(0usize), 1 => 1..4usize];
    let settings = (
        select(&[SelfApproval::Forbid, SelfApproval::Forbid, SelfApproval::Allow][..]),
        select(&[RequireComment::Never, RequireComment::Never, RequireComment::OnReject, RequireComment::Always][..]),
        select(&[NoApprovers::Fallback, NoApprovers::Fallback, NoApprovers::Reject][..]),
    );
    (partitions, vec(one, 3), settings).prop_map(
        |(count, rules, (self_approval, require_comment, outcome_if_no_approvers))| {
            let mut approval =
                Approval { self_approval, require_comment, outcome_if_no_approvers, ..Approval::default() };
            if count == 0 {
                (approval.approvers, approval.required, approval.rejections) = rules[0].clone();
            }
            for (name, (approvers, required, rejections)) in PARTITIONS.iter().zip(rules).take(count) {
                approval.partitions.push(Partition {
                    name: (*name).to_owned(),
                    display_name: None,
                    approvers,
                    required,
                    rejections,
                });
            }
            approval
        },
    )
}

/// Mostly sound: steps that lead on, now and then back or to an end.
fn definition() -> impl Strategy<Value = WorkflowDefinitionSpec> {
    let target = || prop_oneof![3 => select(NODES), 1 => select(&["Approved", "Rejected", "Expired"][..])];
    let node = (approval(), weighted(0.1, target()), weighted(0.5, target()));
    vec(node, 1..4).prop_map(|nodes| {
        let count = nodes.len();
        let known = |target: &&str| !NODES[count..].contains(target);
        let nodes = nodes.into_iter().zip(NODES).map(|((approval, approved, rejected), name)| {
            let outputs = [
                ("approved", approved.filter(known)),
                ("rejected", rejected.filter(known).filter(|target| *target != "Approved")),
            ];
            let next = outputs
                .into_iter()
                .filter_map(|(output, target)| Some((output.to_owned(), target?.to_owned())))
                .collect();
            Node { name: (*name).to_owned(), approval: Some(approval), next, ..Node::default() }
        });
        WorkflowDefinitionSpec { nodes: nodes.collect(), ..WorkflowDefinitionSpec::default() }
    })
}

/// Anything that serde reads.
fn any_definition() -> impl Strategy<Value = WorkflowDefinitionSpec> {
    let name = || select(&["one", "two", "three", "Approved", "Rejected", "", "*"][..]).prop_map(str::to_owned);
    let quorum = || {
        prop_oneof![
            Just(None),
            any::<i64>().prop_map(|number| Some(Quorum::Number(number))),
            "(All|all|[0-9]{0,4}%?|%|-1%)".prop_map(|text| Some(Quorum::Text(text))),
        ]
    };
    let source = || (weighted(0.5, name()), weighted(0.3, name()), weighted(0.3, name()));
    let sources = move || vec(source().prop_map(|(user, group, role)| ApproverSource { user, group, role }), 0..3);
    let partition = (name(), sources(), quorum(), weighted(0.3, 0..3u32));
    let partition = partition.prop_map(|(name, approvers, required, rejections)| Partition {
        name,
        display_name: None,
        approvers,
        required,
        rejections,
    });
    let approval = (vec(partition, 0..3), sources(), quorum(), weighted(0.2, 0..3u32));
    let approval = approval.prop_map(|(partitions, approvers, required, rejections)| Approval {
        partitions,
        approvers,
        required,
        rejections,
        ..Approval::default()
    });
    let end = select(&[EndOutcome::Approved, EndOutcome::Rejected, EndOutcome::Expired][..])
        .prop_map(|outcome| End { outcome });
    let output = select(&["approved", "rejected", "expired", ""][..]).prop_map(str::to_owned);
    let next = proptest::collection::btree_map(output, name(), 0..3);
    let node = (name(), weighted(0.8, approval), weighted(0.2, end), next);
    let node = node.prop_map(|(name, approval, end, next)| Node { name, display_name: None, approval, end, next });
    (weighted(0.3, name()), vec(node, 0..5)).prop_map(|(start, nodes)| WorkflowDefinitionSpec {
        display_name: None,
        start,
        nodes,
    })
}

fn directory() -> impl Strategy<Value = Directory> {
    let moment = || weighted(0.1, -30..30i64);
    let person = (weighted(0.9, Just(())), moment(), moment());
    let member = (0..ALIASES.len(), moment(), moment());
    let role = (vec(member, 0..4), weighted(0.2, select(GROUPS)), subsequence(ROLES, 0..2));
    (vec(person, ALIASES.len()), vec(role, ROLES.len())).prop_map(|(people, roles)| {
        let at =
            |offset: Option<i64>| offset.and_then(|offset| Timestamp::from_second(CREATED_AT + offset).ok()).map(Time);
        let identities = people.into_iter().enumerate().map(|(number, (active, from, until))| {
            let spec = IdentitySpec {
                username: USERS[number].to_owned(),
                aliases: vec![ALIASES[number].to_owned()],
                active: active.is_some(),
                valid_from: at(from),
                valid_until: at(until),
                ..IdentitySpec::default()
            };
            (identity_name(USERS[number]), spec)
        });
        let roles = roles.into_iter().zip(ROLES).map(|((members, group, subroles), name)| {
            let members = members.into_iter().map(|(number, from, until)| Member {
                identity: identity_name(USERS[number]),
                valid_from: at(from),
                valid_until: at(until),
            });
            let spec = BusinessRoleSpec {
                display_name: None,
                groups: group.into_iter().map(str::to_owned).collect(),
                members: members.collect(),
                subroles: subroles.into_iter().map(str::to_owned).collect(),
            };
            ((*name).to_owned(), spec)
        });
        Directory { identities: identities.collect(), roles: roles.collect() }
    })
}

fn event() -> impl Strategy<Value = Event> {
    let anybody: Vec<&'static str> = USERS.iter().chain(USERS).chain(ALIASES).chain(&[ROBOT]).copied().collect();
    let sent = (
        weighted(0.97, select(anybody)),
        subsequence(GROUPS, 0..=GROUPS.len()),
        prop_oneof![7 => Just(Decision::Approve), 1 => Just(Decision::Reject)],
        weighted(0.1, select(NODES)),
        weighted(0.4, select(PARTITIONS)),
        weighted(0.05, 1..3u32),
        any::<bool>(),
        prop_oneof![6 => Just(0i64), 2 => -1..4i64, 1 => Just(10_000i64)],
    );
    let sent = sent.prop_map(|(actor, groups, decision, step, partition, visit, comment, age)| Sent {
        actor,
        groups,
        decision,
        step,
        partition,
        visit,
        comment,
        age,
    });
    let change = prop_oneof![
        20 => Just(Change::Nothing),
        2 => (0..ALIASES.len(), any::<bool>()).prop_map(|(person, active)| Change::Active(person, active)),
        2 => (select(ROLES), subsequence(&USERS[..ALIASES.len()], 0..4)).prop_map(|(role, members)| Change::Members(role, members)),
        1 => weighted(0.5, select(USERS)).prop_map(Change::Rival),
        1 => select(&[true, true, false][..]).prop_map(Change::Proof),
        1 => select(vec![Object::None, Object::Waiting, Object::Decided(true), Object::Gone("it was deleted".to_owned())]).prop_map(Change::Object),
    ];
    let clock = prop_oneof![8 => Just(0i64), 12 => 1..5i64, 1 => Just(-100i64), 1 => Just(86_400i64)];
    (clock, change, vec(sent, 0..7)).prop_map(|(clock, change, signals)| Event { clock, change, signals })
}

fn story() -> impl Strategy<Value = Story> {
    let administrators = prop_oneof![1 => Just(Vec::new()), 3 => sources()];
    let people = (weighted(0.98, select(USERS)), prop_oneof![3 => Just(Vec::new()), 1 => vec(select(ALIASES), 1)]);
    (definition(), directory(), administrators, people, vec(event(), 3..14)).prop_map(
        |(definition, directory, administrators, (initiator, subjects), events)| Story {
            definition,
            directory,
            administrators,
            initiator,
            subjects,
            events,
        },
    )
}

fn identity_name(username: &str) -> String {
    format!("id-{username}")
}

/// A username and its alias are one person here, worked out from the names alone.
fn person(username: &str) -> &str {
    username.strip_suffix("@github").unwrap_or(username)
}

/// A story as it is played.
struct Play<'s> {
    story: &'s Story,
    spec: WorkflowInstanceSpec,
    settings: Settings,
    directory: Directory,
    graph: Option<Graph>,
    faults: Vec<quorate::engine::graph::Fault>,
    proof: Proof,
    object: Object,
    now: i64,
    status: WorkflowInstanceStatus,
    unjudged: Vec<Signal>,
    sent: BTreeMap<String, Signal>,
    judged: BTreeSet<String>,
}

impl<'s> Play<'s> {
    fn new(story: &'s Story) -> Self {
        let compiled = compile(&story.definition);
        let actor = |username: &&str| Actor { username: (*username).to_owned(), ..Actor::default() };
        Self {
            story,
            spec: WorkflowInstanceSpec {
                initiator: story.initiator.as_ref().map(actor),
                subjects: story.subjects.iter().map(|subject| (*subject).to_owned()).collect(),
                ..WorkflowInstanceSpec::default()
            },
            settings: Settings {
                administrators: story.administrators.iter().filter_map(|source| Source::compile(source).ok()).collect(),
                max_signal_age: 3600,
            },
            directory: story.directory.clone(),
            faults: compiled.as_ref().err().cloned().unwrap_or_default(),
            graph: compiled.ok(),
            proof: Proof::Since(CREATED_AT - 10),
            object: Object::None,
            now: CREATED_AT,
            status: WorkflowInstanceStatus::default(),
            unjudged: Vec::new(),
            sent: BTreeMap::new(),
            judged: BTreeSet::new(),
        }
    }

    fn happen(&mut self, event: &Event) {
        self.now += event.clock;
        match &event.change {
            Change::Nothing => {}
            Change::Active(number, active) => {
                if let Some(person) = self.directory.identities.get_mut(&identity_name(USERS[*number])) {
                    person.active = *active;
                }
            }
            Change::Members(role, members) => {
                let member = |username: &&str| Member { identity: identity_name(username), ..Member::default() };
                if let Some(role) = self.directory.roles.get_mut(*role) {
                    role.members = members.iter().map(member).collect();
                }
            }
            Change::Rival(None) => {
                self.directory.identities.remove("rival");
            }
            Change::Rival(Some(username)) => {
                let rival = IdentitySpec {
                    username: "rival".to_owned(),
                    aliases: vec![(*username).to_owned()],
                    active: true,
                    ..IdentitySpec::default()
                };
                self.directory.identities.insert("rival".to_owned(), rival);
            }
            Change::Proof(true) => self.proof = Proof::Since(self.now - 1),
            Change::Proof(false) => self.proof = Proof::Broken("no policy".to_owned()),
            Change::Object(object) => self.object = object.clone(),
        }
        for sent in &event.signals {
            let uid = format!("{:04}", (self.sent.len() * 7919) % 10_000);
            let groups = sent.groups.iter().map(|group| (*group).to_owned()).collect();
            let spec = ApprovalSignalSpec {
                instance: "request".to_owned(),
                instance_uid: None,
                step: sent.step.map(str::to_owned),
                partition: sent.partition.map(str::to_owned),
                visit: sent.visit,
                decision: sent.decision,
                comment: sent.comment.then(|| "because".to_owned()),
                actor: sent.actor.map(|username| Actor { username: username.to_owned(), uid: String::new(), groups }),
            };
            let signal = Signal {
                name: format!("signal-{uid}"),
                uid: uid.clone(),
                created_at: self.now - sent.age,
                spec,
                rights: BTreeSet::new(),
            };
            self.sent.insert(uid, signal.clone());
            self.unjudged.push(signal);
        }
    }

    fn compute(&self, status: &WorkflowInstanceStatus, signals: &[Signal]) -> Plan {
        let directory = Arc::new(Snapshot::new(
            self.directory.identities.iter().map(|(name, spec)| (name.as_str(), spec)),
            self.directory.roles.iter().map(|(name, spec)| (name.as_str(), spec)),
        ));
        let definition = match &self.graph {
            Some(graph) => Definition::Usable { graph, revision: "workflow-1" },
            None => Definition::Faulty { name: "definition", faults: &self.faults },
        };
        advance(&Facts {
            instance: Instance {
                name: "request",
                uid: "uid-1",
                generation: Some(1),
                created_at: CREATED_AT,
                spec: &self.spec,
            },
            status,
            definition,
            newest: None,
            signals,
            recorded: &[],
            seen_until: self.now,
            directory: &directory,
            settings: &self.settings,
            proof: &self.proof,
            object: self.object.clone(),
            now: Timestamp::from_second(self.now).expect("a time"),
        })
    }

    /// Computes once, checks what must hold, and takes over what came of it.
    fn operate(&mut self) -> Result<(), TestCaseError> {
        let plan = self.compute(&self.status, &self.unjudged);
        self.keeps_its_promises(&plan)?;
        self.again(&plan)?;
        self.nothing_taken_back(&plan)?;
        self.every_signal_judged_once(&plan)?;
        for decision in &plan.status.decisions[self.status.decisions.len()..] {
            self.rightly_counted(decision)?;
        }
        Self::nobody_counted_twice(&plan.status)?;
        self.approved_by_enough(&plan.status)?;
        for verdict in &plan.verdicts {
            self.judged.insert(verdict.signal.uid.clone());
        }
        let judged = &self.judged;
        self.unjudged.retain(|signal| !judged.contains(&signal.uid));
        self.status = plan.status;
        Ok(())
    }

    fn keeps_its_promises(&self, plan: &Plan) -> Result<(), TestCaseError> {
        let compute = |status: &WorkflowInstanceStatus, signals: &[Signal]| self.compute(status, signals);
        let mut broken = in_any_order(&self.status, &self.unjudged, plan, &compute);
        broken.extend(taken_back(&self.status, &plan.status));
        prop_assert!(broken.is_empty(), "{}", broken.join("\n"));
        Ok(())
    }

    fn again(&self, plan: &Plan) -> Result<(), TestCaseError> {
        let judged = verdicts(plan);
        let rest: Vec<_> = self.unjudged.iter().filter(|signal| !judged.contains_key(&signal.uid)).cloned().collect();
        let other = self.compute(&plan.status, &rest);
        prop_assert_eq!(&plan.status, &other.status, "computing again changes the status");
        prop_assert!(other.notes.is_empty(), "computing again tells {:?}", other.notes);
        // What ended before its signals could be judged judges them the next time.
        let ended = self.status.outcome.is_none() && plan.status.outcome.is_some();
        prop_assert!(ended || other.verdicts.is_empty(), "computing again judges {:?}", other.verdicts);
        prop_assert_eq!(plan.write_back, other.write_back);
        // The status was written, and nothing after it.
        let crashed = verdicts(&self.compute(&plan.status, &self.unjudged));
        for (uid, verdict) in judged.iter().filter(|(_, verdict)| verdict.starts_with("Counted")) {
            prop_assert_eq!(crashed.get(uid), Some(verdict), "a crash changes a verdict that counted");
        }
        Ok(())
    }

    fn nothing_taken_back(&self, plan: &Plan) -> Result<(), TestCaseError> {
        let (before, after) = (&self.status, &plan.status);
        for task in &after.tasks {
            let same = before
                .tasks
                .iter()
                .find(|old| (&old.step, old.visit, &old.partition) == (&task.step, task.visit, &task.partition));
            prop_assert!(same.is_none_or(|old| old.required == task.required), "required changed within a visit");
        }
        for (one, next) in after.steps.iter().zip(after.steps.iter().skip(1)) {
            prop_assert!(
                one.left_at.as_ref().is_some_and(|left| left.0 <= next.entered_at.0),
                "the record goes back in time"
            );
        }
        Ok(())
    }

    fn every_signal_judged_once(&self, plan: &Plan) -> Result<(), TestCaseError> {
        let judged = verdicts(plan);
        prop_assert_eq!(judged.len(), plan.verdicts.len(), "a signal has two verdicts");
        prop_assert!(judged.keys().all(|uid| !self.judged.contains(uid)), "a verdict is given anew");
        let running =
            self.status.started_at.is_some() && self.graph.is_some() && plan.status.outcome != Some(Outcome::Cancelled);
        if matches!(self.proof, Proof::Since(_)) && (running || self.status.outcome.is_some()) {
            prop_assert_eq!(judged.len(), self.unjudged.len(), "a signal has no verdict");
        }
        if matches!(self.proof, Proof::Broken(_)) {
            prop_assert!(judged.is_empty(), "judged without proof");
        }
        Ok(())
    }

    /// Whoever was counted was entitled to it, by another computation than the engine's.
    fn rightly_counted(&self, decision: &CountedDecision) -> Result<(), TestCaseError> {
        let signal = &self.sent[&decision.signal.uid];
        let actor = signal.spec.actor.as_ref().expect("only a proven actor counts");
        prop_assert_eq!(&actor.username, &decision.actor);
        prop_assert!(
            matches!(self.proof, Proof::Since(since) if signal.created_at > since),
            "an unproven signal counted"
        );
        let (step, rule) = self.rule(decision);
        let (through, sources) = match decision.through.strip_prefix("administrators: ") {
            Some(through) => (through, &self.story.administrators),
            None => (decision.through.as_str(), &rule.approvers),
        };
        let source = sources.iter().find(|source| source.to_string() == through).expect("a source of the task");
        prop_assert!(self.matches(source, actor), "{} does not entitle {}", source, actor.username);
        if actor.username == ROBOT {
            prop_assert_eq!(source.user.as_deref(), Some(ROBOT), "a ServiceAccount counted");
        }
        if step.self_approval == SelfApproval::Forbid {
            let barred = self
                .story
                .initiator
                .iter()
                .chain(&self.story.subjects)
                .any(|barred| person(barred) == person(&actor.username));
            prop_assert!(!barred, "{} decided about themselves", actor.username);
        }
        Ok(())
    }

    fn rule(&self, decision: &CountedDecision) -> (&Step, &Rule) {
        let Some(GraphNode::Step(step)) = self.graph.as_ref().and_then(|graph| graph.nodes.get(&decision.step)) else {
            panic!("no step")
        };
        (step, step.partitions.iter().find(|rule| rule.name == decision.partition).expect("a partition"))
    }

    fn matches(&self, source: &ApproverSource, actor: &Actor) -> bool {
        let claims = |name: &str| {
            self.directory
                .identities
                .values()
                .filter(|spec| spec.username == name || spec.aliases.iter().any(|alias| alias == name))
                .count()
        };
        let known = ALIASES.iter().any(|alias| person(alias) == person(&actor.username));
        let names: Vec<&str> = if known {
            vec![
                person(&actor.username),
                ALIASES.iter().copied().find(|alias| person(alias) == person(&actor.username)).expect("an alias"),
            ]
        } else {
            vec![actor.username.as_str()]
        };
        // Contested: counts nowhere.
        if names.iter().any(|name| claims(name) > 1) {
            return false;
        }
        let spec = self.directory.identities.get(&identity_name(person(&actor.username)));
        if spec.is_some_and(|spec| !spec.active || !self.valid(spec.valid_from.as_ref(), spec.valid_until.as_ref())) {
            return false;
        }
        match (&source.user, &source.group, &source.role) {
            (Some(user), ..) => person(user) == person(&actor.username),
            (_, Some(group), _) => actor.groups.contains(group),
            (_, _, Some(role)) => self.granted(actor, known).contains(role.as_str()),
            _ => false,
        }
    }

    fn valid(&self, from: Option<&Time>, until: Option<&Time>) -> bool {
        from.is_none_or(|from| from.0.as_second() <= self.now)
            && until.is_none_or(|until| until.0.as_second() > self.now)
    }

    /// Every role that somebody holds, from what is given to them downwards.
    fn granted(&self, actor: &Actor, known: bool) -> BTreeSet<&str> {
        let mut granted: BTreeSet<&str> = BTreeSet::new();
        let own = identity_name(person(&actor.username));
        for (name, role) in &self.directory.roles {
            let mut periods = role.members.iter().filter(|member| known && member.identity == own);
            if periods.any(|member| self.valid(member.valid_from.as_ref(), member.valid_until.as_ref()))
                || role.groups.iter().any(|group| actor.groups.contains(group))
            {
                granted.insert(name);
            }
        }
        for _ in ROLES {
            let below: Vec<&str> =
                granted.iter().flat_map(|role| &self.directory.roles[*role].subroles).map(String::as_str).collect();
            granted.extend(below);
        }
        granted
    }

    fn nobody_counted_twice(status: &WorkflowInstanceStatus) -> Result<(), TestCaseError> {
        let votes: BTreeSet<_> =
            status.decisions.iter().map(|decision| (&decision.step, decision.visit, person(&decision.actor))).collect();
        prop_assert_eq!(votes.len(), status.decisions.len(), "somebody counted twice in a visit");
        let signals: BTreeSet<_> = status.decisions.iter().map(|decision| &decision.signal.uid).collect();
        prop_assert_eq!(signals.len(), status.decisions.len(), "a signal counted twice");
        Ok(())
    }

    /// Every visit that was left as approved was approved by as many people as each of its partitions needs.
    fn approved_by_enough(&self, status: &WorkflowInstanceStatus) -> Result<(), TestCaseError> {
        for visit in status.steps.iter().filter(|visit| visit.output.as_deref() == Some("approved")) {
            let Some(GraphNode::Step(step)) = self.graph.as_ref().and_then(|graph| graph.nodes.get(&visit.node)) else {
                panic!("no step")
            };
            for rule in &step.partitions {
                let people: BTreeSet<_> = status
                    .decisions
                    .iter()
                    .filter(|decision| decision.decision == Decision::Approve)
                    .filter(|decision| {
                        (&decision.step, decision.visit, &decision.partition) == (&visit.node, visit.visit, &rule.name)
                    })
                    .map(|decision| person(&decision.actor))
                    .collect();
                let task = status
                    .tasks
                    .iter()
                    .find(|task| (&task.step, task.visit, &task.partition) == (&visit.node, visit.visit, &rule.name));
                let needed = match (rule.required, task) {
                    (Required::Number(number), _) => number,
                    (_, Some(task)) => task.required.max(1),
                    (_, None) => 1,
                };
                prop_assert!(
                    people.len() >= needed as usize,
                    "{} of {} approved {} by {:?}",
                    rule.name,
                    visit.node,
                    needed,
                    people
                );
            }
        }
        if status.outcome == Some(Outcome::Approved) {
            let last = status.steps.iter().rev().find(|visit| visit.output.is_some());
            prop_assert_eq!(
                last.and_then(|visit| visit.output.as_deref()),
                Some("approved"),
                "Approved although nobody approved last"
            );
        }
        Ok(())
    }
}

fn verdicts(plan: &Plan) -> BTreeMap<String, String> {
    plan.verdicts
        .iter()
        .map(|verdict| (verdict.signal.uid.clone(), format!("{} {}", verdict.reason, verdict.message)))
        .collect()
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn every_story_keeps_the_rules(story in story()) {
        let mut play = Play::new(&story);
        play.operate()?;
        for event in &story.events {
            play.happen(event);
            play.operate()?;
        }
    }

    #[test]
    fn any_definition_compiles_or_says_where_it_is_wrong(definition in any_definition(), directory in directory()) {
        let roles = directory.roles.iter().map(|(name, spec)| (name.as_str(), spec));
        let directory = Snapshot::new(directory.identities.iter().map(|(name, spec)| (name.as_str(), spec)), roles);
        match compile(&definition) {
            Err(faults) => prop_assert!(!faults.is_empty() && faults.iter().all(|fault| fault.place.starts_with("spec."))),
            Ok(graph) => {
                prop_assert!(graph.nodes.contains_key(&graph.start));
                for step in graph.nodes.keys().filter_map(|name| graph.step(name)) {
                    for target in [step.approved.name(), step.rejected.name()] {
                        prop_assert!(graph.nodes.contains_key(target) || graph.end(target).is_some(), "{target} leads nowhere");
                    }
                    prop_assert_ne!(graph.end(step.rejected.name()), Some(Outcome::Approved));
                    prop_assert!(step.partitions.iter().all(|rule| !rule.approvers.is_empty() && rule.rejections > 0));
                }
                let _ = check(&graph, &directory);
            }
        }
    }
}

/// The most definitions can say: all steps are rejected as soon as they are entered, and lead back in the end. Neither the
/// stack nor the time may run out.
#[test]
fn the_longest_path_ends() {
    const LENGTH: usize = 200;
    let nobody = ApproverSource { user: Some("anna".to_owned()), ..ApproverSource::default() };
    let approval =
        Approval { approvers: vec![nobody], outcome_if_no_approvers: NoApprovers::Reject, ..Approval::default() };
    let nodes = (0..LENGTH).map(|number| Node {
        name: format!("step-{number}"),
        approval: Some(approval.clone()),
        next: BTreeMap::from([("rejected".to_owned(), format!("step-{}", (number + 1) % LENGTH))]),
        ..Node::default()
    });
    let story = Story {
        definition: WorkflowDefinitionSpec { nodes: nodes.collect(), ..WorkflowDefinitionSpec::default() },
        directory: Directory { identities: BTreeMap::new(), roles: BTreeMap::new() },
        administrators: Vec::new(),
        initiator: Some("anna"),
        subjects: Vec::new(),
        events: Vec::new(),
    };
    let fresh = Play::new(&story);
    let plan = fresh.compute(&fresh.status, &[]);
    assert_eq!(plan.status.outcome, Some(Outcome::Failed));
    assert_eq!(plan.status.steps.len(), 20 * LENGTH);
}

/// R34: two hundred people sign in the same instant; everybody is counted once, and the instance advances at once.
#[test]
fn r34_two_hundred_in_one_second() {
    const PEOPLE: usize = 200;
    let group = ApproverSource { group: Some("everybody".to_owned()), ..ApproverSource::default() };
    let required = Some(Quorum::Number(i64::try_from(PEOPLE).expect("a number")));
    let approval = Approval { approvers: vec![group], required, ..Approval::default() };
    let node = Node { name: "one".to_owned(), approval: Some(approval), ..Node::default() };
    let story = Story {
        definition: WorkflowDefinitionSpec { nodes: vec![node], ..WorkflowDefinitionSpec::default() },
        directory: Directory { identities: BTreeMap::new(), roles: BTreeMap::new() },
        administrators: Vec::new(),
        initiator: Some("anna"),
        subjects: Vec::new(),
        events: Vec::new(),
    };
    let signal = |number: usize| {
        let actor =
            Actor { username: format!("person-{number}"), uid: String::new(), groups: vec!["everybody".to_owned()] };
        let spec =
            ApprovalSignalSpec { decision: Decision::Approve, actor: Some(actor), ..ApprovalSignalSpec::default() };
        Signal {
            name: format!("signal-{number}"),
            uid: format!("{:04}", (number * 7919) % 10_000),
            created_at: CREATED_AT,
            spec,
        }
    };
    let fresh = Play::new(&story);
    let plan = fresh.compute(&fresh.status, &(0..PEOPLE).map(signal).collect::<Vec<_>>());
    assert_eq!(plan.status.outcome, Some(Outcome::Approved));
    assert_eq!(plan.status.decisions.len(), PEOPLE);
    assert!(plan.verdicts.iter().all(|verdict| verdict.reason.counted()));
}

/// The stories are worth playing: enough of them start, and end in every way.
#[test]
fn stories_are_varied() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut outcomes: BTreeMap<String, u32> = BTreeMap::new();
    let mut faulty = 0;
    let mut counted = 0;
    for _ in 0..100 {
        let story = story().new_tree(&mut runner).expect("a story").current();
        let mut play = Play::new(&story);
        faulty += u32::from(play.graph.is_none());
        for event in &story.events {
            play.happen(event);
            let done = play.compute(&play.status, &play.unjudged);
            play.unjudged.retain(|signal| !done.verdicts.iter().any(|verdict| verdict.signal.uid == signal.uid));
            play.status = done.status;
        }
        counted += play.status.decisions.len();
        *outcomes.entry(format!("{:?}", play.status.outcome)).or_default() += 1;
    }
    for outcome in ["Some(Approved)", "Some(Rejected)", "Some(Cancelled)", "None"] {
        assert!(
            outcomes.get(outcome).is_some_and(|times| *times >= 5),
            "{outcomes:?}, {counted} decisions, {faulty} faulty"
        );
    }
    assert!(counted >= 60, "{outcomes:?}, {counted} decisions, {faulty} faulty");
}
