# Kafka's own tools (the Java client), for suites that run them. To be sourced after broker.sh.
# Their jars come from Maven Central once, into ~/.cache/gristmill-kafka. Needs java 17 and mvn.

kafka_version=3.9.1
jars=$HOME/.cache/gristmill-kafka/$kafka_version

# Copies into a folder beside and renames it, so that a broken download is never taken for the jars.
fetch_tools() {
  [ -d "$jars" ] && return
  rm -rf "$jars.part"
  mvn --quiet --batch-mode \
    --file "$(dirname "${BASH_SOURCE[0]}")/kafka/pom.xml" dependency:copy-dependencies \
    -DoutputDirectory="$jars.part" && mv "$jars.part" "$jars" ||
    { echo "cannot fetch Kafka's tools with mvn" >&2; return 1; }
}

# Most of a short tool's time goes into loading classes: the first one to run leaves them behind in
# a shared archive, and the others start in half the time.
archive=$folder/classes.jsa
java_options=(
  -Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xlog:disable
  -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "$jars/*"
)

make_class_archive() {
  java "${java_options[@]}" -XX:ArchiveClassesAtExit="$archive" \
    org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$BOOTSTRAP" \
    --topic class-archive --timeout-ms 100 > /dev/null 2>&1
}

# main CLASS ARGUMENTS…: the tool of the whole class name.
main() {
  timeout 90 java "${java_options[@]}" -XX:SharedArchiveFile="$archive" "$@"
}

# tool CLASS ARGUMENTS…: one of org.apache.kafka.tools.
tool() {
  local class=$1
  shift
  main "org.apache.kafka.tools.$class" "$@"
}
