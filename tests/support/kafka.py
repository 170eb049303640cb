"""A mock Kafka broker as a process: librdkafka's own, with faults.

It speaks the protocol to any client and keeps records in memory. SIGUSR1 takes all brokers down,
SIGUSR2 brings them back.
"""

import ctypes
import signal
import sys
from collections import Counter
from ctypes import c_char_p, c_int, c_size_t, c_void_p
from pathlib import Path
from typing import Any

BROKERS = 2


def main() -> None:
    import confluent_kafka

    libs = Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs"
    lib = ctypes.CDLL(str(next(libs.glob("librdkafka-*.so*"))))

    def call(name: str, result: Any, *kinds: Any) -> Any:
        function = getattr(lib, name)
        function.restype, function.argtypes = result, list(kinds)
        return function

    text = ctypes.create_string_buffer(512)
    conf = call("rd_kafka_conf_new", c_void_p)()
    new = call("rd_kafka_new", c_void_p, c_int, c_void_p, c_char_p, c_size_t)
    client = new(0, conf, text, 512)
    assert client, text.value
    cluster = call("rd_kafka_mock_cluster_new", c_void_p, c_void_p, c_int)(client, BROKERS)
    down = call("rd_kafka_mock_broker_set_down", c_int, c_void_p, c_int)
    up = call("rd_kafka_mock_broker_set_up", c_int, c_void_p, c_int)
    wanted = {signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    where = call("rd_kafka_mock_cluster_bootstraps", c_char_p, c_void_p)(cluster)
    sys.stdout.write(f"kafka at {where.decode()}\n")
    sys.stdout.flush()
    while (number := signal.sigwait(wanted)) != signal.SIGTERM:
        for broker in range(1, BROKERS + 1):
            (down if number == signal.SIGUSR1 else up)(cluster, broker)


def records(servers: str, prefix: str) -> list[Any]:
    """Return all records of the topics that begin with `prefix`, by partition."""
    from confluent_kafka import Consumer, KafkaError, TopicPartition

    consumer = Consumer(
        {"bootstrap.servers": servers, "group.id": "test", "enable.partition.eof": True}
    )
    try:
        topics = consumer.list_topics(timeout=10.0).topics
        parts = [
            TopicPartition(name, partition, 0)
            for name, topic in topics.items()
            if name.startswith(prefix)
            for partition in topic.partitions
        ]
        consumer.assign(parts)
        found, ended = [], Counter[tuple[str, int]]()
        while len(ended) < len(parts):
            for record in consumer.consume(1_000, 0.2):
                if record.error() is None:
                    found.append(record)
                else:
                    assert record.error().code() == KafkaError._PARTITION_EOF, record.error()
                    ended[record.topic(), record.partition()] += 1
        return found
    finally:
        consumer.close()


if __name__ == "__main__":
    main()
