//! The command line as it was typed. Each command's own flags stand in its file in `commands/`.

use clap::{Args, Parser, Subcommand, ValueEnum};
use gristmill_connectors::Cluster;

use crate::client_config::ClientConfig;
use crate::commands::{
    api_key, broker, capture, dead_letters_list, dead_letters_replay, dead_letters_show, demo,
    explain, produce, run, table_show, test, topic_consume, topic_create, topic_delete,
    topic_describe, topic_list, validate,
};
use crate::output::Output;

/// Streams in, WebAssembly stages in between, topics and Delta tables out.
#[derive(Parser)]
#[command(name = "gristmill", version, arg_required_else_help = true)]
pub struct Flags {
    #[command(subcommand)]
    pub command: Command,

    /// How answers are printed: for people, or as JSON documents, one a line, for scripts
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,

    /// How the log on standard error is written; GRISTMILL_LOG says what is logged
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run pipelines, with the built-in broker if one of them needs it
    Run(run::RunFlags),
    /// Stream retail orders through the shipped pipelines and show what comes out
    Demo(demo::DemoFlags),
    /// Check pipeline files and print every mistake
    Validate(validate::ValidateFlags),
    /// Print who reads from whom, the columns of every edge and what each sink promises
    Explain(explain::ExplainFlags),
    /// Run the `[[test]]`s of pipeline files
    Test(test::TestFlags),
    /// Print a `[[test]]` made of records that a pipeline's topics hold
    Capture(capture::CaptureFlags),
    /// Records that a stage rejected: list, show, replay
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Run the built-in broker alone
    Broker(broker::BrokerFlags),
    /// Topics: list, create, describe, delete, produce, consume
    #[command(subcommand)]
    Topic(TopicCommand),
    /// The same as Kafka's users know it: `kafka topic …`
    #[command(subcommand)]
    Kafka(KafkaCommand),
    /// Send records to a topic: lines of a file, generated orders, or standard input
    Produce(produce::ProduceFlags),
    /// Delta tables: show
    #[command(subcommand)]
    Table(TableCommand),
    /// API keys of a broker: create, list, delete
    #[command(subcommand)]
    ApiKey(ApiKeyCommand),
    /// Print the version of the program and of what is inside
    Version,
}

#[derive(Subcommand)]
pub enum KafkaCommand {
    /// Topics: list, create, describe, delete, produce, consume
    #[command(subcommand)]
    Topic(TopicCommand),
}

#[derive(Subcommand)]
pub enum TopicCommand {
    /// Print the topics
    List(topic_list::TopicListFlags),
    /// Make a topic
    Create(topic_create::TopicCreateFlags),
    /// Print the partitions of a topic and what is in them
    Describe(topic_describe::TopicDescribeFlags),
    /// Delete a topic and all its records
    Delete(topic_delete::TopicDeleteFlags),
    /// Send records to a topic
    Produce(produce::TopicProduceFlags),
    /// Print the records of a topic
    Consume(topic_consume::TopicConsumeFlags),
}

#[derive(Subcommand)]
pub enum DeadLettersCommand {
    /// Count the letters by stage and reason
    List(dead_letters_list::DeadLettersListFlags),
    /// Print one letter whole
    Show(dead_letters_show::DeadLettersShowFlags),
    /// Send the records through again, each letter once
    Replay(dead_letters_replay::DeadLettersReplayFlags),
}

#[derive(Subcommand)]
pub enum ApiKeyCommand {
    /// Make a key and its secret, which is shown once
    Create(api_key::ApiKeyCreateFlags),
    /// Print the keys
    List(api_key::ApiKeyListFlags),
    /// Delete a key and its rights
    Delete(api_key::ApiKeyDeleteFlags),
}

#[derive(Subcommand)]
pub enum TableCommand {
    /// Print what a table holds and its first rows
    Show(table_show::TableShowFlags),
}

/// The broker that a client command talks to.
#[derive(Args)]
pub struct BootstrapFlags {
    /// Address of a Kafka broker, the built-in one or any other
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "GRISTMILL_BOOTSTRAP",
        default_value = "127.0.0.1:9092"
    )]
    pub bootstrap: String,

    /// File of librdkafka properties, `key=value` on each line, such as security.protocol and sasl.username
    #[arg(long, value_name = "FILE", env = "GRISTMILL_CLIENT_CONFIG", value_parser = ClientConfig::read)]
    pub client_config: Option<ClientConfig>,
}

impl BootstrapFlags {
    pub fn cluster(&self) -> Cluster {
        let properties = self.client_config.clone().unwrap_or_default().properties;
        Cluster { properties, ..Cluster::new(&self.bootstrap) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        use clap::CommandFactory;
        Flags::command().debug_assert();
    }

    #[test]
    fn the_courses_commands_work_word_for_word() {
        for line in [
            "gristmill kafka topic list",
            "gristmill kafka topic create orders --partitions 3",
            "gristmill kafka topic describe orders",
            "gristmill kafka topic produce orders --parse-key",
            "gristmill kafka topic consume --from-beginning orders",
            "gristmill kafka topic delete orders",
            "gristmill topic consume -b orders --output json",
            "gristmill produce --file orders.json --rate 500",
            "gristmill api-key create --resource CLUSTER",
        ] {
            assert!(Flags::try_parse_from(line.split_whitespace()).is_ok(), "{line}");
        }
    }

    #[test]
    fn flags_that_contradict_each_other_are_refused() {
        for line in [
            "gristmill",
            "gristmill produce --file a --orders 3",
            "gristmill produce --key a --parse-key",
            "gristmill produce --delimiter ;",
            "gristmill produce --rate 0",
            "gristmill topic create orders --partitions 0",
            "gristmill topic create orders --config retention.ms",
            "gristmill run",
            "gristmill broker --listen kafka:9092",
            "gristmill broker --tls-certificate broker.pem",
            "gristmill broker --tls-client-auth sometimes",
            "gristmill broker --super-user root",
            "gristmill api-key create --resource lkc-123",
        ] {
            assert!(Flags::try_parse_from(line.split_whitespace()).is_err(), "{line}");
        }
    }
}
