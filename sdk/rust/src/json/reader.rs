//! The parser's front: texts in, rows in columns out.

use std::ops::Range;

use super::cursor::READ_AHEAD_BYTES;
use super::mistake::{Mistake, Stop};
use super::object::Parser;
use super::outline::Outline;
use super::plan::Object;
use super::written::Style;
use crate::column::Column;
use crate::column_view::ColumnView;
use crate::error::Error;
use crate::schema::Field;

/// Bytes of text that one reader takes before it must be cleared. What becomes of a text is at most
/// a few times as long, so that offsets stay within 32 bits.
const TEXT_BYTES_MAX: usize = 128 << 20;

/// What a reader does with a value that does not fit its type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnMistake {
    /// The text is refused as a whole: all columns null, and a [`Mistake`].
    #[default]
    Reject,
    /// As Spark's PERMISSIVE: the value becomes null, the others stay, and a [`Mistake`]. Bytes
    /// that are not UTF-8 are replaced.
    Permissive,
}

/// Reads JSON objects into columns, one row per text whatever is in it.
pub struct JsonReader {
    plan: Object,
    columns: Vec<Column>,
    on_mistake: OnMistake,
    row_count: usize,
    text_bytes: usize,
    /// A text that needs room behind it.
    padded: Vec<u8>,
    scratch: Vec<u8>,
    /// None: all texts are read in one pass.
    outline: Option<Outline>,
    /// Texts that are read one by one after one that was not as expected. Doubles with each.
    detour: usize,
}

/// Texts that are outlined before their columns are filled: few enough that all of it stays in the
/// first cache.
const BLOCK_TEXTS: usize = 64;

/// The longest detour.
const DETOUR_TEXTS_MAX: usize = 256;

/// What became of a block.
struct Block {
    read: usize,
    /// Texts behind it that have to be read one by one.
    stopped: usize,
}

impl JsonReader {
    /// A reader for objects with these members. Err: a type that JSON cannot hold, or two members
    /// of one name.
    pub fn new(fields: &[Field], on_mistake: OnMistake) -> Result<JsonReader, Error> {
        let reader = JsonReader {
            plan: Object::new(fields)?,
            columns: fields.iter().map(|field| Column::new(&field.data_type)).collect(),
            on_mistake,
            row_count: 0,
            text_bytes: 0,
            padded: Vec::new(),
            scratch: Vec::new(),
            outline: None,
            detour: 0,
        };
        Ok(reader.in_two_passes(cfg!(target_arch = "wasm32")))
    }

    /// Whether texts that are alike are read in two passes, for tests and benchmarks: the rows are the same. By default
    /// they are in WebAssembly, where it takes a tenth less time, and nowhere else, where it takes a tenth more.
    pub fn in_two_passes(mut self, wanted: bool) -> JsonReader {
        self.outline =
            if wanted { Outline::new(&self.plan, BLOCK_TEXTS, Style::default()) } else { None };
        self
    }

    /// Forgets all rows and keeps the memory.
    pub fn clear(&mut self) {
        self.columns.iter_mut().for_each(Column::clear);
        self.row_count = 0;
        self.text_bytes = 0;
    }

    pub fn is_permissive(&self) -> bool {
        self.on_mistake == OnMistake::Permissive
    }

    /// Rows read since the last `clear`.
    pub fn row_count(&self) -> usize {
        self.row_count
    }

    /// One column per member of the schema, each of `row_count` rows.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    pub fn columns_mut(&mut self) -> &mut [Column] {
        &mut self.columns
    }

    /// Reads a column of strings or binaries: a row for each element, all null for a null or a
    /// blank text. `on_mistake` is called with the element's index, in ascending order.
    pub fn read_column(
        &mut self,
        texts: &ColumnView<'_>,
        mut on_mistake: impl FnMut(usize, &Mistake),
    ) {
        let mut index = 0;
        while index < texts.len() {
            let block = self.read_block(texts, index);
            index += block.read;
            if block.stopped == 0 {
                continue;
            }
            let stopped_at = (index < texts.len()).then(|| texts.bytes_at(index));
            let detour = self.detour_behind(&block, stopped_at).min(texts.len() - index);
            for index in index..index + detour {
                if let Err(mistake) = self.read_element(texts, index) {
                    on_mistake(index, &mistake);
                }
            }
            index += detour;
        }
    }

    /// Reads elements from `first` on in two passes, as long as they are as expected.
    fn read_block(&mut self, texts: &ColumnView<'_>, first: usize) -> Block {
        let nothing = Block { read: 0, stopped: 1 };
        let (Some(outline), bytes) = (&mut self.outline, texts.value_bytes()) else {
            return nothing;
        };
        let Some(readable) = bytes.len().checked_sub(READ_AHEAD_BYTES) else { return nothing };
        let offsets = texts.offsets();
        let text_bytes = |range: Range<usize>| (offsets[range.end] - offsets[range.start]) as usize;
        let last = texts.len().min(first + BLOCK_TEXTS);
        let fits =
            |index: &usize| !texts.is_null(*index) && offsets[index + 1] as usize <= readable;
        let last = first + (first..last).take_while(fits).count();
        if self.text_bytes + text_bytes(first..last) > TEXT_BYTES_MAX {
            return nothing;
        }
        let count = outline.trace(bytes, &offsets[first..=last]);
        if outline.has_full_table() {
            outline.place_tables();
            return Block { read: 0, stopped: count + 1 };
        }
        if count == 0 {
            return nothing;
        }
        let scratch = std::mem::take(&mut self.scratch);
        let mut parser = Parser::new(bytes, offsets[first + count] as usize, false, scratch);
        let filled = parser.fill(&mut self.plan, outline, &mut self.columns, count);
        self.scratch = std::mem::take(&mut parser.scratch);
        if !filled {
            self.forget_half_a_row();
            return Block { read: 0, stopped: count };
        }
        self.row_count += count;
        self.text_bytes += text_bytes(first..first + count);
        Block { read: count, stopped: usize::from(count < BLOCK_TEXTS) }
    }

    /// How many texts are read one by one behind a block that was stopped by this text.
    fn detour_behind(&mut self, block: &Block, text: Option<&[u8]>) -> usize {
        if let Some(outline) = &self.outline {
            let style = text.and_then(Style::of).unwrap_or(outline.style());
            if outline.is_outdated(&self.plan, style) {
                self.outline = Outline::new(&self.plan, BLOCK_TEXTS, style);
            }
        }
        let last = if block.read > self.detour { 0 } else { self.detour };
        self.detour = (last * 2).clamp(1, DETOUR_TEXTS_MAX);
        self.detour.max(block.stopped)
    }

    /// Reads one element by itself.
    fn read_element(&mut self, texts: &ColumnView<'_>, index: usize) -> Result<(), Box<Mistake>> {
        if texts.is_null(index) {
            self.push_nulls();
            return Ok(());
        }
        let (offsets, bytes) = (texts.offsets(), texts.value_bytes());
        let (start, end) = (offsets[index] as usize, offsets[index + 1] as usize);
        match bytes.len() - end >= READ_AHEAD_BYTES {
            true => self.read_padded(&bytes[start..], end - start, false),
            false => self.read_copied(&bytes[start..end], false),
        }
    }

    /// Reads one text.
    pub fn read(&mut self, text: &[u8]) -> Result<(), Box<Mistake>> {
        self.read_copied(text, false)
    }

    /// Reads a text that has nothing behind it.
    fn read_copied(&mut self, text: &[u8], utf8: bool) -> Result<(), Box<Mistake>> {
        let mut padded = std::mem::take(&mut self.padded);
        padded.clear();
        padded.extend_from_slice(text);
        padded.resize(text.len() + READ_AHEAD_BYTES, 0);
        let read = self.read_padded(&padded, text.len(), utf8);
        self.padded = padded;
        read
    }

    /// Reads the first `length` bytes of `buffer`. `utf8`: they are known to be UTF-8.
    fn read_padded(
        &mut self,
        buffer: &[u8],
        length: usize,
        utf8: bool,
    ) -> Result<(), Box<Mistake>> {
        self.text_bytes = self.text_bytes.saturating_add(length);
        if self.text_bytes > TEXT_BYTES_MAX {
            return self.refuse(format!("more than {TEXT_BYTES_MAX} bytes of text in a batch"), 0);
        }
        let permissive = self.on_mistake == OnMistake::Permissive;
        let scratch = std::mem::take(&mut self.scratch);
        let mut parser = Parser::new(buffer, length, permissive, scratch);
        let read = parser.document(&mut self.plan, &mut self.columns, self.row_count);
        let mistake = parser.mistake.take();
        self.scratch = std::mem::take(&mut parser.scratch);
        if parser.not_ascii != 0
            && !utf8
            && let Err(error) = std::str::from_utf8(parser.cursor.since(0))
        {
            self.forget_half_a_row();
            return self.read_replaced(&buffer[..length], error.valid_up_to());
        }
        match read {
            Ok(Document::Object) => self.row_count += 1,
            Ok(Document::Blank) => self.push_nulls(),
            Err(_) => {
                self.forget_half_a_row();
                self.push_nulls();
            }
        }
        match mistake {
            None => Ok(()),
            Some(mistake) => Err(ended(mistake, length)),
        }
    }

    /// A text that is not UTF-8: with replacement characters if the reader is permissive.
    #[cold]
    fn read_replaced(&mut self, text: &[u8], position: usize) -> Result<(), Box<Mistake>> {
        match self.on_mistake {
            OnMistake::Reject => self.refuse("not UTF-8".to_owned(), position),
            OnMistake::Permissive => {
                let replaced = String::from_utf8_lossy(text).into_owned();
                self.read_copied(replaced.as_bytes(), true)
            }
        }
    }

    fn refuse(&mut self, what: String, position: usize) -> Result<(), Box<Mistake>> {
        self.push_nulls();
        Err(Box::new(Mistake { what, position, path: Vec::new() }))
    }

    #[cold]
    fn forget_half_a_row(&mut self) {
        let row_count = self.row_count;
        self.columns.iter_mut().for_each(|column| column.truncate(row_count));
    }

    fn push_nulls(&mut self) {
        self.columns.iter_mut().for_each(Column::push_null);
        self.row_count += 1;
    }
}

/// What was in a text.
enum Document {
    Object,
    /// Nothing but blanks.
    Blank,
}

impl Parser<'_> {
    /// The first object of the text. What follows it is not looked at, as in Spark.
    fn document(
        &mut self,
        plan: &mut Object,
        columns: &mut Vec<Column>,
        row: usize,
    ) -> Result<Document, Stop> {
        let first = self.cursor.token();
        if self.cursor.need_text().is_err() {
            return Ok(Document::Blank);
        }
        if first != b'{' {
            return Err(self.syntax(&format!("expected an object, found {}", named(first))));
        }
        self.object(plan, columns, row)?;
        match self.cursor.within_text() {
            true => Ok(Document::Object),
            false => Err(self.syntax("")),
        }
    }
}

/// What begins with this byte, for messages.
fn named(first: u8) -> &'static str {
    match first {
        b'[' => "an array",
        b'"' | b'\'' => "a string",
        b'0'..=b'9' | b'-' => "a number",
        b'n' => "null or no JSON",
        b't' | b'f' => "a boolean or no JSON",
        0xef => "a byte order mark",
        _ => "no JSON",
    }
}

/// A mistake behind the end of the text is that it ended.
fn ended(mut mistake: Box<Mistake>, length: usize) -> Box<Mistake> {
    if mistake.position >= length {
        mistake.what = "the text ends too early,".to_owned();
        mistake.position = length;
    }
    mistake
}
