//! Asks the real engine, once for each different question, and holds what it answered: statuses and plans get a small number
//! each, so that a state of the world is a few words. Every new answer is checked before anybody may carry it out.

use crate::properties::{self, Violation};
use crate::scene::{CREATED_AT, Stage, Waiting};
use crate::shell::Flaw;
use jiff::Timestamp;
use quorate::api::{Decision, Outcome, StepVisit, WorkflowInstanceStatus, condition, seconds};
use quorate::engine::{self, Definition, Facts, Instance, Plan, Signal, advance};
use std::collections::{BTreeSet, HashMap};

/// A stored status, by number.
pub type StatusId = u16;

/// A plan, by number; 0 is none.
pub type PlanId = u16;

/// What the engine is asked.
#[derive(Clone, Copy)]
pub struct Question {
    /// The copy of the status.
    pub status: StatusId,
    /// The signals seen without verdict: a bit each.
    pub seen: u8,
    /// The seconds in which all signals were sent, two bits each.
    pub seconds: u16,
    /// Which directory.
    pub directory: u8,
    /// In which second all signals were listed; 0 if not.
    pub listed: u8,
    /// What is known of the object.
    pub object: Object,
    /// The moment.
    pub now: u8,
}

/// The object that waits, as the API server has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Object {
    /// Nobody has decided it; where none exists, it stays so.
    Waiting,
    /// This instance approved it.
    Approved,
    /// This instance denied it.
    Denied,
    /// It vanished, or somebody else decided it.
    Gone,
}

/// What is known of a status.
pub struct Known {
    /// The status itself.
    pub status: WorkflowInstanceStatus,
    /// The signals that it records as counted: a bit each.
    pub recorded: u8,
    /// The end that its path has reached.
    pub end: Option<Outcome>,
    /// Whether it stands where the operation is carried out, or is past that.
    pub executes: bool,
    /// Whether the withdrawal of the request counted.
    pub withdrawn: bool,
    /// The second of the deadline that runs.
    pub deadline: Option<u8>,
    /// Those visits that ended because their time was over: how many, and the second of the last one's deadline.
    pub expired: (usize, u8),
    /// Whether it says that the outcome is being written: then the object is read, not taken from a watch.
    writing_back: bool,
}

/// What is left of a plan: who gets which verdict, what is written where.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Deed {
    /// The new status.
    pub status: StatusId,
    /// Whether it differs from the one it was computed from.
    pub changed: bool,
    /// The signals that get a verdict.
    pub verdicts: u8,
    /// Those of them that get `Counted`.
    pub counted: u8,
    /// The outcome to write to the object: 0 none, 1 approved, 2 denied.
    pub write_back: u8,
}

/// The engine with its memory.
pub struct Oracle {
    /// The scene.
    pub stage: Stage,
    statuses: Vec<Known>,
    numbers: HashMap<String, StatusId>,
    deeds: Vec<Deed>,
    deed_numbers: HashMap<Deed, PlanId>,
    answers: HashMap<u64, PlanId>,
    /// Pairs of statuses of which the second may follow the first.
    followed: BTreeSet<(StatusId, StatusId)>,
}

impl Oracle {
    /// An oracle that has not been asked; status 0 is the empty one.
    pub fn new(stage: Stage) -> Self {
        let none = Deed { status: 0, changed: false, verdicts: 0, counted: 0, write_back: 0 };
        let mut oracle = Self {
            stage,
            statuses: Vec::new(),
            numbers: HashMap::new(),
            deeds: vec![none],
            deed_numbers: HashMap::new(),
            answers: HashMap::new(),
            followed: BTreeSet::new(),
        };
        oracle.number(&WorkflowInstanceStatus::default());
        oracle
    }

    /// What is known of a status.
    pub fn known(&self, status: StatusId) -> &Known {
        &self.statuses[usize::from(status)]
    }

    /// A plan.
    pub fn deed(&self, plan: PlanId) -> Deed {
        self.deeds[usize::from(plan)]
    }

    /// How many different statuses came up.
    pub fn status_count(&self) -> usize {
        self.statuses.len()
    }

    /// How many different questions were asked.
    pub fn question_count(&self) -> usize {
        self.answers.len()
    }

    /// What is worth a word came up in some status.
    pub fn occurred(&self) -> impl Iterator<Item = &'static str> {
        self.statuses.iter().flat_map(|known| {
            let decisions = &known.status.decisions;
            let vote_for = |way| {
                decisions.iter().any(|counted| {
                    let handed = decisions.iter().any(|other| other.delegate_to.as_ref() == Some(&counted.actor));
                    counted.decision.is_vote() && counted.on_behalf_of.is_some() && handed == way
                })
            };
            let past = known.status.steps.iter().any(|visit| visit.output.as_deref() == Some("done"));
            [
                (vote_for(true), "a vote after a hand-over"),
                (vote_for(false), "a vote by a standing delegation"),
                (known.withdrawn, "a withdrawal"),
                (known.expired.0 > 0, "a step whose time was over"),
                (known.expired.0 > 0 && known.end.is_none(), "a step after it"),
                (past && known.end == Some(Outcome::Rejected), "a rejection after the operation"),
            ]
            .into_iter()
            .filter_map(|(occurred, what)| occurred.then_some(what))
        })
    }

    /// The outcomes that some status has.
    pub fn outcome_of(&self, status: StatusId) -> Option<Outcome> {
        self.known(status).status.outcome
    }

    /// What a replica knows of the object: the watch's word as long as that is that it waits, else the object itself (as
    /// `gather` does).
    pub fn observed(&self, status: StatusId, current: bool, object: Object) -> Object {
        let read = current || self.known(status).writing_back;
        if read { object } else { Object::Waiting }
    }

    /// What is to be done, 0 if nothing.
    pub fn ask(&mut self, question: Question) -> Result<PlanId, Violation> {
        let key = self.key(question);
        if let Some(answer) = self.answers.get(&key) {
            return Ok(*answer);
        }
        let before = self.known(question.status).status.clone();
        let signals = self.signals(question);
        let plan = self.advance(question, &before, &signals);
        self.check(question, &before, &signals, &plan)?;
        let deed = Deed {
            status: self.number(&plan.status),
            changed: plan.status != before,
            verdicts: mask(plan.verdicts.iter().map(|verdict| verdict.signal.uid.as_str())),
            counted: mask(
                plan.verdicts
                    .iter()
                    .filter(|verdict| verdict.reason.counted())
                    .map(|verdict| verdict.signal.uid.as_str()),
            ),
            write_back: match plan.write_back {
                None => 0,
                Some(Outcome::Approved) => 1,
                Some(_) => 2,
            },
        };
        let nothing = !deed.changed && deed.verdicts == 0 && deed.write_back == 0;
        let answer = if nothing { 0 } else { self.deed_number(deed) };
        self.answers.insert(key, answer);
        Ok(answer)
    }

    /// Whether one stored status may be followed by the other.
    pub fn may_follow(&mut self, before: StatusId, after: StatusId) -> Result<(), Violation> {
        if !self.followed.contains(&(before, after)) {
            properties::follows(&self.stage, &self.known(before).status, &self.known(after).status)?;
            self.followed.insert((before, after));
        }
        Ok(())
    }

    /// The one place where facts are put together; as `gather` does, a finished instance is judged without its definition.
    fn advance(&self, question: Question, status: &WorkflowInstanceStatus, signals: &[Signal]) -> Plan {
        let stage = &self.stage;
        let finished = status.outcome.is_some();
        let definition = if finished {
            Definition::Missing(String::new())
        } else {
            Definition::Usable { graph: &stage.graph, revision: "workflow-1" }
        };
        let object = match (stage.scene.object, question.object) {
            (Waiting::None, _) => engine::Object::None,
            _ if finished => engine::Object::None,
            (_, Object::Waiting) => engine::Object::Waiting,
            (_, Object::Approved) => engine::Object::Decided(true),
            (_, Object::Denied) => engine::Object::Decided(false),
            (_, Object::Gone) => engine::Object::Gone("it is gone".to_owned()),
        };
        advance(&Facts {
            instance: Instance {
                namespace: "default",
                name: "request",
                uid: "uid-1",
                generation: Some(1),
                created_at: CREATED_AT,
                spec: &stage.instance,
            },
            status,
            definition,
            newest: None,
            signals,
            recorded: &[],
            seen_until: self.seen_until(question),
            directory: &stage.directories[usize::from(question.directory)],
            settings: &stage.settings,
            proof: &stage.proof,
            object,
            performed: None,
            now: Timestamp::from_second(CREATED_AT + i64::from(question.now)).expect("a moment"),
        })
    }

    /// Until when everything that was sent is known, given when it was listed.
    fn seen_until(&self, question: Question) -> i64 {
        match question.listed {
            0 => i64::MIN,
            listed => {
                let early = self.stage.scene.shell.flaw == Some(Flaw::SeenTooEarly);
                let in_flight = if early { 0 } else { self.stage.scene.in_flight };
                CREATED_AT + i64::from(listed) - 1 - i64::from(in_flight)
            }
        }
    }

    /// Everything that must hold of one answer.
    fn check(
        &self,
        question: Question,
        before: &WorkflowInstanceStatus,
        signals: &[Signal],
        plan: &Plan,
    ) -> Result<(), Violation> {
        properties::of_status(&self.stage, &plan.status)?;
        properties::follows(&self.stage, before, &plan.status)?;
        properties::of_verdicts(before, plan, signals)?;
        properties::entitled(&self.stage, usize::from(question.directory), before, &plan.status)?;
        let twice: Vec<Signal> = signals.iter().rev().chain(signals).cloned().collect();
        properties::same_answer(plan, &self.advance(question, before, &twice))?;
        let now = CREATED_AT + i64::from(question.now);
        properties::in_time(before, plan, signals, self.seen_until(question), now)?;
        if plan.status != *before && !plan.verdicts.is_empty() {
            let strict = self.stage.scene.shell.promises_same_verdicts;
            properties::judged_again(plan, &self.advance(question, &plan.status, signals), signals, strict)?;
        }
        let judged = mask(plan.verdicts.iter().map(|verdict| verdict.signal.uid.as_str()));
        let rest = Question { seen: question.seen & !judged, ..question };
        properties::nothing_more(plan, &self.advance(rest, &plan.status, &self.signals(rest)))
    }

    fn signals(&self, question: Question) -> Vec<Signal> {
        let letters = 0..self.stage.scene.letters.len();
        let seen = letters.filter(|letter| question.seen & (1 << letter) != 0);
        seen.map(|letter| self.stage.signal(letter, question.seconds >> (2 * letter) & 3)).collect()
    }

    fn key(&self, question: Question) -> u64 {
        let mut seconds = 0;
        for letter in 0..self.stage.scene.letters.len() {
            if question.seen & (1 << letter) != 0 {
                seconds |= u64::from(question.seconds) & (3 << (2 * letter));
            }
        }
        u64::from(question.status)
            | u64::from(question.seen) << 16
            | seconds << 24
            | u64::from(question.directory) << 40
            | u64::from(question.listed) << 44
            | (question.object as u64) << 48
            | u64::from(question.now) << 56
    }

    fn number(&mut self, status: &WorkflowInstanceStatus) -> StatusId {
        let text = serde_json::to_string(status).expect("a status is JSON");
        if let Some(number) = self.numbers.get(&text) {
            return *number;
        }
        let number = StatusId::try_from(self.statuses.len()).expect("few statuses");
        let completed = condition(&status.conditions, "Completed");
        let visit = status.steps.last().filter(|visit| visit.left_at.is_none());
        let second = |time| u8::try_from(seconds(time) - CREATED_AT).expect("a second of the model");
        let expired = || status.steps.iter().filter(|visit| visit.output.as_deref() == Some("expired"));
        let executes = |visit: &StepVisit| properties::executes(&self.stage.definition, &visit.node);
        self.statuses.push(Known {
            executes: status.steps.iter().any(executes),
            withdrawn: status.decisions.iter().any(|counted| counted.decision == Decision::Cancel),
            deadline: visit.and_then(|visit| visit.deadline.as_ref()).map(second),
            expired: (
                expired().count(),
                expired().next_back().and_then(|visit| visit.deadline.as_ref()).map(second).unwrap_or_default(),
            ),
            recorded: mask(status.decisions.iter().map(|decision| decision.signal.uid.as_str())),
            end: status.steps.last().and_then(|visit| properties::end_of(&self.stage.definition, &visit.node)),
            writing_back: completed.is_some_and(|completed| completed.reason == "WritingBack"),
            // What is read back is what was written.
            status: serde_json::from_str(&text).expect("a status"),
        });
        self.numbers.insert(text, number);
        number
    }

    fn deed_number(&mut self, deed: Deed) -> PlanId {
        if let Some(number) = self.deed_numbers.get(&deed) {
            return *number;
        }
        let number = PlanId::try_from(self.deeds.len()).expect("few plans");
        assert!(number < 1 << 14, "few plans");
        self.deeds.push(deed);
        self.deed_numbers.insert(deed, number);
        number
    }
}

fn mask<'a>(uids: impl Iterator<Item = &'a str>) -> u8 {
    uids.fold(0, |mask, uid| mask | 1 << uid.parse::<u8>().expect("the uid of a letter"))
}
