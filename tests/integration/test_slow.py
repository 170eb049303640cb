"""A slow subscriber is told of, and then cut off; nobody else waits for it."""

import time
from pathlib import Path

import msgspec
import pytest
import zmq

from grid import wire
from grid.bus import Addresses, Publisher, Subscriber, wait_until_flowing
from tests.support.procs import Procs, until

BAR = wire.OrderUpdate("S-1", 1, 1, "o", "held", "BUY", 1.0, 1, "x" * 4_000)
TOPIC = "md.X.SIM.bar"
PACE_S = 0.002  # 2 MB/s


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_slow_subscriber_is_counted_and_cut_off_and_slows_nobody(
    procs: Procs, context, addresses: Addresses, tmp_path: Path, transport: str
):
    if transport == "tcp":
        probe = context.socket(zmq.PUB)
        port = probe.bind_to_random_port("tcp://127.0.0.1")
        probe.close()
        addresses = msgspec.structs.replace(addresses, events_out=f"tcp://127.0.0.1:{port}")
    broker = procs.serve("broker", addresses, tmp_path, "--cut-off-s", "1")
    slow = context.socket(zmq.SUB)  # a stranger's, that takes 10 events a second
    slow.set(zmq.RCVHWM, 1)
    slow.set(zmq.RCVBUF, 8_192)
    slow.subscribe(b"")
    monitor = slow.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    slow.connect(addresses.events_out)
    good = Subscriber(context, addresses.events_out, [""])
    publisher = Publisher(context, addresses.events_in, "node", 1)
    wait_until_flowing(context, addresses, publisher, 10.0)
    counters: dict[str, float] = {}
    seqs: list[int] = []
    turn = 0

    def cut() -> bool:
        nonlocal turn
        turn += 1
        publisher.publish(TOPIC, BAR)
        for topic, envelope, _ in good.drain(1_000):
            event = wire.event(envelope)
            if isinstance(event, wire.Heartbeat) and event.role == "broker":
                counters.update(event.counters)
            elif topic == TOPIC:
                seqs.append(envelope.seq)
        if turn % 50 == 0 and slow.poll(0):
            slow.recv()
        time.sleep(PACE_S)
        return bool(monitor.poll(0)) and counters.get("cut_off", 0.0) > 0

    until(cut, "the slow one to be cut off")
    assert counters["slowed"] >= 1
    assert counters["subscribers"] >= 2
    assert "is cut off" in broker.text
    assert seqs == list(range(1, len(seqs) + 1))
    assert publisher.high[TOPIC] - len(seqs) < 100
    slow.disable_monitor()
    monitor.close()
    for end in (slow, good, publisher):
        end.close()
