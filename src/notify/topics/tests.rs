//! What templates give. What is said of those that cannot be used is in `checked`.

mod checked;

use super::super::{built_in, sample};
use super::{OF_REQUESTS, Topics, faults};
use crate::api::{NotificationTopicSpec, Template};
use serde_json::{Value, json};

fn topic(templates: &[(&str, &str, &str, Option<&str>)]) -> NotificationTopicSpec {
    let templates = templates.iter().map(|(locale, subject, text, html)| Template {
        locale: (*locale).to_owned(),
        subject: (*subject).to_owned(),
        text: (*text).to_owned(),
        html: html.map(str::to_owned),
    });
    NotificationTopicSpec { enabled: true, templates: templates.collect() }
}

fn text(text: &str) -> NotificationTopicSpec {
    topic(&[("en", "subject", text, None)])
}

fn full(topic: &str) -> Value {
    sample::of_built_in(topic).expect("a built-in topic").remove(0).parameters
}

/// What a template of a topic of a name of its own gives with these parameters, or its fault.
fn given(spec: &NotificationTopicSpec, parameters: &Value) -> Result<super::Rendered, String> {
    let rendered = Topics::new([("own", spec)], "en").render("own", "task-assigned", None, parameters);
    match rendered.fault.clone() {
        None => Ok(rendered),
        Some(fault) => Err(fault),
    }
}

fn says(template: &str) -> String {
    given(&text(template), &full("task-assigned")).map_or_else(|fault| format!("fault: {fault}"), |given| given.text)
}

#[test]
fn every_built_in_text_suits_every_sample_in_every_language() {
    let topics = Topics::new([], "en");
    for name in built_in::NAMES {
        for language in built_in::LANGUAGES {
            for sample in sample::of_built_in(name).expect("samples") {
                let given = topics.render(name, name, Some(language), &sample.parameters);
                let context = format!("{name} {language} with {}: {given:?}", sample.what);
                assert_eq!(given.fault, None, "{context}");
                let html = given.html.expect("html");
                assert!(html.contains(&format!("<html lang=\"{language}\">")), "{context}");
                for part in [&given.subject, &given.text, &html] {
                    assert!(!part.trim().is_empty() && !part.contains("[[") && !part.contains("{%"), "{context}");
                    assert!(
                        !part.contains("None") && !part.contains("null") && !part.contains("undefined"),
                        "{context}"
                    );
                }
                assert!(!given.text.contains("\n\n\n") && !given.text.contains(" \n\n"), "{context}");
                let url = sample.parameters["url"].as_str().expect("an address");
                let leads = [url, sample.parameters["tasks"][0]["url"].as_str().unwrap_or_default()].concat();
                assert_eq!(html.contains("<a href"), !leads.is_empty(), "{context}");
                assert!(given.text.contains(url), "{context}");
            }
        }
    }
}

#[test]
fn built_in_texts_of_an_instance_suit_every_message_about_one() {
    let topics = Topics::new([], "en");
    for name in built_in::NAMES.iter().filter(|name| !name.starts_with("reminder") && **name != "task-digest") {
        for other in ["task-assigned", "decision-recorded", "request-done"] {
            for sample in sample::of_built_in(other).expect("samples") {
                let given = topics.render(name, "request-done", None, &sample.parameters);
                assert_eq!(given.fault, None, "{name} with {other}, {}", sample.what);
            }
        }
    }
}

#[test]
fn r41_a_mail_says_who_asks_what_for_whom_and_until_when() {
    let given = Topics::new([], "en").render("task-assigned", "task-assigned", None, &full("task-assigned"));
    assert_eq!(given.subject, "Your approval is needed: A card for Martha");
    for part in [given.text, given.html.expect("html")] {
        for words in [
            "A card for Martha",
            "Anna",
            "Martha",
            "Check the applicant – Identity",
            "1 of 2",
            "2026-11-27 17:00 CET",
            "John",
            "kubectl create -f",
        ] {
            assert!(part.contains(words), "{words} is missing in {part}");
        }
    }
}

#[test]
fn r42_czech_texts_have_the_form_of_the_number() {
    let topics = Topics::new([], "cs");
    let subject = |name: &str, change: &dyn Fn(&mut Value)| {
        let mut parameters = full(name);
        change(&mut parameters);
        let given = topics.render(name, name, None, &parameters);
        assert_eq!(given.fault, None);
        (given.subject, given.text)
    };
    let digest = |total: u32, new: u32, rest: u32| {
        subject("task-digest", &|parameters| {
            parameters["totalCount"] = total.into();
            parameters["newCount"] = new.into();
            parameters["restCount"] = rest.into();
        })
    };
    assert_eq!(digest(1, 1, 0).0, "Čeká na vás 1 úkol, z toho 1 nový");
    assert_eq!(digest(2, 2, 0).0, "Čekají na vás 2 úkoly, z toho 2 nové");
    assert_eq!(digest(5, 5, 0).0, "Čeká na vás 5 úkolů, z toho 5 nových");
    assert_eq!(digest(22, 0, 0).0, "Čeká na vás 22 úkolů");
    assert_eq!(digest(0, 0, 0).0, "Čeká na vás 0 úkolů");
    for (rest, words) in [(1, "a další 1 úkol\n"), (4, "a další 4 úkoly\n"), (5, "a dalších 5 úkolů\n")] {
        assert!(digest(9, 1, rest).1.contains(words), "{words}: {}", digest(9, 1, rest).1);
    }
    assert!(!digest(9, 1, 0).1.contains("a dalš"));
    let reminder = |count: u32, min: Value, max: Value| {
        subject("reminder-medium", &|parameters| {
            parameters["taskCount"] = count.into();
            parameters["minDays"] = min.clone();
            parameters["maxDays"] = max.clone();
        })
        .0
    };
    assert_eq!(reminder(1, json!(7), json!(13)), "Prosíme o rozhodnutí: čeká na vás už 7 až 13 dní 1 úkol");
    assert_eq!(reminder(3, json!(21), Value::Null), "Prosíme o rozhodnutí: čekají na vás už 21 dní nebo déle 3 úkoly");
    assert_eq!(reminder(5, json!(0), json!(2)), "Prosíme o rozhodnutí: čeká na vás nejvýše 2 dny 5 úkolů");
    assert_eq!(reminder(5, json!(1), json!(1)), "Prosíme o rozhodnutí: čeká na vás už 1 den 5 úkolů");
    assert_eq!(reminder(5, json!(0), Value::Null), "Prosíme o rozhodnutí: čeká na vás 5 úkolů");
}

#[test]
fn lines_end_where_they_should() {
    let given = |name: &str, locale| Topics::new([], locale).render(name, name, None, &full(name)).text;
    let czech = given("decision-recorded", "cs");
    assert!(
        czech.starts_with("Rozhodnutí: schváleno\nKdo: Cilla (zastupuje: John)\nKdy: 2026-11-22 09:30 CET\n\nA card"),
        "{czech}"
    );
    let english = given("request-done", "en");
    assert!(
        english.starts_with("Approved: A card for Martha\n\nEnough people have agreed.\n\nAsked by: Anna\n"),
        "{english}"
    );
    assert!(
        given("reminder-manager", "en")
            .starts_with("7 tasks have been waiting for the decision of Mary (mary@example.com) for 7 to 13 days. ")
    );
}

#[test]
fn r41_outcomes_are_named() {
    let said = |locale: &str, event: &str, outcome: Value| {
        let mut parameters = full("request-done");
        parameters["event"] = event.into();
        parameters["instance"]["outcome"] = outcome;
        let given = Topics::new([], locale).render("request-done", "request-done", None, &parameters);
        assert_eq!(given.fault, None);
        given.subject.split(':').next().unwrap_or_default().to_owned()
    };
    for (event, outcome, english, czech) in [
        ("completed", json!("Approved"), "Approved", "Schváleno"),
        ("completed", json!("Rejected"), "Rejected", "Zamítnuto"),
        ("completed", json!("Expired"), "Expired", "Lhůta vypršela"),
        ("completed", json!("Cancelled"), "Cancelled", "Zrušeno"),
        ("failed", json!("Failed"), "Failed", "Nezdařilo se"),
        ("executed", json!("Approved"), "Carried out", "Provedeno"),
        ("notified", Value::Null, "Under way", "Probíhá"),
    ] {
        assert_eq!(said("en", event, outcome.clone()), english);
        assert_eq!(said("cs", event, outcome), czech);
    }
}

#[test]
fn r41_what_becomes_of_a_partition_is_named() {
    for (event, english, czech) in [
        ("approved", "Approved", "Schváleno"),
        ("rejected", "Rejected", "Zamítnuto"),
        ("expired", "Expired", "Lhůta vypršela"),
        ("superseded", "No longer needed", "Už není třeba"),
    ] {
        let mut parameters = full("partition-changed");
        parameters["event"] = event.into();
        for (locale, words) in [("en", english), ("cs", czech)] {
            let given = Topics::new([], "en").render("partition-changed", "x", Some(locale), &parameters);
            assert!(given.subject.starts_with(&format!("{words}: ")), "{}", given.subject);
            assert!(given.html.is_some_and(|html| html.contains(&format!(">{words}</span>"))));
        }
    }
}

#[test]
fn the_forms_of_a_fraction() {
    let spec = topic(&[("cs", "s", "{{ 1.5|plural(one='úkol', few='úkoly', many='úkolu', other='úkolů') }}", None)]);
    assert_eq!(given(&spec, &json!({})).map(|given| given.text), Ok("úkolu".to_owned()));
}

#[test]
fn attack_40_values_are_text_in_html() {
    let mut parameters = full("task-assigned");
    parameters["instance"]["title"] = "<script>alert(1)</script> & \"'".into();
    let given = Topics::new([], "en").render("task-assigned", "task-assigned", None, &parameters);
    let html = given.html.expect("html");
    assert!(!html.contains("<script") && html.contains("&lt;script&gt;"), "{html}");
    assert!(given.text.contains("<script>alert(1)</script> & \"'"), "plain text is not escaped");
    let spec = topic(&[("en", "s", "t", Some("<a title=\"{{ instance.title }}\">"))]);
    let html = super::Topics::new([("own", &spec)], "en").render("own", "own", None, &parameters).html.expect("html");
    assert_eq!(html.matches('"').count(), 2, "{html}");
}

#[test]
fn attack_40_links_lead_to_the_web_or_nowhere() {
    for (address, link) in [
        ("https://example.com/a?b=1&c=2", "https://example.com/a?b=1&c=2"),
        ("HTTP://example.com", "http://example.com/"),
        ("javascript:alert(1)", ""),
        (" java\nscript:alert(1)", ""),
        ("data:text/html,x", ""),
        ("file:///etc/passwd", ""),
        ("//example.com", ""),
        ("words", ""),
        ("", ""),
    ] {
        let mut parameters = full("task-assigned");
        parameters["url"] = address.into();
        let own = text("{{ url|link }}");
        assert_eq!(given(&own, &parameters).map(|given| given.text), Ok(link.to_owned()), "{address}");
        let html =
            Topics::new([], "en").render("task-assigned", "task-assigned", None, &parameters).html.expect("html");
        assert_eq!(html.contains("href"), !link.is_empty(), "{address}: {html}");
    }
}

#[test]
fn attack_39_a_subject_is_one_line_whatever_the_title_is() {
    let mut parameters = full("task-assigned");
    let title = "card\r\nBcc: all@example.com\u{2028}x\u{2029}y\u{85}z\u{0}\u{b}w\u{202e}nrut\u{2066}\tend";
    parameters["instance"]["title"] = title.into();
    for name in ["task-assigned", "request-done", "partition-changed"] {
        let given = Topics::new([], "en").render(name, name, None, &parameters);
        assert!(given.subject.contains("card Bcc: all@example.com x y z wnrut end"), "{:?}", given.subject);
        assert!(!given.text.contains(['\u{202e}', '\u{2066}', '\u{2028}', '\r', '\0']), "{:?}", given.text);
        assert!(given.text.lines().all(|line| !line.starts_with("Bcc")), "{:?}", given.text);
    }
    let own = topic(&[("en", "a{{ '\r\n' }}b\u{2028}c   d", "t", None)]);
    assert_eq!(given(&own, &parameters).map(|given| given.subject), Ok("a b c d".to_owned()));
    parameters["instance"]["title"] = "ž".repeat(1000).into();
    let subject = Topics::new([], "en").render("task-assigned", "task-assigned", None, &parameters).subject;
    assert_eq!((subject.chars().count(), subject.ends_with('…')), (200, true), "{subject}");
}

#[test]
fn the_command_keeps_its_lines() {
    assert_eq!(says("{{ command }}").lines().count(), 6);
}

#[test]
fn what_is_absent_is_printed_as_nothing_and_can_be_asked_for() {
    let mut parameters = full("task-assigned");
    parameters["level"] = Value::Null;
    let own = text(
        "[{{ level }}] {% if level %}yes{% else %}no{% endif %} {{ level is none }} {{ level|default('x', true) }} {{ level|time }}",
    );
    assert_eq!(given(&own, &parameters).map(|given| given.text), Ok("[] no True x ".to_owned()));
}

#[test]
fn moments_are_shown_in_the_time_zone_of_the_message() {
    let shown = |zone: Value, template: &str| {
        let parameters = json!({"timeZone": zone, "at": "2026-07-01T22:30:00Z"});
        given(&text(template), &parameters).map_or_else(|fault| fault, |given| given.text)
    };
    assert_eq!(shown(json!("Europe/Prague"), "{{ at|time }}"), "2026-07-02 00:30 CEST");
    assert_eq!(shown(json!("nowhere"), "{{ at|time }}"), "2026-07-01 22:30 UTC");
    assert_eq!(shown(Value::Null, "{{ at|time('%-d. %-m. %Y') }}"), "1. 7. 2026");
    assert!(shown(Value::Null, "{{ 'soon'|time }}").contains("line 1, column 11: time: soon is not a moment"));
    assert!(shown(Value::Null, "{{ at|time('%!') }}").contains("line 1, column 7: time: "));
}

#[test]
fn r45_an_override_beats_the_built_in_text_language_by_language() {
    let own = topic(&[("cs-CZ", "vlastní", "t", None), ("en", "own", "t", None), ("de", "eigen", "t", None)]);
    let topics = Topics::new([("task-assigned", &own), ("news", &topic(&[("de", "neu", "t", None)]))], "de_AT");
    let subject = |name: &str, locale: Option<&str>| {
        let given = topics.render(name, "request-done", locale, &full("task-assigned"));
        assert_eq!((given.fault, given.html.is_none()), (None, !given.subject.contains(':')), "{name} {locale:?}");
        given.subject.split(':').next().unwrap_or_default().to_owned()
    };
    assert_eq!(subject("task-assigned", Some("cs-CZ")), "vlastní");
    assert_eq!(subject("task-assigned", Some("CS_cz")), "vlastní");
    assert_eq!(subject("task-assigned", Some("cs")), "Čeká se na vaše schválení", "the built-in Czech text");
    assert_eq!(subject("task-assigned", Some("cs-SK")), "Čeká se na vaše schválení");
    assert_eq!(subject("task-assigned", Some("en-GB")), "own");
    assert_eq!(subject("task-assigned", Some("fr")), "eigen", "the default language, a shorter tag of it");
    assert_eq!(subject("task-assigned", None), "eigen");
    assert_eq!(subject("news", Some("cs")), "neu", "the first there is");
    assert_eq!(subject("escalated", Some("fr")), "Escalated to you", "English in the end");
}

#[test]
fn r45_a_topic_can_be_disabled_and_need_not_exist() {
    let off = NotificationTopicSpec { enabled: false, templates: Vec::new() };
    let topics = Topics::new([("task-assigned", &off), ("own", &text("t"))], "en");
    assert!(!topics.is_enabled("task-assigned") && topics.is_enabled("escalated") && topics.is_enabled("nowhere"));
    assert!(topics.is_known("own") && topics.is_known("escalated") && !topics.is_known("nowhere"));
    assert_eq!(faults("own", &off), Vec::<String>::new());
    let given = topics.render("nowhere", "escalated", Some("cs"), &full("escalated"));
    assert!(given.subject.starts_with("Eskalováno na vás"), "{given:?}");
    assert!(
        given.unsuited.as_ref().is_some_and(|why| why.contains("there is no NotificationTopic nowhere")),
        "{given:?}"
    );
}

#[test]
fn r45_a_broken_template_is_told_and_the_built_in_text_is_sent() {
    let wrong = topic(&[("en", "s", "t", None), ("cs", "s", "t", Some("<p>\nžluť</p>\n  {{ task.nosuch }}"))]);
    let topics = Topics::new([("escalated", &wrong), ("own", &wrong)], "en");
    for name in ["escalated", "own"] {
        let given = topics.render(name, "escalated", Some("cs"), &full("escalated"));
        assert!(given.subject.starts_with("Eskalováno na vás"), "{given:?}");
        let fault = given.fault.expect("a fault");
        assert!(fault.starts_with("spec.templates[1] (cs): html: line 3, column 6: "), "{fault}");
        assert!(fault.contains("task.nosuch"), "{fault}");
        assert_eq!(topics.render(name, "escalated", Some("en"), &full("escalated")).fault, None);
    }
    assert_eq!(faults("escalated", &wrong).len(), 1);
}

#[test]
fn what_no_text_suits_is_still_sent() {
    let given = Topics::new([], "en").render("reminder-low", "task-digest", None, &full("task-assigned"));
    assert_eq!(given.subject, "A card for Martha");
    assert!(given.text.contains("https://quorate.example.com/") && given.html.is_none(), "{given:?}");
    assert!(given.unsuited.is_some_and(|why| why.contains("for messages of another kind")));
    let given = Topics::new([], "en").render("", "", None, &Value::Null);
    assert!(given.unsuited.is_some());
}

#[test]
fn a_topic_that_is_used_for_another_kind_of_message_is_not_wrong_itself() {
    let own = topic(&[("en", "{{ totalCount }} in all", "{% for task in tasks %}{{ task.title }}{% endfor %}", None)]);
    let topics = Topics::new([("mine", &own), ("request-done", &own), ("broken", &text("{{ 1 / 0 }}"))], "en");
    assert_eq!(faults("mine", &own), Vec::<String>::new());
    for (name, instead) in [("mine", "Your approval is needed: "), ("request-done", "Under way: ")] {
        let given = topics.render(name, "task-assigned", None, &full("task-assigned"));
        assert!(given.subject.starts_with(instead), "{given:?}");
        let said = given.unsuited.expect("who named it hears of it");
        assert!(said.contains(&format!("the topic {name} is for messages of another kind")), "{said}");
        assert_eq!(given.fault, None, "the topic is as it should be");
        let given = topics.render(name, "task-digest", None, &full("task-digest"));
        assert_eq!((given.fault, given.unsuited), (None, None));
        assert_eq!(topics.unsuited(name, &["task-digest"]), None);
        assert!(topics.unsuited(name, OF_REQUESTS).is_some());
    }
    assert!(topics.unsuited("task-digest", OF_REQUESTS).is_some(), "a built-in one, too");
    assert_eq!(topics.unsuited("decision-recorded", OF_REQUESTS), None);
    let broken = topics.render("broken", "task-digest", None, &full("task-digest"));
    assert!(broken.fault.is_some() && broken.unsuited.is_none(), "{broken:?}");
    assert_eq!(topics.unsuited("broken", OF_REQUESTS), None, "what is wrong anywhere is told on the topic");
}

#[test]
fn every_decision_is_told_in_words() {
    let topics = Topics::new([], "en");
    for (decision, to, english, czech) in [
        ("Approve", Value::Null, "Cilla approved", "Cilla – schváleno"),
        ("Reject", Value::Null, "Cilla rejected", "Cilla – zamítnuto"),
        ("Delegate", "Paul".into(), "Cilla handed the task over to Paul", "Cilla – předáno (Paul)"),
        ("Delegate", Value::Null, "Cilla took the task back", "Cilla – převzato zpět"),
        ("Cancel", Value::Null, "Cilla withdrew the request", "Cilla – žádost stažena"),
        (
            "Reassign",
            "user paul".into(),
            "Cilla had the task given to user paul",
            "Cilla – přiděleno jinému (user paul)",
        ),
        ("AddApprovers", "group ops".into(), "Cilla had group ops asked as well", "Cilla – přizváni další (group ops)"),
        ("Stop", Value::Null, "Cilla stopped the request", "Cilla – žádost zastavena"),
        ("Retry", Value::Null, "Cilla had the failed action tried again", "Cilla – nový pokus"),
        ("Restart", Value::Null, "Cilla had the request begin anew", "Cilla – žádost začíná znovu"),
    ] {
        let mut parameters = full("decision-recorded");
        parameters["decision"]["decision"] = decision.into();
        parameters["decision"]["to"] = to;
        for (locale, words) in [("en", english), ("cs", czech)] {
            let given = topics.render("decision-recorded", "decision-recorded", Some(locale), &parameters);
            assert_eq!(given.subject, format!("{words}: A card for Martha"));
            assert_eq!((given.fault, given.unsuited), (None, None));
        }
    }
}
