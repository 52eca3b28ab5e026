//! `/tables`: the Delta tables that the pipelines write.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use axum::extract::{Path, State};
use axum::response::Html;
use axum::routing::get;
use axum::{Extension, Router};
use gristmill_broker::Operation;
use gristmill_connectors::delta_table::{HistoryEntry, LoadedTable, TableDescription, TableFile};
use gristmill_engine::config::{DeltaSinkConfig, SinkKind};
use maud::{Markup, html};

use super::format;
use super::layout::{Frame, NoPage, Section, crumbs, figure, nothing, segment};
use crate::http::failure::Failure;
use crate::http::site::Site;
use crate::http::time_text;
use crate::http::visitor::Visitor;
use crate::http::watched::Watched;

/// First rows that are shown.
const ROWS: usize = 20;
/// Versions of the history that are shown.
const VERSIONS: usize = 20;
/// Files that are shown.
const FILES: usize = 20;
/// Characters of a cell.
const CELL_CHARACTERS_MAX: usize = 80;

pub fn routes() -> Router<Arc<Site>> {
    Router::new().route("/tables", get(list)).route("/tables/{pipeline}/{sink}", get(show))
}

async fn list(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Html<String>, NoPage> {
    site.demand(&visitor, Operation::Describe)?;
    let tables: Vec<_> = site.pipelines.iter().flat_map(tables).collect();
    let frame = Frame { title: "Tables", section: Section::Tables, live: None };
    Ok(frame.around(html! {
        h1 { "Tables" }
        @if tables.is_empty() {
            (nothing("No pipeline of this process writes a Delta table.", html! {}))
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Tables" {
                table {
                    thead { tr { th scope="col" { "Table" } th scope="col" { "Pipeline" } th scope="col" { "Sink" } th.number scope="col" { "Rows committed" } } }
                    tbody {
                        @for (pipeline, sink, delta) in &tables {
                            @let committed = committed(pipeline, sink);
                            tr {
                                th scope="row" { a href={ "/tables/" (segment(pipeline.name())) "/" (segment(sink)) } { (delta.table) } }
                                td { a href={ "/pipelines/" (segment(pipeline.name())) } { (pipeline.name()) } }
                                td { (sink) }
                                td.number { (format::count(committed)) }
                            }
                        }
                    }
                }
            }
        }
    }))
}

fn tables(pipeline: &Watched) -> Vec<(&Watched, String, DeltaSinkConfig)> {
    let plan = pipeline.control.plan();
    let sinks = plan.pipeline.sinks.iter().filter_map(|sink| match &sink.kind {
        SinkKind::Delta(delta) => Some((pipeline, sink.name.clone(), delta.clone())),
        SinkKind::Topic(_) => None,
    });
    sinks.collect()
}

fn committed(pipeline: &Watched, sink: &str) -> u64 {
    let snapshot = pipeline.snapshot();
    snapshot.sinks.iter().filter(|it| it.name == sink).map(|it| it.rows_committed).sum()
}

async fn show(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path((pipeline, sink)): Path<(String, String)>,
) -> Result<Html<String>, NoPage> {
    site.demand(&visitor, Operation::Describe)?;
    let found = tables(site.pipeline(&pipeline)?).into_iter().find(|(_, name, _)| *name == sink);
    let (_, _, delta) = found.ok_or_else(|| {
        Failure::not_found(format!("pipeline `{pipeline}` has no sink `{sink}` that is a table"))
    })?;
    let frame = Frame { title: &sink, section: Section::Tables, live: None };
    let shown = match Shown::read(&delta).await {
        Ok(shown) => shown.render(),
        Err(error) => html! { p.alert { (format!("{error:#}")) } },
    };
    Ok(frame.around(html! {
        (crumbs(&[("Tables", "/tables".to_string())]))
        h1 { (delta.table) }
        p.muted {
            "Written by sink " (sink) " of pipeline "
            a href={ "/pipelines/" (segment(&pipeline)) } { (pipeline) }
        }
        (shown)
    }))
}

/// What is shown of a table.
struct Shown {
    table: TableDescription,
    /// Or why there are none.
    rows: Result<Vec<RecordBatch>, String>,
    history: Vec<HistoryEntry>,
    files: Vec<TableFile>,
}

impl Shown {
    async fn read(delta: &DeltaSinkConfig) -> anyhow::Result<Shown> {
        let loaded = LoadedTable::load(&delta.table, &delta.storage).await?;
        Ok(Shown {
            table: loaded.describe().await?,
            rows: loaded.first_rows(ROWS).await.map_err(|error| format!("{error:#}")),
            history: loaded.history(VERSIONS).await?,
            files: loaded.newest_files(FILES)?,
        })
    }

    fn render(self) -> Markup {
        html! {
            (figures(&self.table))
            section { h2 { "First rows" } (first_rows(self.rows)) }
            section { h2 { "Schema" } (schema(&self.table)) }
            section { h2 { "History" } (history(&self.history)) }
            section { h2 { "Files" } (files(&self.table, &self.files)) }
            section { h2 { "Cursors" } (cursors(&self.table)) }
        }
    }
}

fn figures(table: &TableDescription) -> Markup {
    html! {
        dl.figures {
            (figure("Version", html! { (table.version) }))
            (figure("Rows", html! { (table.rows.map_or("—".to_string(), format::count)) }))
            (figure("Files", html! { (format::count(table.files as u64)) }))
            (figure("Size", html! { (format::bytes(table.bytes)) }))
        }
    }
}

fn schema(table: &TableDescription) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Schema" {
            table {
                thead { tr { th scope="col" { "Column" } th scope="col" { "Type" } th scope="col" { "May be null" } th scope="col" { "Partition" } } }
                tbody {
                    @for field in table.schema.fields() {
                        tr {
                            th.mono scope="row" { (field.name()) }
                            td.mono { (field.data_type()) }
                            td { @if field.is_nullable() { "yes" } @else { "no" } }
                            td { @if table.partition_columns.contains(field.name()) { "yes" } }
                        }
                    }
                }
            }
        }
    }
}

fn history(entries: &[HistoryEntry]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="History" {
            table {
                thead {
                    tr {
                        th.number scope="col" { "Version" } th scope="col" { "Time (UTC)" } th scope="col" { "Operation" }
                        th.number scope="col" { "Rows" } th scope="col" { "By" }
                    }
                }
                tbody {
                    @for entry in entries {
                        tr {
                            th.number scope="row" { (entry.version) }
                            td.time { (entry.timestamp_ms.map_or("—".to_string(), time_text::shown)) }
                            td { (entry.operation) }
                            td.number { (entry.rows().unwrap_or("—".to_string())) }
                            td { (entry.by().replace('`', "")) }
                        }
                    }
                }
            }
        }
        @if entries.len() == VERSIONS { p.hint { "The newest " (VERSIONS) " versions." } }
    }
}

fn files(table: &TableDescription, files: &[TableFile]) -> Markup {
    html! {
        @if files.is_empty() { (nothing("No file yet.", html! {})) } @else {
            div.scroll tabindex="0" role="region" aria-label="Files" {
                table {
                    thead {
                        tr {
                            th scope="col" { "File" }
                            @for column in &table.partition_columns { th.mono scope="col" { (column) } }
                            th.number scope="col" { "Rows" } th.number scope="col" { "Size" } th scope="col" { "Written (UTC)" }
                        }
                    }
                    tbody {
                        @for file in files {
                            tr {
                                th.mono scope="row" { (file.path) }
                                @for column in &table.partition_columns {
                                    td.mono { (file.partition.get(column).and_then(Option::as_deref).unwrap_or("null")) }
                                }
                                td.number { (file.rows.map_or("—".to_string(), format::count)) }
                                td.number { (format::bytes(file.bytes)) }
                                td.time { (time_text::shown(file.modified_ms)) }
                            }
                        }
                    }
                }
            }
            @if files.len() < table.files { p.hint { "The newest " (files.len()) " of " (format::count(table.files as u64)) " files." } }
        }
    }
}

fn cursors(table: &TableDescription) -> Markup {
    html! {
        @if table.cursors.is_empty() { (nothing("No pipeline of Gristmill has written here.", html! {})) } @else {
            div.scroll tabindex="0" role="region" aria-label="Cursors" {
                table {
                    thead { tr { th scope="col" { "Application id" } th.number scope="col" { "Next offset" } } }
                    tbody {
                        @for (application, offset) in &table.cursors {
                            tr { th.mono scope="row" { (application) } td.number { (offset) } }
                        }
                    }
                }
            }
        }
    }
}

fn first_rows(rows: Result<Vec<RecordBatch>, String>) -> Markup {
    let batches = match rows {
        Ok(batches) => batches,
        Err(reason) => return html! { p.alert { (reason) } },
    };
    let Some(first) = batches.first() else { return nothing("No row yet.", html! {}) };
    html! {
        div.scroll tabindex="0" role="region" aria-label="First rows" {
            table.rows {
                thead { tr { @for field in first.schema_ref().fields() { th.mono scope="col" { (field.name()) } } } }
                tbody {
                    @for batch in &batches {
                        @for row in 0..batch.num_rows() {
                            tr { @for cell in cells(batch, row) { td.mono { (cell) } } }
                        }
                    }
                }
            }
        }
    }
}

fn cells(batch: &RecordBatch, row: usize) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let cell = |column: &arrow_array::ArrayRef| {
        let formatter = ArrayFormatter::try_new(column, &options);
        let text = formatter.map(|formatter| formatter.value(row).to_string());
        let text = text.unwrap_or_else(|error| error.to_string());
        match text.char_indices().nth(CELL_CHARACTERS_MAX) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    };
    batch.columns().iter().map(cell).collect()
}
