// Prints orders as they come, as a member of group go-orders: consumer [CONFIG] [TOPIC] [COUNT].
package main

import (
	"context"
	"fmt"
	"log"
	"math"
	"os"
	"os/signal"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"gristmill.example/clients/config"
)

func main() {
	left, err := strconv.ParseInt(config.Argument(3, strconv.Itoa(math.MaxInt64)), 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(config.Brokers(config.Argument(1, "client.properties"))...),
		kgo.ConsumerGroup("go-orders"),
		kgo.ConsumeTopics(config.Argument(2, "orders")),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	for left > 0 && interrupted.Err() == nil {
		fetches := client.PollFetches(interrupted)
		fetches.EachError(func(topic string, partition int32, err error) {
			if interrupted.Err() == nil {
				log.Fatalf("%s partition %d: %v", topic, partition, err)
			}
		})
		fetches.EachRecord(func(record *kgo.Record) {
			fmt.Printf("%s: %s\n", record.Key, record.Value)
			left--
		})
	}
	if err := client.CommitUncommittedOffsets(context.Background()); err != nil {
		log.Fatal(err)
	}
}
