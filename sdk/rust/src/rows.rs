//! The level of rows, for comfort: a stage is one function over one row.
//!
//! ```
//! use gristmill::Row;
//!
//! #[gristmill::stage(reads = ["city"])]
//! fn keep(row: Row) -> bool {
//!     row.str("city") == Some("Chicago")
//! }
//! # fn main() {}
//! ```
//!
//! What the function returns says what the stage does ([`Answer`]): a `bool` keeps or drops the
//! row, a struct with `#[derive(gristmill::Row)]` adds its members as columns, an `Option` does
//! that or drops the row, a `Vec` or an `impl Iterator` gives any number of rows, and an `Err`
//! refuses the row with a reason. Every column that is not made anew is carried.
//!
//! A second parameter is the configuration: `config: &Config`, any struct with
//! `serde::Deserialize`.

mod answer;
mod cell;
mod config_schema;
mod row_stage;

use std::cell::RefCell;

pub use answer::{Answer, Many, RowOutput};
pub use cell::{Cell, Date, Decimal, FromColumn, Map, Timestamp};
pub use row_stage::{NoConfig, RowFunction, RowStage};

use crate::column_view::ColumnView;
use crate::nearest::hint;
use crate::schema::{DataType, Field};

/// One row of a batch, or one struct within it.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    pub(crate) fields: &'a [Field],
    pub(crate) columns: &'a [ColumnView<'a>],
    pub(crate) index: usize,
    /// The first column that was asked for and is not there, or is of another type: the batch is
    /// refused.
    pub(crate) mistake: &'a RefCell<Option<String>>,
}

impl<'a> Row<'a> {
    /// The value of a column. None: it is null. A column that is not there or of a type that does
    /// not fit `T` refuses the batch with a message that says so. A `long` may be asked of an int
    /// column, a `double` of a float.
    pub fn get<T: FromColumn<'a>>(&self, name: &str) -> Option<T> {
        let column = self.column(name)?;
        if !T::fits(column.data_type()) {
            return self.wrong(format!(
                "column `{name}` is {}, not {}",
                column.data_type(),
                T::NAME
            ));
        }
        column.is_valid(self.index).then(|| T::read(column, self.index))
    }

    /// A string; short for `get::<&str>`.
    pub fn str(&self, name: &str) -> Option<&'a str> {
        self.get(name)
    }

    /// A binary, or the bytes of a string; short for `get::<&[u8]>`.
    pub fn bytes(&self, name: &str) -> Option<&'a [u8]> {
        self.get(name)
    }

    pub fn is_null(&self, name: &str) -> bool {
        self.column(name).is_none_or(|column| column.is_null(self.index))
    }

    /// A struct.
    pub fn row(&self, name: &str) -> Option<Row<'a>> {
        let column = self.column(name)?;
        if !matches!(column.data_type(), DataType::Struct(_)) {
            return self.wrong(format!("column `{name}` is {}, no struct", column.data_type()));
        }
        let row = Row { fields: column.data_type().fields(), columns: column.children(), ..*self };
        column.is_valid(self.index).then_some(row)
    }

    /// The elements of an array of structs; none if it is null. Elements that are null are left
    /// out.
    pub fn rows(&self, name: &str) -> impl Iterator<Item = Row<'a>> + use<'a> {
        let elements = self.elements(name).filter(|(column, _)| {
            let structs = matches!(column.data_type(), DataType::Struct(_));
            structs
                || self.wrong(format!("column `{name}` is no array of structs")).unwrap_or(false)
        });
        let row = *self;
        elements.into_iter().flat_map(move |(column, range)| {
            let fields = column.data_type().fields();
            let valid = range.filter(|&index| column.is_valid(index));
            valid.map(move |index| Row { fields, columns: column.children(), index, ..row })
        })
    }

    /// As [`rows`](Self::rows), but with the elements that are null, as None. None: the array is null.
    pub fn structs(&self, name: &str) -> Option<Vec<Option<Row<'a>>>> {
        let (column, range) = self.elements(name)?;
        if !matches!(column.data_type(), DataType::Struct(_)) {
            return self.wrong(format!("column `{name}` is no array of structs"));
        }
        Some(range.map(|index| self.nested(column, index)).collect())
    }

    /// The entries of a map of structs. None: the map is null.
    pub fn map_of_structs<K: FromColumn<'a>>(
        &self,
        name: &str,
    ) -> Option<Vec<(K, Option<Row<'a>>)>> {
        let column = self.column(name)?;
        let fits =
            |key: &DataType, value: &DataType| K::fits(key) && matches!(value, DataType::Struct(_));
        if !matches!(column.data_type(), DataType::Map { key, value, .. } if fits(key, value)) {
            let data_type = column.data_type();
            return self.wrong(format!(
                "column `{name}` is {data_type}, no map of {} to structs",
                K::NAME
            ));
        }
        let (keys, values) = (column.keys(), column.map_values());
        let entry = |index| (K::read(keys, index), self.nested(values, index));
        column.is_valid(self.index).then(|| column.range(self.index).map(entry).collect())
    }

    /// A struct of a column of structs.
    fn nested(&self, column: &'a ColumnView<'a>, index: usize) -> Option<Row<'a>> {
        let (fields, columns) = (column.data_type().fields(), column.children());
        column.is_valid(index).then_some(Row { fields, columns, index, ..*self })
    }

    /// The elements of an array, null ones as None. None: the array is null.
    pub fn list<T: FromColumn<'a>>(&self, name: &str) -> Option<Vec<Option<T>>> {
        let (column, range) = self.elements(name)?;
        if !T::fits(column.data_type()) {
            let data_type = column.data_type();
            return self.wrong(format!("elements of `{name}` are {data_type}, not {}", T::NAME));
        }
        let element = |index| column.is_valid(index).then(|| T::read(column, index));
        Some(range.map(element).collect())
    }

    /// The column itself, for what the methods above do not cover; the row is at
    /// [`index`](Self::index).
    pub fn column(&self, name: &str) -> Option<&'a ColumnView<'a>> {
        match self.fields.iter().position(|field| field.name == name) {
            Some(index) => Some(&self.columns[index]),
            None => {
                let names = self.fields.iter().map(|field| field.name.as_str());
                self.wrong(format!("no column `{name}`; {}", hint(name, "columns", names)))
            }
        }
    }

    /// Where the row stands in its columns.
    pub fn index(&self) -> usize {
        self.index
    }

    fn elements(&self, name: &str) -> Option<(&'a ColumnView<'a>, std::ops::Range<usize>)> {
        let column = self.column(name)?;
        if !matches!(column.data_type(), DataType::Array { .. }) {
            return self.wrong(format!("column `{name}` is {}, no array", column.data_type()));
        }
        column.is_valid(self.index).then(|| (column.elements(), column.range(self.index)))
    }

    #[cold]
    fn wrong<T>(&self, message: String) -> Option<T> {
        self.mistake.borrow_mut().get_or_insert(message);
        None
    }
}
