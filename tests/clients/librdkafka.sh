#!/usr/bin/env bash
# librdkafka's own regression suite on the built-in broker: the copy that the crate rdkafka-sys brings.
# Usage: librdkafka.sh PATH-OF-GRISTMILL [TEST …]          (numbers like 0012; default: all of them)
#        BOOTSTRAP=host:port librdkafka.sh - [TEST …]      the same on a broker that runs already
# Takes 10 minutes, and as long again for building it the first time, into ~/.cache/gristmill-librdkafka.
# Needs a C++ compiler, make, a JDK 17, mvn, and on Debian: rapidjson-dev libssl-dev zlib1g-dev libzstd-dev
# libsasl2-dev libcurl4-openssl-dev.
set -uo pipefail
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
source "$here/broker.sh"
source "$here/kafka.sh"

# Not run. 0101 wants three brokers in three racks.
skipped=0101

version=$(sed -n '/^name = "rdkafka-sys"$/ { n; s/version = "\(.*\)"/\1/p }' "$here/../../Cargo.lock")
suite=$HOME/.cache/gristmill-librdkafka/$version

# The sources lie where cargo keeps what the workspace depends on.
find_sources() {
  (cd "$here/../.." && cargo fetch --quiet)
  ls -d "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/rdkafka-sys-"$version"/librdkafka | head -n 1
}

# Builds in a folder beside and renames it, so that half a build is never taken for a whole one.
build_suite() {
  [ -d "$suite" ] && return
  local part=$suite.part
  rm -rf "$part"
  mkdir -p "$(dirname "$suite")"
  cp -r "$(find_sources)" "$part" || return 1
  (
    cd "$part" || exit 1
    chmod -R u+w . # cargo keeps neither this nor the next
    chmod +x configure lds-gen.py tests/*.sh mklove/modules/*
    # Two tests make topics with 3 replicas; a single broker, Kafka's too, refuses these.
    sed -i -E 's/(create_topic_wait_exists\([a-z0-9]+, [a-z_0-9]+, [0-9a-z_]+, )3, 5000/\11, 5000/' \
      tests/0103-transactions.c
    sed -i -E 's/(create_topic_wait_exists\(c, topic_name.c_str\(\), [12], )3,/\11,/' \
      tests/0098-consumer-txn.cpp
    ./configure && make -j2 libs && make -j2 -C examples rdkafka_performance &&
      make -j2 -C tests build
  ) > "$folder/build.log" 2>&1 || { tail -n 20 "$folder/build.log" >&2; return 1; }
  mv "$part" "$suite"
}

# Some tests call Kafka's scripts by name; these do the same with the jars alone.
write_scripts() {
  mkdir -p "$folder/kafka/bin"
  local script class
  while read -r script class; do
    {
      echo '#!/usr/bin/env bash'
      echo "exec java -Xmx128m -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=error \\"
      echo "  -cp \"\${CLASSPATH:+\$CLASSPATH:}$jars/*\" $class \"\$@\" 2> >(grep -v SLF4J >&2)"
    } > "$folder/kafka/bin/$script.sh"
    chmod +x "$folder/kafka/bin/$script.sh"
  done << 'SCRIPTS'
kafka-topics org.apache.kafka.tools.TopicCommand
kafka-acls kafka.admin.AclCommand
kafka-configs kafka.admin.ConfigCommand
kafka-consumer-groups org.apache.kafka.tools.consumer.group.ConsumerGroupCommand
kafka-run-class
SCRIPTS
  ln -s "$jars" "$folder/kafka/libs"
}

# -L: only tests that talk to a broker; -Q: the quick form of each; -p: tests at a time.
run_suite() {
  printf '%s\n' "metadata.broker.list=$BOOTSTRAP" test.topic.prefix=rdk test.topic.random=true \
    test.timeout.multiplier=2 > "$folder/test.conf"
  (
    cd "$suite/tests" || exit 1
    export LD_LIBRARY_PATH=../src:../src-cpp RDKAFKA_TEST_CONF=$folder/test.conf
    export BROKERS=$BOOTSTRAP KAFKA_PATH=$folder/kafka
    export KAFKA_VERSION=$kafka_version TEST_KAFKA_VERSION=$kafka_version
    export TESTS=${tests:-all} TESTS_SKIP=$skipped
    [ "$TESTS" = all ] && unset TESTS
    timeout 3000 ./test-runner -L -Q -p2 -V "$kafka_version"
  ) > "$folder/suite.log" 2>&1
  sed -i 's/\x1b\[[0-9;]*m//g' "$folder/suite.log"
}

# One line a test, `NAME RESULT`, from what the suite says as it goes: a run that is cut short has half a
# table at its end. A test that began and neither ended nor found itself out of place has failed.
results() {
  local test
  for test in $(grep -oE 'Running test [0-9]{4}_[a-z0-9_]+' "$folder/suite.log" |
    awk '{ print $3 }' | sort -u); do
    if grep -qE "= Test $test PASSED" "$folder/suite.log"; then
      echo "$test PASSED"
    elif ! grep -qE "= Test $test SKIPPED" "$folder/suite.log"; then
      echo "$test FAILED"
    fi
  done
}

gristmill=$1
shift
tests=$(IFS=,; echo "$*")
fetch_tools && build_suite || exit 1
write_scripts
# The tests that write to topics nobody made expect several partitions.
[ "$gristmill" = - ] || start_broker "$gristmill" 127.0.0.1:0 --default-partitions 4
run_suite
results | sort -u > "$folder/results"
cat "$folder/results"
passed=$(grep -c ' PASSED' "$folder/results")
failed=$(grep -c ' FAILED' "$folder/results")
if [ "$passed$failed" = 00 ]; then
  tail -n 20 "$folder/suite.log"
  failed=1
fi
if [ "$failed" != 0 ]; then
  cp "$folder/suite.log" librdkafka.log
  echo "the suite's own words are in $PWD/librdkafka.log"
fi
if [ "$gristmill" = - ]; then
  echo "$passed passed, $failed failed"
  [ "$failed" = 0 ]
else
  finish
fi
