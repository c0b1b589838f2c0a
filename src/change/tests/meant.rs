//! What of an operation means something, and what is kept of it.

use super::*;

#[test]
fn r22_the_digest_is_of_what_means_something() {
    let all = gate(&["CREATE", "UPDATE", "DELETE"], json!({"ignore": ["/metadata/annotations/example.com~1touched"]}));
    let digest = |change: &dyn Fn(&mut Value)| {
        let mut new = deployment(2);
        change(&mut new);
        held_of(&all, &Asked::update(deployment(1), new)).0.digest
    };
    let plain = digest(&|_| {});
    assert!(plain.starts_with("sha256:") && plain.len() == 71, "{plain}");
    let nothing: [(&str, Value); 7] = [
        ("/metadata/uid", json!("another")),
        ("/metadata/resourceVersion", json!("8")),
        ("/metadata/managedFields", json!([{}])),
        ("/metadata/annotations", json!({"kubectl.kubernetes.io/last-applied-configuration": "{}"})),
        ("/metadata/annotations", json!({"quorate.dev/bypass-reason": "fire"})),
        ("/metadata/annotations", json!({"example.com/touched": "now"})),
        ("/status", json!({"replicas": 2})),
    ];
    let set = |new: &mut Value, pointer: &str, value: &Value| {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        new.pointer_mut(parent).unwrap()[key] = value.clone();
    };
    for (pointer, value) in &nothing {
        assert_eq!(digest(&|new| set(new, pointer, value)), plain, "{pointer} = {value}");
    }
    let something: [(&str, Value); 4] = [
        ("/spec/replicas", json!(3)),
        ("/metadata/labels", json!({"a": "b"})),
        ("/metadata/finalizers", json!(["example.com/x"])),
        ("/metadata/annotations", json!({"example.com/other": "now"})),
    ];
    for (pointer, value) in &something {
        assert_ne!(digest(&|new| set(new, pointer, value)), plain, "{pointer} = {value}");
    }
}

#[test]
fn r22_how_an_object_is_deleted_is_part_of_the_digest() {
    let all = gate(&["DELETE"], json!({}));
    let pod = |node: &str| json!({"metadata": {"uid": "one"}, "spec": {"nodeName": node, "terminationGracePeriodSeconds": 30}});
    let running = pod("node");
    let digest = |on: (&'static str, &'static str), old: &Value, options: Value| {
        let asked = Asked::new(Operation::Delete, Some(old.clone()), None).on(on.0, on.1, "");
        let shown = json!({"options": options});
        held(&Attempt { request: Some(&shown), ..asked.attempt() }, &[&all], Vec::new(), KEY).0.digest
    };
    let unset = || json!({"kind": "DeleteOptions"});
    let background = || json!({"propagationPolicy": "Background"});
    let (deployments, jobs, pods) = (("apps", "deployments"), ("batch", "jobs"), ("", "pods"));
    let cases = [
        (deployments, &running, background(), true),
        (deployments, &running, json!({"orphanDependents": false}), true),
        (deployments, &running, json!({"propagationPolicy": "Orphan"}), false),
        (deployments, &running, json!({"orphanDependents": true}), false),
        (deployments, &running, json!({"propagationPolicy": "Foreground"}), false),
        (deployments, &running, json!({"gracePeriodSeconds": 0}), false),
        (deployments, &running, json!({"preconditions": {"uid": "one"}}), true),
        (jobs, &running, background(), false),
        (jobs, &running, json!({"propagationPolicy": "Orphan"}), true),
        (pods, &running, json!({"gracePeriodSeconds": 30}), true),
        (pods, &running, json!({"gracePeriodSeconds": 0}), false),
        (pods, &pod(""), json!({"gracePeriodSeconds": 0}), true),
    ];
    for (on, old, options, same) in cases {
        assert_eq!(digest(on, old, options.clone()) == digest(on, old, unset()), same, "{on:?} {options}");
    }
    let by_hand = Asked::new(Operation::Delete, Some(running.clone()), None);
    assert_eq!(held_of(&all, &by_hand).0.digest, digest(deployments, &running, background()), "kubectl deletes it");
}

#[test]
fn r22_a_field_is_out_of_the_digest_only_when_every_process_ignores_it() {
    let (one, other) = (json!({"ignore": ["/a", "/b"]}), json!({"ignore": ["/b", "/c"]}));
    let gates = [gate(&["UPDATE"], one), gate(&["UPDATE"], other)];
    let asked = Asked::update(deployment(1), deployment(2));
    assert_eq!(ignored(&[&gates[0], &gates[1]], &asked.attempt()), ["/b", "/status"]);
}

#[test]
fn r21_the_base_is_the_gated_fields_the_uid_or_the_name() {
    let replicas = gate(&["CREATE", "UPDATE", "DELETE"], json!({"fields": ["spec.replicas"]}));
    let base = |old: Value, new: Value| held_of(&replicas, &Asked::update(old, new)).0.base;
    let mut other = deployment(1);
    other["spec"]["image"] = json!("b");
    let plain = base(deployment(1), deployment(2));
    assert_eq!(base(other, deployment(2)), plain, "other fields are not the base");
    assert_ne!(base(deployment(3), deployment(2)), plain);
    let deleted = held_of(&replicas, &Asked::new(Operation::Delete, Some(deployment(1)), None)).0;
    assert_eq!(deleted.base, "one");
    let created = held_of(&replicas, &Asked::new(Operation::Create, None, Some(deployment(1)))).0;
    assert_eq!(created.base, "web");
}

#[test]
fn attack_14_a_generated_name_is_no_part_of_the_digest() {
    let all = gate(&["CREATE"], json!({}));
    let create = |name: &str| {
        let object = json!({"metadata": {"generateName": "web-", "name": name}, "spec": {}});
        held_of(&all, &Asked { name: "", ..Asked::new(Operation::Create, None, Some(object)) })
    };
    let ((one, kept), (other, _)) = (create("web-abc"), create("web-xyz"));
    assert_eq!((&one.digest, &one.base), (&other.digest, &other.base));
    assert!(one.generated_name && one.name == "web-");
    assert_eq!(kept.unwrap()["metadata"], json!({"generateName": "web-"}));
}

#[test]
fn the_effect_is_seen_in_the_object() {
    let replicas = gate(&["CREATE", "UPDATE", "DELETE"], json!({"fields": ["spec.replicas"]}));
    let update = held_of(&replicas, &Asked::update(deployment(1), deployment(2))).0;
    let mut later = deployment(2);
    later["metadata"]["resourceVersion"] = json!("99");
    later["spec"]["image"] = json!("b");
    assert!(happened(&update, Some(&later), KEY));
    assert!(!happened(&update, Some(&deployment(1)), KEY) && !happened(&update, None, KEY));

    let create = held_of(&replicas, &Asked::new(Operation::Create, None, Some(deployment(1)))).0;
    assert!(happened(&create, Some(&deployment(1)), KEY) && !happened(&create, Some(&deployment(2)), KEY));

    let delete = held_of(&replicas, &Asked::new(Operation::Delete, Some(deployment(1)), None)).0;
    let mut another = deployment(1);
    another["metadata"]["uid"] = json!("two");
    assert!(happened(&delete, None, KEY) && happened(&delete, Some(&another), KEY));
    assert!(!happened(&delete, Some(&deployment(1)), KEY));
}

#[test]
fn attack_42_a_secret_is_kept_nowhere() {
    let secrets = json!({"resources": [{"apiGroups": [""], "resources": ["secrets"]}]});
    let secrets = gate(&["CREATE", "UPDATE"], secrets);
    let secret = |word: &str| {
        let applied = format!("{{\"data\":{{\"password\":\"{word}\"}}}}");
        json!({"metadata": {"name": "web", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": applied}},
               "data": {"password": word}, "type": "Opaque"})
    };
    let asked = Asked::update(secret("hunter2"), secret("swordfish")).on("", "secrets", "");
    let (held, kept) = held_of(&secrets, &asked);
    let text = json!({"held": held, "kept": kept}).to_string();
    assert!(!text.contains("hunter2") && !text.contains("swordfish"), "{text}");
    assert!(text.contains("password") && held.digest.starts_with("hmac-sha256:"), "{text}");
    assert!(held.base.starts_with("hmac-sha256:"), "a short secret could be guessed from the base");
    assert_eq!(held.differences.len(), 1, "that it changes is told");

    let other = super::held(&asked.attempt(), &[&secrets], Vec::new(), b"another key").0;
    assert_ne!(other.digest, held.digest);
    assert!(redacted(&[], &asked.attempt()).contains(&"/data".to_owned()));
}

#[test]
fn attack_42_what_a_process_says_about_a_secret_says_no_value() {
    let secrets = json!({"resources": [{"apiGroups": [""], "resources": ["secrets"]}]});
    let tells = process(json!({"subjects": "[object.data.password]"}), gate(&["CREATE"], secrets));
    let object = json!({"metadata": {"name": "web"}, "data": {"password": "hunter2"}});
    let asked = Asked::new(Operation::Create, None, Some(object)).on("", "secrets", "");
    let Selection::Ask(planned) = selected(&[("a", tells)], &asked) else { panic!("it is asked") };
    assert_eq!(planned[0].subjects, ["(redacted)"]);
}

#[test]
fn attack_37_a_large_payload_is_kept_as_digest_and_differences() {
    let all = gate(&["CREATE", "UPDATE"], json!({}));
    let large = |letter: &str| json!({"metadata": {"name": "web"}, "data": {"text": letter.repeat(300 * 1024)}});
    let (held, kept) = held_of(&all, &Asked::update(large("a"), large("b")));
    assert!(kept.is_none() && held.old_object.is_none());
    assert_eq!(held.differences.len(), 1);
    assert!(serde_json::to_string(&held).unwrap().len() < 4096);
    let (held, kept) = held_of(&all, &Asked::new(Operation::Create, None, Some(large("a"))));
    assert!(kept.is_none() && !held.differences.is_empty());
}

#[test]
fn r25_a_reason_counts_where_it_is_new() {
    let with = |reason: &str| json!({"metadata": {"annotations": {"quorate.dev/bypass-reason": reason}}});
    let reason = |old: Value, new: Value| bypass_reason(&Asked::update(old, new).attempt());
    assert_eq!(reason(json!({}), with("fire")).as_deref(), Some("fire"));
    assert_eq!(reason(with("fire"), with("flood")).as_deref(), Some("flood"));
    assert_eq!(reason(with("fire"), with("fire")), None);
    assert_eq!(reason(json!({}), with("  ")), None);
    assert_eq!(reason(with("fire"), json!({})), None);
}

#[test]
fn gates_are_those_of_the_processes_that_are_asked() {
    let (one, other) =
        (process(json!({}), gate(&["CREATE"], json!({}))), process(json!({}), gate(&["UPDATE"], json!({}))));
    let candidates = [("one", &one), ("other", &other)].map(|(name, spec)| Candidate { name, spec, not_ready: None });
    let asked = Asked::update(deployment(1), deployment(2));
    let Selection::Ask(planned) = select(&candidates, &asked.attempt()) else { panic!("it is asked") };
    let found = gates(&candidates, &planned);
    assert!(found.len() == 1 && found[0].operations == [Operation::Update]);
}

#[test]
fn attack_17_the_time_of_an_approval_is_no_part_of_it() {
    let gate = gate(&["UPDATE"], json!({}));
    let digest = |reason: &str, time: &str| {
        let condition = json!({"type": "Approved", "status": "True", "reason": reason, "lastUpdateTime": time});
        let new = json!({"metadata": {"name": "web"}, "status": {"conditions": [condition]}});
        let asked = Asked::update(json!({"metadata": {"name": "web"}, "status": {}}), new);
        held_of(&gate, &asked.on("certificates.k8s.io", "certificatesigningrequests", "approval")).0.digest
    };
    assert_eq!(digest("one", "2030-01-01T00:00:00Z"), digest("one", "2030-01-01T00:00:09Z"));
    assert_ne!(digest("one", "2030-01-01T00:00:00Z"), digest("another", "2030-01-01T00:00:00Z"));
}
