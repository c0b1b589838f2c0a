//! Names that look alike. A person who comes back under `Mary` instead of `mary`, or with a letter of another alphabet, may not
//! slip past what bars them (attack 8). Likeness only ever denies: what gives somebody a right is compared letter by letter.

use super::{Snapshot, usernames};
use std::collections::BTreeSet;
use unicode_security::skeleton;

/// What a name looks like: upper and lower case, and letters that look the same, fall together. So do i and l, since each of
/// them looks like the other in the other case.
#[must_use]
pub fn looks(name: &str) -> String {
    let lower = name.to_lowercase();
    // The skeleton may hold capitals again: it is taken of what was folded, and folded once more. A capital i, which looks like
    // an l, has become a small one by then.
    skeleton(&lower).collect::<String>().to_lowercase().replace('i', "l")
}

impl Snapshot {
    /// Whether two usernames may be one person: they are as far as the directory knows, or one of the names of one looks like one
    /// of the other, and the directory does not know both, as different people.
    #[must_use]
    pub fn may_be_same(&self, one: &str, other: &str) -> bool {
        if self.same_person(one, other) {
            return true;
        }
        let told_apart = self.identity_of(one).is_some() && self.identity_of(other).is_some();
        !told_apart && !self.faces_of(one).is_disjoint(&self.faces_of(other))
    }

    /// What the names of a person look like: the username and its aliases.
    #[must_use]
    pub fn faces_of(&self, username: &str) -> BTreeSet<String> {
        let known = self.identity_of(username).and_then(|identity| self.people.get(identity));
        known.map_or_else(|| BTreeSet::from([looks(username)]), |person| usernames(person).map(looks).collect())
    }

    /// The Identities of whom one name looks like this one, which the directory does not know.
    pub fn alike(&self, unknown: &str) -> impl Iterator<Item = &str> {
        let known = self.identity_of(unknown).is_some();
        let alike = self.faces.get(&looks(unknown)).filter(|_| !known);
        alike.into_iter().flatten().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::{Snapshot, looks};
    use crate::api::IdentitySpec;

    #[test]
    fn attack08_other_case_and_homographs_look_alike() {
        for (one, other) in
            [("mary", "Mary"), ("mary", "m\u{0430}ry"), ("mary@corp", "MARY@CORP"), ("\u{fb01}ona", "fiona")]
        {
            assert_eq!(looks(one), looks(other), "{one} {other}");
            assert!(Snapshot::default().may_be_same(one, other));
        }
        for (one, other) in [("mary", "john"), ("anna", "ana"), ("dev1", "dev2")] {
            assert_ne!(looks(one), looks(other), "{one} {other}");
        }
    }

    #[test]
    fn people_whom_the_directory_tells_apart_are_different() {
        let person =
            |username: &str| IdentitySpec { username: username.to_owned(), active: true, ..IdentitySpec::default() };
        let (one, other) = (person("dev1"), person("devl"));
        let directory = Snapshot::new([("one", &one), ("other", &other)], []);
        assert!(!directory.may_be_same("dev1", "devl"));
        let anna = IdentitySpec { aliases: vec!["anna@github".to_owned()], ..person("anna") };
        let others = Snapshot::new([("anna", &anna)], []);
        assert!(others.may_be_same("Anna", "anna@github"), "an alias is no disguise either");
        assert!(directory.may_be_same("dev1", "devI"), "nobody knows this one");
    }
}
