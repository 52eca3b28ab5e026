//! The schema, prepared for the parser.

use super::cursor::KEY_BYTES_MAX;
use super::keys::KeyTable;
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
    /// The member expected first (at 0) and after member i (at i + 1); `members.len()`: none.
    /// Begins as the order of the schema and learns from the records.
    pub(super) follows: Vec<u16>,
}

pub(super) struct Member {
    pub(super) name: String,
    /// The key as most producers write it: in quotes and with its colon. Empty if it is too long,
    /// or would have to be escaped.
    pub(super) written: Vec<u8>,
    pub(super) kind: Kind,
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
        let members = fields.iter().map(Member::new).collect::<Result<Vec<_>, _>>()?;
        let follows = (0..=members.len() as u16).collect();
        Ok(Object { members, table, follows })
    }
}

impl Member {
    fn new(field: &Field) -> Result<Member, Error> {
        let kind = Kind::new(&field.data_type)
            .map_err(|why| Error::new(format!("`{}`: {why}", field.name)))?;
        let plain = field.name.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
        let mut written = format!("\"{}\":", field.name).into_bytes();
        if !plain || written.len() > KEY_BYTES_MAX {
            written.clear();
        }
        Ok(Member { name: field.name.clone(), written, kind })
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
