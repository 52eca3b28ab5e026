//! The promises, checked on the real binary.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
#[allow(dead_code)] // what the torture uses
mod support;

#[path = "../support/object_store.rs"]
mod object_store;

/// Guests in WebAssembly text, those of the host's own tests.
#[allow(dead_code)]
#[path = "../../runtime/host/tests/host/guests.rs"]
mod guests;

/// What the commands print for programs, and their exit codes.
mod answers;
/// Every mistake a user can make gets a message that names the thing and the mend, and exit code 2.
mod bad_input;
/// The page about clusters other than the built-in broker.
mod clusters_on_the_page;
/// A running pipeline that is steered from within the process: pause, tap, reload, shadow.
mod control;
/// Dead letters: listed, shown, sent through again.
mod dead_letters;
/// Topics, tables and dead letters have every record once, whatever dies in between.
mod exactly_once;
/// A cluster elsewhere, with TLS and API keys.
mod external_cluster;
/// Records that a stage cannot take: stop, skip, dead letter.
mod failures;
/// A broker that has no room to write.
mod full_disk;
/// Every hostile module of the folder `hostile`, each with its answer.
mod hostile_folder;
/// Modules that trap, hang and break their limits: the record is found, the others go through.
mod hostile_modules;
/// The page, its API and the metrics.
mod http;
/// The main job on real orders, its result read by somebody else's reader.
mod main_job;
/// Stopping in time, and metrics for a collector.
mod operations;
/// Files that change while the real process runs.
mod reload;
/// Stop and kill -9: a pipeline goes on where it was, and the table gets no row twice.
mod restart;
/// API keys, and listeners that let nobody in without one.
mod security;
/// Sessions at a terminal, pinned whole.
mod sessions;
/// A client of the page, for `http`.
mod site;
/// `gristmill stage`: new, build, test, inspect.
mod stage_commands;
/// From nothing to a pipeline in each language.
mod stage_projects;
/// Tables on a store that speaks S3: writers that meet and die, and stores that do not let us in.
mod tables_on_s3;
/// `gristmill test` and `gristmill capture`.
mod tests_of_pipelines;
