//! Out of the places of an [`Outline`] into columns, one column at a time: the second pass.
//!
//! What the loops here do not take, each value by itself, goes the way of the parser of one pass
//! (`value.rs`). If even that cannot read it, or a string is not UTF-8, the texts are read again
//! one by one, for a mistake that names the place.

use super::cursor::Cursor;
use super::number;
use super::object::Parser;
use super::outline::{ESCAPED, NO_ARRAY, Outline, QUOTED, Spot, StepKind};
use super::plan::{Kind, Object};
use crate::column::{Buffers, Column, last_offset, offset};
use crate::plain;

/// What is filled in.
struct Level<'p> {
    plan: &'p mut Object,
    columns: &'p mut [Column],
    /// Of the outline.
    table: usize,
    /// Structs in it.
    count: usize,
}

/// Where the filling is in the outline.
struct Place {
    step: usize,
    /// Of the level's table.
    slot: usize,
}

impl<'t> Parser<'t> {
    /// Appends the outlined texts. False: one of them does not fit; the columns hold anything.
    pub(super) fn fill(
        &mut self,
        plan: &mut Object,
        outline: &Outline,
        columns: &mut [Column],
        count: usize,
    ) -> bool {
        let level = Level { plan, columns, table: 0, count };
        count == 0 || self.fill_members(outline, level, &mut Place { step: 0, slot: 0 })
    }

    /// Up to the end of the struct.
    fn fill_members(&mut self, outline: &Outline, level: Level<'_>, place: &mut Place) -> bool {
        let Level { plan, columns, table, count } = level;
        let begin = columns.first().map_or(0, Column::len);
        loop {
            let step = &outline.steps[place.step];
            place.step += 1;
            if matches!(
                step.kind,
                StepKind::End | StepKind::EndStruct | StepKind::EndElement { .. }
            ) {
                break;
            }
            let (kind, column) = (&mut plan.members[step.member].kind, &mut columns[step.member]);
            let spots = outline.spots(table, count).get(place.slot..).unwrap_or_default();
            let spots = Spots { spots, stride: outline.tables[table].stride };
            let filled = match &step.kind {
                StepKind::Scalar => {
                    place.slot += 1;
                    self.fill_scalars(kind, column, spots)
                }
                StepKind::Array { table, structs, .. } => {
                    place.slot += 1;
                    let inner = (*table, if *structs { Some(&mut *place) } else { None });
                    self.fill_arrays(outline, kind, column, spots, inner)
                }
                _ => self.fill_structs(outline, kind, column, (table, count), place),
            };
            if !filled {
                return false;
            }
        }
        // Members that no text has.
        let missing = columns.iter_mut().filter(|column| column.len() == begin && count > 0);
        missing.for_each(|column| (0..count).for_each(|_| column.push_null()));
        true
    }

    fn fill_structs(
        &mut self,
        outline: &Outline,
        kind: &mut Kind,
        column: &mut Column,
        (table, count): (usize, usize),
        place: &mut Place,
    ) -> bool {
        let (Kind::Struct(plan), Buffers::Struct { length, children: columns }) =
            (kind, &mut column.buffers)
        else {
            return false;
        };
        *length += count;
        self.fill_members(outline, Level { plan, columns, table, count }, place)
    }

    fn fill_arrays(
        &mut self,
        outline: &Outline,
        kind: &mut Kind,
        column: &mut Column,
        spots: Spots<'_>,
        (table, place): (usize, Option<&mut Place>),
    ) -> bool {
        let begin = close_arrays(column, spots);
        let (Kind::Array(element), Buffers::List { offsets, children, .. }) =
            (kind, &mut column.buffers)
        else {
            return false;
        };
        let count = last_offset(offsets) - begin;
        match place {
            Some(place) => {
                let mut inner = Place { step: place.step, slot: 0 };
                let child = &mut children[0];
                let filled = self.fill_structs(outline, element, child, (table, count), &mut inner);
                place.step = inner.step;
                filled
            }
            None => {
                let spots = Spots { spots: outline.spots(table, count), stride: 1 };
                self.fill_scalars(element, &mut children[0], spots)
            }
        }
    }

    fn fill_scalars(&mut self, kind: &mut Kind, column: &mut Column, spots: Spots<'_>) -> bool {
        let begin = column.len();
        let count = spots.count();
        column.reserve(count);
        loop {
            let next = column.len() - begin;
            let Some(spot) = spots.get(next + self.fill_short(kind, column, spots.from(next)))
            else {
                break;
            };
            if !self.fill_one(kind, column, spot) {
                return false;
            }
        }
        is_utf8(column, begin)
    }

    /// Appends values as long as they are short and of the column's own kind; how many.
    fn fill_short(&self, kind: &Kind, column: &mut Column, spots: Spots<'_>) -> usize {
        let cursor = &self.cursor;
        match (kind, &mut column.buffers) {
            (Kind::Long, Buffers::Long(values)) => fill_longs(cursor, spots, values),
            (Kind::Integer, Buffers::Integer(values)) => fill_integers(cursor, spots, values),
            (Kind::Float, Buffers::Float(values)) => fill_floats(cursor, spots, values),
            (Kind::Double, Buffers::Double(values)) => fill_doubles(cursor, spots, values),
            (Kind::String, Buffers::Bytes { offsets, data }) => {
                fill_strings(cursor, spots, offsets, data)
            }
            _ => 0,
        }
    }

    /// Appends any value.
    #[inline(never)]
    fn fill_one(&mut self, kind: &mut Kind, column: &mut Column, spot: Spot) -> bool {
        let (at, quoted) = (spot.at as usize, spot.length & QUOTED != 0);
        let escaped = spot.length & ESCAPED != 0;
        let length = (spot.length & !(QUOTED | ESCAPED)) as usize;
        if !quoted && self.cursor.eight_at(at) as u32 == number::NULL {
            column.push_null();
            return length == 4;
        }
        if let (true, Kind::String, Buffers::Bytes { offsets, data }) =
            (quoted, &*kind, &mut column.buffers)
        {
            return match escaped {
                false => {
                    data.extend_from_slice(self.cursor.between(at..at + length));
                    offsets.push(offset(data.len()));
                    true
                }
                true => self.fill_escaped(at, length, offsets, data),
            };
        }
        let quote = usize::from(quoted);
        self.cursor.jump(at - quote);
        let read = match kind {
            Kind::Long | Kind::Integer => self.long(kind, column),
            Kind::Float | Kind::Double => self.double(kind, column),
            _ => self.other_value(kind, column),
        };
        read.is_ok() && self.cursor.position() == at + length + quote
    }

    fn fill_escaped(
        &mut self,
        at: usize,
        length: usize,
        offsets: &mut Vec<i32>,
        data: &mut Vec<u8>,
    ) -> bool {
        self.cursor.jump(at - 1);
        let read = self.any_string(data).is_ok();
        offsets.push(offset(data.len()));
        read && self.cursor.position() == at + length + 1
    }
}

/// Notes where the arrays end whose elements are about to be filled in; where the first begins.
fn close_arrays(column: &mut Column, spots: Spots<'_>) -> usize {
    let begin = match &column.buffers {
        Buffers::List { offsets, .. } => last_offset(offsets),
        _ => 0,
    };
    for index in 0..spots.count() {
        match (spots.get(index), &mut column.buffers) {
            (Some(spot), Buffers::List { offsets, .. }) if spot.length != NO_ARRAY => {
                offsets.push(offset(begin + spot.at as usize));
            }
            _ => column.push_null(),
        }
    }
    begin
}

/// Are the strings from element `begin` on UTF-8?
fn is_utf8(column: &Column, begin: usize) -> bool {
    let Buffers::Bytes { offsets, data } = &column.buffers else { return true };
    let offsets = &offsets[begin..];
    let begin = offsets[0] as usize;
    let text = &data[begin..];
    let on_boundary = |text: &str, end: i32| text.is_char_boundary(end as usize - begin);
    plain::is_ascii(text)
        || std::str::from_utf8(text)
            .is_ok_and(|text| offsets.iter().all(|&end| on_boundary(text, end)))
}

/// Every `stride`th spot, from the first on.
#[derive(Clone, Copy)]
struct Spots<'s> {
    spots: &'s [Spot],
    stride: usize,
}

impl Spots<'_> {
    fn count(&self) -> usize {
        self.spots.len().div_ceil(self.stride)
    }

    fn get(&self, index: usize) -> Option<Spot> {
        self.spots.get(index * self.stride).copied()
    }

    /// Without the first `index`.
    fn from(&self, index: usize) -> Self {
        let skipped = (index * self.stride).min(self.spots.len());
        Self { spots: &self.spots[skipped..], stride: self.stride }
    }
}

/// The loop over numbers: `convert` makes one of the word at its place and of its length.
#[inline(always)]
fn fill_numbers<T>(
    cursor: &Cursor<'_>,
    spots: Spots<'_>,
    values: &mut Vec<T>,
    convert: impl Fn(u64, u32) -> Option<T>,
) -> usize {
    let (cursor, Spots { spots, stride }) = (*cursor, spots);
    let mut count = 0;
    let mut next = 0;
    for place in values.spare_capacity_mut() {
        let Some(spot) = spots.get(next) else { break };
        let Some(value) = convert(cursor.eight_at(spot.at as usize), spot.length) else { break };
        place.write(value);
        count += 1;
        next += stride;
    }
    // SAFETY: so many have just been written.
    unsafe { values.set_len(values.len() + count) };
    count
}

#[inline(never)]
fn fill_longs(cursor: &Cursor<'_>, spots: Spots<'_>, values: &mut Vec<i64>) -> usize {
    #[inline(always)]
    fn convert(word: u64, length: u32) -> Option<i64> {
        number::whole(word, length).map(i64::from)
    }
    fill_numbers(cursor, spots, values, convert)
}

#[inline(never)]
fn fill_integers(cursor: &Cursor<'_>, spots: Spots<'_>, values: &mut Vec<i32>) -> usize {
    #[inline(always)]
    fn convert(word: u64, length: u32) -> Option<i32> {
        number::whole(word, length).map(|value| value as i32)
    }
    fill_numbers(cursor, spots, values, convert)
}

#[inline(never)]
fn fill_floats(cursor: &Cursor<'_>, spots: Spots<'_>, values: &mut Vec<f32>) -> usize {
    #[inline(always)]
    fn convert(word: u64, length: u32) -> Option<f32> {
        number::decimal(word, length).map(|value| value.as_float())
    }
    fill_numbers(cursor, spots, values, convert)
}

#[inline(never)]
fn fill_doubles(cursor: &Cursor<'_>, spots: Spots<'_>, values: &mut Vec<f64>) -> usize {
    #[inline(always)]
    fn convert(word: u64, length: u32) -> Option<f64> {
        number::decimal(word, length).map(|value| value.as_double())
    }
    fill_numbers(cursor, spots, values, convert)
}

/// Strings of up to 16 bytes: all of these are stored, which costs less than to ask how many.
#[inline(never)]
fn fill_strings(
    cursor: &Cursor<'_>,
    spots: Spots<'_>,
    offsets: &mut Vec<i32>,
    data: &mut Vec<u8>,
) -> usize {
    let count = spots.count();
    data.reserve(16 * count);
    let (cursor, Spots { spots, stride }) = (*cursor, spots);
    let begin = data.len();
    let mut end = begin;
    let mut next = 0;
    let mut taken = 0;
    let free = data.spare_capacity_mut();
    for place in offsets.spare_capacity_mut() {
        let Some(spot) = spots.get(next) else { break };
        let length = (spot.length ^ QUOTED) as usize;
        if length > 16 {
            break;
        }
        let Some(room) = free.get_mut(end - begin..end - begin + 16) else { break };
        let bytes = cursor.sixteen_at(spot.at as usize).map(std::mem::MaybeUninit::new);
        room.copy_from_slice(&bytes);
        end += length;
        place.write(end as i32);
        taken += 1;
        next += stride;
    }
    // SAFETY: so many have just been written, of the data even more.
    unsafe {
        data.set_len(end);
        offsets.set_len(offsets.len() + taken);
    }
    offset(end);
    taken
}
