"""confluent-kafka (PyPI) on the built-in broker: producers, groups, times, offsets, topics.

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

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec

ANSWER_SECONDS = 15
FIRST_TIMESTAMP_MS = 1_700_000_000_000

scenarios = []


def scenario(function):
    """Scenarios run in the order in which they stand here."""
    scenarios.append(function)
    return function


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

    def consumer(self, group, **settings):
        defaults = {"auto.offset.reset": "earliest", "enable.auto.commit": False}
        return Consumer({"bootstrap.servers": self.bootstrap, "group.id": group, **defaults, **settings})


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


def committed(consumer, topic, partition=0):
    return consumer.committed([TopicPartition(topic, partition)], timeout=ANSWER_SECONDS)[0].offset


@scenario
def makes_and_describes_topics(client):
    client.create("made", partitions=3, **{"retention.ms": "86400000"})
    assert len(client.admin.list_topics(timeout=ANSWER_SECONDS).topics["made"].partitions) == 3
    resource = ConfigResource(ConfigResource.Type.TOPIC, "made")
    described = client.admin.describe_configs([resource])[resource].result(ANSWER_SECONDS)
    assert described["retention.ms"].value == "86400000"


@scenario
def refuses_a_topic_that_exists(client):
    try:
        client.create("made")
    except KafkaException as error:
        assert error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS, error
    else:
        raise AssertionError("made a second time")


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
    assert listed(OffsetSpec.for_timestamp(FIRST_TIMESTAMP_MS + 3_000)) == 3


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
    client.admin.delete_consumer_groups(["readers"])["readers"].result(ANSWER_SECONDS)
    consumer = client.consumer("readers")
    assert committed(consumer, "grouped") < 0
    consumer.close()


@scenario
def a_topic_that_is_deleted_is_gone(client):
    client.admin.delete_topics(["acks"])["acks"].result(ANSWER_SECONDS)
    assert "acks" not in client.admin.list_topics(timeout=ANSWER_SECONDS).topics


def main():
    failed = 0
    with broker(sys.argv[1]) as bootstrap:
        client = Client(bootstrap)
        for function in scenarios:
            name = function.__name__.replace("_", " ")
            began = time.monotonic()
            try:
                function(client)
                verdict = "ok    "
            except Exception as error:  # A scenario that fails must not hide the next ones.
                verdict = "FAILED"
                failed += 1
                name += f": {type(error).__name__} {error}"
            print(f"  {verdict}  {time.monotonic() - began:3.0f} s  {name}", flush=True)
    print(f"{len(scenarios) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
