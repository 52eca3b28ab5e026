//! Dead letters as a test names them.

use arrow_schema::DataType;
use serde_json::{Map, Value};

use super::rows::{Column, Columns, Kind, bytes};
use crate::dead_letter::DeadLetter;

pub(super) fn columns() -> Columns {
    let column = |name: &str, data_type: Option<DataType>| Column {
        name: name.to_string(),
        kind: data_type.map_or(Kind::TextPart, Kind::Value),
    };
    Columns(vec![
        column("key", Some(DataType::Binary)),
        column("value", Some(DataType::Binary)),
        column("stage", Some(DataType::Utf8)),
        column("kind", Some(DataType::Utf8)),
        column("reason", None),
        column("topic", Some(DataType::Utf8)),
        column("partition", Some(DataType::Int32)),
        column("offset", Some(DataType::Int64)),
    ])
}

pub(super) fn object(letter: &DeadLetter) -> Map<String, Value> {
    let part = |part: &Option<Vec<u8>>| part.as_deref().map_or(Value::Null, bytes);
    let members = [
        ("key", part(&letter.key)),
        ("value", part(&letter.value)),
        ("stage", letter.stage.as_ref().into()),
        ("kind", letter.kind.as_ref().into()),
        ("reason", letter.reason.as_str().into()),
        ("topic", letter.partition.topic.as_ref().into()),
        ("partition", letter.partition.partition.into()),
        ("offset", letter.offset.into()),
    ];
    members.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}
