//! Plays a story. Pure.

use super::format::Scenario;
use super::world::World;
use super::{Finding, expect};
use crate::api::{WorkflowInstanceStatus, condition};
use crate::engine::Verdict;

/// What came of a story that went as expected.
#[derive(Clone, Debug)]
pub struct Report {
    /// The status of the instance at the end.
    pub status: WorkflowInstanceStatus,
    /// The verdicts, in the order in which the signals were sent.
    pub verdicts: Vec<Verdict>,
}

/// Plays a story to its end.
///
/// # Errors
/// Everything that is not as expected, in the order of the story. It is played on after that, so that later findings may follow
/// from earlier ones; but not after something that cannot be played.
pub fn play(scenario: &Scenario) -> Result<Report, Vec<Finding>> {
    let mut findings = Vec::new();
    let played = story(scenario, &mut findings);
    let report = played.map_err(|finding| findings.push(finding)).ok();
    for finding in &mut findings {
        finding.line = scenario.lines.of(&finding.place);
    }
    report.filter(|_| findings.is_empty()).ok_or(findings)
}

fn story(scenario: &Scenario, findings: &mut Vec<Finding>) -> Result<Report, Finding> {
    if scenario.about.trim().is_empty() {
        return Err(Finding::malformed("about", "say in a sentence what the scenario shows"));
    }
    let mut world = World::new(scenario)?;
    let place = if scenario.faults.is_some() { "faults" } else { "warnings" };
    if scenario.faults.is_some() || scenario.warnings.is_some() {
        if scenario.definition.is_none() || !scenario.timeline.is_empty() || scenario.expect.is_some() {
            return Err(Finding::malformed(place, "goes with a definition, without a timeline and without expect"));
        }
        expect::faults("fault", &world.faults(), scenario.faults.as_deref().unwrap_or_default(), findings);
        if let Some(warnings) = &scenario.warnings {
            expect::faults("warning", &world.warnings(), warnings, findings);
        }
        return Ok(Report { status: world.status, verdicts: Vec::new() });
    }
    if scenario.expect.is_none() && scenario.timeline.last().is_none_or(|step| step.expect.is_none()) {
        return Err(Finding::malformed("expect", "is missing; say what holds at the end, e.g. {outcome: Approved}"));
    }
    let mut plan = world.operate("", findings)?;
    for (number, step) in scenario.timeline.iter().enumerate() {
        let place = format!("timeline[{number}]");
        let sent = world.happen(step, &place)?;
        plan = world.operate(&place, findings)?;
        for (number, (line, uid)) in step.signals.iter().zip(sent).enumerate() {
            let place = format!("{place}.signals[{number}]");
            expect::verdict(&world, &uid, (&line.verdict, &format!("{place}.verdict")), findings);
            if let Some(says) = &line.says {
                let message = world.verdicts.get(&uid).map(|verdict| verdict.message.as_str()).unwrap_or_default();
                expect::says(message, says, &format!("{place}.says"), findings);
            }
        }
        if let Some(expect) = &step.expect {
            expect::compare(&world, &plan, expect, &format!("{place}.expect"), findings);
            if expect.notified.is_some() {
                world.notified.clear();
            }
        }
    }
    if let Some(expect) = &scenario.expect {
        expect::compare(&world, &plan, expect, "expect", findings);
    }
    let mut verdicts: Vec<(String, Verdict)> = world.verdicts.into_iter().collect();
    verdicts.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(Report { status: world.status, verdicts: verdicts.into_iter().map(|(_, verdict)| verdict).collect() })
}

/// What the instance says of itself.
pub(super) fn message(status: &WorkflowInstanceStatus) -> &str {
    condition(&status.conditions, "Ready").map(|ready| ready.message.as_str()).unwrap_or_default()
}
