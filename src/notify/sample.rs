//! Parameters as messages have them, made up: templates are tried on them before anybody is written to.

use serde_json::{Value, json};

/// Parameters of one kind of message.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What is special about it, to be read after "with".
    pub what: &'static str,
    /// The parameters.
    pub parameters: Value,
}

/// What a message is about, and so which parameters it has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Instance,
    Digest,
    Reminder,
}

/// The samples of a topic that is built in: a full one, and one in which everything is absent that may be. None for topics of
/// other names.
#[must_use]
pub fn of_built_in(topic: &str) -> Option<Vec<Sample>> {
    let samples = match topic {
        "task-assigned" => of_task("assigned", "Open"),
        "partition-waiting" => of_task("opened", "Open"),
        "partition-changed" => of_task("approved", "Approved"),
        "escalated" => of_task("escalated", "Open"),
        "decision-recorded" => {
            let [mut full, mut bare] = both(of_task("decision", "Open"));
            full.parameters["decision"] = decision(true);
            bare.parameters["decision"] = decision(false);
            vec![full, bare]
        }
        "request-done" => vec![
            Sample { what: "an approved request", parameters: instance("completed", true) },
            Sample { what: "nothing that may be absent", parameters: instance("executed", false) },
        ],
        "task-digest" => vec![digest(3, 12), digest(1, 0)],
        "reminder-low" | "reminder-medium" | "reminder-high" => vec![reminder(3, 4), reminder(1, 0)],
        "reminder-manager" => {
            let mut samples = vec![reminder(3, 4), reminder(1, 0)];
            // The tasks are not the manager's own: there is no page of all of them.
            samples[0].parameters["url"] = "".into();
            samples
        }
        _ => return None,
    };
    Some(samples)
}

/// One sample of each kind of message: a topic of a name of its own may be meant for any of them.
#[must_use]
pub fn of_any() -> Vec<Sample> {
    let mut task = instance("assigned", true);
    task["decision"] = decision(true);
    vec![
        Sample { what: "a task and a decision", parameters: task },
        Sample { what: "a request without task", parameters: instance("completed", false) },
        digest(3, 12),
        reminder(3, 4),
    ]
}

/// The parameters that a topic has, whatever it is about; none for a topic of a name of its own.
#[must_use]
pub fn parameter_names(topic: &str) -> Vec<&'static str> {
    let mut names = vec!["recipient", "url", "timeZone"];
    let kinds = match topic {
        "task-digest" => vec![Kind::Digest],
        topic if topic.starts_with("reminder-") && of_built_in(topic).is_some() => vec![Kind::Reminder],
        topic if of_built_in(topic).is_some() => vec![Kind::Instance],
        _ => vec![Kind::Instance, Kind::Digest, Kind::Reminder],
    };
    for kind in kinds {
        let more: &[&str] = match kind {
            Kind::Instance => &["event", "instance", "initiator", "subjects", "task", "decision", "level", "command"],
            Kind::Digest => &["tasks", "newCount", "restCount", "totalCount"],
            Kind::Reminder => &["tasks", "taskCount", "restCount", "totalCount", "approver", "minDays", "maxDays"],
        };
        for name in more {
            if !names.contains(name) {
                names.push(name);
            }
        }
    }
    names
}

fn both(samples: Vec<Sample>) -> [Sample; 2] {
    let mut samples = samples.into_iter();
    let mut next = || samples.next().unwrap_or(Sample { what: "nothing", parameters: Value::Null });
    [next(), next()]
}

/// A sample with everything, and one with a task, but without all that may be absent.
fn of_task(event: &str, state: &str) -> Vec<Sample> {
    let (mut full, mut bare) = (instance(event, true), instance(event, false));
    full["task"]["state"] = state.into();
    bare["task"] = task(false);
    bare["task"]["state"] = state.into();
    if state == "Approved" {
        full["task"]["approvals"] = 2.into();
        bare["task"]["approvals"] = 2.into();
    }
    if event == "escalated" {
        full["level"] = 1.into();
        bare["level"] = 1.into();
    }
    for parameters in [&mut full, &mut bare] {
        parameters["instance"]["outcome"] = Value::Null;
        parameters["instance"]["completedAt"] = Value::Null;
    }
    vec![
        Sample { what: "everything", parameters: full },
        Sample { what: "nothing that may be absent", parameters: bare },
    ]
}

fn person(username: &str, name: &str) -> Value {
    json!({"username": username, "displayName": name})
}

fn recipient() -> Value {
    json!({"username": "mary", "displayName": "Mary", "email": "mary@example.com", "locale": "en"})
}

fn task(full: bool) -> Value {
    let only = |value: Value| if full { value } else { Value::Null };
    json!({
        "step": "check", "stepTitle": "Check the applicant", "partition": "identity",
        "partitionTitle": only("Identity".into()), "visit": 1, "state": "Open", "approvals": 1, "required": 2,
        "openedAt": "2026-11-20T08:00:00Z", "deadline": only("2026-11-27T16:00:00Z".into()),
        "onBehalfOf": only(person("john", "John")),
    })
}

fn decision(full: bool) -> Value {
    let principal = if full { person("john", "John") } else { Value::Null };
    json!({
        "decision": if full { "Approve" } else { "Reject" }, "actor": person("cilla", "Cilla"), "onBehalfOf": principal,
        "to": Value::Null, "step": "check", "partition": "identity", "at": "2026-11-22T08:30:00Z",
    })
}

/// What messages about an instance have; `full`: with everything, else without all that may be absent, the task included.
fn instance(event: &str, full: bool) -> Value {
    let only = |value: Value| if full { value } else { Value::Null };
    let command = "kubectl create -f - <<'EOF'\napiVersion: quorate.dev/v1alpha1\nkind: ApprovalSignal\nmetadata: {generateName: card-martha-, namespace: people}\nspec: {instance: card-martha, decision: Approve}\nEOF";
    json!({
        "recipient": recipient(), "timeZone": "Europe/Prague", "event": event,
        "url": if full { "https://quorate.example.com/tasks/people/card-martha" } else { "" },
        "command": if full { command } else { "" },
        "instance": {
            "name": "card-martha", "namespace": "people", "title": "A card for Martha", "workflow": "issue-card",
            "outcome": only("Approved".into()), "startedAt": "2026-11-20T08:00:00Z",
            "completedAt": only("2026-11-22T09:00:00Z".into()),
        },
        "initiator": only(person("anna", "Anna")),
        "subjects": if full { vec![person("martha", "Martha")] } else { Vec::new() },
        "task": only(task(true)), "decision": Value::Null, "level": Value::Null,
    })
}

/// An entry of a list of tasks.
fn listed(number: usize, full: bool) -> Value {
    let titles = ["A card for Martha", "Role accountant for John", "Certificate of web.example.com"];
    let age = [8, 1, 0].into_iter().cycle().nth(number);
    let only = |value: Value| if full { value } else { Value::Null };
    json!({
        "title": titles[number % titles.len()], "namespace": "people", "instance": format!("request-{number}"),
        "step": "check", "stepTitle": "Check the applicant", "partition": "identity",
        "partitionTitle": only("Identity".into()), "initiator": only(person("anna", "Anna")),
        "openedAt": "2026-11-20T08:00:00Z", "deadline": only("2026-11-27T16:00:00Z".into()), "age": age,
        "isNew": number == 0, "url": if full { format!("https://quorate.example.com/tasks/people/request-{number}") } else { String::new() },
    })
}

fn list(count: usize, full: bool) -> Vec<Value> {
    (0..count).map(|number| listed(number, full)).collect()
}

fn digest(count: usize, rest: usize) -> Sample {
    let full = rest > 0;
    let parameters = json!({
        "recipient": recipient(), "timeZone": "Europe/Prague",
        "url": if full { "https://quorate.example.com/tasks" } else { "" },
        "tasks": list(count, full), "newCount": 1, "restCount": rest, "totalCount": count + rest,
    });
    Sample { what: if full { "several tasks" } else { "a single task and nothing that may be absent" }, parameters }
}

fn reminder(count: usize, rest: usize) -> Sample {
    let full = rest > 0;
    let mut sample = digest(count, rest);
    let fields = json!({
        "taskCount": count + rest, "totalCount": count + rest * 2,
        "approver": {"username": "mary", "displayName": "Mary", "email": if full { json!("mary@example.com") } else { Value::Null }},
        "minDays": 7, "maxDays": if full { json!(13) } else { Value::Null },
    });
    if let (Value::Object(parameters), Value::Object(fields)) = (&mut sample.parameters, fields) {
        parameters.remove("newCount");
        for task in parameters["tasks"].as_array_mut().into_iter().flatten() {
            task["isNew"] = false.into();
        }
        parameters.extend(fields);
    }
    sample
}
