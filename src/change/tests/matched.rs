//! Which processes an operation matches.

use super::*;

#[test]
fn r24_r27_order_stop_continue_and_skip() {
    let all = || gate(&["CREATE", "UPDATE", "DELETE"], json!({}));
    let asked = Asked::update(deployment(1), deployment(2));
    let with = |more: Value| process(more, all());
    let go_on = |order: i32| with(json!({"order": order, "onMatch": "Continue"}));
    let cases: &[(&[(&str, ApprovalProcessSpec)], &[&str])] = &[
        (&[("b", with(json!({}))), ("a", with(json!({})))], &["a"]),
        (&[("b", with(json!({"order": 1}))), ("a", with(json!({})))], &["b"]),
        (&[("a", go_on(1)), ("b", with(json!({}))), ("c", with(json!({})))], &["a", "b"]),
        (&[("c", go_on(9)), ("b", go_on(9)), ("a", go_on(10))], &["b", "c", "a"]),
        (&[("a", with(json!({"skip": true, "workflowRef": null}))), ("b", with(json!({})))], &["skip", "a"]),
        (&[("a", go_on(1)), ("b", with(json!({"skip": true}))), ("c", with(json!({})))], &["a"]),
    ];
    for (processes, expected) in cases {
        assert_eq!(names(&selected(processes, &asked)), *expected);
    }
}

#[test]
fn a_process_that_matches_and_cannot_be_asked_holds() {
    let asked = Asked::update(deployment(1), deployment(2));
    let unknown = json!({"matchConditions": [{"name": "typo", "expression": "object.spec.missing == 1"}]});
    let broken = process(json!({}), gate(&["UPDATE"], unknown));
    let Selection::Hold { process: name, why } = selected(&[("a", broken)], &asked) else { panic!("it holds") };
    assert!(name == "a" && why.starts_with("spec.event.gate.matchConditions[typo]: "), "{why}");

    let subjects = process(json!({"subjects": "object.spec.replicas"}), gate(&["UPDATE"], json!({})));
    let Selection::Hold { why, .. } = selected(&[("a", subjects)], &asked) else { panic!("it holds") };
    assert!(why.starts_with("spec.subjects: "), "{why}");

    let sound = process(json!({}), gate(&["UPDATE"], json!({})));
    let candidate = Candidate { name: "a", spec: &sound, not_ready: Some("no workflow".to_owned()) };
    let selection = select(&[candidate], &asked.attempt());
    assert_eq!(selection, Selection::Hold { process: "a".to_owned(), why: "no workflow".to_owned() });
}

#[test]
fn r26_a_condition_that_does_not_hold_decides_as_in_kubernetes() {
    let conditions = json!({"matchConditions": [{"name": "fails", "expression": "object.nothing.at == 1"},
        {"name": "not", "expression": "operation == 'CREATE'"}]});
    assert!(!asks(&gate(&["UPDATE"], conditions), &Asked::update(deployment(1), deployment(2))));
}

#[test]
fn r26_request_is_what_the_api_server_shows() {
    let conditions = |expression: &str| json!({"matchConditions": [{"name": "one", "expression": expression}]});
    let mut everything = gate(&["CREATE", "UPDATE", "DELETE"], json!({}));
    everything.resources = serde_json::from_value(json!([{"apiGroups": ["apps"], "resources": ["deployments"]},
        {"apiGroups": [""], "resources": ["namespaces"]}]))
    .unwrap();
    let holds = |expression: &str, attempt: &Attempt<'_>| {
        let gate = GateEvent {
            match_conditions: gate(&["UPDATE"], conditions(expression)).match_conditions,
            ..everything.clone()
        };
        let spec = process(json!({}), gate);
        let candidate = Candidate { name: "only", spec: &spec, not_ready: None };
        matches!(select(&[candidate], attempt), Selection::Ask(_))
    };
    let asked = Asked::update(deployment(1), deployment(2));
    let namespace = Asked { name: "prod", namespace: None, ..Asked::update(deployment(1), deployment(2)) };
    let namespace = namespace.on("", "namespaces", "");
    let scale = Asked::update(deployment(1), deployment(2)).on("apps", "deployments", "scale");
    for (expression, asked) in [
        ("!has(request.subResource)", &asked),
        ("!has(request.requestSubResource)", &asked),
        ("!has(request.userInfo.uid)", &asked),
        ("has(request.options) && has(request.dryRun) && !request.dryRun", &asked),
        ("request.namespace == 'prod' && request.name == 'prod'", &namespace),
        ("has(request.subResource) && request.subResource == 'scale'", &scale),
    ] {
        assert!(holds(expression, &asked.attempt()), "{expression}");
    }
    let shown = json!({"kind": {"group": "autoscaling", "version": "v1", "kind": "Scale"}, "dryRun": true});
    let attempt = Attempt { request: Some(&shown), ..scale.attempt() };
    assert!(holds("request.kind.group == 'autoscaling' && request.dryRun", &attempt), "as it was sent");
}

#[test]
fn attack_21_fewer_finalizers_finish_a_deletion_and_more_are_held() {
    let object = |finalizers: &[&str], deleted: bool| {
        let mut object = deployment(1);
        object["metadata"]["finalizers"] = json!(finalizers);
        if deleted {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        object
    };
    let with = |mut object: Value, pointer: &str, value: Value| {
        object.pointer_mut(pointer).unwrap().clone_from(&value);
        object
    };
    let cases = [
        (object(&["a", "b"], true), object(&["b"], true), false),
        (object(&["a"], true), deployment(1), false),
        (object(&["a", "b"], true), with(object(&["b"], true), "/metadata/resourceVersion", json!("8")), false),
        (object(&["a", "b"], false), object(&["b"], false), true),
        (object(&["a"], true), object(&["a", "b"], true), true),
        (object(&["a"], true), object(&["b"], true), true),
        (object(&["a", "b"], true), with(object(&["b"], true), "/spec/replicas", json!(2)), true),
        (object(&["a"], true), with(object(&["a"], true), "/spec/replicas", json!(2)), true),
    ];
    for (old, new, expected) in cases {
        for fields in [json!({}), json!({"fields": ["spec.replicas", "metadata.finalizers"]})] {
            let all = gate(&["CREATE", "UPDATE", "DELETE"], fields);
            assert_eq!(asks(&all, &Asked::update(old.clone(), new.clone())), expected, "{old} to {new}");
        }
    }
}

#[test]
fn r26_fields_with_dots_differ() {
    let with = |arch: &str, owner: &str| {
        let mut object = deployment(1);
        object["spec"]["nodeSelector"] = json!({"kubernetes.io/arch": arch});
        object["spec"]["template"] = json!({"metadata": {"annotations": {"example.com/x": owner}}});
        object
    };
    let cases = [
        ("/spec/nodeSelector/kubernetes.io~1arch", with("b", "a"), true),
        ("/spec/nodeSelector/kubernetes.io~1arch", with("a", "b"), false),
        ("spec.template.metadata.annotations.example.com/x", with("a", "b"), true),
        ("spec.template.metadata.annotations.example.com/x", with("b", "a"), false),
    ];
    for (path, new, expected) in cases {
        let fields = gate(&["UPDATE"], json!({"fields": [path]}));
        assert_eq!(asks(&fields, &Asked::update(with("a", "a"), new)), expected, "{path}");
    }
}

#[test]
fn r20_expressions_see_old_and_new() {
    let binding = |people: &[&str]| json!({"metadata": {"name": "web"}, "subjects": people});
    let spec = json!({"subjects": "added(object.subjects, oldObject.?subjects.orValue([]))",
        "role": "request.name", "instancePer": "Subject", "excludeApprovers": "[initiator.username]"});
    let processes = [("a", process(spec, gate(&["CREATE", "UPDATE"], json!({}))))];
    for (old, expected) in [(None, vec!["mary", "john"]), (Some(binding(&["mary"])), vec!["john"])] {
        let operation = if old.is_some() { Operation::Update } else { Operation::Create };
        let asked = Asked::new(operation, old, Some(binding(&["mary", "john"])));
        let Selection::Ask(planned) = selected(&processes, &asked) else { panic!("it is asked") };
        assert_eq!(planned[0].subjects, expected);
        assert_eq!(
            (planned[0].role.as_deref(), planned[0].exclude_approvers.as_slice()),
            (Some("web"), &["mary".to_owned()][..])
        );
    }
}

#[test]
fn r26_operations_resources_and_fields() {
    let old = || deployment(1);
    let scaled = || Asked::update(old(), deployment(2));
    let touched = || {
        let mut new = deployment(1);
        new["metadata"]["annotations"] = json!({"example.com/owner.name": "mary"});
        Asked::update(old(), new)
    };
    let adopted = || {
        let mut new = deployment(1);
        new["metadata"]["ownerReferences"] = json!([{"uid": "two"}]);
        Asked::update(old(), new)
    };
    let status_only = || {
        let mut new = deployment(1);
        new["status"] = json!({"replicas": 4});
        new["metadata"]["managedFields"] = json!([{"manager": "x"}]);
        Asked::update(old(), new)
    };
    let deleted = || Asked::new(Operation::Delete, Some(old()), None);
    let created = || Asked::new(Operation::Create, None, Some(old()));
    let at_status = || status_only().on("apps", "deployments", "status");
    let explicit = json!({"resources": [{"apiGroups": ["apps"], "resources": ["deployments/status"]}]});
    let replicas = json!({"fields": ["spec.replicas"]});
    let owner = json!({"fields": ["metadata.annotations.example.com/owner.name"]});
    let everything = &["CREATE", "UPDATE", "DELETE"][..];
    let crd = json!({"fields": ["spec.nodes"], "resources": [{"apiGroups": ["example.com"], "resources": ["things"]}]});
    let evict = || created().on("", "pods", "eviction");
    let pods = json!({"resources": [{"apiGroups": [""], "resources": ["pods"]}]});
    let cases: Vec<(&str, &[&str], Value, Asked, bool)> = vec![
        ("an update", &["UPDATE"], json!({}), scaled(), true),
        ("another operation", &["CREATE", "DELETE"], json!({}), scaled(), false),
        ("another group", &["UPDATE"], json!({}), scaled().on("extensions", "deployments", ""), false),
        ("another resource", &["UPDATE"], json!({}), scaled().on("apps", "statefulsets", ""), false),
        ("a creation", &["CREATE"], json!({}), created(), true),
        ("a deletion", &["DELETE"], json!({}), deleted(), true),
        ("a field that changes", &["UPDATE"], replicas.clone(), scaled(), true),
        ("a field that stays", &["UPDATE"], replicas.clone(), touched(), false),
        ("an annotation with dots", &["UPDATE"], owner.clone(), touched(), true),
        ("another annotation", &["UPDATE"], owner, scaled(), false),
        ("fields are for UPDATE", &["CREATE"], replicas.clone(), created(), true),
        ("nothing that means something", everything, json!({}), status_only(), false),
        ("status by itself is no change", everything, json!({}), at_status(), false),
        ("status when it is named", &["UPDATE"], explicit, at_status(), true),
        ("attack 17: scale", &["UPDATE"], replicas, scaled().on("apps", "deployments", "scale"), true),
        (
            "attack 17: scale of a custom resource",
            &["UPDATE"],
            crd,
            scaled().on("example.com", "things", "scale"),
            true,
        ),
        ("attack 17: eviction removes", &["DELETE"], pods.clone(), evict(), true),
        ("eviction creates nothing", &["CREATE"], pods, evict(), false),
        ("attack 22: other owners", &["DELETE"], json!({}), adopted(), true),
        ("attack 22: other owners, no deletion gated", &["CREATE"], json!({}), adopted(), false),
        ("what is ignored", &["UPDATE"], json!({"ignore": ["/spec/replicas"]}), scaled(), false),
    ];
    for (what, operations, more, asked, expected) in cases {
        assert_eq!(asks(&gate(operations, more), &asked), expected, "{what}");
    }
}

#[test]
fn r26_initiators() {
    let by = |initiators: Value| gate(&["UPDATE", "DELETE"], json!({"initiators": initiators}));
    let scaled = || Asked::update(deployment(1), deployment(2));
    let deleted = || Asked::new(Operation::Delete, Some(deployment(1)), None);
    let robot = ("system:serviceaccount:ci:robot", &["system:serviceaccounts:ci"][..]);
    let collector =
        ("system:serviceaccount:kube-system:generic-garbage-collector", &["system:serviceaccounts:kube-system"][..]);
    let cases: Vec<(&str, Value, Asked, bool)> = vec![
        ("a user", json!({"users": ["mary"]}), scaled(), true),
        ("another user", json!({"users": ["john"]}), scaled(), false),
        ("a group", json!({"groups": ["devs"]}), scaled(), true),
        ("an account", json!({"serviceAccounts": ["ci/robot"]}), scaled().of(robot.0, robot.1), true),
        ("another account", json!({"serviceAccounts": ["ci/robo"]}), scaled().of(robot.0, robot.1), false),
        ("excluded", json!({"exclude": {"groups": ["devs"]}}), scaled(), false),
        ("excluded by name", json!({"users": ["mary"], "exclude": {"users": ["mary"]}}), scaled(), false),
        ("garbage collection", json!({}), deleted().of(collector.0, collector.1), false),
        (
            "garbage collection, asked for",
            json!({"groups": ["system:serviceaccounts:kube-system"]}),
            deleted().of(collector.0, collector.1),
            true,
        ),
        ("a controller that scales", json!({}), scaled().of(collector.0, collector.1), true),
        (
            "a controller that says how it stands",
            json!({}),
            scaled().on("apps", "deployments", "status").of(collector.0, collector.1),
            false,
        ),
        ("a node that removes", json!({}), deleted().of("system:node:one", &["system:nodes"]), false),
    ];
    for (what, initiators, asked, expected) in cases {
        assert_eq!(asks(&by(initiators), &asked), expected, "{what}");
    }
}

#[test]
fn r26_namespaces() {
    let within = |namespaces: Value| gate(&["UPDATE"], json!({"namespaces": namespaces}));
    let scaled = || Asked::update(deployment(1), deployment(2));
    let outside = || Asked { namespace: None, labels: BTreeMap::new(), ..scaled() };
    let exists = |operator: &str| json!({"matchExpressions": [{"key": "tier", "operator": operator}]});
    let values =
        |operator: &str| json!({"matchExpressions": [{"key": "tier", "operator": operator, "values": ["prod"]}]});
    let cases: Vec<(&str, Value, Asked, bool)> = vec![
        ("by name", json!({"names": ["prod"]}), scaled(), true),
        ("by another name", json!({"names": ["test"]}), scaled(), false),
        ("by label", json!({"matchLabels": {"tier": "prod"}}), scaled(), true),
        ("by another label", json!({"matchLabels": {"tier": "test"}}), scaled(), false),
        ("In", values("In"), scaled(), true),
        ("NotIn", values("NotIn"), scaled(), false),
        ("Exists", exists("Exists"), scaled(), true),
        ("DoesNotExist", exists("DoesNotExist"), scaled(), false),
        ("outside of namespaces", exists("DoesNotExist"), outside(), false),
    ];
    for (what, namespaces, asked, expected) in cases {
        assert_eq!(asks(&within(namespaces), &asked), expected, "{what}");
    }
}

#[test]
fn attack_24_a_namespace_that_leaves_the_gate_is_seen() {
    let namespace = |tier: &str| json!({"metadata": {"name": "prod", "labels": {"tier": tier}}});
    let asked = |old: &str, new: &str| Asked {
        name: "prod",
        namespace: None,
        ..Asked::update(namespace(old), namespace(new)).on("", "namespaces", "")
    };
    let labels = json!({"namespaces": {"matchLabels": {"tier": "prod"}}});
    let labelled = process(json!({"onMatch": "Continue"}), gate(&["UPDATE"], labels));
    let named = process(json!({}), gate(&["UPDATE"], json!({"namespaces": {"names": ["prod"]}})));
    let candidates =
        [("labelled", &labelled), ("named", &named)].map(|(name, spec)| Candidate { name, spec, not_ready: None });
    assert_eq!(left(&candidates, &asked("prod", "test").attempt()), ["labelled"]);
    assert_eq!(left(&candidates, &asked("test", "prod").attempt()), Vec::<&str>::new());
}

#[test]
fn attack_24_a_namespace_enters_what_ends_the_search_and_leaves_what_is_behind() {
    let namespace = |tier: &str| json!({"metadata": {"name": "prod", "labels": {"tier": tier}}});
    let asked = |old: &str, new: &str| Asked {
        name: "prod",
        ..Asked::update(namespace(old), namespace(new)).on("", "namespaces", "")
    };
    let sandbox = || gate(&["UPDATE"], json!({"namespaces": {"matchLabels": {"tier": "sandbox"}}}));
    let first = |more: Value| process(more, sandbox());
    let strict = |order: i32, more: Value| process(json!({"order": order}), gate(&["UPDATE"], more));
    let skip = || json!({"skip": true, "order": 100});
    let other = json!({"resources": [{"apiGroups": [""], "resources": ["configmaps"]}]});
    let scale = json!({"resources": [{"apiGroups": ["apps"], "resources": ["deployments/scale"]}]});
    let cases: Vec<(ApprovalProcessSpec, ApprovalProcessSpec, bool)> = vec![
        (first(skip()), strict(200, json!({})), true),
        (first(json!({"order": 100, "onMatch": "Stop"})), strict(200, json!({})), true),
        (first(json!({"order": 100, "onMatch": "Continue"})), strict(200, json!({})), false),
        (first(skip()), strict(1, json!({})), false),
        (first(skip()), strict(200, scale), true),
        (first(skip()), strict(200, other), false),
        (first(skip()), strict(200, json!({"namespaces": {"names": ["prod"]}})), true),
        (first(skip()), strict(200, json!({"namespaces": {"names": ["test"]}})), false),
        (first(skip()), strict(200, json!({"namespaces": {"matchLabels": {"later": "prod"}}})), true),
    ];
    for (position, (first, strict, expected)) in cases.iter().enumerate() {
        let candidates =
            [("first", first), ("strict", strict)].map(|(name, spec)| Candidate { name, spec, not_ready: None });
        let entered = left(&candidates, &asked("test", "sandbox").attempt());
        assert_eq!(entered, if *expected { vec!["strict"] } else { vec![] }, "case {position}");
        for (old, new) in [("sandbox", "sandbox"), ("test", "other")] {
            assert_eq!(left(&candidates, &asked(old, new).attempt()), Vec::<&str>::new(), "case {position}");
        }
    }
}
