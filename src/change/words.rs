//! Says in words where a change request stands: conditions and the column of the changes.

use super::advance::{Stall, is_final};
use super::facts::Facts;
use crate::api::{ChangeRequestStatus, ChangeState, ChangeStatus, Says, condition, set_condition};
use crate::engine::Note;

/// The word of a state.
pub(super) fn state(state: ChangeState) -> &'static str {
    match state {
        ChangeState::Pending => "Pending",
        ChangeState::InApproval => "InApproval",
        ChangeState::Approved => "Approved",
        ChangeState::Rejected => "Rejected",
        ChangeState::Expired => "Expired",
        ChangeState::Cancelled => "Cancelled",
        ChangeState::Executed => "Executed",
        ChangeState::Failed => "Failed",
    }
}

/// The states in the order in which people care for them.
const ORDER: [ChangeState; 8] = [
    ChangeState::Failed,
    ChangeState::Rejected,
    ChangeState::Expired,
    ChangeState::Cancelled,
    ChangeState::Pending,
    ChangeState::InApproval,
    ChangeState::Approved,
    ChangeState::Executed,
];

/// Writes summary and conditions; says in an Event when it cannot go on, and when it is complete.
pub(super) fn describe(facts: &Facts<'_>, status: &mut ChangeRequestStatus, stall: Option<&Stall>) -> Vec<Note> {
    let stall = stall.filter(|_| status.completed_at.is_none());
    status.summary = Some(summary(&status.changes));
    let all = |wanted: fn(&ChangeStatus) -> bool| status.changes.iter().all(wanted);
    let any = |wanted: fn(&ChangeStatus) -> bool| status.changes.iter().any(wanted);
    let undecided = any(|change| matches!(change.state, ChangeState::Pending | ChangeState::InApproval));
    let agreed = |change: &ChangeStatus| {
        change.grant.is_some() || matches!(change.state, ChangeState::Approved | ChangeState::Executed)
    };
    let message = stall.map_or_else(|| told(status), |stall| stall.message.clone());
    let ended = [
        (ChangeState::Failed, "Failed"),
        (ChangeState::Rejected, "Rejected"),
        (ChangeState::Expired, "Expired"),
        (ChangeState::Cancelled, "Cancelled"),
    ];
    let ended = ended.into_iter().find(|(state, _)| status.changes.iter().any(|change| change.state == *state));
    let done = status.completed_at.is_some();
    let completed = match (done, ended, stall) {
        (true, None, _) => ("True", "Executed"),
        (true, Some(_), _) if any(|change| change.state == ChangeState::Executed) => ("True", "PartlyExecuted"),
        (true, Some((_, reason)), _) => ("True", reason),
        (false, _, Some(stall)) => ("False", stall.reason),
        (false, _, None) if undecided => ("False", "WaitingForApproval"),
        (false, _, None) => ("False", "WaitingForExecution"),
    };
    let approved = match () {
        () if undecided => ("Unknown", "Undecided"),
        () if all(agreed) => ("True", "Approved"),
        () if any(agreed) => ("False", "PartlyApproved"),
        () => ("False", ended.map_or("Rejected", |(_, reason)| reason)),
    };
    let executed = match () {
        () if all(|change| change.state == ChangeState::Executed) => ("True", "Executed"),
        () if any(|change| !is_final(change.state)) => ("False", completed.1),
        () if any(|change| change.state == ChangeState::Executed) => ("False", "PartlyExecuted"),
        () => ("False", ended.map_or("Failed", |(_, reason)| reason)),
    };
    let truth = |is: bool| if is { "True" } else { "False" };
    let failed = done && executed.0 != "True";
    let stalled = stall.map(|stall| stall.reason).or(failed.then_some(completed.1));
    let known = condition(&facts.status.conditions, "Stalled");
    let news = stall.filter(|stall| known.is_none_or(|known| known.status != "True" || known.reason != stall.reason));
    let mut notes: Vec<Note> =
        news.map(|stall| Note { warning: true, reason: stall.reason, message: message.clone() }).into_iter().collect();
    if done && status.changes.len() > 1 {
        // Events are read by more people than the request is: they do not say what somebody commented.
        let message = status.summary.clone().unwrap_or_default();
        notes.push(Note { warning: failed, reason: "Completed", message });
    }
    for (type_, status_, reason) in [
        ("Completed", completed.0, completed.1),
        ("Approved", approved.0, approved.1),
        ("Executed", executed.0, executed.1),
        ("Ready", truth(done && !failed), completed.1),
        ("Reconciling", truth(!done && stall.is_none()), completed.1),
        ("Stalled", truth(stalled.is_some()), stalled.unwrap_or(if done { completed.1 } else { "Progressing" })),
    ] {
        let says = Says { type_, status: status_, reason, message: &message };
        set_condition(&mut status.conditions, says, facts.request.generation, facts.now);
    }
    notes
}

/// How many changes there are and where they stand, e.g. `3: 1 Executed, 2 InApproval`.
fn summary(changes: &[ChangeStatus]) -> String {
    if let [only] = changes {
        return format!("1: {}", state(only.state));
    }
    let counts = ORDER.iter().rev().filter_map(|wanted| {
        let count = changes.iter().filter(|change| change.state == *wanted).count();
        (count > 0).then(|| format!("{count} {}", state(*wanted)))
    });
    format!("{}: {}", changes.len(), counts.collect::<Vec<_>>().join(", "))
}

/// Where each change stands, in a sentence; what matters first.
fn told(status: &ChangeRequestStatus) -> String {
    let mut changes: Vec<&ChangeStatus> = status.changes.iter().collect();
    changes.sort_by_key(|change| ORDER.iter().position(|state| *state == change.state));
    let told = changes.iter().map(|change| {
        let said = change.message.as_deref().unwrap_or("not looked at yet");
        format!("change {} {}: {said}", change.name, state(change.state))
    });
    let mut told = told.collect::<Vec<_>>().join("; ");
    if let Some(by) = &status.superseded_by {
        told = format!("corrected by changerequest {by}; {told}");
    }
    told
}
