"""confluent-kafka (PyPI) on the built-in broker: producers, groups, transactions, times, admin.

Usage: confluent_python.py PATH-OF-GRISTMILL
Starts a broker of its own in a fresh folder on a free port; the last line is `N passed, N failed`.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

from scenarios import exit_code, run_all, scenario

ANSWER_SECONDS = 15
FIRST_TIMESTAMP_MS = 1_700_000_000_000


@contextlib.contextmanager
def broker(binary):
    """Yields the address of a broker; ends it with SIGINT and expects a clean exit."""
    with tempfile.TemporaryDirectory() as folder:
        command = [binary, "broker", "--data-dir", folder, "--listen", "127.0.0.1:0"]
        environment = {**os.environ, "GRISTMILL_LOG": "warn"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        try:
            said = process.stdout.readline()
            found = re.match(r"listening on ([\d.:]+)", said)
            if not found:
                raise SystemExit(f"the broker did not start, it said {said!r}")
            yield found.group(1)
            process.send_signal(2)
            if process.wait(timeout=30) != 0:
                raise SystemExit(f"the broker ended with {process.returncode}")
        finally:
            process.kill()


class Client:
    """Short forms of what every scenario does."""

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.admin = AdminClient({"bootstrap.servers": bootstrap})

    def create(self, topic, partitions=1, **config):
        for future in self.admin.create_topics([NewTopic(topic, partitions, 1, config=config)]).values():
            future.result(ANSWER_SECONDS)

    def produce(self, topic, values, partition=None, **settings):
        """Sends values keyed by their number, one second apart; returns their offsets."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 5, **settings})
        offsets, errors = [], []

        def delivered(error, message):
            errors.append(error) if error else offsets.append(message.offset())

        place = {} if partition is None else {"partition": partition}
        for number, value in enumerate(values):
            producer.produce(
                topic,
                key=str(number),
                value=value,
                timestamp=FIRST_TIMESTAMP_MS + number * 1_000,
                headers=[("number", str(number).encode())],
                on_delivery=delivered,
                **place,
            )
        left = producer.flush(ANSWER_SECONDS)
        assert left == 0 and not errors, (left, errors[:1])
        return offsets

    def setting(self, topic, name):
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        return only(self.admin.describe_configs([resource]))[name].value

    def consumer(self, group, **settings):
        defaults = {"auto.offset.reset": "earliest", "enable.auto.commit": False}
        return Consumer({"bootstrap.servers": self.bootstrap, "group.id": group, **defaults, **settings})


def only(futures):
    """The result of an admin call that asks for one thing."""
    [future] = futures.values()
    return future.result(ANSWER_SECONDS)


def take(consumer, count):
    """Polls until `count` records are there; fails after a time."""
    taken = []
    deadline = time.monotonic() + 2 * ANSWER_SECONDS
    while len(taken) < count and time.monotonic() < deadline:
        for message in consumer.consume(count - len(taken), 0.5):
            if message.error():
                raise KafkaException(message.error())
            taken.append(message)
    assert len(taken) == count, f"{len(taken)} of {count}"
    return taken


def to_the_end(consumer):
    """The values up to the first time that the end of a partition is told."""
    values = []
    deadline = time.monotonic() + 2 * ANSWER_SECONDS
    while time.monotonic() < deadline:
        message = consumer.poll(0.5)
        if message is None:
            continue
        if not message.error():
            values.append(message.value())
        elif message.error().code() == KafkaError._PARTITION_EOF:
            return values
        else:
            raise KafkaException(message.error())
    raise AssertionError(f"no end after {len(values)} records")


def committed(consumer, topic, partition=0):
    return consumer.committed([TopicPartition(topic, partition)], timeout=ANSWER_SECONDS)[0].offset


@scenario
def makes_and_describes_topics(client):
    client.create("made", partitions=3, **{"retention.ms": "86400000"})
    assert len(client.admin.list_topics(timeout=ANSWER_SECONDS).topics["made"].partitions) == 3
    assert client.setting("made", "retention.ms") == "86400000"
    described = only(client.admin.describe_topics(TopicCollection(["made"])))
    assert [partition.leader.id for partition in described.partitions] == [described.partitions[0].leader.id] * 3


@scenario
def refuses_a_topic_that_exists(client):
    try:
        client.create("made")
    except KafkaException as error:
        assert error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS, error
    else:
        raise AssertionError("made a second time")


@scenario
def adds_partitions(client):
    only(client.admin.create_partitions([NewPartitions("made", 4)]))
    assert len(client.admin.list_topics("made", timeout=ANSWER_SECONDS).topics["made"].partitions) == 4


@scenario
def changes_settings_whole_and_one_by_one(client):
    topic = ConfigResource.Type.TOPIC
    only(client.admin.alter_configs([ConfigResource(topic, "made", set_config={"retention.ms": "1000000"})]))
    assert client.setting("made", "retention.ms") == "1000000"

    def one(name, value, operation):
        entry = ConfigEntry(name, value, incremental_operation=operation)
        resource = ConfigResource(topic, "made", incremental_configs=[entry])
        only(client.admin.incremental_alter_configs([resource]))

    one("cleanup.policy", "compact", AlterConfigOpType.SET)
    assert client.setting("made", "cleanup.policy") == "compact"
    assert client.setting("made", "retention.ms") == "1000000"
    one("cleanup.policy", None, AlterConfigOpType.DELETE)
    assert client.setting("made", "cleanup.policy") == "delete"


@scenario
def names_the_cluster(client):
    described = client.admin.describe_cluster().result(ANSWER_SECONDS)
    assert described.cluster_id and len(described.nodes) == 1


@scenario
def every_codec_comes_back_as_it_went(client):
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
        topic = f"codec-{codec}"
        client.create(topic)
        values = [f"{codec} {number}".encode() * 20 for number in range(300)]
        assert client.produce(topic, values, **{"compression.type": codec}) == list(range(300))
        consumer = client.consumer(f"group-{codec}")
        consumer.assign([TopicPartition(topic, 0, 0)])
        records = take(consumer, 300)
        consumer.close()
        assert [record.value() for record in records] == values
        assert [record.key() for record in records] == [str(n).encode() for n in range(300)]
        assert records[7].headers() == [("number", b"7")]
        assert records[7].timestamp()[1] == FIRST_TIMESTAMP_MS + 7_000


@scenario
def every_level_of_acks_and_idempotence_work(client):
    client.create("acks")
    for acks in ["0", "1", "all"]:
        client.produce("acks", [b"x"] * 100, acks=acks)
    client.produce("acks", [b"x"] * 100, **{"enable.idempotence": True})
    consumer = client.consumer("acks")
    consumer.assign([TopicPartition("acks", 0, 0)])
    take(consumer, 400)
    consumer.close()


@scenario
def a_group_commits_and_goes_on(client):
    client.create("grouped", partitions=3)
    for partition in range(3):
        client.produce("grouped", [b"x"] * 100, partition=partition)
    first = client.consumer("readers")
    first.subscribe(["grouped"])
    take(first, 300)
    first.commit(asynchronous=False)
    assert [committed(first, "grouped", partition) for partition in range(3)] == [100] * 3
    first.close()
    client.produce("grouped", [b"new"], partition=1)
    second = client.consumer("readers")
    second.subscribe(["grouped"])
    assert take(second, 1)[0].value() == b"new"
    second.close()


@scenario
def members_share_the_partitions(client):
    members = [client.consumer("shared") for _ in range(2)]
    for member in members:
        member.subscribe(["grouped"])
    deadline = time.monotonic() + 2 * ANSWER_SECONDS
    shares = []
    while time.monotonic() < deadline and sorted(map(len, shares)) != [1, 2]:
        for member in members:
            member.poll(0.2)
        shares = [member.assignment() for member in members]
    for member in members:
        member.close()
    assert sorted(map(len, shares)) == [1, 2], shares


@scenario
def cooperative_members_work(client):
    consumer = client.consumer("sticky", **{"partition.assignment.strategy": "cooperative-sticky"})
    consumer.subscribe(["grouped"])
    take(consumer, 301)
    consumer.close()


@scenario
def a_static_member_comes_back_to_its_share(client):
    settings = {"group.instance.id": "first"}
    for _ in range(2):
        member = client.consumer("static", **settings)
        member.subscribe(["grouped"])
        take(member, 301)
        assert len(member.assignment()) == 3
        member.close()


@scenario
def a_committed_record_is_not_read_again_by_its_group(client):
    consumer = client.consumer("halfway")
    consumer.assign([TopicPartition("codec-none", 0, 0)])
    take(consumer, 120)
    consumer.commit(offsets=[TopicPartition("codec-none", 0, 120)], asynchronous=False)
    consumer.close()
    again = client.consumer("halfway")
    again.subscribe(["codec-none"])
    assert take(again, 1)[0].offset() == 120
    again.close()


@scenario
def offsets_are_found_by_time(client):
    consumer = client.consumer("times")
    asked = TopicPartition("codec-none", 0, FIRST_TIMESTAMP_MS + 100_500)
    assert consumer.offsets_for_times([asked], timeout=ANSWER_SECONDS)[0].offset == 101
    assert consumer.get_watermark_offsets(TopicPartition("codec-none", 0), timeout=ANSWER_SECONDS) == (0, 300)
    consumer.close()


@scenario
def offsets_are_listed(client):
    partition = TopicPartition("codec-none", 0)

    def listed(specification):
        answer = client.admin.list_offsets({partition: specification})
        return answer[partition].result(ANSWER_SECONDS).offset

    assert listed(OffsetSpec.earliest()) == 0
    assert listed(OffsetSpec.latest()) == 300
    assert listed(OffsetSpec.max_timestamp()) == 299
    assert listed(OffsetSpec.for_timestamp(FIRST_TIMESTAMP_MS + 3_000)) == 3


@scenario
def a_committed_transaction_is_seen_and_an_aborted_one_never(client):
    client.create("committed")
    producer = Producer({"bootstrap.servers": client.bootstrap, "transactional.id": "writer"})
    producer.init_transactions(ANSWER_SECONDS)
    for value, end in [(b"no", producer.abort_transaction), (b"yes", producer.commit_transaction)]:
        producer.begin_transaction()
        for _ in range(10):
            producer.produce("committed", value)
        producer.flush(ANSWER_SECONDS)
        end(ANSWER_SECONDS)
    for isolation, expected in [("read_committed", [b"yes"] * 10), ("read_uncommitted", [b"no"] * 10 + [b"yes"] * 10)]:
        consumer = client.consumer(isolation, **{"isolation.level": isolation, "enable.partition.eof": True})
        consumer.assign([TopicPartition("committed", 0, 0)])
        assert to_the_end(consumer) == expected
        consumer.close()


@scenario
def offsets_go_with_their_transaction(client):
    consumer = client.consumer("exactly-once")
    consumer.subscribe(["grouped"])
    take(consumer, 1)
    producer = Producer({"bootstrap.servers": client.bootstrap, "transactional.id": "mover"})
    producer.init_transactions(ANSWER_SECONDS)
    for offset, end, expected in [(5, producer.abort_transaction, -1001), (7, producer.commit_transaction, 7)]:
        producer.begin_transaction()
        producer.produce("committed", b"moved")
        offsets = [TopicPartition("grouped", 0, offset)]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), ANSWER_SECONDS)
        end(ANSWER_SECONDS)
        assert committed(consumer, "grouped") == expected
    consumer.close()


@scenario
def an_older_producer_is_fenced(client):
    settings = {"bootstrap.servers": client.bootstrap, "transactional.id": "fenced"}
    older, newer = Producer(settings), Producer(settings)
    for producer in [older, newer]:
        producer.init_transactions(ANSWER_SECONDS)
    try:
        older.begin_transaction()
        older.produce("committed", b"never seen")
        older.commit_transaction(ANSWER_SECONDS)
    except KafkaException as error:
        assert error.args[0].code() == KafkaError._FENCED, error
    else:
        raise AssertionError("not fenced")


@scenario
def a_reader_that_waits_gets_a_record_at_once(client):
    client.create("awaited")
    consumer = client.consumer("awaiting", **{"fetch.wait.max.ms": 5_000})
    consumer.assign([TopicPartition("awaited", 0, 0)])
    assert consumer.poll(1) is None
    client.produce("awaited", [b"now"])
    sent = time.monotonic()
    assert take(consumer, 1)[0].value() == b"now"
    assert time.monotonic() - sent < 2
    consumer.close()


@scenario
def groups_are_listed_described_and_deleted(client):
    groups = client.admin.list_consumer_groups().result(ANSWER_SECONDS).valid
    assert "readers" in {group.group_id for group in groups}
    described = client.admin.describe_consumer_groups(["readers"])["readers"].result(ANSWER_SECONDS)
    assert described.state.name == "EMPTY", described.state
    asked = ConsumerGroupTopicPartitions("readers", [TopicPartition("grouped", 0)])
    assert only(client.admin.list_consumer_group_offsets([asked])).topic_partitions[0].offset == 100
    moved = ConsumerGroupTopicPartitions("readers", [TopicPartition("grouped", 0, 5)])
    only(client.admin.alter_consumer_group_offsets([moved]))
    assert only(client.admin.list_consumer_group_offsets([asked])).topic_partitions[0].offset == 5
    client.admin.delete_consumer_groups(["readers"])["readers"].result(ANSWER_SECONDS)
    consumer = client.consumer("readers")
    assert committed(consumer, "grouped") < 0
    consumer.close()


@scenario
def records_are_deleted_up_to_an_offset(client):
    partition = TopicPartition("codec-none", 0, 50)
    assert only(client.admin.delete_records([partition])).low_watermark == 50
    consumer = client.consumer("after deletion")
    assert consumer.get_watermark_offsets(partition, timeout=ANSWER_SECONDS) == (50, 300)
    consumer.assign([TopicPartition("codec-none", 0, 0)])
    assert take(consumer, 1)[0].offset() == 50
    consumer.close()


@scenario
def a_topic_that_is_deleted_is_gone(client):
    client.admin.delete_topics(["acks"])["acks"].result(ANSWER_SECONDS)
    assert "acks" not in client.admin.list_topics(timeout=ANSWER_SECONDS).topics


def main():
    with broker(sys.argv[1]) as bootstrap:
        client = Client(bootstrap)
        failed = run_all(client)
    sys.exit(exit_code(failed))


main()
