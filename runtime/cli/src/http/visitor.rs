//! Who looks at the page, and what they may do there: what the broker's own ACLs let them do.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For how long a key that was right is not checked again; a deleted one may look on for so long.
const CHECKED_FOR: Duration = Duration::from_secs(10);
/// Keys that are remembered as right.
const CHECKED_MAX: usize = 1_000;

/// Who asks.
#[derive(Clone, PartialEq, Eq)]
pub enum Visitor {
    /// Whoever reaches the page: there are no keys, so that everybody may do everything.
    Anybody,
    /// A user of the built-in broker, whose rights are those of its ACLs.
    Key { key: String, secret: String },
}

impl Visitor {
    /// The name that is shown; `None`: it has none.
    pub fn name(&self) -> Option<&str> {
        match self {
            Visitor::Anybody => None,
            Visitor::Key { key, .. } => Some(key),
        }
    }
}

/// The secret is never shown.
impl std::fmt::Debug for Visitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Visitor").field(&self.name()).finish()
    }
}

/// Keys that were right a moment ago: to check one takes milliseconds of computing, and a page asks often.
#[derive(Default)]
pub struct CheckedKeys(Mutex<HashMap<(String, String), Instant>>);

impl CheckedKeys {
    pub fn holds(&self, key: &str, secret: &str) -> bool {
        let checked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let both = (key.to_string(), secret.to_string());
        checked.get(&both).is_some_and(|at| at.elapsed() < CHECKED_FOR)
    }

    pub fn add(&self, key: &str, secret: &str) {
        let mut checked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if checked.len() >= CHECKED_MAX {
            checked.clear();
        }
        checked.insert((key.to_string(), secret.to_string()), Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let visitor = Visitor::Key { key: "orders-app".into(), secret: "xyzzy".into() };
        let shown = format!("{visitor:?}");
        assert!(shown.contains("orders-app") && !shown.contains("xyzzy"), "{shown}");
    }

    #[test]
    fn a_key_is_remembered_with_its_secret_and_the_memory_is_bounded() {
        let checked = CheckedKeys::default();
        checked.add("key", "right");
        assert!(checked.holds("key", "right"));
        assert!(!checked.holds("key", "wrong"));
        for number in 0..2 * CHECKED_MAX {
            checked.add("key", &number.to_string());
        }
        let held = checked.0.lock().map_or(0, |held| held.len());
        assert!(held <= CHECKED_MAX, "{held}");
    }
}
