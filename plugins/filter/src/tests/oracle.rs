//! Random conditions over random rows: the evaluator, which goes by columns, against an oracle that
//! goes by rows and follows SQL's rules word for word.
#![allow(clippy::unwrap_used)]

use std::cmp::Ordering;

use gristmill::{Batch, Column, Schema, parse_schema};
use proptest::prelude::*;

use crate::check::Checker;
use crate::evaluate::Evaluator;
use crate::sql;

/// A value as SQL sees it; `Option` around it is null.
#[derive(Debug, Clone)]
enum Scalar {
    /// In thousandths, exact.
    Exact(i128),
    Double(f64),
    Text(String),
    Boolean(bool),
}

#[derive(Debug, Clone)]
enum Tree {
    Compare(Atom, &'static str, Atom),
    In(Atom, Vec<Atom>, bool),
    IsNull(Atom, bool),
    Both(Vec<Tree>),
    Either(Vec<Tree>),
    Not(Box<Tree>),
}

/// A column by its number, or a literal with its text.
#[derive(Debug, Clone)]
enum Atom {
    Column(usize),
    Literal(String, Option<Scalar>),
}

const COLUMNS: [&str; 7] = ["i", "l", "d", "a", "s", "f", "o.s"];
const TYPES: &str =
    "i int, l long, d double, a decimal(9,2), s string, f boolean, o struct<s: string>";
const NUMBERS: [usize; 4] = [0, 1, 2, 3];
const TEXTS: [usize; 2] = [4, 6];

type Row = Vec<Option<Scalar>>;

impl Tree {
    fn text(&self) -> String {
        let join = |parts: &[Tree], word: &str| {
            parts.iter().map(|part| format!("({})", part.text())).collect::<Vec<_>>().join(word)
        };
        let not = |negated: &bool| if *negated { "not " } else { "" };
        match self {
            Tree::Compare(left, sign, right) => format!("{} {sign} {}", left.text(), right.text()),
            Tree::In(value, list, negated) => {
                let list: Vec<_> = list.iter().map(Atom::text).collect();
                format!("{} {}in ({})", value.text(), not(negated), list.join(", "))
            }
            Tree::IsNull(value, negated) => format!("{} is {}null", value.text(), not(negated)),
            Tree::Both(parts) => join(parts, " and "),
            Tree::Either(parts) => join(parts, " or "),
            Tree::Not(inner) => format!("not ({})", inner.text()),
        }
    }

    fn holds(&self, row: &Row) -> Option<bool> {
        match self {
            Tree::Compare(left, sign, right) => compare(&left.value(row), sign, &right.value(row)),
            Tree::In(value, list, negated) => {
                let value = value.value(row);
                let equals = list.iter().map(|member| compare(&value, "=", &member.value(row)));
                either(equals).map(|found| found != *negated)
            }
            Tree::IsNull(value, negated) => Some(value.value(row).is_none() != *negated),
            Tree::Both(parts) => {
                either(parts.iter().map(|part| part.holds(row).map(|held| !held))).map(|held| !held)
            }
            Tree::Either(parts) => either(parts.iter().map(|part| part.holds(row))),
            Tree::Not(inner) => inner.holds(row).map(|held| !held),
        }
    }
}

impl Atom {
    fn text(&self) -> String {
        match self {
            Atom::Column(index) => COLUMNS[*index].to_owned(),
            Atom::Literal(text, _) => text.clone(),
        }
    }

    fn value(&self, row: &Row) -> Option<Scalar> {
        match self {
            Atom::Column(index) => row[*index].clone(),
            Atom::Literal(_, value) => value.clone(),
        }
    }
}

fn either(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let parts: Vec<_> = parts.collect();
    if parts.contains(&Some(true)) {
        Some(true)
    } else if parts.contains(&None) {
        None
    } else {
        Some(false)
    }
}

fn compare(left: &Option<Scalar>, sign: &str, right: &Option<Scalar>) -> Option<bool> {
    let ordering = match (left, right) {
        (Some(left), Some(right)) => order(left, right),
        (left, right) if sign == "<=>" => return Some(left.is_none() && right.is_none()),
        _ => return None,
    };
    Some(match sign {
        "=" | "<=>" => ordering == Ordering::Equal,
        "<>" => ordering != Ordering::Equal,
        "<" => ordering == Ordering::Less,
        "<=" => ordering != Ordering::Greater,
        ">" => ordering == Ordering::Greater,
        _ => ordering != Ordering::Less,
    })
}

fn order(left: &Scalar, right: &Scalar) -> Ordering {
    match (left, right) {
        (Scalar::Exact(left), Scalar::Exact(right)) => left.cmp(right),
        (Scalar::Text(left), Scalar::Text(right)) => left.cmp(right),
        (Scalar::Boolean(left), Scalar::Boolean(right)) => left.cmp(right),
        (left, right) => {
            let (left, right) = (double(left), double(right));
            match (left.is_nan(), right.is_nan()) {
                (false, false) => left.partial_cmp(&right).unwrap(),
                (left, right) => left.cmp(&right),
            }
        }
    }
}

fn double(scalar: &Scalar) -> f64 {
    match scalar {
        Scalar::Exact(thousandths) => *thousandths as f64 / 1000.0,
        Scalar::Double(value) => *value,
        other => panic!("{other:?} is not a number"),
    }
}

fn doubles() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-4_i32..5).prop_map(|halves| f64::from(halves) / 2.0),
        1 => Just(-0.0),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(f64::NEG_INFINITY),
    ]
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![Just(""), Just("a"), Just("A"), Just("ab"), Just("ü"), Just("it's")]
        .prop_map(str::to_owned)
}

fn row() -> impl Strategy<Value = Row> {
    let whole = || prop_oneof![-3_i128..4, Just(i128::from(i32::MAX)), Just(i128::from(i32::MIN))];
    let exact = |step: i128| move |value: i128| Some(Scalar::Exact(value * step));
    let nullable =
        |scalar: BoxedStrategy<Option<Scalar>>| prop_oneof![1 => Just(None), 3 => scalar];
    let text = || texts().prop_map(|text| Some(Scalar::Text(text))).boxed();
    (
        nullable(whole().prop_map(exact(1000)).boxed()),
        nullable(whole().prop_map(exact(1000)).boxed()),
        nullable(doubles().prop_map(|value| Some(Scalar::Double(value))).boxed()),
        nullable((-250_i128..250).prop_map(exact(10)).boxed()),
        nullable(text()),
        nullable(any::<bool>().prop_map(|value| Some(Scalar::Boolean(value))).boxed()),
        nullable(text()),
    )
        .prop_map(|(i, l, d, a, s, f, o)| vec![i, l, d, a, s, f, o])
}

fn number() -> impl Strategy<Value = Atom> {
    let literal = |text: String, value| Atom::Literal(text, Some(value));
    prop_oneof![
        4 => prop::sample::select(&NUMBERS[..]).prop_map(Atom::Column),
        2 => (-3_i128..4).prop_map(move |n| literal(n.to_string(), Scalar::Exact(n * 1000))),
        2 => (-2500_i128..2500).prop_map(move |n| {
            let sign = if n < 0 { "-" } else { "" };
            let text = format!("{sign}{}.{:03}", n.abs() / 1000, n.abs() % 1000);
            literal(text, Scalar::Exact(n))
        }),
        1 => (-4_i32..5).prop_map(move |n| {
            let value = f64::from(n) / 2.0;
            literal(format!("{value}D"), Scalar::Double(value))
        }),
        1 => Just(Atom::Literal("null".into(), None)),
    ]
}

fn text() -> impl Strategy<Value = Atom> {
    prop_oneof![
        3 => prop::sample::select(&TEXTS[..]).prop_map(Atom::Column),
        3 => texts().prop_map(|text| {
            Atom::Literal(format!("'{}'", text.replace('\'', "''")), Some(Scalar::Text(text)))
        }),
        1 => Just(Atom::Literal("null".into(), None)),
    ]
}

fn boolean() -> impl Strategy<Value = Atom> {
    prop_oneof![
        2 => Just(Atom::Column(5)),
        1 => any::<bool>()
            .prop_map(|value| Atom::Literal(value.to_string(), Some(Scalar::Boolean(value)))),
    ]
}

fn predicate(atom: BoxedStrategy<Atom>) -> impl Strategy<Value = Tree> {
    let sign = prop::sample::select(&["=", "<>", "<", "<=", ">", ">=", "<=>"][..]);
    let list = prop::collection::vec(atom.clone(), 1..5);
    prop_oneof![
        4 => (atom.clone(), sign, atom.clone())
            .prop_map(|(left, sign, right)| Tree::Compare(left, sign, right)),
        2 => (atom.clone(), list, any::<bool>())
            .prop_map(|(value, list, negated)| Tree::In(value, list, negated)),
        1 => (atom, any::<bool>()).prop_map(|(value, negated)| Tree::IsNull(value, negated)),
    ]
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        3 => predicate(number().boxed()),
        3 => predicate(text().boxed()),
        1 => predicate(boolean().boxed()),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Tree::Both),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Tree::Either),
            inner.prop_map(|inner| Tree::Not(Box::new(inner))),
        ]
    })
}

fn columns(schema: &Schema, rows: &[Row]) -> Vec<Column> {
    let mut columns: Vec<Column> =
        schema.fields.iter().map(|field| Column::new(&field.data_type)).collect();
    for row in rows {
        for (index, (column, value)) in columns.iter_mut().zip(row).enumerate() {
            // A null text is now a null member, now a null struct.
            if index == 6 && (value.is_some() || matches!(row[5], Some(Scalar::Boolean(true)))) {
                push(&mut column.children_mut()[0], 4, value);
                column.push_struct();
            } else {
                push(column, index, value);
            }
        }
    }
    columns
}

fn push(column: &mut Column, index: usize, value: &Option<Scalar>) {
    match (index, value) {
        (_, None) => column.push_null(),
        (0, Some(Scalar::Exact(value))) => column.push_integer((value / 1000) as i32),
        (1, Some(Scalar::Exact(value))) => column.push_long((value / 1000) as i64),
        (_, Some(Scalar::Exact(value))) => column.push_decimal(value / 10),
        (_, Some(Scalar::Double(value))) => column.push_double(*value),
        (_, Some(Scalar::Text(text))) => column.push_str(text),
        (_, Some(Scalar::Boolean(value))) => column.push_boolean(*value),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn columns_and_rows_agree(tree in tree(), rows in prop::collection::vec(row(), 0..40)) {
        let schema = parse_schema(TYPES).unwrap();
        let text = tree.text();
        let expression = sql::parse(&text).unwrap_or_else(|why| panic!("{text}: {why}"));
        let mut checker = Checker::new(&schema);
        let predicate = checker.condition(&expression);
        let predicate = predicate.unwrap_or_else(|why| panic!("{text}: {why}"));

        let mut columns = columns(&schema, &rows);
        let views: Vec<_> = columns.iter_mut().map(Column::view).collect();
        let reads = checker.columns.reads();
        let sent = reads.iter().map(|name| views[schema.index_of(name).unwrap()].clone());
        let batch = Batch { row_count: rows.len(), columns: sent.collect() };
        let mut kept = Vec::new();
        let mut evaluator = Evaluator::default();
        evaluator.push_kept_rows(&predicate, &batch, &mut kept);

        let held = |row: &Row| tree.holds(row) == Some(true);
        let expected: Vec<u32> =
            (0..).zip(&rows).filter(|(_, row)| held(row)).map(|(index, _)| index).collect();
        prop_assert_eq!(kept, expected, "{}", text);
    }

    #[test]
    fn no_text_panics(text in "[a-z0-9 ()'\"`.,<>=!%_-]{0,40}|\\PC{0,20}") {
        let schema = parse_schema(TYPES).unwrap();
        if let Ok(expression) = sql::parse(&text) {
            let _ = Checker::new(&schema).condition(&expression);
        }
    }
}
