//! Pictures of workflows, compared with those under tests/diagram, which are there to be looked at. After a change that is
//! meant, write them anew with `WRITE_DIAGRAMS=1 cargo test --test diagram`, and look at them.

use quorate::api::{Outcome, WorkflowDefinitionSpec, WorkflowInstanceStatus};
use quorate::diagram::{Drawing, Edge, Node, Shape, State, mermaid, svg};
use quorate::engine::graph::{Graph, compile};
use serde_json::{Value, json};
use std::path::Path;
use std::{env, fs};

#[test]
fn r18_one_step() {
    let graph = graph(&json!({"displayName": "Certificate for a client", "nodes": [
        {"name": "check", "displayName": "Two of five agree", "approval": {"approvers": [{"group": "enrollment-approvers"}], "required": 2}}
    ]}));
    is_as_drawn("one-step", &Drawing::of(&graph, None));
}

#[test]
fn r18_a_story_before_it_begins() {
    is_as_drawn("story", &Drawing::of(&story(), None));
}

#[test]
fn r18_a_story_while_people_decide() {
    let status = status(&json!({
        "title": "www.example.com for Mary Doe", "step": "check",
        "steps": [visit("check", 1, None)],
        "tasks": [task("identity", "Approved", 1), task("background", "Open", 0), task("payment", "Open", 1)]
    }));
    is_as_drawn("story-running", &Drawing::of(&story(), Some(&status)));
}

#[test]
fn r18_a_story_that_was_approved_at_the_second_try() {
    let status = status(&json!({
        "title": "www.example.com for Mary Doe", "outcome": "Approved",
        "steps": [
            visit("check", 1, Some("approved")), visit("supervise", 1, Some("rejected")), visit("check", 2, Some("approved")),
            visit("supervise", 2, Some("approved")), visit("Approved", 1, None)
        ],
    }));
    is_as_drawn("story-approved", &Drawing::of(&story(), Some(&status)));
}

#[test]
fn r18_a_story_that_was_withdrawn() {
    let status = status(&json!({"outcome": "Cancelled", "steps": [visit("check", 1, Some("cancelled"))],
        "tasks": [task("identity", "Approved", 1), task("background", "Superseded", 0), task("payment", "Superseded", 0)]}));
    is_as_drawn("story-withdrawn", &Drawing::of(&story(), Some(&status)));
}

#[test]
fn r18_forty_nodes_with_loops_and_conditions() {
    is_as_drawn("forty", &large(40));
}

#[test]
fn r18_titles_that_mean_harm() {
    is_as_drawn("hostile", &hostile());
}

#[test]
fn r15_who_is_told_is_drawn() {
    let tell =
        json!({"name": "tell", "notify": {"to": [{"person": "Managers"}, {"role": "owners"}, {"channel": "ops"}]}});
    let check = json!({"name": "check", "approval": {"approvers": [{"user": "mary"}]}});
    let drawing = Drawing::of(&graph(&json!({"nodes": [check, tell]})), None);
    assert!(mermaid(&drawing).contains("tells the managers, role owners, channel ops"), "{}", mermaid(&drawing));
}

#[test]
fn r18_every_node_is_drawn() {
    let drawing = large(40);
    let (text, picture) = (mermaid(&drawing), svg(&drawing));
    for node in &drawing.nodes {
        assert!(text.contains(&format!("\"{}", node.title.replace('?', "#63;"))), "{} in Mermaid", node.title);
        assert!(picture.contains(&format!("<g><title>{}", node.title)), "{} in SVG", node.title);
    }
}

#[test]
fn r18_nothing_that_people_wrote_is_left_as_it_is() {
    let (text, picture) = (mermaid(&hostile()), svg(&hostile()));
    for harm in ["<script", "onload=\"", "]]>", "\u{202e}", "\u{0}", "<!--", "%%{"] {
        assert!(!picture.contains(harm) || harm == "%%{", "{harm} in SVG");
        assert!(!text.contains(harm), "{harm} in Mermaid");
    }
    let quoted = text.lines().filter(|line| line.contains('"'));
    assert!(quoted.clone().count() > 5);
    for line in quoted {
        // The quotes are ours: one pair around a node, one around a label.
        assert!(line.matches('"').count() == 2, "{line}");
        assert!(!line.contains('`') && !line.contains('\\'), "{line}");
    }
}

#[test]
fn r18_large_workflows_stay_within_bounds() {
    let drawing = large(200);
    let (text, picture) = (mermaid(&drawing), svg(&drawing));
    assert!(text.len() < 50_000 && text.matches("\n  n").count() > 400, "{} bytes", text.len());
    assert!(picture.len() < 512 * 1024, "{} bytes", picture.len());
    assert!(picture.contains("stroke-dasharray") || picture.matches("<path").count() > 400, "lines");
}

#[test]
fn r18_titles_as_long_as_they_may_be_stay_within_bounds() {
    for character in ["\"", "&", "🎉"] {
        let mut drawing = large(200);
        for node in &mut drawing.nodes {
            node.title = character.repeat(256);
            node.notes = vec![character.repeat(4000); 12];
        }
        assert!(mermaid(&drawing).len() < 50_000, "{character}");
        assert!(svg(&drawing).len() < 4 * 1024 * 1024, "{character}");
    }
}

#[test]
fn r18_what_cannot_be_laid_out_in_time_is_listed() {
    let mut drawing = large(120);
    for from in 0..120 {
        for to in 0..40 {
            let label = format!("to {to}");
            drawing.edges.push(Edge { from: format!("n{from}"), to: format!("n{to}"), label, taken: false });
        }
    }
    assert!(svg(&drawing).contains("approved leads to Approved"));
    assert!(mermaid(&drawing).contains("more edges are not drawn"));
}

#[test]
fn r18_odd_drawings_are_drawn() {
    let node = |id: &str| Node {
        id: id.to_owned(),
        title: id.to_owned(),
        notes: Vec::new(),
        shape: Shape::Step,
        state: State::Untouched,
    };
    let edge =
        |from: &str, to: &str| Edge { from: from.to_owned(), to: to.to_owned(), label: "x".to_owned(), taken: true };
    for (nodes, edges) in [
        (vec![], vec![]),
        (vec![node("")], vec![edge("", "")]),
        (vec![node("alone"), node("also")], vec![]),
        (
            vec![node("a"), node("b")],
            vec![edge("a", "b"), edge("b", "a"), edge("a", "a"), edge("a", "a"), edge("a", "nowhere")],
        ),
    ] {
        let drawing = Drawing { nodes, edges, ..Drawing::default() };
        assert!(svg(&drawing).ends_with("</svg>\n"));
        assert!(mermaid(&drawing).starts_with("flowchart TD\n"));
    }
}

/// The picture and the text are those in tests/diagram.
#[track_caller]
fn is_as_drawn(name: &str, drawing: &Drawing) {
    for (kind, drawn) in [("svg", svg(drawing)), ("mmd", mermaid(drawing))] {
        assert_eq!(drawn, if kind == "svg" { svg(drawing) } else { mermaid(drawing) }, "twice the same");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/diagram/{name}.{kind}"));
        if env::var_os("WRITE_DIAGRAMS").is_some() {
            fs::write(&path, &drawn).expect("written");
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            drawn == expected,
            "tests/diagram/{name}.{kind} is drawn otherwise now; if that is meant: WRITE_DIAGRAMS=1 cargo test --test diagram, and look at it"
        );
    }
}

fn graph(spec: &Value) -> Graph {
    let spec: WorkflowDefinitionSpec = serde_json::from_value(spec.clone()).expect("a definition");
    compile(&spec).expect("a definition that works")
}

fn status(status: &Value) -> WorkflowInstanceStatus {
    serde_json::from_value(status.clone()).expect("a status")
}

fn visit(node: &str, visit: u32, output: Option<&str>) -> Value {
    let mut written = json!({"node": node, "visit": visit, "enteredAt": "2026-09-01T08:00:00Z"});
    if let Some(output) = output {
        written["leftAt"] = json!("2026-09-01T09:00:00Z");
        written["output"] = json!(output);
    }
    written
}

fn task(partition: &str, state: &str, approvals: u32) -> Value {
    json!({"step": "check", "visit": 1, "partition": partition, "state": state, "approvals": approvals, "required": 2, "rejections": 0})
}

/// Three look at it at once, then the supervisor, who may send it back.
fn story() -> Graph {
    graph(&json!({"displayName": "Enterprise web server certificate", "nodes": [
        {"name": "check", "displayName": "Verify the applicant", "approval": {"partitions": [
            {"name": "identity", "approvers": [{"role": "ra-administrators"}]},
            {"name": "background", "approvers": [{"role": "security"}, {"user": "cilla"}], "required": "60%"},
            {"name": "payment", "approvers": [{"group": "accounting"}], "required": 2, "rejections": 2}
        ]}, "next": {"rejected": "denied"}},
        {"name": "supervise", "displayName": "The supervisor agrees", "approval": {"approvers": [{"role": "supervisors"}], "required": "All"},
         "next": {"approved": "Approved", "rejected": "check"}},
        {"name": "denied", "end": {"outcome": "Rejected"}}
    ]}))
}

/// A workflow of so many nodes: steps that expire and are rejected, conditions that skip, loops that lead back.
fn large(count: usize) -> Drawing {
    let id = |place: usize| format!("n{place}");
    let mut drawing = Drawing { title: format!("Everything that {count} nodes can show"), ..Drawing::default() };
    let mut link = |from: String, to: String, label: &str, taken: bool| {
        drawing.edges.push(Edge { from, to, label: label.to_owned(), taken });
    };
    let ends = [("Approved", Outcome::Approved), ("Rejected", Outcome::Rejected), ("Expired", Outcome::Expired)];
    let inner = count - ends.len();
    let now = inner / 2;
    for place in 0..inner {
        let next = if place + 1 == inner { "Approved".to_owned() } else { id(place + 1) };
        let taken = place < now;
        match place % 5 {
            2 => {
                link(id(place), next, "then", taken);
                link(id(place), if place + 4 < inner { id(place + 4) } else { "Approved".to_owned() }, "else", false);
            }
            4 => link(id(place), next, "done", taken),
            kind => {
                let back = if kind == 3 { id(place - 3) } else { "Rejected".to_owned() };
                let late = if kind == 1 { id(place) } else { "Expired".to_owned() };
                link(id(place), next, "approved", taken);
                link(id(place), back, "rejected", false);
                link(id(place), late, "expired", false);
            }
        }
    }
    for place in 0..inner {
        let (shape, title, notes) = match place % 5 {
            2 => (
                Shape::Condition,
                format!("Is {place} critical?"),
                vec!["criticality of the role at least 3".to_owned()],
            ),
            4 => (Shape::Execute, format!("Carry out {place}"), Vec::new()),
            _ => (Shape::Step, format!("Step {place} of the long way"), vec!["2 of role reviewers".to_owned()]),
        };
        let state = match place {
            place if place < now => State::Taken,
            place if place == now => State::Current,
            _ => State::Untouched,
        };
        drawing.nodes.push(Node { id: id(place), title, notes, shape, state });
    }
    for (title, outcome) in ends {
        let (shape, state) = (Shape::End(outcome), State::Untouched);
        drawing.nodes.push(Node { id: title.to_owned(), title: title.to_owned(), notes: Vec::new(), shape, state });
    }
    drawing
}

fn hostile() -> Drawing {
    let titles = [
        "\"]; end [(<script>alert(1)</script>",
        "end",
        "1. a list\n- of # things & `code` $$x^2$$ %%{init: {}}%%",
        "Schválení žádosti: příliš žluťoučký kůň úpěl ďábelské ódy nad přihláškou k vydání certifikátu webového serveru",
        "\u{202e}gnp.exe\u{0}\u{1b}[31m ]]> <!-- --> onload=\"x\" click n0 href \"javascript:alert(1)\"",
        "**bold** _it_ [link](http://example.com) www.example.com <b>b</b> &lt; #quot; \\ | {x} (y)",
        "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
        "日本語の承認ワークフローの長い題名がここにありますので折り返します 👩‍👩‍👧",
    ];
    let mut drawing = Drawing { title: titles[0].to_owned(), outcome: Some(Outcome::Failed), ..Drawing::default() };
    for (place, title) in titles.iter().enumerate() {
        drawing.nodes.push(Node {
            id: (*title).to_owned(),
            title: (*title).to_owned(),
            notes: vec![titles[(place + 1) % titles.len()].to_owned(), "1. one of user \"x\"".to_owned()],
            shape: [Shape::Step, Shape::Condition, Shape::Execute, Shape::End(Outcome::Expired)][place % 4],
            state: [State::Current, State::Taken, State::Skipped, State::Untouched][place % 4],
        });
        let to = titles[(place + 1) % titles.len()].to_owned();
        drawing.edges.push(Edge { from: (*title).to_owned(), to, label: (*title).to_owned(), taken: place % 2 == 0 });
    }
    drawing
}
