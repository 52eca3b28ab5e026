//! Which rows fit into which Delta table. Pure: schemas in, a plan or every difference out.
//!
//! The comparison is our own, since the writer of the `deltalake` crate drops an unknown column of
//! a partitioned table silently. Rules as in Spark: names match without regard to case, order does
//! not matter, a column that the rows lack becomes null, no type is widened or converted.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, MapArray, RecordBatch, StructArray, new_null_array};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::{Metadata, Protocol, StructField};

/// Table features under which a plain append stays right.
const FEATURES_KNOWN: [&str; 9] = [
    "appendOnly",
    "invariants",
    "checkConstraints",
    "deletionVectors",
    "timestampNtz",
    "changeDataFeed",
    "v2Checkpoint",
    "checkpointProtection",
    "vacuumProtocolCheck",
];

/// Characters that a column of a table without column mapping may not have in its name.
const NAME_CHARACTERS_REFUSED: &str = " ,;{}()\n\t=";

/// Versions above these mean a protocol that did not exist when this was written.
const READER_VERSION_MAX: i64 = 3;
const WRITER_VERSION_MAX: i64 = 7;

/// How the rows of a sink become rows of a table.
#[derive(Debug, Clone)]
pub(crate) struct Fit {
    table: SchemaRef,
    /// For each column of the table, the column of the rows that it comes from.
    sources: Vec<Option<usize>>,
}

impl Fit {
    /// Rows of the table's own schema, columns that the rows lack as nulls.
    ///
    /// Errors: a null in a column that the table declares as never null.
    pub(crate) fn apply(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let columns =
            self.table.fields().iter().zip(&self.sources).map(|(field, source)| match source {
                Some(index) => conform(rows.column(*index), field.data_type())
                    .with_context(|| format!("column `{}`", field.name())),
                None => Ok(new_null_array(field.data_type(), rows.num_rows())),
            });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        RecordBatch::try_new(self.table.clone(), columns).context("the rows do not fit the table")
    }
}

/// What stands between the rows of a sink and a table.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    /// Columns of the rows that the table lacks, at the top level.
    pub(crate) missing: Vec<Field>,
    /// What no schema evolution mends, a line each.
    pub(crate) conflicts: Vec<String>,
}

/// Compares the rows' schema with the table's: a plan, or every difference at once.
pub(crate) fn fit(rows: &Schema, table: &SchemaRef) -> Result<Fit, Differences> {
    let mut differences = Differences::default();
    for field in rows.fields() {
        match find(table, field.name()) {
            None => differences.missing.push(field.as_ref().clone()),
            Some((_, there)) => {
                compare(field.name(), field.data_type(), there.data_type(), &mut differences);
            }
        }
    }
    for field in table.fields() {
        if !field.is_nullable() && find(rows, field.name()).is_none() {
            let name = field.name();
            differences.conflicts.push(format!(
                "column `{name}` of the table is declared as never null, and the rows do not have \
                 it"
            ));
        }
    }
    if !differences.missing.is_empty() || !differences.conflicts.is_empty() {
        return Err(differences);
    }
    let sources = table.fields().iter().map(|field| find(rows, field.name()).map(|(i, _)| i));
    Ok(Fit { table: table.clone(), sources: sources.collect() })
}

/// The columns of a table made for these rows: all nullable, as Spark makes them.
///
/// Errors: a name that Delta readers refuse, two names that differ only in case, a type that Delta
/// does not have.
pub(crate) fn table_columns(rows: &Schema) -> Result<Vec<StructField>> {
    for (index, field) in rows.fields().iter().enumerate() {
        check_name(field.name())?;
        if rows.fields().iter().take(index).any(|other| same_name(other.name(), field.name())) {
            bail!("two columns are named `{}` if case is left aside, rename one", field.name());
        }
    }
    rows.fields().iter().map(|field| table_column(field)).collect()
}

/// One column of [`table_columns`].
pub(crate) fn table_column(field: &Field) -> Result<StructField> {
    let name = field.name();
    let data_type = storable(field.data_type())
        .with_context(|| format!("column `{name}` cannot be stored in a Delta table"))?;
    (&Field::new(name, data_type, true)).try_into_kernel().map_err(|error| anyhow!(error))
}

/// Partition columns must be there and hold plain values, and something must be left for the files.
pub(crate) fn check_partition_columns(partition_by: &[String], table: &Schema) -> Result<()> {
    for name in partition_by {
        let Some((_, field)) = find(table, name) else {
            let names: Vec<_> = table.fields().iter().map(|field| field.name().as_str()).collect();
            bail!("partition_by names `{name}`, the columns are {}", names.join(", "));
        };
        if field.data_type().is_nested() || matches!(field.data_type(), DataType::Binary) {
            let kind = type_name(field.data_type());
            bail!("partition_by names `{name}`, which is {kind}; only plain values can be used");
        }
    }
    if !partition_by.is_empty() && partition_by.len() >= table.fields().len() {
        bail!("partition_by names every column, one at least must be left for the files");
    }
    Ok(())
}

/// Whether a plain append by us leaves the table right: its protocol and its properties.
///
/// Errors name the feature or the property.
pub(crate) fn check_table(protocol: &Protocol, metadata: &Metadata) -> Result<()> {
    check_protocol(&serde_json::to_value(protocol)?)?;
    if let Some(duration) = metadata.configuration().get("delta.setTransactionRetentionDuration") {
        bail!(
            "the table sets delta.setTransactionRetentionDuration = \"{duration}\": the cursors \
             kept in it would expire and rows come twice after a pause; unset that property"
        );
    }
    if metadata.configuration().keys().any(|key| key.starts_with("delta.constraints.")) {
        bail!("the table has check constraints, which this sink does not check; drop them");
    }
    let schema = serde_json::to_string(&metadata.parse_schema()?)?;
    for (mark, what) in [
        ("\"delta.invariants\"", "column invariants"),
        ("\"delta.generationExpression\"", "generated columns"),
        ("\"delta.identity.start\"", "identity columns"),
    ] {
        if schema.contains(mark) {
            bail!("the table has {what}, which this sink does not keep");
        }
    }
    Ok(())
}

/// Whether the table's checkpoints are of the kind that we write.
pub(crate) fn has_classic_checkpoints(protocol: &Protocol) -> bool {
    let protocol = serde_json::to_value(protocol).unwrap_or_default();
    !features(&protocol).any(|feature| feature == "v2Checkpoint")
}

fn check_protocol(protocol: &serde_json::Value) -> Result<()> {
    let version = |key: &str| protocol.get(key).and_then(serde_json::Value::as_i64).unwrap_or(0);
    let (reader, writer) = (version("minReaderVersion"), version("minWriterVersion"));
    if reader > READER_VERSION_MAX || writer > WRITER_VERSION_MAX {
        bail!("the table needs protocol {reader}/{writer}, this sink knows 3/7");
    }
    // Before versions 3/7 a version stands for features; 5 brought column mapping, 6 identity
    // columns.
    if reader == 2 || (writer > 4 && writer < 7) {
        bail!(
            "the table has protocol {reader}/{writer} with column mapping, which this sink lacks"
        );
    }
    if let Some(unknown) = features(protocol).find(|feature| !FEATURES_KNOWN.contains(feature)) {
        bail!("the table has the feature `{unknown}`, which this sink cannot keep right");
    }
    Ok(())
}

fn features(protocol: &serde_json::Value) -> impl Iterator<Item = &str> {
    let lists = ["readerFeatures", "writerFeatures"].into_iter();
    lists
        .filter_map(|key| protocol.get(key).and_then(serde_json::Value::as_array))
        .flatten()
        .filter_map(serde_json::Value::as_str)
}

/// Adds to `differences` what keeps values of type `rows` out of a column of type `table`.
fn compare(path: &str, rows: &DataType, table: &DataType, differences: &mut Differences) {
    match (rows, table) {
        (DataType::List(rows), DataType::List(table)) => {
            compare(&format!("{path}[]"), rows.data_type(), table.data_type(), differences);
        }
        (DataType::Map(rows, _), DataType::Map(table, _)) => {
            let pairs = entry_types(rows).into_iter().zip(entry_types(table));
            for ((rows, table), part) in pairs.zip(["key", "value"]) {
                compare(&format!("{path}.{part}"), rows, table, differences);
            }
        }
        (DataType::Struct(rows), DataType::Struct(table)) => {
            for field in rows {
                let below = format!("{path}.{}", field.name());
                match table.iter().find(|there| same_name(there.name(), field.name())) {
                    Some(there) => {
                        compare(&below, field.data_type(), there.data_type(), differences);
                    }
                    None => differences.conflicts.push(format!(
                        "field `{below}` ({}) is not in the table; a field inside of a column is \
                         never added",
                        type_name(field.data_type())
                    )),
                }
            }
        }
        (rows, table) if storable(rows).is_ok_and(|rows| rows == *table) => {}
        (rows, table) => differences.conflicts.push(format!(
            "column `{path}` is {} here and {} in the table",
            type_name(rows),
            type_name(table)
        )),
    }
}

/// The key type and the value type of a map's entries.
fn entry_types(entries: &Field) -> Vec<&DataType> {
    match entries.data_type() {
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
        _ => Vec::new(),
    }
}

/// The type as a Delta table keeps it.
fn storable(data_type: &DataType) -> Result<DataType> {
    let nested = |field: &Field| -> Result<Arc<Field>> {
        Ok(Arc::new(Field::new(field.name(), storable(field.data_type())?, true)))
    };
    Ok(match data_type {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Date32
        | DataType::Decimal128(_, _) => data_type.clone(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::Timestamp(_, Some(_)) => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        }
        DataType::List(item) => DataType::List(nested(item)?),
        DataType::Struct(fields) => {
            fields.iter().try_for_each(|field| check_name(field.name()))?;
            DataType::Struct(fields.iter().map(|field| nested(field)).collect::<Result<_>>()?)
        }
        DataType::Map(entries, sorted) => {
            let DataType::Struct(fields) = entries.data_type() else {
                bail!("a map without keys and values");
            };
            let fields = fields.iter().enumerate().map(|(index, field)| {
                let kind = storable(field.data_type())?;
                Ok(Arc::new(Field::new(field.name(), kind, index > 0)))
            });
            let fields = DataType::Struct(fields.collect::<Result<_>>()?);
            DataType::Map(Arc::new(Field::new(entries.name(), fields, false)), *sorted)
        }
        DataType::Null => bail!("it has no type (every value is null); declare one"),
        other => bail!("Delta has no type for {other}"),
    })
}

/// The same values in an array of type `target`; `target` passed [`fit`].
fn conform(array: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    if array.data_type() == target {
        return Ok(array.clone());
    }
    match target {
        DataType::List(item) => {
            let list = array.as_list_opt::<i32>().context("not an array")?;
            let values = conform(list.values(), item.data_type())?;
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Ok(Arc::new(ListArray::try_new(item.clone(), offsets, values, nulls)?))
        }
        DataType::Struct(fields) => {
            let values = array.as_struct_opt().context("not a struct")?;
            let columns = fields.iter().map(|field| {
                let names = values.fields().iter();
                match names
                    .zip(values.columns())
                    .find(|(from, _)| same_name(from.name(), field.name()))
                {
                    Some((_, column)) => conform(column, field.data_type()),
                    None => Ok(new_null_array(field.data_type(), values.len())),
                }
            });
            let columns = columns.collect::<Result<Vec<_>>>()?;
            let nulls = values.nulls().cloned();
            let array =
                StructArray::try_new_with_length(fields.clone(), columns, nulls, values.len());
            Ok(Arc::new(array?))
        }
        DataType::Map(entries, sorted) => {
            let map = array.as_map_opt().context("not a map")?;
            let DataType::Struct(fields) = entries.data_type() else { bail!("not a map") };
            let columns = map.entries().columns().iter().zip(fields);
            let columns = columns.map(|(column, field)| conform(column, field.data_type()));
            let columns =
                StructArray::try_new(fields.clone(), columns.collect::<Result<_>>()?, None)?;
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            Ok(Arc::new(MapArray::try_new(entries.clone(), offsets, columns, nulls, *sorted)?))
        }
        _ => Ok(arrow_cast::cast(array, target)?),
    }
}

/// A type in the words of the pipeline file.
pub(crate) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Int8 => "byte".into(),
        DataType::Int16 => "short".into(),
        DataType::Int32 => "int".into(),
        DataType::Int64 => "long".into(),
        DataType::Float32 => "float".into(),
        DataType::Float64 => "double".into(),
        DataType::Boolean => "boolean".into(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "binary".into(),
        DataType::Date32 => "date".into(),
        DataType::Timestamp(_, Some(_)) => "timestamp".into(),
        DataType::Timestamp(_, None) => "timestamp without time zone".into(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::List(item) => format!("array<{}>", type_name(item.data_type())),
        DataType::Struct(fields) => {
            let name =
                |field: &Arc<Field>| format!("{} {}", field.name(), type_name(field.data_type()));
            format!("struct<{}>", fields.iter().map(name).collect::<Vec<_>>().join(", "))
        }
        DataType::Map(entries, _) => {
            let types: Vec<_> = entry_types(entries).into_iter().map(type_name).collect();
            format!("map<{}>", types.join(", "))
        }
        other => other.to_string(),
    }
}

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.contains(|c| NAME_CHARACTERS_REFUSED.contains(c)) {
        bail!(
            "column `{name}`: a Delta table takes no name with one of ` ,;{{}}()=`, tab or line \
             break; rename it"
        );
    }
    Ok(())
}

pub(crate) fn find<'a>(schema: &'a Schema, name: &str) -> Option<(usize, &'a Field)> {
    let fields = schema.fields().iter().enumerate();
    fields.map(|(i, field)| (i, field.as_ref())).find(|(_, field)| same_name(field.name(), name))
}

/// Names differ only in case: the same column.
pub(crate) fn same_name(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other) || one.to_lowercase() == other.to_lowercase()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use arrow_array::{Int64Array, StringArray};
    use serde_json::json;

    fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
        let fields = fields.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    #[test]
    fn order_and_case_do_not_matter_and_what_is_lacking_becomes_null() {
        let rows = schema(&[("CITY", DataType::Utf8), ("id", DataType::Int64)]);
        let table = schema(&[
            ("id", DataType::Int64),
            ("City", DataType::Utf8),
            ("coupon", DataType::Utf8),
        ]);
        let batch = RecordBatch::try_new(
            rows.clone(),
            vec![Arc::new(StringArray::from(vec!["Reno"])), Arc::new(Int64Array::from(vec![7]))],
        );
        let fitted = fit(&rows, &table).unwrap().apply(&batch.unwrap()).unwrap();
        assert_eq!(fitted.schema(), table);
        assert_eq!(fitted.column(1).as_string::<i32>().value(0), "Reno");
        assert!(fitted.column(2).is_null(0));
    }

    #[test]
    fn every_difference_is_reported_and_no_type_is_widened() {
        let line = DataType::Struct(vec![Field::new("sku", DataType::Utf8, true)].into());
        let list = DataType::List(Arc::new(Field::new("item", line, true)));
        let empty = DataType::Struct(vec![Field::new("id", DataType::Int64, true)].into());
        let there = DataType::List(Arc::new(Field::new("element", empty, true)));
        let rows = schema(&[("a", DataType::Int32), ("new", DataType::Utf8), ("lines", list)]);
        let table = schema(&[("a", DataType::Int64), ("lines", there)]);
        let differences = fit(&rows, &table).unwrap_err();
        assert_eq!(differences.missing.len(), 1);
        assert_eq!(differences.conflicts[0], "column `a` is int here and long in the table");
        assert!(differences.conflicts[1].starts_with("field `lines[].sku` (string)"));
    }

    #[test]
    fn a_column_never_null_that_the_rows_lack_is_a_conflict() {
        let table: SchemaRef =
            Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
        let differences = fit(&schema(&[]), &table).unwrap_err();
        assert!(differences.conflicts[0].contains("never null"));
    }

    #[test]
    fn names_and_types_that_delta_readers_refuse_are_refused_at_creation() {
        let refusal = |fields| format!("{:#}", table_columns(&schema(fields)).unwrap_err());
        assert!(refusal(&[("unit price", DataType::Int32)]).contains("rename it"));
        assert!(refusal(&[("a", DataType::Int32), ("A", DataType::Int32)]).contains("two columns"));
        assert!(refusal(&[("a", DataType::Null)]).contains("declare one"));
        assert!(refusal(&[("a", DataType::UInt64)]).contains("no type for UInt64"));
    }

    #[test]
    fn protocols_are_accepted_by_list() {
        let check = |protocol| check_protocol(&protocol);
        check(json!({"minReaderVersion": 1, "minWriterVersion": 2})).unwrap();
        check(json!({"minReaderVersion": 3, "minWriterVersion": 7,
            "readerFeatures": ["deletionVectors"],
            "writerFeatures": ["deletionVectors", "invariants"]}))
        .unwrap();
        let refusal = check(json!({"minReaderVersion": 3, "minWriterVersion": 7,
            "readerFeatures": [], "writerFeatures": ["rowTracking"]}));
        assert!(refusal.unwrap_err().to_string().contains("`rowTracking`"));
        assert!(check(json!({"minReaderVersion": 2, "minWriterVersion": 5})).is_err());
        assert!(check(json!({"minReaderVersion": 4, "minWriterVersion": 8})).is_err());
    }
}
