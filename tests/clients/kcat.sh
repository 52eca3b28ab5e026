#!/usr/bin/env bash
# kcat, as the distribution brings it, on the built-in broker with no special flag.
# Usage: kcat.sh PATH-OF-GRISTMILL
set -uo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/broker.sh"

k() { timeout 60 kcat -b "$BOOTSTRAP" "$@"; }

# Prints a whole topic in the given format.
read_all() {
  local topic=$1 format=$2
  shift 2
  k -C -t "$topic" -o beginning -e -q -f "$format" "$@"
}

lists_the_broker() { k -L | grep "broker .* at $BOOTSTRAP"; }

describes_itself_as_json() { k -L -J | grep "\"brokers\":\[{\"id\":[0-9]*,\"name\":\"$BOOTSTRAP\"}\]"; }

makes_a_topic_by_writing() {
  echo first | k -P -t made-by-writing
  same "$(k -L -t made-by-writing | grep -c 'partition 0, leader')" 1
}

keeps_key_value_and_headers() {
  local codec=$1
  seq 500 | sed 's/.*/key-&:value &/' > "$folder/sent"
  k -P -t "codec-$codec" -K : -z "$codec" -H colour=red -H size= < "$folder/sent"
  read_all "codec-$codec" '%k:%s\n' > "$folder/received"
  cmp "$folder/sent" "$folder/received"
  same "$(read_all "codec-$codec" '%h\n' | sort -u)" "colour=red,size="
}

tells_null_from_empty() {
  printf 'gone:\n' | k -P -t nulls -K : -Z
  printf 'empty:\n' | k -P -t nulls -K :
  same "$(read_all nulls '%k %S\n' | tr '\n' ' ')" "gone -1 empty 0 "
}

reads_the_tail() { same "$(k -C -t codec-none -o -5 -e -q | tail -n 1)" "value 500"; }

reads_from_an_offset() { same "$(k -C -t codec-none -o 497 -e -q | wc -l)" 3; }

finds_offsets_by_time() {
  local hour_ms=3600000 now_ms=$(($(date +%s) * 1000))
  same "$(k -C -t codec-none -o s@$((now_ms - hour_ms)) -e -q | wc -l)" 500
  same "$(k -C -t codec-none -o s@$((now_ms + hour_ms)) -e -q | wc -l)" 0
}

answers_queries_for_offsets() {
  k -Q -t codec-none:0:-1 | grep 'offset 500'
  k -Q -t codec-none:0:-2 | grep 'offset 0'
}

a_group_reads_everything_once() {
  k -G readers codec-none codec-gzip -X auto.offset.reset=earliest -c 1000 -q > "$folder/group"
  same "$(wc -l < "$folder/group")" 1000
}

a_group_goes_on_where_it_stopped() {
  echo one more | k -P -t codec-none
  same "$(k -G readers codec-none codec-gzip -X auto.offset.reset=earliest -c 1 -q)" "one more"
}

takes_a_record_of_900_kb() {
  head -c 900000 /dev/zero | tr '\0' x | k -P -t large -D '~'
  same "$(read_all large '%S\n')" 900000
}

refuses_a_record_of_3_mb() {
  ! head -c 3000000 /dev/zero | tr '\0' x |
    k -P -t large -D '~' -X message.max.bytes=10000000 -X message.timeout.ms=5000
}

an_idempotent_producer_keeps_order() {
  seq 20000 > "$folder/sent"
  k -P -t idempotent -X enable.idempotence=true < "$folder/sent"
  read_all idempotent '%s\n' > "$folder/received"
  cmp "$folder/sent" "$folder/received"
}

a_transaction_is_read_committed() {
  seq 100 | k -P -t transactional -X transactional.id=kcat
  same "$(read_all transactional '%s\n' -X isolation.level=read_committed | wc -l)" 100
  # The marker takes an offset too.
  k -Q -t transactional:0:-1 | grep 'offset 101'
}

every_level_of_acks_works() {
  local acks
  for acks in 0 1 all; do echo "acks $acks" | k -P -t acks -X acks=$acks; done
  same "$(read_all acks '%s\n' | wc -l)" 3
}

keys_keep_to_their_partition() {
  "$gristmill" topic create keyed --partitions 3 --bootstrap "$BOOTSTRAP"
  local round
  for round in 1 2 3; do
    seq 100 | sed "s/.*/&:$round/" | k -P -t keyed -K : -X partitioner=murmur2_random
  done
  same "$(read_all keyed '%k %p\n' | sort -u | wc -l)" 100
  same "$(read_all keyed '%p\n' | sort -u | wc -l)" 3
  # The same keys, sent by our own producer, meet the same partitions.
  seq 100 | sed 's/.*/&:4/' |
    "$gristmill" topic produce keyed --parse-key --bootstrap "$BOOTSTRAP"
  same "$(read_all keyed '%k %p\n' | sort -u | wc -l)" 100
}

outlives_garbage() {
  exec 3<> "/dev/tcp/${BOOTSTRAP%:*}/${BOOTSTRAP#*:}"
  head -c 100000 /dev/urandom >&3 || true
  exec 3>&-
  lists_the_broker
}

keeps_everything_over_a_restart() {
  same "$(read_all codec-zstd '%s\n' | wc -l)" 500
  same "$(read_all keyed '%s\n' | wc -l)" 400
  echo after the restart | k -P -t codec-none
  same "$(k -G readers codec-none codec-gzip -X auto.offset.reset=earliest -c 1 -q)" \
    "after the restart"
}

gristmill=$1
start_broker "$gristmill"
scenario "lists the broker" lists_the_broker
scenario "describes itself as JSON" describes_itself_as_json
scenario "makes a topic by writing to it" makes_a_topic_by_writing
for codec in none gzip snappy lz4 zstd; do
  scenario "keeps key, value and headers, codec $codec" keeps_key_value_and_headers "$codec"
done
scenario "tells null from empty" tells_null_from_empty
scenario "reads the tail" reads_the_tail
scenario "reads from an offset" reads_from_an_offset
scenario "finds offsets by time" finds_offsets_by_time
scenario "answers queries for offsets" answers_queries_for_offsets
scenario "a group reads everything once" a_group_reads_everything_once
scenario "a group goes on where it stopped" a_group_goes_on_where_it_stopped
scenario "takes a record of 900 kB" takes_a_record_of_900_kb
scenario "refuses a record of 3 MB" refuses_a_record_of_3_mb
scenario "an idempotent producer keeps order" an_idempotent_producer_keeps_order
scenario "a transaction is read committed" a_transaction_is_read_committed
scenario "every level of acks works" every_level_of_acks_works
scenario "keys keep to their partition, whoever writes" keys_keep_to_their_partition
scenario "outlives garbage" outlives_garbage
stop_broker || { echo "  FAILED         the broker ends well"; failed=$((failed + 1)); }
start_broker "$gristmill" "$BOOTSTRAP"
scenario "keeps everything over a restart" keeps_everything_over_a_restart
finish
