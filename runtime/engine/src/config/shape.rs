//! Every key of a pipeline file: its type, limits, default and meaning.
//!
//! The one list that reading (`document`), the JSON Schema and the reference in
//! docs/pipeline-file.md (`schema`) go by.

pub(super) use super::value_shape::ValueShape;

/// A table of the file.
#[derive(Debug)]
pub(super) struct TableShape {
    /// As a message names it.
    pub title: &'static str,
    pub about: &'static str,
    pub keys: &'static [KeyShape],
}

/// A key of a table.
#[derive(Debug)]
pub(super) struct KeyShape {
    pub name: &'static str,
    pub value: ValueShape,
    pub required: bool,
    /// What holds where the key is absent; empty: nothing.
    pub default: &'static str,
    /// How it is written, for help lines.
    pub example: &'static str,
    pub about: &'static str,
}

/// Longest name of a pipeline, stage or sink, in characters.
pub(super) const NAME_CHARS_MAX: usize = 100;
/// Kafka's own limit of a topic's name.
pub(super) const TOPIC_CHARS_MAX: usize = 249;

const DAY_MS: u64 = 86_400_000;
const I64_MAX: u64 = i64::MAX as u64;

/// The file itself.
pub(super) static PIPELINE: TableShape = TableShape {
    title: "the file",
    about: "One pipeline: a source, a tree of stages, one or more sinks.",
    keys: &[
        required("name", ValueShape::Name, r#"name = "orders""#)
            .about("identity: cursors are kept under it, a new name starts the pipeline anew"),
        required("source", ValueShape::Table(&SOURCE), r#"[source]"#)
            .about("where the records come from"),
        optional("stage", ValueShape::Tables(&STAGE), r#"[[stage]]"#)
            .about("what is done with the rows, any number of them"),
        required("sink", ValueShape::Tables(&SINK), r#"[[sink]]"#)
            .about("where the rows go, one or more"),
        optional("dead_letter", ValueShape::Table(&DEAD_LETTER), r#"[dead_letter]"#)
            .about("where rejected records go"),
        optional(
            "delivery",
            ValueShape::Choice(&["exactly-once", "at-least-once"]),
            r#"delivery = "exactly-once""#,
        )
        .default(r#""exactly-once""#)
        .about(
            "what holds for topics after a crash; at least once needs no transactions, tables are \
             exactly once in either case",
        ),
        optional("watch", ValueShape::Choice(&["notify", "poll", "off"]), r#"watch = "poll""#)
            .default(r#""notify""#)
            .about(
                "how a running pipeline notices that this file or a module has changed: the system tells, it looks \
                 every second (for network file systems, which tell nothing), or only `gristmill reload`",
            ),
        optional("test", ValueShape::Tables(&TEST), r#"[[test]]"#)
            .about("records and the rows they must become"),
    ],
};

pub(super) static SOURCE: TableShape = TableShape {
    title: "[source]",
    about: "The Kafka topics that are read.",
    keys: &[
        optional("topics", ValueShape::Texts, r#"topics = ["orders"]"#)
            .about("names of topics; this or `topic_pattern`"),
        optional("topic_pattern", ValueShape::Text, r#"topic_pattern = "orders-.*""#)
            .about("a regular expression that the whole name of a topic matches"),
        optional("brokers", ValueShape::Text, r#"brokers = "kafka-1:9092,kafka-2:9092""#)
            .default("the built-in broker")
            .about("addresses of a Kafka cluster"),
        optional(
            "start",
            ValueShape::Either(&[
                ValueShape::Choice(&["earliest", "latest"]),
                ValueShape::Table(&START),
            ]),
            r#"start = "earliest""#,
        )
        .default(r#""earliest""#)
        .about(
            "where a pipeline without a cursor begins; \
             partitions that appear later begin at the earliest offset",
        ),
        optional(
            "trigger",
            ValueShape::Either(&[
                ValueShape::Choice(&["continuous", "available-now"]),
                ValueShape::Duration { min_ms: 1, max_ms: DAY_MS },
            ]),
            r#"trigger = "10s""#,
        )
        .default(r#""continuous""#)
        .about(
            "when a micro-batch begins: at once, every interval, \
             or once for all that is there, after which the pipeline ends",
        ),
        optional(
            "max_offsets_per_trigger",
            ValueShape::Count { min: 1, max: I64_MAX },
            "max_offsets_per_trigger = 100_000",
        )
        .default("no limit")
        .about("most records of one micro-batch over all partitions"),
        optional(
            "on_data_loss",
            ValueShape::Choice(&["stop", "continue"]),
            r#"on_data_loss = "stop""#,
        )
        .default(r#""stop""#)
        .about("what happens when records that were not yet read are gone"),
        optional(
            "kafka",
            ValueShape::Properties,
            r#"kafka = { "security.protocol" = "SASL_SSL" }"#,
        )
        .about("properties of librdkafka, passed through and never shown"),
    ],
};

pub(super) static START: TableShape = TableShape {
    title: "start",
    about: "A place to begin other than the ends of the topics: one of the two.",
    keys: &[
        optional("timestamp", ValueShape::Timestamp, "timestamp = 2026-11-01T00:00:00Z")
            .about("the first record at or after this time"),
        optional("offsets", ValueShape::Offsets, "offsets = { orders = { 0 = 23 } }").about(
            "topic, partition, offset; -2 is the earliest, -1 the latest; \
             partitions not named begin at the earliest",
        ),
    ],
};

pub(super) static STAGE: TableShape = TableShape {
    title: "[[stage]]",
    about: "A WebAssembly module that makes rows of rows.",
    keys: &[
        required("name", ValueShape::Name, r#"name = "parse""#)
            .about("unique among stages and sinks"),
        optional("from", ValueShape::Text, r#"from = "parse""#)
            .default("the stage above, for the first one the source")
            .about("the stage whose rows it reads, or `source`"),
        required("module", ValueShape::Text, r#"module = "parse-json""#)
            .about("a shipped module by name, or a path that begins at this file's folder"),
        optional("shadow", ValueShape::Text, r#"shadow = "./new.wasm""#)
            .about("a candidate for `module`: gets the same rows, has no effect, and is compared"),
        optional("with", ValueShape::Object, r#"with = { column = "value" }"#)
            .about("settings of the module"),
        optional(
            "on_failure",
            ValueShape::Choice(&["stop", "skip", "dead-letter"]),
            r#"on_failure = "dead-letter""#,
        )
        .default(r#""stop""#)
        .about("what happens to a record that the module rejects, or breaks on"),
        optional(
            "max_failures",
            ValueShape::Either(&[
                FAILURE_COUNT,
                ValueShape::Share,
                ValueShape::Table(&MAX_FAILURES),
            ]),
            r#"max_failures = "1%""#,
        )
        .default("no limit")
        .about(
            "rows that may be skipped or become dead letters before the pipeline stops: \
             a count since it was started, a share of the last 10,000 rows, or a table",
        ),
        optional("limits", ValueShape::Table(&LIMITS), r#"limits = { memory = "64MiB" }"#)
            .about("what the module may use"),
        optional("grant", ValueShape::Table(&GRANT), "grant = { clock = true }")
            .default("nothing")
            .about("what the module may see of the world outside; files and network it never sees"),
    ],
};

const FAILURE_COUNT: ValueShape = ValueShape::Count { min: 1, max: I64_MAX };

/// The rows that a share of `max_failures` is of.
pub(super) const FAILURE_WINDOW_ROWS: u64 = 10_000;
/// The numbers of the failed rows of a window are kept in memory, 8 bytes each.
const FAILURE_WINDOW_ROWS_MAX: u64 = 1_000_000;

pub(super) static MAX_FAILURES: TableShape = TableShape {
    title: "max_failures",
    about: "One row more than these fails, and the pipeline stops: one of `count` and `share`.",
    keys: &[
        optional("count", FAILURE_COUNT, "count = 100").about("rows that may fail"),
        optional("share", ValueShape::Share, r#"share = "0.1%""#)
            .about("rows that may fail, of those in the window"),
        optional(
            "window_rows",
            ValueShape::Count { min: 1, max: FAILURE_WINDOW_ROWS_MAX },
            "window_rows = 100_000",
        )
        .default("10000; of a count: all since the start")
        .about("the rows looked back at: the last ones that the stage was given"),
    ],
};

pub(super) static LIMITS: TableShape = TableShape {
    title: "[stage.limits]",
    about: "What a module may use before it is stopped.",
    keys: &[
        optional(
            "memory",
            ValueShape::Size { min_bytes: 64 << 10, max_bytes: 4 << 30 },
            r#"memory = "64MiB""#,
        )
        .default(r#""64MiB""#)
        .about("linear memory of one instance"),
        optional(
            "batch_time",
            ValueShape::Duration { min_ms: 10, max_ms: DAY_MS },
            r#"batch_time = "5s""#,
        )
        .default(r#""5s""#)
        .about("time for one batch, in steps of 10 ms"),
        optional(
            "isolation_time",
            ValueShape::Duration { min_ms: 10, max_ms: DAY_MS },
            r#"isolation_time = "60s""#,
        )
        .default(r#""60s""#)
        .about(
            "time for the search of the records that a module breaks on, for one batch; \
             a stage that needs longer stops the pipeline",
        ),
        optional(
            "output_rows",
            ValueShape::Count { min: 1, max: u32::MAX as u64 },
            "output_rows = 1_000_000",
        )
        .default("1048576")
        .about("rows that one batch may become"),
        optional(
            "output_bytes",
            ValueShape::Size { min_bytes: 1 << 10, max_bytes: 4 << 30 },
            r#"output_bytes = "64MiB""#,
        )
        .default(r#""64MiB""#)
        .about("bytes that one batch may become"),
    ],
};

pub(super) static GRANT: TableShape = TableShape {
    title: "[stage.grant]",
    about: "What a module may see of the world outside of its sandbox.",
    keys: &[
        optional("env", ValueShape::Texts, r#"env = ["REGION"]"#)
            .default("none")
            .about("names of environment variables, with the values they have when the pipeline starts"),
        optional("clock", ValueShape::Flag, "clock = true").default("`false`").about(
            "the system's clock, in place of one that moves a millisecond per look; \
             a replay may then give other rows",
        ),
        optional("random", ValueShape::Flag, "random = true").default("`false`").about(
            "random numbers that differ from instance to instance, in place of the same ones in each; \
             a replay may then give other rows",
        ),
    ],
};

pub(super) static SINK: TableShape = TableShape {
    title: "[[sink]]",
    about: "A topic or a Delta table that rows are written to.",
    keys: &[
        required("name", ValueShape::Name, r#"name = "lake""#)
            .about("identity of the sink's cursor; unique among stages and sinks"),
        optional("from", ValueShape::Text, r#"from = "flatten""#)
            .default("the last stage, without stages the source")
            .about("the stage whose rows are written, or `source`"),
        optional("delta", ValueShape::Text, r#"delta = "./lake/orders""#)
            .about("a Delta table: a path that begins at this file's folder, or a URI"),
        optional("topic", ValueShape::Text, r#"topic = "orders-chicago""#)
            .about("a topic; this or `delta`"),
        optional("columns", ValueShape::Texts, r#"columns = ["key", "order_id"]"#)
            .default("table: all but `value` and `headers`; topic: those that the stages made")
            .about("columns to store, in this order"),
        optional("partition_by", ValueShape::Texts, r#"partition_by = ["state"]"#)
            .about("table only: columns that the table is partitioned by"),
        optional(
            "commit_every",
            ValueShape::Either(&[COMMIT_TIME, ValueShape::Table(&COMMIT_EVERY)]),
            r#"commit_every = "10s""#,
        )
        .default(r#""5s""#)
        .about("table only: when a table transaction is due, as a time or a table"),
        optional(
            "schema_evolution",
            ValueShape::Choice(&["refuse", "add"]),
            r#"schema_evolution = "add""#,
        )
        .default(r#""refuse""#)
        .about("table only: what happens with columns that the table lacks"),
        optional("storage", ValueShape::Properties, r#"storage = { aws_region = "eu-central-1" }"#)
            .about("table only: options of the object store, never shown"),
        optional("value", ValueShape::Text, r#"value = "value""#)
            .default("a JSON object of the columns; straight from the source: `value`")
            .about("topic only: the column that is the record's value"),
        optional("key", ValueShape::Text, r#"key = "key""#)
            .default("`key` where there is such a column")
            .about("topic only: the column that is the record's key"),
        optional("partitions", ValueShape::Count { min: 1, max: 10_000 }, "partitions = 4")
            .default("the broker's")
            .about("topic only: partitions of a topic that has to be made"),
        optional("headers", ValueShape::Choice(&["none", "modules"]), r#"headers = "modules""#)
            .default(r#""none""#)
            .about(
                "topic only: headers added to each record: `modules` names the generation and the hash of \
                 every module that it came through",
            ),
        optional("brokers", ValueShape::Text, r#"brokers = "kafka-1:9092,kafka-2:9092""#)
            .default("the source's")
            .about("topic only: addresses of another Kafka cluster"),
        optional("kafka", ValueShape::Properties, r#"kafka = { "linger.ms" = 5 }"#)
            .default("on the source's cluster: its `security.*`, `sasl.*` and `ssl.*`")
            .about("topic only: properties of librdkafka, passed through and never shown"),
    ],
};

const COMMIT_TIME: ValueShape = ValueShape::Duration { min_ms: 1, max_ms: DAY_MS };

pub(super) static COMMIT_EVERY: TableShape = TableShape {
    title: "commit_every",
    about: "A table transaction is due when any of these is reached.",
    keys: &[
        optional("time", COMMIT_TIME, r#"time = "10s""#)
            .default(r#""5s""#)
            .about("since the first row that is not yet in the table"),
        optional("rows", ValueShape::Count { min: 1, max: I64_MAX }, "rows = 1_000_000")
            .default("no limit")
            .about("rows not yet in the table"),
        optional(
            "bytes",
            ValueShape::Size { min_bytes: 1 << 10, max_bytes: 1 << 40 },
            r#"bytes = "128MiB""#,
        )
        .default(r#""128MiB""#)
        .about("encoded bytes not yet in the table"),
    ],
};

pub(super) static DEAD_LETTER: TableShape = TableShape {
    title: "[dead_letter]",
    about: "Where records go that a stage with `on_failure = \"dead-letter\"` rejects.",
    keys: &[required("topic", ValueShape::Text, r#"topic = "orders-dead-letters""#)
        .about("a topic on the source's cluster")],
};

pub(super) static TEST: TableShape = TableShape {
    title: "[[test]]",
    about: "Records in, rows expected.",
    keys: &[
        required("name", ValueShape::Text, r#"name = "only Chicago passes""#)
            .about("unique among tests"),
        required("input", ValueShape::Tables(&TEST_RECORD), r#"input = [{ value = "{}" }]"#)
            .about("the records, in order"),
        optional("expect", ValueShape::ObjectsBySink, r#"expect = { lake = [{ order_id = 1 }] }"#)
            .about("rows by sink; a row is met by one that has these columns and values"),
        optional(
            "expect_dead_letters",
            ValueShape::Objects,
            r#"expect_dead_letters = [{ key = "1" }]"#,
        )
        .default("not checked")
        .about("the rejected records: `key`, `value`, `stage`, `kind`, `reason`, `offset`, …"),
        optional("expect_stop", ValueShape::Text, r#"expect_stop = "not JSON""#)
            .default("it does not stop")
            .about("the pipeline stops, with this text in the error"),
    ],
};

pub(super) static TEST_RECORD: TableShape = TableShape {
    title: "input",
    about: "One record.",
    keys: &[
        optional("key", BYTES, r#"key = "1""#).default("null").about("its key"),
        optional("value", BYTES, r#"value = '{"order_id":1}'"#).default("null").about("its value"),
        optional("topic", ValueShape::Text, r#"topic = "orders""#)
            .default("the source's first topic")
            .about("its topic"),
        optional("partition", ValueShape::Count { min: 0, max: i32::MAX as u64 }, "partition = 0")
            .default("0")
            .about("its partition"),
        optional("offset", ValueShape::Count { min: 0, max: I64_MAX }, "offset = 0")
            .default("its place in the list")
            .about("its offset"),
        optional("timestamp", ValueShape::Timestamp, "timestamp = 2026-11-01T00:00:00Z")
            .default("1970-01-01T00:00:00Z")
            .about("its time"),
        optional("headers", ValueShape::Properties, r#"headers = { trace = "abc" }"#)
            .about("its headers"),
    ],
};

const BYTES: ValueShape = ValueShape::Either(&[ValueShape::AnyText, ValueShape::Table(&HEX)]);

pub(super) static HEX: TableShape = TableShape {
    title: "key or value",
    about: "Bytes that are no text.",
    keys: &[required("hex", ValueShape::Text, r#"hex = "00ff""#).about("two digits for each byte")],
};

/// All tables, as the reference lists them.
pub(super) static TABLES: [&TableShape; 13] = [
    &PIPELINE,
    &SOURCE,
    &START,
    &STAGE,
    &MAX_FAILURES,
    &LIMITS,
    &GRANT,
    &SINK,
    &COMMIT_EVERY,
    &DEAD_LETTER,
    &TEST,
    &TEST_RECORD,
    &HEX,
];

impl TableShape {
    pub fn key(&self, name: &str) -> Option<&'static KeyShape> {
        self.keys.iter().find(|key| key.name == name)
    }

    pub fn key_names(&self) -> impl Iterator<Item = &'static str> + Clone + use<> {
        self.keys.iter().map(|key| key.name)
    }
}

const fn required(name: &'static str, value: ValueShape, example: &'static str) -> KeyShape {
    KeyShape { name, value, required: true, default: "", example, about: "" }
}

const fn optional(name: &'static str, value: ValueShape, example: &'static str) -> KeyShape {
    KeyShape { name, value, required: false, default: "", example, about: "" }
}

impl KeyShape {
    const fn about(self, about: &'static str) -> KeyShape {
        KeyShape { about, ..self }
    }

    const fn default(self, default: &'static str) -> KeyShape {
        KeyShape { default, ..self }
    }
}
