"""Someone who means harm: `attacker.py WHAT ADDRESSES [KEYS NAME]`, until it is killed.

`requests`, `events` and `prefixes` come with a key that is authorized, again and again when they
are cut off; `strangers` have none.
"""

import contextlib
import os
import socket
import sys
import time
from itertools import count
from pathlib import Path

import msgspec
import zmq

from grid import wire
from grid.bus import Publisher, new_context, new_socket
from grid.context import Context, connect
from grid.identity import Identity
from grid.sockets import Addresses

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
HUGE = b"\x02" + (1 << 31).to_bytes(8) + bytes(1 << 16)  # a frame of 2 GiB begins


def requests(context: Context, addresses: Addresses, name: str) -> None:
    """As many requests as the bus takes: good ones, wrong ones, rubbish."""
    dealer = new_socket(context, zmq.DEALER)
    connect(dealer, addresses.requests)
    frames = [
        wire.encode(wire.Renew("S-1", name, 1)),
        wire.encode(wire.Action("S-1", 1, 1, "alpha", 1, 1, 1.0)),
        wire.encode(wire.Halt("S-1", "r", "ann")),
        os.urandom(200),
        bytes(300_000),
    ]
    dealer.set(zmq.SNDTIMEO, 500)
    for n in count():
        dealer.send_multipart([b"", frames[n // 50 % len(frames) if n % 50 == 0 else n % 3]])
        while dealer.poll(0):
            dealer.recv_multipart()


def events(context: Context, addresses: Addresses, name: str) -> None:
    """As many events as the bus takes, on its own topic and on others'."""
    publisher = Publisher(context, addresses.events_in, name, 1, wait_s=1.0)
    beat = wire.Heartbeat(name, "agent", 1, "mad", 1.0, {}, {})
    for n in range(300_000):
        publisher.publish(f"sys.{name}" if n % 2 else "md.X.SIM.bar", beat)


def prefixes(context: Context, addresses: Addresses, name: str) -> None:
    """As many subscriptions as the bus takes."""
    subscriber = new_socket(context, zmq.SUB)
    subscriber.set(zmq.SNDHWM, 0)
    connect(subscriber, addresses.events_out)
    for n in range(100_000):
        subscriber.subscribe(f"md.{n}.")
        if n % 1_000 == 0:
            time.sleep(0.01)


def strangers(addresses: Addresses) -> None:
    """Connections that say nothing, rubbish, a NULL greeting, or a frame without an end."""
    ends = [getattr(addresses, f) for f in addresses.__struct_fields__]
    ports = [int(end.rpartition(":")[2]) for end in ends]
    held: list[socket.socket] = []
    for n in count():
        with contextlib.suppress(OSError):
            one = socket.create_connection(("127.0.0.1", ports[n % len(ports)]), timeout=1.0)
            one.setblocking(False)
            held.append(one)
            with contextlib.suppress(BlockingIOError):
                one.send((b"", os.urandom(500), GREETING, GREETING + HUGE, GREETING[:11])[n % 5])
        if len(held) > 200:
            held.pop(0).close()
        time.sleep(0.001)


def main() -> None:
    what, where, *rest = sys.argv[1:]
    os.nice(19)  # it is on another machine: what it costs itself is not the grid's
    addresses = msgspec.json.decode(where, type=Addresses)
    if what == "strangers":
        strangers(addresses)
        return
    keys, name = rest
    attack = {"requests": requests, "events": events, "prefixes": prefixes}[what]
    while True:
        context = new_context(Identity(Path(keys), name))
        with contextlib.suppress(zmq.Again):
            attack(context, addresses, name)
        context.destroy(linger=0)


if __name__ == "__main__":
    main()
