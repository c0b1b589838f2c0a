//! Who is left to decide the open tasks of a visit, and when the administrators stand in (rules 4, 6).

use super::advance::Run;
use super::eligibility::{Asked, Judge, people_of};
use super::graph::{Rule, Step};
use super::handover::Handover;
use super::source::Source;
use crate::api::{ApproverSummary, CountedDecision, Decision, StepVisit, Task, TaskState};
use crate::directory::delegations::Substitutions;
use crate::directory::{Snapshot, looks};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

/// Who is left to decide a task.
pub(super) struct Stock {
    /// Whom the sources name.
    pub(super) asked: Vec<Asked>,
    /// Listed people who have not decided in this visit.
    pub(super) left: BTreeSet<String>,
    /// The administrators, where they stand in.
    pub(super) stand_in: Option<StandIn>,
    /// What was handed over and not taken back, by the key of the principal.
    pub(super) handovers: BTreeMap<String, Handover>,
}

/// The administrators who stand in.
pub(super) struct StandIn {
    pub(super) asked: Vec<Asked>,
    pub(super) left: BTreeSet<String>,
}

impl Stock {
    /// Whether there may be people whom the directory does not list.
    pub(super) fn is_open(&self) -> bool {
        self.asked.iter().any(|asked| asked.is_open() || asked.failed.is_some())
    }

    /// Whether nobody may decide.
    pub(super) fn is_empty(&self) -> bool {
        !self.is_open() && self.left.is_empty()
    }

    /// Why it cannot be told whom a source means.
    pub(super) fn failed(&self) -> Option<&str> {
        self.asked.iter().find_map(|asked| asked.failed.as_deref())
    }

    /// Everybody who is asked: the sources, then the administrators who stand in.
    pub(super) fn everybody(&self) -> impl Iterator<Item = &Asked> {
        self.asked.iter().chain(self.stand_in.iter().flat_map(|stand_in| &stand_in.asked))
    }

    /// Whether the principal of a hand-over is still asked: the directory of this moment says so of whoever it lists; a group was
    /// proven when they handed it over.
    pub(super) fn still_asks(&self, principal: &str, handover: &Handover) -> bool {
        self.everybody()
            .any(|asked| asked.people.contains_key(principal) || (asked.label == handover.through && asked.is_open()))
    }

    /// The sources, and who decides for whom.
    fn summary(&self, substitutions: &Substitutions<'_>, judge: Option<&Judge<'_>>) -> Vec<ApproverSummary> {
        let mut summary: Vec<ApproverSummary> = self.everybody().map(Asked::summary).collect();
        let mut standing: BTreeSet<(&str, &str)> = BTreeSet::new();
        standing.extend(self.everybody().flat_map(|asked| substitutions.delegates(&asked.people, asked.role())));
        // A hand-over counts while its principal is asked.
        let handed = self.handovers.iter().filter(|(person, handover)| self.still_asks(person, handover));
        let handed = handed.map(|(_, handover)| (handover.holder(), handover.principal.as_str()));
        let given = |principal: &str| self.handovers.values().any(|handover| handover.principal == principal);
        let handed = handed.map(|(holder, principal)| ("handed over by", holder, principal));
        // Whoever may not decide is nobody's delegate here.
        let may = |delegate: &str| judge.is_some_and(|judge| judge.out(delegate).is_none());
        let standing = standing.into_iter().filter(|(delegate, principal)| !given(principal) && may(delegate));
        let standing = standing.map(|(delegate, principal)| ("delegate of", delegate, principal));
        summary.extend(handed.chain(standing).map(|(how, holder, principal)| ApproverSummary {
            source: format!("{how} {principal}"),
            count: Some(1),
            names: vec![holder.to_owned()],
        }));
        summary
    }
}

impl StandIn {
    pub(super) fn is_open(&self) -> bool {
        self.asked.iter().any(Asked::is_open)
    }
}

/// Who might have decided in a visit that is over.
pub(super) struct Bygone<'a> {
    pub(super) judge: Judge<'a>,
    /// By partition; the administrators included, since it is not known any more whether they stood in.
    pub(super) asked: Vec<(String, Vec<Asked>)>,
}

/// Who has voted in the current visit: one vote per person, under whatever name (rule 7).
#[derive(Default)]
pub(super) struct Voted {
    /// By the key of the person: the vote.
    people: HashMap<String, usize>,
    /// By the key of whoever looks like somebody unknown who voted.
    alike: HashMap<String, usize>,
    /// By what the names of those who voted look like, for those who are unknown.
    faces: HashMap<String, usize>,
}

impl Voted {
    fn add(&mut self, position: usize, people: Vec<(String, String)>, directory: &Snapshot) {
        for (username, person) in people {
            for identity in directory.alike(&username) {
                self.alike.entry(Snapshot::identified(identity)).or_insert(position);
            }
            for face in directory.faces_of(&username) {
                self.faces.entry(face).or_insert(position);
            }
            self.people.entry(person).or_insert(position);
        }
    }
}

impl<'a> Run<'a> {
    /// Resolves who may decide the open tasks of the current visit.
    pub(super) fn take_stock(&mut self) {
        self.stocks.clear();
        self.voted = Voted::default();
        let Some((visit, step)) = self.current_step() else {
            self.judge = None;
            return;
        };
        let judge = Judge::new(self.facts, step, visit, &self.status.decisions);
        let mut voted = Voted::default();
        for (position, decision) in self.status.decisions.iter().enumerate() {
            if decision.step == visit.node && decision.visit == visit.visit && decision.decision.is_vote() {
                voted.add(position, people_of(self.facts, decision), self.facts.directory);
            }
        }
        let stocks = step.partitions.iter().map(|rule| {
            let asked = self.asked(&judge, visit, step, rule);
            let listed = asked.iter().flat_map(|asked| asked.people.keys());
            let left = listed.filter(|person| !voted.people.contains_key(*person)).cloned().collect();
            Stock { asked, left, stand_in: None, handovers: self.handovers(visit, &rule.name) }
        });
        self.stocks = stocks.collect();
        self.voted = voted;
        self.judge = Some(judge);
        self.administrators = None;
        if self.status.tasks.iter().all(|task| task.required > 0) {
            self.call_stand_ins();
        }
    }

    /// Who might have decided in a visit that is over, as far as the facts of this moment tell.
    pub(super) fn bygone(&self, visit: &StepVisit) -> Option<Rc<Bygone<'a>>> {
        let step = self.graph()?.step(&visit.node)?;
        let key = (visit.node.clone(), visit.visit);
        if let Some(known) = self.bygone.borrow().get(&key) {
            return Some(known.clone());
        }
        let judge = Judge::new(self.facts, step, visit, &self.status.decisions);
        let partitions = step.partitions.iter().map(|rule| {
            let mut asked = self.asked(&judge, visit, step, rule);
            let administrators = self.facts.settings.administrators.iter();
            asked.extend(administrators.map(|source| judge.resolve(source, source.to_string(), None)));
            (rule.name.clone(), asked)
        });
        let asked = partitions.collect();
        let bygone = Rc::new(Bygone { judge, asked });
        self.bygone.borrow_mut().insert(key, bygone.clone());
        Some(bygone)
    }

    /// Whom a partition asks: its sources, or whom an administrator named instead; whom one named besides; the levels of
    /// escalation that have been called.
    pub(super) fn asked(&self, judge: &Judge<'_>, visit: &StepVisit, step: &Step, rule: &Rule) -> Vec<Asked> {
        let changes = self.status.decisions.iter().filter(|decision| {
            decision.step == visit.node && decision.visit == visit.visit && decision.partition == rule.name
        });
        let mut asked: Vec<Asked> =
            rule.approvers.iter().map(|source| judge.resolve(source, source.to_string(), None)).collect();
        for change in changes {
            let named = change.approvers.iter().filter_map(Source::named);
            let verb = match change.decision {
                Decision::Reassign => {
                    asked.clear();
                    "reassigned"
                }
                Decision::AddApprovers => "added",
                _ => continue,
            };
            asked.extend(named.map(|source| judge.resolve(&source, format!("{verb}: {source}"), None)));
        }
        for (level, escalation) in (1..=visit.escalated).zip(&step.escalations) {
            // The managers of whoever was asked before, also of those who were called in at the level before.
            let usernames: BTreeSet<String> = asked.iter().flat_map(|asked| asked.people.values().cloned()).collect();
            let usernames: Vec<String> = usernames.into_iter().collect();
            asked.extend(escalation.approvers.iter().map(|source| {
                let label = format!("escalation {level}: {source}");
                Asked { level, ..judge.resolve(source, label, Some(&usernames)) }
            }));
        }
        asked
    }

    /// Adds the administrators to every open task that its own sources cannot complete any more (rules 4, 6), and to no other:
    /// what is asked now follows from what is recorded, not from how it came to that.
    pub(super) fn call_stand_ins(&mut self) {
        for position in 0..self.stocks.len().min(self.status.tasks.len()) {
            let (task, stock) = (&self.status.tasks[position], &self.stocks[position]);
            let short =
                task.state == TaskState::Open && !stock.is_open() && reachable(task, stock.left.len()) < task.required;
            if !short {
                self.stocks[position].stand_in = None;
                continue;
            }
            let Some(judge) = &self.judge else { continue };
            let asked = self.administrators.get_or_insert_with(|| {
                let sources = self.facts.settings.administrators.iter();
                sources.map(|source| judge.resolve(source, format!("administrators: {source}"), None)).collect()
            });
            let mut listed: BTreeMap<&String, &String> = BTreeMap::new();
            listed.extend(asked.iter().flat_map(|asked| &asked.people));
            let left = listed
                .into_iter()
                .filter(|(person, _)| !stock.left.contains(*person) && !self.voted.people.contains_key(*person))
                .map(|(person, _)| person.clone())
                .collect();
            let asked = asked.clone();
            self.stocks[position].stand_in = Some(StandIn { asked, left });
        }
    }

    /// Takes note of a vote that has just been recorded as the last decision.
    pub(super) fn voted(&mut self) {
        let Some(decision) = self.status.decisions.last() else { return };
        let people = people_of(self.facts, decision);
        for stock in &mut self.stocks {
            for (_, person) in &people {
                stock.left.remove(person);
            }
        }
        self.voted.add(self.status.decisions.len() - 1, people, self.facts.directory);
    }

    /// The vote of this person in the current visit, if any: their own, one that they gave for somebody, or one that somebody
    /// gave for them.
    pub(super) fn vote_of(&self, username: &str) -> Option<&CountedDecision> {
        let position = self.voted.people.get(&self.facts.directory.person(username))?;
        self.status.decisions.get(*position)
    }

    /// A vote in the current visit of somebody whose name looks like this one, and whom the directory does not tell apart.
    pub(super) fn vote_alike(&self, username: &str) -> Option<&CountedDecision> {
        let directory = self.facts.directory;
        let position = if directory.identity_of(username).is_some() {
            self.voted.alike.get(&directory.person(username))?
        } else {
            self.voted.faces.get(&looks(username))?
        };
        self.status.decisions.get(*position)
    }

    /// Writes the approvers of open tasks into the status.
    pub(super) fn refresh_tasks(&mut self) {
        let facts = self.facts;
        let substitutions = self.substitutions.get_or_init(|| facts.directory.substitutions(facts.now));
        for (task, stock) in self.status.tasks.iter_mut().zip(&self.stocks) {
            if task.state == TaskState::Open {
                task.approvers = stock.summary(substitutions, self.judge.as_ref());
            }
        }
    }
}

/// How many approvals a task can still come to when so many people are left.
pub(super) fn reachable(task: &Task, left: usize) -> u32 {
    u32::try_from(left).unwrap_or(u32::MAX).saturating_add(task.approvals)
}
