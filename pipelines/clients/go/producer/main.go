// Sends orders, one JSON object a line, keyed by their customer: producer FILE [CONFIG] [TOPIC].
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strconv"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"

	"gristmill.example/clients/config"
)

func main() {
	orders, err := os.Open(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	defer orders.Close()
	topic := config.Argument(3, "orders")
	client, err := kgo.NewClient(
		kgo.SeedBrokers(config.Brokers(config.Argument(2, "client.properties"))...),
		kgo.DefaultProduceTopic(topic),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	var failed atomic.Int64
	lines := bufio.NewScanner(orders)
	for lines.Scan() {
		var order struct {
			CustomerID int64 `json:"customer_id"`
		}
		if err := json.Unmarshal(lines.Bytes(), &order); err != nil {
			log.Fatal(err)
		}
		record := kgo.KeyStringRecord(strconv.FormatInt(order.CustomerID, 10), lines.Text())
		client.Produce(context.Background(), record, func(record *kgo.Record, err error) {
			if err != nil {
				failed.Add(1)
				log.Printf("not delivered: %v", err)
				return
			}
			fmt.Printf("%s partition %d offset %d\n", record.Topic, record.Partition, record.Offset)
		})
	}
	if err := client.Flush(context.Background()); err != nil {
		log.Fatal(err)
	}
	if failed.Load() > 0 {
		os.Exit(1)
	}
}
