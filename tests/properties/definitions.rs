//! Definitions made up: sound ones that a story can be played on, and any that serde reads.

use super::story::{ALIASES, CALENDARS, GROUPS, NODES, PARTITIONS, ROBOT, ROLES, USERS};
use proptest::collection::{btree_map, vec};
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use quorate::api::{
    Action, Approval, ApproverSource, ConditionType, DeleteAction, End, EndOutcome, Escalation, Execute, Field,
    FieldType, GuarantorOf, GuarantorType, HttpAction, JobAction, NoApprovers, Node, NodeCondition, Notify, Operator,
    Part, Partition, Permission, Quorum, Recipient, RequireComment, SelfApproval, SupervisorOf, TargetObject, Timeout,
    TimeoutOutput, WorkflowDefinitionSpec,
};
use serde_json::{Value, json};

/// Whom expressions mean. Some fail, always or now and then. None takes names from fields: who is asked is no secret.
const WHOM: &[&str] = &[
    r#"["anna", "id-boris"]"#,
    r#"["clara", "nobody", "david@github"].filter(name, parameters.amount > 10)"#,
    "subjects.map(s, s.username)",
    "subject.managers",
    "role.attributes.owners",
    r#"decisions.filter(d, d.decision == "Approve").map(d, d.actor)"#,
    "decisions.map(d, d.step)",
    "[1]",
    "parameters.missing.more",
];

/// What expressions ask. Some fail, always or now and then.
const WHETHER: &[&str] = &[
    "true",
    "parameters.amount > 10",
    "size(decisions) > 0",
    "role.criticality >= 5",
    "subject.attributes.level == 3",
    "decisions.exists(d, d.fields.tick)",
    "decisions.all(d, int(d.fields.note) > 0)",
    "1",
];

pub fn simple_source() -> impl Strategy<Value = ApproverSource> {
    let named = |text: &str| Some(text.to_owned());
    prop_oneof![
        4 => select(USERS).prop_map(move |user| ApproverSource { user: named(user), ..ApproverSource::default() }),
        1 => select(ALIASES).prop_map(move |user| ApproverSource { user: named(user), ..ApproverSource::default() }),
        1 => Just(ApproverSource { user: named(ROBOT), ..ApproverSource::default() }),
        3 => select(GROUPS).prop_map(move |group| ApproverSource { group: named(group), ..ApproverSource::default() }),
        4 => select(ROLES).prop_map(move |role| ApproverSource { role: named(role), ..ApproverSource::default() }),
    ]
}

fn source() -> impl Strategy<Value = ApproverSource> {
    let type_ = || {
        weighted(0.3, select(&["data", "money"][..]))
            .prop_map(|type_| GuarantorType { type_: type_.map(str::to_owned) })
    };
    let level = || weighted(0.4, 1..3u32);
    prop_oneof![
        12 => simple_source(),
        2 => type_().prop_map(|of| ApproverSource { role_guarantor: Some(of), ..ApproverSource::default() }),
        1 => type_().prop_map(|of| ApproverSource { superior_role_guarantor: Some(of), ..ApproverSource::default() }),
        1 => type_().prop_map(|of| ApproverSource { sub_role_guarantor: Some(of), ..ApproverSource::default() }),
        2 => (select(&[SupervisorOf::Subject, SupervisorOf::Initiator][..]), level())
            .prop_map(|(of, level)| ApproverSource { supervisor_of: Some(of), level, ..ApproverSource::default() }),
        1 => Just(ApproverSource { guarantor_of: Some(GuarantorOf::Subject), ..ApproverSource::default() }),
        2 => select(WHOM).prop_map(|text| ApproverSource { expression: Some(text.to_owned()), ..ApproverSource::default() }),
        1 => select(&["approve", "look"][..]).prop_map(|verb| ApproverSource { permission: Some(Permission { verb: verb.to_owned() }), ..ApproverSource::default() }),
    ]
}

fn level_source() -> impl Strategy<Value = ApproverSource> {
    let above = ApproverSource { supervisor_of: Some(SupervisorOf::Approvers), ..ApproverSource::default() };
    prop_oneof![2 => source(), 1 => Just(above)]
}

fn quorum() -> impl Strategy<Value = Option<Quorum>> {
    prop_oneof![
        8 => Just(None),
        6 => (1..4i64).prop_map(|number| Some(Quorum::Number(number))),
        1 => select(&["All", "1%", "34%", "50%", "100%"][..]).prop_map(|text| Some(Quorum::Text(text.to_owned()))),
    ]
}

/// Some of five fields, one of each kind.
fn fields() -> impl Strategy<Value = Vec<Field>> {
    let field = |name: &str, type_: FieldType| Field { name: name.to_owned(), type_, ..Field::default() };
    let all = vec![
        Field { required: true, ..field("note", FieldType::Text) },
        Field { must_be: Some(true), ..field("tick", FieldType::CheckBox) },
        field("number", FieldType::NumberShort),
        Field { options: vec!["this".to_owned(), "that".to_owned()], ..field("kind", FieldType::RadioButton) },
        field("link", FieldType::URL),
    ];
    prop_oneof![3 => Just(Vec::new()), 1 => subsequence(all, 1..4)]
}

/// A time limit: a duration, or business days of a calendar that may be missing.
fn span() -> impl Strategy<Value = (Option<String>, Option<u32>, Option<String>)> {
    let after = select(&["5s", "12s", "2m", "1h30m"][..]).prop_map(|after| (Some(after.to_owned()), None, None));
    let days = (1..3u32, select(&[0, 0, 0, 1][..]))
        .prop_map(|(days, calendar)| (None, Some(days), Some(CALENDARS[calendar].to_owned())));
    prop_oneof![5 => after, 1 => days]
}

fn timeout() -> impl Strategy<Value = Timeout> {
    let output =
        select(&[TimeoutOutput::Expired, TimeoutOutput::Expired, TimeoutOutput::Rejected, TimeoutOutput::Approved][..]);
    (span(), output).prop_map(|((after, business_days, calendar), output)| Timeout {
        after,
        business_days,
        calendar,
        output,
    })
}

fn escalations() -> impl Strategy<Value = Vec<Escalation>> {
    let level = (span(), vec(level_source(), 1..3)).prop_map(|((after, business_days, calendar), approvers)| {
        Escalation { after, business_days, calendar, approvers, topic: None }
    });
    prop_oneof![4 => Just(Vec::new()), 1 => vec(level, 1..3)]
}

fn approval() -> impl Strategy<Value = Approval> {
    let viewers = prop_oneof![4 => Just(Vec::new()), 1 => vec(source(), 1)];
    let rule = (vec(source(), 1..4), quorum(), weighted(0.3, 1..3u32), viewers, fields());
    let rule = rule.prop_map(|(approvers, required, rejections, viewers, fields)| Partition {
        name: String::new(),
        approvers,
        required,
        rejections,
        viewers,
        fields,
        ..Partition::default()
    });
    let partitions = prop_oneof![1 => Just(0usize), 1 => 1..4usize];
    let settings = (
        select(&[SelfApproval::Forbid, SelfApproval::Forbid, SelfApproval::Allow][..]),
        select(&[RequireComment::Never, RequireComment::Never, RequireComment::OnReject, RequireComment::Always][..]),
        select(&[NoApprovers::Fallback, NoApprovers::Fallback, NoApprovers::Reject][..]),
        prop_oneof![2 => Just(Vec::new()), 1 => subsequence(NODES, 1..3)],
        weighted(0.4, timeout()),
        escalations(),
    );
    (partitions, vec(rule, 3), settings).prop_map(|(count, mut rules, settings)| {
        let (self_approval, require_comment, outcome_if_no_approvers, separate_from, timeout, escalations) = settings;
        let mut approval = Approval {
            self_approval,
            require_comment,
            outcome_if_no_approvers,
            separate_from: separate_from.into_iter().map(str::to_owned).collect(),
            timeout,
            escalations,
            ..Approval::default()
        };
        if count == 0 {
            let Partition { approvers, required, rejections, viewers, fields, .. } = rules.remove(0);
            return Approval { approvers, required, rejections, viewers, fields, ..approval };
        }
        for (name, rule) in PARTITIONS.iter().zip(rules).take(count) {
            approval.partitions.push(Partition { name: (*name).to_owned(), ..rule });
        }
        approval
    })
}

fn condition() -> impl Strategy<Value = NodeCondition> {
    let text = |text: &str| Some(text.to_owned());
    let compared = move |type_, left: &str, operator, right| NodeCondition {
        type_,
        left: text(left),
        operator: Some(operator),
        right: Some(right),
        ..NodeCondition::default()
    };
    let fixed = vec![
        compared(ConditionType::RoleAttribute, "region", Operator::In, json!(["EU", "US"])),
        compared(ConditionType::IdentityAttribute, "level", Operator::GreaterThan, json!(2)),
        compared(ConditionType::Expression, "decisions[0].fields.note", Operator::GreaterThan, json!(3)),
        compared(ConditionType::Expression, "decisions.map(d, d.fields.note)", Operator::Matches, json!("x")),
        NodeCondition {
            type_: ConditionType::GuarantorExists,
            operator: Some(Operator::Exists),
            guarantor_type: text("data"),
            ..NodeCondition::default()
        },
        NodeCondition {
            type_: ConditionType::RoleCriticality,
            operator: Some(Operator::GreaterOrEqual),
            right: Some(json!(5)),
            ..NodeCondition::default()
        },
    ];
    let expression = select(WHETHER)
        .prop_map(move |expression| NodeCondition { expression: text(expression), ..NodeCondition::default() });
    prop_oneof![1 => select(fixed), 1 => expression]
}

fn node() -> impl Strategy<Value = Node> {
    prop_oneof![
        8 => approval().prop_map(|approval| Node { approval: Some(approval), ..Node::default() }),
        2 => condition().prop_map(|condition| Node { condition: Some(condition), ..Node::default() }),
        1 => Just(Node { execute: Some(Execute {}), ..Node::default() }),
        1 => Just(Node { notify: Some(told()), ..Node::default() }),
        1 => action().prop_map(|action| Node { action: Some(action), ..Node::default() }),
    ]
}

fn told() -> Notify {
    let recipient = |person| Recipient { person: Some(person), ..Recipient::default() };
    Notify { topic: None, to: vec![recipient(Part::Approvers), recipient(Part::Initiator)] }
}

/// One tells what people recorded to an endpoint, which may tell it back.
fn action() -> impl Strategy<Value = Action> {
    let target = TargetObject {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: Some("${parameters.namespace}".to_owned()),
        name: "site".to_owned(),
    };
    let http = HttpAction {
        endpoint: "tickets".to_owned(),
        body: Some("decisions.map(d, d.fields)".to_owned()),
        ..HttpAction::default()
    };
    let job = JobAction { namespace: "batch".to_owned(), spec: json!({"template": {}}) };
    let timeout = Some("30s".to_owned());
    select(vec![
        Action { delete: Some(DeleteAction { target }), ..Action::default() },
        Action { http: Some(http), timeout: timeout.clone(), ..Action::default() },
        Action { job: Some(job), timeout, ..Action::default() },
    ])
}

/// Mostly sound: steps that lead on, now and then back or to an end.
pub fn definition() -> impl Strategy<Value = WorkflowDefinitionSpec> {
    let target = || prop_oneof![3 => select(NODES), 1 => select(&["Approved", "Rejected", "Expired"][..])];
    let edges = (weighted(0.1, target()), weighted(0.4, target()), weighted(0.4, target()), target());
    vec((node(), edges), 1..5).prop_map(|nodes| {
        let names = &NODES[..nodes.len()];
        let steps: Vec<&str> =
            names.iter().zip(&nodes).filter(|(_, (node, _))| node.approval.is_some()).map(|(name, _)| *name).collect();
        let known = |target: &&str| names.contains(target) || !NODES.contains(target);
        let nodes = nodes.iter().zip(names).map(|((node, (approved, rejected, expired, otherwise)), name)| {
            let mut node = Node { name: (*name).to_owned(), ..node.clone() };
            let mut lead = |output: &str, target: Option<&str>| {
                if let Some(target) = target.filter(known) {
                    node.next.insert(output.to_owned(), target.to_owned());
                }
            };
            if let Some(approval) = &mut node.approval {
                lead("approved", *approved);
                lead("rejected", rejected.filter(|target| *target != "Approved"));
                if approval.timeout.as_ref().is_some_and(|timeout| timeout.output == TimeoutOutput::Expired) {
                    lead("expired", expired.filter(|target| *target != "Approved"));
                }
                approval.separate_from.retain(|other| steps.contains(&other.as_str()));
            } else if node.condition.is_some() {
                lead("then", *approved);
                lead("else", Some(otherwise).filter(|target| known(target)).copied().or(Some("Rejected")));
            }
            node
        });
        WorkflowDefinitionSpec { nodes: nodes.collect(), ..WorkflowDefinitionSpec::default() }
    })
}

/// Any action that somebody might write.
fn any_action() -> impl Strategy<Value = Action> {
    let text = select(&["", "x", "${", "${object.a}", "${'}'}", "https://x", "../x", "quorate.dev/v1alpha1"][..]);
    (text.clone(), text, weighted(0.5, select(&["5s", "0s", "soon"][..]))).prop_map(|(one, two, timeout)| {
        let target = TargetObject { api_version: one.to_owned(), kind: two.to_owned(), ..TargetObject::default() };
        let http = HttpAction { endpoint: two.to_owned(), body: Some(one.to_owned()), ..HttpAction::default() };
        let delete = (two != "x").then_some(DeleteAction { target });
        Action { http: (one != "x").then_some(http), delete, timeout: timeout.map(str::to_owned), ..Action::default() }
    })
}

/// Any condition that somebody might write.
fn any_condition() -> impl Strategy<Value = NodeCondition> {
    let name = select(&["one", "two", "", "*"][..]).prop_map(str::to_owned);
    let type_ = select(
        &[
            ConditionType::RoleAttribute,
            ConditionType::GuarantorExists,
            ConditionType::RoleCriticality,
            ConditionType::IdentityAttribute,
            ConditionType::Expression,
        ][..],
    );
    let operator =
        select(&[Operator::Equals, Operator::In, Operator::Matches, Operator::Exists, Operator::LessThan][..]);
    let right = select(vec![Value::Null, json!(1), json!("("), json!(["a"]), json!({"a": 1})]);
    let condition =
        (type_, weighted(0.5, name), weighted(0.7, operator), weighted(0.7, right), weighted(0.3, select(WHETHER)));
    condition.prop_map(|(type_, left, operator, right, expression)| NodeCondition {
        type_,
        left,
        operator,
        right,
        expression: expression.map(str::to_owned),
        ..NodeCondition::default()
    })
}

/// Anything that serde reads.
pub fn any_definition() -> impl Strategy<Value = WorkflowDefinitionSpec> {
    let name = || select(&["one", "two", "three", "Approved", "Rejected", "", "*"][..]).prop_map(str::to_owned);
    let quorum = || {
        prop_oneof![
            Just(None),
            any::<i64>().prop_map(|number| Some(Quorum::Number(number))),
            "(All|all|[0-9]{0,4}%?|%|-1%)".prop_map(|text| Some(Quorum::Text(text))),
        ]
    };
    let named = || (weighted(0.5, name()), weighted(0.3, name()), weighted(0.3, name()), weighted(0.1, any::<u32>()));
    let named = move || {
        named().prop_map(|(user, group, role, level)| ApproverSource {
            user,
            group,
            role,
            level,
            ..ApproverSource::default()
        })
    };
    let sources = move || vec(prop_oneof![2 => named(), 1 => source()], 0..3);
    let field = (
        name(),
        select(&[FieldType::CheckBox, FieldType::RadioButton, FieldType::Text][..]),
        vec(name(), 0..2),
        weighted(0.2, any::<bool>()),
    );
    let field =
        field.prop_map(|(name, type_, options, must_be)| Field { name, type_, options, must_be, ..Field::default() });
    let partition = (name(), sources(), quorum(), weighted(0.3, 0..3u32), sources(), vec(field, 0..2));
    let partition = partition.prop_map(|(name, approvers, required, rejections, viewers, fields)| Partition {
        name,
        approvers,
        required,
        rejections,
        viewers,
        fields,
        ..Partition::default()
    });
    let span =
        || (weighted(0.8, "[0-9]{1,3}(s|h|d|ms| fortnights)"), weighted(0.2, any::<u32>()), weighted(0.2, name()));
    let timeout = (span(), select(&[TimeoutOutput::Expired, TimeoutOutput::Approved][..]))
        .prop_map(|((after, business_days, calendar), output)| Timeout { after, business_days, calendar, output });
    let level = (span(), sources()).prop_map(|((after, business_days, calendar), approvers)| Escalation {
        after,
        business_days,
        calendar,
        approvers,
        topic: None,
    });
    let approval =
        (vec(partition, 0..3), sources(), quorum(), vec(name(), 0..2), weighted(0.3, timeout), vec(level, 0..2));
    let approval = approval.prop_map(|(partitions, approvers, required, separate_from, timeout, escalations)| {
        Approval { partitions, approvers, required, separate_from, timeout, escalations, ..Approval::default() }
    });
    let condition = prop_oneof![1 => any_condition(), 1 => self::condition()];
    let end = select(&[EndOutcome::Approved, EndOutcome::Rejected, EndOutcome::Expired][..])
        .prop_map(|outcome| End { outcome });
    let output = select(&["approved", "rejected", "expired", "then", "else", "done", "failed", "timedOut", ""][..])
        .prop_map(str::to_owned);
    let kinds = (
        weighted(0.6, approval),
        weighted(0.2, condition),
        weighted(0.1, Just(Execute {})),
        weighted(0.1, any_action()),
        weighted(0.2, end),
    );
    let node = (name(), kinds, btree_map(output, name(), 0..3)).prop_map(
        |(name, (approval, condition, execute, action, end), next)| Node {
            name,
            approval,
            condition,
            execute,
            action,
            end,
            next,
            ..Node::default()
        },
    );
    (weighted(0.3, name()), vec(node, 0..5)).prop_map(|(start, nodes)| WorkflowDefinitionSpec {
        start,
        nodes,
        ..WorkflowDefinitionSpec::default()
    })
}
