//! A column that the stage owns and reuses from batch to batch: cleared, filled, and lent to the
//! output.

use std::ops::Range;

use crate::column_view::ColumnView;
use crate::plain;
use crate::schema::DataType;
use crate::validity::Validity;

/// A growing column. `clear` keeps the memory, so that a stage in a steady state allocates nothing.
#[derive(Clone, Debug)]
pub struct Column {
    data_type: DataType,
    pub(crate) validity: Validity,
    pub(crate) buffers: Buffers,
}

/// One variant per layout.
#[derive(Clone, Debug)]
pub(crate) enum Buffers {
    Boolean {
        bits: Vec<u8>,
        length: usize,
    },
    Integer(Vec<i32>),
    Long(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Decimal(Vec<i128>),
    Bytes {
        offsets: Vec<i32>,
        data: Vec<u8>,
    },
    Struct {
        length: usize,
        children: Vec<Column>,
    },
    /// One child for an array, keys and values for a map.
    List {
        offsets: Vec<i32>,
        children: Vec<Column>,
    },
}

impl Column {
    pub fn new(data_type: &DataType) -> Column {
        let buffers = match data_type {
            DataType::Boolean => Buffers::Boolean { bits: Vec::new(), length: 0 },
            DataType::Integer | DataType::Date => Buffers::Integer(Vec::new()),
            DataType::Long | DataType::Timestamp => Buffers::Long(Vec::new()),
            DataType::Float => Buffers::Float(Vec::new()),
            DataType::Double => Buffers::Double(Vec::new()),
            DataType::Decimal { .. } => Buffers::Decimal(Vec::new()),
            DataType::String | DataType::Binary => {
                Buffers::Bytes { offsets: vec![0], data: Vec::new() }
            }
            DataType::Struct(fields) => {
                let children = fields.iter().map(|field| Column::new(&field.data_type)).collect();
                Buffers::Struct { length: 0, children }
            }
            DataType::Array { element, .. } => {
                Buffers::List { offsets: vec![0], children: vec![Column::new(element)] }
            }
            DataType::Map { key, value, .. } => Buffers::List {
                offsets: vec![0],
                children: vec![Column::new(key), Column::new(value)],
            },
        };
        Column { data_type: data_type.clone(), validity: Validity::default(), buffers }
    }

    pub fn data_type(&self) -> &DataType {
        &self.data_type
    }

    /// Elements.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.buffers {
            Buffers::Boolean { length, .. } | Buffers::Struct { length, .. } => *length,
            Buffers::Integer(values) => values.len(),
            Buffers::Long(values) => values.len(),
            Buffers::Float(values) => values.len(),
            Buffers::Double(values) => values.len(),
            Buffers::Decimal(values) => values.len(),
            Buffers::Bytes { offsets, .. } | Buffers::List { offsets, .. } => offsets.len() - 1,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn null_count(&self) -> usize {
        self.validity.null_count()
    }

    pub fn is_null(&self, index: usize) -> bool {
        self.validity.is_null(index)
    }

    /// Forgets every element and keeps the memory.
    pub fn clear(&mut self) {
        self.validity.clear();
        match &mut self.buffers {
            Buffers::Boolean { bits, length } => {
                bits.clear();
                *length = 0;
            }
            Buffers::Integer(values) => values.clear(),
            Buffers::Long(values) => values.clear(),
            Buffers::Float(values) => values.clear(),
            Buffers::Double(values) => values.clear(),
            Buffers::Decimal(values) => values.clear(),
            Buffers::Bytes { offsets, data } => {
                offsets.truncate(1);
                data.clear();
            }
            Buffers::Struct { length, children } => {
                *length = 0;
                children.iter_mut().for_each(Column::clear);
            }
            Buffers::List { offsets, children } => {
                offsets.truncate(1);
                children.iter_mut().for_each(Column::clear);
            }
        }
    }

    /// Makes room for more elements; not for the bytes of strings, or what is within containers.
    pub(crate) fn reserve(&mut self, count: usize) {
        match &mut self.buffers {
            Buffers::Boolean { .. } | Buffers::Struct { .. } => {}
            Buffers::Integer(values) => values.reserve(count),
            Buffers::Long(values) => values.reserve(count),
            Buffers::Float(values) => values.reserve(count),
            Buffers::Double(values) => values.reserve(count),
            Buffers::Decimal(values) => values.reserve(count),
            Buffers::Bytes { offsets, .. } | Buffers::List { offsets, .. } => {
                offsets.reserve(count)
            }
        }
    }

    /// Back to `length` elements. Also drops what a half-written element left in the buffers and
    /// children, so it takes back a row at whatever point its writing failed.
    pub fn truncate(&mut self, length: usize) {
        self.validity.truncate(length);
        match &mut self.buffers {
            Buffers::Boolean { bits, length: old } => {
                *old = length.min(*old);
                bits.truncate(length.div_ceil(8));
                if let (Some(last), 1..) = (bits.get_mut(length / 8), length % 8) {
                    *last &= !(0xffu8 << (length % 8));
                }
            }
            Buffers::Integer(values) => values.truncate(length),
            Buffers::Long(values) => values.truncate(length),
            Buffers::Float(values) => values.truncate(length),
            Buffers::Double(values) => values.truncate(length),
            Buffers::Decimal(values) => values.truncate(length),
            Buffers::Bytes { offsets, data } => {
                offsets.truncate(length + 1);
                data.truncate(last_offset(offsets));
            }
            Buffers::Struct { length: old, children } => {
                *old = length.min(*old);
                let length = *old;
                children.iter_mut().for_each(|child| child.truncate(length));
            }
            Buffers::List { offsets, children } => {
                offsets.truncate(length + 1);
                let elements = last_offset(offsets);
                children.iter_mut().for_each(|child| child.truncate(elements));
            }
        }
    }

    /// Appends a null; of a struct, its members become null too.
    #[cold]
    #[inline(never)]
    pub fn push_null(&mut self) {
        self.validity.set_null(self.len());
        match &mut self.buffers {
            Buffers::Boolean { .. } => self.push_bit(false),
            Buffers::Integer(values) => values.push(0),
            Buffers::Long(values) => values.push(0),
            Buffers::Float(values) => values.push(0.0),
            Buffers::Double(values) => values.push(0.0),
            Buffers::Decimal(values) => values.push(0),
            Buffers::Bytes { offsets, .. } | Buffers::List { offsets, .. } => {
                offsets.push(offsets[offsets.len() - 1]);
            }
            Buffers::Struct { length, children } => {
                *length += 1;
                children.iter_mut().for_each(Column::push_null);
            }
        }
    }

    pub fn push_boolean(&mut self, value: bool) {
        match &self.buffers {
            Buffers::Boolean { .. } => self.push_bit(value),
            _ => self.wrong_push("a boolean"),
        }
    }

    /// An int, or the days of a date.
    #[inline]
    pub fn push_integer(&mut self, value: i32) {
        match &mut self.buffers {
            Buffers::Integer(values) => values.push(value),
            _ => self.wrong_push("an int"),
        }
    }

    /// A long, or the microseconds of a timestamp.
    #[inline]
    pub fn push_long(&mut self, value: i64) {
        match &mut self.buffers {
            Buffers::Long(values) => values.push(value),
            _ => self.wrong_push("a long"),
        }
    }

    #[inline]
    pub fn push_float(&mut self, value: f32) {
        match &mut self.buffers {
            Buffers::Float(values) => values.push(value),
            _ => self.wrong_push("a float"),
        }
    }

    #[inline]
    pub fn push_double(&mut self, value: f64) {
        match &mut self.buffers {
            Buffers::Double(values) => values.push(value),
            _ => self.wrong_push("a double"),
        }
    }

    /// The digits of a decimal without the point: 1.50 of decimal(10,2) is 150.
    pub fn push_decimal(&mut self, unscaled: i128) {
        match &mut self.buffers {
            Buffers::Decimal(values) => values.push(unscaled),
            _ => self.wrong_push("a decimal"),
        }
    }

    #[inline]
    pub fn push_str(&mut self, value: &str) {
        match &mut self.buffers {
            Buffers::Bytes { offsets, data } if self.data_type == DataType::String => {
                data.extend_from_slice(value.as_bytes());
                offsets.push(offset(data.len()));
            }
            _ => self.wrong_push("a string"),
        }
    }

    #[inline]
    pub fn push_bytes(&mut self, value: &[u8]) {
        match &mut self.buffers {
            Buffers::Bytes { offsets, data } if self.data_type == DataType::Binary => {
                data.extend_from_slice(value);
                offsets.push(offset(data.len()));
            }
            _ => self.wrong_push("a binary"),
        }
    }

    /// A string whose bytes are UTF-8 (or will be taken back before anyone looks), or a binary.
    pub(crate) fn push_utf8(&mut self, value: &[u8]) {
        if let Buffers::Bytes { offsets, data } = &mut self.buffers {
            data.extend_from_slice(value);
            offsets.push(offset(data.len()));
        }
    }

    /// The last string or binary.
    pub(crate) fn last_bytes(&self) -> &[u8] {
        match &self.buffers {
            Buffers::Bytes { offsets, data } if offsets.len() > 1 => {
                &data[offsets[offsets.len() - 2] as usize..]
            }
            _ => &[],
        }
    }

    /// The members of a struct, the elements of an array (one child), the keys and values of a map
    /// (two). Push into them first, then close the element with [`push_struct`](Self::push_struct)
    /// or [`push_list`](Self::push_list).
    pub fn children_mut(&mut self) -> &mut [Column] {
        match &mut self.buffers {
            Buffers::Struct { children, .. } | Buffers::List { children, .. } => children,
            _ => &mut [],
        }
    }

    /// Closes one struct. Every member must have been pushed once since the last.
    pub fn push_struct(&mut self) {
        match &mut self.buffers {
            Buffers::Struct { length, children } => {
                *length += 1;
                let whole = children.iter().all(|child| child.len() == *length);
                assert!(whole, "a member of the struct was not pushed, or pushed twice");
            }
            _ => self.wrong_push("a struct"),
        }
    }

    /// Closes one array or map: it holds the elements pushed into the children since the last.
    pub fn push_list(&mut self) {
        match &mut self.buffers {
            Buffers::List { offsets, children } => {
                let length = children[0].len();
                assert!(
                    children.iter().all(|child| child.len() == length),
                    "a key without a value"
                );
                offsets.push(offset(length));
            }
            _ => self.wrong_push("an array or map"),
        }
    }

    /// Appends one element of a view of the same type.
    pub fn push_from(&mut self, view: &ColumnView<'_>, index: usize) {
        self.extend_from(view, index..index + 1);
    }

    /// Appends elements of a view of the same type.
    pub fn extend_from(&mut self, view: &ColumnView<'_>, range: Range<usize>) {
        assert!(range.end <= view.len(), "{range:?} of {}", view.len());
        if view.null_count() > 0 {
            let start = self.len();
            for (at, index) in range.clone().enumerate() {
                if view.is_null(index) {
                    self.validity.set_null(start + at);
                }
            }
        }
        match &mut self.buffers {
            Buffers::Boolean { .. } => range.for_each(|index| self.push_bit(view.boolean(index))),
            Buffers::Integer(values) => values.extend_from_slice(&view.integers()[range]),
            Buffers::Long(values) => values.extend_from_slice(&view.longs()[range]),
            Buffers::Float(values) => values.extend_from_slice(&view.floats()[range]),
            Buffers::Double(values) => values.extend_from_slice(&view.doubles()[range]),
            Buffers::Decimal(values) => values.extend(range.map(|index| view.decimal(index))),
            Buffers::Bytes { offsets, data } => {
                let text = *view.data_type() == DataType::String;
                assert_eq!(text, self.data_type == DataType::String, "strings into binaries");
                for index in range {
                    if view.is_valid(index) {
                        data.extend_from_slice(view.bytes_at(index));
                    }
                    offsets.push(offset(data.len()));
                }
            }
            Buffers::Struct { length, children } => {
                *length += range.len();
                assert_eq!(children.len(), view.children().len(), "structs of different members");
                for (child, from) in children.iter_mut().zip(view.children()) {
                    child.extend_from(from, range.clone());
                }
            }
            Buffers::List { offsets, children } => {
                assert_eq!(children.len(), view.children().len(), "arrays into maps");
                for index in range {
                    for (child, from) in children.iter_mut().zip(view.children()) {
                        if view.is_valid(index) {
                            child.extend_from(from, view.range(index));
                        }
                    }
                    offsets.push(offset(children[0].len()));
                }
            }
        }
    }

    /// Lends the column. Takes `&mut` to complete the bitmap of nulls.
    pub fn view(&mut self) -> ColumnView<'_> {
        self.seal();
        self.sealed_view()
    }

    fn seal(&mut self) {
        self.validity.seal(self.len());
        self.children_mut().iter_mut().for_each(Column::seal);
    }

    fn sealed_view(&self) -> ColumnView<'_> {
        let length = self.len();
        let (offsets, values, children): (&[i32], &[u8], &[Column]) = match &self.buffers {
            Buffers::Boolean { bits, .. } => (&[], bits, &[]),
            Buffers::Integer(values) => (&[], plain::as_bytes(values), &[]),
            Buffers::Long(values) => (&[], plain::as_bytes(values), &[]),
            Buffers::Float(values) => (&[], plain::as_bytes(values), &[]),
            Buffers::Double(values) => (&[], plain::as_bytes(values), &[]),
            Buffers::Decimal(values) => (&[], plain::as_bytes(values), &[]),
            Buffers::Bytes { offsets, data } => (offsets, data, &[]),
            Buffers::Struct { children, .. } => (&[], &[], children),
            Buffers::List { offsets, children } => (offsets, &[], children),
        };
        ColumnView {
            data_type: &self.data_type,
            length,
            null_count: self.validity.null_count(),
            validity: self.validity.bits(length),
            offsets,
            values,
            children: children.iter().map(Column::sealed_view).collect(),
        }
    }

    pub(crate) fn push_bit(&mut self, value: bool) {
        if let Buffers::Boolean { bits, length } = &mut self.buffers {
            if length.is_multiple_of(8) {
                bits.push(0);
            }
            bits[*length / 8] |= u8::from(value) << (*length % 8);
            *length += 1;
        }
    }

    #[cold]
    #[inline(never)]
    fn wrong_push(&self, what: &str) -> ! {
        panic!("{what} was pushed into a column of {}", self.data_type)
    }
}

/// A length as an Arrow offset. A batch beyond 2 GiB is a mistake of the stage: the host's limits
/// are far below.
#[inline(always)]
pub(crate) fn offset(length: usize) -> i32 {
    assert!(length <= i32::MAX as usize, "a column grew beyond 2 GiB");
    length as i32
}

/// Where the last element ends: an offsets buffer always holds at least its leading 0.
pub(crate) fn last_offset(offsets: &[i32]) -> usize {
    offsets.last().map_or(0, |&last| last as usize)
}
