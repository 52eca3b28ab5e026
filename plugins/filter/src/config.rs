//! The stage's configuration: either one column with its conditions, or a `where` text.

use gristmill::serde::Deserialize;
use gristmill::serde_json::{Value, from_str};
use gristmill::{DataType, Error, Schema};

use crate::against::{against, one_of};
use crate::check::Checker;
use crate::columns::Found;
use crate::predicate::Predicate;
use crate::sql::{self, Comparison, Literal, Mistake};

/// The `with` table of the pipeline file. The table in the crate's documentation says what each key
/// means.
#[derive(Debug, Default, Deserialize)]
#[serde(crate = "gristmill::serde", default)]
pub struct Config {
    column: Option<String>,
    equals: Option<Value>,
    not_equals: Option<Value>,
    r#in: Option<Vec<Value>>,
    not_in: Option<Vec<Value>>,
    less_than: Option<Value>,
    at_most: Option<Value>,
    greater_than: Option<Value>,
    at_least: Option<Value>,
    is_null: Option<bool>,
    is_not_null: Option<bool>,
    ignore_case: bool,
    not: bool,
    r#where: Option<String>,
}

impl Config {
    /// The condition for rows to be kept, and the names of the columns it reads.
    pub fn predicate(&self, schema: &Schema) -> Result<(Predicate, Vec<String>), Error> {
        let mut checker = Checker::new(schema);
        let predicate = match (&self.column, &self.r#where) {
            (None, Some(text)) => self.written(text, &mut checker)?,
            (Some(column), None) => self.listed(column, &mut checker)?,
            (Some(_), Some(_)) => {
                return Err(Error::config(
                    "where",
                    "takes the place of `column`: keep one of them",
                ));
            }
            (None, None) => {
                let example = "{ column = \"city\", equals = \"Chicago\" }";
                let message =
                    format!("name a `column` with a condition, as in {example}, or a `where`");
                return Err(Error::new(message));
            }
        };
        let predicate = if self.not { predicate.negated() } else { predicate };
        Ok((predicate, checker.columns.reads()))
    }

    /// `where = "…"`
    fn written(&self, text: &str, checker: &mut Checker<'_>) -> Result<Predicate, Error> {
        if let Some(key) = self.condition_keys().first() {
            let message =
                format!("belongs to a `column`: put the condition into `where` or leave {key} out");
            return Err(Error::config(key, message));
        }
        if self.ignore_case {
            let message = "goes with a `column`: in `where` use `ilike`, which ignores case";
            return Err(Error::config("ignore_case", message));
        }
        let mistake = |mistake| Error::config("where", mistake);
        let expression = sql::parse(text).map_err(mistake)?;
        checker.condition(&expression).map_err(mistake)
    }

    /// `column = "…"` and its conditions, all of which must hold.
    fn listed(&self, column: &str, checker: &mut Checker<'_>) -> Result<Predicate, Error> {
        let found =
            checker.columns.find_named(column).map_err(|why| Error::config("column", why))?;
        let mut parts = Vec::new();
        for (key, comparison, value) in self.comparisons() {
            let compared = literal(&found, value)
                .and_then(|literal| against(&found, comparison, &literal, 0, self.ignore_case));
            parts.push(compared.map_err(|why| Error::config(key, why))?);
        }
        for (key, list, negated) in [("in", &self.r#in, false), ("not_in", &self.not_in, true)] {
            if let Some(list) = list {
                let member = self.member(&found, list).map_err(|why| Error::config(key, why))?;
                parts.push(if negated { member.negated() } else { member });
            }
        }
        for (flag, of_null) in [(self.is_null, true), (self.is_not_null, false)] {
            if let Some(flag) = flag {
                let is_null = Predicate::IsNull(found.path.clone());
                parts.push(if flag == of_null { is_null } else { is_null.negated() });
            }
        }
        if parts.is_empty() {
            let message = format!("says nothing of `{column}`: add a condition, such as `equals`");
            return Err(Error::config("column", message));
        }
        if self.ignore_case && *found.data_type != DataType::String {
            let message = format!("column `{column}` is {} and has no case", found.data_type);
            return Err(Error::config("ignore_case", message));
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Predicate::And(parts) })
    }

    fn comparisons(&self) -> impl Iterator<Item = (&'static str, Comparison, &Value)> {
        let all = [
            ("equals", Comparison::Equal, &self.equals),
            ("not_equals", Comparison::NotEqual, &self.not_equals),
            ("less_than", Comparison::Less, &self.less_than),
            ("at_most", Comparison::LessOrEqual, &self.at_most),
            ("greater_than", Comparison::Greater, &self.greater_than),
            ("at_least", Comparison::GreaterOrEqual, &self.at_least),
        ];
        all.into_iter()
            .filter_map(|(key, comparison, value)| Some((key, comparison, value.as_ref()?)))
    }

    fn condition_keys(&self) -> Vec<&'static str> {
        let others = [
            ("in", self.r#in.is_some()),
            ("not_in", self.not_in.is_some()),
            ("is_null", self.is_null.is_some()),
            ("is_not_null", self.is_not_null.is_some()),
        ];
        let others = others.into_iter().filter_map(|(key, given)| given.then_some(key));
        self.comparisons().map(|(key, ..)| key).chain(others).collect()
    }

    fn member(&self, found: &Found<'_>, list: &[Value]) -> Result<Predicate, Mistake> {
        if list.is_empty() {
            return Err(Mistake::new(0, "an empty list fits no row: name at least one value"));
        }
        let literals = list.iter().map(|value| Ok((literal(found, value)?, 0)));
        one_of(found, literals.collect::<Result<_, _>>()?, self.ignore_case)
    }
}

/// A value of the configuration. On a float column a number is a float, so that what prints as
/// 299.98 equals 299.98.
fn literal(found: &Found<'_>, value: &Value) -> Result<Literal, Mistake> {
    match value {
        Value::Bool(value) => Ok(Literal::Boolean(*value)),
        Value::String(text) => Ok(Literal::String(text.clone())),
        Value::Number(number) => Ok(match (number.as_i64(), number.as_f64()) {
            (_, Some(value)) if *found.data_type == DataType::Float => Literal::Float(value as f32),
            (Some(value), _) => Literal::Integer(value),
            _ => exact_number(&number.to_string()),
        }),
        _ => Err(Mistake::new(0, "must be a text, a number or a boolean")),
    }
}

/// `19.99` is the decimal, not the double next to it, so that it equals a decimal column's 19.99.
fn exact_number(text: &str) -> Literal {
    let digits = text.strip_prefix('-').unwrap_or(text);
    match crate::decimal::parse(digits) {
        Some((unscaled, scale)) => {
            let unscaled = if digits.len() < text.len() { -unscaled } else { unscaled };
            Literal::Decimal { unscaled, scale }
        }
        None => Literal::Double(text.parse().unwrap_or(f64::NAN)),
    }
}

/// JSON Schema of the configuration, for editors.
pub fn schema() -> Value {
    // A test holds the file to be JSON; without it editors would only lose their hints.
    from_str(include_str!("config.schema.json")).unwrap_or_default()
}
