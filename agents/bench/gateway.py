"""Events per second from the bus to WebSockets, through the gateway's own process.

events_10    to ten clients together, at the highest of the offered rates that all of them got;
             beside a gateway that encodes each event for each client, in a frame of its own
latency_p99  milliseconds of the newest event of a frame at 2,000 events/s, ten clients; beside the
             same
"""

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec

from agents.bench.report import Row
from agents.commands.line import COMMAND
from grid import wire
from grid.bus import Addresses, Publisher, new_context, wait_until_flowing
from grid.errors import BusError

CLIENTS: Final = 10
SECONDS: Final = 3.0
RATES: Final = (2_000, 10_000, 20_000)
WHOLE: Final = 0.97  # of the offered events that each client got
_TOPIC: Final = "md.X.SIM.quote"
_START_S: Final = 30.0


def run() -> list[Row]:
    """Measure; takes about forty seconds.

    Raises:
        BusError: a process did not do its part in time.
    """
    with TemporaryDirectory(prefix="argonaut-") as name:
        folder = Path(name)
        addresses = Addresses.ipc(folder / "bus")
        ours, late_ms = _race(folder, addresses, plain=False)
        plain, plain_ms = _race(folder, addresses, plain=True)
    return [
        Row.of("events_10", ours, "events/s", plain),
        Row.of("latency_p99", late_ms, "ms", plain_ms),
    ]


def _race(folder: Path, addresses: Addresses, *, plain: bool) -> tuple[float, float]:
    port = _free_port()
    best, late_ms = 0.0, 0.0
    with contextlib.ExitStack() as stack:
        publisher = stack.enter_context(_bus(folder, addresses))
        stack.enter_context(_gateway(folder, addresses, port, plain=plain))
        for rate in RATES:
            found = _round(publisher, port, rate)
            got = [client["events"] / max(client["seconds"], 1e-9) for client in found]
            late_ms = late_ms or max(client["p99_ms"] for client in found)
            if plain or min(got) >= rate * WHOLE:
                best = max(best, sum(got))
            if min(got) < rate * WHOLE:
                break
    return best, late_ms


def _round(publisher: Publisher, port: int, rate: int) -> list[dict[str, Any]]:
    argv = ("clients", f"ws://127.0.0.1:{port}/ws", str(CLIENTS), str(SECONDS))
    with _process("-m", "agents.bench.gateway_ends", *argv) as clients:
        _line(clients)
        time.sleep(1.0)  # for ten handshakes
        began_s, sent, beat_s = time.monotonic(), 0, 0.0
        while (now_s := time.monotonic()) - began_s < SECONDS + 1.5:
            if now_s >= beat_s:
                publisher.heartbeat("bench")
                beat_s = now_s + 0.5
            due = int((now_s - began_s) * rate)
            quotes = (wire.Quote("X.SIM", n, 1.1, 1.2, 1e6, 1e6) for n in range(sent, due))
            publisher.publish_all(_TOPIC, quotes)
            sent = max(sent, due)
            time.sleep(0.002)
        found: list[dict[str, Any]] = json.loads(_line(clients))
    return found


@contextlib.contextmanager
def _bus(folder: Path, addresses: Addresses) -> Iterator[Publisher]:
    """Run a broker, and publish to it."""
    with _launched(folder, addresses, "broker"):
        context = new_context()
        publisher = Publisher(
            context, addresses.events_in, "node", time.time_ns() // 1_000_000_000, role="node"
        )
        try:
            wait_until_flowing(context, addresses, publisher, _START_S)
            yield publisher
        finally:
            publisher.close()
            context.destroy(linger=0)


@contextlib.contextmanager
def _gateway(folder: Path, addresses: Addresses, port: int, *, plain: bool) -> Iterator[None]:
    if plain:
        said = msgspec.json.encode(addresses).decode()
        starting = _process("-m", "agents.bench.gateway_ends", "plain", said, str(port))
    else:
        starting = _launched(folder, addresses, "gateway", f"[gateway]\nport = {port}\n")
    with starting:
        deadline_s = time.monotonic() + _START_S
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1.0).close()
                break
            if time.monotonic() > deadline_s:
                raise BusError(f"127.0.0.1:{port}: no gateway within {_START_S:g} s")
            time.sleep(0.05)
        yield


@contextlib.contextmanager
def _launched(
    folder: Path, addresses: Addresses, command: str, more: str = ""
) -> Iterator[subprocess.Popen[str]]:
    bus = "\n".join(f'{f} = "{getattr(addresses, f)}"' for f in addresses.__struct_fields__)
    file = folder / f"{command}.toml"
    file.write_text(
        f'name = "bench"\n[bus]\n{bus}\n[feed]\ndataset = "none"\n'
        '[node]\nstrategy_id = "S-1"\ncheckpoint = "none"\n'
        f'[[agents]]\nid = "a"\nrole = "champion"\ncheckpoint = "baseline:flat"\n{more}'
    )
    with _process(COMMAND[1], command, "--config", str(file), "--home", str(folder)) as started:
        yield started


@contextlib.contextmanager
def _process(*argv: str) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen(
        [sys.executable, *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(COMMAND[1]).parent,
    )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(10.0)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
        if started.stdout is not None:
            started.stdout.close()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None  # made so
    line = process.stdout.readline()
    if not line:
        raise BusError(f"the clients ended with {process.wait()}")
    return line


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
