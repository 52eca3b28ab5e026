//! Runs one WASM stage in its sandbox.
//!
//! From the outside in: [`Host`] loads a [`Module`]; [`Stage::describe`] gives it a configuration
//! and input columns; a [`Lane`] runs batches through an [`Instance`] of the stage, and finds the
//! rows that make it fail. The contract with the guest stands in sdk/contract.
//!
//! Responsible for: the sandbox and its limits, the encodings of a batch, distrust of everything
//! that a guest answers. Not responsible for: carrying the columns that a stage neither reads nor
//! makes, and what happens to failed rows; both are the engine's.
//!
//! A batch, on its way: `Lane::process -> Instance::process -> frame::write -> guest -> frame::read
//! -> Rows::output`. A module: `Host::load -> Code::load -> Stage::describe -> contract::answer`.

mod error;
mod grant;
mod host;
mod inspection;
mod isolate;
mod limits;
mod module;
mod stage;

mod cache;
mod contract;
mod file_stamp;
mod frame;
mod guest;
mod instance;
mod json_lines;
mod log_lines;
mod output;
mod sandbox;
mod schema;
mod wasi;
mod wasi_interfaces;

pub use contract::{CONTRACT_VERSION, Encoding};
pub use error::{DescribeError, HostError, LoadError, ProcessError};
pub use file_stamp::FileStamp;
pub use grant::Grant;
pub use host::{Host, HostConfig, sha256_hex};
pub use inspection::{Import, ImportAnswer, Inspection};
pub use instance::Instance;
pub use isolate::{FailureKind, Lane, LaneError, LaneOutput, RowFailure};
pub use json_lines::{read as read_json_lines, write as write_json_lines};
pub use limits::Limits;
pub use log_lines::{LogLevel, LogLine};
pub use module::Module;
pub use output::{Failure, Output};
pub use schema::{field_from_json, list_type, map_type, timestamp_type};
pub use stage::Stage;
