//! The program `gristmill`: reads the command line, runs one command, turns errors into exit codes.
//!
//! Exit codes: 0 done, 1 failed while running, 2 the input was wrong (a pipeline file, a flag, a
//! topic that doesn't exist, a port in use) and nothing was started.

mod client_config;
mod commands;
mod flags;
mod instance;
mod letters;
mod local;
mod log;
mod output;
mod pipelines;
mod records;
mod security;
mod table;
mod toml_text;
mod user_error;

use std::io;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use gristmill_cli::shipped;

use crate::flags::{
    ApiKeyCommand, Command, DeadLettersCommand, Flags, KafkaCommand, TableCommand, TopicCommand,
};
use crate::output::Output;
use crate::user_error::UserError;

fn main() -> ExitCode {
    let flags = Flags::parse();
    log::start(&flags);
    let runtime = tokio::runtime::Runtime::new().context("cannot start threads");
    match runtime.and_then(|runtime| runtime.block_on(run(flags))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

async fn run(flags: Flags) -> Result<()> {
    let output = flags.output;
    match flags.command {
        Command::Run(flags) => commands::run::run(&flags).await,
        Command::Demo(flags) => commands::demo::run(&flags).await,
        Command::Validate(flags) => commands::validate::run(&flags),
        Command::Test(flags) => commands::test::run(&flags, output),
        Command::Capture(flags) => commands::capture::run(&flags, output).await,
        Command::DeadLetters(command) => dead_letters(command, output).await,
        Command::Explain(flags) => commands::explain::run(&flags, output),
        Command::Broker(flags) => commands::broker::run(&flags, output).await,
        Command::Topic(command) | Command::Kafka(KafkaCommand::Topic(command)) => {
            topic(command, output).await
        }
        Command::Produce(flags) => commands::produce::run(&flags, output).await,
        Command::Table(TableCommand::Show(flags)) => {
            commands::table_show::run(&flags, output).await
        }
        Command::ApiKey(command) => api_key(command, output).await,
        Command::Version => commands::version::run(output),
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
        TopicCommand::Delete(flags) => commands::topic_delete::run(&flags, output).await,
        TopicCommand::Produce(flags) => commands::produce::run(&flags.into(), output).await,
        TopicCommand::Consume(flags) => commands::topic_consume::run(&flags, output).await,
    }
}

async fn api_key(command: ApiKeyCommand, output: Output) -> Result<()> {
    match command {
        ApiKeyCommand::Create(flags) => commands::api_key::create(&flags, output).await,
        ApiKeyCommand::List(flags) => commands::api_key::list(&flags, output).await,
        ApiKeyCommand::Delete(flags) => commands::api_key::delete(&flags, output).await,
    }
}

/// Says on standard error what went wrong; the exit code says who has to act. A reader that went
/// away (`gristmill … | head`) is no failure.
fn report(error: &anyhow::Error) -> ExitCode {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    if causes.any(|cause| cause.kind() == io::ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    eprintln!("error: {error:#}");
    ExitCode::from(if error.chain().any(|cause| cause.is::<UserError>()) { 2 } else { 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_says_who_has_to_act() {
        let mistake = Err::<(), _>(UserError::new("no topic `orders`")).context("cannot read");
        assert_eq!(report(&mistake.unwrap_err()), ExitCode::from(2));
        assert_eq!(report(&anyhow::anyhow!("the disk is full")), ExitCode::from(1));
    }

    #[test]
    fn a_closed_pipe_ends_the_program_well() {
        let closed =
            Err::<(), _>(io::Error::from(io::ErrorKind::BrokenPipe)).context("cannot print");
        assert_eq!(report(&closed.unwrap_err()), ExitCode::SUCCESS);
    }
}
