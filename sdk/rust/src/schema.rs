//! Types and names of columns, with Spark's words: the schema JSON of `describe` (describe.md) and,
//! in [`crate::ddl`], the DDL text that people write.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};
use serde_json::Value;

use crate::error::Error;
use crate::nearest::hint;

/// Nesting of types beyond which a schema is refused: each level of a document costs a level of the
/// stack.
pub const TYPE_DEPTH_MAX: usize = 64;

/// The type of a column or of a nested value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataType {
    Boolean,
    /// 32 bits, signed.
    Integer,
    /// 64 bits, signed; exact in every stage.
    Long,
    /// 32 bits, IEEE 754.
    Float,
    /// 64 bits, IEEE 754.
    Double,
    /// UTF-8.
    String,
    Binary,
    /// Days since 1970-01-01.
    Date,
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp,
    /// An integer of at most `precision` digits (1 to 38), `scale` of them behind the point.
    Decimal {
        precision: u8,
        scale: i8,
    },
    Struct(Vec<Field>),
    Array {
        element: Box<DataType>,
        contains_null: bool,
    },
    Map {
        key: Box<DataType>,
        value: Box<DataType>,
        value_contains_null: bool,
    },
}

/// A column, or a member of a struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    pub data_type: DataType,
    pub nullable: bool,
}

impl Field {
    /// A nullable field, as nearly all are.
    pub fn new(name: impl Into<String>, data_type: DataType) -> Field {
        Field { name: name.into(), data_type, nullable: true }
    }
}

/// The columns of a batch, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    pub fields: Vec<Field>,
}

impl Schema {
    pub fn new(fields: Vec<Field>) -> Schema {
        Schema { fields }
    }

    /// Where the column of exactly this name stands.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    /// The column of exactly this name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| field.name.as_str())
    }

    /// The column that the configuration names under `key`. Err: there is none; the message lists
    /// what there is.
    pub fn require(&self, key: &str, name: &str) -> Result<&Field, Error> {
        self.field(name).ok_or_else(|| {
            let hint = hint(name, "columns", self.names());
            Error::config(key, format!("no column `{name}`; {hint}"))
        })
    }
}

impl DataType {
    /// The members of a struct; of any other type none.
    pub fn fields(&self) -> &[Field] {
        match self {
            DataType::Struct(fields) => fields,
            _ => &[],
        }
    }
}

/// Spark's DDL, as `parse_schema` reads it: `array<struct<item_id: long>>`.
impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DataType::Boolean => f.write_str("boolean"),
            DataType::Integer => f.write_str("int"),
            DataType::Long => f.write_str("long"),
            DataType::Float => f.write_str("float"),
            DataType::Double => f.write_str("double"),
            DataType::String => f.write_str("string"),
            DataType::Binary => f.write_str("binary"),
            DataType::Date => f.write_str("date"),
            DataType::Timestamp => f.write_str("timestamp"),
            DataType::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            DataType::Struct(fields) => {
                f.write_str("struct<")?;
                for (i, field) in fields.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}{}: {}", Name(&field.name), field.data_type)?;
                }
                f.write_str(">")
            }
            DataType::Array { element, .. } => write!(f, "array<{element}>"),
            DataType::Map { key, value, .. } => write!(f, "map<{key}, {value}>"),
        }
    }
}

/// Spark's DDL: `order_id long, city string`.
impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, field) in self.fields.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{} {}", Name(&field.name), field.data_type)?;
        }
        Ok(())
    }
}

/// A name as DDL writes it: back-quoted unless it is a plain word.
struct Name<'a>(&'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !self.0.is_empty() && self.0.chars().all(plain) {
            return f.write_str(self.0);
        }
        write!(f, "`{}`", self.0.replace('`', "``"))
    }
}

impl DataType {
    /// The type in Spark's schema JSON.
    pub fn to_json(&self) -> Value {
        match self {
            DataType::Integer => Value::from("integer"),
            DataType::Struct(fields) => object([
                ("type", Value::from("struct")),
                ("fields", fields.iter().map(Field::to_json).collect()),
            ]),
            DataType::Array { element, contains_null } => object([
                ("type", Value::from("array")),
                ("elementType", element.to_json()),
                ("containsNull", Value::from(*contains_null)),
            ]),
            DataType::Map { key, value, value_contains_null } => object([
                ("type", Value::from("map")),
                ("keyType", key.to_json()),
                ("valueType", value.to_json()),
                ("valueContainsNull", Value::from(*value_contains_null)),
            ]),
            scalar => Value::from(scalar.to_string()),
        }
    }
}

impl Field {
    /// The field in Spark's schema JSON.
    pub fn to_json(&self) -> Value {
        object([
            ("name", Value::from(self.name.as_str())),
            ("type", self.data_type.to_json()),
            ("nullable", Value::from(self.nullable)),
        ])
    }

    /// A field out of Spark's schema JSON.
    pub fn from_json(value: &Value) -> Result<Field, Error> {
        field_from_json(value, 0).map_err(Error::new)
    }
}

impl Schema {
    /// As Spark writes the whole of a schema: a struct.
    pub fn to_json(&self) -> Value {
        object([
            ("type", Value::from("struct")),
            ("fields", self.fields.iter().map(Field::to_json).collect()),
        ])
    }

    /// A schema out of Spark's schema JSON.
    pub fn from_json(value: &Value) -> Result<Schema, Error> {
        match type_from_json(value, 0).map_err(Error::new)? {
            DataType::Struct(fields) => Ok(Schema { fields }),
            other => Err(Error::new(format!("a schema is a struct, not {other}"))),
        }
    }
}

pub(crate) fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let mut object = serde_json::Map::new();
    for (name, value) in members {
        object.insert(name.to_owned(), value);
    }
    Value::Object(object)
}

// Through `Value`, not directly: a schema is small, and code for every serializer would not be.

impl Serialize for DataType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for DataType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<DataType, D::Error> {
        let value = Value::deserialize(deserializer)?;
        type_from_json(&value, 0).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Field, D::Error> {
        Field::from_json(&Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Schema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Schema, D::Error> {
        Schema::from_json(&Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// A type in Spark's schema JSON. Members that are not known are ignored: the format may grow.
fn type_from_json(value: &Value, depth: usize) -> Result<DataType, String> {
    if depth > TYPE_DEPTH_MAX {
        return Err(format!("types are nested more than {TYPE_DEPTH_MAX} deep"));
    }
    if let Some(name) = value.as_str() {
        return crate::ddl::scalar_type(name);
    }
    let member = |name: &str| value.get(name).ok_or_else(|| format!("a type lacks `{name}`"));
    let flag = |name: &str| value.get(name).and_then(Value::as_bool).unwrap_or(true);
    let nested = |name: &str| type_from_json(member(name)?, depth + 1).map(Box::new);
    match member("type")?.as_str() {
        Some("struct") => {
            let fields = member("fields")?.as_array().ok_or("`fields` is not a list")?;
            let fields = fields.iter().map(|field| field_from_json(field, depth + 1));
            Ok(DataType::Struct(fields.collect::<Result<_, _>>()?))
        }
        Some("array") => Ok(DataType::Array {
            element: nested("elementType")?,
            contains_null: flag("containsNull"),
        }),
        Some("map") => Ok(DataType::Map {
            key: nested("keyType")?,
            value: nested("valueType")?,
            value_contains_null: flag("valueContainsNull"),
        }),
        _ => Err(format!("unknown type {}", member("type")?)),
    }
}

fn field_from_json(value: &Value, depth: usize) -> Result<Field, String> {
    let name = value.get("name").and_then(Value::as_str).ok_or("a field lacks its `name`")?;
    let data_type = value.get("type").ok_or_else(|| format!("field `{name}` lacks its `type`"))?;
    let data_type =
        type_from_json(data_type, depth).map_err(|why| format!("field `{name}`: {why}"))?;
    let nullable = value.get("nullable").and_then(Value::as_bool).unwrap_or(true);
    Ok(Field { name: name.to_owned(), data_type, nullable })
}
