//! The schema, prepared for the parser.

use super::keys::KeyTable;
use super::written::Written;
use crate::error::Error;
use crate::schema::{DataType, Field};

/// What a value is turned into; the type of the column beside it.
pub(super) enum Kind {
    Boolean,
    Integer,
    Long,
    Float,
    Double,
    String,
    Binary,
    Date,
    Timestamp,
    Decimal {
        precision: u8,
        scale: i8,
    },
    Struct(Object),
    Array(Box<Kind>),
    /// Keys are strings.
    Map(Box<Kind>),
}

/// A struct.
pub(super) struct Object {
    pub(super) members: Vec<Member>,
    pub(super) table: KeyTable,
    /// The member expected first; `members.len()`: none.
    pub(super) first: u16,
}

pub(super) struct Member {
    pub(super) name: String,
    pub(super) written: Written,
    pub(super) kind: Kind,
    /// The member expected after this one; as many as there are: none. Begins as the order of the
    /// schema and learns from the records.
    pub(super) next: u16,
}

/// Members of one struct; their numbers are kept in 16 bits.
const MEMBERS_MAX: usize = 10_000;

impl Object {
    pub(super) fn new(fields: &[Field]) -> Result<Object, Error> {
        if fields.len() > MEMBERS_MAX {
            let message = format!("a struct of {} members, at most {MEMBERS_MAX}", fields.len());
            return Err(Error::new(message));
        }
        let names: Vec<&[u8]> = fields.iter().map(|field| field.name.as_bytes()).collect();
        let table = KeyTable::new(&names)
            .map_err(|twice| Error::new(format!("`{}` is named twice", fields[twice].name)))?;
        let members = fields.iter().zip(1..).map(|(field, next)| Member::new(field, next));
        Ok(Object { members: members.collect::<Result<_, _>>()?, table, first: 0 })
    }

    /// The members in the order in which the last records had them.
    pub(super) fn order(&self) -> Vec<usize> {
        let mut order = Vec::with_capacity(self.members.len());
        let mut is_new = vec![true; self.members.len()];
        let mut next = usize::from(self.first);
        while is_new.get_mut(next).is_some_and(std::mem::take) {
            order.push(next);
            next = usize::from(self.members[next].next);
        }
        order
    }

    /// Member `index` came behind `previous`, or as the first.
    pub(super) fn learn(&mut self, previous: Option<usize>, index: usize) {
        let expected = match previous {
            Some(previous) => &mut self.members[previous].next,
            None => &mut self.first,
        };
        *expected = index as u16;
    }
}

impl Member {
    fn new(field: &Field, next: u16) -> Result<Member, Error> {
        let kind = Kind::new(&field.data_type)
            .map_err(|why| Error::new(format!("`{}`: {why}", field.name)))?;
        let written = Written::new(&field.name);
        Ok(Member { name: field.name.clone(), written, kind, next })
    }
}

impl Kind {
    fn new(data_type: &DataType) -> Result<Kind, Error> {
        Ok(match data_type {
            DataType::Boolean => Kind::Boolean,
            DataType::Integer => Kind::Integer,
            DataType::Long => Kind::Long,
            DataType::Float => Kind::Float,
            DataType::Double => Kind::Double,
            DataType::String => Kind::String,
            DataType::Binary => Kind::Binary,
            DataType::Date => Kind::Date,
            DataType::Timestamp => Kind::Timestamp,
            &DataType::Decimal { precision, scale } => Kind::Decimal { precision, scale },
            DataType::Struct(fields) => Kind::Struct(Object::new(fields)?),
            DataType::Array { element, .. } => Kind::Array(Box::new(Kind::new(element)?)),
            DataType::Map { key, value, .. } if **key == DataType::String => {
                Kind::Map(Box::new(Kind::new(value)?))
            }
            DataType::Map { key, .. } => {
                return Err(Error::new(format!("keys of a map are strings in JSON, not {key}")));
            }
        })
    }

    /// For messages: the type in Spark's words.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Kind::Boolean => "boolean",
            Kind::Integer => "int",
            Kind::Long => "long",
            Kind::Float => "float",
            Kind::Double => "double",
            Kind::String => "string",
            Kind::Binary => "binary (base64)",
            Kind::Date => "date",
            Kind::Timestamp => "timestamp",
            Kind::Decimal { .. } => "decimal",
            Kind::Struct(_) => "an object",
            Kind::Array(_) => "an array",
            Kind::Map(_) => "an object",
        }
    }
}
