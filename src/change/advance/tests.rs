//! What becomes of a change request, by facts alone: what the gate held, who carries it out, what is seen of it.

use super::{advance, instance_name, supersede, who};
use crate::api::{
    Actor, Change, ChangeOperation, ChangeRequestSpec, ChangeRequestStatus, ChangeState, Difference, Execution,
    ExecutionMode, Held, Operation, Outcome, PlannedProcess, is_true,
};
use crate::change::carrier::Carrier;
use crate::change::facts::{Effect, Facts, Found, Look, Plan, Precedent, Request, Result, Seen, Terms};
use crate::engine::Proof;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::BTreeMap;

/// A request of the gate for one operation that `check` must agree to, and everything around it.
struct Story {
    spec: ChangeRequestSpec,
    status: ChangeRequestStatus,
    proof: Proof,
    instances: BTreeMap<String, Seen>,
    terms: BTreeMap<String, Terms>,
    automatic: bool,
    effect: Option<Effect>,
    result: Option<Result>,
    precedent: Precedent,
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

fn story(operation: Operation) -> Story {
    let process = PlannedProcess { name: "check".to_owned(), workflow: "w".to_owned(), ..PlannedProcess::default() };
    let held = Held { operation, digest: "sha256:1".to_owned(), processes: vec![process], ..Held::default() };
    let change = Change {
        name: "operation".to_owned(),
        operation: ChangeOperation::Delete,
        held: Some(held),
        ..Change::default()
    };
    let requester = Some(Actor { username: "alice".to_owned(), ..Actor::default() });
    Story {
        spec: ChangeRequestSpec { requester, changes: vec![change], ..ChangeRequestSpec::default() },
        status: ChangeRequestStatus::default(),
        proof: Proof::Since(0),
        instances: BTreeMap::new(),
        terms: BTreeMap::new(),
        automatic: false,
        effect: None,
        result: None,
        precedent: Precedent::None,
    }
}

impl Story {
    fn request(&self) -> Request<'_> {
        Request { name: "gate-1", uid: "uid-1", generation: Some(1), created_at: 100, spec: &self.spec }
    }

    fn facts<T>(&self, now: i64, then: impl FnOnce(&Facts<'_>) -> T) -> T {
        let named = |name: &str| name.to_owned();
        let effects = self.effect.iter().map(|effect| (named("operation"), effect.clone())).collect();
        let results = self.result.iter().map(|result| (named("operation"), result.clone())).collect();
        then(&Facts {
            request: self.request(),
            status: &self.status,
            proof: &self.proof,
            looks: &BTreeMap::new(),
            instances: &self.instances,
            terms: &self.terms,
            automatic: self.automatic,
            precedent: &self.precedent,
            effects: &effects,
            results: &results,
            now: at(now),
        })
    }

    /// Computes until nothing changes any more, and gives the last plan that did something.
    fn at(&mut self, now: i64) -> Plan {
        let plan = self.facts(now, advance);
        self.status = plan.status.clone();
        let again = self.facts(now, advance);
        if self.result.is_none() {
            assert_eq!(again.status, self.status, "computed again it changes nothing");
        }
        plan
    }

    fn name(&self) -> String {
        instance_name(&self.request(), "operation", "check", None, false)
    }

    fn sees(&mut self, outcome: Option<Outcome>, agreed: bool) {
        let message = "step check rejected by mary".to_owned();
        self.instances.insert(self.name(), Seen { outcome, agreed, message });
    }

    fn state(&self) -> ChangeState {
        self.status.changes[0].state
    }

    /// Agreed to at 110.
    fn approved(operation: Operation) -> Self {
        let mut story = story(operation);
        story.at(110);
        story.sees(Some(Outcome::Approved), false);
        story.at(110);
        assert_eq!(story.state(), ChangeState::Approved);
        story
    }

    /// Claimed by the gate.
    fn claimed(operation: Operation, second: i64) -> Self {
        let mut story = Self::approved(operation);
        story.status.changes[0].grant.as_mut().expect("a grant").claimed_at = Some(Time(at(second)));
        story
    }
}

#[test]
fn what_is_held_asks_its_process_once_and_then_can_be_claimed() {
    let mut story = story(Operation::Create);
    let plan = story.at(110);
    assert_eq!(plan.open.iter().map(|opening| opening.name.clone()).collect::<Vec<_>>(), [story.name()]);
    assert_eq!(story.state(), ChangeState::InApproval);
    story.sees(None, false);
    assert_eq!(story.at(111).open, [], "it is there");
    assert_eq!(story.status.changes[0].grant, None);
    story.sees(None, true);
    story.at(112);
    let grant = story.status.changes[0].grant.clone().expect("agreed at its execute node is enough");
    assert_eq!((grant.valid_until.0, grant.claimed_at), (at(112 + 86_400), None));
    assert!(is_true(&story.status.conditions, "Approved") && !is_true(&story.status.conditions, "Completed"));
}

#[test]
fn each_outcome_of_an_instance_ends_the_change_in_its_own_way() {
    for (outcome, state) in [
        (Outcome::Rejected, ChangeState::Rejected),
        (Outcome::Expired, ChangeState::Expired),
        (Outcome::Cancelled, ChangeState::Cancelled),
        (Outcome::Failed, ChangeState::Failed),
    ] {
        let mut story = story(Operation::Create);
        story.at(110);
        story.sees(Some(outcome), false);
        story.at(120);
        assert_eq!(story.state(), state);
        assert!(story.status.completed_at.is_some() && !is_true(&story.status.conditions, "Approved"));
        assert!(story.status.changes[0].message.as_ref().is_some_and(|message| message.contains("rejected by mary")));
    }
}

#[test]
fn an_outcome_that_was_recorded_stands_when_its_instance_is_deleted() {
    let mut story = story(Operation::Create);
    let second = PlannedProcess { name: "second".to_owned(), workflow: "w".to_owned(), ..PlannedProcess::default() };
    story.spec.changes[0].held.as_mut().expect("held").processes.push(second);
    story.at(110);
    story.sees(Some(Outcome::Approved), false);
    assert_eq!(story.at(111).open[0].process.name, "second");
    story.instances.clear();
    let asked: Vec<String> = story.at(112).open.iter().map(|opening| opening.process.name.clone()).collect();
    assert_eq!(asked, ["second"], "the first is not asked again");
}

#[test]
fn a_requester_who_is_not_proven_is_asked_about_by_nobody() {
    let mut unproven = story(Operation::Create);
    unproven.proof = Proof::Since(100);
    assert_eq!(unproven.at(110).open, []);
    assert_eq!(unproven.state(), ChangeState::Cancelled, "nobody rejected it: the same command asks again");
    let mut broken = story(Operation::Create);
    broken.proof = Proof::Broken("a policy is missing".to_owned());
    assert_eq!(broken.at(110).open, []);
    assert_eq!(broken.state(), ChangeState::Pending);
    assert!(is_true(&broken.status.conditions, "Stalled"));
}

#[test]
fn an_effect_that_is_seen_ends_it_and_one_that_cannot_be_seen_after_thirty_seconds() {
    let mut story = Story::claimed(Operation::Create, 200);
    story.effect = Some(Effect::Seen);
    story.at(201);
    assert_eq!(story.state(), ChangeState::Executed);
    assert_eq!(story.status.changes[0].grant.as_ref().and_then(|grant| grant.used_at.clone()), Some(Time(at(201))));

    let mut story = Story::claimed(Operation::Create, 200);
    story.effect = Some(Effect::Unknown("its effect was not seen".to_owned()));
    story.at(229);
    assert_eq!(story.state(), ChangeState::Approved);
    story.at(230);
    assert_eq!(story.state(), ChangeState::Executed);
}

#[test]
fn attack_27_only_what_provably_did_not_happen_can_be_repeated() {
    let mut story = Story::claimed(Operation::Delete, 200);
    story.effect = Some(Effect::Missing);
    story.at(289);
    let claimed = |story: &Story| story.status.changes[0].grant.as_ref().and_then(|grant| grant.claimed_at.clone());
    assert!(claimed(&story).is_some(), "a call may be on its way still");
    let plan = story.facts(290, advance);
    story.status = plan.status;
    assert_eq!((story.state(), claimed(&story)), (ChangeState::Approved, None));
    story.effect = None;
    story.at(110 + 86_400);
    assert_eq!(story.state(), ChangeState::Expired, "as long as the approval is valid");
}

#[test]
fn the_shortest_time_counts() {
    let mut story = story(Operation::Create);
    let execution = |span: &str| Some(Execution { valid_for: Some(span.to_owned()), ..Execution::default() });
    story.spec.execution = execution("2h");
    story.terms.insert("check".to_owned(), Terms { execution: execution("1h") });
    story.at(110);
    story.sees(Some(Outcome::Approved), false);
    story.at(110);
    assert_eq!(story.status.changes[0].grant.as_ref().map(|grant| grant.valid_until.0), Some(at(110 + 3600)));
    story.at(110 + 3600);
    assert_eq!(story.state(), ChangeState::Expired);
}

#[test]
fn what_is_held_is_carried_out_by_the_operator_only_where_everything_allows_it() {
    let mut story = Story::approved(Operation::Delete);
    let automatic = Execution { mode: Some(ExecutionMode::Automatic), ..Execution::default() };
    let carrier =
        |story: &Story| story.facts(120, |facts| who(facts, &story.spec.changes[0], &story.status.changes[0]));
    story.automatic = true;
    assert_eq!(carrier(&story), Carrier::Requester(None), "its process says nothing");
    story.terms.insert("check".to_owned(), Terms { execution: Some(automatic) });
    assert_eq!(carrier(&story), Carrier::Operator);
    story.automatic = false;
    let why = match carrier(&story) {
        Carrier::Requester(Some(why)) => why,
        other => panic!("{other:?}"),
    };
    story.at(120);
    let told = story.status.changes[0].message.clone().unwrap_or_default();
    assert!(told.contains("the same request passes once") && told.contains(why), "{told}");
}

#[test]
fn whoever_asked_may_be_faster_than_the_operator() {
    let mut story = Story::approved(Operation::Create);
    let automatic = Execution { mode: Some(ExecutionMode::Automatic), ..Execution::default() };
    story.terms.insert("check".to_owned(), Terms { execution: Some(automatic) });
    story.spec.changes[0].object = Some(serde_json::json!({"data": {}}));
    story.at(120);
    story.status.changes[0].grant.as_mut().expect("granted").claimed_at = Some(Time(at(121)));
    story.automatic = true;
    assert_eq!(story.at(122).carry_out, [], "it has passed");
    story.effect = Some(Effect::Seen);
    story.at(123);
    assert_eq!(story.status.changes[0].state, ChangeState::Executed);
}

#[test]
fn what_passed_and_was_not_told_is_not_asked_for_anew() {
    for (effect, state) in [(Effect::Seen, ChangeState::Executed), (Effect::Missing, ChangeState::Failed)] {
        let mut story = Story::approved(Operation::Delete);
        let automatic = Execution { mode: Some(ExecutionMode::Automatic), ..Execution::default() };
        story.terms.insert("check".to_owned(), Terms { execution: Some(automatic) });
        story.automatic = true;
        assert_eq!(story.at(120).carry_out.len(), 1);
        // The gate has let it through, and then the operator was gone.
        story.status.changes[0].grant.as_mut().expect("granted").claimed_at = Some(Time(at(121)));
        story.effect = Some(effect);
        assert_eq!(story.at(181).carry_out, [], "the gate would hold it again");
        assert_eq!(story.status.changes[0].state, state);
    }
}

#[test]
fn an_attempt_is_recorded_before_it_is_made_and_repeated_a_bounded_number_of_times() {
    let mut story = Story::approved(Operation::Delete);
    let automatic = Execution { mode: Some(ExecutionMode::Automatic), ..Execution::default() };
    story.terms.insert("check".to_owned(), Terms { execution: Some(automatic) });
    story.automatic = true;
    let plan = story.at(120);
    assert_eq!((plan.carry_out.len(), plan.carry_out[0].in_doubt), (1, false));
    assert_eq!(story.status.changes[0].attempts, 1);
    assert_eq!(story.at(179).carry_out, [], "whoever has begun is left alone");
    let plan = story.at(180);
    assert!(plan.carry_out[0].in_doubt, "whoever had begun told nothing");

    let mut now = 180;
    for attempt in 2..=8 {
        assert_eq!(story.status.changes[0].attempts, attempt);
        story.result = Some(Result::Refused { message: "overloaded".to_owned(), again: true });
        story.at(now);
        story.result = None;
        now += 100;
        story.at(now);
    }
    assert_eq!(story.state(), ChangeState::Failed);
    assert!(story.status.changes[0].message.as_ref().is_some_and(|message| message.contains("overloaded")));
}

#[test]
fn who_passed_without_approval_is_reviewed_before_it_is_complete() {
    let mut story = story(Operation::Delete);
    story.spec.changes[0].held.as_mut().expect("held").bypass_reason = Some("the shop is down".to_owned());
    let plan = story.at(110);
    assert!(plan.open[0].review && plan.carry_out.is_empty());
    assert_eq!((story.state(), story.status.completed_at.is_some()), (ChangeState::Executed, false));
    let review = instance_name(&story.request(), "operation", "check", None, true);
    story.instances.insert(review, Seen::default());
    story.at(111);
    assert!(story.status.completed_at.is_some());
}

#[test]
fn r57_what_corrects_another_waits_until_that_has_ended() {
    let mut newer = story(Operation::Create);
    newer.precedent = Precedent::Open;
    let plan = newer.at(110);
    assert!(plan.end_precedent && plan.open.is_empty());
    newer.precedent = Precedent::Ended;
    assert_eq!(newer.at(110).open.len(), 1);

    let mut older = Story::approved(Operation::Create);
    older.status = supersede(&older.spec, &older.status, "newer", at(120));
    older.at(121);
    assert_eq!((older.state(), older.status.superseded_by.as_deref()), (ChangeState::Cancelled, Some("newer")));
    assert!(older.status.completed_at.is_some());
}

/// The status after 64 changes written by hand were looked at, each of an object of 200 KiB.
fn looked_at() -> ChangeRequestStatus {
    let mut story = story(Operation::Create);
    let change = |number: usize| Change {
        name: format!("change-{number}"),
        operation: ChangeOperation::Delete,
        ..Change::default()
    };
    story.spec.changes = (0..64).map(change).collect();
    let old_object = Some(serde_json::json!({"data": "x".repeat(200 * 1024)}));
    let to = Some("y".repeat(15 * 1024));
    let differences = vec![Difference { path: "/data".to_owned(), from: None, to }];
    let held = Held { digest: "sha256:1".to_owned(), old_object: old_object.clone(), differences, ..Held::default() };
    let process = PlannedProcess { name: "check".to_owned(), ..PlannedProcess::default() };
    let found = Found { processes: vec![process], held: Some(held), object: old_object };
    let looks =
        story.spec.changes.iter().map(|change| (change.name.clone(), Look::Found(Box::new(found.clone())))).collect();
    story.automatic = true;
    story.facts(110, |facts| advance(&Facts { looks: &looks, ..*facts }).status)
}

#[test]
fn attack_37_what_was_found_never_outgrows_the_store() {
    let status = looked_at();
    let length = serde_json::to_string(&status).expect("JSON").len();
    assert!(length < 400 * 1024, "{length}");
    assert!(status.changes.iter().all(|change| change.state == ChangeState::InApproval));
    let held: Vec<&Held> = status.changes.iter().filter_map(|change| change.held.as_ref()).collect();
    assert!(held.iter().all(|held| held.digest == "sha256:1" && held.differences.len() == 1));
    assert!(status.changes[0].object.is_some(), "what fits is kept");
    let told = held[63].differences[0].to.clone().unwrap_or_default();
    assert!(told.contains("no room"), "{told}");
}

#[test]
fn rule12_what_is_approved_can_be_taken_back_until_it_passes() {
    let agreed = || {
        let mut story = story(Operation::Create);
        story.at(110);
        story.sees(None, true);
        story.at(110);
        assert_eq!(story.state(), ChangeState::Approved);
        story
    };
    let mut unused = agreed();
    unused.sees(Some(Outcome::Cancelled), false);
    unused.at(120);
    assert_eq!(unused.state(), ChangeState::Cancelled);
    let mut claimed = agreed();
    claimed.status.changes[0].grant.as_mut().expect("a grant").claimed_at = Some(Time(at(119)));
    claimed.sees(Some(Outcome::Cancelled), false);
    claimed.at(120);
    assert_eq!(claimed.state(), ChangeState::Approved, "the gate was faster");
    let mut tried = agreed();
    tried.status.changes[0].attempts = 1;
    tried.sees(Some(Outcome::Cancelled), false);
    tried.at(120);
    assert_eq!(tried.state(), ChangeState::Approved, "it may have been carried out");
}
