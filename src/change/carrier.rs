//! Who carries a change out that the gate held: the requester by the same request, or the operator in their name.

use crate::api::{Execution, ExecutionMode, Held, Operation};
use jiff::SignedDuration;

/// How long an approval can be used where nothing says otherwise; and how long a rejection stands.
pub const VALID_FOR: SignedDuration = SignedDuration::from_hours(24);

/// For how long the same request may come again after it was let through: the API server itself repeats calls.
pub const REPEATED: SignedDuration = SignedDuration::from_secs(30);

/// Who carries a change out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Carrier {
    /// The operator.
    Operator,
    /// The requester; where the processes want it otherwise: why the operator cannot, for people.
    Requester(Option<&'static str>),
}

impl Carrier {
    /// The mode of execution that this is.
    #[must_use]
    pub fn mode(self) -> ExecutionMode {
        match self {
            Self::Operator => ExecutionMode::Automatic,
            Self::Requester(_) => ExecutionMode::OnRetry,
        }
    }
}

/// What can be said about a change that the gate holds.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    /// What was held.
    pub held: &'a Held,
    /// Whether the object as it is to be was kept with it.
    pub object: bool,
}

/// Who carries out what the gate holds: the operator only where every process that is asked wants it (one that says nothing wants
/// its requester to), the installation allows it, and the whole of it was kept.
#[must_use]
pub fn carrier<'a>(asked: impl IntoIterator<Item = Option<&'a Execution>>, allowed: bool, kept: &Kept<'_>) -> Carrier {
    let mut asked = asked.into_iter().peekable();
    let automatic = |execution: Option<&Execution>| {
        execution.and_then(|execution| execution.mode) == Some(ExecutionMode::Automatic)
    };
    if asked.peek().is_none() || !asked.all(automatic) {
        return Carrier::Requester(None);
    }
    let Kept { held, object } = *kept;
    let deletes = held.operation == Operation::Delete;
    let secret = !held.redact.is_empty() || (held.group.as_str(), held.resource.as_str()) == ("", "secrets");
    let whole = object && (held.operation == Operation::Create || held.old_object.is_some());
    match () {
        () if !allowed => Carrier::Requester(Some("this installation does not let Quorate carry it out")),
        () if deletes => Carrier::Operator,
        () if secret => Carrier::Requester(Some("Quorate keeps nothing secret, and so cannot carry it out")),
        () if !whole => Carrier::Requester(Some("it is too large for Quorate to keep, and so to carry out")),
        () => Carrier::Operator,
    }
}

#[cfg(test)]
mod tests {
    use super::{Carrier, Kept, carrier};
    use crate::api::{Execution, ExecutionMode, Held, Operation};

    fn execution(mode: ExecutionMode) -> Execution {
        Execution { mode: Some(mode), ..Execution::default() }
    }

    fn held(operation: Operation) -> Held {
        let old_object = (operation != Operation::Create).then(|| serde_json::json!({"data": {}}));
        Held { operation, old_object, resource: "configmaps".to_owned(), ..Held::default() }
    }

    #[test]
    fn every_process_that_is_asked_must_want_it() {
        let (automatic, on_retry) = (execution(ExecutionMode::Automatic), execution(ExecutionMode::OnRetry));
        let held = held(Operation::Create);
        let kept = Kept { held: &held, object: true };
        let cases = [
            (vec![], Carrier::Requester(None)),
            (vec![Some(&automatic)], Carrier::Operator),
            (vec![Some(&automatic), Some(&automatic)], Carrier::Operator),
            (vec![Some(&automatic), Some(&on_retry)], Carrier::Requester(None)),
            (vec![Some(&on_retry), Some(&automatic)], Carrier::Requester(None)),
            (vec![Some(&automatic), None], Carrier::Requester(None)),
        ];
        for (asked, expected) in cases {
            assert_eq!(carrier(asked.clone(), true, &kept), expected, "{asked:?}");
        }
    }

    #[test]
    fn what_the_operator_cannot_carry_out_is_left_to_the_requester_with_the_reason() {
        let automatic = execution(ExecutionMode::Automatic);
        let why = |held: &Held, object, allowed| match carrier([Some(&automatic)], allowed, &Kept { held, object }) {
            Carrier::Operator => "",
            Carrier::Requester(why) => why.unwrap_or("wanted"),
        };
        let (create, update, delete) = (held(Operation::Create), held(Operation::Update), held(Operation::Delete));
        assert_eq!([why(&create, true, true), why(&update, true, true), why(&delete, false, true)], [""; 3]);
        assert!(why(&create, true, false).contains("installation"), "switched off");
        assert!(why(&create, false, true).contains("too large"), "not kept");
        let large = Held { old_object: None, ..update.clone() };
        assert!(why(&large, true, true).contains("too large"), "what it was is not kept");
        let redacted = Held { redact: vec!["/data/key".to_owned()], ..update };
        assert!(why(&redacted, true, true).contains("secret"), "a part is not kept");
        let secret = Held { resource: "secrets".to_owned(), ..create };
        assert!(why(&secret, true, true).contains("secret"), "a Secret");
        let gone = Held { resource: "secrets".to_owned(), redact: vec!["/data".to_owned()], ..delete };
        assert_eq!(why(&gone, false, true), "", "removing it needs nothing of it");
    }
}
