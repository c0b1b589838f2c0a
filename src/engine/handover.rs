//! Who decides a task for whom: directly, because it was handed over, or as a standing substitute (rule 5).

use super::advance::Run;
use super::eligibility::{Asked, Denied};
use super::stock::Stock;
use super::{Reason, Refusal, Right, Signal};
use crate::api::{Actor, CountedDecision, Decision, StepVisit};
use crate::directory::delegations::{MAX_DEPTH, SERVICE_ACCOUNT, Substitutions};
use std::collections::{BTreeMap, BTreeSet};

/// By what right somebody decides a task.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Title {
    /// The source, e.g. `group enrollment-approvers`.
    pub(super) through: String,
    /// Whose vote it is, where that is somebody else's.
    pub(super) on_behalf_of: Option<String>,
}

/// A task that somebody handed over.
pub(super) struct Handover {
    /// Who did: their username, and the source that named them.
    pub(super) principal: String,
    pub(super) through: String,
    /// Who had it since, by username; the last one has it now.
    pub(super) chain: Vec<String>,
}

impl Handover {
    /// Who has the task now.
    pub(super) fn holder(&self) -> &str {
        self.chain.last().map_or(self.principal.as_str(), String::as_str)
    }
}

impl<'a> Run<'a> {
    /// The tasks of this visit that were handed over and not taken back, by the key of the principal.
    pub(super) fn handovers(&self, visit: &StepVisit, partition: &str) -> BTreeMap<String, Handover> {
        let mut found: BTreeMap<String, Handover> = BTreeMap::new();
        for decision in &self.status.decisions {
            let here = decision.step == visit.node && decision.visit == visit.visit && decision.partition == partition;
            let (true, Decision::Delegate, Some(to)) = (here, decision.decision, &decision.delegate_to) else {
                continue;
            };
            let principal = decision.on_behalf_of.as_ref().unwrap_or(&decision.actor);
            let key = self.facts.directory.person(principal);
            if self.facts.directory.same_person(principal, to) {
                found.remove(&key);
                continue;
            }
            let handover = found.entry(key).or_insert_with(|| Handover {
                principal: principal.clone(),
                through: decision.through.clone(),
                chain: Vec::new(),
            });
            // The principal gives it to somebody else: it begins anew.
            if decision.on_behalf_of.is_none() {
                handover.chain.clear();
            }
            handover.chain.push(to.clone());
        }
        found
    }

    /// By what right somebody may decide a task, if they may.
    pub(super) fn title(&self, stock: &Stock, actor: &Actor, rights: &BTreeSet<Right>) -> Result<Title, Denied> {
        let Some(judge) = &self.judge else {
            return Err(Denied::NotAnApprover);
        };
        if let Some(why) = judge.out(&actor.username) {
            return Err(why);
        }
        let person = self.facts.directory.person(&actor.username);
        let handovers = &stock.handovers;
        let direct = stock.everybody().find(|asked| asked.admits(actor, &person, rights));
        let given_away = handovers.get(&person);
        if let (Some(asked), None) = (direct, given_away) {
            return Ok(Title { through: asked.label.clone(), on_behalf_of: None });
        }
        if actor.username.starts_with(SERVICE_ACCOUNT) {
            return Err(Denied::ServiceAccount);
        }
        let mut voted = None;
        let mut acts_for = |principal: &str, through: &str| {
            if self.vote_of(principal).is_some() {
                voted.get_or_insert(Denied::PrincipalVoted(principal.to_owned()));
                return None;
            }
            // Nobody gets a second vote under a name that looks the same, by letting somebody else give it.
            if let Some(vote) = self.vote_alike(principal) {
                voted.get_or_insert(Denied::PrincipalAlike(principal.to_owned(), vote.actor.clone()));
                return None;
            }
            Some(Title { through: through.to_owned(), on_behalf_of: Some(principal.to_owned()) })
        };
        for handover in handovers.values().filter(|handover| self.is(handover.holder(), actor)) {
            if self.still_asked(stock, handover)
                && let Some(title) = acts_for(&handover.principal, &handover.through)
            {
                return Ok(title);
            }
        }
        for principal in self.substitutions().principals(&person, |username| judge.out(username).is_none()) {
            if handovers.contains_key(&principal.person) {
                continue;
            }
            let named = |asked: &&Asked| asked.people.contains_key(&principal.person) && principal.covers(asked.role());
            if let Some(asked) = stock.everybody().find(named)
                && let Some(title) = acts_for(principal.username, &asked.label)
            {
                return Ok(title);
            }
        }
        Err(match (given_away, voted) {
            (Some(handover), _) if direct.is_some() => Denied::HandedOver(handover.holder().to_owned()),
            (_, Some(voted)) => voted,
            _ => Denied::NotAnApprover,
        })
    }

    /// The standing delegations of this moment.
    pub(super) fn substitutions(&self) -> &Substitutions<'a> {
        self.substitutions.get_or_init(|| self.facts.directory.substitutions(self.facts.now))
    }

    /// Whether somebody might decide a visit, or might have, were it not for what was decided in it: in their own right, for
    /// whom they represent, or because it was handed over to them.
    pub(super) fn might_decide(
        &self,
        visit: &StepVisit,
        actor: &Actor,
        rights: &BTreeSet<Right>,
        meant: impl Fn(&str) -> bool,
    ) -> bool {
        let Some(bygone) = self.bygone(visit) else { return false };
        if bygone.judge.out(&actor.username).is_some() {
            return false;
        }
        let person = self.facts.directory.person(&actor.username);
        let represented = self.substitutions().principals(&person, |username| bygone.judge.out(username).is_none());
        let represents = |asked: &Asked| {
            let named = |person: &str| asked.people.contains_key(person);
            represented.iter().any(|principal| named(&principal.person) && principal.covers(asked.role()))
        };
        bygone.asked.iter().filter(|(partition, _)| meant(partition)).any(|(partition, asked)| {
            asked.iter().any(|asked| asked.admits(actor, &person, rights) || represents(asked))
                || self.handovers(visit, partition).values().any(|handover| self.is(handover.holder(), actor))
        })
    }

    /// Whether the principal of a hand-over may still decide.
    fn still_asked(&self, stock: &Stock, handover: &Handover) -> bool {
        let Some(judge) = &self.judge else { return false };
        let person = self.facts.directory.person(&handover.principal);
        judge.out(&handover.principal).is_none() && stock.still_asks(&person, handover)
    }

    fn is(&self, username: &str, actor: &Actor) -> bool {
        self.facts.directory.same_person(username, &actor.username)
    }

    /// To whom a task may be handed over: the record of it.
    pub(super) fn hand_over(
        &self,
        signal: &Signal,
        visit: &StepVisit,
        record: CountedDecision,
    ) -> Result<CountedDecision, Refusal> {
        let named = signal.spec.delegate_to.as_deref().unwrap_or_default();
        let to = self.facts.directory.resolve(named);
        let refuse = |why: String| Err((Reason::DelegateRefused, format!("spec.delegateTo: {why}")));
        let handovers = self.handovers(visit, &record.partition);
        let principal = record.on_behalf_of.clone().unwrap_or_else(|| record.actor.clone());
        let handover = handovers.get(&self.facts.directory.person(&principal));
        let record = CountedDecision { delegate_to: Some(to.to_owned()), ..record };
        if self.facts.directory.same_person(to, &record.actor) {
            let nothing =
                format!("{to} has not handed this over, so there is nothing to take back; name somebody else");
            return if handover.is_some() && record.on_behalf_of.is_none() { Ok(record) } else { refuse(nothing) };
        }
        if named.is_empty() {
            return refuse("is missing: who takes the task over?".to_owned());
        }
        if principal.starts_with(SERVICE_ACCOUNT) {
            return refuse(format!("{principal} is a ServiceAccount, which decides for itself or not at all"));
        }
        if to.starts_with(SERVICE_ACCOUNT) {
            return refuse(format!("{to} is a ServiceAccount; tasks are handed over to people"));
        }
        match self.judge.as_ref().and_then(|judge| judge.out(to)) {
            Some(Denied::Contested) => return refuse(format!("several Identities claim the username {to}")),
            Some(Denied::Inactive(identity)) => {
                return refuse(format!("Identity {identity} of {to} is inactive or not valid now; name somebody else"));
            }
            Some(Denied::SelfApproval(why) | Denied::Excluded(why)) => {
                return refuse(format!("{to} {why} and may not decide it for anybody; name somebody else"));
            }
            Some(Denied::Separated(step)) => {
                return refuse(format!("{to} decided step {step} and may not decide this one; name somebody else"));
            }
            Some(_) | None => {}
        }
        if let Some(vote) = self.vote_of(to) {
            return refuse(format!("{to} has one vote and gave it ({}); name somebody else", vote.signal.name));
        }
        let earlier: &[String] = match handover {
            Some(handover) if record.on_behalf_of.is_some() => &handover.chain,
            _ => &[],
        };
        if earlier.iter().any(|had| self.facts.directory.may_be_same(had, to))
            || self.facts.directory.may_be_same(&principal, to)
        {
            return refuse(format!("{to} had this task before; a loop decides nothing, so name somebody else"));
        }
        if earlier.len() >= MAX_DEPTH {
            return refuse(format!(
                "the task was handed on {MAX_DEPTH} times, which is the most; {principal} can take it back"
            ));
        }
        Ok(record)
    }
}
