#!/usr/bin/env bash
# The producers and consumers of pipelines/clients (Python, Java, Go) as a user runs them, against the built-in broker.
# Usage: pipelines_clients.sh BINARY; GRISTMILL_PYTHON names a Python with confluent-kafka.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/broker.sh"
source "$here/kafka.sh"
gristmill=$(realpath "$1")
python=${GRISTMILL_PYTHON:-python3}
clients=$here/../../pipelines/clients
export PATH=$PATH:/usr/local/go/bin

fetch_tools || exit 1
start_broker "$gristmill"
echo "bootstrap.servers=$BOOTSTRAP" > "$folder/client.properties"
"$gristmill" topic create orders --partitions 4 --bootstrap "$BOOTSTRAP" > /dev/null
orders=$(sed 's/.*"customer_id":\([0-9]*\).*/\1: &/' "$clients/orders.jsonl" | sort)

# Each producer sends the five orders; each consumer, a group of its own, sees those of all producers before it.
python_client() {
  cd "$clients/python"
  PYTHONDONTWRITEBYTECODE=1 timeout 60 "$python" "$1.py" "${@:2}"
}

java_client() {
  timeout 60 java "${java_options[@]}" "$clients/java/src/main/java/Orders$1.java" "${@:2}"
}

go_client() {
  cd "$clients/go"
  timeout 120 go run "./$1" "${@:2}"
}

# produces CLIENT…: five acknowledgements.
produces() {
  same "$("$@" "$clients/orders.jsonl" "$folder/client.properties" | grep -c '^orders partition [0-3] offset')" 5
}

# consumes TIMES CLIENT…: every order that often.
consumes() {
  local times=$1 expected
  shift
  expected=$(for _ in $(seq "$times"); do echo "$orders"; done | sort)
  same "$("$@" "$folder/client.properties" orders $((5 * times)) | sort)" "$expected"
}

committed() {
  same "$("$gristmill" --output json group describe "$1" --bootstrap "$BOOTSTRAP" | grep -o '"lag":[0-9]*' | sort -u)" '"lag":0'
}

# Java, Go and our own command choose the same partition for a key.
partitions_agree() {
  local one
  one=$("$gristmill" topic consume orders --from-beginning --exit-at-end --output json --bootstrap "$BOOTSTRAP" |
    sed 's/.*"key":"\([0-9]*\)".*"partition":\([0-3]\).*/\1 \2/' | sort -u | wc -l)
  same "$one" 4
}

scenario "Java: produces" produces java_client Producer
scenario "Java: consumes" consumes 1 java_client Consumer
scenario "Java: has committed" committed java-orders
scenario "Go: produces" produces go_client producer
scenario "a key has one partition, whoever sends it" partitions_agree
scenario "Go: consumes" consumes 2 go_client consumer
scenario "Go: has committed" committed go-orders
scenario "Python: produces" produces python_client producer
scenario "Python: consumes" consumes 3 python_client consumer
scenario "Python: has committed" committed python-orders
finish
