//! How operators carry out plans, and what the API server and the watches do about it.

/// How plans are carried out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shell {
    /// How many replicas work.
    pub turns: Turns,
    /// Whether G7 is looked at.
    pub promises_g7: bool,
    /// Whether a batch that is judged again, after a crash between the record and its verdicts, must give the same verdicts.
    pub promises_same_verdicts: bool,
    /// Whether the answer to the write of a verdict may be lost: it is written, and its operator does not know.
    pub answers_lost: bool,
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
    pub const TOGETHER: Self = Self {
        turns: Turns::Together,
        promises_g7: false,
        promises_same_verdicts: false,
        answers_lost: false,
        flaw: None,
    };

    /// As it is installed.
    pub const ONE_AT_A_TIME: Self = Self { turns: Turns::OneAtATime, promises_g7: true, ..Self::TOGETHER };

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
    /// A list of signals is taken to be complete, though some may be on their way.
    SeenTooEarly,
    /// A verdict that was not written is taken for written.
    VerdictLost,
}
