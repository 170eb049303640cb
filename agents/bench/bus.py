"""Events through the broker to 1, 4 and 16 subscribers, beside a bare pyzmq proxy.

Publisher, broker and every subscriber are processes of their own; both sides carry the same number
of bytes, and nothing may be lost on either. `fanout_N` carries ready frames, so that it measures
the bus alone; `fanout_4_batch16` carries them 16 a frame, and its bare side one by one. `coded_4`
is the same with 4 subscribers when ours also encode, number and decode every event, which the bare
side never does; the latencies are measured like that, too. `recorded_4` has a recorder beside its
4 subscribers, and the same without one for its baseline; both encode every event.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec
import zmq

from agents.bench.ends import STAMP, START, TOPIC
from agents.bench.report import Row
from grid import wire
from grid.bus import (
    BATCH_EVENTS,
    Addresses,
    Publisher,
    Subscriber,
    new_context,
    wait_until_flowing,
)
from grid.context import Context
from grid.errors import BusError
from grid.identity import Identity
from grid.registrar import make_grid_key

FANOUTS = {1: 60_000, 4: 50_000, 16: 20_000}  # subscribers -> events a round
ROUNDS = 11
LATENCY_EVENTS = 1_000
LATENCY_RATE = 1_000  # events/s
LATENCY_ROUNDS = 3
CATCH_UP_S = 0.5
WAIT_S = 30.0
FRAME = wire.pack(TOPIC, "bench", 1, 1, 1, wire.Quote("X.SIM", 1, 1.1, 1.2, 1e6, 1e6))
BATCH = wire.pack_batch([FRAME] * BATCH_EVENTS)
BATCHED = 4 * 50_000  # events a round


class Server(NamedTuple):
    """A broker: its role in `agents.bench.ends`, whether it asks for keys, and for a recorder."""

    role: str
    curve: bool = False
    recorded: bool = False


_OURS: Final = Server("serve")
_PLAIN: Final = (_OURS, Server("serve_bare"))
_CURVE: Final = (Server("serve", curve=True), _OURS)
_RECORDED: Final = (Server("serve", recorded=True), _OURS)


class Sender(Protocol):
    """What publishes, ours or bare."""

    def start(self) -> None:
        """Publish what tells a subscriber that it is connected."""

    def carry(self) -> None:
        """Publish a ready frame."""

    def carry_batch(self) -> None:
        """Publish 16 events as fast as can be: ours in one frame, the bare ones one by one."""

    def send(self, ts_ns: int) -> None:
        """Make and publish an event that carries a time."""


class _Ours:
    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], addresses: Addresses) -> None:
        self._publisher = Publisher(context, addresses.events_in, "bench", 1, wait_s=WAIT_S)
        self._frame = FRAME
        wait_until_flowing(context, addresses, self._publisher, WAIT_S)

    def start(self) -> None:
        self._publisher.heartbeat("running")

    def carry(self) -> None:
        self._publisher.send(self._frame)

    def carry_batch(self) -> None:
        self._publisher.send(BATCH)

    def send(self, ts_ns: int) -> None:
        self._publisher.publish(TOPIC, wire.Quote("X.SIM", ts_ns, 1.1, 1.2, 1e6, 1e6))


class _Bare:
    def __init__(self, context: Context, addresses: Addresses) -> None:
        self._frame = bytes(len(FRAME))
        self._socket = context.socket(zmq.PUB)
        self._socket.sndhwm = 0
        if context.identity is not None:
            context.identity.as_client(self._socket)
        self._socket.connect(addresses.events_in)

    def start(self) -> None:
        self._socket.send(START)

    def carry(self) -> None:
        self._socket.send(self._frame)

    def carry_batch(self) -> None:
        for _ in range(BATCH_EVENTS):
            self.carry()

    def send(self, ts_ns: int) -> None:
        self._socket.send(STAMP.pack(ts_ns) + self._frame[STAMP.size :])


def run() -> list[Row]:
    """Measure; takes about half a minute.

    Raises:
        BusError: a process did not do its part within 30 s, or events were lost.
    """
    rows = []
    for subscribers, events in FANOUTS.items():
        rates = _taking_turns(("count", "count_bare"), subscribers, events, ROUNDS, _carried)
        rows.append(_median_row(f"fanout_{subscribers}", rates))
    rates = _taking_turns(("count", "count_bare"), 4, BATCHED, ROUNDS, _batched)
    rows.append(_median_row("fanout_4_batch16", rates))
    rates = _taking_turns(("decode", "count_bare"), 4, FANOUTS[4], ROUNDS, _coded)
    rows.append(_median_row("coded_4", rates))
    rates = _taking_turns(("count", "count"), 4, FANOUTS[4], ROUNDS, _coded, _RECORDED)
    rows.append(_median_row("recorded_4", rates))
    ours_us, bare_us = _taking_turns(
        ("late", "late_bare"), 1, LATENCY_EVENTS, LATENCY_ROUNDS, _latencies_us
    )
    for name, share in (("latency_p50", 0.5), ("latency_p99", 0.99)):
        rows.append(Row.of(name, _quantile(ours_us, share), "us", _quantile(bare_us, share)))
    return rows


def run_curve() -> list[Row]:
    """Measure ours behind keys beside ours without, as in `run`; takes about half a minute.

    `curve_bare_4` has a bare proxy in C beside it, encrypted as well, which looks at no key.

    Raises:
        BusError: as in `run`.
    """
    rows = []
    for subscribers, events in FANOUTS.items():
        rates = _taking_turns(("count", "count"), subscribers, events, ROUNDS, _carried, _CURVE)
        rows.append(_median_row(f"curve_{subscribers}", rates))
    both = (Server("serve", curve=True), Server("serve_bare", curve=True))
    rates = _taking_turns(("count", "count_bare"), 4, FANOUTS[4], ROUNDS, _carried, both)
    rows.append(_median_row("curve_bare_4", rates))
    rates = _taking_turns(("count", "count"), 4, BATCHED, ROUNDS, _batched, _CURVE)
    rows.append(_median_row("curve_4_batch16", rates))
    with_us, without_us = _taking_turns(
        ("late", "late"), 1, LATENCY_EVENTS, LATENCY_ROUNDS, _latencies_us, _CURVE
    )
    for name, share in (("curve_p50", 0.5), ("curve_p99", 0.99)):
        rows.append(Row.of(name, _quantile(with_us, share), "us", _quantile(without_us, share)))
    return rows


type Measure = Callable[[Sender, list["_Child"], int], list[float]]


def _taking_turns(
    roles: tuple[str, str],
    subscribers: int,
    events: int,
    rounds: int,
    measure: Measure,
    servers: tuple[Server, Server] = _PLAIN,
) -> tuple[list[float], list[float]]:
    """Return all measurements of two systems; the first round of each warms up.

    Args:
        roles: of their subscribers.
        subscribers: how many each has.
        events: of a round.
        rounds: that count.
        measure: what.
        servers: the broker that is measured, and the one that it is compared with.
    """
    found: tuple[list[float], list[float]] = ([], [])
    with (
        system(servers[0], roles[0], subscribers, events) as ours,
        system(servers[1], roles[1], subscribers, events) as bare,
    ):
        for n in range(rounds + 1):
            for each, server, values in zip((ours, bare), servers, found, strict=True):
                measured = measure(each.sender, each.receivers, events)
                values.extend(measured if n else ())
                if server.recorded:
                    time.sleep(CATCH_UP_S)  # or it would write in the other's turn
    return found


def _median_row(name: str, rates: tuple[list[float], list[float]]) -> Row:
    ours, bare = (statistics.median(each) for each in rates)
    return Row.of(name, ours, "events/s", bare)


def _carried(sender: Sender, receivers: list["_Child"], events: int) -> list[float]:
    start_ns = time.monotonic_ns()
    for _ in range(events):
        sender.carry()
    return [_rate(start_ns, receivers, events)]


def _batched(sender: Sender, receivers: list["_Child"], events: int) -> list[float]:
    start_ns = time.monotonic_ns()
    for _ in range(events // BATCH_EVENTS):
        sender.carry_batch()
    return [_rate(start_ns, receivers, events)]


def _coded(sender: Sender, receivers: list["_Child"], events: int) -> list[float]:
    start_ns = time.monotonic_ns()
    for _ in range(events):
        sender.send(1)
    return [_rate(start_ns, receivers, events)]


def _rate(start_ns: int, receivers: list["_Child"], events: int) -> float:
    end_ns = max(receiver.line()[0] for receiver in receivers)
    return events / (end_ns - start_ns) * 1e9


def _latencies_us(sender: Sender, receivers: list["_Child"], events: int) -> list[float]:
    start_s = time.monotonic()
    for n in range(events):
        time.sleep(max(0.0, start_s + n / LATENCY_RATE - time.monotonic()))
        sender.send(time.monotonic_ns())
    return [ns / 1e3 for receiver in receivers for ns in receiver.line()]


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))]


class _Child:
    """A process of `agents.bench.ends` and the lines of numbers that it says."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "agents.bench.ends", *arguments]
        self._popen = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        assert self._popen.stdout is not None
        self._out = self._popen.stdout
        self._pending = b""

    def line(self, wait_s: float = WAIT_S) -> list[int]:
        """Return the numbers of its next line."""
        deadline_s = time.monotonic() + wait_s
        while b"\n" not in self._pending:
            poller = zmq.Poller()
            poller.register(self._out.fileno(), zmq.POLLIN)
            if not poller.poll(max(0, round((deadline_s - time.monotonic()) * 1e3))):
                raise BusError(f"bench: no result of a subscriber within {wait_s:g} s; lost?")
            more = self._out.read(65_536)
            if not more:
                raise BusError(f"bench: a process ended with {self._popen.wait(WAIT_S)}")
            self._pending += more
        line, _, self._pending = self._pending.partition(b"\n")
        return [int(number) for number in line.split()]

    def close(self) -> None:
        self._popen.kill()
        self._popen.wait(WAIT_S)
        self._out.close()


class System(NamedTuple):
    """A broker in a process, subscribers in processes, and what publishes to them from here."""

    sender: Sender
    receivers: list[_Child]
    context: zmq.Context[zmq.Socket[bytes]]
    addresses: Addresses


@contextmanager
def system(server: Server, receiver: str, subscribers: int, events: int) -> Iterator[System]:
    """Start a broker and its subscribers, and give them with a sender once all are connected."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="argonaut-"))
        addresses = Addresses.ipc(Path(folder))
        words = [msgspec.json.encode(addresses).decode(), str(events)]
        identity = None
        if server.curve:
            make_grid_key(Path(folder) / "keys")
            identity = Identity(Path(folder) / "keys")
            words.append(f"{folder}/keys")
        stack.callback(_Child(server.role, *words).close)
        context = new_context(identity)
        stack.callback(context.destroy, linger=0)
        sender: Sender = (
            _Ours(context, addresses) if server.role == "serve" else _Bare(context, addresses)
        )
        receivers = [_Child(receiver, *words) for _ in range(subscribers)]
        for child in receivers:
            stack.callback(child.close)
        for child in receivers:
            _until_connected(sender, child)
        if server.recorded:
            stack.callback(_Child("record", *words).close)
            _until_recorded(context, addresses)
        yield System(sender, receivers, context, addresses)


def _until_recorded(context: Context, addresses: Addresses) -> None:
    heard = Subscriber(context, addresses.events_out, ["sys.recorder"])
    try:
        if heard.recv(WAIT_S) is None:
            raise BusError(f"bench: a recorder was not there within {WAIT_S:g} s")
    finally:
        heard.close()


def _until_connected(sender: Sender, child: _Child) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        sender.start()
        try:
            child.line(wait_s=0.05)
        except BusError:
            continue
        return
    raise BusError(f"bench: a subscriber was not connected within {WAIT_S:g} s")
