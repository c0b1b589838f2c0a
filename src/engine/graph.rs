//! A definition, checked and made explicit: every edge written out, every short form expanded.
//!
//! [`compile`] finds what is wrong with a definition by itself, [`check`] what is wrong with it in a directory. Both name the
//! exact place, and both work offline.

use crate::api::{
    Approval, ApproverSource, EndOutcome, NoApprovers, Node, Outcome, Partition, Quorum, RequireComment, SelfApproval,
    WorkflowDefinitionSpec,
};
use crate::directory::Snapshot;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The name of the partition that the short form stands for.
pub const DEFAULT_PARTITION: &str = "default";

/// A definition that can work.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// What people call the workflow.
    pub title: Option<String>,
    /// The node to begin with.
    pub start: String,
    /// The nodes by name.
    pub nodes: BTreeMap<String, GraphNode>,
}

/// A node with its edges.
#[derive(Clone, Debug, PartialEq)]
pub enum GraphNode {
    /// People decide.
    Step(Step),
    /// The workflow ends.
    End(Outcome),
}

/// A step that people decide.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What people call it.
    pub title: String,
    /// Who decides, in parallel.
    pub partitions: Vec<Rule>,
    /// Whether initiator and subjects may decide.
    pub self_approval: SelfApproval,
    /// When a decision needs a comment.
    pub require_comment: RequireComment,
    /// What happens when nobody may decide.
    pub no_approvers: NoApprovers,
    /// Where approval leads.
    pub approved: Target,
    /// Where rejection leads.
    pub rejected: Target,
}

/// Who decides a partition, and how many are needed.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The name that signals use.
    pub name: String,
    /// Who may decide.
    pub approvers: Vec<ApproverSource>,
    /// How many approvals approve.
    pub required: Required,
    /// How many rejections reject.
    pub rejections: u32,
}

/// How many must approve.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Required {
    /// So many people.
    Number(u32),
    /// Everybody who may decide when the step is entered.
    All,
    /// That percentage of them, rounded up, at least one.
    Percent(u32),
}

/// Where an edge leads.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Target {
    /// To a node.
    Node(String),
    /// To a built-in end.
    End(String),
}

/// Something wrong, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// The field, e.g. `spec.nodes[check].next.approved`.
    pub place: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl Graph {
    /// The step of that name, if it is one.
    #[must_use]
    pub fn step(&self, name: &str) -> Option<&Step> {
        match self.nodes.get(name) {
            Some(GraphNode::Step(step)) => Some(step),
            _ => None,
        }
    }

    /// The names of all steps, for messages.
    #[must_use]
    pub fn step_names(&self) -> String {
        let steps = self.nodes.iter().filter(|(_, node)| matches!(node, GraphNode::Step(_)));
        steps.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The outcome that a node, or a built-in end, stands for.
    #[must_use]
    pub fn end(&self, name: &str) -> Option<Outcome> {
        match self.nodes.get(name) {
            Some(GraphNode::End(outcome)) => Some(*outcome),
            Some(GraphNode::Step(_)) => None,
            None => built_in_end(name),
        }
    }
}

/// The outcome of a built-in end.
#[must_use]
pub fn built_in_end(name: &str) -> Option<Outcome> {
    match name {
        "Approved" => Some(Outcome::Approved),
        "Rejected" => Some(Outcome::Rejected),
        "Expired" => Some(Outcome::Expired),
        _ => None,
    }
}

/// Checks a definition and makes it explicit.
///
/// # Errors
/// Every fault that can be found without a directory, each with its place.
pub fn compile(spec: &WorkflowDefinitionSpec) -> Result<Graph, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut nodes = BTreeMap::new();
    for (position, node) in spec.nodes.iter().enumerate() {
        let place = format!("spec.nodes[{}]", node.name);
        let compiled = compile_node(node, spec.nodes.get(position + 1), &place, &mut faults);
        if built_in_end(&node.name).is_some() {
            faults.push(fault(&place, format!("{} is a built-in end; give the node another name", node.name)));
        }
        if let Some(compiled) = compiled
            && nodes.insert(node.name.clone(), compiled).is_some()
        {
            faults.push(fault(&place, "another node has this name; node names are unique".to_owned()));
        }
    }
    let start = spec.start.clone().or_else(|| spec.nodes.first().map(|node| node.name.clone()));
    let Some(start) = start else {
        return Err(vec![fault("spec.nodes", "there is no node; add at least one approval".to_owned())]);
    };
    let known: BTreeSet<&str> = spec.nodes.iter().map(|node| node.name.as_str()).collect();
    if !known.contains(start.as_str()) {
        faults.push(fault("spec.start", format!("there is no node {start}; nodes are {}", listed(&known))));
    }
    for node in &spec.nodes {
        for (output, target) in &node.next {
            if !known.contains(target.as_str()) && built_in_end(target).is_none() {
                let message = format!(
                    "there is no node {target}; name one of {}, or an end: Approved, Rejected, Expired",
                    listed(&known)
                );
                faults.push(fault(&format!("spec.nodes[{}].next.{output}", node.name), message));
            }
        }
    }
    let graph = Graph { title: spec.display_name.clone(), start, nodes };
    if faults.is_empty() {
        faults.extend(unreachable(&graph));
        faults.extend(approval_by_rejection(&graph));
        if graph.end(&graph.start) == Some(Outcome::Approved) {
            let message = format!("{} ends Approved before anybody was asked; start with an approval", graph.start);
            faults.push(fault("spec.start", message));
        }
    }
    if faults.is_empty() { Ok(graph) } else { Err(faults) }
}

/// What is wrong with a definition in this directory: roles that do not exist, and quorums that cannot be counted.
#[must_use]
pub fn check(graph: &Graph, directory: &Snapshot) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, node) in &graph.nodes {
        let GraphNode::Step(step) = node else {
            continue;
        };
        for rule in &step.partitions {
            for (position, source) in rule.approvers.iter().enumerate() {
                let Some(role) = &source.role else { continue };
                let place = place_of(name, step, rule);
                if !directory.has_role(role) {
                    let place = format!("{place}.approvers[{position}].role");
                    faults
                        .push(fault(&place, format!("there is no BusinessRole {role}; create it or name another one")));
                } else if !matches!(rule.required, Required::Number(_)) {
                    let groups = directory.role_groups(role);
                    if let Some(group) = groups.first() {
                        faults.push(open_quorum(&place, &format!("role {role} is held by group {group}")));
                    }
                }
            }
        }
    }
    faults
}

fn compile_node(node: &Node, following: Option<&Node>, place: &str, faults: &mut Vec<Fault>) -> Option<GraphNode> {
    match (&node.approval, &node.end) {
        (Some(approval), None) => {
            for output in node.next.keys().filter(|output| !["approved", "rejected"].contains(&output.as_str())) {
                let message = "an approval has the outputs approved and rejected; remove this one".to_owned();
                faults.push(fault(&format!("{place}.next.{output}"), message));
            }
            let approved = match (node.next.get("approved"), following) {
                (Some(target), _) => Target::named(target),
                (None, Some(following)) if following.end.is_some() => {
                    let message = format!(
                        "approved would fall into the end {0} only because it comes next; write next: {{approved: {0}}} or next: {{approved: Approved}}",
                        following.name
                    );
                    faults.push(fault(&format!("{place}.next.approved"), message));
                    Target::End("Approved".to_owned())
                }
                (None, Some(following)) => Target::Node(following.name.clone()),
                (None, None) => Target::End("Approved".to_owned()),
            };
            let rejected = node
                .next
                .get("rejected")
                .map_or_else(|| Target::End("Rejected".to_owned()), |target| Target::named(target));
            let partitions = compile_partitions(approval, place, faults);
            Some(GraphNode::Step(Step {
                title: node.display_name.clone().unwrap_or_else(|| node.name.clone()),
                partitions,
                self_approval: approval.self_approval,
                require_comment: approval.require_comment,
                no_approvers: approval.outcome_if_no_approvers,
                approved,
                rejected,
            }))
        }
        (None, Some(end)) => {
            if let Some(output) = node.next.keys().next() {
                faults.push(fault(&format!("{place}.next.{output}"), "an end leads nowhere; remove next".to_owned()));
            }
            Some(GraphNode::End(match end.outcome {
                EndOutcome::Approved => Outcome::Approved,
                EndOutcome::Rejected => Outcome::Rejected,
                EndOutcome::Expired => Outcome::Expired,
            }))
        }
        _ => {
            faults.push(fault(place, "a node is exactly one of approval, end".to_owned()));
            None
        }
    }
}

fn compile_partitions(approval: &Approval, place: &str, faults: &mut Vec<Fault>) -> Vec<Rule> {
    let place = format!("{place}.approval");
    if approval.partitions.is_empty() == approval.approvers.is_empty() {
        let message = "an approval has either partitions, or approvers (the short form of one partition)";
        faults.push(fault(&place, message.to_owned()));
    }
    if approval.partitions.is_empty() {
        let short = Partition {
            name: DEFAULT_PARTITION.to_owned(),
            display_name: None,
            approvers: approval.approvers.clone(),
            required: approval.required.clone(),
            rejections: approval.rejections,
        };
        return vec![compile_rule(&short, &place, faults)];
    }
    for (field, written) in [("required", approval.required.is_some()), ("rejections", approval.rejections.is_some())] {
        if written {
            let message = format!("with partitions, {field} belongs inside each partition");
            faults.push(fault(&format!("{place}.{field}"), message));
        }
    }
    let mut names = BTreeSet::new();
    let mut rules = Vec::new();
    for partition in &approval.partitions {
        let place = format!("{place}.partitions[{}]", partition.name);
        if partition.approvers.is_empty() {
            let message = "nobody is named; name at least one user, group or role".to_owned();
            faults.push(fault(&format!("{place}.approvers"), message));
        }
        if !names.insert(&partition.name) {
            faults.push(fault(&place, "another partition has this name; partition names are unique".to_owned()));
        }
        rules.push(compile_rule(partition, &place, faults));
    }
    rules
}

fn compile_rule(partition: &Partition, place: &str, faults: &mut Vec<Fault>) -> Rule {
    let required = match &partition.required {
        None => Required::Number(1),
        Some(quorum) => match required(quorum) {
            Some(required) => required,
            None => {
                let written = match quorum {
                    Quorum::Number(number) => number.to_string(),
                    Quorum::Text(text) => text.clone(),
                };
                let message = format!(
                    "{written} is no quorum; write a number from 1 to 10000, All, or a percentage from 1% to 100%"
                );
                faults.push(fault(&format!("{place}.required"), message));
                Required::Number(1)
            }
        },
    };
    let rejections = partition.rejections.unwrap_or(1);
    if rejections == 0 {
        faults.push(fault(
            &format!("{place}.rejections"),
            "0 rejections would reject at once; write at least 1".to_owned(),
        ));
    }
    for (position, source) in partition.approvers.iter().enumerate() {
        let fields = [&source.user, &source.group, &source.role].iter().filter(|field| field.is_some()).count();
        if fields != 1 {
            let place = format!("{place}.approvers[{position}]");
            faults.push(fault(&place, "an approver source is exactly one of user, group, role".to_owned()));
        }
        if let (Some(group), Required::All | Required::Percent(_)) = (&source.group, required) {
            faults.push(open_quorum(place, &format!("approvers[{position}] is group {group}")));
        }
    }
    Rule { name: partition.name.clone(), approvers: partition.approvers.clone(), required, rejections }
}

/// All and percentages need a list of people; Kubernetes cannot list the members of a group (semantics.md 2).
fn open_quorum(place: &str, why: &str) -> Fault {
    let message = format!(
        "{why}, and Kubernetes cannot list the members of a group; write a number instead of All or a percentage"
    );
    fault(&format!("{place}.required"), message)
}

fn required(quorum: &Quorum) -> Option<Required> {
    match quorum {
        Quorum::Number(number) => {
            u32::try_from(*number).ok().filter(|number| (1..=10_000).contains(number)).map(Required::Number)
        }
        Quorum::Text(text) if text == "All" => Some(Required::All),
        Quorum::Text(text) => {
            let digits = text.strip_suffix('%')?;
            let plain =
                digits.len() <= 3 && !digits.starts_with('0') && digits.bytes().all(|digit| digit.is_ascii_digit());
            let percent = digits.parse().ok().filter(|percent| plain && (1..=100).contains(percent))?;
            Some(Required::Percent(percent))
        }
    }
}

impl Target {
    fn named(name: &str) -> Self {
        match built_in_end(name) {
            Some(_) => Self::End(name.to_owned()),
            None => Self::Node(name.to_owned()),
        }
    }

    /// The name of the node or end.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Node(name) | Self::End(name) => name,
        }
    }
}

fn unreachable(graph: &Graph) -> Vec<Fault> {
    let mut reached = BTreeSet::new();
    let mut open = vec![graph.start.as_str()];
    while let Some(name) = open.pop() {
        if reached.insert(name)
            && let Some(step) = graph.step(name)
        {
            open.extend([step.approved.name(), step.rejected.name()]);
        }
    }
    let lost = graph.nodes.keys().filter(|name| !reached.contains(name.as_str()));
    lost.map(|name| {
        let message = format!("no path from {} leads here; point an edge at it or remove it", graph.start);
        fault(&format!("spec.nodes[{name}]"), message)
    })
    .collect()
}

/// A rejection may not approve (semantics.md 13): the edge `rejected` may lead to another step, never straight to an approval.
fn approval_by_rejection(graph: &Graph) -> Vec<Fault> {
    let steps = graph.nodes.keys().filter_map(|name| graph.step(name).map(|step| (name, step)));
    steps
        .filter(|(_, step)| graph.end(step.rejected.name()) == Some(Outcome::Approved))
        .map(|(name, step)| {
            let message = format!(
                "a rejection may not end Approved; {} does, so lead to another step or to Rejected",
                step.rejected.name()
            );
            fault(&format!("spec.nodes[{name}].next.rejected"), message)
        })
        .collect()
}

fn place_of(node: &str, step: &Step, rule: &Rule) -> String {
    if step.partitions.len() == 1 && rule.name == DEFAULT_PARTITION {
        format!("spec.nodes[{node}].approval")
    } else {
        format!("spec.nodes[{node}].approval.partitions[{}]", rule.name)
    }
}

fn listed(names: &BTreeSet<&str>) -> String {
    names.iter().copied().collect::<Vec<_>>().join(", ")
}

fn fault(place: &str, message: String) -> Fault {
    Fault { place: place.to_owned(), message }
}
