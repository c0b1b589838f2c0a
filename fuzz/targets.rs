//! What is fuzzed: each function takes any bytes, and panics when Quorate is at fault. Shared by the targets of `cargo fuzz` and
//! by `tests/fuzz_corpus.rs`, which plays the corpus and some mutations of it in the ordinary test command.

use quorate::api::{BusinessRoleSpec, IdentitySpec, WorkflowDefinitionSpec, WorkflowInstanceStatus};
use quorate::cel::{Expression, Input};
use quorate::diagram::{Drawing, mermaid};
use quorate::directory::Snapshot;
use quorate::engine::graph::{check, compile, warnings};
use quorate::engine::input::SCOPE;
use quorate::engine::revision::Content;
use quorate::scenario::{Kind, play, read};
use serde_json::{Value, json};

/// Longer inputs find nothing that shorter ones do not, and slowly. The API server would take them to 1.5 MiB.
const LONGEST: usize = 16 * 1024;

/// YAML or JSON of a definition: it compiles or says where it is wrong, and whatever compiles can be checked, warned about, named
/// and drawn.
pub fn definition(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Ok(spec) = serde_saphyr::from_str::<WorkflowDefinitionSpec>(text) else { return };
    let graph = match compile(&spec) {
        Err(faults) => {
            assert!(!faults.is_empty(), "refused without a fault");
            assert!(
                faults.iter().all(|fault| fault.place.starts_with("spec.") && !fault.message.is_empty()),
                "{faults:?}"
            );
            return;
        }
        Ok(graph) => graph,
    };
    assert!(graph.nodes.contains_key(&graph.start), "the start {} is no node", graph.start);
    for (name, node) in &graph.nodes {
        for (output, target) in node.edges() {
            let leads = graph.nodes.contains_key(target.name()) || graph.end(target.name()).is_some();
            assert!(leads, "{output} of {name} leads to {}, which does not exist", target.name());
        }
    }
    for fault in check(&graph, &Snapshot::default()).iter().chain(&check(&graph, &directory())) {
        assert!(fault.place.starts_with("spec."), "{fault}");
    }
    for (need, place) in graph.needs() {
        assert!(!need.field().is_empty() && place.starts_with("spec."), "{need:?} {place}");
    }
    assert!(warnings(&graph).iter().all(|warning| warning.starts_with("spec.")));
    let _ = (graph.permissions(), graph.reads_decisions(), graph.step_names());
    let content = Content { workflow_name: "fuzz".to_owned(), workflow: spec.clone(), process: None };
    let (stored, name) = (content.text().expect("JSON"), content.name().expect("a name"));
    let stored: Value = serde_json::from_str(&stored).expect("JSON");
    let again = Content::read(&name, &stored).expect("a revision reads itself");
    assert_eq!(again.name().expect("a name"), name, "a revision that is read has another name");
    assert_eq!(compile(&again.workflow), Ok(graph.clone()), "a revision that is read is another workflow");
    assert!(!mermaid(&Drawing::of(&graph, None)).is_empty());
    assert!(!mermaid(&Drawing::of(&graph, Some(&on_the_way(&graph.start)))).is_empty());
}

/// A scenario: it is played, refused, or not as expected. A panic, or a promise that Quorate makes for every story and breaks, is
/// its fault. Files that it names do not exist.
pub fn story(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Ok(scenario) = read(text, |name| Err(format!("there is no file {name}"))) else { return };
    // Every step is computed half a dozen times.
    let signals: usize = scenario.timeline.iter().map(|step| step.signals.len()).sum();
    if scenario.timeline.len() > 40 || signals > 60 {
        return;
    }
    if let Err(findings) = play(&scenario) {
        let ours: Vec<_> = findings.iter().filter(|finding| finding.kind == Kind::Quorate).collect();
        assert!(ours.is_empty(), "{}", ours.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }
}

/// An expression: it compiles or says why not, and whatever compiles can be evaluated, over something and over nothing.
pub fn cel(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match Expression::compile(text, &SCOPE) {
        Err(why) => assert!(!why.is_empty(), "refused without a reason"),
        Ok(expression) => {
            assert_eq!(expression.source(), text);
            for input in [something(), Input::default()] {
                let value = expression.evaluate(&input);
                // Only what it comes to: an error that shows a map shows its fields in any order.
                assert_eq!(value.clone().ok(), expression.evaluate(&input).ok(), "an expression comes to two things");
                assert!(value.is_ok() || value.is_err_and(|why| !why.is_empty()), "fails without a reason");
                let _ = (expression.holds(&input), expression.strings(&input));
            }
        }
    }
}

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok().filter(|text| text.len() <= LONGEST)
}

/// One person, one role.
fn directory() -> Snapshot {
    let mary = IdentitySpec { username: "mary".to_owned(), active: true, ..IdentitySpec::default() };
    let role = BusinessRoleSpec { groups: vec!["staff".to_owned()], ..BusinessRoleSpec::default() };
    Snapshot::new([("mary", &mary)], [("security", &role)])
}

fn on_the_way(node: &str) -> WorkflowInstanceStatus {
    let visit = json!({"node": node, "visit": 1, "enteredAt": "2026-03-02T09:00:00Z"});
    let status = json!({"steps": [visit], "step": node, "outcome": "Cancelled"});
    serde_json::from_value(status).expect("a status")
}

fn something() -> Input {
    let person = json!({
        "name": "mary", "username": "mary", "managers": ["john"], "guarantors": [], "email": "mary@corp",
        "attributes": {"department": "IT", "level": 3, "external": false, "skills": ["a", "b"]},
    });
    let variables = json!({
        "object": {"spec": {"signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"], "n": 3}},
        "operation": "UPDATE",
        "initiator": {"username": "john", "uid": "", "groups": ["staff"]},
        "subjects": [person],
        "subject": person,
        "role": {"name": "security", "criticality": 7, "attributes": {"region": "EU"}},
        "parameters": {"amount": 12_000, "text": "žluťoučký", "list": [1, 2, 3], "ratio": 0.5, "big": i64::MAX},
        "decisions": [{"actor": "mary", "decision": "Approve", "step": "check", "visit": 1, "fields": {"met": true}}],
    });
    let Value::Object(variables) = variables else { return Input::default() };
    Input { variables, now: "2026-03-02T09:00:00Z".parse().ok(), directory: None }
}
