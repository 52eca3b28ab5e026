# For the suites of clients: a broker of its own in a fresh folder on a free port, scenarios that
# are counted, and a last line `N passed, N failed`. To be sourced; expects nothing set.

passed=0
failed=0
folder=$(mktemp -d)
broker_pid=

# start_broker BINARY [ADDRESS [FLAG…]]: starts the broker on an address (default: a free port of
# loopback) and sets BOOTSTRAP. Its data stay in the folder from start to start.
start_broker() {
  local binary=$1 listen=${2:-127.0.0.1:0} attempt
  shift $(($# < 2 ? $# : 2))
  "$binary" broker --data-dir "$folder/data" --listen "$listen" "$@" \
    > "$folder/broker.out" 2>> "$folder/broker.log" &
  broker_pid=$!
  for attempt in $(seq 300); do
    BOOTSTRAP=$(sed -n 's/^listening on \([0-9.:]*\),.*/\1/p' "$folder/broker.out")
    [ -n "$BOOTSTRAP" ] && return
    kill -0 "$broker_pid" 2> /dev/null || break
    sleep 0.1
  done
  echo "the broker did not start:" >&2
  cat "$folder/broker.log" >&2
  exit 1
}

# Ends the broker as a service manager does; fails unless it ends well, and within 30 s.
stop_broker() {
  local watchdog code
  (sleep 30 && kill -KILL "$broker_pid") 2> /dev/null &
  watchdog=$!
  kill -TERM "$broker_pid"
  wait "$broker_pid"
  code=$?
  kill "$watchdog" 2> /dev/null
  broker_pid=
  [ $code = 0 ] && ! grep -i panicked "$folder/broker.log"
}

# scenario NAME COMMAND…: runs the command (mostly a function) in a shell of its own.
scenario() {
  local name=$1 began=$SECONDS
  shift
  if (set -e -o pipefail; "$@") > "$folder/scenario.out" 2>&1; then
    passed=$((passed + 1))
    printf '  ok      %3d s  %s\n' $((SECONDS - began)) "$name"
  else
    failed=$((failed + 1))
    printf '  FAILED  %3d s  %s\n' $((SECONDS - began)) "$name"
    tail -n 8 "$folder/scenario.out" | cut -c 1-300 | sed 's/^/            /'
  fi
}

# Compares two texts and shows both if they differ.
same() {
  [ "$1" = "$2" ] && return
  echo "expected: $2"
  echo "found:    $1"
  return 1
}

# Ends the broker and the suite.
finish() {
  if stop_broker; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "  FAILED         the broker ends well"
    tail -n 8 "$folder/broker.log"
  fi
  echo "$passed passed, $failed failed"
  [ "$failed" = 0 ]
}

clean_up() {
  [ -n "$broker_pid" ] && kill -KILL "$broker_pid" 2> /dev/null
  rm -rf "$folder"
}
trap clean_up EXIT
