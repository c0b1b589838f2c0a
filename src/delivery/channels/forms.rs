//! What each kind of channel is sent. Pure.
//!
//! Text comes from objects that users write: each form takes from it what would mention somebody, make a link or change the
//! layout. The one link is the installation's own, `url` of the event.

use crate::notify::Message;
use jiff::Timestamp;
use serde_json::{Value, json};

/// How much of a text chats are sent, in characters.
const LONGEST: usize = 2500;

/// A `CloudEvent` in structured mode. Its id is that of the message: a repeat is recognised by it.
pub(super) fn cloud_event(message: &Message, at: Timestamp) -> Value {
    let about = &message.about;
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    let event = message.event.get("event").and_then(Value::as_str).unwrap_or(&message.topic);
    let source = format!(
        "/apis/quorate.dev/v1alpha1/namespaces/{}/{}/{}",
        part(&about.namespace),
        plural(about.kind.as_deref()),
        part(&about.name)
    );
    json!({
        "specversion": "1.0",
        "id": message.id,
        "source": source,
        "type": format!("dev.quorate.{event}"),
        "subject": message.subject,
        "time": at.to_string(),
        "datacontenttype": "application/json",
        "data": message.event,
    })
}

/// The plural of a kind, as URLs of the API server have it.
fn plural(kind: Option<&str>) -> String {
    format!("{}s", kind.unwrap_or("WorkflowInstance").to_lowercase())
}

/// A message of a Slack incoming webhook. Mentions and links need the three letters that are escaped; `verbatim` keeps Slack from
/// finding some of its own.
pub(super) fn slack(message: &Message) -> Value {
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let link = link(message);
    let text = pieces(&message.text, link, escaped, |url| format!("<{url}>"));
    let subject = escaped(&one_line(&message.subject));
    json!({
        "text": subject,
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": cut(&one_line(&message.subject), 150), "emoji": false}},
            {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": true}},
        ],
    })
}

/// An Adaptive Card for a workflow webhook of Teams. A mention needs an entity, which there is none of.
pub(super) fn teams(message: &Message) -> Value {
    let link = link(message);
    let text = pieces(&message.text, None, |text| markdown(text).replace('\n', "\n\n"), str::to_owned);
    let mut card = json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            {"type": "TextBlock", "text": markdown(&one_line(&message.subject)), "weight": "Bolder", "size": "Medium", "wrap": true},
            {"type": "TextBlock", "text": text, "wrap": true},
        ],
    });
    if let Some(url) = link {
        card["actions"] = json!([{"type": "Action.OpenUrl", "title": cut(url, 100), "url": url}]);
    }
    json!({
        "type": "message",
        "attachments": [
            {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": null, "content": card},
        ],
    })
}

/// A message of a Mattermost incoming webhook.
pub(super) fn mattermost(message: &Message) -> Value {
    let text = pieces(&message.text, link(message), markdown, |url| format!("<{url}>"));
    json!({"text": format!("**{}**\n\n{text}", markdown(&one_line(&message.subject)))})
}

/// The installation's own link, when it is one that fits into every form.
fn link(message: &Message) -> Option<&str> {
    let url = message.event.get("url").and_then(Value::as_str)?;
    let plain = |letter: char| letter.is_ascii_graphic() && !"<>|\"`\\()[]".contains(letter);
    let web = url.starts_with("https://") || url.starts_with("http://");
    (web && url.chars().all(plain)).then_some(url)
}

/// Text, escaped, but for the link where it stands.
fn pieces(text: &str, link: Option<&str>, escaped: impl Fn(&str) -> String, linked: impl Fn(&str) -> String) -> String {
    let text = cut(text.trim(), LONGEST);
    match link {
        None => escaped(&text),
        Some(url) => text.split(url).map(escaped).collect::<Vec<_>>().join(&linked(url)),
    }
}

/// Text that Markdown takes as it is: every letter with a meaning is escaped; what would mention somebody, name a channel or become
/// a link is broken by a space without width, which no backslash does.
fn markdown(text: &str) -> String {
    const BREAK: char = '\u{200b}';
    let mut safe = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        let tail = safe.get(safe.len().saturating_sub(3)..).unwrap_or_default();
        if (letter == '/' && tail.ends_with(':')) || (letter == '.' && tail.eq_ignore_ascii_case("www")) {
            safe.push(BREAK);
        }
        // These make a list, and only there.
        let makes_list = matches!(letter, '.' | '-' | '+') && at_line_start(&safe);
        if "\\`*_[]()#!|<>~&".contains(letter) || makes_list {
            safe.push('\\');
        }
        safe.push(letter);
        if matches!(letter, '@' | '~' | '#') {
            safe.push(BREAK);
        }
    }
    safe
}

/// Whether only digits stand before, since the line began: a list would begin here.
fn at_line_start(text: &str) -> bool {
    let line = text.rsplit('\n').next().unwrap_or_default();
    line.chars().all(|letter| letter.is_ascii_digit() || letter.is_whitespace())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::{cloud_event, mattermost, slack, teams};
    use crate::notify::{Destination, Message};
    use jiff::Timestamp;
    use k8s_openapi::api::core::v1::ObjectReference;
    use serde_json::json;

    fn message(subject: &str, text: &str) -> Message {
        Message {
            id: "0123".to_owned(),
            to: Destination::Channel("chat".to_owned()),
            topic: "assigned".to_owned(),
            subject: subject.to_owned(),
            text: text.to_owned(),
            html: None,
            thread: None,
            about: ObjectReference {
                kind: Some("WorkflowInstance".to_owned()),
                namespace: Some("shop".to_owned()),
                name: Some("firewall".to_owned()),
                ..ObjectReference::default()
            },
            event: json!({"event": "assigned", "url": "https://quorate.example.com/t/a_b"}),
        }
    }

    #[test]
    fn an_event_says_where_it_comes_from() {
        let told = cloud_event(&message("Decide", "x"), Timestamp::UNIX_EPOCH);
        let expected = json!({
            "specversion": "1.0",
            "id": "0123",
            "source": "/apis/quorate.dev/v1alpha1/namespaces/shop/workflowinstances/firewall",
            "type": "dev.quorate.assigned",
            "subject": "Decide",
            "time": "1970-01-01T00:00:00Z",
            "datacontenttype": "application/json",
            "data": {"event": "assigned", "url": "https://quorate.example.com/t/a_b"},
        });
        assert_eq!(told, expected);
    }

    const HOSTILE: &str =
        "<!channel> @channel @all [x](https://evil.example.com) www.evil.example.com *b* ~town\n# big";
    const OURS: &str = "See https://quorate.example.com/t/a_b now";

    #[test]
    fn attack_40_slack_finds_no_mention_and_no_link_but_ours() {
        let sent = slack(&message("<!here>", &format!("{HOSTILE}\n{OURS}")));
        assert_eq!(sent["text"], "&lt;!here&gt;");
        let text = &sent["blocks"][1]["text"];
        assert_eq!(text["verbatim"], true);
        let text = text["text"].as_str().expect("text");
        assert_eq!(text.matches('<').count(), 1, "{text}");
        assert!(text.ends_with("See <https://quorate.example.com/t/a_b> now"), "{text}");
        assert_eq!(sent["blocks"][0]["text"]["type"], "plain_text");
    }

    #[test]
    fn attack_40_mattermost_finds_no_mention_and_no_link_but_ours() {
        let sent = mattermost(&message("@here", &format!("{HOSTILE}\n{OURS}")));
        let text = sent["text"].as_str().expect("text");
        for hidden in ["@channel", "@all", "@here", "https://evil", "www.evil", "[x](", " *b*", "~town", "\n# "] {
            assert!(!text.contains(hidden), "{hidden}: {text}");
        }
        assert!(text.ends_with("See <https://quorate.example.com/t/a_b> now"), "{text}");
    }

    #[test]
    fn attack_40_teams_gets_one_link_which_is_ours() {
        let sent = teams(&message("[a](https://evil)", HOSTILE));
        let card = &sent["attachments"][0]["content"];
        assert_eq!((&card["type"], &card["version"]), (&json!("AdaptiveCard"), &json!("1.4")));
        assert_eq!(card["actions"][0]["url"], "https://quorate.example.com/t/a_b");
        for block in card["body"].as_array().expect("blocks") {
            let text = block["text"].as_str().expect("text");
            assert!(!text.contains("](") && !text.contains("https://"), "{text}");
        }
        let mut without = message("a", "b");
        without.event = json!({"url": "javascript:alert(1)"});
        assert_eq!(teams(&without)["attachments"][0]["content"].get("actions"), None);
    }
}
