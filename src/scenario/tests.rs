//! What a reader is told about a scenario that is wrong: the line, the field and what to do.

use super::{NamedFile, Scenario, play, read};

const STORY: &str = "\
about: Two reviewers must agree.
definition:
  nodes:
    - name: review
      approval: {approvers: [{role: reviewers}], required: 2}
identities: {mary: {aliases: [mary@github]}, john: {}}
roles: {reviewers: {members: [mary, john]}}
timeline:
  - at: +10s
    signals:
      - {by: mary, decision: Approve, verdict: Counted}
      - {by: mary@github, decision: Approve, verdict: AlreadyDecided}
  - at: +20s
    signals:
      - {by: john, decision: Approve, verdict: Counted}
expect: {outcome: Approved}
";

const PEOPLE: &str = "\
apiVersion: quorate.dev/v1alpha1
kind: List
items:
  - apiVersion: quorate.dev/v1alpha1
    kind: Identity
    metadata: {name: mary}
    spec: {username: mary, alias: [mary@github]}
  - apiVersion: other.example/v1
    kind: Identity
    metadata: {name: cloud}
";

const DEFINITIONS: &str = "\
# Manifests of all kinds.
---
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
---
apiVersion: quorate.dev/v1alpha1
kind: WorkflowDefinition
metadata: {name: review}
spec: {nodes: [{name: review, approval: {approvers: [{user: mary}]}}]}
---
apiVersion: quorate.dev/v1alpha1
kind: WorkflowDefinition
metadata: {name: other}
spec: {nodes: [{name: review, approval: {approvers: [{user: john}]}}]}
";

fn file(name: &str) -> Result<Vec<NamedFile>, String> {
    let text = match name {
        "people.yaml" => PEOPLE,
        "definitions.yaml" => DEFINITIONS,
        "bare.yaml" => "nodes: [{name: review, approval: {approvers: [{user: mary}]}}]",
        _ => return Err(format!("{name}: no such file")),
    };
    Ok(vec![NamedFile { name: name.to_owned(), text: text.to_owned() }])
}

/// What is said of that text.
fn findings(text: &str) -> Vec<String> {
    let findings = read(text, file).and_then(|scenario: Scenario| play(&scenario)).err().unwrap_or_default();
    findings.iter().map(ToString::to_string).collect()
}

/// What is said of the story with `old` replaced.
fn says(old: &str, new: &str, expected: &[&str]) {
    assert!(STORY.contains(old), "the story has no {old}");
    assert_eq!(findings(&STORY.replacen(old, new, 1)), expected, "with {new}");
}

/// What is said when the story has its definition from there.
fn defined(by: &str, expected: &[&str]) {
    let text = format!(
        "about: A file.\ndefinition: {by}\ntimeline:\n  - signals: [{{by: mary, decision: Approve, verdict: Counted}}]\nexpect: {{outcome: Approved}}\n"
    );
    assert_eq!(findings(&text), expected, "with {by}");
}

#[test]
fn a_story_that_goes_as_expected_is_reported() {
    let scenario = read(STORY, file).expect("a scenario");
    let report = play(&scenario).expect("no findings");
    let verdicts: Vec<_> = report.verdicts.iter().map(|verdict| verdict.reason.to_string()).collect();
    assert_eq!(verdicts, ["Counted", "AlreadyDecided", "Counted"]);
    assert_eq!(report.status.decisions.len(), 2);
}

#[test]
fn what_differs_is_told_with_its_line() {
    says(
        "verdict: AlreadyDecided",
        "verdict: Counted, says: reviewer",
        &[
            "line 12, timeline[0].signals[1].verdict: expected Counted, found AlreadyDecided, which says: mary@github \
             decided this visit of step review before: Approve (mary)",
            "line 12, timeline[0].signals[1].says: expected the message to have\n  reviewer\nfound\n  mary@github \
             decided this visit of step review before: Approve (mary)",
        ],
    );
    says(
        "outcome: Approved",
        "outcome: none, path: [review, Approved]",
        &["line 16, expect.outcome: expected none, found Approved; \
         the instance says: step review approved by mary, john"],
    );
    says(
        "outcome: Approved",
        "tasks: {legal: {}}, verdicts: {john: TooOld}",
        &[
            "line 16, expect.tasks.legal: there is no such task; tasks are [\"default\"]",
            "line 16, expect.verdicts.john: expected TooOld, found Counted, which says: approval of john counted for \
         partition default of step review, visit 1, through role reviewers",
        ],
    );
}

#[test]
fn a_field_that_does_not_exist_is_told_with_its_line() {
    says(
        "decision:",
        "decison:",
        &["line 11, timeline[0].signals[0].decison: unknown field `decison`, expected one of \
         name, by, groups, decision, step, partition, visit, instanceUID, comment, fields, delegateTo, approvers, rights, \
         sent, verdict, says"],
    );
    says(
        "required: 2",
        "requires: 2",
        &["line 5, definition.nodes[0].approval.requires: there is no such field; fields \
         are approvers, escalations, fields, notifications, notify, notifyUser, outcomeIfNoApprovers, partitions, \
         rejections, requireComment, required, selfApproval, separateFrom, timeout, viewers"],
    );
    says(
        "aliases:",
        "alias:",
        &["line 6, identities.mary.alias: there is no such field; fields are active, aliases, attributes, \
         displayName, email, guarantors, locale, managers, type, username, validFrom, validUntil"],
    );
}

#[test]
fn a_value_that_cannot_be_is_told_with_its_line() {
    says(
        "at: +20s",
        "at: soon",
        &["line 13, timeline[1].at: soon is neither a time such as 2027-01-01T00:00:00Z nor an \
         offset such as +1h30m"],
    );
    says(
        "at: +20s",
        "at: +5s",
        &["line 13, timeline[1].at: is before the step before; time goes on, but a clock can \
         jump back (clock: -1h)"],
    );
    says("at: +20s", "clock: 5", &["line 13, timeline[1].clock: 5 is no duration such as 1h30m"]);
    says(
        "required: 2",
        "required: 2, rejections: many",
        &["line 5, definition.nodes[0].approval.rejections: \"many\" is \
         no integer"],
    );
    says(
        "required: 2",
        "required: 2, selfApproval: Always",
        &["line 5, definition.nodes[0].approval.selfApproval: \
         \"Always\" is none of Forbid, Allow"],
    );
    says("members: [mary, john]", "members: [{}]", &["line 7, roles.reviewers.members[0]: identity is missing"]);
    says(
        "at: +20s",
        "directory: {identities: {eve: null}}",
        &["line 13, timeline[1].directory.identities.eve: there \
         is no such identity to remove"],
    );
}

#[test]
fn a_story_that_expects_nothing_shows_nothing() {
    says(
        "expect: {outcome: Approved}\n",
        "",
        &["expect: is missing; say what holds at the end, e.g. {outcome: Approved}"],
    );
    says("Two reviewers must agree.", "' '", &["line 1, about: say in a sentence what the scenario shows"]);
}

#[test]
fn a_definition_may_be_in_a_file() {
    defined("{file: bare.yaml}", &[]);
    defined("{file: definitions.yaml, name: review}", &[]);
    defined(
        "{file: definitions.yaml}",
        &["line 2, definition: definitions.yaml has the WorkflowDefinitions review, \
         other; choose one by name"],
    );
    defined(
        "{file: definitions.yaml, name: reviw}",
        &["line 2, definition: definitions.yaml has no WorkflowDefinition \
         reviw; it has review, other"],
    );
    defined("{file: people.yaml}", &["line 2, definition: people.yaml has no WorkflowDefinition"]);
    defined("{file: nowhere.yaml}", &["line 2, definition: nowhere.yaml: no such file"]);
}

#[test]
fn a_directory_may_be_in_files() {
    let with = |directory: &str| findings(&STORY.replacen("roles:", &format!("directory: {directory}\nroles:"), 1));
    let unknown = "people.yaml, line 7, items[0].spec.alias: there is no such field; fields are active, aliases, attributes, \
                   displayName, email, guarantors, locale, managers, type, username, validFrom, validUntil";
    let again = "people.yaml, line 7, items[0].spec: there is another Identity mary; each may be given once";
    assert_eq!(with("{files: [people.yaml]}"), [unknown, again]);
    let none = "line 7, directory.files[0]: definitions.yaml has no Identity and no BusinessRole";
    assert_eq!(with("{files: [definitions.yaml]}"), [none]);
}
