//! Whom a request is about, and which roles: the expressions of a process, evaluated over what its event shows.

use crate::api::ApprovalProcessSpec;
use crate::cel::{Expression, Input, Scope};
use crate::engine::graph::is_mailbox;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a request is about, as its process says.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// Whom, by username; none where the process does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subjects: Option<Vec<String>>,
    /// Where whoever of them has no Identity is told, by mail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subject_emails: Vec<String>,
    /// Which role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The superior role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superior_role: Option<String>,
    /// The subrole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_role: Option<String>,
    /// Who else may not decide.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_approvers: Vec<String>,
}

/// What a request is about. Expressions may name what is in `scope`; `input` has a value for each.
///
/// # Errors
/// The expression that does not yield it, and why.
pub fn about(spec: &ApprovalProcessSpec, scope: &'static Scope, input: &Value) -> Result<About, String> {
    let told = |source: &String| {
        let compiled = Expression::compile(source, scope)?;
        Ok::<_, String>((narrowed(&compiled, scope, input), compiled))
    };
    let list = |field: &str, source: &Option<String>| {
        let list = |source: &String| told(source).and_then(|(input, compiled)| compiled.strings(&input));
        source.as_ref().map(list).transpose().map_err(|why| format!("spec.{field}: {why}"))
    };
    let one = |field: &str, source: &Option<String>| {
        let one = |source: &String| {
            let (input, compiled) = told(source)?;
            match compiled.evaluate(&input)? {
                Value::String(name) if !name.is_empty() => Ok(name),
                other => Err(format!("it yields {other}, not the name of a role")),
            }
        };
        source.as_ref().map(one).transpose().map_err(|why| format!("spec.{field}: {why}"))
    };
    let addresses = |source: &String| {
        let told = told(source).and_then(|(input, compiled)| mailboxes(compiled.evaluate(&input)?));
        told.map_err(|why| format!("spec.subjectEmail: {why}"))
    };
    Ok(About {
        subjects: list("subjects", &spec.subjects)?,
        subject_emails: spec.subject_email.as_ref().map_or(Ok(Vec::new()), addresses)?,
        role: one("role", &spec.role)?,
        superior_role: one("superiorRole", &spec.superior_role)?,
        sub_role: one("subRole", &spec.sub_role)?,
        exclude_approvers: list("excludeApprovers", &spec.exclude_approvers)?.unwrap_or_default(),
    })
}

/// The mail addresses that an expression yields: one, or a list of them; an empty text is none.
fn mailboxes(yielded: Value) -> Result<Vec<String>, String> {
    let listed = match yielded {
        Value::Array(listed) => listed,
        one => vec![one],
    };
    let mut addresses = Vec::new();
    for value in listed {
        match value {
            Value::String(text) if text.is_empty() => {}
            Value::String(text) if is_mailbox(&text) => addresses.push(text),
            other => return Err(format!("it yields {other}, which is no mail address")),
        }
    }
    Ok(addresses)
}

/// The addresses of an instance: all of them, or, where each subject has an instance of its own, the one at the same place of the
/// list; none when there are more or fewer addresses than subjects.
#[must_use]
pub fn addresses_of(subjects: &[String], addresses: &[String], subject: Option<&String>) -> Vec<String> {
    let Some(subject) = subject else { return addresses.to_vec() };
    let pairs =
        subjects.iter().zip(addresses).filter(|(named, _)| subjects.len() == addresses.len() && *named == subject);
    pairs.map(|(_, address)| address.clone()).collect()
}

/// What an expression names, and nothing else: the size of an object counts only for those that look at it.
#[must_use]
pub fn narrowed(expression: &Expression, scope: &'static Scope, input: &Value) -> Input {
    let named = scope.variables.iter().filter(|name| expression.references(name));
    let variables = named.filter_map(|name| Some(((*name).to_owned(), input.get(name)?.clone())));
    Input { variables: variables.collect(), ..Input::default() }
}

/// What is wrong with these expressions of a process, each with its field.
#[must_use]
pub fn faults(spec: &ApprovalProcessSpec, scope: &'static Scope) -> Vec<String> {
    let sources = [
        ("subjects", &spec.subjects),
        ("subjectEmail", &spec.subject_email),
        ("role", &spec.role),
        ("superiorRole", &spec.superior_role),
        ("subRole", &spec.sub_role),
        ("excludeApprovers", &spec.exclude_approvers),
    ];
    let faults = sources.into_iter().filter_map(|(field, source)| {
        let why = Expression::compile(source.as_ref()?, scope).err()?;
        Some(format!("spec.{field}: {why}"))
    });
    faults.collect()
}

#[cfg(test)]
mod tests {
    use super::{about, addresses_of};
    use crate::api::ApprovalProcessSpec;
    use crate::change::select::SCOPE;
    use serde_json::json;

    fn addresses(expression: &str) -> Result<Vec<String>, String> {
        let spec = ApprovalProcessSpec { subject_email: Some(expression.to_owned()), ..ApprovalProcessSpec::default() };
        let object = json!({"spec": {"mail": "martha@example.com", "mails": ["a@example.com", "b@example.com"]}});
        about(&spec, &SCOPE, &json!({"object": object})).map(|about| about.subject_emails)
    }

    #[test]
    fn subject_email_yields_an_address_or_a_list_or_none() {
        assert_eq!(addresses("object.spec.mail"), Ok(vec!["martha@example.com".to_owned()]));
        assert_eq!(addresses("object.spec.mails").map(|list| list.len()), Ok(2));
        assert_eq!(addresses("object.spec.?other.orValue('')"), Ok(Vec::new()));
        let why = addresses("'everybody'").expect_err("refused");
        assert_eq!(why, r#"spec.subjectEmail: it yields "everybody", which is no mail address"#);
        assert!(addresses("7").is_err() && addresses("['a@example.com', 7]").is_err());
    }

    #[test]
    fn attack39_what_could_end_a_header_is_no_address() {
        assert!(addresses(r"'a@example.com\r\nBcc: b@example.com'").is_err());
        assert!(addresses("'a@example.com,b@example.com'").is_err());
    }

    #[test]
    fn rule20_the_instance_of_one_subject_has_their_address_alone() {
        let (subjects, both) =
            (["mary".to_owned(), "john".to_owned()], ["m@x.example".to_owned(), "j@x.example".to_owned()]);
        let john = Some(&subjects[1]);
        assert_eq!(addresses_of(&subjects, &both, john), both[1..]);
        assert_eq!(addresses_of(&subjects, &both, None), both);
        assert_eq!(addresses_of(&subjects, &both[..1], john), [] as [String; 0], "which of them it is cannot be told");
    }
}
