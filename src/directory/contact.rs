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
    /// How whoever has this username is reached, letter by letter: never whose Identity merely has that name. Of whom the directory
    /// does not know the username alone.
    #[must_use]
    pub fn contact_of(&self, username: &str) -> Contact {
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

#[cfg(test)]
mod tests {
    use super::Snapshot;
    use crate::api::IdentitySpec;

    #[test]
    fn a_username_is_never_taken_for_the_name_of_an_identity() {
        let person = |username: &str| IdentitySpec {
            username: username.to_owned(),
            email: Some(format!("{username}@example.com")),
            active: true,
            ..IdentitySpec::default()
        };
        let (one, other) = (person("john"), person("jd"));
        let directory = Snapshot::new([("employee-1", &one), ("john", &other)], []);
        let mail = |contact: super::Contact| contact.email.unwrap_or_default();
        assert_eq!(mail(directory.contact_of("john")), "john@example.com");
        assert_eq!(
            mail(directory.contact_of("jd")),
            "jd@example.com",
            "whose Identity has the username of somebody else"
        );
        assert_eq!(directory.contact_of("employee-1").email, None, "nobody has that username");
    }
}
