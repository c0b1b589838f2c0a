//! Makes a definition explicit, and finds what is wrong with it by itself.

use super::check::structure;
use super::telling::{compile_of_partition, compile_recipients, compile_tellings, is_mailbox, no_mailbox};
use super::{
    Act, Branch, DEFAULT_PARTITION, Execution, Fault, Graph, GraphNode, Level, Mail, Notice, Required, Rule, Span,
    Step, Target, Timeout, built_in_end, fault,
};
use crate::api::{
    Approval, ApproverSource, EndOutcome, Node, Outcome, Partition, Quorum, TimeoutOutput, WorkflowDefinitionSpec,
};
use crate::engine::activity::Work;
use crate::engine::condition::Test;
use crate::engine::fields;
use crate::engine::source::Source;
use jiff::SignedDuration;
use std::collections::{BTreeMap, BTreeSet};

/// The longest time limit.
const MAX_SPAN: SignedDuration = SignedDuration::from_hours(24 * 366 * 10);

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
            let fails = target == "Failed" && !matches!(output.as_str(), "failed" | "timedOut");
            if !known.contains(target.as_str()) && (built_in_end(target).is_none() || fails) {
                let message = format!(
                    "there is no node {target}; name one of {}, or an end: Approved, Rejected, Expired",
                    listed(&known)
                );
                faults.push(fault(&format!("spec.nodes[{}].next.{output}", node.name), message));
            }
        }
    }
    let graph = Graph {
        title: spec.display_name.clone(),
        names: spec.display_names.clone(),
        notifications: compile_tellings(&spec.notifications, "spec", |_| None, &mut faults),
        start,
        nodes,
    };
    if faults.is_empty() {
        faults.extend(structure(&graph));
    }
    if faults.is_empty() { Ok(graph) } else { Err(faults) }
}

fn compile_node(node: &Node, following: Option<&Node>, place: &str, faults: &mut Vec<Fault>) -> Option<GraphNode> {
    let title = node.display_name.clone().unwrap_or_else(|| node.name.clone());
    let edges = Edges { node, following, place };
    match (&node.approval, &node.condition, &node.execute, &node.notify, &node.action, &node.end) {
        (Some(approval), None, None, None, None, None) => {
            edges.only("an approval", &["approved", "rejected", "expired"], faults);
            let timeout = compile_timeout(approval, place, faults);
            if node.next.contains_key("expired") && timeout.as_ref().is_none_or(|timeout| timeout.output != "expired") {
                let message = if timeout.is_none() {
                    "the step never expires; give it a timeout or remove this"
                } else {
                    "the timeout has another output; remove this"
                };
                faults.push(fault(&format!("{place}.next.expired"), message.to_owned()));
            }
            Some(GraphNode::Step(Step {
                title,
                names: node.display_names.clone(),
                partitions: compile_partitions(approval, place, faults),
                self_approval: approval.self_approval,
                require_comment: approval.require_comment,
                no_approvers: approval.outcome_if_no_approvers,
                separate_from: approval.separate_from.clone(),
                timeout,
                escalations: compile_escalations(approval, place, faults),
                approved: edges.onward("approved", faults),
                rejected: edges.written("rejected", "Rejected"),
                expired: edges.written("expired", "Expired"),
            }))
        }
        (None, Some(condition), None, None, None, None) => {
            edges.only("a condition", &["then", "else"], faults);
            if !node.next.contains_key("else") {
                let message =
                    "is missing: say where it leads when the condition does not hold, e.g. next: {else: Rejected}";
                faults.push(fault(&format!("{place}.next.else"), message.to_owned()));
            }
            let then = edges.onward("then", faults);
            match Test::compile(condition) {
                Ok(test) => {
                    let otherwise = edges.written("else", "Rejected");
                    Some(GraphNode::Condition(Branch { title, test, then, otherwise }))
                }
                Err(found) => {
                    faults
                        .extend(found.into_iter().map(|(field, why)| fault(&format!("{place}.condition{field}"), why)));
                    None
                }
            }
        }
        (None, None, Some(_), None, None, None) => {
            edges.only("execute", &["done"], faults);
            Some(GraphNode::Execute(Execution { title, done: edges.onward("done", faults) }))
        }
        (None, None, None, Some(notify), None, None) => {
            edges.only("notify", &["done"], faults);
            let to = compile_recipients(&notify.to, &format!("{place}.notify"), faults);
            let done = edges.onward("done", faults);
            Some(GraphNode::Notify(Notice { title, to, topic: notify.topic.clone(), done }))
        }
        (None, None, None, None, Some(action), None) => {
            edges.only("an action", &["done", "failed", "timedOut"], faults);
            let done = edges.onward("done", faults);
            match Work::compile(action) {
                Ok(work) => {
                    let failed = edges.written("failed", "Failed");
                    let timed_out = edges.written("timedOut", "Failed");
                    Some(GraphNode::Action(Act { title, work, done, failed, timed_out }))
                }
                Err(found) => {
                    faults.extend(found.into_iter().map(|(field, why)| fault(&format!("{place}.action{field}"), why)));
                    None
                }
            }
        }
        (None, None, None, None, None, Some(end)) => {
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
            let message = "a node is exactly one of approval, condition, execute, notify, action, end";
            faults.push(fault(place, message.to_owned()));
            None
        }
    }
}

/// The edges of a node as they are written.
struct Edges<'a> {
    node: &'a Node,
    following: Option<&'a Node>,
    place: &'a str,
}

impl Edges<'_> {
    /// Finds outputs that a node of this type does not have.
    fn only(&self, what: &str, outputs: &[&str], faults: &mut Vec<Fault>) {
        for output in self.node.next.keys().filter(|output| !outputs.contains(&output.as_str())) {
            let message = format!("{what} has the outputs {}; remove this one", outputs.join(", "));
            faults.push(fault(&format!("{}.next.{output}", self.place), message));
        }
    }

    /// Where an output leads that goes on by default: to the next node of the list, or to the end after the last.
    fn onward(&self, output: &str, faults: &mut Vec<Fault>) -> Target {
        match (self.node.next.get(output), self.following) {
            (Some(target), _) => Target::named(target),
            (None, Some(following)) if following.end.is_some() => {
                let message = format!(
                    "{output} would fall into the end {0} only because it comes next; write next: {{{output}: {0}}} or next: {{{output}: Approved}}",
                    following.name
                );
                faults.push(fault(&format!("{}.next.{output}", self.place), message));
                Target::End("Approved".to_owned())
            }
            (None, Some(following)) => Target::Node(following.name.clone()),
            (None, None) => Target::End("Approved".to_owned()),
        }
    }

    /// Where an output leads that ends by default.
    fn written(&self, output: &str, end: &str) -> Target {
        self.node.next.get(output).map_or_else(|| Target::End(end.to_owned()), |target| Target::named(target))
    }
}

fn compile_timeout(approval: &Approval, place: &str, faults: &mut Vec<Fault>) -> Option<Timeout> {
    let timeout = approval.timeout.as_ref()?;
    let place = format!("{place}.approval.timeout");
    let span = compile_span(timeout.after.as_ref(), timeout.business_days, timeout.calendar.as_ref(), &place, faults)?;
    let output = match timeout.output {
        TimeoutOutput::Expired => "expired",
        TimeoutOutput::Rejected => "rejected",
        TimeoutOutput::Approved => "approved",
    };
    Some(Timeout { span, output })
}

fn compile_escalations(approval: &Approval, place: &str, faults: &mut Vec<Fault>) -> Vec<Level> {
    let mut levels: Vec<Level> = Vec::new();
    for (position, escalation) in approval.escalations.iter().enumerate() {
        let place = format!("{place}.approval.escalations[{position}]");
        let calendar = escalation.calendar.as_ref();
        let span = compile_span(escalation.after.as_ref(), escalation.business_days, calendar, &place, faults);
        if escalation.approvers.is_empty() {
            faults.push(fault(&format!("{place}.approvers"), "nobody is named; name who is asked besides".to_owned()));
        }
        let approvers = compile_sources(&escalation.approvers, &format!("{place}.approvers"), faults);
        let mails = compile_mails(&escalation.approvers, &format!("{place}.approvers"), faults);
        let Some(span) = span else { continue };
        if let (Span::After(after), Some(Span::After(before))) = (&span, levels.last().map(|level| &level.span))
            && after < before
        {
            let message = format!("comes before level {position}; list the levels in the order in which they come");
            faults.push(fault(&format!("{place}.after"), message));
        }
        levels.push(Level { span, approvers, mails, topic: escalation.topic.clone() });
    }
    levels
}

fn compile_span(
    after: Option<&String>,
    days: Option<u32>,
    calendar: Option<&String>,
    place: &str,
    faults: &mut Vec<Fault>,
) -> Option<Span> {
    match (after, days, calendar) {
        (Some(after), None, None) => {
            let parsed = after.parse::<SignedDuration>().ok().filter(|span| span.is_positive() && *span <= MAX_SPAN);
            if parsed.is_none() {
                let message = format!("{after} is no duration; write one such as 72h or 1h30m, ten years at most");
                faults.push(fault(&format!("{place}.after"), message));
            }
            parsed.map(Span::After)
        }
        (None, Some(days), Some(calendar)) if days > 0 => Some(Span::BusinessDays { days, calendar: calendar.clone() }),
        _ => {
            let message = "is either after, such as 72h, or businessDays (at least 1) of a calendar";
            faults.push(fault(place, message.to_owned()));
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
            display_names: BTreeMap::new(),
            approvers: approval.approvers.clone(),
            required: approval.required.clone(),
            rejections: approval.rejections,
            viewers: approval.viewers.clone(),
            fields: approval.fields.clone(),
            notify: approval.notify.clone(),
            notify_user: approval.notify_user.clone(),
            notifications: approval.notifications.clone(),
        };
        return vec![compile_rule(&short, &place, faults)];
    }
    for (field, written) in [
        ("required", approval.required.is_some()),
        ("rejections", approval.rejections.is_some()),
        ("viewers", !approval.viewers.is_empty()),
        ("fields", !approval.fields.is_empty()),
        ("notify", approval.notify.is_some()),
        ("notifyUser", approval.notify_user.is_some()),
        ("notifications", !approval.notifications.is_empty()),
    ] {
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
    for (field, message) in fields::faults(&partition.fields) {
        faults.push(fault(&format!("{place}{field}"), message));
    }
    let approvers = compile_sources(&partition.approvers, &format!("{place}.approvers"), faults);
    for (position, source) in approvers.iter().enumerate() {
        if let (Source::Group(_) | Source::Permission(_), Required::All | Required::Percent(_)) = (source, required) {
            faults.push(open_quorum(place, &format!("approvers[{position}] is {source}")));
        }
    }
    for (position, _) in partition.viewers.iter().enumerate().filter(|(_, viewer)| viewer.mail.is_some()) {
        let message = "viewers are asked nothing, so nobody is mailed; remove it".to_owned();
        faults.push(fault(&format!("{place}.viewers[{position}].mail"), message));
    }
    Rule {
        name: partition.name.clone(),
        title: partition.display_name.clone().unwrap_or_else(|| partition.name.clone()),
        names: partition.display_names.clone(),
        approvers,
        mails: compile_mails(&partition.approvers, &format!("{place}.approvers"), faults),
        viewers: compile_sources(&partition.viewers, &format!("{place}.viewers"), faults),
        required,
        rejections,
        fields: partition.fields.clone(),
        notify: partition.notify.clone(),
        notify_user: partition.notify_user.clone(),
        notifications: compile_of_partition(&partition.notifications, place, faults),
    }
}

fn compile_sources(sources: &[ApproverSource], place: &str, faults: &mut Vec<Fault>) -> Vec<Source> {
    let mut compiled = Vec::new();
    for (position, source) in sources.iter().enumerate() {
        match Source::compile(source) {
            Ok(source) => compiled.push(source),
            Err((field, why)) => faults.push(fault(&format!("{place}[{position}]{field}"), why)),
        }
    }
    compiled
}

/// What reaches the groups among these sources.
fn compile_mails(sources: &[ApproverSource], place: &str, faults: &mut Vec<Fault>) -> Vec<Mail> {
    let mut mails = Vec::new();
    for (source, ApproverSource { group, mail, .. }) in sources.iter().enumerate() {
        let (Some(group), Some(address)) = (group, mail) else { continue };
        if !is_mailbox(address) {
            faults.push(fault(&format!("{place}[{source}].mail"), no_mailbox(address)));
        }
        mails.push(Mail { source, group: group.clone(), address: address.clone() });
    }
    mails
}

/// All and percentages need a list of people; Kubernetes cannot list the members of a group (semantics.md 2).
pub(super) fn open_quorum(place: &str, why: &str) -> Fault {
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

fn listed(names: &BTreeSet<&str>) -> String {
    names.iter().copied().collect::<Vec<_>>().join(", ")
}
