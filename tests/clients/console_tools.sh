#!/usr/bin/env bash
# Apache Kafka's own console tools (the Java client) on the built-in broker.
# Usage: console_tools.sh PATH-OF-GRISTMILL
# The tools' jars come from Maven Central once, into ~/.cache/gristmill-kafka. Needs java 17 and mvn.
set -uo pipefail
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
source "$here/broker.sh"

jars=$HOME/.cache/gristmill-kafka/3.9.1

# Copies into a folder beside and renames it, so that a broken download is never taken for the jars.
fetch_tools() {
  [ -d "$jars" ] && return
  rm -rf "$jars.part"
  mvn --quiet --batch-mode --file "$here/kafka/pom.xml" dependency:copy-dependencies \
    -DoutputDirectory="$jars.part" && mv "$jars.part" "$jars"
}

# tool CLASS ARGUMENTS…: one of org.apache.kafka.tools.
tool() {
  local class=$1
  shift
  timeout 90 java -Xmx256m -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=error \
    -cp "$jars/*" "org.apache.kafka.tools.$class" "$@"
}
topics() { tool TopicCommand --bootstrap-server "$BOOTSTRAP" "$@"; }
groups() { tool consumer.group.ConsumerGroupCommand --bootstrap-server "$BOOTSTRAP" "$@"; }
consume() {
  tool consumer.ConsoleConsumer --bootstrap-server "$BOOTSTRAP" --timeout-ms 30000 "$@"
}

makes_a_topic() { topics --create --topic orders --partitions 2 | grep 'Created topic orders'; }

lists_topics() { topics --list | grep -x orders; }

describes_a_topic() { topics --describe --topic orders | grep 'PartitionCount: 2'; }

produces_with_keys() {
  seq 100 | sed 's/.*/key-&:value-&/' |
    timeout 90 java -Xmx256m -XX:TieredStopAtLevel=1 -cp "$jars/*" \
      -Dorg.slf4j.simpleLogger.defaultLogLevel=error "$producer_class" \
      --bootstrap-server "$BOOTSTRAP" --topic orders \
      --property parse.key=true --property key.separator=:
}

consumes_from_the_beginning() {
  consume --topic orders --from-beginning --max-messages 100 --property print.key=true |
    tr '\t' ':' | sort > "$folder/received"
  seq 100 | sed 's/.*/key-&:value-&/' | sort | cmp - "$folder/received"
}

our_producer_meets_the_same_partitions() {
  seq 100 | sed 's/.*/key-&:again/' |
    "$gristmill" kafka topic produce orders --parse-key --bootstrap "$BOOTSTRAP"
  consume --topic orders --from-beginning --max-messages 200 \
    --property print.key=true --property print.partition=true --property print.value=false |
    sort -u > "$folder/places"
  same "$(wc -l < "$folder/places")" 100
}

producer_performance() {
  local codec=$1
  tool ProducerPerformance --topic orders --num-records 2000 --record-size 200 --throughput -1 \
    --producer-props bootstrap.servers="$BOOTSTRAP" compression.type="$codec" |
    grep '^2000 records sent'
}

a_group_reads_and_is_listed() {
  consume --topic orders --from-beginning --max-messages 10200 --group readers |
    wc -l | grep -x 10200
  groups --list | grep -x readers
}

describes_a_group() { groups --describe --group readers | grep -E 'readers +orders +0 '; }

resets_a_groups_offsets() {
  groups --reset-offsets --to-earliest --group readers --topic orders --execute |
    grep -E 'readers +orders +1 +0'
  consume --topic orders --max-messages 1 --group readers | wc -l | grep -x 1
}

deletes_a_group() {
  groups --delete --group readers | grep -i success
  ! groups --list | grep -x readers
}

shows_offsets() {
  same "$(tool GetOffsetShell --bootstrap-server "$BOOTSTRAP" --topic orders |
    awk -F: '{ sum += $3 } END { print sum }')" 10200
}

a_verifiable_producer_is_acknowledged() {
  tool VerifiableProducer --bootstrap-server "$BOOTSTRAP" --topic verified --max-messages 500 |
    grep -c producer_send_success | grep -x 500
}

a_verifiable_consumer_reads_it_all() {
  tool VerifiableConsumer --bootstrap-server "$BOOTSTRAP" --topic verified --group-id verifier \
    --max-messages 500 --reset-policy earliest | grep shutdown_complete
}

deletes_a_topic() {
  topics --delete --topic orders
  ! topics --list | grep -x orders
}

gristmill=$1
fetch_tools || { echo "cannot fetch Kafka's tools with mvn" >&2; exit 1; }
producer_class=kafka.tools.ConsoleProducer
start_broker "$gristmill"
scenario "makes a topic" makes_a_topic
scenario "lists topics" lists_topics
scenario "describes a topic" describes_a_topic
scenario "produces with keys" produces_with_keys
scenario "consumes from the beginning" consumes_from_the_beginning
scenario "our producer meets the same partitions" our_producer_meets_the_same_partitions
for codec in none gzip snappy lz4 zstd; do
  scenario "producer performance, codec $codec" producer_performance "$codec"
done
scenario "a group reads and is listed" a_group_reads_and_is_listed
scenario "describes a group" describes_a_group
scenario "resets a group's offsets" resets_a_groups_offsets
scenario "deletes a group" deletes_a_group
scenario "shows offsets" shows_offsets
scenario "a verifiable producer is acknowledged" a_verifiable_producer_is_acknowledged
scenario "a verifiable consumer reads it all" a_verifiable_consumer_reads_it_all
scenario "deletes a topic" deletes_a_topic
finish
