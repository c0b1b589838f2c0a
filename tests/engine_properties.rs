//! What must hold of every instance, whatever the definition, the directory, the signals and the clock: proptest makes up
//! stories and plays them through [`quorate::engine::advance`]. Who may decide is worked out here once more, in another way
//! than the engine does. Stories with a point of their own are in `tests/scenarios/`.
//!
//! - `story`: what a story is; `definitions`, `made_up`: how one is made up
//! - `play`: how it is played
//! - `rules`, `people`: what must hold of every computation
//! - `asked`: what must hold of what people are told
//!
//! The stories are the same every time, so that a change is blamed for what it did. Others, as many as you like:
//! `PROPTEST_CASES=5000 cargo test --test engine_properties`.

// A play has plans, and what is faulty has faults.
#![allow(clippy::similar_names)]

#[path = "properties/asked.rs"]
mod asked;
#[path = "properties/definitions.rs"]
mod definitions;
#[path = "properties/made_up.rs"]
mod made_up;
#[path = "properties/people.rs"]
mod people;
#[path = "properties/play.rs"]
mod play;
#[path = "properties/rules.rs"]
mod rules;
#[path = "properties/story.rs"]
mod story;
#[path = "properties/telling.rs"]
mod telling;

use definitions::any_definition;
use made_up::directory;
use play::Play;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::RngSeed;
use proptest::test_runner::TestRunner;
use quorate::api::{
    Actor, Approval, ApprovalSignalSpec, ApproverSource, Decision, NoApprovers, Node, Outcome, Quorum,
    WorkflowDefinitionSpec,
};
use quorate::diagram::{Drawing, mermaid};
use quorate::directory::Snapshot;
use quorate::engine::Signal;
use quorate::engine::graph::{GraphNode, check, compile, warnings};
use std::collections::{BTreeMap, BTreeSet};
use story::{CREATED_AT, Directory, Request, Story};

/// So many stories, the same every time; unless the environment says another number, of new ones.
fn config(cases: u32) -> ProptestConfig {
    let random = ProptestConfig::default().rng_seed;
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let (cases, rng_seed) = asked.map_or((cases, RngSeed::Fixed(2026)), |asked| (asked, random));
    ProptestConfig { cases, rng_seed, failure_persistence: None, max_shrink_iters: 4096, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(128))]

    #[test]
    fn every_story_keeps_the_rules(story in made_up::story()) {
        let mut play = Play::new(&story);
        play.operate()?;
        for (number, event) in story.events.iter().enumerate() {
            play.happen(event);
            play.operate()?;
            for number in [number, number + 5] {
                let (person, rights) = asked::somebody(number);
                asked::told_the_truth(&play, &person, &rights)?;
                asked::shown_to_the_right_people(&play, &person, &rights)?;
            }
        }
    }

    #[test]
    fn any_definition_compiles_or_says_where_it_is_wrong(definition in any_definition(), directory in directory()) {
        let roles = directory.roles.iter().map(|(name, spec)| (name.as_str(), spec));
        let directory = Snapshot::new(directory.identities.iter().map(|(name, spec)| (name.as_str(), spec)), roles);
        match compile(&definition) {
            Err(faults) => prop_assert!(!faults.is_empty() && faults.iter().all(|fault| fault.place.starts_with("spec."))),
            Ok(graph) => {
                prop_assert!(graph.nodes.contains_key(&graph.start));
                for (name, node) in &graph.nodes {
                    for (output, target) in node.edges() {
                        let leads = graph.nodes.contains_key(target.name()) || graph.end(target.name()).is_some();
                        prop_assert!(leads, "{output} of {name} leads nowhere");
                        let against = matches!(output, "rejected" | "expired");
                        prop_assert!(!against || graph.end(target.name()) != Some(Outcome::Approved));
                        let executes = matches!(graph.nodes.get(target.name()), Some(GraphNode::Execute(_)));
                        prop_assert!(!against || !executes);
                    }
                }
                for (_, step) in graph.steps() {
                    prop_assert!(step.partitions.iter().all(|rule| !rule.approvers.is_empty() && rule.rejections > 0));
                }
                let _ = (check(&graph, &directory), warnings(&graph), graph.needs(), mermaid(&Drawing::of(&graph, None)));
            }
        }
    }
}

fn plain(nodes: Vec<Node>) -> Story {
    Story {
        definitions: vec![WorkflowDefinitionSpec { nodes, ..WorkflowDefinitionSpec::default() }],
        directory: Directory {
            identities: BTreeMap::new(),
            roles: BTreeMap::new(),
            delegations: Vec::new(),
            calendars: false,
        },
        administrators: Vec::new(),
        request: Request {
            initiator: Some("anna"),
            subjects: Vec::new(),
            roles: [None; 3],
            excluded: Vec::new(),
            parameters: BTreeMap::new(),
            process: false,
        },
        events: Vec::new(),
    }
}

/// The most definitions can say: all steps are rejected as soon as they are entered, and lead back in the end. Neither the
/// stack nor the time may run out.
#[test]
fn the_longest_path_ends() {
    const LENGTH: usize = 200;
    let nobody = ApproverSource { user: Some("anna".to_owned()), ..ApproverSource::default() };
    let approval =
        Approval { approvers: vec![nobody], outcome_if_no_approvers: NoApprovers::Reject, ..Approval::default() };
    let nodes = (0..LENGTH).map(|number| Node {
        name: format!("step-{number}"),
        approval: Some(approval.clone()),
        next: BTreeMap::from([("rejected".to_owned(), format!("step-{}", (number + 1) % LENGTH))]),
        ..Node::default()
    });
    let story = plain(nodes.collect());
    let fresh = Play::new(&story);
    let plan = fresh.compute(&fresh.status, &[]);
    assert_eq!(plan.status.outcome, Some(Outcome::Failed));
    assert_eq!(plan.status.steps.len(), 20 * LENGTH);
}

/// R34: two hundred people sign in the same instant; everybody is counted once, and the instance advances at once.
#[test]
fn r34_two_hundred_in_one_second() {
    const PEOPLE: usize = 200;
    let group = ApproverSource { group: Some("everybody".to_owned()), ..ApproverSource::default() };
    let required = Some(Quorum::Number(i64::try_from(PEOPLE).expect("a number")));
    let approval = Approval { approvers: vec![group], required, ..Approval::default() };
    let story = plain(vec![Node { name: "one".to_owned(), approval: Some(approval), ..Node::default() }]);
    let signal = |number: usize| {
        let groups = vec!["everybody".to_owned()];
        let actor = Actor { username: format!("person-{number}"), uid: String::new(), groups };
        let spec =
            ApprovalSignalSpec { decision: Decision::Approve, actor: Some(actor), ..ApprovalSignalSpec::default() };
        Signal {
            name: format!("signal-{number}"),
            uid: format!("{:04}", (number * 7919) % 10_000),
            created_at: CREATED_AT,
            spec,
            rights: BTreeSet::new(),
        }
    };
    let fresh = Play::new(&story);
    let plan = fresh.compute(&fresh.status, &(0..PEOPLE).map(signal).collect::<Vec<_>>());
    assert_eq!(plan.status.outcome, Some(Outcome::Approved));
    assert_eq!(plan.status.decisions.len(), PEOPLE);
    assert!(plan.verdicts.iter().all(|verdict| verdict.reason.counted()));
}

/// A refusal is on record only when its verdict is written, and stands all the same: whoever is judged again is judged by how it
/// stood then. Fiona may not decide step one by the first signal; the second one counts
/// and opens step two; when the operator dies before it writes the verdicts, the refused one must not count in step two.
#[test]
fn a_refused_signal_stays_refused_after_a_crash() {
    let step = |name: &str, source: ApproverSource| Node {
        name: name.to_owned(),
        approval: Some(Approval { approvers: vec![source], ..Approval::default() }),
        ..Node::default()
    };
    let group = ApproverSource { group: Some("blue".to_owned()), ..ApproverSource::default() };
    let user = ApproverSource { user: Some("fiona".to_owned()), ..ApproverSource::default() };
    let story = plain(vec![step("one", group), step("two", user)]);
    let signal = |uid: &str, groups: Vec<String>| Signal {
        name: format!("signal-{uid}"),
        uid: uid.to_owned(),
        created_at: CREATED_AT,
        spec: ApprovalSignalSpec {
            decision: Decision::Approve,
            actor: Some(Actor { username: "fiona".to_owned(), uid: String::new(), groups }),
            ..ApprovalSignalSpec::default()
        },
        rights: BTreeSet::new(),
    };
    let signals = [signal("1", Vec::new()), signal("2", vec!["blue".to_owned()])];
    let play = Play::new(&story);
    let plan = play.compute(&play.status, &signals);
    let crashed = play.compute(&plan.status, &signals);
    assert_eq!(plan.status.decisions, crashed.status.decisions);
}

/// The stories are worth playing: enough of them start, and end in every way.
#[test]
fn stories_are_varied() {
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..500 {
        let story = made_up::story().new_tree(&mut runner).expect("a story").current();
        let mut play = Play::new(&story);
        let mut see = |what: String| *seen.entry(what).or_default() += 1;
        if !play.is_sound() {
            see("faulty".to_owned());
        }
        for event in &story.events {
            play.happen(event);
            let plan = play.compute(&play.status, &play.unjudged);
            for verdict in &plan.verdicts {
                see(verdict.reason.to_string());
            }
            play.take_note(&plan);
            play.take_over(plan);
        }
        see(format!("outcome {:?}", play.status.outcome));
        for visit in &play.status.steps {
            see(format!("output {:?}", visit.output));
            if visit.attempts > 1 {
                see("tried more than once".to_owned());
            }
            if visit.escalated > 0 {
                see("escalated".to_owned());
            }
        }
        for decision in &play.status.decisions {
            let for_whom = if decision.on_behalf_of.is_some() { " for somebody" } else { "" };
            see(format!("counted {:?}{for_whom}", decision.decision));
            let (origin, _) = decision.through.split_once(' ').unwrap_or_default();
            see(format!("through {origin}"));
        }
    }
    for (what, least) in [
        ("outcome Some(Approved)", 8),
        ("outcome Some(Rejected)", 8),
        ("outcome Some(Expired)", 1),
        ("outcome Some(Cancelled)", 8),
        ("outcome Some(Failed)", 8),
        ("outcome None", 8),
        ("output Some(\"approved\")", 20),
        ("output Some(\"restarted\")", 1),
        ("output Some(\"then\")", 2),
        ("output Some(\"done\")", 1),
        ("tried more than once", 1),
        ("escalated", 1),
        ("counted Approve", 40),
        ("counted Approve for somebody", 2),
        ("counted Delegate", 5),
        ("counted Reassign", 1),
        ("through administrators:", 3),
        ("through role", 10),
        ("through expression", 1),
        ("through supervisor", 1),
    ] {
        assert!(seen.get(what).is_some_and(|times| *times >= least), "{what}: {seen:#?}");
    }
    assert!(seen["faulty"] < 250, "{seen:#?}");
}
