//! The page that links in mails lead to. It says how to decide and decides nothing, whoever opens it and however often: mail
//! scanners open every link (attack 41). It knows nobody, so it shows nothing that the link does not say itself.

use minijinja::{AutoEscape, Environment, Value, context};

/// The page for an instance; none when these are no names of Kubernetes.
#[must_use]
pub fn page(namespace: &str, name: &str) -> Option<String> {
    if !is_label(namespace) || name.len() > 253 || !name.split('.').all(is_label) {
        return None;
    }
    // generateName gets five letters more, and names have 63 at most where they become labels.
    let prefix: String = name.chars().take(50).collect();
    let prefix = prefix.trim_end_matches(['-', '.']);
    render(context! { namespace, name, prefix })
}

/// The page of everybody's tasks: it does not know whose to show.
#[must_use]
pub fn overview() -> Option<String> {
    render(context! {})
}

fn render(values: Value) -> Option<String> {
    let mut environment = Environment::empty();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.render_str(include_str!("page.html"), values).ok()
}

/// Whether a text is a DNS label, as names of Kubernetes are made of.
fn is_label(text: &str) -> bool {
    let inner = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-';
    !text.is_empty() && text.len() <= 253 && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::{overview, page};

    #[test]
    fn the_page_says_how_to_decide() {
        let shown = page("pki", "enrol-www.example").expect("a page");
        assert!(shown.contains(r#"{generateName: "enrol-www.example-", namespace: "pki"}"#), "{shown}");
        assert!(shown.contains(r#"spec: {instance: "enrol-www.example", decision: Approve}"#), "{shown}");
        assert!(!shown.contains("<form") && !shown.contains("<script") && !shown.contains("href"), "{shown}");
    }

    #[test]
    fn the_page_of_all_tasks_shows_none() {
        let shown = overview().expect("a page");
        assert!(shown.contains("<h1>Your tasks</h1>") && !shown.contains("kubectl create"), "{shown}");
    }

    #[test]
    fn a_name_that_looks_like_a_number_is_a_name() {
        let shown = page("123", "1e3").expect("a page");
        assert!(shown.contains(r#"namespace: "123""#) && shown.contains(r#"instance: "1e3""#), "{shown}");
    }

    #[test]
    fn attack40_what_is_no_name_has_no_page() {
        for (namespace, name) in [
            ("pki", "<script>alert(1)</script>"),
            ("pki", "a\"onload=\"x"),
            ("pki", ""),
            ("", "a"),
            ("pki", "a..b"),
            ("-pki", "a"),
            ("pki", "A"),
            ("pki", "{{ 7 * 7 }}"),
            ("pki", "a\nb"),
        ] {
            assert_eq!(page(namespace, name), None, "{namespace} {name}");
        }
    }
}
