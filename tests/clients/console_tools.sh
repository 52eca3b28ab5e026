#!/usr/bin/env bash
# Apache Kafka's own console tools (the Java client) on the built-in broker.
# Usage: console_tools.sh PATH-OF-GRISTMILL
# Needs java 17 and mvn.
set -uo pipefail
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
source "$here/broker.sh"
source "$here/kafka.sh"

topics() { tool TopicCommand --bootstrap-server "$BOOTSTRAP" "$@"; }
configs() {
  main kafka.admin.ConfigCommand --bootstrap-server "$BOOTSTRAP" \
    --entity-type topics --entity-name growing "$@"
}
groups() { tool consumer.group.ConsumerGroupCommand --bootstrap-server "$BOOTSTRAP" "$@"; }
consume() {
  tool consumer.ConsoleConsumer --bootstrap-server "$BOOTSTRAP" --timeout-ms 30000 "$@"
}

makes_a_topic() { topics --create --topic orders --partitions 2 | grep 'Created topic orders'; }

lists_topics() { topics --list | grep -x orders; }

describes_a_topic() { topics --describe --topic orders | grep 'PartitionCount: 2'; }

adds_partitions() {
  topics --create --topic growing --partitions 2
  topics --alter --topic growing --partitions 3
  topics --describe --topic growing | grep 'PartitionCount: 3'
}

changes_a_setting() {
  configs --alter --add-config retention.ms=1000000
  configs --describe | grep 'retention.ms=1000000'
}

entity_configs() { main kafka.admin.ConfigCommand --bootstrap-server "$BOOTSTRAP" "$@"; }

changes_a_setting_of_the_broker() {
  local setting=log.message.timestamp.before.max.ms
  entity_configs --entity-type brokers --entity-name 1 --alter --add-config "$setting=9000000000"
  entity_configs --entity-type brokers --entity-name 1 --describe |
    grep "$setting=9000000000.*DYNAMIC_BROKER_CONFIG.*DEFAULT_CONFIG"
}

gives_a_user_a_quota() {
  local user=(--entity-type users --entity-name somebody)
  entity_configs "${user[@]}" --alter --add-config 'producer_byte_rate=1000000'
  entity_configs "${user[@]}" --describe | grep 'producer_byte_rate=1000000'
}

# Tools for clusters find that there is nothing to do.
leaves_partitions_where_they_are() {
  echo '{"version":1,"partitions":[{"topic":"growing","partition":0,"replicas":[1]}]}' \
    > "$folder/reassignment.json"
  tool reassign.ReassignPartitionsCommand --bootstrap-server "$BOOTSTRAP" --execute \
    --reassignment-json-file "$folder/reassignment.json" | grep 'Successfully started'
  tool LeaderElectionCommand --bootstrap-server "$BOOTSTRAP" --election-type preferred \
    --topic growing --partition 0 | grep 'already elected'
}

offers_its_requests() {
  main kafka.admin.BrokerApiVersionsCommand --bootstrap-server "$BOOTSTRAP" > "$folder/offered"
  grep 'Produce(0): 0 to 12 \[usable: 11\]' "$folder/offered"
  grep 'JoinGroup(11): 0 to 9 \[usable: 9\]' "$folder/offered"
}

describes_its_log_folder() {
  tool LogDirsCommand --bootstrap-server "$BOOTSTRAP" --describe --topic-list orders |
    grep '"error":null' | grep '"partition":"orders-1"'
}

produces_with_keys() {
  seq 100 | sed 's/.*/key-&:value-&/' |
    main kafka.tools.ConsoleProducer --bootstrap-server "$BOOTSTRAP" --topic orders \
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

a_transactional_producer_performs() {
  tool ProducerPerformance --topic transactions --num-records 2000 --record-size 200 \
    --throughput -1 --transactional-id performer --transaction-duration-ms 100 \
    --producer-props bootstrap.servers="$BOOTSTRAP" | grep '^2000 records sent'
  tool TransactionsCommand --bootstrap-server "$BOOTSTRAP" list | grep 'performer.*CompleteCommit'
}

reads_committed_records() {
  consume --topic transactions --from-beginning --max-messages 2000 \
    --isolation-level read_committed --group committed-readers | wc -l | grep -x 2000
}

consumer_performance() {
  tool ConsumerPerformance --bootstrap-server "$BOOTSTRAP" --topic orders --messages 10200 \
    --timeout 20000 | awk -F', ' '$5 == 10200 { found = 1 } END { exit !found }'
}

measures_latency_from_end_to_end() {
  tool EndToEndLatency "$BOOTSTRAP" latency 50 1 100 | grep Percentiles
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

resets_a_groups_offsets_by_time() {
  groups --reset-offsets --to-datetime 2020-01-01T00:00:00.000 --group readers --topic orders \
    --execute | grep -E 'readers +orders +0 +0'
}

deletes_a_groups_offsets() {
  groups --delete-offsets --group committed-readers --topic transactions | grep -i successful
}

deletes_a_group() {
  groups --delete --group readers | grep -i success
  ! groups --list | grep -x readers
}

shows_offsets() {
  same "$(offsets orders |
    awk -F: '{ sum += $3 } END { print sum }')" 10200
}

offsets() { tool GetOffsetShell --bootstrap-server "$BOOTSTRAP" --topic "$@"; }

shows_offsets_by_time() {
  offsets transactions --time 1000 | grep -x transactions:0:0
  offsets transactions --time max-timestamp | grep -E '^transactions:0:[0-9]+$'
}

deletes_records() {
  echo '{"version":1,"partitions":[{"topic":"orders","partition":0,"offset":10}]}' \
    > "$folder/deletion.json"
  tool DeleteRecordsCommand --bootstrap-server "$BOOTSTRAP" \
    --offset-json-file "$folder/deletion.json" | grep 'low_watermark: 10'
  offsets orders --time earliest | grep -x orders:0:10
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
fetch_tools || exit 1
start_broker "$gristmill"
make_class_archive
scenario "makes a topic" makes_a_topic
scenario "lists topics" lists_topics
scenario "describes a topic" describes_a_topic
scenario "adds partitions" adds_partitions
scenario "changes a setting" changes_a_setting
scenario "changes a setting of the broker" changes_a_setting_of_the_broker
scenario "gives a user a quota" gives_a_user_a_quota
scenario "leaves partitions where they are" leaves_partitions_where_they_are
scenario "offers its requests" offers_its_requests
scenario "describes its log folder" describes_its_log_folder
scenario "produces with keys" produces_with_keys
scenario "consumes from the beginning" consumes_from_the_beginning
scenario "our producer meets the same partitions" our_producer_meets_the_same_partitions
for codec in none gzip snappy lz4 zstd; do
  scenario "producer performance, codec $codec" producer_performance "$codec"
done
scenario "a transactional producer performs" a_transactional_producer_performs
scenario "reads committed records" reads_committed_records
scenario "consumer performance" consumer_performance
scenario "measures latency from end to end" measures_latency_from_end_to_end
scenario "a group reads and is listed" a_group_reads_and_is_listed
scenario "describes a group" describes_a_group
scenario "resets a group's offsets" resets_a_groups_offsets
scenario "resets a group's offsets by time" resets_a_groups_offsets_by_time
scenario "deletes a group's offsets" deletes_a_groups_offsets
scenario "deletes a group" deletes_a_group
scenario "shows offsets" shows_offsets
scenario "shows offsets by time" shows_offsets_by_time
scenario "deletes records" deletes_records
scenario "a verifiable producer is acknowledged" a_verifiable_producer_is_acknowledged
scenario "a verifiable consumer reads it all" a_verifiable_consumer_reads_it_all
scenario "deletes a topic" deletes_a_topic
finish
