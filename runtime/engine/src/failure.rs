//! Failures that a pipeline gets over by itself.
//!
//! A source, a sink or a commit that fails for a reason that may pass says so with [`Rewind`] in the chain of its error.
//! The engine then drops all that was not committed, reads the cursors again and goes on from there. Every other error
//! ends the pipeline.

use std::fmt;

use anyhow::Error;

/// Why a micro-batch is dropped and run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rewind {
    /// A cluster, a store or a disk does not do what it should, and may later.
    MayPass,
    /// Another process has taken over: what this one holds back would be there twice.
    Fenced,
}

impl fmt::Display for Rewind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rewind::MayPass => "not now",
            Rewind::Fenced => "FENCED: another process has taken over",
        })
    }
}

impl std::error::Error for Rewind {}

impl Rewind {
    /// What an error says about itself; `None`: it is final.
    pub fn of(error: &Error) -> Option<Rewind> {
        error.downcast_ref::<Rewind>().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewind_is_found_below_and_above_other_words() {
        let error = anyhow::anyhow!("broker away").context(Rewind::MayPass).context("sink `a`");
        assert_eq!(Rewind::of(&error), Some(Rewind::MayPass));
        assert_eq!(Rewind::of(&anyhow::anyhow!("no such column")), None);
    }
}
