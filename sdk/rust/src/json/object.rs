//! Objects, arrays and maps: the loops that nearly all time is spent in.

use super::cursor::{Cursor, Ended};
use super::keys::Key;
use super::mistake::{Mistake, Step, Stop};
use super::plan::{Kind, Object};
use crate::column::{Column, offset};

/// A count of members that came out of order. Beyond what a struct may have, and any text can hold
/// that many members without an overflow.
const DISORDERED: usize = 1 << 30;

/// Where the parser is among the members of an object.
#[derive(Clone, Copy)]
struct Place {
    /// The member that should come next.
    expected: usize,
    /// The one that came last. None: none came so far.
    previous: Option<usize>,
}

/// The state of one text.
pub(super) struct Parser<'t> {
    pub(super) cursor: Cursor<'t>,
    /// A value that does not fit becomes null and the record goes on.
    pub(super) permissive: bool,
    /// The first thing that was wrong.
    pub(super) mistake: Option<Box<Mistake>>,
    /// Not 0: a string or key holds bytes beyond ASCII. All other bytes of a document are ASCII, or
    /// it is refused; so only then must it be checked for UTF-8.
    pub(super) not_ascii: u32,
    /// Strings that are looked at before they are stored: keys with escapes, dates, decimals.
    pub(super) scratch: Vec<u8>,
}

impl<'t> Parser<'t> {
    /// The first `length` bytes of `buffer` are the text; see [`Cursor::new`].
    pub(super) fn new(buffer: &'t [u8], length: usize, permissive: bool, scratch: Vec<u8>) -> Self {
        let cursor = Cursor::new(buffer, length);
        Parser { cursor, permissive, mistake: None, not_ascii: 0, scratch }
    }

    /// Reads the object that begins here into row `row` of `columns`: a value or a null in each.
    /// After an error the columns hold half a row.
    #[expect(
        clippy::ptr_arg,
        reason = "a slice is two arguments, and the fifth is passed in memory"
    )]
    pub(super) fn object(
        &mut self,
        plan: &mut Object,
        columns: &mut Vec<Column>,
        row: usize,
    ) -> Result<(), Stop> {
        let mut cursor = self.cursor;
        let mut place = Place { expected: usize::from(plan.first), previous: None };
        // Members so far. If one came out of the schema's order: more than there can be.
        let mut count = 0;
        let mut more = first(&mut cursor, b'}');
        while more {
            match self.key(&mut cursor, plan, place)? {
                None => self.out_of_line(&mut cursor, |parser| parser.skip_value())?,
                Some(index) => {
                    let mut index = index;
                    // From here to the key that was not expected, or to the end.
                    loop {
                        let (member, column) = (&mut plan.members[index], &mut columns[index]);
                        if index != count {
                            count = DISORDERED;
                            if column.len() > row {
                                column.truncate(row);
                            }
                        }
                        count += 1;
                        let byte = cursor.token();
                        if let Err(stop) = self.value(&mut cursor, &mut member.kind, column, byte) {
                            self.member_failed(stop, &member.name, column, row)?;
                        }
                        self.need_text(&cursor)?;
                        let expected = usize::from(member.next);
                        place = Place { expected, previous: Some(index) };
                        match plan.members.get(expected) {
                            Some(next) if next.written.eat_with_comma(&mut cursor) => {
                                index = expected;
                            }
                            _ => break,
                        }
                    }
                }
            }
            more = self.another(&mut cursor, b'}')?;
        }
        self.cursor.move_to(&cursor);
        if count != columns.len() {
            columns.iter_mut().filter(|column| column.len() == row).for_each(Column::push_null);
        }
        Ok(())
    }

    /// Reads the array that begins here: its elements into `child`, its end into `offsets`.
    pub(super) fn array(
        &mut self,
        element: &mut Kind,
        offsets: &mut Vec<i32>,
        child: &mut Column,
    ) -> Result<(), Stop> {
        let start = child.len();
        let mut cursor = self.cursor;
        let mut more = first(&mut cursor, b']');
        while more {
            self.need_text(&cursor)?;
            let byte = cursor.token();
            if let Err(stop) = self.value(&mut cursor, element, child, byte) {
                return Err(self.element_failed(stop, start, child));
            }
            more = self.another(&mut cursor, b']')?;
        }
        self.cursor.move_to(&cursor);
        offsets.push(offset(child.len()));
        Ok(())
    }

    /// Reads the object that begins here as a map. Equal keys stay, as in Spark.
    pub(super) fn map(
        &mut self,
        kind: &mut Kind,
        offsets: &mut Vec<i32>,
        children: &mut [Column],
    ) -> Result<(), Stop> {
        let start = children[0].len();
        let mut cursor = self.cursor;
        let mut more = first(&mut cursor, b'}');
        while more {
            self.need_text(&cursor)?;
            self.out_of_line(&mut cursor, |parser| parser.map_key(&mut children[0]))?;
            let byte = cursor.token();
            let row = children[1].len();
            if let Err(stop) = self.value(&mut cursor, kind, &mut children[1], byte) {
                children[1].truncate(row);
                return Err(self.map_failed(stop, start, children));
            }
            more = self.another(&mut cursor, b'}')?;
        }
        self.cursor.move_to(&cursor);
        offsets.push(offset(children[0].len()));
        Ok(())
    }

    /// Calls what is not inlined: it moves the parser's own cursor, of which `cursor` is a copy.
    #[inline(always)]
    pub(super) fn out_of_line<T>(
        &mut self,
        cursor: &mut Cursor<'t>,
        call: impl FnOnce(&mut Self) -> T,
    ) -> T {
        self.cursor.move_to(cursor);
        let result = call(self);
        cursor.move_to(&self.cursor);
        result
    }

    /// Behind a member or element: does another follow? If not, steps out.
    #[inline(always)]
    fn another(&mut self, cursor: &mut Cursor<'t>, close: u8) -> Result<bool, Stop> {
        let byte = cursor.token();
        if byte == b',' {
            cursor.advance(1);
            cursor.token();
            return Ok(true);
        }
        if byte == close {
            cursor.advance(1);
            return Ok(false);
        }
        self.cursor.move_to(cursor);
        Err(self.expected_close(close))
    }

    /// Steps over a key and its colon. None: the schema does not have it.
    #[inline(always)]
    fn key(
        &mut self,
        cursor: &mut Cursor<'t>,
        plan: &mut Object,
        place: Place,
    ) -> Result<Option<usize>, Stop> {
        self.need_text(cursor)?;
        if let Some(member) = plan.members.get(place.expected)
            && member.written.eat(cursor)
        {
            return Ok(Some(place.expected));
        }
        self.out_of_line(cursor, |parser| parser.other_key(plan, place.previous))
    }

    /// A key that was not expected here. The next record's is.
    #[inline(never)]
    fn other_key(
        &mut self,
        plan: &mut Object,
        previous: Option<usize>,
    ) -> Result<Option<usize>, Stop> {
        let index = {
            let name = |index: usize| plan.members[index].name.as_bytes();
            match self.plain_key()? {
                Some(key) => plan.table.find(&key, name),
                None => {
                    let key = self.key_text()?;
                    let index = plan.table.find(&Key::of(&key), name);
                    self.scratch = key;
                    index
                }
            }
        };
        self.colon()?;
        if let Some(index) = index {
            plan.learn(previous, index);
        }
        Ok(index)
    }

    fn map_key(&mut self, keys: &mut Column) -> Result<(), Stop> {
        let key = self.key_text()?;
        keys.push_utf8(&key);
        self.scratch = key;
        self.colon()
    }

    /// Steps over a key without escapes and gives it. None and no step: it has escapes, or single
    /// quotes.
    fn plain_key(&mut self) -> Result<Option<Key<'t>>, Stop> {
        if self.cursor.byte() != b'"' {
            return Ok(None);
        }
        let start = self.cursor.position();
        self.cursor.advance(1);
        let mut cursor = self.cursor;
        loop {
            self.need_text(&cursor)?;
            let count = self.plain_bytes(&cursor);
            cursor.advance(count);
            if count < 16 {
                break;
            }
        }
        if cursor.byte() != b'"' {
            self.cursor.go_to(start);
            return Ok(None);
        }
        let key = Key::before(&mut cursor, start + 1);
        cursor.advance(1);
        self.cursor.move_to(&cursor);
        Ok(Some(key))
    }

    /// Steps over any key and gives its text, in the memory of `scratch`: put it back.
    #[cold]
    #[inline(never)]
    fn key_text(&mut self) -> Result<Vec<u8>, Stop> {
        if !matches!(self.cursor.byte(), b'"' | b'\'') {
            return Err(self.syntax("expected a key in quotes"));
        }
        let mut key = std::mem::take(&mut self.scratch);
        key.clear();
        self.any_string(&mut key).map(|()| key)
    }

    pub(super) fn colon(&mut self) -> Result<(), Stop> {
        if self.cursor.token() != b':' {
            return Err(self.syntax("expected `:` after a key"));
        }
        self.cursor.advance(1);
        Ok(())
    }

    /// There is a byte left at a copy of the parser's cursor.
    #[inline(always)]
    pub(super) fn need_text(&mut self, cursor: &Cursor<'t>) -> Result<(), Stop> {
        match cursor.need_text() {
            Ok(()) => Ok(()),
            Err(Ended) => {
                self.cursor.move_to(cursor);
                Err(self.syntax(""))
            }
        }
    }

    /// There is a byte left.
    pub(super) fn need_text_here(&mut self) -> Result<(), Stop> {
        let cursor = self.cursor;
        self.need_text(&cursor)
    }

    /// A member could not be read. If the record goes on, it becomes null.
    #[cold]
    #[inline(never)]
    fn member_failed(
        &mut self,
        stop: Stop,
        name: &str,
        column: &mut Column,
        row: usize,
    ) -> Result<(), Stop> {
        if !self.permissive || stop == Stop::Syntax {
            self.add_step(Step::Field(name.to_owned()));
            return Err(stop);
        }
        column.truncate(row);
        column.push_null();
        Ok(())
    }

    /// An element could not be read: the array as a whole does not fit, as in Spark.
    #[cold]
    #[inline(never)]
    fn element_failed(&mut self, stop: Stop, start: usize, child: &mut Column) -> Stop {
        self.add_step(Step::Element(child.len() - start));
        child.truncate(start);
        if !self.permissive || stop == Stop::Syntax {
            return stop;
        }
        self.skip_elements().err().unwrap_or(Stop::Value)
    }

    /// The rest of an array behind an element.
    fn skip_elements(&mut self) -> Result<(), Stop> {
        while self.another_here(b']')? {
            self.skip_value()?;
        }
        Ok(())
    }

    /// A value could not be read: the map as a whole does not fit.
    #[cold]
    #[inline(never)]
    fn map_failed(&mut self, stop: Stop, start: usize, children: &mut [Column]) -> Stop {
        let name = String::from_utf8_lossy(children[0].last_bytes()).into_owned();
        self.add_step(Step::Field(name));
        children.iter_mut().for_each(|child| child.truncate(start));
        if !self.permissive || stop == Stop::Syntax {
            return stop;
        }
        self.skip_members().err().unwrap_or(Stop::Value)
    }

    /// The rest of an object behind a value.
    fn skip_members(&mut self) -> Result<(), Stop> {
        while self.another_here(b'}')? {
            self.need_text_here()?;
            self.scratch = self.key_text()?;
            self.colon()?;
            self.skip_value()?;
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn expected_close(&mut self, close: u8) -> Stop {
        self.syntax(&format!("expected `,` or `{}`", close as char))
    }

    /// [`Parser::another`] at the parser's own cursor.
    fn another_here(&mut self, close: u8) -> Result<bool, Stop> {
        let mut cursor = self.cursor;
        let more = self.another(&mut cursor, close);
        self.cursor.move_to(&cursor);
        more
    }

    /// Notes that the text is not JSON at this place, unless something was noted before.
    #[cold]
    #[inline(never)]
    pub(super) fn syntax(&mut self, what: &str) -> Stop {
        let position = self.cursor.position();
        self.note(what.to_owned(), position);
        Stop::Syntax
    }

    /// Notes what is wrong at `position`, unless something was noted before.
    pub(super) fn note(&mut self, what: String, position: usize) {
        self.mistake.get_or_insert_with(|| Box::new(Mistake { what, position, path: Vec::new() }));
    }

    /// The value with the mistake is within this field or element.
    fn add_step(&mut self, step: Step) {
        if let Some(mistake) = &mut self.mistake {
            mistake.path.push(step);
        }
    }
}

/// Steps into a container. Is there anything in it? If not, steps out again.
#[inline(always)]
fn first(cursor: &mut Cursor<'_>, close: u8) -> bool {
    cursor.advance(1);
    let more = cursor.token() != close;
    cursor.advance(usize::from(!more));
    more
}
