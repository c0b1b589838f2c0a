//! What one evaluation may use: steps, so that it ends soon, and bytes, so that it fits into memory.
//!
//! Both are counted, never timed: the same expression over the same input stops at the same place on every machine. What takes
//! work says so before it works; [`super::evaluate`] spends a step for each part of an expression that it looks at.

use super::fault::Fault;
use std::cell::Cell;

/// The most steps of one evaluation. A step is worth some 20 ns of an ordinary processor.
pub const MAX_STEPS: u64 = 2_000_000;

/// The most bytes that one evaluation may build, dropped ones included.
pub const MAX_BYTES: u64 = 32 * 1024 * 1024;

/// What a value takes beside its text.
pub const VALUE: usize = 40;

/// What is left of one evaluation.
#[derive(Debug)]
pub struct Budget {
    steps: Cell<u64>,
    bytes: Cell<u64>,
}

impl Budget {
    /// A whole one.
    pub fn new() -> Self {
        Self { steps: Cell::new(MAX_STEPS), bytes: Cell::new(MAX_BYTES) }
    }

    /// Takes steps. Once it fails it fails forever, so that no `||` outlives it.
    pub fn spend(&self, steps: usize) -> Result<(), Fault> {
        match self.steps.get().checked_sub(steps as u64) {
            Some(left) if left > 0 => {
                self.steps.set(left);
                Ok(())
            }
            _ => {
                self.steps.set(0);
                Err(self.exhausted().unwrap_or_else(|| Fault::new("it takes too many steps")))
            }
        }
    }

    /// Takes the bytes of something that is about to be built.
    pub fn hold(&self, bytes: usize) -> Result<(), Fault> {
        match self.bytes.get().checked_sub(bytes as u64) {
            Some(left) if left > 0 => {
                self.bytes.set(left);
                self.spend(bytes / 256)
            }
            _ => {
                self.bytes.set(0);
                self.steps.set(0);
                Err(self.exhausted().unwrap_or_else(|| Fault::new("it builds too much")))
            }
        }
    }

    /// Takes the bytes of a list of so many values.
    pub fn hold_list(&self, length: usize) -> Result<(), Fault> {
        self.hold(length.saturating_mul(VALUE))
    }

    /// Takes the steps of looking at so many bytes.
    pub fn scan(&self, bytes: usize) -> Result<(), Fault> {
        self.spend(bytes / 16)
    }

    /// What has run out, if something has.
    pub fn exhausted(&self) -> Option<Fault> {
        if self.bytes.get() == 0 {
            let megabytes = MAX_BYTES / (1024 * 1024);
            return Some(Fault::new(format!(
                "it builds more than {megabytes} MiB of lists and text; make it simpler or its input smaller"
            )));
        }
        (self.steps.get() == 0)
            .then(|| Fault::new(format!("it takes more than {MAX_STEPS} steps; make it simpler or its input smaller")))
    }
}
