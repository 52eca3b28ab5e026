"""Sends orders, one JSON object a line, keyed by their customer.

    python producer.py orders.jsonl [client.properties] [topic]
"""

import json
import sys

from confluent_kafka import Producer

from config import read_config

failed = 0


def delivered(error, message):
    global failed
    if error is not None:
        failed += 1
        print(f"not delivered: {error}", file=sys.stderr)
    else:
        print(f"{message.topic()} partition {message.partition()} offset {message.offset()}")


def main(path, config="client.properties", topic="orders"):
    producer = Producer(read_config(config))
    with open(path) as orders:
        for line in orders:
            order = json.loads(line)
            producer.produce(topic, key=str(order["customer_id"]), value=line.strip(), callback=delivered)
            producer.poll(0)
    producer.flush()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
