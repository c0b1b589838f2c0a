//! Sources of approvers, compiled: who is meant, and what the request must supply for it (semantics.md 1–5).

use super::input;
use crate::api::{ApproverSource, GuarantorOf, NamedApprovers, SupervisorOf};
use crate::cel::Expression;
use std::fmt;

/// The furthest that a chain of managers is followed.
pub const MAX_LEVEL: u32 = 5;

/// Who may decide.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// One person, by username.
    User(String),
    /// Whoever holds a Kubernetes group: an open source.
    Group(String),
    /// The holders of a `BusinessRole`.
    Role(String),
    /// The guarantors of a role that the request is about, of one type or all.
    Guarantor(RoleOf, Option<String>),
    /// The managers of somebody, at a level.
    Supervisor(SupervisorOf, u32),
    /// The guarantors of the subjects.
    GuarantorOfSubject,
    /// Whom an expression yields.
    Expression(Expression),
    /// Whoever is allowed a verb on the process: an open source.
    Permission(String),
}

/// One of the roles that a request may be about.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum RoleOf {
    /// `spec.role`.
    Request,
    /// `spec.superiorRole`.
    Superior,
    /// `spec.subRole`.
    Sub,
}

/// What a request must supply.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Need {
    /// A role.
    Role(RoleOf),
    /// At least one subject.
    Subjects,
    /// Exactly one subject.
    Subject,
    /// The process that opened it.
    Process,
}

impl Need {
    /// The field of a process or instance that supplies it.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::Role(RoleOf::Request) => "role",
            Self::Role(RoleOf::Superior) => "superiorRole",
            Self::Role(RoleOf::Sub) => "subRole",
            Self::Subjects | Self::Subject => "subjects",
            Self::Process => "processRef",
        }
    }

    /// The same for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Role(RoleOf::Request) => "a role",
            Self::Role(RoleOf::Superior) => "a superior role",
            Self::Role(RoleOf::Sub) => "a subrole",
            Self::Subjects => "a subject",
            Self::Subject => "exactly one subject",
            Self::Process => "an ApprovalProcess that opened it",
        }
    }
}

impl Source {
    /// Compiles a source.
    ///
    /// # Errors
    /// What is wrong with it: the field, and what to do.
    pub fn compile(source: &ApproverSource) -> Result<Self, (&'static str, String)> {
        // Whoever adds a source to the API meets this line.
        let ApproverSource {
            user,
            group,
            mail,
            role,
            role_guarantor,
            superior_role_guarantor,
            sub_role_guarantor,
            supervisor_of,
            level,
            guarantor_of,
            expression,
            permission,
        } = source;
        let mut found = Vec::new();
        found.extend(user.clone().map(Self::User));
        found.extend(group.clone().map(Self::Group));
        found.extend(role.clone().map(Self::Role));
        for (of, guarantor) in [
            (RoleOf::Request, role_guarantor),
            (RoleOf::Superior, superior_role_guarantor),
            (RoleOf::Sub, sub_role_guarantor),
        ] {
            found.extend(guarantor.as_ref().map(|guarantor| Self::Guarantor(of, guarantor.type_.clone())));
        }
        let chosen = level.unwrap_or(1);
        found.extend(supervisor_of.map(|of| Self::Supervisor(of, chosen)));
        found.extend(guarantor_of.map(|GuarantorOf::Subject| Self::GuarantorOfSubject));
        if let Some(expression) = expression {
            let compiled = Expression::compile(expression, &input::SCOPE).map_err(|why| (".expression", why))?;
            found.push(Self::Expression(compiled));
        }
        found.extend(permission.as_ref().map(|permission| Self::Permission(permission.verb.clone())));
        if mail.is_some() && group.is_none() {
            return Err((".mail", "goes with group; remove it".to_owned()));
        }
        if level.is_some() && supervisor_of.is_none() {
            return Err((".level", "goes with supervisorOf alone; remove it".to_owned()));
        }
        if !(1..=MAX_LEVEL).contains(&chosen) {
            return Err((".level", format!("{chosen} is no level; write 1 to {MAX_LEVEL}")));
        }
        match (found.pop(), found.is_empty()) {
            (Some(only), true) => Ok(only),
            _ => Err((
                "",
                "an approver source is exactly one of user, group, role, roleGuarantor, superiorRoleGuarantor, subRoleGuarantor, supervisorOf, guarantorOf, expression, permission"
                    .to_owned(),
            )),
        }
    }

    /// The sources that an administrator, or the installation, names: users, groups and roles. Empty when it is not exactly one.
    #[must_use]
    pub fn named(named: &NamedApprovers) -> Option<Self> {
        match (&named.user, &named.group, &named.role) {
            (Some(user), None, None) => Some(Self::User(user.clone())),
            (None, Some(group), None) => Some(Self::Group(group.clone())),
            (None, None, Some(role)) => Some(Self::Role(role.clone())),
            _ => None,
        }
    }

    /// What the request must supply for it.
    #[must_use]
    pub fn needs(&self) -> Vec<Need> {
        match self {
            Self::User(_)
            | Self::Group(_)
            | Self::Role(_)
            | Self::Supervisor(SupervisorOf::Initiator | SupervisorOf::Approvers, _) => Vec::new(),
            Self::Guarantor(of, _) => vec![Need::Role(*of)],
            Self::Supervisor(SupervisorOf::Subject, _) | Self::GuarantorOfSubject => vec![Need::Subjects],
            Self::Expression(expression) => input::needs(expression),
            Self::Permission(_) => vec![Need::Process],
        }
    }

    /// The name of the field that holds it, for places.
    #[must_use]
    pub fn field(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Group(_) => "group",
            Self::Role(_) => "role",
            Self::Guarantor(RoleOf::Request, _) => "roleGuarantor",
            Self::Guarantor(RoleOf::Superior, _) => "superiorRoleGuarantor",
            Self::Guarantor(RoleOf::Sub, _) => "subRoleGuarantor",
            Self::Supervisor(..) => "supervisorOf",
            Self::GuarantorOfSubject => "guarantorOf",
            Self::Expression(_) => "expression",
            Self::Permission(_) => "permission",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "user {user}"),
            Self::Group(group) => write!(f, "group {group}"),
            Self::Role(role) => write!(f, "role {role}"),
            Self::Guarantor(of, type_) => {
                if let Some(type_) = type_ {
                    write!(f, "{type_} ")?;
                }
                write!(
                    f,
                    "guarantor of {}",
                    match of {
                        RoleOf::Request => "the role",
                        RoleOf::Superior => "the superior role",
                        RoleOf::Sub => "the subrole",
                    }
                )
            }
            Self::Supervisor(of, level) => {
                let whose = match of {
                    SupervisorOf::Subject => "the subject",
                    SupervisorOf::Initiator => "the initiator",
                    SupervisorOf::Approvers => "the approvers",
                };
                write!(f, "supervisor of {whose}")?;
                if *level > 1 { write!(f, ", level {level}") } else { Ok(()) }
            }
            Self::GuarantorOfSubject => write!(f, "guarantor of the subject"),
            Self::Expression(expression) => {
                let text = expression.source();
                let short: String = text.chars().take(60).collect();
                write!(f, "expression {short}{}", if short.len() < text.len() { "…" } else { "" })
            }
            Self::Permission(verb) => write!(f, "permission to {verb}"),
        }
    }
}
