#!/bin/sh
# One node, broker and controller, of the jars that Apache's image has; its settings hold every service as a user.
set -eu
java="java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+ExitOnOutOfMemoryError -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dorg.slf4j.simpleLogger.showDateTime=true"
$java -cp '/opt/kafka/libs/*' kafka.tools.StorageTool format --ignore-formatted --cluster-id "$CLUSTER_ID" --config /etc/kafka/kafka.properties
exec $java -cp '/opt/kafka/libs/*' kafka.Kafka /etc/kafka/kafka.properties
