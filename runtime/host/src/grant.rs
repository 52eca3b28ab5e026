//! What of the outside world a pipeline lets one stage see (`[stage.grant]`); by default nothing.

/// Grants of one stage. Files and the network cannot be granted.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Grant {
    /// Environment variables, by name, with the values that the stage sees.
    pub environment: Vec<(String, String)>,
    /// The system's clock, in place of one that moves a step per look. Rows of a replay may differ.
    pub clock: bool,
    /// Random numbers that differ from one instance to the next (not for secrets), in place of the
    /// same ones in every instance. Rows of a replay may differ.
    pub random: bool,
}

/// Values are secrets as often as not.
impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.environment.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Grant")
            .field("environment", &names)
            .field("clock", &self.clock)
            .field("random", &self.random)
            .finish()
    }
}

impl Grant {
    /// The random numbers' first state: the same for everybody, unless others are granted.
    pub(crate) fn seed(&self) -> u64 {
        use std::hash::{BuildHasher, RandomState};
        // The keys of a `RandomState` come from the system.
        if self.random { RandomState::new().hash_one(0) } else { 0 }
    }
}
