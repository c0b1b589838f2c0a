//! The scenes: small definitions, and letters that make trouble in each. The first letters are those that both replicas get.

use crate::scene::{Scene, Waiting, approve, cancel, delegate, reject};
use crate::shell::Shell;
use quorate::api::Outcome::{Approved, Cancelled, Expired, Rejected};

/// What the scenes leave as it is.
const PLAIN: Scene = Scene {
    name: "",
    definition: "",
    directories: &[&[]],
    administrators: &[],
    letters: Vec::new(),
    seconds: 2,
    together: (3, 1),
    object: Waiting::None,
    slow_clocks: false,
    in_flight: 0,
    delegations: &[],
    outcomes: &[Approved, Rejected],
    shell: Shell::ONE_AT_A_TIME,
};

/// All scenes, the largest first.
pub fn all() -> Vec<Scene> {
    vec![
        deadline(),
        carried_out(),
        deadline_leads_on(),
        loop_back(),
        slow_clocks(),
        contested_object(),
        object_and_two_steps(),
        leaves_the_role(),
        two_rejections(),
        two_of_three(),
        two_steps(),
        partitions(),
        separate_end(),
        administrators(),
        not_entitled(),
        withdrawn(),
        handed_over(),
        handed_on(),
        represented(),
        contested_execution(),
    ]
}

/// One person signs twice, once under an alias, and another rejects.
pub fn two_of_three() -> Scene {
    Scene {
        name: "two of three",
        definition: "nodes: [{name: check, approval: {approvers: [{role: reviewers}], required: 2}}]",
        directories: &[&[("reviewers", &["anna", "boris", "clara", "ivan"])]],
        letters: vec![
            approve("anna"),
            approve("boris"),
            reject("clara"),
            approve("anna@github"),
            approve("clara").step("check").visit(1),
        ],
        ..PLAIN
    }
}

/// The initiator and an outsider sign too.
fn not_entitled() -> Scene {
    Scene {
        name: "not entitled",
        definition: "nodes: [{name: check, approval: {approvers: [{role: reviewers}]}}]",
        directories: &[&[("reviewers", &["anna", "boris", "clara", "ivan"])]],
        letters: vec![approve("ivan"), approve("otto"), reject("anna"), approve("anna"), reject("ivan@github")],
        ..PLAIN
    }
}

/// One person may decide both partitions, and either of two may veto.
fn partitions() -> Scene {
    Scene {
        name: "partitions with veto",
        definition: "nodes: [{name: check, approval: {partitions: [
            {name: security, approvers: [{user: anna}, {user: boris}]},
            {name: finance, approvers: [{user: boris}, {user: clara}]}]}}]",
        letters: vec![
            approve("anna"),
            approve("boris").partition("finance"),
            reject("boris"),
            reject("clara"),
            approve("boris"),
        ],
        ..PLAIN
    }
}

const TWO_STEPS: &str = "nodes: [
    {name: one, approval: {approvers: [{user: anna}, {user: boris}]}},
    {name: two, approval: {approvers: [{user: boris}, {user: clara}]}}]";

/// Letters for the second step may come before it opens, and some may mean either.
fn two_steps() -> Scene {
    Scene {
        name: "two steps",
        definition: TWO_STEPS,
        letters: vec![
            approve("anna").step("one"),
            reject("boris"),
            approve("clara").step("two"),
            approve("boris"),
            approve("boris").step("two"),
        ],
        ..PLAIN
    }
}

/// The smallest scene in which one letter may be judged in two ways.
pub fn early_letter() -> Scene {
    Scene {
        name: "early letter",
        definition: TWO_STEPS,
        letters: vec![approve("anna").step("one"), approve("clara").step("two")],
        outcomes: &[Approved],
        ..PLAIN
    }
}

/// Two operators whose clocks differ by a second, or one whose clock goes back.
fn slow_clocks() -> Scene {
    Scene {
        name: "slow clocks",
        definition: TWO_STEPS,
        letters: vec![approve("anna"), reject("boris"), approve("boris").step("two").visit(1), approve("clara")],
        seconds: 3,
        together: (2, 2),
        slow_clocks: true,
        ..PLAIN
    }
}

/// A rejection leads back; a letter may mean any visit, or only the second.
fn loop_back() -> Scene {
    Scene {
        name: "loop back",
        definition: "nodes: [
            {name: review, approval: {approvers: [{user: anna}]}, next: {rejected: rework, approved: Approved}},
            {name: rework, approval: {approvers: [{user: boris}]}, next: {approved: review}}]",
        letters: vec![
            reject("anna"),
            approve("boris"),
            approve("anna").step("review").visit(2),
            approve("anna"),
            reject("anna").step("review").visit(2),
        ],
        outcomes: &[Approved],
        ..PLAIN
    }
}

/// The path ends in nodes of its own.
fn separate_end() -> Scene {
    Scene {
        name: "separate end",
        definition: "nodes: [
            {name: check, approval: {approvers: [{user: anna}, {user: boris}]}, next: {approved: done, rejected: late}},
            {name: done, end: {outcome: Approved}},
            {name: late, end: {outcome: Expired}}]",
        letters: vec![approve("anna"), reject("anna"), reject("boris"), approve("boris")],
        outcomes: &[Approved, Expired],
        ..PLAIN
    }
}

/// It takes two rejections, or two approvals.
fn two_rejections() -> Scene {
    Scene {
        name: "two rejections",
        definition: "nodes: [{name: check, approval: {
            approvers: [{user: anna}, {user: boris}, {user: clara}], required: 2, rejections: 2}}]",
        letters: vec![reject("anna"), reject("boris"), approve("clara"), approve("boris")],
        ..PLAIN
    }
}

/// The initiator is the only one whom the definition names.
fn administrators() -> Scene {
    Scene {
        name: "administrators",
        definition: "nodes: [{name: check, approval: {approvers: [{user: ivan}]}}]",
        administrators: &["root", "ivan"],
        letters: vec![approve("root"), reject("root"), approve("ivan"), approve("anna")],
        ..PLAIN
    }
}

/// Somebody leaves the role, so that the administrators stand in.
fn leaves_the_role() -> Scene {
    Scene {
        name: "leaves the role",
        definition: "nodes: [{name: check, approval: {approvers: [{role: owners}], required: 2}}]",
        directories: &[&[("owners", &["anna", "boris"])], &[("owners", &["anna"])]],
        administrators: &["root"],
        letters: vec![approve("boris"), reject("root"), approve("anna"), approve("root")],
        together: (2, 1),
        ..PLAIN
    }
}

/// An object waits, and may be gone at any moment before it is decided here.
pub fn contested_object() -> Scene {
    Scene {
        name: "contested object",
        definition: "nodes: [{name: check, approval: {approvers: [{user: anna}, {user: boris}]}}]",
        letters: vec![approve("anna"), reject("boris"), approve("otto"), approve("boris")],
        together: (2, 1),
        object: Waiting::Contested,
        outcomes: &[Approved, Rejected, Cancelled],
        ..PLAIN
    }
}

/// An object waits for two steps.
fn object_and_two_steps() -> Scene {
    Scene {
        name: "object and two steps",
        definition: TWO_STEPS,
        letters: vec![approve("anna"), reject("clara"), approve("boris").step("two"), reject("boris")],
        together: (2, 1),
        object: Waiting::Object,
        ..PLAIN
    }
}

/// The initiator withdraws the request at any moment; somebody else tries to.
fn withdrawn() -> Scene {
    Scene {
        name: "withdrawn",
        definition: TWO_STEPS,
        letters: vec![approve("anna").step("one"), cancel("ivan"), approve("clara"), cancel("otto")],
        together: (2, 1),
        object: Waiting::Object,
        outcomes: &[Approved, Cancelled],
        ..PLAIN
    }
}

/// Two approvals in time, or none; letters are on their way for a second.
pub fn deadline() -> Scene {
    Scene {
        name: "deadline",
        definition: "nodes: [{name: check, approval: {
            approvers: [{user: anna}, {user: boris}, {user: clara}], required: 2, timeout: {after: 1s}}}]",
        letters: vec![approve("anna"), approve("boris"), reject("clara")],
        seconds: 4,
        together: (2, 4),
        in_flight: 1,
        outcomes: &[Approved, Rejected, Expired],
        ..PLAIN
    }
}

/// When time is over, others are asked, who have their own deadline; that it ends then, following the world to its rest shows.
fn deadline_leads_on() -> Scene {
    Scene {
        name: "deadline leads on",
        definition: "nodes: [
            {name: one, approval: {approvers: [{user: anna}], timeout: {after: 1s}}, next: {expired: two, approved: Approved}},
            {name: two, approval: {approvers: [{user: anna}, {user: boris}], timeout: {after: 1s}}}]",
        letters: vec![approve("anna"), reject("boris"), approve("boris").step("two")],
        seconds: 4,
        together: (2, 3),
        outcomes: &[Approved, Rejected],
        ..PLAIN
    }
}

/// Somebody hands the task over and takes it back; both sign, and the other approver too.
pub fn handed_over() -> Scene {
    Scene {
        name: "handed over",
        definition: "nodes: [{name: check, approval: {approvers: [{user: anna}, {user: boris}], required: 2}}]",
        letters: vec![
            delegate("anna", "dora"),
            approve("dora"),
            approve("anna"),
            approve("boris"),
            delegate("anna", "anna"),
        ],
        outcomes: &[Approved],
        ..PLAIN
    }
}

/// The task is handed on, to somebody who may decide anyway, and to the initiator, who may not.
fn handed_on() -> Scene {
    Scene {
        name: "handed on",
        definition: "nodes: [{name: check, approval: {approvers: [{user: anna}, {user: boris}], required: 2}}]",
        letters: vec![
            delegate("anna", "dora"),
            delegate("dora", "boris"),
            approve("boris"),
            approve("anna"),
            delegate("boris", "ivan"),
        ],
        outcomes: &[Approved],
        ..PLAIN
    }
}

/// A standing delegation: delegate and principal have one vote together, though the delegate may decide the next step too.
fn represented() -> Scene {
    Scene {
        name: "represented",
        definition: "nodes: [
            {name: one, approval: {approvers: [{role: owners}], required: 2}},
            {name: two, approval: {approvers: [{user: dora}]}}]",
        directories: &[&[("owners", &["anna", "boris"])]],
        delegations: &[("anna", "dora")],
        letters: vec![approve("dora"), approve("anna"), approve("boris"), reject("dora"), delegate("anna", "clara")],
        together: (3, 1),
        ..PLAIN
    }
}

/// The operation is carried out on the way; what comes after it cannot undo it, and nobody withdraws it.
fn carried_out() -> Scene {
    Scene {
        name: "carried out",
        definition: EXECUTION,
        letters: vec![approve("anna"), cancel("ivan"), reject("boris"), approve("boris")],
        object: Waiting::Object,
        outcomes: &[Approved, Rejected, Cancelled],
        ..PLAIN
    }
}

const EXECUTION: &str = "nodes: [
    {name: before, approval: {approvers: [{user: anna}]}},
    {name: run, execute: {}},
    {name: after, approval: {approvers: [{user: boris}]}}]";

/// The same where the object may be gone before.
fn contested_execution() -> Scene {
    Scene {
        name: "contested execution",
        definition: EXECUTION,
        letters: vec![approve("anna"), cancel("ivan"), approve("boris")],
        together: (2, 1),
        object: Waiting::Contested,
        outcomes: &[Approved, Cancelled],
        ..PLAIN
    }
}
