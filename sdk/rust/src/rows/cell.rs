//! Between Rust's types and the types of columns.

use crate::column::Column;
use crate::column_view::ColumnView;
use crate::schema::DataType;

/// What [`Row::get`](super::Row::get) can give.
pub trait FromColumn<'a>: Sized {
    /// For messages: the type in Spark's words.
    const NAME: &'static str;
    fn fits(data_type: &DataType) -> bool;
    /// The value at `index`, which is not null, of a column that fits.
    fn read(column: &'a ColumnView<'a>, index: usize) -> Self;
}

/// What a member of a struct with `#[derive(gristmill::Row)]` can be.
pub trait Cell {
    const NULLABLE: bool = false;
    fn data_type() -> DataType;
    fn push(self, column: &mut Column);
}

macro_rules! scalars {
    ($($type:ty, $name:literal, $($fits:pat_param)|+, |$column:ident, $index:ident| $read:expr;)*) => {$(
        impl<'a> FromColumn<'a> for $type {
            const NAME: &'static str = $name;
            fn fits(data_type: &DataType) -> bool {
                matches!(data_type, $($fits)|+)
            }
            fn read($column: &'a ColumnView<'a>, $index: usize) -> $type {
                $read
            }
        }
    )*};
}

scalars! {
    bool, "boolean", DataType::Boolean, |column, index| column.boolean(index);
    i32, "int", DataType::Integer | DataType::Date, |column, index| column.integers()[index];
    f32, "float", DataType::Float, |column, index| column.floats()[index];
    &'a str, "string", DataType::String, |column, index| column.str_at(index);
    String, "string", DataType::String, |column, index| column.str_at(index).to_owned();
    &'a [u8], "binary", DataType::Binary | DataType::String, |column, index| column.bytes_at(index);
    Vec<u8>, "binary", DataType::Binary | DataType::String,
        |column, index| column.bytes_at(index).to_vec();
    i64, "long", DataType::Long | DataType::Timestamp | DataType::Integer,
        |column, index| match column.data_type() {
            DataType::Integer => i64::from(column.integers()[index]),
            _ => column.longs()[index],
        };
    f64, "double", DataType::Double | DataType::Float,
        |column, index| match column.data_type() {
            DataType::Float => f64::from(column.floats()[index]),
            _ => column.doubles()[index],
        };
    i128, "decimal", DataType::Decimal { .. }, |column, index| column.decimal(index);
}

macro_rules! cells {
    ($($type:ty, $data_type:expr, |$value:ident, $column:ident| $push:expr;)*) => {$(
        impl Cell for $type {
            fn data_type() -> DataType {
                $data_type
            }
            fn push(self, $column: &mut Column) {
                let $value = self;
                $push
            }
        }
    )*};
}

cells! {
    bool, DataType::Boolean, |value, column| column.push_boolean(value);
    i32, DataType::Integer, |value, column| column.push_integer(value);
    i64, DataType::Long, |value, column| column.push_long(value);
    f32, DataType::Float, |value, column| column.push_float(value);
    f64, DataType::Double, |value, column| column.push_double(value);
    String, DataType::String, |value, column| column.push_str(&value);
    &'static str, DataType::String, |value, column| column.push_str(value);
    Vec<u8>, DataType::Binary, |value, column| column.push_bytes(&value);
}

impl<T: Cell> Cell for Option<T> {
    const NULLABLE: bool = true;

    fn data_type() -> DataType {
        T::data_type()
    }

    fn push(self, column: &mut Column) {
        match self {
            Some(value) => value.push(column),
            None => column.push_null(),
        }
    }
}

impl<T: Cell> Cell for Vec<T> {
    fn data_type() -> DataType {
        let element = Box::new(T::data_type());
        DataType::Array { element, contains_null: T::NULLABLE }
    }

    fn push(self, column: &mut Column) {
        for value in self {
            value.push(&mut column.children_mut()[0]);
        }
        column.push_list();
    }
}
