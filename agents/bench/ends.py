"""The processes of the benchmark of the bus: brokers and subscribers, ours and bare ones.

`python -m agents.bench.ends ROLE ADDRESSES COUNT [KEYS]`. A subscriber says when it is there, and
after each `COUNT` events when the last of them came, or how late each of them was. The bare ones
are plain pyzmq with queues that hold everything; nothing of the grid is in them.
"""

import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import zmq

from grid import broker, identity, process, wire
from grid.bus import Addresses, Subscriber, new_context
from grid.identity import OWN

TOPIC = "md.X.SIM.quote"
START = b"start"  # a bare subscriber is there once it has seen this
STAMP = struct.Struct("=q")
WAIT_S = 60.0


def serve(addresses: Addresses) -> None:
    """Be the grid's broker."""
    broker.run(addresses, process.start("bench-broker"), epoch=1)


def serve_bare(addresses: Addresses) -> None:
    """Be `zmq.proxy` between an XSUB and an XPUB."""
    context = zmq.Context()
    inner, outer = context.socket(zmq.XSUB), context.socket(zmq.XPUB)
    inner.rcvhwm = outer.sndhwm = 0
    if OWN.identity is not None:
        for socket in (inner, outer):  # encrypted, and open to every key
            socket.curve_server = True
            socket.curve_secretkey = OWN.identity.key.secret.encode()
    inner.bind(addresses.events_in)
    outer.bind(addresses.events_out)
    zmq.proxy(inner, outer)


def record(addresses: Addresses, n: int) -> None:
    """Record all events beside the sockets."""
    from grid import recorder

    process.step_back()
    sessions = Path(addresses.events_in.removeprefix("ipc://")).parent / "sessions"
    recorder.run(addresses, process.start("bench-recorder"), sessions, label="bench", epoch=1)


def count(addresses: Addresses, n: int) -> None:
    """Receive frames that may be batches; after each `n` events say when the last one came."""
    seen, batches = 0, False
    for frame in _subscriber(addresses).stream(WAIT_S):
        if not seen:
            if not frame.startswith(b"md."):
                continue  # heartbeats come before a round and never within it
            batches = wire.is_batch(frame)
        seen += wire.events_in(frame) if batches else 1
        if seen == n:
            _say(time.monotonic_ns())
            seen = 0


def decode(addresses: Addresses, n: int) -> None:
    """Receive and decode events, body and all; after each `n` say when the last one came."""
    subscriber = _subscriber(addresses)
    seen = 0
    while (event := subscriber.recv(WAIT_S)) is not None:
        if isinstance(wire.event(event[1]), wire.Quote):
            seen += 1
            if seen % n == 0:
                _say(time.monotonic_ns())


def count_bare(addresses: Addresses, n: int) -> None:
    """Receive messages; after each `n` say when the last one came."""
    subscriber = _bare_subscriber(addresses)
    seen = 0
    while (message := subscriber.recv()) != b"":
        if message != START:
            seen += 1
            if seen % n == 0:
                _say(time.monotonic_ns())


def late(addresses: Addresses, n: int) -> None:
    """Receive and decode events that carry their time; after each `n` say how late they were."""
    subscriber = _subscriber(addresses)
    took_ns: list[int] = []
    while (event := subscriber.recv(WAIT_S)) is not None:
        now_ns = time.monotonic_ns()
        if event[0] == TOPIC:
            quote = wire.event(event[1])
            assert isinstance(quote, wire.Quote)
            took_ns.append(now_ns - quote.ts_event_ns)
            if len(took_ns) == n:
                _say(*took_ns)
                took_ns.clear()


def late_bare(addresses: Addresses, n: int) -> None:
    """Receive messages that carry their time; after each `n` say how late they were."""
    subscriber = _bare_subscriber(addresses)
    took_ns: list[int] = []
    while (message := subscriber.recv()) != b"":
        now_ns = time.monotonic_ns()
        if message != START:
            took_ns.append(now_ns - STAMP.unpack_from(message)[0])
            if len(took_ns) == n:
                _say(*took_ns)
                took_ns.clear()


def _subscriber(addresses: Addresses) -> Subscriber:
    subscriber = Subscriber(new_context(), addresses.events_out, ["md.", "sys.bench"])
    subscriber.recv(WAIT_S)
    _say(0)
    return subscriber


def _bare_subscriber(addresses: Addresses) -> zmq.Socket[bytes]:
    subscriber = zmq.Context().socket(zmq.SUB)
    subscriber.rcvhwm = 0
    subscriber.rcvtimeo = round(WAIT_S * 1e3)
    if OWN.identity is not None:
        OWN.identity.as_client(subscriber)
    subscriber.subscribe(b"")
    subscriber.connect(addresses.events_out)
    subscriber.recv()
    _say(0)
    return subscriber


def _say(*numbers: int) -> None:
    sys.stdout.write(" ".join(map(str, numbers)) + "\n")
    sys.stdout.flush()


ROLES: Final[dict[str, Callable[[Addresses, int], None]]] = {
    "count": count,
    "count_bare": count_bare,
    "decode": decode,
    "late": late,
    "late_bare": late_bare,
    "record": record,
}


def main() -> None:
    """Be what the command line says."""
    role, where, n, *keys = sys.argv[1:]
    addresses = msgspec.json.decode(where, type=Addresses)
    if keys:
        identity.enter(identity.Security(mode="on"), addresses, Path(keys[0]))
    if role == "serve":
        serve(addresses)
    elif role == "serve_bare":
        serve_bare(addresses)
    else:
        ROLES[role](addresses, int(n))


if __name__ == "__main__":
    main()
