//! Text tables: columns aligned, numbers to the right.

use anyhow::Result;
use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, FormatOptions};

/// A cell of record batches is cut after this many characters.
const CELL_CHARS_MAX: usize = 60;

/// Rows of cells under a line of names.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Table {
        Table { rows: vec![names.into_iter().map(str::to_owned).collect()] }
    }

    /// Appends a row, which must have as many cells as there are names.
    pub fn push(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        debug_assert_eq!(cells.len(), self.rows[0].len());
        self.rows.push(cells);
    }

    /// The lines, without a line end after the last.
    pub fn render(&self) -> String {
        let columns = self.rows[0].len();
        let widths: Vec<usize> = (0..columns).map(|column| self.width(column)).collect();
        let right: Vec<bool> = (0..columns).map(|column| self.is_numeric(column)).collect();
        let lines: Vec<String> = self.rows.iter().map(|row| line(row, &widths, &right)).collect();
        lines.join("\n")
    }

    fn width(&self, column: usize) -> usize {
        self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
    }

    fn is_numeric(&self, column: usize) -> bool {
        let mut cells = self.rows[1..].iter().map(|row| row[column].as_str());
        cells.all(|cell| cell.is_empty() || cell.parse::<f64>().is_ok())
    }
}

/// Two blanks between columns, none at the line's end.
fn line(row: &[String], widths: &[usize], right: &[bool]) -> String {
    let cells = row.iter().zip(widths).zip(right).map(|((cell, width), right)| match right {
        true => format!("{cell:>width$}"),
        false => format!("{cell:<width$}"),
    });
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

/// Arrow's record batches of one schema as a table; long cells are cut.
pub fn of_record_batches(batches: &[RecordBatch]) -> Result<Table> {
    let Some(first) = batches.first() else { return Ok(Table::new([])) };
    let schema = first.schema();
    let mut table = Table::new(schema.fields().iter().map(|field| field.name().as_str()));
    let options = FormatOptions::default().with_null("null");
    for batch in batches {
        let columns = batch.columns().iter();
        let formatters: Vec<ArrayFormatter> = columns
            .map(|column| ArrayFormatter::try_new(column, &options))
            .collect::<Result<_, _>>()?;
        for row in 0..batch.num_rows() {
            table.push(formatters.iter().map(|formatter| cut(formatter.value(row).to_string())));
        }
    }
    Ok(table)
}

fn cut(cell: String) -> String {
    // A line break would tear the table apart.
    let cell = cell.replace(['\n', '\r', '\t'], " ");
    match cell.char_indices().nth(CELL_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &cell[..end]),
        None => cell,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    #[test]
    fn words_stand_left_and_numbers_right() {
        let mut table = Table::new(["topic", "records"]);
        table.push(["orders".into(), "68883".into()]);
        table.push(["orders-chicago".into(), "1".into()]);
        let expected = "topic           records\n\
                        orders            68883\n\
                        orders-chicago        1";
        assert_eq!(table.render(), expected);
    }

    #[test]
    fn record_batches_show_nulls_and_cut_long_cells() {
        let long = "x".repeat(CELL_CHARS_MAX + 1);
        let city: ArrayRef = Arc::new(StringArray::from(vec![Some("Reno\nNV"), None, Some(&long)]));
        let id: ArrayRef = Arc::new(Int64Array::from(vec![1, 22, 333]));
        let batch = RecordBatch::try_from_iter([("city", city), ("id", id)]).unwrap();
        let text = of_record_batches(&[batch]).unwrap().render();
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>(), ["Reno", "NV", "1"]);
        assert!(lines[2].starts_with("null "));
        assert!(lines[3].contains('…'));
        assert_eq!(of_record_batches(&[]).unwrap().render(), "");
    }
}
