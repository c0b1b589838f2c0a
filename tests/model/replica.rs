//! An operator: what it has seen, and how far it is with its plan.

use crate::oracle::{Deed, PlanId, StatusId};
use crate::shell::{Flaw, Shell};

/// The bit of `todo` that stands for the status; those below stand for verdicts.
pub const STATUS: u16 = 1 << 8;
/// The bit of `todo` that stands for the outcome on the object.
pub const WRITE_BACK: u16 = 1 << 9;

/// An operator: its copies, and the plan that it is carrying out.
// Each is a fact of its own.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Copy, Default)]
pub struct Replica {
    /// Its copy of the status.
    pub status: StatusId,
    /// Whether that is the newest one: the same resourceVersion.
    pub newest: bool,
    /// The signals that it believes to be without verdict.
    pub seen: u8,
    /// The signals that it knows to have one.
    pub gone: u8,
    /// Its copy of the directory.
    pub directory: u8,
    /// In which second it last listed all signals; 0 if it has not.
    pub listed: u8,
    /// Whether its copy of the object is as the object is.
    pub object_seen: bool,
    /// Whether it has stopped, where only one works at a time.
    pub stopped: bool,
    /// What it carries out; 0 is nothing.
    pub plan: PlanId,
    /// What of it is not done yet.
    pub todo: u16,
    /// Whether the copy that the plan was computed from is still the newest; only while the status is to be written.
    pub base_newest: bool,
}

impl Replica {
    /// One that does nothing.
    pub const STOPPED: Self = Self {
        status: 0,
        newest: false,
        seen: 0,
        gone: 0,
        directory: 0,
        listed: 0,
        object_seen: false,
        stopped: true,
        plan: 0,
        todo: 0,
        base_newest: false,
    };

    /// Begins to carry out a plan.
    pub fn take_up(&mut self, plan: PlanId, deed: Deed) {
        self.plan = plan;
        self.todo = u16::from(deed.verdicts);
        if deed.changed {
            self.todo |= STATUS;
            self.base_newest = self.newest;
        }
        if deed.write_back != 0 {
            self.todo |= WRITE_BACK;
        }
    }

    /// What may be done next: the status, then the verdicts in any order, then the outcome.
    pub fn next(&self, shell: Shell) -> u16 {
        let verdicts = self.todo & (STATUS - 1);
        let back = self.todo & WRITE_BACK;
        match (self.todo & STATUS, shell.flaw) {
            (0, _) if verdicts == 0 => back,
            (0, _) => verdicts,
            (status, Some(Flaw::VerdictsFirst)) => status | verdicts,
            (status, Some(Flaw::WriteBackFirst)) => status | back,
            (status, _) => status,
        }
    }

    /// A part is done, or needs no doing.
    pub fn done(&mut self, part: u16) {
        self.todo &= !part;
        if part == STATUS {
            self.base_newest = false;
        }
        if self.todo == 0 {
            self.drop_plan();
        }
    }

    /// Forgets its plan.
    pub fn drop_plan(&mut self) {
        self.plan = 0;
        self.todo = 0;
        self.base_newest = false;
    }
}
