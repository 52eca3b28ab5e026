//! The pipeline: its file, its micro-batches, its sources and sinks.
//!
//! The path of a record: `config::load -> Plan::new -> (connectors) open -> Run { plan, read, stages, write, commit }`.
//! Start with `run.rs`.

pub mod run;

pub mod control;

pub mod batch;
pub mod config;
pub mod cursors;
pub mod dead_letter;
pub mod failure;
mod failure_budget;
mod gather;
pub mod guarantee;
pub mod lane;
pub mod ledger;
pub mod offsets;
pub mod plan;
pub mod reload;
pub mod shadow;
pub mod sink;
pub mod source;
pub mod status;
pub mod tap;
pub mod test;
pub mod tree;
mod watch;
