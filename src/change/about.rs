//! Whom a request is about, and which roles: the expressions of a process, evaluated over what its event shows.

use crate::api::ApprovalProcessSpec;
use crate::cel::{Expression, Input, Scope};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a request is about, as its process says.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// Whom, by username; none where the process does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subjects: Option<Vec<String>>,
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
    Ok(About {
        subjects: list("subjects", &spec.subjects)?,
        role: one("role", &spec.role)?,
        superior_role: one("superiorRole", &spec.superior_role)?,
        sub_role: one("subRole", &spec.sub_role)?,
        exclude_approvers: list("excludeApprovers", &spec.exclude_approvers)?.unwrap_or_default(),
    })
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
