"""Prints orders as they come, as a member of group `python-orders`; ends after COUNT of them, or with Ctrl-C.

    python consumer.py [client.properties] [topic] [COUNT]
"""

import sys

from confluent_kafka import Consumer

from config import read_config


def main(config="client.properties", topic="orders", count="0"):
    settings = {"group.id": "python-orders", "auto.offset.reset": "earliest"}
    consumer = Consumer(read_config(config) | settings)
    consumer.subscribe([topic])
    left = int(count) or None
    try:
        while left is None or left > 0:
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error():
                raise RuntimeError(message.error())
            print(f"{message.key().decode()}: {message.value().decode()}")
            left = left and left - 1
    except KeyboardInterrupt:
        pass
    finally:
        consumer.close()  # commits what was printed, and leaves the group


if __name__ == "__main__":
    main(*sys.argv[1:])
