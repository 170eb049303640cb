"""A real model server for tests, and a server that fails in a way that is asked for."""

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.procs import Proc, Procs

LAUNCH = Path(__file__).parents[2] / "launch.py"


class Served(NamedTuple):
    """A server that runs, and where."""

    proc: Proc
    zmq: str
    http: str
    grpc: str


def start(procs: Procs, home: Path, *models: str, **settings: object) -> Served:
    """Start `launch.py serve` on free ports; settings as in `max_batch=8`, `http__port=80`."""
    sets = [
        part
        for name, value in {"endpoint": "tcp://127.0.0.1:*", **_PORTS, **settings}.items()
        for part in ("--set", f"{name.replace('__', '.')}={value}")
    ]
    proc = procs.python(LAUNCH, "serve", *models, "--home", home, *sets)
    end = proc.expect("ready: ").rpartition("ready: ")[2]
    found = {name: re.search(rf"{name}: (\S+)", proc.text) for name in ("HTTP", "gRPC")}
    http, grpc = (found[name][1] if found[name] else "" for name in ("HTTP", "gRPC"))
    return Served(proc, end, http, grpc)


_PORTS = {"http__port": 0, "grpc__port": 0}


@contextlib.contextmanager
def misbehaving(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A TCP server on loopback that does `answer` with each connection; yields `host:port`."""
    listening = socket.create_server(("127.0.0.1", 0))
    ending = threading.Event()
    open_ones: list[socket.socket] = []

    def each(connected: socket.socket) -> None:
        with contextlib.suppress(OSError), connected:
            answer(connected)
            ending.wait(20)

    def accept() -> None:
        threads = []
        while not ending.is_set():
            try:
                connected, _ = listening.accept()
            except OSError:
                break
            open_ones.append(connected)
            threads.append(threading.Thread(target=each, args=(connected,)))
            threads[-1].start()
        for thread in threads:
            thread.join(20)

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield "{}:{}".format(*listening.getsockname())
    finally:
        ending.set()
        listening.shutdown(socket.SHUT_RDWR)
        for connected in open_ones:
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
        accepting.join(20)
        listening.close()
