//! Whether an operation may go on, as tables; and what the API server is told.

#![allow(clippy::needless_pass_by_value, reason = "it is written at the call: process(name, json!(…))")]
#![allow(clippy::unnecessary_wraps, reason = "a grant is optional where it is stored")]

use super::configuration::{Installation, PROBE, Refused, Resources, Served, build, faults};
use super::judge::{CHANGE, Facts, Judgement, drifted, judge, name};
use super::message;
use crate::api::{
    Actor, ApprovalProcess, ChangeRequest, ChangeRequestStatus, ChangeState, ChangeStatus, Execution, Grant, Held,
    Operation, PlannedProcess,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use serde_json::{Value, json};
use std::sync::Arc;

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000_000 + seconds)
}

fn mary() -> Actor {
    Actor { username: "mary".to_owned(), groups: vec!["devs".to_owned()], ..Actor::default() }
}

fn held() -> Held {
    Held {
        operation: Operation::Update,
        version: "v1".to_owned(),
        resource: "configmaps".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: "prod".to_owned(),
        name: "web".to_owned(),
        digest: "sha256:one".to_owned(),
        base: "sha256:base".to_owned(),
        ..Held::default()
    }
}

/// What becomes of an attempt at a moment, given what is known.
fn judged(requester: &Actor, held: &Held, known: &[ChangeRequest], seconds: i64) -> Judgement {
    judge(&facts(requester, held, known, seconds))
}

fn facts<'a>(requester: &'a Actor, held: &'a Held, known: &'a [ChangeRequest], seconds: i64) -> Facts<'a> {
    static EXECUTION: Execution = Execution { mode: None, valid_for: None };
    Facts {
        requester,
        held,
        object: None,
        execution: &EXECUTION,
        namespace: "prod",
        known,
        repeats: &|_| false,
        now: at(seconds),
    }
}

/// The request that a first attempt opens.
fn opened(requester: &Actor, held: &Held, known: &[ChangeRequest], seconds: i64) -> ChangeRequest {
    match judged(requester, held, known, seconds) {
        Judgement::Open(request) => {
            let mut request = *request;
            request.metadata.creation_timestamp = Some(Time(at(seconds)));
            request.metadata.uid = Some(request.name_any());
            request
        }
        other => panic!("{other:?}"),
    }
}

fn in_state(mut request: ChangeRequest, state: ChangeState, grant: Option<Grant>, decided: i64) -> ChangeRequest {
    let change = ChangeStatus {
        name: CHANGE.to_owned(),
        state,
        grant,
        decided_at: Some(Time(at(decided))),
        ..ChangeStatus::default()
    };
    request.status = Some(ChangeRequestStatus { changes: vec![change], ..ChangeRequestStatus::default() });
    request
}

fn grant(until: i64, claimed: Option<i64>, used: Option<i64>) -> Option<Grant> {
    let moment = |seconds: i64| Time(at(seconds));
    Some(Grant { valid_until: moment(until), claimed_at: claimed.map(moment), used_at: used.map(moment) })
}

fn word(judgement: &Judgement) -> String {
    match judgement {
        Judgement::Repeat => "repeat".to_owned(),
        Judgement::Claim(_) => "claim".to_owned(),
        Judgement::Wait(_) => "wait".to_owned(),
        Judgement::Rejected(_) => "rejected".to_owned(),
        Judgement::Open(request) => {
            let name = request.name_any();
            format!("open {}", name.splitn(3, '-').nth(2).unwrap_or("1"))
        }
    }
}

#[test]
fn r21_the_state_of_its_request_decides() {
    use ChangeState::{Approved, Cancelled, Executed, Expired, Failed, InApproval, Pending, Rejected};

    let day = 24 * 3600;
    let cases = [
        (Pending, None, 1, "wait"),
        (InApproval, None, 1, "wait"),
        (Approved, None, 1, "wait"),
        (Approved, grant(day, None, None), 1, "claim"),
        (Approved, grant(day, None, None), day, "open 2"),
        (Approved, grant(day, Some(0), None), 30, "repeat"),
        (Approved, grant(day, Some(0), None), 31, "open 2"),
        (Approved, grant(day, Some(0), Some(1)), 2, "open 2"),
        (Rejected, None, day - 1, "rejected"),
        (Rejected, None, day, "open 2"),
        (Expired, None, 1, "open 2"),
        (Cancelled, None, 1, "open 2"),
        (Failed, None, 1, "open 2"),
        (Executed, grant(day, Some(0), Some(1)), 2, "open 2"),
    ];
    for (state, grant, now, expected) in cases {
        let first = in_state(opened(&mary(), &held(), &[], 0), state, grant.clone(), 0);
        let told = word(&judged(&mary(), &held(), &[first], now));
        assert_eq!(told, expected, "{state:?} {grant:?} after {now} s");
    }
}

#[test]
fn the_newest_request_that_is_alive_decides() {
    let first = in_state(opened(&mary(), &held(), &[], 0), ChangeState::Executed, None, 0);
    let second = opened(&mary(), &held(), std::slice::from_ref(&first), 1);
    assert!(second.name_any().ends_with("-2"));
    let second = in_state(second, ChangeState::Expired, None, 1);
    let known = [second, first];
    assert_eq!(word(&judged(&mary(), &held(), &known, 2)), "open 3");
}

#[test]
fn attack_27_a_grant_is_no_use_for_a_process_that_was_never_asked() {
    let granted = in_state(opened(&mary(), &held(), &[], 0), ChangeState::Approved, grant(3600, None, None), 0);
    let known = [granted];
    let more = PlannedProcess { name: "stricter".to_owned(), ..PlannedProcess::default() };
    let processes = held().processes.into_iter().chain([more]).collect();
    assert_eq!(word(&judged(&mary(), &Held { processes, ..held() }, &known, 1)), "open 2");
    assert_eq!(word(&judged(&mary(), &Held { processes: Vec::new(), ..held() }, &known, 1)), "claim");
}

#[test]
fn attack_27_a_grant_is_for_one_requester_one_payload_and_one_base() {
    let granted = in_state(opened(&mary(), &held(), &[], 0), ChangeState::Approved, grant(3600, None, None), 0);
    let known = [granted];
    let john = Actor { username: "john".to_owned(), ..mary() };
    let other_uid = Actor { uid: "another".to_owned(), ..mary() };
    let other_groups = Actor { groups: Vec::new(), ..mary() };
    assert_eq!(word(&judged(&john, &held(), &known, 1)), "open 1");
    assert_eq!(word(&judged(&other_uid, &held(), &known, 1)), "open 1");
    assert_eq!(word(&judged(&other_groups, &held(), &known, 1)), "claim");
    for (changed, told) in [
        (Held { digest: "sha256:two".to_owned(), ..held() }, "for another payload"),
        (Held { base: "sha256:moved".to_owned(), ..held() }, "for the object as it was before"),
    ] {
        assert_eq!(word(&judged(&mary(), &changed, &known, 1)), "open 1");
        let (requester, known) = (mary(), &known);
        let facts = facts(&requester, &changed, known, 1);
        let drift = drifted(&facts).map(|earlier| message::drift(earlier, &changed.digest)).unwrap_or_default();
        assert!(drift.starts_with("what was approved as changerequest/gate-") && drift.ends_with(told), "{drift}");
    }
    for changed in [
        Held { name: "other".to_owned(), ..held() },
        Held { operation: Operation::Delete, ..held() },
        Held { subresource: "status".to_owned(), ..held() },
        Held { namespace: "test".to_owned(), ..held() },
    ] {
        assert_eq!(word(&judged(&mary(), &changed, &known, 1)), "open 1");
    }
}

#[test]
fn attack_14_a_request_of_that_name_that_is_not_the_gates_is_passed_over() {
    let mut foreign = in_state(opened(&mary(), &held(), &[], 0), ChangeState::Approved, grant(3600, None, None), 0);
    foreign.spec.changes[0].held = None;
    assert_eq!(word(&judged(&mary(), &held(), &[foreign], 1)), "open 2");
}

#[test]
fn attack_14_a_name_that_the_server_makes_up_passes_once() {
    let held = Held { operation: Operation::Create, name: "web-".to_owned(), generated_name: true, ..held() };
    let claimed = in_state(opened(&mary(), &held, &[], 0), ChangeState::Approved, grant(3600, Some(0), None), 0);
    let (requester, known) = (mary(), [claimed]);
    let mut facts = facts(&requester, &held, &known, 1);
    assert_eq!(word(&judge(&facts)), "open 2");
    facts.repeats = &|_| true;
    assert_eq!(word(&judge(&facts)), "repeat");
}

#[test]
fn r57_what_corrects_a_rejected_request_supersedes_it() {
    let rejected = in_state(opened(&mary(), &held(), &[], 0), ChangeState::Rejected, None, 0);
    let changed = Held { digest: "sha256:two".to_owned(), ..held() };
    let corrected = opened(&mary(), &changed, std::slice::from_ref(&rejected), 1);
    assert_eq!(corrected.spec.supersedes.as_deref(), Some(rejected.name_any().as_str()));
    let granted = in_state(rejected, ChangeState::Approved, grant(3600, None, None), 0);
    assert_eq!(opened(&mary(), &changed, &[granted], 1).spec.supersedes, None);
}

#[test]
fn r25_a_bypass_is_recorded_each_time_and_repeated_for_a_moment() {
    let urgent = Held { bypass_reason: Some("fire".to_owned()), ..held() };
    let waiting = opened(&mary(), &held(), &[], 0);
    let recorded = opened(&mary(), &urgent, std::slice::from_ref(&waiting), 1);
    assert_ne!(recorded.name_any(), waiting.name_any());
    assert_eq!(recorded.spec.reason.as_deref(), Some("fire"));
    let known = [waiting, recorded];
    assert_eq!(word(&judged(&mary(), &urgent, &known, 31)), "repeat");
    assert_eq!(word(&judged(&mary(), &urgent, &known, 32)), "open 2");
    assert_eq!(word(&judged(&mary(), &held(), &known, 2)), "wait");
}

#[test]
fn names_are_short_enough_and_the_operators() {
    let name = name(&mary(), &held());
    assert!(name.starts_with("gate-") && name.len() <= 60, "{name}");
}

fn process(name: &str, gate: Value) -> Arc<ApprovalProcess> {
    let process = json!({"apiVersion": "quorate.dev/v1alpha1", "kind": "ApprovalProcess", "metadata": {"name": name},
        "spec": {"event": {"gate": gate}, "workflowRef": {"name": "two"}}});
    Arc::new(serde_json::from_value(process).expect("a process"))
}

fn built(processes: &[Arc<ApprovalProcess>]) -> super::configuration::Built {
    let resources = Resources::from([
        (("apps".to_owned(), "deployments".to_owned()), Served { version: "v1".to_owned() }),
        ((String::new(), "pods".to_owned()), Served { version: "v1".to_owned() }),
    ]);
    let installation = Installation {
        namespace: "quorate-system",
        operator: "operator",
        client: json!({"url": "https://127.0.0.1/gate/x"}),
        authorities: "PEM",
    };
    build(processes, &resources, &Refused::new(), &installation)
}

#[test]
fn what_the_api_server_is_told_fails_closed_and_spares_where_clusters_are_mended() {
    let deployments = json!([{"apiGroups": ["apps"], "resources": ["deployments"]}]);
    let one = process(
        "one",
        json!({"operations": ["UPDATE"], "resources": deployments,
        "namespaces": {"matchLabels": {"tier": "prod"}}}),
    );
    let built = built(&[one]);
    let names: Vec<_> = built.webhooks.iter().map(|webhook| webhook["name"].as_str().unwrap_or_default()).collect();
    assert_eq!(names, ["one.gate.quorate.dev", "namespaces.quorate.dev", "probe.quorate.dev"]);
    for webhook in &built.webhooks {
        assert_eq!((&webhook["failurePolicy"], &webhook["sideEffects"]), (&json!("Fail"), &json!("NoneOnDryRun")));
    }
    let spared = &built.webhooks[0]["namespaceSelector"]["matchExpressions"][0];
    assert_eq!((&spared["operator"], &spared["values"]), (&json!("NotIn"), &json!(["kube-system", "quorate-system"])));
    assert_eq!(built.webhooks[0]["rules"][0]["scope"], "Namespaced");
    assert!(built.probe.starts_with(PROBE));
    built.configuration().expect("what Kubernetes reads");
}

#[test]
fn attack_24_labels_are_watched_that_select_what_needs_no_approval() {
    let deployments = json!([{"apiGroups": ["apps"], "resources": ["deployments"]}]);
    let labelled =
        json!({"operations": ["UPDATE"], "resources": deployments, "namespaces": {"matchLabels": {"sandbox": "true"}}});
    let mut skip = Arc::unwrap_or_clone(process("skip", labelled));
    skip.spec.skip = true;
    let skip = Arc::new(skip);
    let strict = process("strict", json!({"operations": ["UPDATE"], "resources": deployments}));
    let watched = |processes: &[Arc<ApprovalProcess>]| {
        built(processes).webhooks.iter().any(|webhook| webhook["name"] == "namespaces.quorate.dev")
    };
    assert!(watched(&[skip.clone(), strict.clone()]));
    assert!(!watched(&[skip]) && !watched(&[strict]));
}

#[test]
fn a_deletion_that_is_gated_brings_evictions_and_owners() {
    let pods = json!([{"apiGroups": [""], "resources": ["pods"]}]);
    let built = built(&[process("one", json!({"operations": ["DELETE"], "resources": pods}))]);
    let rules = json!(built.webhooks[0]["rules"]).to_string();
    assert!(rules.contains(r#""operations":["CREATE"],"resources":["pods/eviction"]"#), "{rules}");
    assert!(rules.contains(r#""operations":["UPDATE","DELETE"]"#), "{rules}");
}

#[test]
fn r26_what_is_created_below_an_object_changes_it() {
    let rules = |operation: &str, resource: &str| {
        let resources = json!([{"apiGroups": [""], "resources": [resource]}]);
        let built = built(&[process("one", json!({"operations": [operation], "resources": resources}))]);
        json!(built.webhooks[0]["rules"]).to_string()
    };
    for resource in ["pods/binding", "serviceaccounts/token"] {
        let told = format!(r#""operations":["CREATE"],"resources":["{resource}"]"#);
        assert!(rules("UPDATE", resource).contains(&told), "{resource}");
    }
    assert!(!rules("UPDATE", "pods/status").contains("CREATE"));
    assert!(rules("DELETE", "pods/eviction").contains("CREATE"));
}

#[test]
fn another_rule_is_another_probe() {
    let gate = |operation: &str| {
        process(
            "one",
            json!({"operations": [operation], "resources": [{"apiGroups": ["apps"], "resources": ["deployments"]}]}),
        )
    };
    assert_ne!(built(&[gate("CREATE")]).probe, built(&[gate("DELETE")]).probe);
    assert_eq!(built(&[gate("CREATE")]).probe, built(&[gate("CREATE")]).probe);
}

#[test]
fn r26_what_nobody_serves_is_told_and_gated_should_it_come() {
    let things = json!([{"apiGroups": ["example.com"], "resources": ["things"]}]);
    let built = built(&[process("one", json!({"operations": ["CREATE"], "resources": things}))]);
    assert!(built.faults["one"][0].contains("serves no things of API group \"example.com\""), "{:?}", built.faults);
    assert_eq!(built.webhooks[0]["rules"][0]["apiVersions"], json!(["*"]));
}

#[test]
fn what_can_never_be_gated_says_why() {
    let faulty = |group: &str, resource: &str| {
        let resources = json!([{"apiGroups": [group], "resources": [resource]}]);
        let process = process("one", json!({"operations": ["CREATE"], "resources": resources}));
        let gate = process.spec.event.gate.clone().expect("a gate");
        let sent = built(&[process]).webhooks.len() > 1;
        (faults(&gate).len(), sent)
    };
    for (group, resource) in [
        ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
        ("quorate.dev", "approvalsignals"),
        ("quorate.dev", "workflowinstances/status"),
        ("quorate.dev", "changerequests"),
        ("*", "deployments"),
        ("apps", "*"),
    ] {
        assert_eq!(faulty(group, resource), (1, false), "{resource} of {group}");
    }
    assert_eq!(faulty("quorate.dev", "workflowdefinitions"), (0, true));
}

#[test]
fn r26_fields_that_would_never_differ_are_refused() {
    let said = |resource: &str, path: &str| {
        let resources = json!([{"apiGroups": ["apps"], "resources": ["deployments", resource]}]);
        let process = process("one", json!({"operations": ["UPDATE"], "resources": resources, "fields": [path]}));
        faults(process.spec.event.gate.as_ref().expect("a gate")).join("; ")
    };
    let plain = "deployments/scale";
    for (resource, path, told) in [
        (plain, "status.phase", "name the subresource"),
        (plain, "/status/phase", "name the subresource"),
        (plain, "spec.template.spec.nodeSelector.kubernetes.io/arch", "as a JSON pointer"),
        (plain, "spec.nodeSelector.example.com", "as a JSON pointer"),
        (plain, "spec.some.example.com/key", "as a JSON pointer"),
        (plain, "spec..replicas", "empty key"),
        (plain, "/spec/a~b", "~ is written ~0"),
    ] {
        let said = said(resource, path);
        assert!(said.starts_with(&format!("spec.event.gate.fields[0]: {path} ")) && said.contains(told), "{said}");
    }
    for (resource, path) in [
        ("deployments/status", "status.phase"),
        (plain, "/spec/nodeSelector/kubernetes.io~1arch"),
        (plain, "spec.nodeSelector.disk"),
        (plain, "spec.template.metadata.annotations.example.com/x"),
        (plain, "metadata.labels.example.com/tier"),
        (plain, "data.tls.crt"),
    ] {
        assert_eq!(said(resource, path), "", "{path}");
    }
}

#[test]
fn r26_the_server_is_told_of_fields_with_dots() {
    let deployments = json!([{"apiGroups": ["apps"], "resources": ["deployments"]}]);
    let told = |path: &str| {
        let gate = json!({"operations": ["UPDATE"], "resources": deployments, "fields": [path]});
        json!(built(&[process("one", gate)]).webhooks[0]["matchConditions"]).to_string()
    };
    assert!(told("/spec/nodeSelector/kubernetes.io~1arch").contains(r#"[\"kubernetes.io/arch\"]"#));
    assert!(told("spec.template.metadata.annotations.example.com/x").contains(r#"[\"example.com/x\"]"#));
}

#[test]
fn a_service_account_is_the_same_whether_its_uid_is_told_or_not() {
    let account = |uid: &str| Actor {
        username: "system:serviceaccount:ci:robot".to_owned(),
        uid: uid.to_owned(),
        ..Actor::default()
    };
    let held = held();
    let request = opened(&account("one"), &held, &[], 0);
    assert_eq!(word(&judged(&account(""), &held, std::slice::from_ref(&request), 1)), "wait");
    assert_eq!(word(&judged(&account("two"), &held, std::slice::from_ref(&request), 1)), "open 2", "made anew");
    let person = |uid: &str| Actor { uid: uid.to_owned(), ..mary() };
    assert!(!person("one").is_same(&person("")), "nobody else lends a uid");
    assert!(!account("").is_same(&mary()));
}
