//! What is said of templates that cannot be used, and that none of them is a danger.

use super::super::super::built_in;
use super::super::super::render::{FILTERS, TESTS};
use super::super::super::sample::parameter_names;
use super::super::{Topics, faults};
use super::{full, text, topic};
use crate::api::NotificationTopicSpec;
use serde_json::{Value, json};

#[test]
fn r45_faults_have_a_place_a_line_a_column_and_a_fix() {
    let cases: &[(&str, &str)] = &[
        ("{{ task.step }", "text: line 1, column 14: "),
        (
            "a\n b {{ tsak.step }}",
            "text: line 2, column 7: there is no parameter tsak; there are recipient, url, timeZone, event",
        ),
        ("{% if false %}\n{{ nosuch }}{% endif %}", "text: line 2, column 4: there is no parameter nosuch"),
        ("{% for %}", "text: line 1, column "),
        ("{{ task.nosuch }}", "text: line 1, column 4: "),
        ("{{ task.onBehalfOf.username }}", "(with nothing that may be absent)"),
        ("{{ task.step|shout }}", "text: line 1, column 14: there is no filter shout; there are capitalize"),
        ("{{ task is shouting }}", "there is no test shouting"),
        ("{{ task.step|safe }}", "there is no filter safe"),
        ("{{ task }}", "a map cannot be printed; choose a field of it"),
        ("{{ range(3) }}", "there are no functions to call here"),
        ("{{ task.step.upper() }}", "there are no functions to call here"),
        ("{% include 'x' %}", "text: line 1, column "),
        ("{% macro x() %}{% endmacro %}", "text: line 1, column "),
        ("{% extends 'x' %}", "text: line 1, column "),
        ("{% autoescape false %}x{% endautoescape %}", "escaping cannot be changed"),
        ("{% set a %}x{% endset %}", "a block cannot be captured here"),
        ("{% filter upper %}x{% endfilter %}", "a filter takes a value here"),
        ("{{ task.approvals|plural(one='a') }}", "plural: the form other is missing"),
        ("{{ task.approvals|plural(single='a', other='b') }}", "single"),
        ("{{ task.step|plural(other='b') }}", "plural: check is not a number"),
        ("{{ 'a' ~ task.step }}", "write the values one after the other"),
        ("{{ task.step in subjects }}", "text: line 1, column 17: in takes a list that is written here"),
        ("{{ task.step not in instance.title }}", "in takes a list that is written here"),
        ("{{ task.step[:3] }}", "a part of a list or text cannot be taken by [:] here"),
        ("{{ task.step + task.step }}", "+ adds a number here"),
    ];
    for (template, fault) in cases {
        let found = faults("task-assigned", &text(template));
        assert!(found.len() == 1 && found[0].contains(fault), "{template}: {found:?}, expected {fault}");
        assert!(found[0].starts_with("spec.templates[0] (en): text: line "), "{found:?}");
    }
    let whole = topic(&[("en", "one\ntwo", "t", None), ("EN", "s", "t", None), ("c", "s", "t", None)]);
    let found = faults("task-assigned", &whole);
    assert_eq!(
        found,
        [
            "spec.templates[0] (en): subject: line 1, column 4: a subject is one line; join them",
            "spec.templates[1] (EN): locale: there is a template for this language already; remove one of them",
            "spec.templates[2] (c): locale: \"c\" is no language tag of BCP 47; write e.g. en, cs or pt-BR",
        ]
    );
    assert_eq!(faults("own", &NotificationTopicSpec { enabled: true, templates: Vec::new() }).len(), 1);
    assert_eq!(
        faults("escalated", &NotificationTopicSpec { enabled: true, templates: Vec::new() }),
        Vec::<String>::new()
    );
}

#[test]
fn a_topic_of_a_name_of_its_own_has_to_suit_one_kind_of_message() {
    for template in [
        "{{ task.step }} {{ decision.actor.displayName }}",
        "{{ instance.title }}",
        "{{ newCount }}",
        "{{ approver.email }} {{ maxDays }}",
        "{% for task in tasks %}{{ loop.index + 1 }} {{ task.title|truncate(10) }}{% else %}-{% endfor %}",
        "{% set who = subjects|names %}{{ who }}",
        "{% if event in ['approved', 'rejected'] %}x{% endif %}",
    ] {
        assert_eq!(faults("own", &text(template)), Vec::<String>::new(), "{template}");
    }
    let both = faults("own", &text("{{ newCount }} {{ instance.title }}"));
    assert!(both.len() == 1 && both[0].contains("newCount"), "{both:?}");
}

#[test]
fn built_in_templates_are_templates_that_one_may_start_from() {
    for name in built_in::NAMES {
        let templates = built_in::LANGUAGES.map(|language| built_in::template(name, language).expect("a text"));
        let spec = NotificationTopicSpec { enabled: true, templates: templates.to_vec() };
        assert_eq!(faults(name, &spec), Vec::<String>::new(), "{name}");
        for template in &spec.templates {
            let html = template.html.as_ref().map_or(0, String::len);
            assert!(template.subject.len() <= 1024 && template.text.len() <= 65536 && html <= 131_072, "{name}");
        }
    }
}

/// Templates that would take all memory, all time or the whole stack, if they were let.
#[test]
fn no_template_runs_long_or_takes_much() {
    let mut doubled = "{% set a = instance.title %}".to_owned();
    let mut listed = "{% set a = [1, 1] %}".to_owned();
    for _ in 0..60 {
        doubled.push_str("{% set a = a ~ a %}");
        listed.push_str("{% set a = [a, a] %}");
    }
    let loops = "{% for a in tasks %}".repeat(20) + "x" + &"{% endfor %}".repeat(20);
    let bombs = [
        doubled,
        listed,
        loops,
        "{{ 'x' * 100000000 }}".to_owned(),
        "{% for t in tasks %}{% for u in tasks %}{% if tasks[:] == tasks[1:] %}{% endif %}{% endfor %}{% endfor %}".to_owned(),
        "{% for t in tasks %}{% for u in tasks %}{% if 'x' in tasks %}{% endif %}{% endfor %}{% endfor %}".to_owned(),
        "{% set a %}{% for t in tasks %}x{% endfor %}{% endset %}".to_owned(),
        format!("{{% for t in tasks %}}{{% for u in tasks %}}{}{{% endfor %}}{{% endfor %}}", "x".repeat(240_000)),
        format!("{{{{ a{} }}}}", ".a".repeat(30_000)),
        format!("{{{{ a{} }}}}", "|upper".repeat(10_000)),
        format!("{{{{ {}a }}}}", "not ".repeat(15_000)),
        format!("{{{{ {}1 }}}}", "-".repeat(60_000)),
        format!("{{{{ {}1{} }}}}", "(".repeat(30_000), ")".repeat(30_000)),
        format!("{{{{ {}1{} }}}}", "[".repeat(30_000), "]".repeat(30_000)),
        format!("{{{{ 1{} }}}}", " if 1 else 1".repeat(5_000)),
        format!("{{{{ 1{} }}}}", "+1".repeat(30_000)),
        format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}".repeat(5_000)),
        "{% if a %}".repeat(6_500),
        format!("{{{{ '{}'|upper }}}}", "x".repeat(60_000)),
        "{% for x in tasks recursive %}{{ loop(tasks) }}{% endfor %}".to_owned(),
        "{{ tasks[0].openedAt|time('%1000000000Y') }}".to_owned(),
        "{% for t in tasks %}{% for u in tasks %}{% for v in tasks %}{% for w in tasks %}{% if tasks == tasks and t == u and tasks|length and instance.title|upper|lower|capitalize|truncate(900) %}{% endif %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% for x in tasks %}{% for y in tasks %}{% for z in tasks %}{{ tasks }}{% endfor %}{% endfor %}{% endfor %}".to_owned(),
        "\n".repeat(65_000) + &"y".repeat(500) + "{{ nosuch }}",
    ];
    let mut parameters = full("task-digest");
    let task = parameters["tasks"][0].clone();
    parameters["tasks"] = Value::Array(vec![task; 1000]);
    parameters["a"] = json!(1);
    parameters["instance"] = json!({"title": "x".repeat(1000)});
    for bomb in bombs {
        let start: String = bomb.chars().take(60).collect();
        let spec = topic(&[("en", "s", &bomb, Some(&bomb))]);
        assert!(!faults("own", &spec).is_empty(), "{start}");
        let given = Topics::new([("own", &spec)], "en").render("own", "task-digest", None, &parameters);
        assert!(
            given.fault.is_some() && given.subject.contains("tasks are waiting for you"),
            "{start}: {:?}",
            given.fault
        );
    }
}

#[test]
fn a_thousand_tasks_fit_into_one_mail() {
    for name in ["task-digest", "reminder-high", "reminder-manager"] {
        let mut parameters = full(name);
        let mut task = parameters["tasks"][0].clone();
        task["title"] = "A rather long title of what somebody would like to have approved, please".into();
        parameters["tasks"] = Value::Array(vec![task; 1000]);
        for language in built_in::LANGUAGES {
            let given = Topics::new([], "en").render(name, name, Some(language), &parameters);
            assert_eq!(given.fault, None, "{name} {language}");
            let html = given.html.map_or(0, |html| html.len());
            assert!(html < 1536 * 1024, "{name} {language}: {html} bytes");
            let mut long = parameters.clone();
            for task in long["tasks"].as_array_mut().expect("tasks") {
                task["title"] = "x".repeat(1700).into();
            }
            let given = Topics::new([], "en").render(name, name, Some(language), &long);
            let (html, text) = (given.html.map(|html| html.len()), given.text.len());
            assert!(
                html.is_none() && text > 1_500_000,
                "too long for HTML, the text is sent: {html:?}, {text}, {:?}",
                given.fault
            );
            assert!(given.fault.is_some_and(|fault| fault.contains("html: ") && fault.contains("2048 KiB")));
        }
    }
}

#[test]
fn the_documentation_tells_of_everything_that_templates_have() {
    let page = include_str!("../../../../docs/notifications.md");
    let mut examples = page.split("```yaml\n").skip(1).filter_map(|example| example.split("```").next());
    let example = examples.find(|example| example.contains("kind: NotificationTopic")).expect("an example");
    let object: crate::api::NotificationTopic = serde_saphyr::from_str(example).expect("a NotificationTopic");
    assert_eq!(faults("task-digest", &object.spec), Vec::<String>::new());
    let given =
        Topics::new([("task-digest", &object.spec)], "pl").render("task-digest", "", None, &full("task-digest"));
    assert_eq!((given.subject.as_str(), given.fault), ("15 zadań", None));
    assert!(given.text.ends_with("request-2\ni 12 innych\n"), "{}", given.text);
    let words = FILTERS.iter().chain(&TESTS).chain(built_in::NAMES).copied();
    let parameters = built_in::NAMES.iter().chain(&["own"]).flat_map(|topic| parameter_names(topic));
    for word in words.chain(parameters) {
        let told = page.contains(&format!("`{word}")) || page.contains(&format!("`is {word}"));
        assert!(told, "docs/notifications.md does not tell of {word}");
    }
}
