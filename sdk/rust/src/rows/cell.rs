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

/// Days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(pub i32);

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

/// The digits without the point: 1.50 of `Decimal<10, 2>` is 150.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal<const PRECISION: u8, const SCALE: i8>(pub i128);

/// Keys and values in the order in which they stand; no key is twice there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Map<K, V>(pub Vec<(K, V)>);

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
    Date, "date", DataType::Date, |column, index| Date(column.integers()[index]);
    Timestamp, "timestamp", DataType::Timestamp, |column, index| Timestamp(column.longs()[index]);
}

impl<'a, const PRECISION: u8, const SCALE: i8> FromColumn<'a> for Decimal<PRECISION, SCALE> {
    const NAME: &'static str = "decimal of another precision or scale";

    fn fits(data_type: &DataType) -> bool {
        *data_type == DataType::Decimal { precision: PRECISION, scale: SCALE }
    }

    fn read(column: &'a ColumnView<'a>, index: usize) -> Self {
        Decimal(column.decimal(index))
    }
}

/// An array whose elements may be null.
impl<'a, T: FromColumn<'a>> FromColumn<'a> for Vec<Option<T>> {
    const NAME: &'static str = "array of such elements";

    fn fits(data_type: &DataType) -> bool {
        matches!(data_type, DataType::Array { element, .. } if T::fits(element))
    }

    fn read(column: &'a ColumnView<'a>, index: usize) -> Self {
        let elements = column.elements();
        let element = |index| elements.is_valid(index).then(|| T::read(elements, index));
        column.range(index).map(element).collect()
    }
}

/// A map whose values may be null.
impl<'a, K: FromColumn<'a>, V: FromColumn<'a>> FromColumn<'a> for Map<K, Option<V>> {
    const NAME: &'static str = "map of such keys and values";

    fn fits(data_type: &DataType) -> bool {
        matches!(data_type, DataType::Map { key, value, .. } if K::fits(key) && V::fits(value))
    }

    fn read(column: &'a ColumnView<'a>, index: usize) -> Self {
        let (keys, values) = (column.keys(), column.map_values());
        let value = |index| values.is_valid(index).then(|| V::read(values, index));
        Map(column.range(index).map(|index| (K::read(keys, index), value(index))).collect())
    }
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
    Date, DataType::Date, |value, column| column.push_integer(value.0);
    Timestamp, DataType::Timestamp, |value, column| column.push_long(value.0);
}

impl<const PRECISION: u8, const SCALE: i8> Cell for Decimal<PRECISION, SCALE> {
    fn data_type() -> DataType {
        DataType::Decimal { precision: PRECISION, scale: SCALE }
    }

    fn push(self, column: &mut Column) {
        column.push_decimal(self.0);
    }
}

impl<K: Cell, V: Cell> Cell for Map<K, V> {
    fn data_type() -> DataType {
        let (key, value) = (Box::new(K::data_type()), Box::new(V::data_type()));
        DataType::Map { key, value, value_contains_null: V::NULLABLE }
    }

    fn push(self, column: &mut Column) {
        for (key, value) in self.0 {
            key.push(&mut column.children_mut()[0]);
            value.push(&mut column.children_mut()[1]);
        }
        column.push_list();
    }
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
