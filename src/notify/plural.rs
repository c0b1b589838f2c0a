//! Which form a number takes in a language, by the rules of CLDR: one task, 2 úkoly, 5 úkolů. Called by the filter `plural`.

use fixed_decimal::Decimal;
use icu_locale_core::Locale;
use icu_plurals::{PluralCategory, PluralOperands, PluralRules, PluralRulesOptions};

/// The names of the forms, as CLDR and the templates call them.
pub(super) const FORMS: [&str; 6] = ["zero", "one", "two", "few", "many", "other"];

/// The language whose rules are meant. The rules themselves, which are compiled in, cannot be shared between threads.
pub(super) struct Plurals(Locale);

impl Plurals {
    /// The rules of the language of a BCP 47 tag; a language that CLDR does not know has one form, `other`.
    pub(super) fn of(tag: &str) -> Self {
        Self(tag_of(tag).unwrap_or(Locale::UNKNOWN))
    }

    /// The form of a number that is written like this, `2` or `1.5`: what is printed decides, not its value. None when it is no
    /// number.
    pub(super) fn form(&self, number: &str) -> Option<&'static str> {
        let operands = PluralOperands::from(&Decimal::try_from_str(number).ok()?);
        let rules = PluralRules::try_new((&self.0).into(), PluralRulesOptions::default());
        let category = rules.map_or(PluralCategory::Other, |rules| rules.category_for(operands));
        Some(match category {
            PluralCategory::Zero => "zero",
            PluralCategory::One => "one",
            PluralCategory::Two => "two",
            PluralCategory::Few => "few",
            PluralCategory::Many => "many",
            PluralCategory::Other => "other",
        })
    }
}

/// A language tag, `_` taken for `-`; none when it is not one of BCP 47.
pub(super) fn tag_of(tag: &str) -> Option<Locale> {
    Locale::try_from_str(&tag.replace('_', "-")).ok()
}

#[cfg(test)]
mod tests {
    use super::{Plurals, tag_of};

    #[test]
    fn r42_numbers_take_the_form_of_the_language() {
        let table: &[(&str, &[(&str, &str)])] = &[
            ("en", &[("0", "other"), ("1", "one"), ("2", "other"), ("1.0", "other"), ("1.5", "other")]),
            (
                "cs",
                &[
                    ("0", "other"),
                    ("1", "one"),
                    ("2", "few"),
                    ("4", "few"),
                    ("5", "other"),
                    ("22", "other"),
                    ("1.5", "many"),
                ],
            ),
            ("cs_CZ", &[("3", "few")]),
            ("pl", &[("1", "one"), ("2", "few"), ("5", "many"), ("12", "many"), ("22", "few"), ("1.5", "other")]),
            ("ar", &[("0", "zero"), ("1", "one"), ("2", "two"), ("3", "few"), ("11", "many"), ("100", "other")]),
            ("ja", &[("0", "other"), ("1", "other"), ("2", "other")]),
            ("pt-BR", &[("0", "one"), ("1", "one"), ("2", "other")]),
            ("pt-PT", &[("0", "other"), ("1", "one")]),
            ("tlh", &[("1", "other")]),
            ("-1-", &[("1", "other")]),
        ];
        for (tag, cases) in table {
            let plurals = Plurals::of(tag);
            for (number, form) in *cases {
                assert_eq!(plurals.form(number), Some(*form), "{tag}: {number}");
            }
        }
        assert_eq!(Plurals::of("cs").form("-2"), Some("few"));
        assert_eq!(Plurals::of("cs").form("many"), None);
    }

    #[test]
    fn tags_are_those_of_bcp_47() {
        for tag in ["en", "cs", "cs-CZ", "pt_BR", "zh-Hant-TW"] {
            assert!(tag_of(tag).is_some(), "{tag}");
        }
        for tag in ["e", "english-language-of", "cs-", "12"] {
            assert!(tag_of(tag).is_none(), "{tag}");
        }
    }
}
