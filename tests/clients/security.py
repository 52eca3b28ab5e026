"""Other people's clients on secured listeners: confluent-kafka, kcat, and Kafka's console tools (the Java client).

Usage: security.py PATH-OF-GRISTMILL
Starts brokers of its own in fresh folders on free ports; the last line is `N passed, N failed`. Needs kcat, java and
openssl; the jars of Kafka's tools come from console_tools.sh.
"""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from scenarios import exit_code, run_all, scenario

ANSWER_SECONDS = 20
JARS = pathlib.Path.home() / ".cache/gristmill-kafka/3.9.1"
# Every client that stays connected must authenticate again that often.
REAUTHENTICATION_MS = 3_000


def run(*command, input=None, expect=0):
    """Runs a program; returns what it said. `expect` None: it must fail."""
    done = subprocess.run(command, input=input, capture_output=True, text=True, timeout=120)
    said = done.stdout + done.stderr
    wrong = done.returncode == 0 if expect is None else done.returncode != expect
    assert not wrong, f"{command[0]} ended with {done.returncode}: {said[-600:]}"
    return said


class Site:
    """A data folder, the broker on it, and the keys that were made for it."""

    def __init__(self, binary, folder):
        self.binary = binary
        self.folder = pathlib.Path(folder)
        self.data = self.folder / "data"
        self.log = self.folder / "broker.log"
        self.secrets = []
        self.addresses = {}
        self.ca = ""

    def gristmill(self, *arguments, **settings):
        return run(self.binary, *arguments, **settings)

    def api_key(self, resource, *place):
        """Makes an API key; returns it and its secret."""
        place = place or ("--data-dir", str(self.data))
        said = self.gristmill("--output", "json", "api-key", "create", "--resource", resource, *place)
        answer = json.loads(said.splitlines()[0])
        self.secrets.append(answer["api_secret"])
        return answer["api_key"], answer["api_secret"]

    @contextlib.contextmanager
    def broker(self, *flags):
        command = [self.binary, "--output", "json", "broker", "--data-dir", str(self.data), *flags]
        with open(self.log, "a") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            said = process.stdout.readline()
            if not said:
                raise SystemExit(f"the broker did not start: {self.log.read_text()}")
            answer = json.loads(said)
            self.addresses = {}
            for listener in answer["listeners"]:
                protocol, _, address = listener.rpartition("://")
                port = address.rpartition(":")[2]
                self.addresses[protocol or "PLAINTEXT"] = f"127.0.0.1:{port}"
            self.ca = answer["ssl_ca_location"] or ""
            yield
            process.send_signal(2)
            if process.wait(timeout=30) != 0:
                raise SystemExit(f"the broker ended with {process.returncode}")
        finally:
            process.kill()

    def settings(self, protocol, key=None, mechanism="PLAIN", **more):
        """Properties of librdkafka for a listener."""
        settings = {"bootstrap.servers": self.addresses[protocol], "security.protocol": protocol}
        if protocol.endswith("SSL"):
            settings["ssl.ca.location"] = self.ca
        if key:
            user, secret = key
            settings |= {"sasl.mechanism": mechanism, "sasl.username": user, "sasl.password": secret}
        return settings | more

    def file(self, name, settings, first=""):
        path = self.folder / name
        path.write_text(first + "".join(f"{key}={value}\n" for key, value in settings.items()))
        return str(path)

    def client_config(self, settings):
        return self.file("client.properties", {k: v for k, v in settings.items() if k != "bootstrap.servers"})

    def java_config(self, key, mechanism):
        user, secret = key
        module = "org.apache.kafka.common.security." + (
            "plain.PlainLoginModule" if mechanism == "PLAIN" else "scram.ScramLoginModule"
        )
        return self.file(
            "java.properties",
            {
                "security.protocol": "SASL_SSL",
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": self.ca,
                "sasl.mechanism": mechanism,
                "sasl.jaas.config": f'{module} required username="{user}" password="{secret}";',
            },
        )


def kcat(settings, *arguments, **more):
    flags = [flag for key, value in settings.items() for flag in ("-X", f"{key}={value}")]
    return run("kcat", *flags, *arguments, **more)


def java(tool, *arguments, **more):
    options = ["-Xmx256m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]
    return run("java", *options, "-cp", f"{JARS}/*", tool, *arguments, **more)


def make_topic(settings, topic):
    admin = AdminClient(settings)  # Its futures end with it.
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(ANSWER_SECONDS)


def produce(settings, topic, values, **more):
    """Sends values; raises what the first of them was refused with."""
    producer = Producer(settings | {"linger.ms": 5, "message.timeout.ms": 15_000} | more)
    errors = []
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: error and errors.append(error))
    left = producer.flush(ANSWER_SECONDS)
    if errors:
        raise KafkaException(errors[0])
    assert left == 0, left


def consume(settings, topic, group, count):
    """The values of the first `count` records; raises what the group or topic is refused with."""
    consumer = Consumer(settings | {"group.id": group, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    values, deadline = [], time.monotonic() + 2 * ANSWER_SECONDS
    try:
        while len(values) < count and time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message and message.error():
                raise KafkaException(message.error())
            if message:
                values.append(message.value().decode())
    finally:
        consumer.close()
    return values


def refused_with(code, function, *arguments, **more):
    try:
        function(*arguments, **more)
    except KafkaException as error:
        assert error.args[0].code() == code, error
    else:
        raise AssertionError("not refused")


def first_error(settings):
    """The first error that a client reports of itself."""
    errors = []
    client = AdminClient(settings | {"error_cb": errors.append})
    deadline = time.monotonic() + ANSWER_SECONDS
    while not errors and time.monotonic() < deadline:
        client.poll(0.2)
    assert errors, "no error"
    return errors[0]


def allow(site, user, operation, kind, name, permission="ALLOW", pattern="LITERAL"):
    binding = AclBinding(
        ResourceType[kind],
        name,
        ResourcePatternType[pattern],
        f"User:{user}",
        "*",
        AclOperation[operation],
        AclPermissionType[permission],
    )
    admin = AdminClient(site.settings("PLAINTEXT"))
    admin.create_acls([binding])[binding].result(ANSWER_SECONDS)


@scenario
def a_key_works_by_every_mechanism_on_either_sasl_listener(site):
    make_topic(site.settings("SASL_SSL", site.admin), "orders")
    sent = []
    for protocol in ["SASL_SSL", "SASL_PLAINTEXT"]:
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]:
            settings = site.settings(protocol, site.admin, mechanism)
            sent.append(f"{protocol} {mechanism}")
            produce(settings, "orders", sent[-1:])
            assert consume(settings, "orders", sent[-1], len(sent)) == sent


@scenario
def a_listener_with_tls_alone_needs_no_key(site):
    settings = site.settings("SSL")
    make_topic(settings, "encrypted")
    produce(settings, "encrypted", ["a" * 500_000, "b"])
    assert consume(settings, "encrypted", "encrypted", 2) == ["a" * 500_000, "b"]


@scenario
def a_wrong_secret_is_told_as_such(site):
    user, _ = site.admin
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]:
        for wrong in [(user, "guessed"), ("nobody", "guessed")]:
            error = first_error(site.settings("SASL_SSL", wrong, mechanism))
            assert error.code() == KafkaError._AUTHENTICATION, error
            assert "Authentication failed" in error.str(), error


@scenario
def a_certificate_for_another_host_or_of_an_unknown_authority_is_refused(site):
    settings = site.settings("SASL_SSL", site.admin)
    elsewhere = settings["bootstrap.servers"].replace("127.0.0.1", "127.0.0.2")
    other_host = settings | {"bootstrap.servers": elsewhere}
    no_authority = {key: value for key, value in settings.items() if key != "ssl.ca.location"}
    for refused in [other_host, no_authority]:
        error = first_error(refused)
        assert "certificate verify failed" in error.str(), error


@scenario
def a_client_set_to_the_wrong_protocol_fails_and_the_broker_says_why(site):
    plain_on_tls = {"bootstrap.servers": site.addresses["SSL"]}
    tls_on_plain = site.settings("SSL") | {"bootstrap.servers": site.addresses["PLAINTEXT"]}
    no_sasl = {"bootstrap.servers": site.addresses["SASL_PLAINTEXT"]}
    for settings in [plain_on_tls, tls_on_plain, no_sasl]:
        first_error(settings)
    log = site.log.read_text()
    assert "the client does not speak TLS; it must set security.protocol=SSL" in log
    assert "the client speaks TLS, and this listener doesn't" in log
    assert re.search("before authentication; the client must set security.protocol=SASL_PLAINTEXT", log)


@scenario
def a_key_without_rights_gets_them_one_by_one(site):
    user, _ = site.guest
    settings = site.settings("SASL_SSL", site.guest, "SCRAM-SHA-256")
    denied = KafkaError.TOPIC_AUTHORIZATION_FAILED
    refused_with(denied, produce, settings, "orders", ["guest"])
    assert "orders" not in AdminClient(settings).list_topics(timeout=ANSWER_SECONDS).topics
    allow(site, user, "WRITE", "TOPIC", "orders")
    produce(settings, "orders", ["guest"])
    produce(settings, "orders", ["guest"], **{"enable.idempotence": True})
    refused_with(KafkaError.GROUP_AUTHORIZATION_FAILED, consume, settings, "orders", "guests", 1)
    allow(site, user, "READ", "GROUP", "gue", pattern="PREFIXED")
    refused_with(denied, consume, settings, "orders", "guests", 1)
    allow(site, user, "READ", "TOPIC", "*")
    assert len(consume(settings, "orders", "guests", 8)) == 8
    allow(site, user, "ALL", "TOPIC", "ord", permission="DENY", pattern="PREFIXED")
    refused_with(denied, produce, settings, "orders", ["guest"])


@scenario
def a_transaction_needs_the_right_to_its_id(site):
    user, _ = site.guest
    settings = site.settings("SASL_SSL", site.guest) | {"transactional.id": "mover"}
    producer = Producer(settings)
    denied = KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    refused_with(denied, producer.init_transactions, ANSWER_SECONDS)
    allow(site, user, "WRITE", "TRANSACTIONAL_ID", "mover")
    make_topic(site.settings("PLAINTEXT"), "moved")
    allow(site, user, "WRITE", "TOPIC", "moved")
    producer = Producer(settings)
    producer.init_transactions(ANSWER_SECONDS)
    producer.begin_transaction()
    producer.produce("moved", "once")
    producer.commit_transaction(ANSWER_SECONDS)
    assert consume(site.settings("PLAINTEXT"), "moved", "movers", 1) == ["once"]


@scenario
def a_connection_lives_on_by_authenticating_again(site):
    for mechanism in ["PLAIN", "SCRAM-SHA-512"]:
        errors, delivered = [], []
        settings = site.settings("SASL_SSL", site.admin, mechanism, **{"error_cb": errors.append})
        producer = Producer(settings)
        deadline = time.monotonic() + 3 * REAUTHENTICATION_MS / 1000
        while time.monotonic() < deadline:
            producer.produce("encrypted", "on", on_delivery=lambda error, _: delivered.append(error))
            producer.flush(ANSWER_SECONDS)
            producer.poll(0.1)
        assert not errors and not any(delivered), (errors, delivered[:3])


@scenario
def users_are_made_by_kafkas_own_requests(site):
    admin = AdminClient(site.settings("SASL_SSL", site.admin))
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 8192)
    upsertion = UserScramCredentialUpsertion("made", info, b"pencil")
    admin.alter_user_scram_credentials([upsertion])["made"].result(ANSWER_SECONDS)
    described = admin.describe_user_scram_credentials(["made"])["made"].result(ANSWER_SECONDS)
    assert described.scram_credential_infos[0].iterations == 8192
    allow(site, "made", "READ", "TOPIC", "encrypted")
    for mechanism in ["PLAIN", "SCRAM-SHA-256"]:
        settings = site.settings("SASL_PLAINTEXT", ("made", "pencil"), mechanism)
        assert "encrypted" in AdminClient(settings).list_topics(timeout=ANSWER_SECONDS).topics


@scenario
def our_own_commands_log_in_too(site):
    settings = site.settings("SASL_SSL", site.admin, "SCRAM-SHA-512")
    place = ("--bootstrap", settings["bootstrap.servers"], "--client-config", site.client_config(settings))
    site.gristmill("topic", "create", "ours", *place)
    site.gristmill("topic", "produce", "ours", *place, input="one\ntwo\n")
    consumed = consume(settings, "ours", "ours", 2)
    assert consumed == ["one", "two"], consumed
    assert "ours" in site.gristmill("topic", "list", *place)


@scenario
def api_keys_are_made_listed_and_deleted_while_the_broker_runs(site):
    settings = site.settings("SASL_SSL", site.admin)
    place = ("--bootstrap", settings["bootstrap.servers"], "--client-config", site.client_config(settings))
    new = site.api_key("CLUSTER", *place)
    produce(site.settings("SASL_SSL", new, "SCRAM-SHA-512"), "encrypted", ["new"])
    assert new[0] in site.gristmill("api-key", "list", *place)
    site.gristmill("api-key", "delete", new[0], *place)
    assert new[0] not in site.gristmill("api-key", "list", *place)
    error = first_error(site.settings("SASL_SSL", new))
    assert error.code() == KafkaError._AUTHENTICATION, error
    said = site.gristmill("api-key", "delete", new[0], *place, expect=2)
    assert "there is no API key" in said, said
    guest = site.client_config(site.settings("SASL_SSL", site.guest))
    said = site.gristmill("api-key", "list", *place[:3], guest, expect=2)
    assert "authoriz" in said.lower(), said


@scenario
def the_folder_of_a_running_broker_is_left_to_it(site):
    said = site.gristmill("api-key", "list", "--data-dir", str(site.data), expect=2)
    assert "--bootstrap" in said, said


@scenario
def kcat_produces_and_consumes(site):
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]:
        settings = site.settings("SASL_SSL", site.admin, mechanism)
        topic = f"kcat-{mechanism}"
        make_topic(settings, topic)
        kcat(settings, "-P", "-t", topic, input="a\nb\n")
        assert kcat(settings, "-C", "-t", topic, "-e", "-q") == "a\nb\n"
    assert "encrypted" in kcat(site.settings("SSL"), "-L")
    said = kcat(site.settings("SASL_SSL", (site.admin[0], "guessed")), "-L", "-m", "5", expect=None)
    assert "uthentication" in said, said


@scenario
def kafkas_console_tools_produce_and_consume(site):
    bootstrap = site.addresses["SASL_SSL"]
    topics = "org.apache.kafka.tools.TopicCommand"
    config = site.java_config(site.admin, "SCRAM-SHA-512")
    common = ("--bootstrap-server", bootstrap)
    said = java(topics, *common, "--command-config", config, "--create", "--topic", "java")
    assert "Created topic java" in said, said
    producer = ("kafka.tools.ConsoleProducer", *common, "--topic", "java", "--producer.config", config)
    java(*producer, input="a\nb\n")
    consumer = "org.apache.kafka.tools.consumer.ConsoleConsumer"
    place = (*common, "--topic", "java", "--from-beginning", "--max-messages", "2")
    for mechanism in ["SCRAM-SHA-256", "PLAIN"]:
        config = site.java_config(site.admin, mechanism)
        said = java(consumer, *place, "--consumer.config", config, "--timeout-ms", "30000")
        assert said.splitlines()[:2] == ["a", "b"], said
    config = site.java_config((site.admin[0], "guessed"), "PLAIN")
    said = java(topics, *common, "--command-config", config, "--list", expect=None)
    assert "Authentication failed" in said, said


@scenario
def kafkas_console_tools_change_acls_and_users(site):
    common = ("--bootstrap-server", site.addresses["SASL_SSL"])
    common += ("--command-config", site.java_config(site.admin, "SCRAM-SHA-256"))
    acls = ("kafka.admin.AclCommand", *common)
    java(*acls, "--add", "--allow-principal", "User:java", "--consumer", "--topic", "java", "--group", "*")
    said = java(*acls, "--list", "--topic", "java")
    assert "principal=User:java, host=*, operation=READ, permissionType=ALLOW" in said, said
    users = ("kafka.admin.ConfigCommand", *common, "--entity-type", "users", "--entity-name", "java")
    java(*users, "--alter", "--add-config", "SCRAM-SHA-512=[iterations=4096,password=java-secret]")
    settings = site.settings("SASL_SSL", ("java", "java-secret"), "SCRAM-SHA-512")
    assert consume(settings, "java", "java", 2) == ["a", "b"]
    remove = ("--remove", "--force", "--topic", "java")
    java(*acls, *remove)
    assert "User:java" not in java(*acls, "--list", "--topic", "java")


def openssl(*arguments):
    run("openssl", *arguments)


def issue(folder, name, subject, names=None):
    """A certificate of the authority in `folder`, which is made first if there is none."""
    ca, ca_key = str(folder / "ca.pem"), str(folder / "ca-key.pem")
    new_key = ["-newkey", "rsa:2048", "-nodes"]
    if not (folder / "ca.pem").exists():
        openssl("req", "-x509", *new_key, "-keyout", ca_key, "-out", ca, "-days", "2", "-subj", "/CN=Test CA")
    certificate, key = str(folder / f"{name}.pem"), str(folder / f"{name}-key.pem")
    names = ["-addext", f"subjectAltName={names}"] if names else []
    signed = ["-CA", ca, "-CAkey", ca_key, "-days", "2", "-addext", "basicConstraints=CA:FALSE"]
    openssl(
        "req", "-x509", *new_key, *signed, *names, "-keyout", key, "-out", certificate, "-subj", subject
    )
    return certificate, key


def with_certificates(binary, folder):
    """A broker with a certificate of the user's, whose clients must show theirs."""
    site = Site(binary, folder)
    certificate, key = issue(site.folder, "broker", "/CN=broker", "IP:127.0.0.1")
    client = dict(zip(["ssl.certificate.location", "ssl.key.location"], issue(site.folder, "client", "/O=Mill/CN=app")))
    flags = ["--tls-certificate", certificate, "--tls-key", key, "--tls-client-auth", "required"]
    flags += ["--tls-client-ca", str(site.folder / "ca.pem"), "--super-user", "User:CN=app,O=Mill"]
    with site.broker("--listen", "SSL://127.0.0.1:0", *flags):
        site.ca = str(site.folder / "ca.pem")
        settings = site.settings("SSL", **client)
        make_topic(settings, "orders")
        produce(settings, "orders", ["a"])
        assert consume(settings, "orders", "readers", 1) == ["a"]
        assert kcat(settings, "-C", "-t", "orders", "-e", "-q") == "a\n"
        error = first_error(site.settings("SSL"))
        assert error.code() in (KafkaError._SSL, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN), error


@scenario
def clients_may_prove_themselves_by_certificate(site):
    with tempfile.TemporaryDirectory() as folder:
        with_certificates(site.binary, folder)


@scenario
def a_listener_that_would_let_everybody_in_is_refused(site):
    place = ("--data-dir", str(site.folder / "other"))
    for listen in ["0.0.0.0:0", "SSL://0.0.0.0:0"]:
        said = site.gristmill("broker", *place, "--listen", listen, expect=2)
        assert "--allow-unauthenticated-network" in said, said


@scenario
def no_secret_is_in_the_log_or_on_disk(site):
    files = [site.log, *(path for path in site.data.rglob("*.json"))]
    assert (site.data / "broker/credentials.json") in files
    for path in files:
        text = path.read_text()
        for secret in [*site.secrets, "guessed", "pencil", "java-secret"]:
            assert secret not in text, f"{path} tells a secret"
    log = site.log.read_text()
    assert re.search(r'authentication failed.*user="nobody"', re.sub(r"\x1b\[[0-9;]*m", "", log)), log[-600:]


def main():
    with tempfile.TemporaryDirectory() as folder:
        site = Site(sys.argv[1], folder)
        site.admin = site.api_key("CLUSTER")
        site.guest = site.api_key("NONE")
        listeners = ["127.0.0.1:0", "SASL_PLAINTEXT://127.0.0.1:0", "SSL://127.0.0.1:0", "SASL_SSL://0.0.0.0:0"]
        flags = [flag for listener in listeners for flag in ("--listen", listener)]
        with site.broker(*flags, "--max-reauth-ms", str(REAUTHENTICATION_MS)):
            failed = run_all(site)
        assert "panicked" not in site.log.read_text(), "the broker panicked"
    sys.exit(exit_code(failed))


main()
