//! Everything of a story but its definitions, made up.

use super::definitions::{definition, simple_source};
use super::story::{
    ALIASES, CREATED_AT, Change, Directory, Event, Fill, GROUPS, NODES, PARTITIONS, ROBOT, ROLES, Request, Sent, Story,
    USERS, identity_name,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use quorate::api::{
    Actor, BusinessRoleSpec, Decision, DelegationSpec, Guarantor, IdentitySpec, Member, NamedApprovers,
};
use quorate::directory::Standing;
use quorate::engine::{Object, Right};
use serde_json::json;
use std::collections::BTreeMap;

/// The people with an Identity.
const KNOWN: usize = ALIASES.len();

fn at(offset: Option<i64>) -> Option<Time> {
    offset.and_then(|offset| Timestamp::from_second(CREATED_AT + offset).ok()).map(Time)
}

fn names(people: Vec<&'static str>) -> Vec<String> {
    people.into_iter().map(identity_name).collect()
}

fn people() -> impl Strategy<Value = Vec<&'static str>> {
    subsequence(&USERS[..KNOWN], 0..3)
}

fn identity() -> impl Strategy<Value = IdentitySpec> {
    let moment = || weighted(0.1, -30..30i64);
    let level = prop_oneof![2 => Just(None), 2 => (1..5i64).prop_map(|level| Some(json!(level))), 1 => Just(Some(json!("high")))];
    (weighted(0.9, Just(())), moment(), moment(), people(), people(), level).prop_map(
        |(active, from, until, managers, guarantors, level)| IdentitySpec {
            active: active.is_some(),
            valid_from: at(from),
            valid_until: at(until),
            managers: names(managers),
            guarantors: names(guarantors),
            attributes: level.into_iter().map(|level| ("level".to_owned(), level)).collect(),
            ..IdentitySpec::default()
        },
    )
}

fn role() -> impl Strategy<Value = BusinessRoleSpec> {
    let moment = || weighted(0.1, -30..30i64);
    let member = (select(&USERS[..KNOWN]), moment(), moment()).prop_map(|(username, from, until)| Member {
        identity: identity_name(username),
        valid_from: at(from),
        valid_until: at(until),
        attributes: BTreeMap::new(),
    });
    let type_ = || weighted(0.4, select(&["data", "money"][..]).prop_map(str::to_owned));
    let guarantor = prop_oneof![
        (select(&USERS[..KNOWN]), type_()).prop_map(|(username, type_)| Guarantor {
            identity: Some(identity_name(username)),
            role: None,
            type_
        }),
        (select(ROLES), type_()).prop_map(|(role, type_)| Guarantor {
            identity: None,
            role: Some(role.to_owned()),
            type_
        }),
    ];
    let attributes = (weighted(0.5, select(&["EU", "CH"][..])), weighted(0.5, people()));
    (
        (vec(member, 0..4), weighted(0.2, select(GROUPS)), subsequence(ROLES, 0..2)),
        (weighted(0.6, 0..10i64), vec(guarantor, 0..3), attributes),
    )
        .prop_map(|((members, group, subroles), (criticality, guarantors, (region, owners)))| {
            let mut attributes = BTreeMap::new();
            attributes.extend(region.map(|region| ("region".to_owned(), json!(region))));
            attributes.extend(owners.map(|owners| ("owners".to_owned(), json!(owners))));
            BusinessRoleSpec {
                groups: group.into_iter().map(str::to_owned).collect(),
                members,
                subroles: subroles.into_iter().map(str::to_owned).collect(),
                criticality,
                guarantors,
                attributes,
                ..BusinessRoleSpec::default()
            }
        })
}

/// Chains and loops come by themselves: there are few people.
fn delegation() -> impl Strategy<Value = Standing> {
    let moment = || weighted(0.15, -20..40i64);
    let principal = prop_oneof![3 => select(&USERS[..KNOWN]), 1 => select(USERS), 1 => select(ALIASES)];
    let to = prop_oneof![
        3 => select(USERS).prop_map(str::to_owned),
        1 => select(&USERS[..KNOWN]).prop_map(identity_name),
        1 => select(ALIASES).prop_map(str::to_owned),
    ];
    let roles = prop_oneof![2 => Just(Vec::new()), 1 => subsequence(ROLES, 1..3)];
    (principal, to, moment(), moment(), roles, -5..20i64, 0..100_000u32).prop_map(
        |(principal, to, from, until, roles, made, number)| Standing {
            name: format!("delegation-{number}"),
            uid: format!("{number:05}"),
            created_at: CREATED_AT + made,
            spec: DelegationSpec {
                to,
                from: at(from),
                until: at(until),
                roles: roles.into_iter().map(str::to_owned).collect(),
                principal: Some(Actor { username: principal.to_owned(), ..Actor::default() }),
            },
        },
    )
}

pub fn directory() -> impl Strategy<Value = Directory> {
    let delegations = prop_oneof![1 => Just(Vec::new()), 3 => vec(delegation(), 1..6)];
    (vec(identity(), KNOWN), vec(role(), ROLES.len()), delegations, weighted(0.9, Just(()))).prop_map(
        |(people, roles, delegations, calendars)| {
            let identities = people.into_iter().enumerate().map(|(number, spec)| {
                let spec = IdentitySpec {
                    username: USERS[number].to_owned(),
                    aliases: vec![ALIASES[number].to_owned()],
                    ..spec
                };
                (identity_name(USERS[number]), spec)
            });
            let roles = ROLES.iter().map(|name| (*name).to_owned()).zip(roles);
            let (identities, roles) = (identities.collect(), roles.collect());
            Directory { identities, roles, delegations, calendars: calendars.is_some() }
        },
    )
}

fn sent() -> impl Strategy<Value = Sent> {
    let anybody: Vec<&'static str> = {
        let known = &USERS[..KNOWN];
        known.iter().chain(known).chain(known).chain(USERS).chain(ALIASES).chain(&[ROBOT]).copied().collect()
    };
    let decision = prop_oneof![
        22 => Just(Decision::Approve),
        3 => Just(Decision::Reject),
        4 => Just(Decision::Delegate),
        1 => Just(Decision::Comment),
        1 => select(&[Decision::Cancel, Decision::Stop, Decision::Retry, Decision::Restart][..]),
        1 => select(&[Decision::Reassign, Decision::AddApprovers][..]),
    ];
    let rights =
        vec![Right::Cancel, Right::Administer, Right::Process("approve".to_owned()), Right::Process("look".to_owned())];
    let who = (weighted(0.97, select(anybody)), subsequence(GROUPS, 0..=GROUPS.len()), subsequence(rights, 0..=4));
    let what = (decision, weighted(0.06, select(NODES)), weighted(0.25, select(PARTITIONS)), weighted(0.05, 1..3u32));
    let to = prop_oneof![
        2 => select(USERS).prop_map(str::to_owned),
        1 => select(&USERS[..KNOWN]).prop_map(identity_name),
        1 => select(ALIASES).prop_map(str::to_owned),
    ];
    let named =
        simple_source().prop_map(|source| NamedApprovers { user: source.user, group: source.group, role: source.role });
    let with = (
        any::<bool>(),
        prop_oneof![1 => Just(Fill::None), 8 => Just(Fill::Right), 1 => Just(Fill::Wrong)],
        to,
        vec(named, 1..3),
    );
    let age = prop_oneof![24 => Just(0i64), 8 => -1..6i64, 1 => Just(10_000i64)];
    (who, what, with, age).prop_map(
        |((actor, groups, rights), (decision, step, partition, visit), (comment, fields, to, named), age)| {
            // As the API server takes them.
            let names = matches!(decision, Decision::Reassign | Decision::AddApprovers);
            Sent {
                actor,
                groups,
                rights,
                decision,
                step,
                partition,
                visit,
                comment: comment || decision == Decision::Comment,
                fields: if decision.is_vote() { fields } else { Fill::None },
                delegate_to: (decision == Decision::Delegate).then_some(to),
                approvers: if names { named } else { Vec::new() },
                age,
            }
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let change = prop_oneof![
        80 => Just(Change::Nothing),
        4 => (0..KNOWN, any::<bool>()).prop_map(|(person, active)| Change::Active(person, active)),
        4 => (select(ROLES), subsequence(&USERS[..KNOWN], 0..4)).prop_map(|(role, members)| Change::Members(role, members)),
        2 => (0..KNOWN, people()).prop_map(|(person, managers)| Change::Managers(person, managers)),
        2 => weighted(0.5, select(USERS)).prop_map(Change::Rival),
        3 => delegation().prop_map(Change::Delegate),
        1 => Just(Change::Undelegate),
        1 => any::<bool>().prop_map(Change::Calendars),
        2 => select(&[None, None, Some(true), Some(false)][..]).prop_map(Change::Proof),
        2 => select(vec![Object::None, Object::Waiting, Object::Held, Object::Passing, Object::Decided(true), Object::Decided(false), Object::Gone("it was deleted".to_owned())]).prop_map(Change::Object),
        3 => weighted(0.8, 0..2usize).prop_map(Change::Edit),
        1 => select(&[true, true, false][..]).prop_map(Change::Snapshot),
    ];
    let clock = prop_oneof![30 => Just(0i64), 60 => 1..6i64, 8 => 6..20i64, 4 => -6..0i64, 1 => Just(-100i64), 3 => Just(200i64), 3 => Just(86_400i64)];
    let lag = prop_oneof![6 => Just(0i64), 1 => 1..10i64, 1 => Just(100_000i64)];
    (clock, lag, change, vec(sent(), 0..8)).prop_map(|(clock, lag, change, signals)| Event {
        clock,
        lag,
        change,
        signals,
    })
}

fn request() -> impl Strategy<Value = Request> {
    let subjects = prop_oneof![1 => Just(Vec::new()), 6 => vec(select(ALIASES), 1), 1 => vec(select(USERS), 2)];
    let role = || weighted(0.9, prop_oneof![8 => select(ROLES), 1 => Just("unheard-of")]);
    let excluded = prop_oneof![4 => Just(Vec::new()), 1 => vec(select(USERS), 1)];
    let amount = weighted(0.8, 0..20i64);
    (weighted(0.98, select(USERS)), subjects, [role(), role(), role()], excluded, amount, weighted(0.9, Just(())))
        .prop_map(|(initiator, subjects, roles, excluded, amount, process)| Request {
            initiator,
            subjects,
            roles,
            excluded,
            parameters: amount.into_iter().map(|amount| ("amount".to_owned(), json!(amount))).collect(),
            process: process.is_some(),
        })
}

pub fn story() -> impl Strategy<Value = Story> {
    let administrators = prop_oneof![1 => Just(Vec::new()), 3 => vec(simple_source(), 1..4)];
    (vec(definition(), 2), directory(), administrators, request(), vec(event(), 3..14)).prop_map(
        |(definitions, directory, administrators, request, events)| Story {
            definitions,
            directory,
            administrators,
            request,
            events,
        },
    )
}
