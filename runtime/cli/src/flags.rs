//! The command line as it was typed. Each command's own flags stand in its file in `commands/`.

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};
use gristmill_connectors::Cluster;

use crate::client_config::ClientConfig;
use crate::commands::{
    api_key, broker, capture, completions, dead_letters_list, dead_letters_replay,
    dead_letters_show, demo, doctor, environment, explain, group, kafka_cluster, pipelines,
    produce, run, stage_build, stage_inspect, stage_new, stage_promote, stage_shadow, stage_test,
    table_history, table_optimize, table_show, table_vacuum, test, topic_consume, topic_create,
    topic_delete, topic_describe, topic_list, topic_update, validate,
};
use crate::output::Output;
use crate::profiles::ProfileFile;
use crate::user_error::UserError;

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
    /// Stages of your own: new, build, test, inspect, shadow, promote
    #[command(subcommand)]
    Stage(StageCommand),
    /// Records that a stage rejected: list, show, replay
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Run the built-in broker alone
    Broker(broker::BrokerFlags),
    /// Topics: list, create, describe, update, delete, produce, consume
    #[command(subcommand)]
    Topic(TopicCommand),
    /// Consumer groups: list, describe, reset-offsets, delete
    #[command(subcommand)]
    Group(GroupCommand),
    /// Clusters by name, and topics and groups as Kafka's users know them: `kafka topic …`
    #[command(subcommand)]
    Kafka(KafkaCommand),
    /// Named groups of clusters: list, use, create, delete
    #[command(subcommand)]
    Environment(EnvironmentCommand),
    /// Send records to a topic: lines of a file, generated orders, or standard input
    Produce(produce::ProduceFlags),
    /// Delta tables: show, history, optimize, vacuum
    #[command(subcommand)]
    Table(TableCommand),
    /// API keys of a broker: create, use, store, list, delete
    #[command(subcommand)]
    ApiKey(ApiKeyCommand),
    /// Print how the pipelines of a running process are
    Status(pipelines::StatusFlags),
    /// Let a running pipeline commit what it has begun, and begin nothing
    Pause(pipelines::SteerFlags),
    /// Let a paused pipeline go on
    Resume(pipelines::SteerFlags),
    /// Have a running pipeline look at its files now
    Reload(pipelines::SteerFlags),
    /// Print rows as they leave a stage of a running pipeline
    Tap(pipelines::TapFlags),
    /// Look at the machine, the folders, the cluster in use and pipelines, and say what is amiss
    Doctor(doctor::DoctorFlags),
    /// Print the JSON Schema of pipeline files, for editors
    Schema,
    /// Print the script that completes our commands in a shell
    Completions(completions::CompletionsFlags),
    /// Print the man page, or write the pages of all commands
    Man(completions::ManFlags),
    /// Print the version of the program and of what is inside
    Version,
}

#[derive(Subcommand)]
pub enum KafkaCommand {
    /// Clusters by name: list, use, create, delete
    #[command(subcommand)]
    Cluster(KafkaClusterCommand),
    /// Topics: list, create, describe, update, delete, produce, consume
    #[command(subcommand)]
    Topic(TopicCommand),
    /// Consumer groups: list, describe, reset-offsets, delete
    #[command(subcommand)]
    Group(GroupCommand),
}

#[derive(Subcommand)]
pub enum EnvironmentCommand {
    /// Print the environments; * marks the one in use
    List,
    /// Use an environment from now on
    Use(environment::EnvironmentNameFlags),
    /// Make an environment
    Create(environment::EnvironmentNameFlags),
    /// Forget an environment
    Delete(environment::EnvironmentNameFlags),
}

#[derive(Subcommand)]
pub enum KafkaClusterCommand {
    /// Print the clusters of the environment in use; * marks the one in use
    List,
    /// Use a cluster from now on
    Use(kafka_cluster::KafkaClusterNameFlags),
    /// Remember how a cluster is reached, under a name
    Create(kafka_cluster::KafkaClusterCreateFlags),
    /// Forget a cluster; nothing in it is touched
    Delete(kafka_cluster::KafkaClusterNameFlags),
}

#[derive(Subcommand)]
pub enum GroupCommand {
    /// Print the consumer groups
    List(group::GroupListFlags),
    /// Print who is in a group, and how far it has read
    Describe(group::GroupDescribeFlags),
    /// Move the offsets of a group that nobody is in
    ResetOffsets(group::GroupResetFlags),
    /// Delete a group that nobody is in, with its offsets
    Delete(group::GroupDeleteFlags),
}

#[derive(Subcommand)]
pub enum TopicCommand {
    /// Print the topics
    List(topic_list::TopicListFlags),
    /// Make a topic
    Create(topic_create::TopicCreateFlags),
    /// Print the settings of a topic, its partitions and what is in them
    Describe(topic_describe::TopicDescribeFlags),
    /// Change settings of a topic, or give it more partitions
    Update(topic_update::TopicUpdateFlags),
    /// Delete a topic and all its records
    Delete(topic_delete::TopicDeleteFlags),
    /// Send records to a topic
    Produce(produce::TopicProduceFlags),
    /// Print the records of a topic
    Consume(topic_consume::TopicConsumeFlags),
}

#[derive(Subcommand)]
pub enum StageCommand {
    /// Make a project for a stage in a language of your choice
    New(stage_new::StageNewFlags),
    /// Build a project with its language's own tool
    Build(stage_build::StageBuildFlags),
    /// Run a stage's examples, or rows of your own, through its module
    Test(stage_test::StageTestFlags),
    /// Print what a module is, asks for, reads and makes
    Inspect(stage_inspect::StageInspectFlags),
    /// Run a candidate beside a stage's module, and print how the two compare
    Shadow(stage_shadow::StageShadowFlags),
    /// Make a stage's candidate its module
    Promote(stage_promote::StagePromoteFlags),
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
    /// Log in with a key from now on
    Use(api_key::ApiKeyUseFlags),
    /// Keep the secret of a key that was made elsewhere; it is read from standard input
    Store(api_key::ApiKeyUseFlags),
    /// Print the keys
    List(api_key::ApiKeyListFlags),
    /// Delete a key and its rights
    Delete(api_key::ApiKeyDeleteFlags),
}

#[derive(Subcommand)]
pub enum TableCommand {
    /// Print what a table holds and its first rows
    Show(table_show::TableShowFlags),
    /// Print who did what to a table, newest first
    History(table_history::TableHistoryFlags),
    /// Make many small files into few; no row changes
    Optimize(table_optimize::TableOptimizeFlags),
    /// Delete files that the table no longer needs
    Vacuum(table_vacuum::TableVacuumFlags),
}

/// The variable that names a broker where no flag does.
const BOOTSTRAP_VARIABLE: &str = "GRISTMILL_BOOTSTRAP";

/// The cluster that a client command talks to: the one in use, unless a flag says otherwise.
#[derive(Args)]
pub struct BootstrapFlags {
    /// Address of a Kafka broker, the built-in one or any other; also GRISTMILL_BOOTSTRAP [default: the cluster in use]
    #[arg(long, value_name = "HOST:PORT", value_parser = kafka_cluster::addresses)]
    bootstrap: Option<String>,

    /// Another cluster of the environment in use, by its name
    #[arg(long, value_name = "NAME", conflicts_with = "bootstrap")]
    cluster: Option<String>,

    /// File of librdkafka properties, `key=value` on each line, such as security.protocol and sasl.username
    #[arg(long, value_name = "FILE", env = "GRISTMILL_CLIENT_CONFIG", value_parser = ClientConfig::read)]
    client_config: Option<ClientConfig>,
}

impl BootstrapFlags {
    /// # Errors
    /// There is no cluster of that name, or the file of the profiles is wrong.
    pub fn cluster(&self) -> Result<Cluster> {
        let cluster = match self.address() {
            Some(address) => Cluster::new(address),
            None => {
                let file = ProfileFile::open()?;
                let (name, profile) = file.profiles.cluster(self.cluster.as_deref())?;
                if profile.lacks_login() && self.client_config.is_none() {
                    return Err(no_login(&name));
                }
                profile.connection()
            }
        };
        Ok(self.configured(cluster))
    }

    /// Where a pipeline's topics are that names no broker: on the built-in one of this machine, unless a flag says
    /// otherwise.
    ///
    /// # Errors
    /// As those of [`cluster`](Self::cluster).
    pub fn built_in(&self) -> Result<Cluster> {
        if self.cluster.is_some() || self.address().is_some() {
            return self.cluster();
        }
        Ok(self.configured(ProfileFile::open()?.profiles.built_in().connection()))
    }

    fn address(&self) -> Option<String> {
        let variable = || std::env::var(BOOTSTRAP_VARIABLE).ok().filter(|text| !text.is_empty());
        match (&self.bootstrap, &self.cluster) {
            (Some(address), _) => Some(address.clone()),
            (None, Some(_)) => None,
            (None, None) => variable(),
        }
    }

    fn configured(&self, mut cluster: Cluster) -> Cluster {
        cluster.properties.extend(self.client_config.clone().unwrap_or_default().properties);
        cluster
    }
}

fn no_login(cluster: &str) -> anyhow::Error {
    UserError::new(format!(
        "cluster `{cluster}` wants an API key and none is in use; choose one with `gristmill api-key use KEY --resource \
         {cluster}`"
    ))
    .into()
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
            "gristmill environment list",
            "gristmill environment use env-4x9",
            "gristmill kafka cluster list",
            "gristmill kafka cluster use lkc-4x9pz",
            "gristmill api-key create --resource lkc-4x9pz",
            "gristmill api-key use KEY --resource lkc-4x9pz",
            "gristmill kafka topic create --partitions 4 orders",
            "gristmill kafka topic list",
            "gristmill kafka topic create orders --partitions 3",
            "gristmill kafka topic describe orders",
            "gristmill kafka topic produce orders --parse-key",
            "gristmill kafka topic consume --from-beginning orders",
            "gristmill kafka topic delete orders",
            "gristmill topic consume -b orders --output json",
            "gristmill produce --file orders.json --rate 500",
            "gristmill produce orders.json --topic orders --key customer_id --rate 500/s --loop",
            "gristmill produce orders.json --time order_date --speed-up 60",
            "gristmill kafka topic consume orders --partition 0 --offset 5 --max 3",
            "gristmill kafka topic consume orders --group g --max 3",
            "gristmill kafka group list",
            "gristmill group reset-offsets g --topic orders --to-earliest",
            "gristmill api-key create --resource CLUSTER",
            "gristmill stage new keep --lang ts --kind flatten",
            "gristmill stage test --text a --text b --with city=Reno",
            "gristmill stage shadow orders parse new.wasm",
            "gristmill stage shadow orders parse --off",
            "gristmill stage promote orders parse",
        ] {
            assert!(Flags::try_parse_from(line.split_whitespace()).is_ok(), "{line}");
        }
    }

    #[test]
    fn flags_that_contradict_each_other_are_refused() {
        for line in [
            "gristmill",
            "gristmill produce --file a --orders 3",
            "gristmill produce a --file b",
            "gristmill produce a --speed-up 3",
            "gristmill produce a --time at --rate 3",
            "gristmill topic list --bootstrap kafka",
            "gristmill topic list --bootstrap kafka:9092 --cluster prod",
            "gristmill topic consume orders --offset 5",
            "gristmill topic consume orders --from-beginning --timestamp 5",
            "gristmill group reset-offsets g",
            "gristmill group reset-offsets g --to-latest --to-earliest",
            "gristmill kafka cluster create cluster --bootstrap kafka:9092",
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
            "gristmill api-key create",
            "gristmill stage new keep",
            "gristmill stage new keep --lang cobol",
            "gristmill stage test --text a --file b",
            "gristmill stage shadow orders parse new.wasm --off",
            "gristmill stage promote orders",
        ] {
            assert!(Flags::try_parse_from(line.split_whitespace()).is_err(), "{line}");
        }
    }
}
