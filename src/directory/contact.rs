//! How people are reached, and in which language.

use super::Snapshot;

/// How somebody is reached.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Contact {
    /// Their username.
    pub username: String,
    /// The name that people read.
    pub display_name: Option<String>,
    /// Their mail address; none where the directory has none.
    pub email: Option<String>,
    /// The language that they read, a BCP 47 tag.
    pub locale: Option<String>,
}

impl Contact {
    /// The name that people read, or the username.
    #[must_use]
    pub fn name(&self) -> &str {
        self.display_name.as_deref().unwrap_or(&self.username)
    }
}

impl Snapshot {
    /// How a person is reached, by username or by the name of their Identity. Of whom the directory does not know the username
    /// alone.
    #[must_use]
    pub fn contact(&self, name: &str) -> Contact {
        let username = self.resolve(name);
        let Some(spec) = self.person_spec(username) else {
            return Contact { username: username.to_owned(), ..Contact::default() };
        };
        Contact {
            username: username.to_owned(),
            display_name: spec.display_name.clone().filter(|name| !name.trim().is_empty()),
            email: spec.email.clone().filter(|email| !email.trim().is_empty()),
            locale: spec.locale.clone(),
        }
    }
}
