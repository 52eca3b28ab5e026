//! Write a Gristmill stage in Rust: a transformation of rows that runs as a WebAssembly module inside a pipeline.
//!
//! The level of columns, for speed: implement [`Stage`], then [`export!`](crate::export).

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
mod schema;
mod stage;
mod validity;

pub use batch::{Batch, Output, REASON_BYTES_MAX};
pub use column::Column;
pub use column_view::ColumnView;
pub use config::from_value as config_from_value;
pub use ddl::parse_schema;
pub use error::Error;
pub use instance::{CONTRACT_VERSION, Instance};
pub use nearest::{hint, nearest};
pub use schema::{DataType, Field, Schema, TYPE_DEPTH_MAX};
pub use stage::{Description, Stage};

/// For the configuration struct: `#[derive(gristmill::serde::Deserialize)]` needs no dependency of its own.
pub use serde;
pub use serde_json;
