//! Where the values of texts lie, before a look at what they are.
//!
//! Most records of a stream have the same members in the same order. So they are read in two passes: `trace.rs` steps
//! over a text from key to key and notes the place of each value, then `fill.rs` turns the places into columns, one
//! column at a time. Both passes are small loops that call nothing. They keep their few values in registers, also as
//! WebAssembly, where a compiler keeps none across a call; and values that are converted one after the other do not wait
//! for each other.
//!
//! A text that is not as expected, down to the blanks, is left to the parser of one pass (`object.rs`), which knows all of
//! JSON. Which blanks are expected is guessed from the texts, too.

use super::plan::{Kind, Object};
use super::trace::RUN_STEPS;
use super::written::{Style, Written};

/// Where one value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// Bytes from the start of the buffer; of a string, behind its quote. Of an array: elements in
    /// the table of its elements so far.
    pub(super) at: u32,
    /// Bytes, with [`QUOTED`] and [`ESCAPED`] in those of a string; of an array, [`ARRAY`] or [`NO_ARRAY`].
    pub(super) length: u32,
}

/// In the length of a value: it stands in quotes.
pub(super) const QUOTED: u32 = 1 << 31;

/// In the length of a value in quotes: it has escapes.
pub(super) const ESCAPED: u32 = 1 << 30;

/// In place of the length of an array.
pub(super) const ARRAY: u32 = 0;

/// In place of the length of an array that is null.
pub(super) const NO_ARRAY: u32 = 1;

/// Spots of one table at most, half a megabyte. Texts with longer arrays are left to the parser of one pass.
const TABLE_SPOTS_MAX: usize = 1 << 16;

/// A schema as the way through its texts.
pub(super) struct Outline {
    /// What comes next, in the order of a text; within an array once.
    pub(super) steps: Vec<Step>,
    /// Of the documents, then of the elements of each array.
    pub(super) tables: Vec<Table>,
    pub(super) spots: Vec<Spot>,
    style: Style,
}

pub(super) struct Step {
    /// Of a scalar, with the comma or brace before it. Others have none, so that the loop over scalars stops here.
    pub(super) key: Written,
    /// Index of the member in its struct.
    pub(super) member: usize,
    pub(super) kind: StepKind,
}

pub(super) enum StepKind {
    Scalar,
    /// The key of a struct within a struct. Its members follow, and become part of the same table.
    Struct(Box<Written>),
    /// `}` of it.
    EndStruct,
    /// `[` of an array whose elements go into `table`. The steps of an element, if it is a struct,
    /// follow. Behind them, or here, is step `behind`.
    Array {
        key: Box<Written>,
        table: usize,
        behind: usize,
        structs: bool,
    },
    /// `}` of an element: the next one begins again behind step `array`.
    EndElement {
        array: usize,
    },
    /// `}` of the document.
    End,
}

/// The spots of structs of one kind, or of scalars in arrays.
#[derive(Clone, Default)]
pub(super) struct Table {
    /// Spots of one struct.
    pub(super) stride: usize,
    /// Its spots are `spots[begin..end]`.
    pub(super) begin: usize,
    pub(super) end: usize,
    /// Where the next spot goes, while spots go into another table.
    pub(super) next: usize,
    /// Structs or scalars so far.
    pub(super) count: u32,
    /// There was too little room.
    pub(super) full: bool,
}

impl Outline {
    /// An outline for so many texts at a time. None: the schema has a type that cannot be outlined, or
    /// no members, or too many.
    pub(super) fn new(plan: &Object, texts: usize, style: Style) -> Option<Outline> {
        let (steps, tables, spots) = (Vec::new(), vec![Table::default()], Vec::new());
        let mut outline = Outline { steps, tables, spots, style };
        outline.push_members(plan, 0)?;
        // As many as a run looks at, so that one check is enough for it.
        (0..RUN_STEPS).for_each(|_| outline.push(usize::MAX, StepKind::End));
        for (index, table) in outline.tables.iter_mut().enumerate() {
            table.end = table.stride * if index == 0 { texts } else { 8 * texts };
        }
        if outline.tables.iter().any(|table| table.end > TABLE_SPOTS_MAX) {
            return None;
        }
        outline.place_tables();
        Some(outline)
    }

    fn push(&mut self, member: usize, kind: StepKind) {
        self.steps.push(Step { key: Written::NONE, member, kind });
    }

    fn push_members(&mut self, plan: &Object, table: usize) -> Option<()> {
        let order = plan.order();
        // Without a first key nobody would look at the brace.
        order.first()?;
        for (place, index) in order.into_iter().enumerate() {
            let member = &plan.members[index];
            let key = match place {
                0 => Written::first(&member.name, self.style),
                _ => Written::further(&member.name, self.style),
            };
            match &member.kind {
                Kind::Map(_) => return None,
                Kind::Struct(inner) => {
                    self.push(index, StepKind::Struct(Box::new(key)));
                    self.push_members(inner, table)?;
                    self.push(index, StepKind::EndStruct);
                }
                Kind::Array(element) => {
                    self.tables[table].stride += 1;
                    self.push_array(index, key, element)?;
                }
                _ => {
                    self.tables[table].stride += 1;
                    self.steps.push(Step { key, member: index, kind: StepKind::Scalar });
                }
            }
        }
        Some(())
    }

    fn push_array(&mut self, member: usize, key: Written, element: &Kind) -> Option<()> {
        let (array, table, key) = (self.steps.len(), self.tables.len(), Box::new(key));
        self.tables.push(Table { stride: 1, ..Table::default() });
        match element {
            Kind::Array(_) | Kind::Map(_) => return None,
            Kind::Struct(inner) => {
                self.tables[table].stride = 0;
                self.push(member, StepKind::End);
                self.push_members(inner, table)?;
                self.push(member, StepKind::EndElement { array });
                let behind = self.steps.len();
                self.steps[array].kind = StepKind::Array { key, table, behind, structs: true };
            }
            _ => {
                let behind = array + 1;
                self.push(member, StepKind::Array { key, table, behind, structs: false });
            }
        }
        Some(())
    }

    /// Does it expect another style, or the members in another order than the plan does by now?
    pub(super) fn is_outdated(&self, plan: &Object, style: Style) -> bool {
        let mut steps = self.steps.iter();
        self.style != style || !expects_order(&mut steps, plan)
    }

    pub(super) fn style(&self) -> Style {
        self.style
    }

    /// Gives each table its part of `spots`: as long as it is, or double if it was too short and is not too long.
    pub(super) fn place_tables(&mut self) {
        let mut begin = 0;
        for table in &mut self.tables {
            let length = table.end - table.begin;
            let length = length << usize::from(table.full && length < TABLE_SPOTS_MAX / 2);
            (table.begin, table.end, table.full) = (begin, begin + length, false);
            begin = table.end;
        }
        self.spots.resize(begin + RUN_STEPS, Spot { at: 0, length: 0 });
    }

    pub(super) fn has_full_table(&self) -> bool {
        self.tables.iter().any(|table| table.full)
    }

    /// The spots of the first structs or scalars of a table.
    pub(super) fn spots(&self, table: usize, count: usize) -> &[Spot] {
        let table = &self.tables[table];
        &self.spots[table.begin..table.begin + count * table.stride]
    }
}

fn expects_order(steps: &mut std::slice::Iter<'_, Step>, plan: &Object) -> bool {
    for index in plan.order() {
        let Some(step) = steps.next() else { return false };
        if step.member != index {
            return false;
        }
        let inner = match (&step.kind, &plan.members[index].kind) {
            (StepKind::Struct(_), Kind::Struct(inner)) => inner,
            (StepKind::Array { structs: true, .. }, Kind::Array(element)) => match &**element {
                Kind::Struct(inner) => inner,
                _ => return false,
            },
            _ => continue,
        };
        if !expects_order(steps, inner) {
            return false;
        }
        steps.next();
    }
    matches!(
        steps.as_slice().first().map(|step| &step.kind),
        Some(StepKind::End | StepKind::EndElement { .. } | StepKind::EndStruct)
    )
}
