//! A borrowed column in Arrow's layout: a slice of the input frame, or of a
//! [`Column`](crate::Column) that the stage owns.
//!
//! Every view is checked once when it is made (`check`): offsets ascend and stay within their
//! buffer, strings are UTF-8, buffers are long enough and aligned. From then on reading it cannot
//! go wrong, short of asking for a row that is not there or for a type that the column does not
//! have: these are mistakes of the stage and panic.

use std::ops::Range;

use crate::plain;
use crate::schema::DataType;

#[derive(Clone, Debug)]
pub struct ColumnView<'a> {
    pub(crate) data_type: &'a DataType,
    pub(crate) length: usize,
    pub(crate) null_count: usize,
    /// Empty: every element is valid.
    pub(crate) validity: &'a [u8],
    /// `length + 1` of them; of strings, binaries, arrays and maps.
    pub(crate) offsets: &'a [i32],
    pub(crate) values: &'a [u8],
    /// A struct's members, an array's elements, a map's keys and values.
    pub(crate) children: Vec<ColumnView<'a>>,
}

impl<'a> ColumnView<'a> {
    pub fn data_type(&self) -> &'a DataType {
        self.data_type
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub fn null_count(&self) -> usize {
        self.null_count
    }

    /// The bitmap of valid elements, least significant bit first, at least `len()` bits. None:
    /// nothing is null.
    pub fn validity(&self) -> Option<&'a [u8]> {
        if self.null_count == 0 { None } else { Some(self.validity) }
    }

    pub fn is_null(&self, index: usize) -> bool {
        self.null_count > 0 && self.validity[index / 8] >> (index % 8) & 1 == 0
    }

    pub fn is_valid(&self, index: usize) -> bool {
        !self.is_null(index)
    }

    /// One boolean.
    pub fn boolean(&self, index: usize) -> bool {
        self.expect(matches!(self.data_type, DataType::Boolean), "boolean");
        assert!(index < self.length, "row {index} of {}", self.length);
        self.values[index / 8] >> (index % 8) & 1 == 1
    }

    /// All booleans as bits, least significant first.
    pub fn boolean_bits(&self) -> &'a [u8] {
        self.expect(matches!(self.data_type, DataType::Boolean), "boolean");
        self.values
    }

    /// All values of an int or date column; null elements hold anything.
    pub fn integers(&self) -> &'a [i32] {
        self.expect(matches!(self.data_type, DataType::Integer | DataType::Date), "int or date");
        self.numbers()
    }

    /// All values of a long or timestamp (µs) column; null elements hold anything.
    pub fn longs(&self) -> &'a [i64] {
        let fits = matches!(self.data_type, DataType::Long | DataType::Timestamp);
        self.expect(fits, "long or timestamp");
        self.numbers()
    }

    /// All values of a float column; null elements hold anything.
    pub fn floats(&self) -> &'a [f32] {
        self.expect(matches!(self.data_type, DataType::Float), "float");
        self.numbers()
    }

    /// All values of a double column; null elements hold anything.
    pub fn doubles(&self) -> &'a [f64] {
        self.expect(matches!(self.data_type, DataType::Double), "double");
        self.numbers()
    }

    /// One decimal, without its point: 1.50 of decimal(10,2) is 150.
    pub fn decimal(&self, index: usize) -> i128 {
        self.expect(matches!(self.data_type, DataType::Decimal { .. }), "decimal");
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.values[index * 16..index * 16 + 16]);
        i128::from_le_bytes(bytes)
    }

    /// The bytes of one string or binary; of a null element they may be anything.
    pub fn bytes_at(&self, index: usize) -> &'a [u8] {
        let fits = matches!(self.data_type, DataType::String | DataType::Binary);
        self.expect(fits, "string or binary");
        &self.values[self.bounds(index)]
    }

    /// One string; of a null element it is "".
    pub fn str_at(&self, index: usize) -> &'a str {
        self.expect(matches!(self.data_type, DataType::String), "string");
        if self.is_null(index) {
            return "";
        }
        let bytes = &self.values[self.bounds(index)];
        debug_assert!(std::str::from_utf8(bytes).is_ok());
        // SAFETY: a view of strings is only made of valid elements that are UTF-8 (`check`,
        // `Column::push_str`).
        unsafe { std::str::from_utf8_unchecked(bytes) }
    }

    /// The bytes of all strings or binaries; `offsets` says where each begins and ends.
    pub fn value_bytes(&self) -> &'a [u8] {
        self.values
    }

    /// Where the elements of strings, binaries, arrays and maps begin and end: `len() + 1`
    /// ascending numbers, the first not necessarily 0.
    pub fn offsets(&self) -> &'a [i32] {
        self.offsets
    }

    /// Which elements of [`elements`](Self::elements) (of a map: of keys and values) belong to one
    /// array.
    pub fn range(&self, index: usize) -> Range<usize> {
        let fits = matches!(self.data_type, DataType::Array { .. } | DataType::Map { .. });
        self.expect(fits, "array or map");
        self.bounds(index)
    }

    /// The elements of all arrays.
    pub fn elements(&self) -> &ColumnView<'a> {
        self.expect(matches!(self.data_type, DataType::Array { .. }), "array");
        &self.children[0]
    }

    /// The keys of all maps.
    pub fn keys(&self) -> &ColumnView<'a> {
        self.expect(matches!(self.data_type, DataType::Map { .. }), "map");
        &self.children[0]
    }

    /// The values of all maps.
    pub fn map_values(&self) -> &ColumnView<'a> {
        self.expect(matches!(self.data_type, DataType::Map { .. }), "map");
        &self.children[1]
    }

    /// A struct's members, an array's elements (one child), a map's keys and values (two children).
    pub fn children(&self) -> &[ColumnView<'a>] {
        &self.children
    }

    /// The member of a struct by exactly its name.
    pub fn field(&self, name: &str) -> Option<&ColumnView<'a>> {
        let index = self.data_type.fields().iter().position(|field| field.name == name)?;
        Some(&self.children[index])
    }

    /// Elements `range` of this column without a copy. None: bits would have to be shifted, since
    /// `range` does not begin at a multiple of 8; then copy with `Column::extend_from`.
    pub fn slice(&self, range: Range<usize>) -> Option<ColumnView<'a>> {
        assert!(
            range.start <= range.end && range.end <= self.length,
            "{range:?} of {}",
            self.length
        );
        if range == (0..self.length) {
            return Some(self.clone());
        }
        let (start, length) = (range.start, range.len());
        let bytewise = start.is_multiple_of(8);
        if !bytewise && (self.null_count > 0 || matches!(self.data_type, DataType::Boolean)) {
            return None;
        }
        let bits = |bits: &'a [u8]| &bits[start / 8..range.end.div_ceil(8)];
        let validity = if self.null_count == 0 { &[][..] } else { bits(self.validity) };
        let null_count = count_nulls(validity, length);
        let mut slice = ColumnView { length, null_count, validity, ..self.clone() };
        if null_count == 0 {
            slice.validity = &[];
        }
        match self.data_type {
            DataType::Boolean => slice.values = bits(self.values),
            DataType::Struct(_) => {
                let sliced = self.children.iter().map(|child| child.slice(range.clone()));
                slice.children = sliced.collect::<Option<_>>()?;
            }
            _ => match self.data_type.value_bytes_each() {
                Some(width) => slice.values = &self.values[start * width..range.end * width],
                None => slice.offsets = &self.offsets[start..range.end + 1],
            },
        }
        Some(slice)
    }

    /// The same values with another bitmap of nulls (`len()` bits, 1 = valid); `&[]` if nothing is
    /// null. Values that become valid by it must be values indeed.
    ///
    /// # Panics
    /// If the bitmap is too short, or calls a string valid that was null before.
    pub fn with_validity(&self, validity: &'a [u8]) -> ColumnView<'a> {
        let null_count = count_nulls(validity, self.length);
        assert!(validity.is_empty() || validity.len() >= self.length.div_ceil(8), "short bitmap");
        if matches!(self.data_type, DataType::String) && self.null_count > 0 {
            let is_valid =
                |i: usize| validity.get(i / 8).is_none_or(|bits| bits >> (i % 8) & 1 == 1);
            assert!((0..self.length).all(|i| self.is_valid(i) || !is_valid(i)), "null revived");
        }
        let validity = if null_count == 0 { &[][..] } else { validity };
        ColumnView { null_count, validity, ..self.clone() }
    }

    fn bounds(&self, index: usize) -> Range<usize> {
        self.offsets[index] as usize..self.offsets[index + 1] as usize
    }

    fn numbers<T: plain::Plain>(&self) -> &'a [T] {
        let numbers = plain::from_bytes::<T>(self.values);
        match numbers {
            Some(numbers) => &numbers[..self.length],
            None => unreachable!("a view of numbers is aligned"),
        }
    }

    #[inline(always)]
    fn expect(&self, fits: bool, asked: &str) {
        if !fits {
            wrong_type(self.data_type, asked);
        }
    }
}

impl DataType {
    /// The bytes of one value in the values buffer; None for bits and for types without a fixed
    /// size.
    pub(crate) fn value_bytes_each(&self) -> Option<usize> {
        match self {
            DataType::Integer | DataType::Float | DataType::Date => Some(4),
            DataType::Long | DataType::Double | DataType::Timestamp => Some(8),
            DataType::Decimal { .. } => Some(16),
            _ => None,
        }
    }
}

#[cold]
#[inline(never)]
fn wrong_type(data_type: &DataType, asked: &str) -> ! {
    panic!("a column of {data_type} was read as {asked}")
}

/// Zero bits among the first `length` of a bitmap; none if there is no bitmap.
pub(crate) fn count_nulls(validity: &[u8], length: usize) -> usize {
    if validity.is_empty() {
        return 0;
    }
    let whole = &validity[..length / 8];
    let zeros: usize = whole.iter().map(|byte| byte.count_zeros() as usize).sum();
    let rest = match length % 8 {
        0 => 0,
        bits => (!validity[length / 8] & ((1 << bits) - 1)).count_ones() as usize,
    };
    zeros + rest
}
