//! How long a transaction takes: 100 records into one partition and a consumer's offset, begun, sent and
//! committed one after the other, as a pipeline does with each micro-batch.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::clients;
use crate::servers::Running;

const RECORDS: usize = 100;
const TOPIC: &str = "transactions";
/// Whose offset is committed.
const SOURCE: &str = "source";
const TIMEOUT: Duration = Duration::from_secs(30);
/// Transactions before the first that counts.
const WARM_UP: usize = 50;

/// Prints p50 and p99 of every server.
pub fn bench(servers: &[Running], count: usize) -> Result<()> {
    println!(
        "\n{:<12}{:>44}{:>10}{:>10}",
        "broker", "transaction of 100 records and an offset", "p50", "p99"
    );
    for server in servers {
        clients::create_topic(server.address(), TOPIC, 1)?;
        clients::create_topic(server.address(), SOURCE, 1)?;
        let mut times = measure(server.address(), count)?;
        times.sort();
        let ms = |place: usize| times[place.min(times.len() - 1)].as_secs_f64() * 1e3;
        let (half, most) = (ms(times.len() / 2), ms(times.len() * 99 / 100));
        println!("{:<12}{:>44}{half:>7.2} ms{most:>7.2} ms", server.name(), count);
    }
    Ok(())
}

fn measure(bootstrap: &str, count: usize) -> Result<Vec<Duration>> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("transactional.id", "bench")
        .set("linger.ms", "0")
        .create()
        .context("cannot make a producer")?;
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "bench-transactions")
        .create()
        .context("cannot make a consumer")?;
    let group = consumer.group_metadata().context("the consumer has no group")?;
    producer.init_transactions(TIMEOUT)?;
    let mut times = Vec::with_capacity(count);
    for number in 0..WARM_UP + count {
        let began = Instant::now();
        transaction(&producer, &group, number)?;
        if number >= WARM_UP {
            times.push(began.elapsed());
        }
    }
    ensure!(times.len() == count, "{} of {count} transactions", times.len());
    Ok(times)
}

fn transaction(
    producer: &BaseProducer,
    group: &ConsumerGroupMetadata,
    number: usize,
) -> Result<()> {
    producer.begin_transaction()?;
    for _ in 0..RECORDS {
        let record = BaseRecord::<(), [u8]>::to(TOPIC).payload(&[b'x'; 500]).partition(0);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    // The commit waits for deliveries that only a poll takes from the queue.
    while producer.in_flight_count() > 0 {
        producer.poll(Duration::from_millis(1));
    }
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(SOURCE, 0, Offset::Offset(number as i64))?;
    producer.send_offsets_to_transaction(&offsets, group, TIMEOUT)?;
    producer.commit_transaction(TIMEOUT)?;
    Ok(())
}
