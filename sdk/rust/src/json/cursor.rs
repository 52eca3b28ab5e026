//! Where the parser is in a text. The only place of the parser that reads memory through pointers.
//!
//! The text lies in a larger buffer with at least [`READ_AHEAD_BYTES`] bytes behind it, of any
//! content. Reads are not checked one by one; instead every loop begins with [`Cursor::need_text`],
//! and between two of these checks the parser moves at most [`STEP_BYTES_MAX`] bytes. What it takes
//! for JSON behind the end of the text does no harm: a document that ends behind the end of its
//! text is refused as a whole.
//!
//! The loops that nearly all time is spent in move a copy of the parser's cursor. As long as
//! nothing that is not inlined borrows the copy, it lives in registers; a cursor in memory is
//! stored and loaded again at every step, and each step waits for the one before.

use std::marker::PhantomData;
use std::ops::Range;

use super::{compare, scan};

/// The furthest that the parser moves between two checks: a predicted key (up to 64 bytes), blanks,
/// a number or the first bytes of a string, punctuation.
const STEP_BYTES_MAX: usize = 104;

/// Bytes behind the text that may be read: a step and the 16 bytes of one look.
pub(super) const READ_AHEAD_BYTES: usize = STEP_BYTES_MAX + 24;

/// The longest key, with its quotes and colon, that is compared without a check.
pub(super) const KEY_BYTES_MAX: usize = 64;

#[derive(Clone, Copy)]
pub(super) struct Cursor<'t> {
    at: *const u8,
    start: *const u8,
    /// The end of the text.
    end: *const u8,
    text: PhantomData<&'t [u8]>,
}

/// The text is over.
pub(super) struct Ended;

impl<'t> Cursor<'t> {
    /// The first `length` bytes of `buffer` are the text; behind them are at least
    /// [`READ_AHEAD_BYTES`] more.
    pub(super) fn new(buffer: &'t [u8], length: usize) -> Cursor<'t> {
        Cursor::part(buffer, 0..length)
    }

    /// The text is `part` of `buffer`, and behind it are at least [`READ_AHEAD_BYTES`] more.
    /// Positions count from the start of the buffer.
    pub(super) fn part(buffer: &'t [u8], part: Range<usize>) -> Cursor<'t> {
        let readable = buffer.len().checked_sub(READ_AHEAD_BYTES);
        assert!(part.start <= part.end && readable.is_some_and(|readable| part.end <= readable));
        let start = buffer.as_ptr();
        // SAFETY: within `buffer`, just asserted.
        let (at, end) = unsafe { (start.add(part.start), start.add(part.end)) };
        Cursor { at, start, end, text: PhantomData }
    }

    /// There is a byte left. Called in every loop; see the top of the file.
    #[inline(always)]
    pub(super) fn need_text(&self) -> Result<(), Ended> {
        if self.at < self.end { Ok(()) } else { Err(Ended) }
    }

    /// The document, complete at this point, lies within the text.
    pub(super) fn within_text(&self) -> bool {
        self.at <= self.end
    }

    /// Bytes from the start of the text; may lie behind its end.
    pub(super) fn position(&self) -> usize {
        self.at.addr() - self.start.addr()
    }

    /// Back to a place where the parser was before.
    pub(super) fn go_to(&mut self, position: usize) {
        debug_assert!(position <= self.position());
        // SAFETY: not ahead of `at`, which is in the buffer.
        self.at = unsafe { self.start.add(position) };
    }

    /// To where a cursor of this buffer has been.
    pub(super) fn jump(&mut self, position: usize) {
        self.assert_within(position);
        // SAFETY: within the buffer by contract.
        self.at = unsafe { self.start.add(position) };
    }

    /// A part of the buffer up to the end of the text.
    pub(super) fn between(&self, part: Range<usize>) -> &'t [u8] {
        assert!(part.start <= part.end && part.end <= self.end.addr() - self.start.addr());
        // SAFETY: within the buffer, just asserted.
        unsafe { std::slice::from_raw_parts(self.start.add(part.start), part.len()) }
    }

    /// To where another cursor of the same text is.
    #[inline(always)]
    pub(super) fn move_to(&mut self, other: &Cursor<'t>) {
        debug_assert!(self.start == other.start && self.end == other.end);
        self.at = other.at;
    }

    #[inline(always)]
    pub(super) fn advance(&mut self, bytes: usize) {
        self.assert_readable(bytes);
        // SAFETY: a step, see the top of the file.
        self.at = unsafe { self.at.add(bytes) };
    }

    /// Steps over bytes of [`Cursor::rest`].
    #[inline(always)]
    pub(super) fn skip_text(&mut self, bytes: usize) {
        assert!(bytes <= self.rest().len());
        // SAFETY: within the text, just asserted.
        self.at = unsafe { self.at.add(bytes) };
    }

    /// The byte here.
    #[inline(always)]
    pub(super) fn byte(&self) -> u8 {
        self.assert_readable(1);
        // SAFETY: at most a step behind the last check.
        unsafe { *self.at }
    }

    /// The next 8 bytes, the first in the lowest place.
    #[inline(always)]
    pub(super) fn eight(&self) -> u64 {
        self.assert_readable(8);
        // SAFETY: as in `byte`, and READ_AHEAD_BYTES leaves room for a look.
        u64::from_le_bytes(unsafe { self.at.cast::<[u8; 8]>().read_unaligned() })
    }

    /// The 8 bytes behind the next 8.
    #[inline(always)]
    pub(super) fn eight_behind(&self) -> u64 {
        let mut cursor = *self;
        cursor.advance(8);
        cursor.eight()
    }

    /// 8 bytes from `position` on, where a cursor of this buffer has been.
    #[inline(always)]
    pub(super) fn eight_at(&self, position: usize) -> u64 {
        self.assert_within(position);
        // SAFETY: behind the end of the text are READ_AHEAD_BYTES.
        u64::from_le_bytes(unsafe { self.start.add(position).cast::<[u8; 8]>().read_unaligned() })
    }

    /// 16 bytes from `position` on, where a cursor of this buffer has been.
    #[inline(always)]
    pub(super) fn sixteen_at(&self, position: usize) -> [u8; 16] {
        self.assert_within(position);
        // SAFETY: as in `eight_at`.
        unsafe { self.start.add(position).cast::<[u8; 16]>().read_unaligned() }
    }

    /// The next 16 bytes.
    #[inline(always)]
    pub(super) fn sixteen(&self) -> [u8; 16] {
        self.assert_readable(16);
        // SAFETY: as in `eight`.
        unsafe { self.at.cast::<[u8; 16]>().read_unaligned() }
    }

    /// How many of the next 16 bytes come before a `"`, a `\` or a control character.
    #[inline(always)]
    pub(super) fn plain_bytes(&self) -> scan::Plain {
        self.assert_readable(16);
        // SAFETY: as in `eight`.
        unsafe { scan::plain_bytes(self.at) }
    }

    /// Are the 32 bytes behind `distance`, under `mask`, equal to `bytes`?
    #[inline(always)]
    pub(super) fn masked_equal(&self, distance: usize, bytes: &[u8; 32], mask: &[u8; 32]) -> bool {
        debug_assert!(distance + 32 <= KEY_BYTES_MAX);
        self.assert_readable(distance + 32);
        // SAFETY: keys are at most a step, and `need_text` stands before every key.
        unsafe { compare::masked_equal(self.at.add(distance), bytes, mask) }
    }

    /// Steps over one blank, if there is one.
    #[inline(always)]
    pub(super) fn skip_blank(&mut self) {
        if self.byte() == b' ' {
            // No addition of 0 or 1: every step from here on would wait for it.
            std::hint::cold_path();
            self.advance(1);
        }
    }

    /// Steps over blanks; the byte behind them (behind the text: of no meaning).
    #[inline(always)]
    pub(super) fn token(&mut self) -> u8 {
        let byte = self.byte();
        if byte > b' ' {
            return byte;
        }
        let mut ahead = *self;
        ahead.advance(1);
        let next = ahead.byte();
        if byte == b' ' && next > b' ' {
            *self = ahead;
            return next;
        }
        self.skip_text(count_blanks(self.rest()));
        if self.need_text().is_ok() { self.byte() } else { 0 }
    }

    /// The bytes from `position` to here, as far as they belong to the text.
    pub(super) fn since(&self, position: usize) -> &'t [u8] {
        let length = self.end.addr() - self.start.addr();
        let end = self.position().min(length);
        let start = position.min(end);
        // SAFETY: `start..end` lies in the text, which lives for 't.
        unsafe { std::slice::from_raw_parts(self.start.add(start), end - start) }
    }

    /// What is left of the text.
    #[inline(always)]
    pub(super) fn rest(&self) -> &'t [u8] {
        let bytes = self.end.addr().saturating_sub(self.at.addr());
        // SAFETY: `at` up to `end` lies in the text; if `at` is behind it the slice is empty.
        unsafe { std::slice::from_raw_parts(self.at, bytes) }
    }

    #[inline(always)]
    fn assert_within(&self, position: usize) {
        debug_assert!(self.start.addr() + position <= self.end.addr());
    }

    #[inline(always)]
    fn assert_readable(&self, bytes: usize) {
        debug_assert!(self.at.addr() + bytes <= self.end.addr() + READ_AHEAD_BYTES);
    }
}

/// Blanks at the start.
#[cold]
#[inline(never)]
fn count_blanks(text: &[u8]) -> usize {
    let blank = |byte: &&u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    text.iter().take_while(blank).count()
}
