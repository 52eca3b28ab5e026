//! From what is written to what runs: names, references between tables, defaults, secrets, files.
//!
//! Every check runs, whatever the others found, so that one reading tells all mistakes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use gristmill_host::Grant;
use regex::Regex;

use super::document::{
    DeadLetterTable, Document, GrantTable, SinkTable, SourceTable, StageTable, TestTable, Written,
};
use super::flow::{Flow, resolve_flow};
use super::kafka;
use super::module;
use super::names;
use super::pipeline::{
    DeadLetterConfig, Delivery, DeltaSinkConfig, OnDataLoss, OnFailure, Pipeline, RecordHeaders,
    SchemaEvolution, SinkConfig, SinkKind, SourceConfig, StageConfig, StagePlace, Start,
    TestConfig, TopicSinkConfig, Topics, Trigger, Upstream, Watch,
};
use super::report::Report;
use super::secret::{Expander, Visibility, has_reference};
use super::suggestion::{did_you_mean, listed};
use super::table_address;

/// What a document is resolved against.
pub(super) struct Resolver<'a> {
    pub file: &'a Path,
    /// Where the file is: the beginning of its relative paths.
    pub folder: &'a Path,
    /// Names of the shipped modules.
    pub shipped: &'a [&'a str],
    pub expander: Expander<'a>,
    pub report: &'a Report<'a>,
}

impl Resolver<'_> {
    /// `None` if anything is wrong, all of which is reported.
    pub fn pipeline(&self, document: Document) -> Option<Pipeline> {
        let Document { name, source, stages, sinks, delivery, watch, dead_letter, tests } =
            document;
        names::check(name.as_ref(), &stages, &sinks, self.report);
        self.check_dead_letters(&stages, dead_letter.as_ref());
        self.warn_of_written_secrets(source.as_ref(), &sinks);
        let tests = self.tests(tests, &sinks);
        let flow = resolve_flow(&stages, &sinks, self.report);
        let source = source.map(|source| self.source(source));
        let cluster = source.as_ref().and_then(|source| source.as_ref());
        let dead_letter = dead_letter.map(|table| self.dead_letter(table, cluster));
        let stages: Vec<_> = stages.into_iter().map(|stage| self.stage(stage)).collect();
        let sinks: Vec<_> = sinks.into_iter().map(|sink| self.sink(sink, cluster)).collect();
        let flow = flow?;
        Some(Pipeline {
            name: name?.value,
            file: self.file.to_path_buf(),
            file_hash: gristmill_host::sha256_hex(self.expander.source_text.as_bytes()),
            watch: watch.unwrap_or(Watch::Notify),
            stages: in_order(stages.into_iter().collect::<Option<_>>()?, &flow),
            sinks: with_upstreams(sinks.into_iter().collect::<Option<_>>()?, &flow),
            delivery: delivery.unwrap_or(Delivery::ExactlyOnce),
            dead_letter: match dead_letter {
                Some(dead_letter) => Some(dead_letter?),
                None => None,
            },
            source: source??,
            tests,
        })
    }

    fn source(&self, table: SourceTable) -> Option<SourceConfig> {
        let brokers = self.brokers(table.brokers.as_ref());
        let kafka = kafka::source_properties(&table.kafka, &self.expander, self.report);
        let topics = match (&table.topics, &table.topic_pattern) {
            (Some(names), _) => self.topics(names),
            (None, Some(pattern)) => self.topic_pattern(pattern),
            (None, None) => None,
        };
        let start = table.start.map(|start| {
            if let Some(topics) = &topics {
                self.check_start_topics(&start.value.topics, topics);
            }
            start.value.start
        });
        Some(SourceConfig {
            topics: topics?,
            brokers: brokers?,
            start: start.unwrap_or(Start::Earliest),
            trigger: table.trigger.unwrap_or(Trigger::Continuous),
            max_offsets_per_trigger: table.max_offsets_per_trigger,
            on_data_loss: table.on_data_loss.unwrap_or(OnDataLoss::Stop),
            kafka: kafka?,
        })
    }

    fn topics(&self, names: &[Written<String>]) -> Option<Topics> {
        let topics: Vec<_> =
            names.iter().map(|name| kafka::topic(name, &self.expander, self.report)).collect();
        topics.into_iter().collect::<Option<_>>().map(Topics::Names)
    }

    fn topic_pattern(&self, written: &Written<String>) -> Option<Topics> {
        let pattern = self.expander.expand(written, Visibility::Shown, self.report)?;
        match whole_name(&pattern) {
            Ok(_) => Some(Topics::Pattern(pattern)),
            Err(error) => {
                let what = error.to_string();
                let what = what.lines().last().unwrap_or_default();
                let what = what.trim_start_matches("error: ");
                let message = format!("`topic_pattern` is not a regular expression: {what}");
                let help = "every topic whose name begins with `orders-`: `orders-.*`";
                self.report.error_with_help(written.span.clone(), message, help);
                None
            }
        }
    }

    fn check_start_topics(&self, written: &[Written<String>], topics: &Topics) {
        for topic in written.iter().filter(|topic| !topics.has(&topic.value)) {
            let message = format!("`start` names the topic `{}`, which is not read", topic.value);
            let help = match topics {
                Topics::Names(names) => {
                    let names = names.iter().map(String::as_str);
                    did_you_mean(&topic.value, names.clone(), || {
                        format!("the topics here are {}", listed(names, "and"))
                    })
                }
                Topics::Pattern(pattern) => format!("`topic_pattern` is `{pattern}`"),
            };
            self.report.error_with_help(topic.span.clone(), message, help);
        }
    }

    /// `Some(None)`: none are written.
    fn brokers(&self, written: Option<&Written<String>>) -> Option<Option<String>> {
        match written {
            Some(written) => kafka::brokers(written, &self.expander, self.report).map(Some),
            None => Some(None),
        }
    }

    fn stage(&self, table: StageTable) -> Option<StageConfig> {
        let called = table.name.as_ref().map_or("?", |name| &name.value);
        let module = table.module.as_ref().and_then(|module| self.module(module, called));
        let shadow = table.shadow.as_ref().map(|module| self.module(module, called));
        self.warn_of_references(&table);
        self.warn_of_idle_budget(&table);
        let grant = self.grant(&table.grant);
        let (name, written_module, with) = (table.name?, table.module?, table.with);
        Some(StageConfig {
            name: name.value,
            from: Upstream::Source,
            module: module?,
            shadow: match shadow {
                Some(found) => Some(found?),
                None => None,
            },
            with: with.value,
            on_failure: table.on_failure.map_or(OnFailure::Stop, |choice| choice.value),
            max_failures: table.max_failures.map(|written| written.value),
            limits: table.limits,
            grant: grant?,
            place: StagePlace {
                name: name.span,
                module: written_module.span,
                shadow: table.shadow.map_or(0..0, |written| written.span),
                with: with.span,
                with_keys: with.places,
            },
        })
    }

    /// Values are looked up once, so that every instance of a stage sees the same.
    fn grant(&self, table: &GrantTable) -> Option<Grant> {
        let variable = |name: &Written<String>| {
            let value = self.expander.variable(name, self.report)?;
            Some((name.value.clone(), value))
        };
        let environment: Vec<_> = table.env.iter().map(variable).collect();
        let environment = environment.into_iter().collect::<Option<Vec<_>>>()?;
        Some(Grant { environment, clock: table.clock, random: table.random })
    }

    fn module(&self, written: &Written<String>, stage: &str) -> Option<super::pipeline::ModuleRef> {
        let found = module::find(&written.value, self.shipped, self.folder);
        found
            .map_err(|module::NoModule { message, help }| {
                let message = format!("stage `{stage}`: {message}");
                self.report.error_with_help(written.span.clone(), message, help);
            })
            .ok()
    }

    /// A module sees nothing of the environment, so `${VAR}` in its settings is just text.
    fn warn_of_references(&self, stage: &StageTable) {
        let texts = stage.with.value.as_object().into_iter().flatten();
        for (key, value) in texts {
            if value.as_str().is_some_and(has_reference)
                && let Some(span) = stage.with.places.get(key)
            {
                let message = format!("nothing is put in for the `${{…}}` in `{key}`");
                let help = "a module sees nothing of the environment; \
                            write the value itself";
                self.report.warning(span.clone(), message, help);
            }
        }
    }

    fn warn_of_idle_budget(&self, stage: &StageTable) {
        let stops = !matches!(
            &stage.on_failure,
            Some(Written { value: OnFailure::Skip | OnFailure::DeadLetter, .. })
        );
        if let Some(budget) = stage.max_failures.as_ref().filter(|_| stops) {
            let message = "`max_failures` has no effect: the first failure stops the pipeline";
            let help = "add `on_failure = \"skip\"` or `\"dead-letter\"`, or take it away";
            self.report.warning(budget.span.clone(), message, help);
        }
    }

    fn sink(&self, table: SinkTable, source: Option<&SourceConfig>) -> Option<SinkConfig> {
        let column_places = column_places(&table);
        let kind = match (&table.topic, &table.delta) {
            (Some(topic), None) => self.topic_sink(&table, topic, source).map(SinkKind::Topic),
            (None, Some(delta)) => self.delta_sink(&table, delta).map(SinkKind::Delta),
            _ => None,
        };
        let name = table.name?;
        Some(SinkConfig {
            name: name.value,
            from: Upstream::Source,
            columns: table.columns.map(|names| names.into_iter().map(|name| name.value).collect()),
            kind: kind?,
            place: name.span,
            column_places,
        })
    }

    fn topic_sink(
        &self,
        table: &SinkTable,
        written: &Written<String>,
        source: Option<&SourceConfig>,
    ) -> Option<TopicSinkConfig> {
        let topic = kafka::topic(written, &self.expander, self.report);
        let brokers = self.brokers(table.brokers.as_ref());
        let kafka = kafka::sink_properties(&table.kafka, &self.expander, self.report);
        let (topic, brokers, mut kafka) = (topic?, brokers?, kafka?);
        let shares_cluster = brokers.is_none() || brokers == source.and_then(|s| s.brokers.clone());
        if let Some(source) = source.filter(|_| shares_cluster) {
            self.check_no_loop(written, &topic, source);
            let inherited = source.connection_properties();
            inherited.for_each(|(name, value)| {
                kafka.entry(name.clone()).or_insert_with(|| value.clone());
            });
        }
        Some(TopicSinkConfig {
            topic,
            brokers: brokers.or_else(|| source?.brokers.clone()),
            value: table.value.as_ref().map(|column| column.value.clone()),
            key: table.key.as_ref().map(|column| column.value.clone()),
            partitions: table.partitions,
            headers: table.headers.unwrap_or(RecordHeaders::None),
            kafka,
        })
    }

    fn check_no_loop(&self, written: &Written<String>, topic: &str, source: &SourceConfig) {
        if source.topics.has(topic) {
            let message = format!("`{}` is a topic that this pipeline reads", written.value);
            let help = "it would read its own rows for ever; write to another topic";
            self.report.error_with_help(written.span.clone(), message, help);
        }
    }

    fn delta_sink(&self, table: &SinkTable, written: &Written<String>) -> Option<DeltaSinkConfig> {
        let address = self.expander.expand(written, Visibility::Shown, self.report);
        let storage = kafka::expand_properties(&table.storage, &self.expander, self.report);
        let address = table_address::resolve(written, &address?, self.folder, self.report)?;
        if let Some(option) = table.storage.first().filter(|_| !address.contains("://")) {
            let message = "`storage` has no effect: this table is a folder of this machine";
            self.report.warning(option.name.span.clone(), message, "take it away");
        }
        Some(DeltaSinkConfig {
            table: address,
            partition_by: table.partition_by.iter().map(|column| column.value.clone()).collect(),
            commit_every: table.commit_every,
            schema_evolution: table.schema_evolution.unwrap_or(SchemaEvolution::Refuse),
            storage: storage?,
        })
    }

    fn dead_letter(
        &self,
        table: DeadLetterTable,
        source: Option<&SourceConfig>,
    ) -> Option<DeadLetterConfig> {
        let written = table.topic?;
        let topic = kafka::topic(&written, &self.expander, self.report)?;
        if let Some(source) = source {
            self.check_no_loop(&written, &topic, source);
        }
        Some(DeadLetterConfig { topic })
    }

    fn check_dead_letters(&self, stages: &[StageTable], table: Option<&DeadLetterTable>) {
        let asks = |stage: &&StageTable| {
            stage.on_failure.as_ref().is_some_and(|choice| choice.value == OnFailure::DeadLetter)
        };
        let asking = stages.iter().find(asks).and_then(|stage| stage.on_failure.as_ref());
        match (asking, table) {
            (Some(choice), None) => self.report.error_with_help(
                choice.span.clone(),
                "the file does not say where dead letters go",
                "add\n[dead_letter]\ntopic = \"orders-dead-letters\"",
            ),
            (None, Some(table)) if table.topic.is_some() => self.report.warning(
                table.header.clone(),
                "no stage sends dead letters",
                "add `on_failure = \"dead-letter\"` to a stage, or take this away",
            ),
            _ => {}
        }
    }

    fn tests(&self, tables: Vec<TestTable>, sinks: &[SinkTable]) -> Vec<TestConfig> {
        let sink_names: Vec<&str> =
            sinks.iter().filter_map(|sink| Some(sink.name.as_ref()?.value.as_str())).collect();
        let mut seen: BTreeMap<String, Range<usize>> = BTreeMap::new();
        let mut tests = Vec::new();
        for table in tables {
            for (sink, _) in &table.expect {
                self.check_expected_sink(sink, &sink_names);
            }
            let Some(name) = table.name else { continue };
            if seen.insert(name.value.clone(), name.span.clone()).is_some() {
                let message = format!("two tests are named `{}`", name.value);
                self.report.error_with_help(
                    name.span.clone(),
                    message,
                    "give each a name of its own",
                );
            }
            let expect = table.expect.into_iter().map(|(sink, rows)| (sink.value, rows)).collect();
            tests.push(TestConfig {
                name: name.value,
                input: table.input,
                expect,
                expect_dead_letters: table.expect_dead_letters,
                expect_stop: table.expect_stop,
                place: name.span,
            });
        }
        tests
    }

    fn check_expected_sink(&self, sink: &Written<String>, sink_names: &[&str]) {
        if sink_names.contains(&sink.value.as_str()) {
            return;
        }
        let names = sink_names.iter().copied();
        let help = did_you_mean(&sink.value, names.clone(), || {
            format!("the sinks here are {}", listed(names, "and"))
        });
        let message = format!("no sink is named `{}`", sink.value);
        self.report.error_with_help(sink.span.clone(), message, help);
    }

    fn warn_of_written_secrets(&self, source: Option<&SourceTable>, sinks: &[SinkTable]) {
        let sinks = sinks.iter().flat_map(|sink| sink.kafka.iter().chain(&sink.storage));
        for property in source.iter().flat_map(|source| &source.kafka).chain(sinks) {
            let name = property.name.value.to_ascii_lowercase();
            let is_secret = name.ends_with("password") || name.contains("secret");
            if is_secret && !has_reference(&property.value.value) {
                let message = format!("`{}` is written into the file", property.name.value);
                let help = "bring it in from outside: `\"${VAR}\"` or `\"${file:PATH}\"`";
                self.report.warning(property.name.span.clone(), message, help);
            }
        }
    }
}

fn in_order(stages: Vec<StageConfig>, flow: &Flow) -> Vec<StageConfig> {
    let mut stages: Vec<_> = stages.into_iter().map(Some).collect();
    let take = |index: &usize| {
        stages[*index]
            .take()
            .map(|stage| StageConfig { from: flow.stage_upstreams[*index], ..stage })
    };
    flow.order.iter().filter_map(take).collect()
}

fn with_upstreams(sinks: Vec<SinkConfig>, flow: &Flow) -> Vec<SinkConfig> {
    let place = |(sink, from): (SinkConfig, &Upstream)| SinkConfig { from: *from, ..sink };
    sinks.into_iter().zip(&flow.sink_upstreams).map(place).collect()
}

/// By what is written there; `columns` comes first where a column is named twice.
fn column_places(sink: &SinkTable) -> BTreeMap<String, Range<usize>> {
    let mut places = BTreeMap::new();
    let columns = sink.columns.iter().flatten();
    for column in columns.chain(&sink.partition_by).chain(&sink.value).chain(&sink.key) {
        places.entry(column.value.clone()).or_insert_with(|| column.span.clone());
    }
    places
}

fn whole_name(pattern: &str) -> Result<Regex, regex::Error> {
    Regex::new(pattern)?;
    Regex::new(&format!("^(?:{pattern})$"))
}

impl Topics {
    /// Whether a topic of this name is read.
    pub fn has(&self, topic: &str) -> bool {
        match self {
            Topics::Names(names) => names.iter().any(|name| name == topic),
            Topics::Pattern(pattern) => {
                whole_name(pattern).is_ok_and(|pattern| pattern.is_match(topic))
            }
        }
    }
}
