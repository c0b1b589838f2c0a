//! Who may decide, worked out once more, in another way than the engine does: from the specs of the directory, by the record of
//! what counted. Expressions and `supervisorOf: Approvers` are believed; what bars somebody is looked at all the same.

use super::play::Play;
use super::rules::{behind, step_of};
use super::story::{ALIASES, ROBOT, USERS, identity_name, person};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use quorate::api::{Actor, CountedDecision, Decision, SelfApproval, SupervisorOf, WorkflowInstanceStatus};
use quorate::engine::graph::Step;
use quorate::engine::source::{RoleOf, Source};
use quorate::engine::{Plan, Proof, Right};
use std::collections::BTreeSet;

type Held = Result<(), TestCaseError>;

/// Whoever was counted was entitled to it.
pub fn rightly_counted(play: &Play, plan: &Plan, number: usize, decision: &CountedDecision) -> Held {
    let signal = &play.sent[&decision.signal.uid];
    let actor = signal.spec.actor.as_ref().expect("only a proven actor counts");
    prop_assert_eq!(&actor.username, &decision.actor);
    let proven = matches!(play.proof, Proof::Since(since) if signal.created_at > since);
    prop_assert!(proven, "an unproven signal counted");
    prop_assert!(active(play, &decision.actor), "{} is inactive, and counted", decision.actor);
    let administers = matches!(
        decision.decision,
        Decision::Reassign | Decision::AddApprovers | Decision::Stop | Decision::Retry | Decision::Restart
    );
    if administers {
        prop_assert!(signal.rights.contains(&Right::Administer), "{} may not administer", decision.actor);
        prop_assert!(
            decision.decision == Decision::Stop || !is_own(play, &decision.actor),
            "{} administered their own request",
            decision.actor
        );
    }
    if decision.decision == Decision::Cancel {
        let own = play.story.request.initiator.is_some_and(|initiator| person(initiator) == person(&decision.actor));
        prop_assert!(own || signal.rights.contains(&Right::Cancel), "{} may not cancel", decision.actor);
    }
    if !decision.decision.is_vote() && decision.decision != Decision::Delegate {
        return Ok(());
    }
    let step = step_of(play, &plan.status, decision).expect("votes are cast in steps");
    for person in behind(decision) {
        let barred = play.story.request.excluded.iter().any(|excluded| play.story.alike(excluded, person));
        prop_assert!(!barred, "{} is excluded, and counted", person);
        if step.self_approval == SelfApproval::Forbid {
            prop_assert!(!is_own(play, person), "{} decided about themselves", person);
        }
        prop_assert!(active(play, person), "{} is inactive, and counted", person);
    }
    let before = &plan.status.decisions[..number];
    let rule = step.partitions.iter().find(|rule| rule.name == decision.partition).expect("a partition");
    let sources = sources(play, step, before, decision, &rule.approvers);
    let named: Vec<&Source> =
        sources.iter().filter(|(label, _)| *label == decision.through).map(|(_, source)| source).collect();
    // Whoever takes a task back was entitled to hand it over; the sources may have changed since.
    let to = decision.delegate_to.as_deref().map(|to| person(to.strip_prefix("id-").unwrap_or(to)));
    if decision.decision == Decision::Delegate && to == Some(person(&decision.actor)) {
        return Ok(());
    }
    let Some(principal) = &decision.on_behalf_of else {
        let entitled = named.iter().any(|source| names(play, source, actor, &signal.rights));
        prop_assert!(entitled, "{} does not entitle {}", decision.through, actor.username);
        return Ok(());
    };
    prop_assert!(actor.username != ROBOT && principal != ROBOT, "a ServiceAccount decided for somebody");
    if let Some(holder) = holder(before, decision, principal) {
        prop_assert_eq!(person(holder), person(&actor.username), "{} handed it over to another one", principal);
        return Ok(());
    }
    prop_assert!(represents(play, &actor.username, principal), "{} does not represent {}", actor.username, principal);
    let alone = Actor { username: principal.clone(), ..Actor::default() };
    let entitled = named.iter().any(|source| names(play, source, &alone, &BTreeSet::new()));
    prop_assert!(entitled, "{} does not entitle {}", decision.through, principal);
    Ok(())
}

fn is_own(play: &Play, username: &str) -> bool {
    let request = &play.story.request;
    request.initiator.iter().chain(&request.subjects).any(|own| play.story.alike(own, username))
}

/// The sources that a task asked when the decision was made, with what they are called.
fn sources(
    play: &Play,
    step: &Step,
    before: &[CountedDecision],
    decision: &CountedDecision,
    written: &[Source],
) -> Vec<(String, Source)> {
    let mut asked: Vec<(String, Source)> = written.iter().map(|source| (source.to_string(), source.clone())).collect();
    let place = |decision: &CountedDecision| (decision.step.clone(), decision.visit, decision.partition.clone());
    for change in before.iter().filter(|change| place(change) == place(decision)) {
        let verb = match change.decision {
            Decision::Reassign => {
                asked.clear();
                "reassigned"
            }
            Decision::AddApprovers => "added",
            _ => continue,
        };
        let named = change.approvers.iter().filter_map(Source::named);
        asked.extend(named.map(|source| (format!("{verb}: {source}"), source)));
    }
    for (level, escalation) in step.escalations.iter().enumerate() {
        let label = |source: &Source| format!("escalation {}: {source}", level + 1);
        asked.extend(escalation.approvers.iter().map(|source| (label(source), source.clone())));
    }
    let administrators = play.settings.administrators.iter();
    asked.extend(administrators.map(|source| (format!("administrators: {source}"), source.clone())));
    asked
}

/// Who has a task that this principal handed over, if they did.
fn holder<'a>(before: &'a [CountedDecision], decision: &CountedDecision, principal: &str) -> Option<&'a str> {
    let mut holder = None;
    for earlier in before.iter().filter(|earlier| earlier.decision == Decision::Delegate) {
        let same =
            (&earlier.step, earlier.visit, &earlier.partition) == (&decision.step, decision.visit, &decision.partition);
        let theirs = person(earlier.on_behalf_of.as_ref().unwrap_or(&earlier.actor)) == person(principal);
        if same && theirs {
            let to = earlier.delegate_to.as_deref()?;
            holder = (person(to) != person(principal)).then_some(to);
        }
    }
    holder
}

/// Whether there is a chain of at most five delegations between the two.
fn represents(play: &Play, delegate: &str, principal: &str) -> bool {
    let resolve = |name: &str| person(name.strip_prefix("id-").unwrap_or(name)).to_owned();
    let mut reached = BTreeSet::from([person(delegate).to_owned()]);
    for _ in 0..5 {
        let valid = play
            .directory
            .delegations
            .iter()
            .filter(|standing| within(play, standing.spec.from.as_ref(), standing.spec.until.as_ref()));
        let more: Vec<String> = valid
            .filter(|standing| reached.contains(&resolve(&standing.spec.to)))
            .filter_map(|standing| Some(person(&standing.spec.principal.as_ref()?.username).to_owned()))
            .collect();
        reached.extend(more);
    }
    reached.contains(person(principal))
}

/// Whether a source names somebody.
pub fn names(play: &Play, source: &Source, actor: &Actor, rights: &BTreeSet<Right>) -> bool {
    if !active(play, &actor.username) {
        return false;
    }
    if actor.username == ROBOT {
        return *source == Source::User(ROBOT.to_owned());
    }
    let own = identity(&actor.username);
    let is_own = |identity: &String| Some(identity) == own.as_ref();
    match source {
        Source::User(user) => person(user) == person(&actor.username),
        Source::Group(group) => actor.groups.contains(group),
        Source::Role(role) => granted(play, actor).contains(role.as_str()),
        Source::Permission(verb) => rights.contains(&Right::Process(verb.clone())),
        Source::Guarantor(of, type_) => {
            let spec = &play.spec;
            let role = match of {
                RoleOf::Request => &spec.role,
                RoleOf::Superior => &spec.superior_role,
                RoleOf::Sub => &spec.sub_role,
            };
            let listed =
                role.as_ref().and_then(|role| play.directory.roles.get(role)).map(|role| role.guarantors.as_slice());
            listed.unwrap_or_default().iter().filter(|guarantor| type_.is_none() || guarantor.type_ == *type_).any(
                |guarantor| {
                    guarantor.identity.as_ref().is_some_and(is_own)
                        || guarantor.role.as_ref().is_some_and(|role| granted(play, actor).contains(role.as_str()))
                },
            )
        }
        Source::GuarantorOfSubject => {
            let people =
                play.spec.subjects.iter().filter_map(|subject| play.directory.identities.get(&identity(subject)?));
            people.flat_map(|person| &person.guarantors).any(is_own)
        }
        Source::Supervisor(of, level) => {
            let whose: Vec<&str> = match of {
                SupervisorOf::Subject => play.spec.subjects.iter().map(String::as_str).collect(),
                SupervisorOf::Initiator => {
                    play.spec.initiator.iter().map(|initiator| initiator.username.as_str()).collect()
                }
                SupervisorOf::Approvers => return true,
            };
            let mut at: BTreeSet<String> = whose.into_iter().filter_map(identity).collect();
            for _ in 0..*level {
                let people = at.iter().filter_map(|identity| play.directory.identities.get(identity));
                at = people.flat_map(|person| person.managers.clone()).collect();
            }
            at.iter().any(is_own)
        }
        Source::Expression(_) => true,
    }
}

/// Whether a username counts: active, valid now, and claimed once.
fn active(play: &Play, username: &str) -> bool {
    let alias = ALIASES.iter().copied().find(|alias| person(alias) == person(username));
    let claims = |name: &str| {
        let people = play.directory.identities.values();
        people.filter(|spec| spec.username == name || spec.aliases.iter().any(|alias| alias == name)).count()
    };
    let names: Vec<&str> = alias.map_or_else(|| vec![username], |alias| vec![person(username), alias]);
    // Who is claimed by one who is contested is contested too: the rival has one name of its own.
    if names.iter().any(|name| claims(name) > 1) {
        return false;
    }
    let spec = play.directory.identities.get(&identity_name(person(username)));
    spec.is_none_or(|spec| spec.active && within(play, spec.valid_from.as_ref(), spec.valid_until.as_ref()))
}

/// The Identity behind a username that the directory knows.
fn identity(username: &str) -> Option<String> {
    ALIASES.iter().any(|alias| person(alias) == person(username)).then(|| identity_name(person(username)))
}

fn within(play: &Play, from: Option<&Time>, until: Option<&Time>) -> bool {
    from.is_none_or(|from| from.0.as_second() <= play.now) && until.is_none_or(|until| until.0.as_second() > play.now)
}

/// Every role that somebody holds, from what is given to them downwards.
fn granted<'a>(play: &'a Play, actor: &Actor) -> BTreeSet<&'a str> {
    let own = identity(&actor.username);
    let given = play.directory.roles.iter().filter(|(_, role)| {
        let mut periods = role.members.iter().filter(|member| Some(&member.identity) == own.as_ref());
        periods.any(|member| within(play, member.valid_from.as_ref(), member.valid_until.as_ref()))
            || role.groups.iter().any(|group| actor.groups.contains(group))
    });
    let mut granted: BTreeSet<&str> = given.map(|(name, _)| name.as_str()).collect();
    for _ in 0..play.directory.roles.len() {
        let held = granted.iter().filter_map(|role| play.directory.roles.get(*role));
        let below: Vec<&str> = held.flat_map(|role| &role.subroles).map(String::as_str).collect();
        granted.extend(below);
    }
    granted
}

/// Whether any source by which somebody may see what a partition records names them, as far as it can be told: too many rather
/// than too few.
pub fn may_see(
    play: &Play,
    status: &WorkflowInstanceStatus,
    decision: &CountedDecision,
    person: &Actor,
    rights: &BTreeSet<Right>,
) -> bool {
    if rights.contains(&Right::Administer) {
        return true;
    }
    let Some(step) = play.graph_of(status).and_then(|graph| graph.step(&decision.step)) else { return false };
    let Some(rule) = step.partitions.iter().find(|rule| rule.name == decision.partition) else { return false };
    let later = status
        .decisions
        .iter()
        .filter(|other| (&other.step, &other.partition) == (&decision.step, &decision.partition));
    let added = later.flat_map(|decision| &decision.approvers).filter_map(Source::named);
    let escalated = step.escalations.iter().flat_map(|level| level.approvers.iter().cloned());
    let written = rule.approvers.iter().chain(&rule.viewers).chain(&play.settings.administrators).cloned();
    let mut sources: Vec<Source> = written.chain(escalated).chain(added).collect();
    if sources.iter().any(|source| names(play, source, person, rights)) {
        return true;
    }
    // Whoever decides for somebody sees what they see.
    sources.retain(|source| !matches!(source, Source::Group(_) | Source::Permission(_)));
    let represented = USERS.iter().filter(|user| represents(play, &person.username, user));
    let handed = status.decisions.iter().filter(|other| {
        other.decision == Decision::Delegate && (&other.step, &other.partition) == (&decision.step, &decision.partition)
    });
    let has = |to: &String| self::person(to) == self::person(&person.username);
    let none = BTreeSet::new();
    represented
        .map(|user| Actor { username: (*user).to_owned(), ..Actor::default() })
        .any(|user| sources.iter().any(|source| names(play, source, &user, &none)))
        || handed.filter_map(|other| other.delegate_to.as_ref()).any(has)
}
