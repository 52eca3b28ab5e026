//! Write a Gristmill stage in Rust: a transformation of rows that runs as a WebAssembly module
//! inside a pipeline.
//!
//! Two levels:
//! - **rows**, for comfort: one function over one row, with [`stage`](macro@stage). See [`rows`].
//! - **columns**, for speed: implement [`Stage`], then [`export!`](crate::export!). Columns are
//!   read as slices and written into buffers that are reused; what a stage does not touch never
//!   crosses the boundary.
//!
//! The crate is built as a `cdylib` for wasm32-unknown-unknown. It asks for no imports. In unit
//! tests a stage runs as native code, with [`native::NativeStage`].
//!
//! What crosses the boundary is drawn in sdk/contract: describe.md and frame.md.

mod batch;
mod column;
mod column_view;
mod config;
pub mod ddl;
mod error;
pub mod export;
pub mod frame;
mod instance;
pub mod json;
#[cfg(not(target_arch = "wasm32"))]
pub mod native;
mod nearest;
mod plain;
pub mod rows;
mod schema;
mod stage;
mod validity;

pub use batch::{Batch, Output, REASON_BYTES_MAX};
pub use column::Column;
pub use column_view::ColumnView;
pub use config::from_value as config_from_value;
pub use ddl::parse_schema;
pub use error::Error;
pub use gristmill_macros::{Row, stage};
pub use instance::{CONTRACT_VERSION, Instance};
pub use nearest::{hint, nearest};
pub use rows::{Date, Decimal, Map, Row, Timestamp};
pub use schema::{DataType, Field, Schema, TYPE_DEPTH_MAX};
pub use stage::{Description, Stage};

// The macros name this crate `::gristmill`, within it too.
extern crate self as gristmill;

/// For the configuration struct: `#[derive(gristmill::serde::Deserialize)]` needs no dependency of
/// its own.
pub use serde;
pub use serde_json;
