//! A condition as it runs: names are column numbers, literals have the form in which they are
//! compared, and the seven comparisons are down to three (`a <> b` is not `a = b`, `a >= b` is not
//! `a < b`: the order of values is total).

use crate::like::Pattern;
use crate::sql::Comparison;

/// A condition over one row: true, false or null.
#[derive(Debug, Clone, PartialEq)]
pub enum Predicate {
    /// The same for every row; `None` is null.
    Constant(Option<bool>),
    /// A boolean column.
    Boolean(ColumnPath),
    /// Whether a column is null.
    IsNull(ColumnPath),
    /// Whether a condition is null.
    IsUnknown(Box<Predicate>),
    /// Kleene's conjunction.
    And(Vec<Predicate>),
    /// Kleene's disjunction.
    Or(Vec<Predicate>),
    /// The opposite; null stays null.
    Not(Box<Predicate>),
    /// A column against a constant that is not null.
    Against { operand: Operand, relation: Relation, null_safe: bool, value: Value },
    /// A column against a column, both in the same reading.
    Between { left: Operand, right: Operand, relation: Relation, null_safe: bool },
    /// A condition against a condition; false is less than true.
    Truths { left: Box<Predicate>, right: Box<Predicate>, relation: Relation, null_safe: bool },
    /// A column equal to one of several constants, none of them null.
    OneOf { operand: Operand, set: Set },
    /// A text column that fits a pattern.
    Like { column: ColumnPath, pattern: Pattern },
}

/// A column that the stage reads, or a field inside a struct column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnPath {
    /// Which of the columns that cross the boundary.
    pub column: usize,
    /// Members of structs from the outside in.
    pub members: Vec<usize>,
}

/// A column and the form in which its values are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operand {
    pub path: ColumnPath,
    pub reading: Reading,
}

/// How values are read for a comparison. All but the last five end up as 64-bit keys of the same
/// order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// 32-bit integers and dates.
    Integer,
    /// 64-bit integers and timestamps.
    Long,
    /// Days as the µs of their midnight, UTC.
    DateAsTimestamp,
    Float,
    Double,
    IntegerAsDouble,
    LongAsDouble,
    /// A decimal of this scale, rounded to the nearest double.
    DecimalAsDouble {
        scale: u32,
    },
    /// A decimal of this scale.
    Decimal {
        scale: u32,
    },
    IntegerAsDecimal,
    LongAsDecimal,
    /// Texts and binaries, by their bytes.
    Bytes,
    /// Texts by the bytes of their lower case.
    LowerCase,
}

/// What two values are to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    Equal,
    Less,
    Greater,
}

/// A constant in the form of its operand's reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// For every reading that gives keys: the integer itself, or `double_key`.
    Key(i64),
    /// `unscaled` / 10^`scale`
    Decimal { unscaled: i128, scale: u32 },
    /// For `LowerCase` already in lower case.
    Bytes(Vec<u8>),
}

/// Several constants, sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Set {
    Keys(Vec<i64>),
    Bytes(Vec<Vec<u8>>),
}

impl Predicate {
    /// The opposite.
    pub fn negated(self) -> Self {
        match self {
            Self::Not(inner) => *inner,
            Self::Constant(value) => Self::Constant(value.map(|value| !value)),
            other => Self::Not(Box::new(other)),
        }
    }

    /// One of the seven comparisons by one of the three that are evaluated; the flag says
    /// null-safe.
    pub fn relate(comparison: Comparison, make: impl FnOnce(Relation, bool) -> Self) -> Self {
        match comparison {
            Comparison::Equal => make(Relation::Equal, false),
            Comparison::NotEqual => make(Relation::Equal, false).negated(),
            Comparison::Less => make(Relation::Less, false),
            Comparison::LessOrEqual => make(Relation::Greater, false).negated(),
            Comparison::Greater => make(Relation::Greater, false),
            Comparison::GreaterOrEqual => make(Relation::Less, false).negated(),
            Comparison::NullSafeEqual => make(Relation::Equal, true),
        }
    }
}

/// A double as an integer with Spark's order: -0.0 equals 0.0, NaN equals NaN and is above
/// everything.
pub fn double_key(value: f64) -> i64 {
    if value.is_nan() {
        return i64::MAX;
    }
    // Adding zero turns -0.0 into 0.0.
    let bits = (value + 0.0).to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

#[cfg(test)]
mod tests {
    use super::double_key;

    #[test]
    fn doubles_keep_their_order_as_keys() {
        let tiny = f64::from_bits(1);
        let ascending =
            [f64::NEG_INFINITY, -1.5, -1.0, -tiny, 0.0, tiny, 1.0, 1e300, f64::INFINITY, f64::NAN];
        for pair in ascending.windows(2) {
            assert!(double_key(pair[0]) < double_key(pair[1]), "{pair:?}");
        }
        assert_eq!(double_key(-0.0), double_key(0.0));
        assert_eq!(double_key(f64::NAN), double_key(-f64::NAN));
    }
}
