//! The records of the workload: each has an owner, which is its key, and a number that counts the
//! owner's records from 0; what else is in it says what must become of it.

use crate::dice::Dice;
use crate::guests;

/// Keys.
pub const OWNERS: usize = 40;

/// What must become of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is in the topic and in the table.
    Kept,
    /// A stage leaves it out.
    Filtered,
    /// It is a dead letter of this stage.
    Rejected(&'static str),
}

/// Whose record, and which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    pub owner: usize,
    pub number: usize,
}

/// The value of a record: most are whole, some are poison.
pub fn value(id: Identity, dice: &mut Dice) -> String {
    let Identity { owner, number } = id;
    let ballast = "x".repeat(dice.below(150));
    let n = match dice.below(600) {
        0 => return format!("{{\"owner\":{owner},\"number\":{number},\"n\":{ballast}"),
        1 => guests::TRAPS,
        2 => guests::REFUSES,
        3 => guests::LIES,
        4 => guests::EATS_MEMORY,
        5..20 => -1,
        _ => 0,
    };
    format!("{{\"owner\":{owner},\"number\":{number},\"n\":{n},\"ballast\":\"{ballast}\"}}")
}

/// The two numbers that every value begins with, whole or not.
pub fn identity(value: &[u8]) -> Option<Identity> {
    let text = std::str::from_utf8(value).ok()?;
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty());
    let mut next = || numbers.next()?.parse().ok();
    Some(Identity { owner: next()?, number: next()? })
}

pub fn fate(value: &[u8]) -> Fate {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(value) else {
        return Fate::Rejected("parse");
    };
    match value["n"].as_i64() {
        Some(0) => Fate::Kept,
        Some(-1) => Fate::Filtered,
        _ => Fate::Rejected("hostile"),
    }
}
