//! What an expression means over given columns: names are looked up, literals fitted to the type
//! they are compared with.
//!
//! Types follow Spark where its dialects agree. Where they do not (a text compared with a number is
//! a cast that may fail) the pipeline is refused with the mend, rather than dropping rows whose
//! text is no number.

use std::cmp::Ordering;

use gristmill::{DataType, Schema};

use crate::against::{against, cast_mend, double, exact, one_of};
use crate::between::between;
use crate::columns::{Columns, Found};
use crate::decimal;
use crate::like::Pattern;
use crate::predicate::{Predicate, Relation, double_key};
use crate::sql::{Comparison, Expression, Kind, Literal, Mistake};

/// Turns expressions into predicates and collects the columns they read.
pub struct Checker<'a> {
    pub columns: Columns<'a>,
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
        Self { columns: Columns::new(schema) }
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
                let found = self.columns.find(parts, at)?;
                found.as_condition().ok_or_else(|| {
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
            Kind::Column(parts) => Side::Column(self.columns.find(parts, expression.at)?),
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
            let found = self.columns.find(parts, value.at)?;
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
                Ok(Predicate::relate(comparison, |relation, null_safe| Predicate::Truths {
                    left,
                    right,
                    relation,
                    null_safe,
                }))
            }
        }
    }
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
        Side::Column(found) => found.as_condition().ok_or_else(|| {
            let Found { name, data_type, .. } = found;
            Mistake::new(
                at,
                format!("`{name}` is {data_type} and cannot be compared with a condition"),
            )
        }),
    }
}

/// A literal against a literal: the same for every row.
fn constants(
    comparison: Comparison,
    left: &Literal,
    right: &Literal,
    at: usize,
) -> Result<Predicate, Mistake> {
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
    Ok(Predicate::relate(comparison, |relation, _| {
        Predicate::Constant(Some(match relation {
            Relation::Equal => ordering == Ordering::Equal,
            Relation::Less => ordering == Ordering::Less,
            Relation::Greater => ordering == Ordering::Greater,
        }))
    }))
}
