//! An expression as written: names are not looked up and literals not yet fitted to a column's
//! type.

/// One node, with the place where its text begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    /// Character of the text, counted from 1; 0 if it did not come from a text.
    pub at: usize,
    /// What stands there.
    pub kind: Kind,
}

/// What a node of an expression is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A column, or a field inside a struct column: the parts between the dots.
    Column(Vec<String>),
    /// A constant.
    Literal(Literal),
    /// Two values compared.
    Compare(Comparison, Box<Expression>, Box<Expression>),
    /// True if all are; kept flat so that a long chain is not a deep tree.
    And(Vec<Expression>),
    /// True if one is; kept flat too.
    Or(Vec<Expression>),
    /// The opposite; null stays null.
    Not(Box<Expression>),
    /// Never null itself.
    IsNull(Box<Expression>),
    /// Equal to one of the list.
    In(Box<Expression>, Vec<Expression>),
    /// A text that fits a pattern with `%` (any characters) and `_` (one character).
    Like {
        /// The text.
        text: Box<Expression>,
        /// The pattern, a string literal.
        pattern: Box<Expression>,
        /// Takes the meaning from the character behind it.
        escape: char,
        /// `ilike`.
        ignore_case: bool,
    },
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `=` or `==`
    Equal,
    /// `<>` or `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<=>`: equal, with null equal to null, never null itself
    NullSafeEqual,
}

impl Comparison {
    /// The comparison that says the same with its sides exchanged.
    pub fn flipped(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            symmetric => symmetric,
        }
    }
}

/// A constant as written.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// `null`
    Null,
    /// `true`, `false`
    Boolean(bool),
    /// `60601`, `5L`
    Integer(i64),
    /// `19.99`, exact: `unscaled` / 10^`scale`. Also integers beyond 64 bits.
    Decimal {
        /// All digits as one integer.
        unscaled: i128,
        /// How many of them stand behind the point, at most 38.
        scale: u32,
    },
    /// `1.5F`
    Float(f32),
    /// `1e3`, `1.5D`
    Double(f64),
    /// `'Chicago'`
    String(String),
    /// `date '2026-11-01'`, in days since 1970-01-01
    Date(i32),
    /// `timestamp '2026-11-01 12:00:00'`, in µs since 1970-01-01 UTC
    Timestamp(i64),
}

impl Literal {
    /// How an error speaks of it.
    pub fn describe(&self) -> String {
        match self {
            Self::Null => "null".into(),
            Self::Boolean(value) => format!("the boolean {value}"),
            Self::Integer(value) => format!("the number {value}"),
            Self::Decimal { unscaled, scale } => {
                format!("the number {}", crate::decimal::text(*unscaled, *scale))
            }
            Self::Float(value) => format!("the number {value}"),
            Self::Double(value) => format!("the number {value}"),
            Self::String(value) => format!("the text '{value}'"),
            Self::Date(_) => "a date".into(),
            Self::Timestamp(_) => "a timestamp".into(),
        }
    }
}
