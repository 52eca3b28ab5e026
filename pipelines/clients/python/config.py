"""Reads a file of librdkafka properties, `key=value` on each line."""


def read_config(path):
    with open(path) as file:
        lines = (line.strip() for line in file)
        pairs = (line.split("=", 1) for line in lines if line and not line.startswith("#"))
        return {key.strip(): value.strip() for key, value in pairs}
