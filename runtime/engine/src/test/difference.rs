//! Expected rows and those that came, side by side.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use super::meets::meets;
use super::rows::Columns;

/// Longer lists are compared row by row; aligning them would take too long.
const ALIGNED_PAIRS_MAX: usize = 1_000_000;
/// Differences of one list that are told.
const TOLD_MAX: usize = 20;
/// A longer value is cut in the text; the JSON document has all of it.
const VALUE_CHARS_MAX: usize = 300;

type Row = Map<String, Value>;

/// One thing that is not as a test expects it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    pub what: What,
    /// ``sink `lake` ``, `dead letters`, `pipeline`.
    pub place: String,
    /// From 1: of the rows that came, for a missing one of those expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub got: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The pipeline stops, or should have.
    Stop,
    RowCount,
    MissingRow,
    UnexpectedRow,
    Value,
    /// The test names a column that is not there; `got` lists those that are.
    NoColumn,
    /// So many more that are not listed.
    More,
}

impl Difference {
    fn new(what: What, place: &str) -> Difference {
        let place = place.to_string();
        Difference { what, place, row: None, column: None, expected: None, got: None }
    }

    pub(super) fn stopped(expected: Option<&str>, got: Option<&str>) -> Difference {
        Difference {
            expected: expected.map(Value::from),
            got: got.map(Value::from),
            ..Difference::new(What::Stop, "pipeline")
        }
    }
}

/// All differences between the rows that a test expects and those that came. Rows stand in order; of a row only the
/// columns given count.
pub(super) fn between(
    place: &str,
    columns: &Columns,
    expected: &[Value],
    got: &[Row],
) -> Vec<Difference> {
    let unknown = unknown_columns(place, columns, expected);
    if !unknown.is_empty() {
        return unknown;
    }
    let expected: Vec<Row> = expected.iter().filter_map(|row| row.as_object().cloned()).collect();
    let mut found = Vec::new();
    if expected.len() != got.len() {
        found.push(Difference {
            expected: Some(expected.len().into()),
            got: Some(got.len().into()),
            ..Difference::new(What::RowCount, place)
        });
    }
    for gap in gaps(columns, &expected, got) {
        found.extend(gap_differences(place, columns, &expected, got, gap));
    }
    if found.len() > TOLD_MAX {
        let more = found.len() - TOLD_MAX;
        found.truncate(TOLD_MAX);
        found.push(Difference { got: Some(more.into()), ..Difference::new(What::More, place) });
    }
    found
}

fn unknown_columns(place: &str, columns: &Columns, expected: &[Value]) -> Vec<Difference> {
    let mut found: Vec<Difference> = Vec::new();
    for name in expected.iter().filter_map(Value::as_object).flat_map(Map::keys) {
        let told = found.iter().any(|known| known.column.as_ref() == Some(name));
        if columns.get(name).is_none() && !told {
            let there: Vec<&str> = columns.0.iter().map(|column| column.name.as_str()).collect();
            found.push(Difference {
                column: Some(name.clone()),
                got: Some(there.into()),
                ..Difference::new(What::NoColumn, place)
            });
        }
    }
    found
}

fn row_meets(columns: &Columns, expected: &Row, got: &Row) -> bool {
    expected.iter().all(|(name, value)| {
        let column = columns.get(name).zip(got.get(name));
        column.is_some_and(|(column, got)| meets(value, got, &column.kind))
    })
}

/// A stretch of rows between two that are right: beginnings and lengths in the expected rows and in those that came.
#[derive(Debug, PartialEq, Eq)]
struct Gap {
    expected: std::ops::Range<usize>,
    got: std::ops::Range<usize>,
}

/// Aligns both lists by their longest common subsequence.
fn gaps(columns: &Columns, expected: &[Row], got: &[Row]) -> Vec<Gap> {
    let (rows, others) = (expected.len(), got.len());
    if rows.saturating_mul(others) > ALIGNED_PAIRS_MAX {
        return (0..rows.max(others))
            .filter(|row| match (expected.get(*row), got.get(*row)) {
                (Some(expected), Some(got)) => !row_meets(columns, expected, got),
                _ => true,
            })
            .map(|row| Gap {
                expected: row.min(rows)..(row + 1).min(rows),
                got: row.min(others)..(row + 1).min(others),
            })
            .collect();
    }
    let same: Vec<Vec<bool>> = expected
        .iter()
        .map(|expected| got.iter().map(|got| row_meets(columns, expected, got)).collect())
        .collect();
    // Longest common subsequence of the rows from (i, j) on.
    let mut longest = vec![vec![0_u32; others + 1]; rows + 1];
    for i in (0..rows).rev() {
        for j in (0..others).rev() {
            longest[i][j] = match same[i][j] {
                true => longest[i + 1][j + 1] + 1,
                false => longest[i + 1][j].max(longest[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut begin, mut gaps) = (0, 0, (0, 0), Vec::new());
    while i < rows || j < others {
        if i < rows && j < others && same[i][j] {
            gaps.push(Gap { expected: begin.0..i, got: begin.1..j });
            (i, j) = (i + 1, j + 1);
            begin = (i, j);
        } else if j == others || i < rows && longest[i + 1][j] >= longest[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    gaps.push(Gap { expected: begin.0..i, got: begin.1..j });
    gaps.retain(|gap| !gap.expected.is_empty() || !gap.got.is_empty());
    gaps
}

/// Rows of a gap are compared in pairs; what is left over is missing or unexpected.
fn gap_differences(
    place: &str,
    columns: &Columns,
    expected: &[Row],
    got: &[Row],
    gap: Gap,
) -> Vec<Difference> {
    let mut found = Vec::new();
    let pairs = gap.expected.len().min(gap.got.len());
    for pair in 0..pairs {
        let (expected, row) = (&expected[gap.expected.start + pair], gap.got.start + pair);
        found.extend(value_differences(place, columns, expected, &got[row], row + 1));
    }
    for row in gap.expected.skip(pairs) {
        found.push(Difference {
            row: Some(row + 1),
            expected: Some(expected[row].clone().into()),
            ..Difference::new(What::MissingRow, place)
        });
    }
    for row in gap.got.skip(pairs) {
        found.push(Difference {
            row: Some(row + 1),
            got: Some(got[row].clone().into()),
            ..Difference::new(What::UnexpectedRow, place)
        });
    }
    found
}

fn value_differences(
    place: &str,
    columns: &Columns,
    expected: &Row,
    got: &Row,
    row: usize,
) -> Vec<Difference> {
    let differs = |(name, value): &(&String, &Value)| {
        let column = columns.get(name).zip(got.get(name.as_str()));
        !column.is_some_and(|(column, got)| meets(value, got, &column.kind))
    };
    let difference = |(name, value): (&String, &Value)| Difference {
        row: Some(row),
        column: Some(name.clone()),
        expected: Some(value.clone()),
        got: Some(got.get(name).cloned().unwrap_or(Value::Null)),
        ..Difference::new(What::Value, place)
    };
    expected.iter().filter(differs).map(difference).collect()
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, row) = (&self.place, self.row.unwrap_or(0));
        let column = self.column.as_deref().unwrap_or_default();
        let (expected, got) = (shown(self.expected.as_ref()), shown(self.got.as_ref()));
        match self.what {
            What::Stop => match (&self.expected, &self.got) {
                (None, _) => write!(f, "the pipeline stops: {}", plain(self.got.as_ref())),
                (_, None) => write!(f, "the pipeline does not stop, expected {expected}"),
                _ => write!(f, "the pipeline stops with {got}, expected {expected} in it"),
            },
            What::RowCount => write!(f, "{place}: {expected} expected, {got} came"),
            What::MissingRow => write!(f, "{place}: expected row {row} did not come: {expected}"),
            What::UnexpectedRow => write!(f, "{place}: row {row} is not expected: {got}"),
            What::Value => {
                write!(f, "{place}, row {row}, column `{column}`: expected {expected}, got {got}")
            }
            What::NoColumn => write!(f, "{place} has no column `{column}`, it has {got}"),
            What::More => write!(f, "{place}: and {got} differences more"),
        }
    }
}

fn shown(value: Option<&Value>) -> String {
    cut(value.map_or_else(String::new, Value::to_string))
}

fn plain(value: Option<&Value>) -> String {
    cut(value.and_then(Value::as_str).unwrap_or_default().to_string())
}

fn cut(text: String) -> String {
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::test::rows::{Column, Kind};

    use arrow_schema::DataType;
    use serde_json::json;

    fn told(expected: Value, got: Value) -> Vec<String> {
        let long = |name: &str| Column { name: name.into(), kind: Kind::Value(DataType::Int64) };
        let columns = Columns(vec![long("a"), long("b")]);
        let got: Vec<Row> =
            got.as_array().unwrap().iter().map(|row| row.as_object().unwrap().clone()).collect();
        let found = between("sink `s`", &columns, expected.as_array().unwrap(), &got);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn rows_that_are_as_expected_have_no_difference() {
        let rows = json!([{ "a": 1, "b": 5 }, { "a": 2, "b": null }]);
        assert!(told(json!([{ "a": 1 }, { "a": 2 }]), rows.clone()).is_empty());
        assert!(told(json!([{}, {}]), rows).is_empty());
        assert!(told(json!([]), json!([])).is_empty());
    }

    #[test]
    fn a_wrong_value_is_told_with_its_row_and_column() {
        let rows = json!([{ "a": 1, "b": 5 }, { "a": 2, "b": null }]);
        assert_eq!(
            told(json!([{ "a": 1 }, { "a": 2, "b": 7 }]), rows),
            ["sink `s`, row 2, column `b`: expected 7, got null"]
        );
    }

    #[test]
    fn a_row_too_many_in_the_middle_leaves_the_others_alone() {
        let rows = json!([{ "a": 1 }, { "a": 9 }, { "a": 2 }, { "a": 3 }]);
        assert_eq!(
            told(json!([{ "a": 1 }, { "a": 2 }, { "a": 3 }]), rows),
            ["sink `s`: 3 expected, 4 came", r#"sink `s`: row 2 is not expected: {"a":9}"#]
        );
    }

    #[test]
    fn rows_in_another_order_are_told() {
        let found = told(json!([{ "a": 1 }, { "a": 2 }]), json!([{ "a": 2 }, { "a": 1 }]));
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn a_missing_row_is_told_by_its_number_among_the_expected() {
        assert_eq!(
            told(json!([{ "a": 1 }, { "a": 2 }]), json!([{ "a": 1 }])),
            ["sink `s`: 2 expected, 1 came", r#"sink `s`: expected row 2 did not come: {"a":2}"#]
        );
    }

    #[test]
    fn a_column_that_is_not_there_is_told_with_those_that_are() {
        assert_eq!(
            told(json!([{ "c": 1 }]), json!([])),
            [r#"sink `s` has no column `c`, it has ["a","b"]"#]
        );
    }

    #[test]
    fn many_differences_are_cut_short_and_long_lists_compared_row_by_row() {
        let rows =
            |first: i64| (first..first + 1_100).map(|a| json!({ "a": a })).collect::<Value>();
        let found = told(rows(0), rows(5_000));
        assert_eq!(found.len(), TOLD_MAX + 1);
        assert_eq!(found[TOLD_MAX], "sink `s`: and 1080 differences more");
        assert!(told(rows(7), rows(7)).is_empty());
    }
}
