//! Where messages lead. A link shows a task and decides nothing: whatever is decided is signed by its sender.

use url::Url;

/// Where people look at their tasks.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Links {
    /// The address of the installation's pages; none: messages have no links.
    pub base: Option<Url>,
}

impl Links {
    /// The page of an instance; empty without pages.
    #[must_use]
    pub fn task(&self, namespace: &str, name: &str) -> String {
        self.page(&["tasks", namespace, name])
    }

    /// The page of all tasks; empty without pages.
    #[must_use]
    pub fn tasks(&self) -> String {
        self.page(&["tasks"])
    }

    fn page(&self, path: &[&str]) -> String {
        let Some(base) = &self.base else { return String::new() };
        let mut page = base.clone();
        page.set_query(None);
        page.set_fragment(None);
        match page.path_segments_mut() {
            Ok(mut segments) => {
                segments.pop_if_empty().extend(path);
            }
            // Such as mailto: nothing can be below it.
            Err(()) => return String::new(),
        }
        page.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::Links;

    #[test]
    fn a_link_leads_below_the_base_whatever_the_names_are() {
        let links = |base: &str| Links { base: base.parse().ok() };
        assert_eq!(
            links("https://q.example.com").task("prod", "deploy-1"),
            "https://q.example.com/tasks/prod/deploy-1"
        );
        assert_eq!(links("https://q.example.com/ui/").tasks(), "https://q.example.com/ui/tasks");
        assert_eq!(
            links("https://q.example.com/ui").task("a/b", "c?d#e\" f"),
            "https://q.example.com/ui/tasks/a%2Fb/c%3Fd%23e%22%20f"
        );
        assert_eq!(links("").task("prod", "deploy-1"), "", "an installation without pages");
        assert_eq!(links("mailto:mary@example.com").tasks(), "");
    }
}
