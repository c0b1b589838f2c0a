//! A definition, checked and made explicit: every edge written out, every short form expanded, every expression compiled.
//!
//! [`compile()`] finds what is wrong with a definition by itself, [`check()`] what is wrong with it in a directory, and
//! [`Graph::needs`] what a request must supply for it. All name the exact place, and all work offline.

mod check;
mod compile;
mod telling;

pub use check::{check, supplied, warnings};
pub use compile::compile;
pub use telling::{Telling, To, check_notifications, compile_notifications, is_mailbox};

use super::activity::Work;
use super::condition::Test;
use super::input;
use super::source::{Need, Source};
use crate::api::{Field, NoApprovers, Outcome, RequireComment, SelfApproval, TopicRef};
use crate::cel::Expression;
use jiff::SignedDuration;
use std::collections::BTreeMap;
use std::fmt;

/// The name of the partition that the short form stands for.
pub const DEFAULT_PARTITION: &str = "default";

/// A definition that can work.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// What people call the workflow.
    pub title: Option<String>,
    /// The same in other languages.
    pub names: BTreeMap<String, String>,
    /// Who is told what, about any part of it.
    pub notifications: Vec<Telling>,
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
    /// The facts decide.
    Condition(Branch),
    /// The operation is carried out.
    Execute(Execution),
    /// Somebody is told.
    Notify(Notice),
    /// The operator does something by itself.
    Action(Act),
    /// The workflow ends.
    End(Outcome),
}

/// A step that people decide.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What people call it.
    pub title: String,
    /// The same in other languages.
    pub names: BTreeMap<String, String>,
    /// Who decides, in parallel.
    pub partitions: Vec<Rule>,
    /// Whether initiator and subjects may decide.
    pub self_approval: SelfApproval,
    /// When a decision needs a comment.
    pub require_comment: RequireComment,
    /// What happens when nobody may decide.
    pub no_approvers: NoApprovers,
    /// Steps whose deciders may not decide here.
    pub separate_from: Vec<String>,
    /// How long people have.
    pub timeout: Option<Timeout>,
    /// Who else is asked, and when.
    pub escalations: Vec<Level>,
    /// Where approval leads.
    pub approved: Target,
    /// Where rejection leads.
    pub rejected: Target,
    /// Where the end of its time leads.
    pub expired: Target,
}

/// A node that the facts decide.
#[derive(Clone, Debug, PartialEq)]
pub struct Branch {
    /// What people call it.
    pub title: String,
    /// What is asked.
    pub test: Test,
    /// Where it leads when that holds.
    pub then: Target,
    /// Where it leads when that does not hold.
    pub otherwise: Target,
}

/// The node at which the operation is carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Execution {
    /// What people call it.
    pub title: String,
    /// Where it leads.
    pub done: Target,
}

/// A node at which somebody is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// What people call it.
    pub title: String,
    /// Who is told.
    pub to: Vec<To>,
    /// The topic; none: the built-in one.
    pub topic: Option<String>,
    /// Where it leads.
    pub done: Target,
}

/// A node at which the operator does something by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Act {
    /// What people call it.
    pub title: String,
    /// What is done.
    pub work: Work,
    /// Where it leads when that is done.
    pub done: Target,
    /// Where it leads when that failed.
    pub failed: Target,
    /// Where it leads when that was not done in time.
    pub timed_out: Target,
}

/// Who decides a partition, and how many are needed.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The name that signals use.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// The same in other languages.
    pub names: BTreeMap<String, String>,
    /// Who may decide.
    pub approvers: Vec<Source>,
    /// What reaches the members of groups among them.
    pub mails: Vec<Mail>,
    /// Who may see what is recorded, besides them.
    pub viewers: Vec<Source>,
    /// How many approvals approve.
    pub required: Required,
    /// How many rejections reject.
    pub rejections: u32,
    /// What an approval records.
    pub fields: Vec<Field>,
    /// Whether and how whoever may decide is told so.
    pub notify: Option<TopicRef>,
    /// Whether and how those whom it is about are told what becomes of it.
    pub notify_user: Option<TopicRef>,
    /// Who else is told what about it.
    pub notifications: Vec<Telling>,
}

/// An address that reaches the members of a group, whom Kubernetes cannot list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mail {
    /// The position of the source among the approvers.
    pub source: usize,
    /// The group.
    pub group: String,
    /// The address.
    pub address: String,
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

/// How long people have in a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeout {
    /// From the moment that it is entered.
    pub span: Span,
    /// The output by which it is left then.
    pub output: &'static str,
}

/// A level of escalation.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    /// From the moment that the step is entered.
    pub span: Span,
    /// Who is asked besides.
    pub approvers: Vec<Source>,
    /// What reaches the members of groups among them.
    pub mails: Vec<Mail>,
    /// The topic by which they are told; none: the built-in one.
    pub topic: Option<String>,
}

/// A time limit.
#[derive(Clone, Debug, PartialEq)]
pub enum Span {
    /// So long.
    After(SignedDuration),
    /// So many business days.
    BusinessDays {
        /// How many.
        days: u32,
        /// The `BusinessCalendar`.
        calendar: String,
    },
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(duration) => write!(f, "{duration:#}"),
            Self::BusinessDays { days: 1, calendar } => write!(f, "1 business day of {calendar}"),
            Self::BusinessDays { days, calendar } => write!(f, "{days} business days of {calendar}"),
        }
    }
}

/// Where an edge leads.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Target {
    /// To a node.
    Node(String),
    /// To a built-in end.
    End(String),
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

impl GraphNode {
    /// The outputs, and where each leads.
    #[must_use]
    pub fn edges(&self) -> Vec<(&'static str, &Target)> {
        match self {
            Self::Step(step) => {
                let mut edges = vec![("approved", &step.approved), ("rejected", &step.rejected)];
                if step.timeout.as_ref().is_some_and(|timeout| timeout.output == "expired") {
                    edges.push(("expired", &step.expired));
                }
                edges
            }
            Self::Condition(branch) => vec![("then", &branch.then), ("else", &branch.otherwise)],
            Self::Execute(execution) => vec![("done", &execution.done)],
            Self::Notify(notice) => vec![("done", &notice.done)],
            Self::Action(act) => vec![("done", &act.done), ("failed", &act.failed), ("timedOut", &act.timed_out)],
            Self::End(_) => Vec::new(),
        }
    }

    /// Where an output leads.
    #[must_use]
    pub fn target(&self, output: &str) -> Option<&Target> {
        self.edges().into_iter().find(|(name, _)| *name == output).map(|(_, target)| target)
    }
}

impl Step {
    /// The partition of that name.
    #[must_use]
    pub fn partition(&self, name: &str) -> Option<&Rule> {
        self.partitions.iter().find(|rule| rule.name == name)
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

    /// The steps by name.
    pub fn steps(&self) -> impl Iterator<Item = (&str, &Step)> {
        self.nodes.iter().filter_map(|(name, node)| match node {
            GraphNode::Step(step) => Some((name.as_str(), step)),
            _ => None,
        })
    }

    /// The actions by name.
    pub fn actions(&self) -> impl Iterator<Item = (&str, &Act)> {
        self.nodes.iter().filter_map(|(name, node)| match node {
            GraphNode::Action(act) => Some((name.as_str(), act)),
            _ => None,
        })
    }

    /// The names of all steps, for messages.
    #[must_use]
    pub fn step_names(&self) -> String {
        self.steps().map(|(name, _)| name).collect::<Vec<_>>().join(", ")
    }

    /// The outcome that a node, or a built-in end, stands for.
    #[must_use]
    pub fn end(&self, name: &str) -> Option<Outcome> {
        match self.nodes.get(name) {
            Some(GraphNode::End(outcome)) => Some(*outcome),
            Some(_) => None,
            None => built_in_end(name),
        }
    }

    /// Every source of approvers and viewers, each with its place.
    pub fn sources(&self) -> impl Iterator<Item = (String, &Source)> {
        self.steps().flat_map(|(name, step)| {
            let listed = |place: String, list: &'static str| {
                move |(position, source)| (format!("{place}.{list}[{position}].{}", Source::field(source)), source)
            };
            let partitions = step.partitions.iter().flat_map(move |rule| {
                let place = place_of(name, step, rule);
                let approvers = rule.approvers.iter().enumerate().map(listed(place.clone(), "approvers"));
                approvers.chain(rule.viewers.iter().enumerate().map(listed(place, "viewers")))
            });
            let escalations = step.escalations.iter().enumerate().flat_map(move |(level, escalation)| {
                let place = format!("spec.nodes[{name}].approval.escalations[{level}]");
                escalation.approvers.iter().enumerate().map(listed(place, "approvers"))
            });
            partitions.chain(escalations)
        })
    }

    /// Every expression.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        let sources = self.sources().filter_map(|(_, source)| match source {
            Source::Expression(expression) => Some(expression),
            _ => None,
        });
        let conditions = self.nodes.values().filter_map(|node| match node {
            GraphNode::Condition(branch) => branch.test.expression(),
            _ => None,
        });
        let actions = self.actions().flat_map(|(_, act)| act.work.expressions());
        sources.chain(conditions).chain(actions)
    }

    /// Whether an expression reads what was decided before.
    #[must_use]
    pub fn reads_decisions(&self) -> bool {
        self.expressions().any(|expression| expression.references("decisions"))
    }

    /// The verbs on the process that make somebody an approver or a viewer.
    #[must_use]
    pub fn permissions(&self) -> Vec<&str> {
        let verbs = self.sources().filter_map(|(_, source)| match source {
            Source::Permission(verb) => Some(verb.as_str()),
            _ => None,
        });
        let mut verbs: Vec<_> = verbs.collect();
        verbs.sort_unstable();
        verbs.dedup();
        verbs
    }

    /// What a request must supply, and the first place that needs it.
    #[must_use]
    pub fn needs(&self) -> BTreeMap<Need, String> {
        let mut needs = BTreeMap::new();
        for (place, source) in self.sources() {
            for need in source.needs() {
                needs.entry(need).or_insert_with(|| place.clone());
            }
        }
        for (name, node) in &self.nodes {
            if let GraphNode::Condition(branch) = node {
                for need in branch.test.needs() {
                    needs.entry(need).or_insert_with(|| format!("spec.nodes[{name}].condition"));
                }
            }
        }
        for (name, act) in self.actions() {
            for need in act.work.expressions().into_iter().flat_map(input::needs) {
                needs.entry(need).or_insert_with(|| format!("spec.nodes[{name}].action"));
            }
        }
        needs
    }
}

/// The outcome of a built-in end.
#[must_use]
pub fn built_in_end(name: &str) -> Option<Outcome> {
    match name {
        "Approved" => Some(Outcome::Approved),
        "Rejected" => Some(Outcome::Rejected),
        "Expired" => Some(Outcome::Expired),
        "Failed" => Some(Outcome::Failed),
        _ => None,
    }
}

/// The place of a partition; the short form has none of its own.
fn place_of(node: &str, step: &Step, rule: &Rule) -> String {
    if step.partitions.len() == 1 && rule.name == DEFAULT_PARTITION {
        format!("spec.nodes[{node}].approval")
    } else {
        format!("spec.nodes[{node}].approval.partitions[{}]", rule.name)
    }
}

fn fault(place: &str, message: String) -> Fault {
    Fault { place: place.to_owned(), message }
}
