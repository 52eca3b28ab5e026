//! Evaluates a predicate over a batch, one column at a time: each node makes a byte per row (see
//! `truth.rs`), so that no loop over rows looks at the shape of the condition.

use std::cmp::Ordering;

use gristmill::{Batch, ColumnView};

use crate::decimal;
use crate::letter_case;
use crate::predicate::{ColumnPath, Operand, Predicate, Reading, Relation, Set, Value, double_key};
use crate::truth::{self, FALSE, TRUE, UNKNOWN};

/// Memory for evaluating, kept from batch to batch.
#[derive(Debug, Default)]
pub struct Evaluator {
    /// Vectors that are not in use.
    spare: Vec<Vec<u8>>,
    left_keys: Vec<i64>,
    right_keys: Vec<i64>,
    folded: String,
}

impl Evaluator {
    /// Appends to `rows` the numbers of the rows for which the predicate is true.
    pub fn push_kept_rows(
        &mut self,
        predicate: &Predicate,
        batch: &Batch<'_>,
        rows: &mut Vec<u32>,
    ) {
        let truths = self.truths(predicate, batch);
        truth::push_true_rows(&truths, rows);
        self.spare.push(truths);
    }

    /// One truth value per row.
    fn truths(&mut self, predicate: &Predicate, batch: &Batch<'_>) -> Vec<u8> {
        match predicate {
            Predicate::Constant(value) => self.filled(truth::of(*value), batch),
            Predicate::Boolean(path) => {
                let mut truths = self.filled(FALSE, batch);
                let bits = leaf(batch, path).boolean_bits();
                for (row, truth) in truths.iter_mut().enumerate() {
                    *truth = truth::of_known(bits[row / 8] >> (row % 8) & 1 == 1);
                }
                mark_nulls(&mut truths, batch, path, UNKNOWN);
                truths
            }
            Predicate::IsNull(path) => {
                let mut truths = self.filled(FALSE, batch);
                mark_nulls(&mut truths, batch, path, TRUE);
                truths
            }
            Predicate::IsUnknown(inner) => {
                let mut truths = self.truths(inner, batch);
                for truth in &mut truths {
                    *truth = truth::of_known(*truth == UNKNOWN);
                }
                truths
            }
            Predicate::And(parts) => self.fold(parts, batch, TRUE, truth::and),
            Predicate::Or(parts) => self.fold(parts, batch, FALSE, truth::or),
            Predicate::Not(inner) => {
                let mut truths = self.truths(inner, batch);
                truth::not(&mut truths);
                truths
            }
            Predicate::Against { operand, relation, null_safe, value } => {
                let mut truths = self.filled(FALSE, batch);
                self.against(operand, *relation, value, batch, &mut truths);
                let of_null = if *null_safe { FALSE } else { UNKNOWN };
                mark_nulls(&mut truths, batch, &operand.path, of_null);
                truths
            }
            Predicate::Between { left, right, relation, null_safe } => {
                self.between(left, right, *relation, *null_safe, batch)
            }
            Predicate::Truths { left, right, relation, null_safe } => {
                let mut left = self.truths(left, batch);
                let right = self.truths(right, batch);
                compare_truths(&mut left, &right, *relation, *null_safe);
                self.spare.push(right);
                left
            }
            Predicate::OneOf { operand, set } => {
                let mut truths = self.filled(FALSE, batch);
                self.one_of(operand, set, batch, &mut truths);
                mark_nulls(&mut truths, batch, &operand.path, UNKNOWN);
                truths
            }
            Predicate::Like { column, pattern } => {
                let mut truths = self.filled(FALSE, batch);
                let texts = leaf(batch, column);
                for (row, truth) in truths.iter_mut().enumerate() {
                    let mut text = texts.str_at(row);
                    if pattern.ignore_case {
                        letter_case::fold_into(text, &mut self.folded);
                        text = &self.folded;
                    }
                    *truth = truth::of_known(pattern.matches(text));
                }
                mark_nulls(&mut truths, batch, column, UNKNOWN);
                truths
            }
        }
    }

    fn filled(&mut self, value: u8, batch: &Batch<'_>) -> Vec<u8> {
        let mut truths = self.spare.pop().unwrap_or_default();
        truths.clear();
        truths.resize(batch.row_count, value);
        truths
    }

    fn fold(
        &mut self,
        parts: &[Predicate],
        batch: &Batch<'_>,
        neutral: u8,
        combine: fn(&mut [u8], &[u8]),
    ) -> Vec<u8> {
        let Some((first, rest)) = parts.split_first() else { return self.filled(neutral, batch) };
        let mut truths = self.truths(first, batch);
        for part in rest {
            let others = self.truths(part, batch);
            combine(&mut truths, &others);
            self.spare.push(others);
        }
        truths
    }

    fn against(
        &mut self,
        operand: &Operand,
        relation: Relation,
        value: &Value,
        batch: &Batch<'_>,
        truths: &mut [u8],
    ) {
        let column = leaf(batch, &operand.path);
        match (value, operand.reading) {
            (Value::Key(key), reading) => {
                let keys = keys(reading, column, &mut self.left_keys);
                match relation {
                    Relation::Equal => fill(truths, keys, |of_row| of_row == key),
                    Relation::Less => fill(truths, keys, |of_row| of_row < key),
                    Relation::Greater => fill(truths, keys, |of_row| of_row > key),
                }
            }
            (Value::Decimal { unscaled, scale }, reading) => {
                for (row, truth) in truths.iter_mut().enumerate() {
                    let (of_row, row_scale) = decimal_at(reading, column, row);
                    let ordering = decimal::compare(of_row, row_scale, *unscaled, *scale);
                    *truth = truth::of_known(holds(relation, ordering));
                }
            }
            (Value::Bytes(folded), Reading::LowerCase) => {
                // A literal in lower case comes from a text, so it is UTF-8.
                let folded = std::str::from_utf8(folded).unwrap_or_default();
                for (row, truth) in truths.iter_mut().enumerate() {
                    *truth =
                        truth::of_known(self.folded_holds(column.str_at(row), folded, relation));
                }
            }
            (Value::Bytes(bytes), _) => match relation {
                Relation::Equal => fill_bytes(truths, column, |of_row| of_row == bytes),
                Relation::Less => fill_bytes(truths, column, |of_row| of_row < bytes.as_slice()),
                Relation::Greater => fill_bytes(truths, column, |of_row| of_row > bytes.as_slice()),
            },
        }
    }

    fn folded_holds(&mut self, text: &str, folded: &str, relation: Relation) -> bool {
        if relation == Relation::Equal {
            return letter_case::equals_folded(text, folded, &mut self.folded);
        }
        letter_case::fold_into(text, &mut self.folded);
        holds(relation, self.folded.as_str().cmp(folded))
    }

    fn one_of(&mut self, operand: &Operand, set: &Set, batch: &Batch<'_>, truths: &mut [u8]) {
        let column = leaf(batch, &operand.path);
        match (set, operand.reading) {
            (Set::Keys(set), reading) => {
                let keys = keys(reading, column, &mut self.left_keys);
                fill(truths, keys, |key| set.binary_search(key).is_ok());
            }
            (Set::Bytes(set), Reading::LowerCase) => {
                for (row, truth) in truths.iter_mut().enumerate() {
                    letter_case::fold_into(column.str_at(row), &mut self.folded);
                    *truth = truth::of_known(contains(set, self.folded.as_bytes()));
                }
            }
            (Set::Bytes(set), _) => fill_bytes(truths, column, |bytes| contains(set, bytes)),
        }
    }

    fn between(
        &mut self,
        left: &Operand,
        right: &Operand,
        relation: Relation,
        null_safe: bool,
        batch: &Batch<'_>,
    ) -> Vec<u8> {
        let mut truths = self.filled(FALSE, batch);
        let (left_column, right_column) = (leaf(batch, &left.path), leaf(batch, &right.path));
        match (left.reading, right.reading) {
            (Reading::Bytes | Reading::LowerCase, _) => {
                for (row, truth) in truths.iter_mut().enumerate() {
                    let ordering = left_column.bytes_at(row).cmp(right_column.bytes_at(row));
                    *truth = truth::of_known(holds(relation, ordering));
                }
            }
            (reading, _) if is_decimal(reading) => {
                for (row, truth) in truths.iter_mut().enumerate() {
                    let (one, one_scale) = decimal_at(reading, left_column, row);
                    let (other, other_scale) = decimal_at(right.reading, right_column, row);
                    let ordering = decimal::compare(one, one_scale, other, other_scale);
                    *truth = truth::of_known(holds(relation, ordering));
                }
            }
            (reading, _) => {
                let left_keys = keys(reading, left_column, &mut self.left_keys);
                let right_keys = keys(right.reading, right_column, &mut self.right_keys);
                let pairs = left_keys.iter().zip(right_keys);
                for (truth, (left, right)) in truths.iter_mut().zip(pairs) {
                    *truth = truth::of_known(holds(relation, left.cmp(right)));
                }
            }
        }
        self.mark_nulls_of_both(&mut truths, batch, &left.path, &right.path, null_safe);
        truths
    }

    fn mark_nulls_of_both(
        &mut self,
        truths: &mut [u8],
        batch: &Batch<'_>,
        left: &ColumnPath,
        right: &ColumnPath,
        null_safe: bool,
    ) {
        if !null_safe {
            mark_nulls(truths, batch, left, UNKNOWN);
            return mark_nulls(truths, batch, right, UNKNOWN);
        }
        let mut left_null = self.filled(FALSE, batch);
        mark_nulls(&mut left_null, batch, left, TRUE);
        let mut right_null = self.filled(FALSE, batch);
        mark_nulls(&mut right_null, batch, right, TRUE);
        for (truth, nulls) in truths.iter_mut().zip(left_null.iter().zip(&right_null)) {
            match nulls {
                (&FALSE, &FALSE) => {}
                (left, right) => *truth = truth::of_known(left == right),
            }
        }
        self.spare.extend([left_null, right_null]);
    }
}

/// The column, or the struct member, at the end of a path.
fn leaf<'b, 'a>(batch: &'b Batch<'a>, path: &ColumnPath) -> &'b ColumnView<'a> {
    let members = path.members.iter();
    members.fold(batch.column(path.column), |column, &member| &column.children()[member])
}

/// Writes `value` into every row where the column or a struct around it is null.
fn mark_nulls(truths: &mut [u8], batch: &Batch<'_>, path: &ColumnPath, value: u8) {
    let mut column = batch.column(path.column);
    truth::mark_nulls(truths, column, value);
    for &member in &path.members {
        column = &column.children()[member];
        truth::mark_nulls(truths, column, value);
    }
}

/// The values of a column as 64-bit keys of the same order; those of null rows are anything.
fn keys<'k>(reading: Reading, column: &ColumnView<'k>, keys: &'k mut Vec<i64>) -> &'k [i64] {
    keys.clear();
    match reading {
        Reading::Long => return column.longs(),
        Reading::Integer => keys.extend(column.integers().iter().map(|&value| i64::from(value))),
        Reading::DateAsTimestamp => {
            keys.extend(column.integers().iter().map(|&days| crate::datetime::midnight_us(days)));
        }
        Reading::Float => {
            keys.extend(column.floats().iter().map(|&value| double_key(f64::from(value))));
        }
        Reading::Double => keys.extend(column.doubles().iter().map(|&value| double_key(value))),
        Reading::IntegerAsDouble => {
            keys.extend(column.integers().iter().map(|&value| double_key(f64::from(value))));
        }
        Reading::LongAsDouble => {
            keys.extend(column.longs().iter().map(|&value| double_key(value as f64)));
        }
        Reading::DecimalAsDouble { scale } => {
            let values = (0..column.len()).map(|row| column.decimal(row));
            keys.extend(values.map(|unscaled| double_key(decimal::to_double(unscaled, scale))));
        }
        Reading::Decimal { .. }
        | Reading::IntegerAsDecimal
        | Reading::LongAsDecimal
        | Reading::Bytes
        | Reading::LowerCase => unreachable!("{reading:?} has no keys"),
    }
    keys
}

fn is_decimal(reading: Reading) -> bool {
    matches!(reading, Reading::Decimal { .. } | Reading::IntegerAsDecimal | Reading::LongAsDecimal)
}

fn decimal_at(reading: Reading, column: &ColumnView<'_>, row: usize) -> (i128, u32) {
    match reading {
        Reading::Decimal { scale } => (column.decimal(row), scale),
        Reading::IntegerAsDecimal => (i128::from(column.integers()[row]), 0),
        Reading::LongAsDecimal => (i128::from(column.longs()[row]), 0),
        _ => unreachable!("{reading:?} is not a decimal"),
    }
}

fn holds(relation: Relation, ordering: Ordering) -> bool {
    match relation {
        Relation::Equal => ordering == Ordering::Equal,
        Relation::Less => ordering == Ordering::Less,
        Relation::Greater => ordering == Ordering::Greater,
    }
}

#[inline(always)]
fn fill(truths: &mut [u8], keys: &[i64], test: impl Fn(&i64) -> bool) {
    for (truth, key) in truths.iter_mut().zip(keys) {
        *truth = truth::of_known(test(key));
    }
}

/// The loop of the most common filter of all, a text that equals a constant.
#[inline(always)]
fn fill_bytes(truths: &mut [u8], column: &ColumnView<'_>, test: impl Fn(&[u8]) -> bool) {
    let values = column.value_bytes();
    for (truth, ends) in truths.iter_mut().zip(column.offsets().windows(2)) {
        *truth = truth::of_known(test(&values[ends[0] as usize..ends[1] as usize]));
    }
}

fn contains(set: &[Vec<u8>], bytes: &[u8]) -> bool {
    set.binary_search_by(|member| member.as_slice().cmp(bytes)).is_ok()
}

fn compare_truths(left: &mut [u8], right: &[u8], relation: Relation, null_safe: bool) {
    for (left, right) in left.iter_mut().zip(right) {
        *left = match (*left, *right) {
            (left, right) if null_safe => truth::of_known(left == right),
            (UNKNOWN, _) | (_, UNKNOWN) => UNKNOWN,
            (left, right) => truth::of_known(holds(relation, left.cmp(&right))),
        };
    }
}
