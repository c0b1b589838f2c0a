//! How operators carry out plans, and what the API server and the watches do about it.

/// How plans are carried out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shell {
    /// How many replicas work.
    pub turns: Turns,
    /// Whether G7 is looked at.
    pub promises_g7: bool,
    /// What is wrong, in the tests of the search itself.
    pub flaw: Option<Flaw>,
}

/// How many replicas work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Turns {
    /// Both at any time, each on copies as old as may be.
    Together,
    /// One, as the chart installs it. The other takes over when that one has stopped, and lists everything anew.
    OneAtATime,
}

impl Shell {
    /// No election, nothing to tell the replicas apart: the worst that can be done to the record. G7 is not promised then, see
    /// the tests of what is known not to hold.
    pub const TOGETHER: Self = Self { turns: Turns::Together, promises_g7: false, flaw: None };

    /// As it is installed.
    pub const ONE_AT_A_TIME: Self = Self { turns: Turns::OneAtATime, promises_g7: true, flaw: None };

    /// With a flaw.
    pub const fn flawed(flaw: Flaw) -> Self {
        Self { flaw: Some(flaw), ..Self::TOGETHER }
    }
}

/// Something that must not be, and that the search must notice.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flaw {
    /// The server takes a status computed from a stale copy.
    StaleStatusAccepted,
    /// The server takes a verdict although there is one.
    SecondVerdictAccepted,
    /// Verdicts are written before the status, or after it was refused.
    VerdictsFirst,
    /// The outcome is written to the object before the status.
    WriteBackFirst,
    /// A verdict that was not written is taken for written.
    VerdictLost,
}
