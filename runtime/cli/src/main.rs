//! The program `gristmill`: reads the command line, runs one command, turns errors into exit codes.
//!
//! Exit codes: 0 done, 1 failed while running, 2 the input was wrong (a pipeline file, a flag, a
//! topic that doesn't exist, a port in use) and nothing was started.

// `println!` panics when its reader has gone away; [`Output`] makes it an error, and [`report`] no failure.
#![deny(clippy::print_stdout)]

mod client_config;
mod column_text;
mod commands;
#[cfg(test)]
mod deployment;
mod flags;
mod http;
mod instance;
mod leave;
mod letters;
mod local;
mod log;
mod output;
mod pipelines;
mod profiles;
mod receipt;
mod records;
#[cfg(test)]
mod reference;
mod remote;
mod security;
mod stage;
mod table;
mod terminal;
mod time;
mod toml_text;
mod usage;
mod user_error;

use std::io;

use anyhow::{Context, Result};
use clap::Parser;
use gristmill_cli::shipped;

use crate::flags::{
    ApiKeyCommand, Command, DeadLettersCommand, EnvironmentCommand, Flags, GroupCommand,
    KafkaClusterCommand, KafkaCommand, StageCommand, TableCommand, TopicCommand,
};
use crate::output::Output;
use crate::user_error::UserError;

/// The exit code of a command that did what it was asked.
const DONE: u8 = 0;
const FAILED: u8 = 1;
const WRONG_INPUT: u8 = 2;

fn main() {
    leave::leave(start());
}

/// Does what the command line asks; returns the exit code.
fn start() -> u8 {
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) => return usage::report(&error),
    };
    log::start(&flags);
    let runtime = match tokio::runtime::Runtime::new().context("cannot start threads") {
        Ok(runtime) => runtime,
        Err(error) => return report(&error),
    };
    let done = runtime.block_on(run(flags));
    // A thread that waits for a cluster or a terminal is not waited for.
    runtime.shutdown_background();
    match done {
        Ok(()) => DONE,
        Err(error) => report(&error),
    }
}

async fn run(flags: Flags) -> Result<()> {
    let output = flags.output;
    match flags.command {
        Command::Run(flags) => commands::run::run(&flags, output).await,
        Command::Demo(flags) => commands::demo::run(&flags).await,
        Command::Validate(flags) => commands::validate::run(&flags, output),
        Command::Test(flags) => commands::test::run(&flags, output),
        Command::Capture(flags) => commands::capture::run(&flags, output).await,
        Command::Stage(command) => stage(command, output).await,
        Command::DeadLetters(command) => dead_letters(command, output).await,
        Command::Explain(flags) => commands::explain::run(&flags, output),
        Command::Broker(flags) => commands::broker::run(&flags, output).await,
        Command::Topic(command) | Command::Kafka(KafkaCommand::Topic(command)) => {
            topic(command, output).await
        }
        Command::Group(command) | Command::Kafka(KafkaCommand::Group(command)) => {
            group(command, output).await
        }
        Command::Kafka(KafkaCommand::Cluster(command)) => kafka_cluster(&command, output),
        Command::Environment(command) => environment(&command, output),
        Command::Produce(flags) => commands::produce::run(&flags, output).await,
        Command::Table(command) => table(command, output).await,
        Command::ApiKey(command) => api_key(command, output).await,
        Command::Status(flags) => commands::pipelines::status(&flags, output).await,
        Command::Pause(flags) => commands::pipelines::pause(&flags, output).await,
        Command::Resume(flags) => commands::pipelines::resume(&flags, output).await,
        Command::Reload(flags) => commands::pipelines::reload(&flags, output).await,
        Command::Tap(flags) => commands::pipelines::tap(&flags, output).await,
        Command::Doctor(flags) => commands::doctor::run(&flags, output).await,
        Command::Schema => commands::completions::schema(),
        Command::Completions(flags) => commands::completions::completions(&flags),
        Command::Man(flags) => commands::completions::man(&flags),
        Command::Version => commands::version::run(output),
    }
}

async fn stage(command: StageCommand, output: Output) -> Result<()> {
    match command {
        StageCommand::New(flags) => commands::stage_new::run(&flags, output),
        StageCommand::Build(flags) => commands::stage_build::run(&flags, output),
        StageCommand::Test(flags) => commands::stage_test::run(&flags, output),
        StageCommand::Inspect(flags) => commands::stage_inspect::run(&flags, output),
        StageCommand::Shadow(flags) => commands::stage_shadow::run(&flags, output).await,
        StageCommand::Promote(flags) => commands::stage_promote::run(&flags, output).await,
    }
}

async fn dead_letters(command: DeadLettersCommand, output: Output) -> Result<()> {
    match command {
        DeadLettersCommand::List(flags) => commands::dead_letters_list::run(&flags, output).await,
        DeadLettersCommand::Show(flags) => commands::dead_letters_show::run(&flags, output).await,
        DeadLettersCommand::Replay(flags) => {
            commands::dead_letters_replay::run(&flags, output).await
        }
    }
}

async fn topic(command: TopicCommand, output: Output) -> Result<()> {
    match command {
        TopicCommand::List(flags) => commands::topic_list::run(&flags, output).await,
        TopicCommand::Create(flags) => commands::topic_create::run(&flags, output).await,
        TopicCommand::Describe(flags) => commands::topic_describe::run(&flags, output).await,
        TopicCommand::Update(flags) => commands::topic_update::run(&flags, output).await,
        TopicCommand::Delete(flags) => commands::topic_delete::run(&flags, output).await,
        TopicCommand::Produce(flags) => commands::produce::run(&flags.into(), output).await,
        TopicCommand::Consume(flags) => commands::topic_consume::run(&flags, output).await,
    }
}

async fn group(command: GroupCommand, output: Output) -> Result<()> {
    match command {
        GroupCommand::List(flags) => commands::group::list(&flags, output).await,
        GroupCommand::Describe(flags) => commands::group::describe(&flags, output).await,
        GroupCommand::ResetOffsets(flags) => commands::group::reset(&flags, output).await,
        GroupCommand::Delete(flags) => commands::group::delete(&flags, output).await,
    }
}

fn environment(command: &EnvironmentCommand, output: Output) -> Result<()> {
    match command {
        EnvironmentCommand::List => commands::environment::list(output),
        EnvironmentCommand::Use(flags) => commands::environment::use_(flags, output),
        EnvironmentCommand::Create(flags) => commands::environment::create(flags, output),
        EnvironmentCommand::Delete(flags) => commands::environment::delete(flags, output),
    }
}

fn kafka_cluster(command: &KafkaClusterCommand, output: Output) -> Result<()> {
    match command {
        KafkaClusterCommand::List => commands::kafka_cluster::list(output),
        KafkaClusterCommand::Use(flags) => commands::kafka_cluster::use_(flags, output),
        KafkaClusterCommand::Create(flags) => commands::kafka_cluster::create(flags, output),
        KafkaClusterCommand::Delete(flags) => commands::kafka_cluster::delete(flags, output),
    }
}

async fn table(command: TableCommand, output: Output) -> Result<()> {
    match command {
        TableCommand::Show(flags) => commands::table_show::run(&flags, output).await,
        TableCommand::History(flags) => commands::table_history::run(&flags, output).await,
        TableCommand::Optimize(flags) => commands::table_optimize::run(&flags, output).await,
        TableCommand::Vacuum(flags) => commands::table_vacuum::run(&flags, output).await,
    }
}

async fn api_key(command: ApiKeyCommand, output: Output) -> Result<()> {
    match command {
        ApiKeyCommand::Create(flags) => commands::api_key::create(&flags, output).await,
        ApiKeyCommand::Use(flags) => commands::api_key::use_(&flags, output),
        ApiKeyCommand::Store(flags) => commands::api_key::store(&flags, output),
        ApiKeyCommand::List(flags) => commands::api_key::list(&flags, output).await,
        ApiKeyCommand::Delete(flags) => commands::api_key::delete(&flags, output).await,
    }
}

/// Says on standard error what went wrong; the exit code says who has to act. A reader that went
/// away (`gristmill … | head`) is no failure.
fn report(error: &anyhow::Error) -> u8 {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    if causes.any(|cause| cause.kind() == io::ErrorKind::BrokenPipe) {
        return DONE;
    }
    eprintln!("{}", user_error::report(error));
    if error.chain().any(|cause| cause.is::<UserError>()) { WRONG_INPUT } else { FAILED }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_says_who_has_to_act() {
        let mistake = Err::<(), _>(UserError::new("no topic `orders`")).context("cannot read");
        assert_eq!(report(&mistake.unwrap_err()), WRONG_INPUT);
        assert_eq!(report(&anyhow::anyhow!("the disk is full")), FAILED);
    }

    #[test]
    fn a_closed_pipe_ends_the_program_well() {
        let closed =
            Err::<(), _>(io::Error::from(io::ErrorKind::BrokenPipe)).context("cannot print");
        assert_eq!(report(&closed.unwrap_err()), DONE);
    }
}
