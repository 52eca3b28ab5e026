//! Topics made, widened and set, with the cluster's own words where it refuses.
//!
//! The rdkafka crate keeps a refusal's code and drops its text, which alone names the setting that is wrong; and it
//! doesn't wrap IncrementalAlterConfigs (KIP-339). All `unsafe` code about them is here and in `native_admin`.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::ptr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rdkafka::bindings as librdkafka;
use rdkafka::bindings::{
    rd_kafka_AlterConfigOpType_t as Operation, rd_kafka_ResourceType_t as NativeResource,
    rd_kafka_resp_err_t as Code,
};

use crate::admin::{self, on_thread};
use crate::kafka_client::{self, Cluster, KafkaConsumer, REACH_TIME_MAX};
use crate::native_admin::{Admin, MESSAGE_BYTES_MAX, Message, Owned, check, items, refusal, text};

/// Of Kafka.
const TOPIC_NAME_BYTES_MAX: usize = 249;
/// How often it is looked whether a new topic is told of.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Makes a topic. `replication_factor` absent: the cluster's default.
///
/// Errors: it exists already, the name or a setting is not accepted; says which.
pub async fn create_topic(
    cluster: &Cluster,
    topic: &str,
    partitions: i32,
    replication_factor: Option<i32>,
    settings: &BTreeMap<String, String>,
) -> Result<()> {
    let new = NewTopic {
        name: topic.to_owned(),
        partitions,
        replication_factor,
        settings: settings.clone(),
    };
    let make = move |cluster: &Cluster| {
        make_topic(cluster, &*admin::asker(cluster)?, &Admin::open(cluster)?, &new)
    };
    on_thread(cluster, make).await
}

/// A topic to make.
#[derive(Debug, Clone)]
pub struct NewTopic {
    pub name: String,
    pub partitions: i32,
    /// Absent: the cluster's default.
    pub replication_factor: Option<i32>,
    pub settings: BTreeMap<String, String>,
}

/// As [`create_topic`], by clients that are there. Blocks.
pub(crate) fn make_topic(
    cluster: &Cluster,
    asker: &KafkaConsumer,
    admin: &Admin,
    new: &NewTopic,
) -> Result<()> {
    // A clear error if no broker answers. A name that librdkafka itself does not take is for the cluster to refuse.
    let asked = Some(new.name.as_str()).filter(|name| name.len() <= TOPIC_NAME_BYTES_MAX);
    kafka_client::metadata(asker, cluster, asked)?;
    admin.create(&new.name, new.partitions, new.replication_factor, &new.settings)?;
    await_topic(cluster, asker, &new.name)
}

/// A cluster of several processes makes a topic first and tells of it a little later. Blocks.
fn await_topic(cluster: &Cluster, asker: &KafkaConsumer, topic: &str) -> Result<()> {
    let begun = Instant::now();
    while admin::topic_in(asker, cluster, topic)?.is_none() {
        if begun.elapsed() > REACH_TIME_MAX {
            bail!("topic `{topic}` was made, but the cluster does not tell of it yet: look again");
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
    Ok(())
}

/// Gives a topic more partitions; `count` is how many it has then. Keys may meet other partitions from now on.
///
/// Errors: it has as many or more.
pub async fn add_partitions(cluster: &Cluster, topic: &str, count: i32) -> Result<()> {
    let name = topic.to_owned();
    on_thread(cluster, move |cluster| Admin::open(cluster)?.add_partitions(&name, count)).await
}

/// Sets settings of a topic, `None`: back to the cluster's default; the others stay as they are.
///
/// Errors: a name or a value is not accepted, and none is changed.
pub async fn alter_settings(
    cluster: &Cluster,
    topic: &str,
    settings: Vec<(String, Option<String>)>,
) -> Result<()> {
    let name = topic.to_owned();
    on_thread(cluster, move |cluster| Admin::open(cluster)?.alter_settings(&name, &settings)).await
}

impl Admin {
    fn create(
        &self,
        topic: &str,
        partitions: i32,
        replication_factor: Option<i32>,
        settings: &BTreeMap<String, String>,
    ) -> Result<()> {
        let name = CString::new(topic).context("a topic name with a zero byte")?;
        let mut message: Message = [0; MESSAGE_BYTES_MAX];
        // SAFETY: the strings live during the calls, which copy them.
        let new = unsafe {
            let new = librdkafka::rd_kafka_NewTopic_new(
                name.as_ptr(),
                partitions,
                replication_factor.unwrap_or(-1),
                message.as_mut_ptr(),
                message.len(),
            );
            if new.is_null() {
                bail!("topic `{topic}` was not made: {}", text(message.as_ptr()));
            }
            new
        };
        let mut wanted = Owned(vec![new], librdkafka::rd_kafka_NewTopic_destroy);
        for (key, value) in settings {
            let (key, value) = (CString::new(key.as_str())?, CString::new(value.as_str())?);
            // SAFETY: as above.
            unsafe { librdkafka::rd_kafka_NewTopic_set_config(new, key.as_ptr(), value.as_ptr()) };
        }
        // SAFETY: what is wanted lives during the call, which copies it.
        let event = self.ask(|client, queue| unsafe {
            let first = wanted.0.as_mut_ptr();
            librdkafka::rd_kafka_CreateTopics(client, first, 1, ptr::null(), queue);
        })?;
        // SAFETY: the event is of this request; what it holds lives as long as it does.
        unsafe {
            let result = librdkafka::rd_kafka_event_CreateTopics_result(event.0);
            let mut count = 0;
            let topics = librdkafka::rd_kafka_CreateTopics_result_topics(result, &mut count);
            for outcome in items(topics, count) {
                match librdkafka::rd_kafka_topic_result_error(*outcome) {
                    Code::RD_KAFKA_RESP_ERR_NO_ERROR => {}
                    Code::RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS => {
                        bail!("topic `{topic}` exists already")
                    }
                    Code::RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION => bail!(
                        "`{topic}` is no topic name: at most 249 letters, digits, `.`, `_` and `-`"
                    ),
                    code => {
                        let (said, help) = (reason(*outcome, code), setting_help(code));
                        let words = format!("topic `{topic}` was not made: {said}{help}");
                        return Err(refusal(code, words));
                    }
                }
            }
        }
        Ok(())
    }

    fn add_partitions(&self, topic: &str, count: i32) -> Result<()> {
        let name = CString::new(topic).context("a topic name with a zero byte")?;
        let mut message: Message = [0; MESSAGE_BYTES_MAX];
        let total = usize::try_from(count).context("a number of partitions")?;
        // SAFETY: the string lives during the call, which copies it.
        let new = unsafe {
            let new = librdkafka::rd_kafka_NewPartitions_new(
                name.as_ptr(),
                total,
                message.as_mut_ptr(),
                message.len(),
            );
            if new.is_null() {
                bail!("topic `{topic}` keeps its partitions: {}", text(message.as_ptr()));
            }
            new
        };
        let mut wanted = Owned(vec![new], librdkafka::rd_kafka_NewPartitions_destroy);
        // SAFETY: what is wanted lives during the call, which copies it.
        let event = self.ask(|client, queue| unsafe {
            let first = wanted.0.as_mut_ptr();
            librdkafka::rd_kafka_CreatePartitions(client, first, 1, ptr::null(), queue);
        })?;
        // SAFETY: the event is of this request; what it holds lives as long as it does.
        unsafe {
            let result = librdkafka::rd_kafka_event_CreatePartitions_result(event.0);
            let mut count = 0;
            let topics = librdkafka::rd_kafka_CreatePartitions_result_topics(result, &mut count);
            for outcome in items(topics, count) {
                let code = librdkafka::rd_kafka_topic_result_error(*outcome);
                if code != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
                    let said = reason(*outcome, code);
                    let words = format!("topic `{topic}` keeps its partitions: {said}");
                    return Err(refusal(code, words));
                }
            }
        }
        Ok(())
    }

    pub(crate) fn alter_settings(
        &self,
        topic: &str,
        settings: &[(String, Option<String>)],
    ) -> Result<()> {
        let name = CString::new(topic).context("a topic name with a zero byte")?;
        // SAFETY: the string lives during the call, which copies it.
        let resource = unsafe {
            librdkafka::rd_kafka_ConfigResource_new(
                NativeResource::RD_KAFKA_RESOURCE_TOPIC,
                name.as_ptr(),
            )
        };
        let mut wanted = Owned(vec![resource], librdkafka::rd_kafka_ConfigResource_destroy);
        for (key, value) in settings {
            let key = CString::new(key.as_str())?;
            let operation = match value {
                Some(_) => Operation::RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET,
                None => Operation::RD_KAFKA_ALTER_CONFIG_OP_TYPE_DELETE,
            };
            let value = value.as_deref().map(CString::new).transpose()?;
            let value = value.as_ref().map_or(ptr::null(), |value| value.as_ptr());
            // SAFETY: the strings live during the call, which copies them; an error is ours.
            unsafe {
                let error = librdkafka::rd_kafka_ConfigResource_add_incremental_config(
                    resource,
                    key.as_ptr(),
                    operation,
                    value,
                );
                let checked = check(error);
                if !error.is_null() {
                    librdkafka::rd_kafka_error_destroy(error);
                }
                checked?;
            }
        }
        // SAFETY: what is wanted lives during the call, which copies it.
        let event = self.ask(|client, queue| unsafe {
            let first = wanted.0.as_mut_ptr();
            librdkafka::rd_kafka_IncrementalAlterConfigs(client, first, 1, ptr::null(), queue);
        })?;
        // SAFETY: the event is of this request; what it holds lives as long as it does.
        unsafe {
            let result = librdkafka::rd_kafka_event_IncrementalAlterConfigs_result(event.0);
            let mut count = 0;
            let resources =
                librdkafka::rd_kafka_IncrementalAlterConfigs_result_resources(result, &mut count);
            for resource in items(resources, count) {
                let code = librdkafka::rd_kafka_ConfigResource_error(*resource);
                if code != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
                    let said = text(librdkafka::rd_kafka_ConfigResource_error_string(*resource));
                    let help = setting_help(code);
                    let words = format!("topic `{topic}` keeps its settings: {said}{help}");
                    return Err(refusal(code, words));
                }
            }
        }
        Ok(())
    }
}

/// Where the settings are told, for somebody who got one wrong.
fn setting_help(code: Code) -> &'static str {
    match code {
        Code::RD_KAFKA_RESP_ERR_INVALID_CONFIG => {
            "; settings are Kafka's, such as retention.ms=86400000 or cleanup.policy=compact: `gristmill topic \
             describe TOPIC --all` prints them"
        }
        _ => "",
    }
}

/// The cluster's text, or what the code means.
///
/// # Safety
/// The outcome must live.
unsafe fn reason(outcome: *const librdkafka::rd_kafka_topic_result_t, code: Code) -> String {
    // SAFETY: as the caller promises; texts of codes live forever.
    unsafe {
        let said = text(librdkafka::rd_kafka_topic_result_error_string(outcome));
        if said.is_empty() { text(librdkafka::rd_kafka_err2str(code)) } else { said }
    }
}
