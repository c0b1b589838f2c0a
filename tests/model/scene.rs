//! What a search is about: a definition, the directories that follow one another, the alphabet of signals, the bounds.

use crate::shell::{Shell, Turns};
use quorate::api::{
    Actor, ApprovalSignalSpec, BusinessRoleSpec, Decision, DelegationSpec, IdentitySpec, Member, Outcome,
    WorkflowDefinitionSpec, WorkflowInstanceSpec,
};
use quorate::directory::{Snapshot, Standing};
use quorate::engine::graph::{Graph, check, compile};
use quorate::engine::source::Source;
use quorate::engine::{Proof, Settings, Signal};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The second in which the instance is created; the model's clock counts from it.
pub const CREATED_AT: i64 = 1_800_000_000;

/// Who asks in every scene, and may decide in none.
pub const INITIATOR: &str = "ivan";

/// At most so many signals: their bits are packed.
pub const MAX_LETTERS: usize = 8;

/// At most so many different seconds: two bits.
pub const MAX_SECONDS: u8 = 4;

/// Members of the roles, as they are in one directory: role → usernames.
pub type Roles = &'static [(&'static str, &'static [&'static str])];

/// What a search is about, as it is written down.
#[derive(Clone)]
pub struct Scene {
    /// For messages.
    pub name: &'static str,
    /// The definition, in the users' format.
    pub definition: &'static str,
    /// The directory at the start, and what it becomes.
    pub directories: &'static [Roles],
    /// Who stands in.
    pub administrators: &'static [&'static str],
    /// The signals that people may send, each once; twice where it is listed twice.
    pub letters: Vec<Letter>,
    /// How many seconds the clock knows.
    pub seconds: u8,
    /// How many of the letters, and of the seconds, there are where both replicas work: many more states than with one.
    pub together: (usize, u8),
    /// What waits for the outcome.
    pub object: Waiting,
    /// Whether an operator's clock may be a second behind.
    pub slow_clocks: bool,
    /// For how many seconds a letter that was stamped may be on its way to the server.
    pub in_flight: u8,
    /// Who decides for whom, in every directory: principal and delegate.
    pub delegations: &'static [(&'static str, &'static str)],
    /// Every outcome that can come of it: none may be missing.
    pub outcomes: &'static [Outcome],
    /// How the operators carry out plans.
    pub shell: Shell,
}

impl Scene {
    /// The scene, played so.
    pub fn by(mut self, shell: Shell) -> Self {
        if shell.turns == Turns::Together {
            self.letters.truncate(self.together.0);
            self.seconds = self.seconds.min(self.together.1);
        }
        Self { shell, ..self }
    }
}

/// Whether an object waits for the outcome.
#[derive(Clone, Copy, Eq, PartialEq)]
pub enum Waiting {
    /// None does.
    None,
    /// One does, and nobody else touches it.
    Object,
    /// One does, and it may vanish, or be decided elsewhere, before this instance decides it.
    Contested,
}

/// A signal that somebody may send.
#[derive(Clone, Copy, Debug)]
pub struct Letter {
    /// Who.
    pub actor: &'static str,
    /// What.
    pub decision: Decision,
    /// spec.step.
    pub step: Option<&'static str>,
    /// spec.partition.
    pub partition: Option<&'static str>,
    /// spec.visit.
    pub visit: Option<u32>,
    /// spec.delegateTo.
    pub to: Option<&'static str>,
}

impl Letter {
    const fn of(actor: &'static str, decision: Decision) -> Self {
        Self { actor, decision, step: None, partition: None, visit: None, to: None }
    }
}

/// Somebody approves.
pub const fn approve(actor: &'static str) -> Letter {
    Letter::of(actor, Decision::Approve)
}

/// Somebody rejects.
pub const fn reject(actor: &'static str) -> Letter {
    Letter::of(actor, Decision::Reject)
}

/// Somebody withdraws the request.
pub const fn cancel(actor: &'static str) -> Letter {
    Letter::of(actor, Decision::Cancel)
}

/// Somebody hands the task over; to themselves: they take it back.
pub const fn delegate(actor: &'static str, to: &'static str) -> Letter {
    Letter { to: Some(to), ..Letter::of(actor, Decision::Delegate) }
}

impl Letter {
    /// Names the step.
    pub const fn step(mut self, step: &'static str) -> Self {
        self.step = Some(step);
        self
    }

    /// Names the partition.
    pub const fn partition(mut self, partition: &'static str) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Names the visit.
    pub const fn visit(mut self, visit: u32) -> Self {
        self.visit = Some(visit);
        self
    }
}

/// A scene, ready to be played.
pub struct Stage {
    /// As it was written down.
    pub scene: Scene,
    /// The definition, read.
    pub definition: WorkflowDefinitionSpec,
    /// The definition, compiled by the engine.
    pub graph: Graph,
    /// The directories, one after the other.
    pub directories: Vec<Arc<Snapshot>>,
    /// The spec of the instance.
    pub instance: WorkflowInstanceSpec,
    /// What the installation sets.
    pub settings: Settings,
    /// The proof, which never breaks here.
    pub proof: Proof,
}

impl Stage {
    /// Reads and checks a scene.
    pub fn new(scene: Scene) -> Self {
        assert!(scene.letters.len() <= MAX_LETTERS, "{}: too many letters", scene.name);
        assert!((1..=MAX_SECONDS).contains(&scene.seconds), "{}: too many seconds", scene.name);
        let definition: WorkflowDefinitionSpec = serde_saphyr::from_str(scene.definition).expect("a definition");
        let graph = compile(&definition).expect("a definition without faults");
        let directories: Vec<Arc<Snapshot>> =
            scene.directories.iter().map(|roles| Arc::new(snapshot(&scene, roles))).collect();
        for directory in &directories {
            assert!(check(&graph, directory).is_empty(), "{}: the directory lacks something", scene.name);
        }
        let administrators = scene.administrators.iter().map(|name| Source::User((*name).to_owned()));
        Self {
            definition,
            graph,
            directories,
            instance: WorkflowInstanceSpec { initiator: Some(actor(INITIATOR)), ..WorkflowInstanceSpec::default() },
            settings: Settings { administrators: administrators.collect(), max_signal_age: 3600 },
            proof: Proof::Since(CREATED_AT - 10),
            scene,
        }
    }

    /// The signal that a letter becomes when it is sent in that second. Its uid follows the letter, so that uids and the order
    /// of sending are independent.
    pub fn signal(&self, letter: usize, second: u16) -> Signal {
        let written = &self.scene.letters[letter];
        Signal {
            name: format!("signal-{letter}"),
            uid: letter.to_string(),
            created_at: CREATED_AT + i64::from(second),
            spec: ApprovalSignalSpec {
                instance: "request".to_owned(),
                instance_uid: None,
                step: written.step.map(str::to_owned),
                partition: written.partition.map(str::to_owned),
                visit: written.visit,
                delegate_to: written.to.map(str::to_owned),
                decision: written.decision,
                actor: Some(actor(written.actor)),
                ..ApprovalSignalSpec::default()
            },
            rights: BTreeSet::new(),
        }
    }
}

fn actor(username: &str) -> Actor {
    Actor { username: username.to_owned(), ..Actor::default() }
}

/// A username and its alias are one person, worked out from the names alone.
pub fn person(username: &str) -> &str {
    username.strip_suffix("@github").unwrap_or(username)
}

/// Everybody who is a member of a role somewhere has an Identity, with an alias.
fn snapshot(scene: &Scene, roles: Roles) -> Snapshot {
    let names = scene.directories.iter().flat_map(|roles| roles.iter()).flat_map(|(_, members)| members.iter());
    let identities: BTreeMap<String, IdentitySpec> = names
        .map(|name| {
            let spec = IdentitySpec {
                username: (*name).to_owned(),
                aliases: vec![format!("{name}@github")],
                active: true,
                ..IdentitySpec::default()
            };
            ((*name).to_owned(), spec)
        })
        .collect();
    let roles: BTreeMap<&str, BusinessRoleSpec> = roles
        .iter()
        .map(|(role, members)| {
            let member = |name: &&str| Member { identity: (*name).to_owned(), ..Member::default() };
            (*role, BusinessRoleSpec { members: members.iter().map(member).collect(), ..BusinessRoleSpec::default() })
        })
        .collect();
    Snapshot::new(
        identities.iter().map(|(name, spec)| (name.as_str(), spec)),
        roles.iter().map(|(name, spec)| (*name, spec)),
    )
    .with_delegations(scene.delegations.iter().map(|(principal, delegate)| Standing {
        name: format!("{principal}-{delegate}"),
        uid: format!("{principal}-{delegate}"),
        created_at: CREATED_AT - 10,
        spec: DelegationSpec {
            to: (*delegate).to_owned(),
            principal: Some(actor(principal)),
            ..DelegationSpec::default()
        },
    }))
}
