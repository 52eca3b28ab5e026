//! What an expression means over given columns: names are looked up, literals fitted to the type they are compared with.
//!
//! Types follow Spark where its dialects agree. Where they do not (a text compared with a number is a cast that may fail) the
//! pipeline is refused with the mend, rather than dropping rows whose text is no number.

use gristmill::{DataType, Field, Schema, hint};

use crate::datetime;
use crate::decimal;
use crate::letter_case;
use crate::like::Pattern;
use crate::predicate::{ColumnPath, Operand, Predicate, Reading, Relation, Set, Value, double_key};
use crate::sql::{Comparison, Expression, Kind, Literal, Mistake};

/// Turns expressions into predicates and collects the columns they read.
pub struct Checker<'a> {
    schema: &'a Schema,
    reads: Vec<usize>,
}

/// A column found in the schema.
#[derive(Debug, Clone)]
pub struct Found<'a> {
    pub path: ColumnPath,
    pub data_type: &'a DataType,
    /// As written, for messages.
    pub name: String,
}

/// One side of a comparison.
enum Side<'a> {
    Column(Found<'a>),
    Literal(Literal, usize),
    Condition(Predicate),
}

impl<'a> Checker<'a> {
    /// A checker over the columns that arrive.
    pub fn new(schema: &'a Schema) -> Self {
        Self { schema, reads: Vec::new() }
    }

    /// The names of the columns that the predicates read, in the order of `ColumnPath::column`.
    pub fn reads(&self) -> Vec<String> {
        self.reads.iter().map(|&index| self.schema.fields[index].name.clone()).collect()
    }

    /// An expression that stands as a condition.
    pub fn condition(&mut self, expression: &Expression) -> Result<Predicate, Mistake> {
        let at = expression.at;
        match &expression.kind {
            Kind::And(parts) => Ok(Predicate::And(self.conditions(parts)?)),
            Kind::Or(parts) => Ok(Predicate::Or(self.conditions(parts)?)),
            Kind::Not(inner) => Ok(self.condition(inner)?.negated()),
            Kind::IsNull(inner) => self.is_null(inner),
            Kind::Compare(comparison, left, right) => {
                let (left, right) = (self.side(left)?, self.side(right)?);
                self.compare(*comparison, left, right, at)
            }
            Kind::In(value, list) => self.one_of_expressions(value, list),
            Kind::Like { text, pattern, escape, ignore_case } => {
                self.like(text, pattern, *escape, *ignore_case)
            }
            Kind::Column(parts) => {
                let found = self.find(parts, at)?;
                boolean_column(&found).ok_or_else(|| {
                    let Found { name, data_type, .. } = found;
                    Mistake::new(
                        at,
                        format!("`{name}` is {data_type}, not a condition: compare it"),
                    )
                })
            }
            Kind::Literal(Literal::Boolean(value)) => Ok(Predicate::Constant(Some(*value))),
            Kind::Literal(Literal::Null) => Ok(Predicate::Constant(None)),
            Kind::Literal(other) => {
                Err(Mistake::new(at, format!("{} is not a condition", other.describe())))
            }
        }
    }

    fn conditions(&mut self, parts: &[Expression]) -> Result<Vec<Predicate>, Mistake> {
        parts.iter().map(|part| self.condition(part)).collect()
    }

    fn side(&mut self, expression: &Expression) -> Result<Side<'a>, Mistake> {
        Ok(match &expression.kind {
            Kind::Column(parts) => Side::Column(self.find(parts, expression.at)?),
            Kind::Literal(literal) => Side::Literal(literal.clone(), expression.at),
            _ => Side::Condition(self.condition(expression)?),
        })
    }

    fn is_null(&mut self, inner: &Expression) -> Result<Predicate, Mistake> {
        Ok(match self.side(inner)? {
            Side::Column(found) => Predicate::IsNull(found.path),
            Side::Literal(literal, _) => Predicate::Constant(Some(literal == Literal::Null)),
            Side::Condition(condition) => Predicate::IsUnknown(Box::new(condition)),
        })
    }

    fn like(
        &mut self,
        text: &Expression,
        pattern: &Expression,
        escape: char,
        ignore_case: bool,
    ) -> Result<Predicate, Mistake> {
        let Kind::Literal(Literal::String(written)) = &pattern.kind else {
            return Err(Mistake::new(pattern.at, "the pattern of `like` must be a text in quotes"));
        };
        let found = match self.side(text)? {
            Side::Column(found) => found,
            _ => return Err(Mistake::new(text.at, "`like` needs a column before it")),
        };
        if *found.data_type != DataType::String {
            let message =
                format!("column `{}` is {}, and `like` needs text:", found.name, found.data_type);
            return Err(Mistake::new(text.at, message + &cast_mend("string")));
        }
        let pattern = Pattern::new(written, escape, ignore_case)
            .map_err(|message| Mistake::new(pattern.at, message))?;
        Ok(Predicate::Like { column: found.path, pattern })
    }

    fn one_of_expressions(
        &mut self,
        value: &Expression,
        list: &[Expression],
    ) -> Result<Predicate, Mistake> {
        let literal = |member: &Expression| match &member.kind {
            Kind::Literal(literal) => Some((literal.clone(), member.at)),
            _ => None,
        };
        let literals: Option<Vec<_>> = list.iter().map(literal).collect();
        if let (Kind::Column(parts), Some(literals)) = (&value.kind, literals) {
            let found = self.find(parts, value.at)?;
            return one_of(&found, literals, false);
        }
        let mut parts = Vec::with_capacity(list.len());
        for member in list {
            let (left, right) = (self.side(value)?, self.side(member)?);
            parts.push(self.compare(Comparison::Equal, left, right, member.at)?);
        }
        Ok(Predicate::Or(parts))
    }

    fn compare(
        &mut self,
        comparison: Comparison,
        left: Side<'a>,
        right: Side<'a>,
        at: usize,
    ) -> Result<Predicate, Mistake> {
        match (left, right) {
            (Side::Column(found), Side::Literal(literal, literal_at)) => {
                against(&found, comparison, &literal, literal_at, false)
            }
            (Side::Literal(literal, literal_at), Side::Column(found)) => {
                against(&found, comparison.flipped(), &literal, literal_at, false)
            }
            (Side::Column(left), Side::Column(right)) => between(&left, comparison, &right, at),
            (Side::Literal(left, _), Side::Literal(right, _)) => {
                constants(comparison, &left, &right, at)
            }
            (left, right) => {
                let left = Box::new(truth_of(left, at)?);
                let right = Box::new(truth_of(right, at)?);
                Ok(relate(comparison, |relation, null_safe| Predicate::Truths {
                    left,
                    right,
                    relation,
                    null_safe,
                }))
            }
        }
    }

    /// Looks a column up, and the struct members behind its dots. An exact name wins, else case does not count (as in Spark).
    pub fn find(&mut self, parts: &[String], at: usize) -> Result<Found<'a>, Mistake> {
        let Some((column, members)) = parts.split_first() else {
            return Err(Mistake::new(at, "a column name is missing"));
        };
        let index = position(&self.schema.fields, column, None, at)?;
        let mut found = Found {
            path: ColumnPath { column: self.read(index), members: Vec::new() },
            data_type: &self.schema.fields[index].data_type,
            name: column.clone(),
        };
        for member in members {
            let DataType::Struct(fields) = found.data_type else {
                let Found { name, data_type, .. } = &found;
                let help = match data_type {
                    DataType::Array { .. } | DataType::Map { .. } => {
                        ", put the stage `flatten` before"
                    }
                    _ => "",
                };
                let message = format!("`{name}` is {data_type} and has no field `{member}`{help}");
                return Err(Mistake::new(at, message));
            };
            let member_index = position(fields, member, Some(&found.name), at)?;
            found.path.members.push(member_index);
            found.data_type = &fields[member_index].data_type;
            found.name = format!("{}.{member}", found.name);
        }
        Ok(found)
    }

    /// A column named in the configuration: the whole text first, then cut at its dots.
    pub fn find_named(&mut self, name: &str) -> Result<Found<'a>, Mistake> {
        let whole = [name.to_owned()];
        let is_column =
            self.schema.fields.iter().any(|field| field.name.eq_ignore_ascii_case(name));
        if is_column || !name.contains('.') {
            return self.find(&whole, 0);
        }
        let parts: Vec<String> = name.split('.').map(str::to_owned).collect();
        self.find(&parts, 0)
    }

    fn read(&mut self, index: usize) -> usize {
        match self.reads.iter().position(|&read| read == index) {
            Some(position) => position,
            None => {
                self.reads.push(index);
                self.reads.len() - 1
            }
        }
    }
}

/// Where a column stands, or a member of the struct column `of`.
fn position(fields: &[Field], name: &str, of: Option<&str>, at: usize) -> Result<usize, Mistake> {
    if let Some(exact) = fields.iter().position(|field| field.name == name) {
        return Ok(exact);
    }
    let lower = name.to_lowercase();
    let same = |field: &Field| field.name.to_lowercase() == lower;
    let mut matching = fields.iter().enumerate().filter(|(_, field)| same(field));
    match (matching.next(), matching.next()) {
        (Some((index, _)), None) => Ok(index),
        (Some((_, first)), Some((_, second))) => {
            let (first, second) = (&first.name, &second.name);
            Err(Mistake::new(
                at,
                format!("`{name}` may be `{first}` or `{second}`, write one of them"),
            ))
        }
        (None, _) => {
            let names = fields.iter().map(|field| field.name.as_str());
            let message = match of {
                None => format!("no column `{name}`, {}", hint(name, "columns", names)),
                Some(of) => {
                    format!("`{of}` has no field `{name}`, {}", hint(name, "fields", names))
                }
            };
            Err(Mistake::new(at, message))
        }
    }
}

fn boolean_column(found: &Found<'_>) -> Option<Predicate> {
    (*found.data_type == DataType::Boolean).then(|| Predicate::Boolean(found.path.clone()))
}

fn truth_of(side: Side<'_>, at: usize) -> Result<Predicate, Mistake> {
    match side {
        Side::Condition(condition) => Ok(condition),
        Side::Literal(Literal::Boolean(value), _) => Ok(Predicate::Constant(Some(value))),
        Side::Literal(Literal::Null, _) => Ok(Predicate::Constant(None)),
        Side::Literal(literal, at) => {
            let message = format!("a condition cannot be compared with {}", literal.describe());
            Err(Mistake::new(at, message))
        }
        Side::Column(found) => boolean_column(&found).ok_or_else(|| {
            let Found { name, data_type, .. } = found;
            Mistake::new(
                at,
                format!("`{name}` is {data_type} and cannot be compared with a condition"),
            )
        }),
    }
}

/// The seven comparisons by the three that are evaluated.
fn relate(comparison: Comparison, make: impl FnOnce(Relation, bool) -> Predicate) -> Predicate {
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

/// A column against a literal.
pub fn against(
    found: &Found<'_>,
    comparison: Comparison,
    literal: &Literal,
    at: usize,
    ignore_case: bool,
) -> Result<Predicate, Mistake> {
    if *literal == Literal::Null {
        return Ok(match comparison {
            Comparison::NullSafeEqual => Predicate::IsNull(found.path.clone()),
            _ => Predicate::Constant(None),
        });
    }
    if let Some(column) = boolean_column(found) {
        let value = boolean(literal).ok_or_else(|| unfit(found, literal, at))?;
        let (left, right) = (Box::new(column), Box::new(Predicate::Constant(Some(value))));
        return Ok(relate(comparison, |relation, null_safe| Predicate::Truths {
            left,
            right,
            relation,
            null_safe,
        }));
    }
    let (reading, value) = fit(found, literal, at, ignore_case)?;
    let operand = Operand { path: found.path.clone(), reading };
    Ok(relate(comparison, |relation, null_safe| Predicate::Against {
        operand,
        relation,
        null_safe,
        value,
    }))
}

/// A column equal to one of several literals; those of one reading become one set.
pub fn one_of(
    found: &Found<'_>,
    literals: Vec<(Literal, usize)>,
    ignore_case: bool,
) -> Result<Predicate, Mistake> {
    let mut parts = Vec::new();
    let mut keys: Vec<(Reading, Vec<i64>)> = Vec::new();
    let mut texts: Vec<(Reading, Vec<Vec<u8>>)> = Vec::new();
    for (literal, at) in literals {
        match against(found, Comparison::Equal, &literal, at, ignore_case)? {
            Predicate::Against { operand, value: Value::Key(key), .. } => {
                collect(&mut keys, operand.reading, key);
            }
            Predicate::Against { operand, value: Value::Bytes(text), .. } => {
                collect(&mut texts, operand.reading, text);
            }
            other => parts.push(other),
        }
    }
    let mut add = |reading, set| {
        let operand = Operand { path: found.path.clone(), reading };
        parts.push(Predicate::OneOf { operand, set });
    };
    for (reading, keys) in keys {
        add(reading, Set::Keys(sorted(keys)));
    }
    for (reading, texts) in texts {
        add(reading, Set::Bytes(sorted(texts)));
    }
    Ok(Predicate::Or(parts))
}

fn collect<T>(groups: &mut Vec<(Reading, Vec<T>)>, reading: Reading, value: T) {
    match groups.iter_mut().find(|(of, _)| *of == reading) {
        Some((_, values)) => values.push(value),
        None => groups.push((reading, vec![value])),
    }
}

fn sorted<T: Ord>(mut values: Vec<T>) -> Vec<T> {
    values.sort_unstable();
    values.dedup();
    values
}

/// The form in which a column and a literal are compared.
fn fit(
    found: &Found<'_>,
    literal: &Literal,
    at: usize,
    ignore_case: bool,
) -> Result<(Reading, Value), Mistake> {
    use DataType as T;
    let not_a = |what: &str| {
        let Found { name, data_type, .. } = found;
        let literal = literal.describe();
        Mistake::new(at, format!("column `{name}` is {data_type}, and {literal} is not {what}"))
    };
    let key = |reading, key| Ok((reading, Value::Key(key)));
    let integers = |literal: &Literal| match found.data_type {
        T::Integer => integer_column(Reading::Integer, literal),
        _ => integer_column(Reading::Long, literal),
    };
    match (found.data_type, literal) {
        (T::Integer | T::Long, Literal::String(text)) => {
            let number = text.trim().parse().map_err(|_| not_a("a whole number"))?;
            integers(&Literal::Integer(number)).ok_or_else(|| unfit(found, literal, at))
        }
        (T::Integer | T::Long, _) => integers(literal).ok_or_else(|| unfit(found, literal, at)),
        (T::Float | T::Double, _) => {
            let reading =
                if *found.data_type == T::Float { Reading::Float } else { Reading::Double };
            let value = match literal {
                Literal::String(text) => Some(text.trim().parse().map_err(|_| not_a("a number"))?),
                other => double(other),
            };
            key(reading, double_key(value.ok_or_else(|| unfit(found, literal, at))?))
        }
        (T::Decimal { scale, .. }, _) => {
            let scale = u32::try_from(*scale).unwrap_or(0);
            let literal = match literal {
                Literal::String(text) => &signed_decimal(text).ok_or_else(|| not_a("a number"))?,
                other => other,
            };
            match (exact(literal), double(literal)) {
                (Some((unscaled, scale_of_literal)), _) => Ok((
                    Reading::Decimal { scale },
                    Value::Decimal { unscaled, scale: scale_of_literal },
                )),
                (None, Some(value)) => key(Reading::DecimalAsDouble { scale }, double_key(value)),
                (None, None) => Err(unfit(found, literal, at)),
            }
        }
        (T::String, Literal::String(text)) if ignore_case => {
            Ok((Reading::LowerCase, Value::Bytes(letter_case::folded(text).into_bytes())))
        }
        (T::String | T::Binary, Literal::String(text)) => {
            Ok((Reading::Bytes, Value::Bytes(text.clone().into_bytes())))
        }
        (T::Date, Literal::Date(days)) => key(Reading::Integer, i64::from(*days)),
        (T::Date, Literal::Timestamp(micros)) => key(Reading::DateAsTimestamp, *micros),
        (T::Date, Literal::String(text)) => {
            let days = datetime::date(text).ok_or_else(|| not_a("a date"))?;
            key(Reading::Integer, i64::from(days))
        }
        (T::Timestamp, Literal::Timestamp(micros)) => key(Reading::Long, *micros),
        (T::Timestamp, Literal::Date(days)) => key(Reading::Long, datetime::midnight_us(*days)),
        (T::Timestamp, Literal::String(text)) => {
            key(Reading::Long, datetime::timestamp(text).ok_or_else(|| not_a("a timestamp"))?)
        }
        _ => Err(unfit(found, literal, at)),
    }
}

/// A column of whole numbers against a number: as integers, as decimals or, with doubles, as doubles.
fn integer_column(plain: Reading, literal: &Literal) -> Option<(Reading, Value)> {
    let (as_decimal, as_double) = match plain {
        Reading::Integer => (Reading::IntegerAsDecimal, Reading::IntegerAsDouble),
        _ => (Reading::LongAsDecimal, Reading::LongAsDouble),
    };
    match (literal, exact(literal)) {
        (Literal::Integer(value), _) => Some((plain, Value::Key(*value))),
        (_, Some((unscaled, scale))) => Some((as_decimal, Value::Decimal { unscaled, scale })),
        _ => Some((as_double, Value::Key(double_key(double(literal)?)))),
    }
}

fn exact(literal: &Literal) -> Option<(i128, u32)> {
    match literal {
        Literal::Integer(value) => Some((i128::from(*value), 0)),
        Literal::Decimal { unscaled, scale } => Some((*unscaled, *scale)),
        _ => None,
    }
}

fn double(literal: &Literal) -> Option<f64> {
    match literal {
        Literal::Integer(value) => Some(*value as f64),
        Literal::Decimal { unscaled, scale } => Some(decimal::to_double(*unscaled, *scale)),
        Literal::Float(value) => Some(f64::from(*value)),
        Literal::Double(value) => Some(*value),
        _ => None,
    }
}

fn signed_decimal(text: &str) -> Option<Literal> {
    let text = text.trim();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (unscaled, scale) = decimal::parse(digits)?;
    let unscaled = if text.starts_with('-') { -unscaled } else { unscaled };
    Some(Literal::Decimal { unscaled, scale })
}

/// Spark's words for booleans.
fn boolean(literal: &Literal) -> Option<bool> {
    match literal {
        Literal::Boolean(value) => Some(*value),
        Literal::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "t" | "true" | "y" | "yes" | "1" => Some(true),
            "f" | "false" | "n" | "no" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn unfit(found: &Found<'_>, literal: &Literal, at: usize) -> Mistake {
    let Found { name, data_type, .. } = found;
    let mend = match (data_type, literal) {
        (DataType::String, Literal::Integer(value)) => {
            format!(": write '{value}' in quotes, or{}", cast_mend("long"))
        }
        (DataType::String, Literal::Decimal { .. } | Literal::Double(_) | Literal::Float(_)) => {
            format!(": write the number in quotes, or{}", cast_mend("double"))
        }
        (DataType::String, Literal::Boolean(value)) => format!(": write '{value}' in quotes"),
        (DataType::String, Literal::Date(_)) => format!(":{}", cast_mend("date")),
        (DataType::String, Literal::Timestamp(_)) => format!(":{}", cast_mend("timestamp")),
        (DataType::Struct(fields), _) if !fields.is_empty() => {
            format!(": name a field of it, such as `{name}.{}`", fields[0].name)
        }
        (DataType::Array { .. } | DataType::Map { .. }, _) => {
            ": put the stage `flatten` before, which makes its elements columns".into()
        }
        _ => String::new(),
    };
    let literal = literal.describe();
    Mistake::new(
        at,
        format!("column `{name}` is {data_type} and cannot be compared with {literal}{mend}"),
    )
}

fn cast_mend(target: &str) -> String {
    format!(" put the stage `cast` before, with `{target}` for this column")
}

/// A column against a column.
fn between(
    left: &Found<'_>,
    comparison: Comparison,
    right: &Found<'_>,
    at: usize,
) -> Result<Predicate, Mistake> {
    if let (Some(one), Some(other)) = (boolean_column(left), boolean_column(right)) {
        let (left, right) = (Box::new(one), Box::new(other));
        return Ok(relate(comparison, |relation, null_safe| Predicate::Truths {
            left,
            right,
            relation,
            null_safe,
        }));
    }
    let (left_reading, right_reading) = shared_reading(left.data_type, right.data_type)
        .ok_or_else(|| {
            let describe = |found: &Found<'_>| format!("`{}` ({})", found.name, found.data_type);
            let (left, right) = (describe(left), describe(right));
            let message = format!("{left} cannot be compared with {right}:");
            Mistake::new(at, message + " put the stage `cast` before, to give them one type")
        })?;
    let left = Operand { path: left.path.clone(), reading: left_reading };
    let right = Operand { path: right.path.clone(), reading: right_reading };
    Ok(relate(comparison, |relation, null_safe| Predicate::Between {
        left,
        right,
        relation,
        null_safe,
    }))
}

/// How two columns are read for each other: whole numbers exactly, with a decimal as decimals, with a float or double as doubles.
fn shared_reading(left: &DataType, right: &DataType) -> Option<(Reading, Reading)> {
    let pair = (class(left)?, class(right)?);
    let read = |reader: fn(&DataType) -> Option<Reading>| Some((reader(left)?, reader(right)?));
    match pair {
        (Class::Whole, Class::Whole) => read(as_key),
        (Class::Broken, _) | (_, Class::Broken) => read(as_double),
        (Class::Exact, _) | (_, Class::Exact) => read(as_decimal),
        (Class::Text, Class::Text) => Some((Reading::Bytes, Reading::Bytes)),
        (Class::Date, Class::Date) | (Class::Timestamp, Class::Timestamp) => read(as_key),
        (Class::Date | Class::Timestamp, Class::Date | Class::Timestamp) => read(as_timestamp),
        _ => None,
    }
}

#[derive(Clone, Copy)]
enum Class {
    Whole,
    Exact,
    Broken,
    Text,
    Date,
    Timestamp,
}

fn class(data_type: &DataType) -> Option<Class> {
    match data_type {
        DataType::Integer | DataType::Long => Some(Class::Whole),
        DataType::Decimal { .. } => Some(Class::Exact),
        DataType::Float | DataType::Double => Some(Class::Broken),
        DataType::String | DataType::Binary => Some(Class::Text),
        DataType::Date => Some(Class::Date),
        DataType::Timestamp => Some(Class::Timestamp),
        _ => None,
    }
}

fn as_key(data_type: &DataType) -> Option<Reading> {
    match data_type {
        DataType::Integer | DataType::Date => Some(Reading::Integer),
        DataType::Long | DataType::Timestamp => Some(Reading::Long),
        _ => None,
    }
}

fn as_timestamp(data_type: &DataType) -> Option<Reading> {
    match data_type {
        DataType::Date => Some(Reading::DateAsTimestamp),
        DataType::Timestamp => Some(Reading::Long),
        _ => None,
    }
}

fn as_double(data_type: &DataType) -> Option<Reading> {
    match data_type {
        DataType::Integer => Some(Reading::IntegerAsDouble),
        DataType::Long => Some(Reading::LongAsDouble),
        DataType::Float => Some(Reading::Float),
        DataType::Double => Some(Reading::Double),
        DataType::Decimal { scale, .. } => {
            Some(Reading::DecimalAsDouble { scale: u32::try_from(*scale).unwrap_or(0) })
        }
        _ => None,
    }
}

fn as_decimal(data_type: &DataType) -> Option<Reading> {
    match data_type {
        DataType::Integer => Some(Reading::IntegerAsDecimal),
        DataType::Long => Some(Reading::LongAsDecimal),
        DataType::Decimal { scale, .. } => {
            Some(Reading::Decimal { scale: u32::try_from(*scale).unwrap_or(0) })
        }
        _ => None,
    }
}

/// A literal against a literal: the same for every row.
fn constants(
    comparison: Comparison,
    left: &Literal,
    right: &Literal,
    at: usize,
) -> Result<Predicate, Mistake> {
    use std::cmp::Ordering;
    if *left == Literal::Null || *right == Literal::Null {
        let both = left == right;
        let value = (comparison == Comparison::NullSafeEqual).then_some(both);
        return Ok(Predicate::Constant(value));
    }
    let ordering = match (left, right) {
        (Literal::String(left), Literal::String(right)) => left.as_bytes().cmp(right.as_bytes()),
        (Literal::Boolean(left), Literal::Boolean(right)) => left.cmp(right),
        (Literal::Date(left), Literal::Date(right)) => left.cmp(right),
        (Literal::Timestamp(left), Literal::Timestamp(right)) => left.cmp(right),
        _ => match (exact(left), exact(right), double(left), double(right)) {
            (Some((a, a_scale)), Some((b, b_scale)), ..) => {
                decimal::compare(a, a_scale, b, b_scale)
            }
            (_, _, Some(left), Some(right)) => double_key(left).cmp(&double_key(right)),
            _ => {
                let (left, right) = (left.describe(), right.describe());
                return Err(Mistake::new(at, format!("{left} cannot be compared with {right}")));
            }
        },
    };
    Ok(relate(comparison, |relation, _| {
        Predicate::Constant(Some(match relation {
            Relation::Equal => ordering == Ordering::Equal,
            Relation::Less => ordering == Ordering::Less,
            Relation::Greater => ordering == Ordering::Greater,
        }))
    }))
}
