//! The guarantees that one status, one plan or one write can break; each is listed, with its rule, at the top of the test and
//! in `docs/guarantees.md`. They are worked out from the definition as it was written, not from the engine's graph.

use crate::scene::{INITIATOR, Roles, Stage, Waiting, person};
use quorate::api::{
    ApproverSource, CountedDecision, Decision, EndOutcome, Node, Outcome, Quorum, StepVisit, TaskState,
    WorkflowDefinitionSpec, WorkflowInstanceStatus, seconds,
};
use quorate::engine::{Plan, Reason, Signal};
use std::collections::{BTreeMap, BTreeSet};

/// A guarantee is broken: which one, and how.
pub type Violation = String;

/// The output of a visit in the middle of which the instance was cancelled.
const CANCELLED: &str = "cancelled";

type Checked = Result<(), Violation>;

/// Fails with the number of the guarantee.
macro_rules! hold {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}
pub(crate) use hold;

/// Those who decide a step together.
struct Part<'d> {
    name: &'d str,
    approvers: &'d [ApproverSource],
    required: usize,
    rejections: usize,
}

fn node_of<'d>(definition: &'d WorkflowDefinitionSpec, name: &str) -> Option<&'d Node> {
    definition.nodes.iter().find(|node| node.name == name)
}

fn parts(node: &Node) -> Vec<Part<'_>> {
    let number = |required: &Option<Quorum>| match required {
        None => 1,
        Some(Quorum::Number(number)) => usize::try_from(*number).expect("a number of people"),
        Some(Quorum::Text(text)) => panic!("the model knows no quorum {text}"),
    };
    let many = |rejections: Option<u32>| rejections.unwrap_or(1) as usize;
    let Some(approval) = &node.approval else {
        return Vec::new();
    };
    if approval.partitions.is_empty() {
        let (required, rejections) = (number(&approval.required), many(approval.rejections));
        return vec![Part { name: "default", approvers: &approval.approvers, required, rejections }];
    }
    let part = approval.partitions.iter().map(|part| Part {
        name: &part.name,
        approvers: &part.approvers,
        required: number(&part.required),
        rejections: many(part.rejections),
    });
    part.collect()
}

/// The outcome that a node, or a built-in end, stands for.
pub fn end_of(definition: &WorkflowDefinitionSpec, name: &str) -> Option<Outcome> {
    match (node_of(definition, name), name) {
        (Some(node), _) => node.end.as_ref().map(|end| match end.outcome {
            EndOutcome::Approved => Outcome::Approved,
            EndOutcome::Rejected => Outcome::Rejected,
            EndOutcome::Expired => Outcome::Expired,
        }),
        (None, "Approved") => Some(Outcome::Approved),
        (None, "Rejected") => Some(Outcome::Rejected),
        (None, _) => Some(Outcome::Expired),
    }
}

/// Where an output leads.
fn target<'d>(definition: &'d WorkflowDefinitionSpec, name: &str, output: &str) -> &'d str {
    let position = definition.nodes.iter().position(|node| node.name == name).expect("a node of the definition");
    if let Some(target) = definition.nodes[position].next.get(output) {
        return target;
    }
    match (output, definition.nodes.get(position + 1)) {
        ("approved" | "done", Some(next)) => &next.name,
        ("approved" | "done", None) => "Approved",
        ("expired", _) => "Expired",
        _ => "Rejected",
    }
}

/// The people who decided so in that visit and partition.
fn deciders<'s>(
    decisions: &'s [CountedDecision],
    visit: &StepVisit,
    part: &str,
    decision: Decision,
) -> BTreeSet<&'s str> {
    decisions
        .iter()
        .filter(|counted| (&counted.step, counted.visit) == (&visit.node, visit.visit))
        .filter(|counted| counted.partition == part && counted.decision == decision)
        .map(|counted| person(&counted.actor))
        .collect()
}

/// G1, G2, G3: what a status says is what its decisions, taken by themselves, amount to.
pub fn of_status(stage: &Stage, status: &WorkflowInstanceStatus) -> Checked {
    let definition = &stage.definition;
    for (position, visit) in status.steps.iter().enumerate() {
        let earlier = status.steps[..position].iter().filter(|earlier| earlier.node == visit.node).count();
        hold!(visit.visit as usize == earlier + 1, "G1: {} has no visit {}", visit.node, visit.visit);
        let next = status.steps.get(position + 1);
        if end_of(definition, &visit.node).is_some() {
            let left = visit.output.as_deref().is_some_and(|output| output != CANCELLED);
            hold!(next.is_none() && !left, "G1: the path goes on after {}", visit.node);
            continue;
        }
        let node = node_of(definition, &visit.node).expect("a node");
        let output = visit.output.as_deref();
        let decided = if node.execute.is_some() {
            output.filter(|output| *output == "done")
        } else {
            outcome_of_visit(node, &status.decisions, visit)
        };
        of_limits(node, visit, &status.decisions)?;
        let expired = decided.is_none() && visit.deadline.is_some() && output == Some("expired");
        let cancelled = decided.is_none() && output == Some(CANCELLED) && status.outcome == Some(Outcome::Cancelled);
        hold!(
            output == decided || expired || cancelled,
            "G1: {} (visit {}) was left as {output:?}, its decisions come to {decided:?}",
            visit.node,
            visit.visit
        );
        if let Some(output) = decided.or(output.filter(|_| expired)) {
            let leads = target(definition, &visit.node, output);
            let led = next.map(|next| next.node.as_str());
            hold!(led == Some(leads), "G1: {output} of {} leads to {leads}, not to {led:?}", visit.node);
        } else {
            hold!(next.is_none(), "G1: {} was passed without a decision", visit.node);
        }
    }
    let end = status.steps.last().and_then(|visit| end_of(definition, &visit.node));
    match status.outcome {
        None => {}
        Some(Outcome::Cancelled) => {
            // Whether the object is gone, `World` looks at.
            let why = stage.scene.object != Waiting::None || withdrawals(status) == 1;
            hold!(why, "G1: cancelled, but nobody withdrew it");
        }
        Some(outcome) => hold!(end == Some(outcome), "G1: ended {outcome}, the path ends {end:?}"),
    }
    let ends = withdrawals(status) == 0 || (status.outcome == Some(Outcome::Cancelled) && end.is_none());
    hold!(ends, "G12: a withdrawal counted, but it is {:?}", status.outcome);
    of_decisions(stage, status)?;
    of_tasks(status)
}

fn withdrawals(status: &WorkflowInstanceStatus) -> usize {
    status.decisions.iter().filter(|counted| counted.decision == Decision::Cancel).count()
}

/// Whether the operation is carried out at that node.
pub fn executes(definition: &WorkflowDefinitionSpec, name: &str) -> bool {
    node_of(definition, name).is_some_and(|node| node.execute.is_some())
}

/// G11: the deadline is what the definition says, and what was sent after it does not count.
fn of_limits(node: &Node, visit: &StepVisit, decisions: &[CountedDecision]) -> Checked {
    let timeout = node.approval.as_ref().and_then(|approval| approval.timeout.as_ref());
    let after = timeout.and_then(|timeout| timeout.after.as_deref()).map(|after| {
        after.strip_suffix('s').and_then(|after| after.parse::<i64>().ok()).expect("the model knows seconds")
    });
    let deadline = visit.deadline.as_ref().map(seconds);
    let meant = after.map(|after| seconds(&visit.entered_at) + after);
    hold!(deadline == meant, "G11: the deadline of {} is {deadline:?}, not {meant:?}", visit.node);
    let late = decisions.iter().find(|counted| {
        (&counted.step, counted.visit) == (&visit.node, visit.visit)
            && counted.decision.is_vote()
            && deadline.is_some_and(|deadline| seconds(&counted.at) > deadline)
    });
    hold!(late.is_none(), "G11: {late:?} counted after {deadline:?}");
    Ok(())
}

/// G11, of one plan: a step is left because its time is over only when it is, and all that was sent by then is known; nothing
/// that was sent by then is refused because the step is over.
pub fn in_time(before: &WorkflowInstanceStatus, plan: &Plan, signals: &[Signal], seen_until: i64, now: i64) -> Checked {
    let Some(open) = before.steps.last().filter(|visit| visit.output.is_none()) else { return Ok(()) };
    let left = &plan.status.steps[before.steps.len() - 1];
    let (Some(deadline), Some("expired")) = (open.deadline.as_ref().map(seconds), left.output.as_deref()) else {
        return Ok(());
    };
    hold!(deadline < now, "G11: expired at {deadline}, but it is {now}");
    hold!(deadline <= seen_until, "G11: expired at {deadline}, but only what was sent by {seen_until} is known");
    for signal in signals.iter().filter(|signal| signal.created_at <= deadline) {
        let verdict = plan.verdicts.iter().find(|verdict| verdict.signal.uid == signal.uid);
        let Some(verdict) = verdict else { return Err(format!("G11: {} was sent in time and waits", signal.name)) };
        hold!(verdict.reason != Reason::StepClosed, "G11: {} was sent in time: {}", signal.name, verdict.message);
    }
    Ok(())
}

/// G10: a batch that is judged once more after it was recorded. What counted counts; what was refused is refused, unless it was
/// seen late, after its task was handed over and before it was taken back.
pub fn judged_again(plan: &Plan, again: &Plan, signals: &[Signal], strict: bool) -> Checked {
    let mut other = false;
    for verdict in &plan.verdicts {
        let found = again.verdicts.iter().find(|again| again.signal.uid == verdict.signal.uid);
        let Some(found) = found else { return Err(format!("G10: {} is not judged again", verdict.signal.name)) };
        if found.reason.counted() == verdict.reason.counted() {
            continue;
        }
        let change = format!("{} of {} becomes {}", verdict.reason, verdict.signal.name, found.reason);
        hold!(!verdict.reason.counted() && !strict, "G10: judged again, {change}");
        let signal = signals.iter().find(|signal| signal.uid == verdict.signal.uid);
        let handed_over = signal.is_some_and(|signal| {
            let mut changes = plan.status.decisions.iter().filter(|counted| counted.decision == Decision::Delegate);
            changes.any(|counted| seconds(&counted.at) >= signal.created_at)
        });
        hold!(handed_over, "G10: judged again, {change}, and nothing was handed over since");
        other = true;
    }
    hold!(other || plan.status == again.status, "G10: judged again, the status changes");
    Ok(())
}

/// What the decisions of a visit come to.
fn outcome_of_visit(node: &Node, decisions: &[CountedDecision], visit: &StepVisit) -> Option<&'static str> {
    let parts = parts(node);
    let people = |part: &Part<'_>, decision| deciders(decisions, visit, part.name, decision).len();
    if parts.iter().any(|part| people(part, Decision::Reject) >= part.rejections) {
        return Some("rejected");
    }
    parts.iter().all(|part| people(part, Decision::Approve) >= part.required).then_some("approved")
}

/// G2, G3: nobody twice, not the initiator, and nothing that was not signed.
fn of_decisions(stage: &Stage, status: &WorkflowInstanceStatus) -> Checked {
    let mut voted = BTreeSet::new();
    let mut used = BTreeSet::new();
    for counted in &status.decisions {
        let who = person(&counted.actor);
        if counted.decision.is_vote() {
            for voter in [Some(who), counted.on_behalf_of.as_deref().map(person)].into_iter().flatten() {
                let once = voted.insert((&counted.step, counted.visit, voter));
                hold!(once, "G2: {voter} counted twice in {}", counted.step);
                hold!(voter != INITIATOR, "G3: the initiator counted");
            }
        }
        hold!(used.insert(&counted.signal.uid), "G2: signal {} counted twice", counted.signal.uid);
        let own = counted.decision == Decision::Cancel;
        hold!((who == INITIATOR) == own, "G3: {who} may not {:?}", counted.decision);
        let letter = &stage.scene.letters[counted.signal.uid.parse::<usize>().expect("a letter")];
        let meant = letter.actor == counted.actor
            && letter.decision == counted.decision
            && letter.to == counted.delegate_to.as_deref()
            && letter.step.is_none_or(|step| step == counted.step)
            && letter.partition.is_none_or(|part| part == counted.partition)
            && letter.visit.is_none_or(|visit| visit == counted.visit);
        hold!(meant, "G3: {letter:?} was counted as {counted:?}");
        let known = status.steps.iter().any(|visit| (&visit.node, visit.visit) == (&counted.step, counted.visit));
        hold!(known, "G3: {who} counted in a visit that there was not");
    }
    Ok(())
}

/// The tasks tell the same as the decisions.
fn of_tasks(status: &WorkflowInstanceStatus) -> Checked {
    for task in &status.tasks {
        let Some(visit) = status.steps.iter().find(|visit| (&visit.node, visit.visit) == (&task.step, task.visit))
        else {
            return Err(format!("G1: a task of {} without a visit", task.step));
        };
        let approvals = deciders(&status.decisions, visit, &task.partition, Decision::Approve).len();
        let rejections = deciders(&status.decisions, visit, &task.partition, Decision::Reject).len();
        hold!(
            (task.approvals as usize, task.rejections as usize) == (approvals, rejections),
            "G1: task {} says {} and {}, its decisions {approvals} and {rejections}",
            task.partition,
            task.approvals,
            task.rejections
        );
        let open = visit.output.is_none();
        hold!(open || task.state != TaskState::Open, "G1: task {} is open in a visit that is over", task.partition);
    }
    Ok(())
}

/// G3: who is counted anew may decide by the directory that the plan was made with; administrators only while the others
/// cannot complete the task.
pub fn entitled(
    stage: &Stage,
    directory: usize,
    before: &WorkflowInstanceStatus,
    after: &WorkflowInstanceStatus,
) -> Checked {
    let roles = stage.scene.directories[directory];
    for position in before.decisions.len()..after.decisions.len() {
        let counted = &after.decisions[position];
        let earlier: Vec<_> = after.decisions[..position]
            .iter()
            .filter(|other| (&other.step, other.visit) == (&counted.step, counted.visit))
            .collect();
        if counted.decision == Decision::Cancel {
            continue;
        }
        let node = node_of(&stage.definition, &counted.step).expect("a node");
        let parts = parts(node);
        let part = parts.iter().find(|part| part.name == counted.partition).expect("a partition");
        let own: BTreeSet<&str> =
            part.approvers.iter().flat_map(|source| listed(source, roles)).filter(|name| *name != INITIATOR).collect();
        let who = holder(stage, counted, &earlier)?;
        if own.contains(who) {
            continue;
        }
        hold!(stage.scene.administrators.contains(&who), "G3: {who} may not decide {}", counted.step);
        let before_it = earlier.iter().filter(|other| other.decision.is_vote());
        let voted: BTreeSet<&str> = before_it
            .flat_map(|other| [Some(&other.actor), other.on_behalf_of.as_ref()])
            .flatten()
            .map(|name| person(name))
            .collect();
        let approvals = earlier
            .iter()
            .filter(|other| other.partition == counted.partition && other.decision == Decision::Approve)
            .count();
        let reachable = approvals + own.difference(&voted).count();
        hold!(reachable < part.required, "G3: administrator {who} decided although {reachable} others could");
    }
    Ok(())
}

/// Whose right a decision uses: the actor's own, or that of somebody who handed the task over to the actor or is represented by
/// them.
fn holder<'c>(
    stage: &Stage,
    counted: &'c CountedDecision,
    earlier: &[&'c CountedDecision],
) -> Result<&'c str, Violation> {
    let mut held: BTreeMap<&str, &str> = BTreeMap::new();
    for other in earlier.iter().filter(|other| other.partition == counted.partition) {
        let to = other.delegate_to.as_deref().map(person);
        if let Some(to) = to {
            let principal = person(other.on_behalf_of.as_ref().unwrap_or(&other.actor));
            held.insert(principal, to);
        }
    }
    let actor = person(&counted.actor);
    let principal = counted.on_behalf_of.as_deref().map_or(actor, person);
    let holds = held.get(principal).copied();
    let taken_back = counted.decision == Decision::Delegate && principal == actor;
    let standing = stage.scene.delegations.contains(&(principal, actor));
    let may = taken_back || holds.map_or(principal == actor || standing, |holds| holds == actor);
    hold!(may, "G3: {actor} decides for {principal}, whose task {holds:?} has");
    Ok(principal)
}

/// The people whom a source names.
fn listed(source: &ApproverSource, roles: Roles) -> Vec<&str> {
    let members = roles.iter().filter(|(role, _)| source.role.as_deref() == Some(*role));
    source.user.as_deref().into_iter().chain(members.flat_map(|(_, members)| members.iter().copied())).collect()
}

/// G4, G5: what may follow a stored status.
pub fn follows(stage: &Stage, before: &WorkflowInstanceStatus, after: &WorkflowInstanceStatus) -> Checked {
    hold!(before.outcome.is_none() || before == after, "G4: {:?} changed to {:?}", before.outcome, after.outcome);
    hold!(after.decisions.starts_with(&before.decisions), "G5: a decision that counted was lost or changed");
    let over = before.steps.iter().take_while(|visit| visit.output.is_some()).count();
    hold!(after.steps.starts_with(&before.steps[..over]), "G5: a visit that was over changed");
    hold!(after.steps.len() >= before.steps.len(), "G5: a visit was lost");
    if before.steps.iter().any(|visit| executes(&stage.definition, &visit.node)) {
        hold!(withdrawals(after) == withdrawals(before), "G12: withdrawn although it is carried out");
    }
    for task in &after.tasks {
        let mut same = before
            .tasks
            .iter()
            .filter(|old| (&old.step, old.visit, &old.partition) == (&task.step, task.visit, &task.partition));
        hold!(same.all(|old| old.required == task.required), "G5: what {} requires changed", task.partition);
    }
    Ok(())
}

/// G6, of one plan: one verdict for each signal at most, and `Counted` exactly for what the new status records.
pub fn of_verdicts(before: &WorkflowInstanceStatus, plan: &Plan, signals: &[Signal]) -> Checked {
    let mut judged = BTreeSet::new();
    for verdict in &plan.verdicts {
        let uid = &verdict.signal.uid;
        hold!(judged.insert(uid), "G6: signal {uid} gets two verdicts");
        hold!(signals.iter().any(|signal| signal.uid == *uid), "G6: a verdict for {uid}, which was not seen");
        let recorded = plan.status.decisions.iter().any(|counted| counted.signal.uid == *uid);
        hold!(verdict.reason.counted() == recorded, "G6: signal {uid} gets {}, recorded: {recorded}", verdict.reason);
    }
    let counted = &plan.status.decisions[before.decisions.len()..];
    let told = counted.iter().all(|counted| judged.contains(&counted.signal.uid));
    hold!(told, "G6: a signal is counted without a verdict");
    Ok(())
}

/// G10: neither the order of a batch nor its repetition makes a difference.
pub fn same_answer(plan: &Plan, other: &Plan) -> Checked {
    hold!(plan.status == other.status, "G10: another order gives another status");
    hold!(plan.verdicts == other.verdicts, "G10: another order gives other verdicts");
    hold!(plan.write_back == other.write_back, "G10: another order writes back something else");
    Ok(())
}

/// G10: computing again changes nothing.
pub fn nothing_more(plan: &Plan, again: &Plan) -> Checked {
    hold!(plan.status == again.status, "G10: computing again changes the status");
    hold!(again.verdicts.is_empty() || plan.verdicts.is_empty(), "G10: computing again judges anew");
    hold!(plan.write_back == again.write_back, "G10: computing again writes back something else");
    Ok(())
}
