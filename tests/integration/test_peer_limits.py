"""What a broker bears from peers without a key: silence, huge frames, too many of them."""

import contextlib
import socket
import sys
import time
from pathlib import Path

import msgspec
import zmq

from grid import registrar
from grid.bus import Publisher, Subscriber, wait_until_flowing
from tests.support.attacker import GREETING
from tests.support.procs import SERVE, Procs, until
from tests.support.secured import Beats, Someone, secured, tcp

HANDSHAKE_S = 2.0  # as docs/security.md says


def port_of(end: str) -> int:
    return int(end.rpartition(":")[2])


def is_open(one: socket.socket) -> bool:
    """Whether the other side has not closed it; what it says is passed over."""
    one.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        try:
            while one.recv(4096):
                pass
        except ConnectionResetError:
            pass
        return False
    return True


def test_handshake_that_does_not_end_is_ended(procs: Procs, tmp_path: Path) -> None:
    with secured(procs, tcp(), tmp_path) as grid, contextlib.ExitStack() as stack:
        ends = (grid.addresses.events_in, grid.addresses.requests)
        held = []
        for n in range(60):
            one = socket.create_connection(("127.0.0.1", port_of(ends[n % 2])))
            stack.callback(one.close)
            one.send((b"", GREETING[:10], GREETING[:12] + b"CURVE".ljust(20, b"\0"))[n % 3] or b"")
            held.append(one)
        began_s = time.monotonic()
        until(lambda: not any(map(is_open, held)), "the end of them all", HANDSHAKE_S + 3.0)
        print(f"60 slow handshakes were over after {time.monotonic() - began_s:.1f} s")
        grid.someone().publisher("node")  # events flow


def test_frame_larger_than_allowed_ends_its_connection_and_nothing_else(
    procs: Procs, context: "zmq.Context[zmq.Socket[bytes]]", tmp_path: Path
) -> None:
    addresses = tcp()
    procs.serve("broker", addresses, tmp_path)
    subscriber = Subscriber(context, addresses.events_out, ["sys.good"])
    good = Publisher(context, addresses.events_in, "good", 1)
    wait_until_flowing(context, addresses, good, 10.0)
    for end, kind in ((addresses.events_in, zmq.PUB), (addresses.requests, zmq.DEALER)):
        huge = context.socket(kind)
        monitor = huge.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        huge.connect(end)
        assert monitor.poll(5_000)
        monitor.recv_multipart()
        until(lambda s=huge, m=monitor: s.send(bytes(2 << 20)) or m.poll(100), "the cut", 10.0)
        huge.disable_monitor()
        huge.close(linger=0)
        monitor.close()
    until(lambda: good.heartbeat("running") and subscriber.recv(0.1), "a heartbeat after it")
    subscriber.close()
    good.close()


def test_connections_beyond_the_limit_are_closed_and_those_before_stay(
    procs: Procs, tmp_path: Path
) -> None:
    addresses = tcp()
    registrar.make_grid_key(tmp_path / "keys")
    where = msgspec.json.encode(addresses).decode()
    argv = [sys.executable, SERVE, "broker", where, tmp_path, "--keys", tmp_path / "keys"]
    # 256 descriptors are spare, and the rest is for four endpoints: 36 connections each
    procs.start("prlimit", "--nofile=400:400", *argv, lifeline=True).ready()
    with contextlib.ExitStack() as stack:
        own = Someone(tmp_path / "keys", "grid", addresses, stack)
        publisher, beats = own.publisher("node"), Beats(own)
        for _ in range(60):
            one = socket.create_connection(("127.0.0.1", port_of(addresses.requests)))
            stack.callback(one.close)
            one.send(GREETING[:12])
        beats.until(peers_crowded=20)
        publisher.heartbeat("running")
        beats.until()
