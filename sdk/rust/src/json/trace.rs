//! Steps over texts along their outline and notes where the values are: the first of two passes.

use super::cursor::Cursor;
use super::number;
use super::outline::{ARRAY, ESCAPED, NO_ARRAY, Outline, QUOTED, Spot, Step, StepKind, Table};
use super::written::Written;

/// Scalars that are stepped over without a loop: in WebAssembly each turn of a loop pays for a check
/// of the epoch deadline, and keeps nothing in registers across it.
pub(super) const RUN_STEPS: usize = 8;

/// What a text goes on with.
enum Next {
    Member,
    /// Whatever: the document has ended.
    End,
}

impl Outline {
    /// Notes where the values of texts lie that stand one behind the other in `buffer` between these
    /// offsets; how many of the texts are as expected.
    pub(super) fn trace(&mut self, buffer: &[u8], offsets: &[i32]) -> usize {
        for table in &mut self.tables {
            (table.next, table.count) = (table.begin, 0);
        }
        let texts = offsets.windows(2).map(|ends| ends[0] as usize..ends[1] as usize);
        texts.map(|text| self.trace_text(Cursor::part(buffer, text))).take_while(|so| *so).count()
    }

    #[inline(never)]
    fn trace_text(&mut self, cursor: Cursor<'_>) -> bool {
        let Outline { steps, tables, spots, .. } = self;
        let out = tables[0].next;
        let mut trace = Trace { steps, tables, spots, cursor, at: 0, out };
        loop {
            if trace.scalars() {
                continue;
            }
            match trace.other() {
                Some(Next::Member) => {}
                Some(Next::End) => break,
                None => return false,
            }
        }
        let (out, cursor) = (trace.out, trace.cursor);
        tables[0].next = out;
        cursor.within_text()
    }
}

/// Where the tracing of a text is. None of its answers is: the text is not as expected.
struct Trace<'o, 't> {
    steps: &'o [Step],
    tables: &'o mut [Table],
    spots: &'o mut [Spot],
    cursor: Cursor<'t>,
    /// Of `steps`.
    at: usize,
    /// Of `spots`.
    out: usize,
}

impl Trace<'_, '_> {
    /// Where most time is spent: scalars without a surprise. False: what is next is none.
    #[inline(always)]
    fn scalars(&mut self) -> bool {
        let steps = self.steps.get(self.at..).and_then(<[Step]>::first_chunk);
        let spots = self.spots.get_mut(self.out..).and_then(<[Spot]>::first_chunk_mut);
        let (Some(steps), Some(spots)) = (steps, spots) else { return false };
        let (mut cursor, mut taken) = (self.cursor, 0);
        let all = run(&mut cursor, steps, spots, &mut taken);
        self.cursor = cursor;
        (self.at, self.out) = (self.at + taken, self.out + taken);
        all
    }

    /// Any step.
    #[inline(always)]
    fn other(&mut self) -> Option<Next> {
        self.cursor.need_text().ok()?;
        let steps = self.steps;
        let step = steps.get(self.at)?;
        match &step.kind {
            StepKind::Scalar => {
                let spot = long_scalar(&mut self.cursor, &step.key)?;
                self.note(spot)?;
                self.at += 1;
            }
            StepKind::Struct(key) => {
                self.at += 1;
                key.eat(&mut self.cursor).then_some(())?;
            }
            StepKind::EndStruct => {
                self.at += 1;
                self.close()?;
            }
            StepKind::Array { key, table, behind, structs } => {
                key.eat(&mut self.cursor).then_some(())?;
                self.array(*table, *behind, *structs)?;
            }
            StepKind::EndElement { array } => {
                self.close()?;
                self.behind_element(*array)?;
            }
            StepKind::End => {
                self.close()?;
                return Some(Next::End);
            }
        }
        Some(Next::Member)
    }

    #[inline(always)]
    fn note(&mut self, spot: Spot) -> Option<()> {
        *self.spots.get_mut(self.out)? = spot;
        self.out += 1;
        Some(())
    }

    /// An array, up to the first of its elements if these are structs.
    #[inline(always)]
    fn array(&mut self, table: usize, behind: usize, structs: bool) -> Option<()> {
        let mut length = ARRAY;
        if self.cursor.eight() as u32 == number::NULL {
            self.cursor.advance(4);
            length = NO_ARRAY;
        } else if !step_in(&mut self.cursor, b'[') {
            return None;
        } else if self.cursor.byte() == b']' {
            self.cursor.advance(1);
        } else if structs {
            let parent = std::mem::replace(&mut self.out, self.tables[table].next);
            self.tables[table].next = parent;
            self.at += 1;
            return self.element(table);
        } else {
            elements(&mut self.cursor, &mut self.tables[table], self.spots)?;
        }
        self.at = behind;
        self.note(Spot { at: self.tables[table].count, length })
    }

    /// Is there room for one more struct of an array?
    #[inline(always)]
    fn element(&mut self, table: usize) -> Option<()> {
        let table = &mut self.tables[table];
        let has_room = self.out + table.stride <= table.end;
        table.full |= !has_room;
        has_room.then_some(())
    }

    /// Steps over the end of a struct.
    #[inline(always)]
    fn close(&mut self) -> Option<()> {
        (self.punctuation() == b'}').then_some(())
    }

    /// What stands behind a struct in an array.
    #[inline(always)]
    fn behind_element(&mut self, array: usize) -> Option<()> {
        let steps = self.steps;
        let StepKind::Array { table, behind, .. } = steps.get(array)?.kind else { return None };
        self.tables[table].count += 1;
        match self.punctuation() {
            b',' => {
                self.cursor.skip_blank();
                self.at = array + 1;
                self.element(table)
            }
            b']' => {
                std::mem::swap(&mut self.out, &mut self.tables[table].next);
                self.at = behind;
                self.note(Spot { at: self.tables[table].count, length: ARRAY })
            }
            _ => None,
        }
    }

    /// Steps over a byte and a blank before it.
    #[inline(always)]
    fn punctuation(&mut self) -> u8 {
        self.cursor.skip_blank();
        let byte = self.cursor.byte();
        self.cursor.advance(1);
        byte
    }
}

/// Steps over up to [`RUN_STEPS`] scalars; `taken`: how many. True: all.
#[inline(always)]
fn run(
    cursor: &mut Cursor<'_>,
    steps: &[Step; RUN_STEPS],
    spots: &mut [Spot; RUN_STEPS],
    taken: &mut usize,
) -> bool {
    macro_rules! steps {
        ($($index:literal)*) => {$(
            let (step, spot) = (&steps[$index], &mut spots[$index]);
            let mut ahead = *cursor;
            if ahead.need_text().is_err() || !step.key.eat(&mut ahead) {
                return false;
            }
            let Some(found) = short_scalar(&mut ahead) else { return false };
            *spot = found;
            *taken = $index + 1;
            *cursor = ahead;
        )*};
    }
    steps!(0 1 2 3 4 5 6 7);
    debug_assert_eq!(*taken, RUN_STEPS);
    true
}

/// The elements of an array of scalars.
#[inline(always)]
fn elements(cursor: &mut Cursor<'_>, table: &mut Table, spots: &mut [Spot]) -> Option<()> {
    loop {
        if cursor.need_text().is_err() || table.next == table.end {
            table.full |= table.next == table.end;
            return None;
        }
        spots[table.next] = long_scalar(cursor, &Written::NOTHING)?;
        table.next += 1;
        table.count += 1;
        cursor.skip_blank();
        let byte = cursor.byte();
        cursor.advance(1);
        match byte {
            b',' => cursor.skip_blank(),
            b']' => return Some(()),
            _ => return None,
        }
    }
}

/// Steps over `open` and a blank.
#[inline(always)]
fn step_in(cursor: &mut Cursor<'_>, open: u8) -> bool {
    let found = cursor.need_text().is_ok() && cursor.byte() == open;
    cursor.advance(1);
    cursor.skip_blank();
    found
}

/// Steps over a string of less than 16 bytes without escapes, a number of less than 16 characters,
/// or null. None: anything else.
#[inline(always)]
fn short_scalar(cursor: &mut Cursor<'_>) -> Option<Spot> {
    if cursor.byte() == b'"' {
        cursor.advance(1);
        let at = cursor.position() as u32;
        let count = cursor.plain_bytes().count;
        cursor.advance(count);
        if count == 16 || cursor.byte() != b'"' {
            return None;
        }
        cursor.advance(1);
        return Some(Spot { at, length: count as u32 | QUOTED });
    }
    let at = cursor.position() as u32;
    let word = cursor.eight();
    let count = number::number_bytes(word);
    if count.wrapping_sub(1) < 7 {
        cursor.advance(count);
        return Some(Spot { at, length: count as u32 });
    }
    if count == 0 && word as u32 == number::NULL {
        cursor.advance(4);
        return Some(Spot { at, length: 4 });
    }
    let more = number::number_bytes(cursor.eight_behind());
    if count == 0 || more == 8 {
        return None;
    }
    cursor.advance(8 + more);
    Some(Spot { at, length: 8 + more as u32 })
}

/// Steps over a key and any string, or word or number.
#[inline(always)]
fn long_scalar(cursor: &mut Cursor<'_>, key: &Written) -> Option<Spot> {
    if !key.eat(cursor) {
        return None;
    }
    cursor.skip_blank();
    // A copy: a cursor that is lent lives in memory.
    let mut ahead = *cursor;
    let spot = if ahead.byte() == b'"' { long_string(&mut ahead) } else { long_word(&mut ahead) };
    *cursor = ahead;
    spot
}

fn long_string(cursor: &mut Cursor<'_>) -> Option<Spot> {
    cursor.advance(1);
    let at = cursor.position();
    let mut marks = QUOTED;
    loop {
        cursor.need_text().ok()?;
        cursor.advance(cursor.plain_bytes().count);
        match cursor.byte() {
            b'"' => break,
            b'\\' => {
                marks |= ESCAPED;
                cursor.advance(2);
            }
            0..0x20 => return None,
            _ => {}
        }
    }
    let length = (cursor.position() - at) as u32;
    cursor.advance(1);
    Some(Spot { at: at as u32, length: length | marks })
}

fn long_word(cursor: &mut Cursor<'_>) -> Option<Spot> {
    let at = cursor.position();
    while matches!(cursor.byte(), b'+' | b'-'..=b'9' | b'A'..=b'Z' | b'a'..=b'z') {
        cursor.need_text().ok()?;
        cursor.advance(1);
    }
    let length = (cursor.position() - at) as u32;
    (length > 0).then_some(Spot { at: at as u32, length })
}
