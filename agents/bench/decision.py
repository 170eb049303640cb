"""From a market event on the bus to the order that answers it, beside a bare REQ/REP echo.

A real grid trades a synthetic market at a fixed pace: broker, recorder, feed, node with sandbox
execution, and one agent with a trained network that follows the rows. Times are taken from the
recording: all of them are stamped in the node's process.

    p50, p99              market event published -> action accepted, its order id in the reply
    fill_p50, fill_p99    quote published that the order waited for -> its fill in the sandbox
    direct_p50            as p50, beside an echo without anything between
    of_ask, of_ways, of_policy, of_order
                          where the median goes: from the row to the decision on it; four ways over
                          the bus, and the row's features; the policy; gate, engine and answer

The echo is a REQ and a REP socket in two processes with a bare ROUTER loop between them that only
passes frames on, as the broker does with actions; over the same transport, at the same pace,
before and after the grid.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import zmq

from agents.bench.report import Row
from agents.config import RunConfig
from agents.training import train
from envs.synthetic import write_synthetic
from grid import supervisor, wire
from grid.bus import Addresses
from grid.config import convert, load
from grid.dataset import to_iso
from grid.home import Home
from grid.registrar import make_grid_key
from grid.session import Session, find
from grid.topology import GridConfig, processes
from grid.transcript import Transcript, read

DECISIONS: Final = 1_500
PACE_PER_S: Final = 100
ECHOES: Final = 400
_BYTES: Final = 160  # about an action without its observation
_TIMEOUT_MS: Final = 10_000
_COMMAND: Final = (sys.executable, str(Path(__file__).parents[2] / "launch.py"))
_ECHO: Final = """
import sys, zmq
rep = zmq.Context().socket(zmq.REP)
rep.bind(sys.argv[1])
while True:
    rep.send(rep.recv())
"""
_LOOP: Final = """
import sys, zmq
context = zmq.Context()
front, back = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
front.bind(sys.argv[1])
back.connect(sys.argv[2])
poller = zmq.Poller()
poller.register(front, zmq.POLLIN)
poller.register(back, zmq.POLLIN)
while True:
    for socket, _ in poller.poll():
        (back if socket is front else front).send_multipart(socket.recv_multipart())
"""


def run() -> list[Row]:
    """Measure; takes about a minute."""
    with TemporaryDirectory(prefix="argonaut-") as name:
        folder = Path(name)
        before, direct_before = _echo_us(folder, _LOOP), _echo_us(folder)
        recorded = _session(folder)
        after, direct_after = _echo_us(folder, _LOOP), _echo_us(folder)
    echo = np.concatenate([before, after])
    direct = float(np.median(np.concatenate([direct_before, direct_after])))
    answered, filled = _spans_us(recorded)
    median = float(np.median(answered))
    rows = []
    for label, values in (("", answered), ("fill_", filled)):
        for percent in (50, 99):
            value, baseline = np.percentile(values, percent), np.percentile(echo, percent)
            rows.append(Row.of(f"{label}p{percent}", float(value), "us", float(baseline)))
    rows.append(Row.of("direct_p50", median, "us", direct))
    for part, spent in _parts_us(recorded).items():
        rows.append(Row.of(f"of_{part}", float(np.median(spent)), "us", median))
    return rows


def run_curve() -> list[Row]:
    """Measure a grid behind keys beside one without; takes about a minute."""
    spans = []
    for mode in ("on", "off"):
        with TemporaryDirectory(prefix="argonaut-") as name:
            spans.append(_spans_us(_session(Path(name), mode))[0])
    rows = []
    for percent in (50, 99):
        on, off = (float(np.percentile(each, percent)) for each in spans)
        rows.append(Row.of(f"curve_p{percent}", on, "us", off))
    return rows


def _spans_us(run: Transcript) -> tuple[list[float], list[float]]:
    """Row published to action answered; quote published to the fill on it."""
    row_of: dict[int, int] = {}
    let_go: dict[str, int] = {}
    row_ns = market_ns = 0
    answered, filled = [], []
    for published_ns, event in run.events:
        match event:
            case wire.Bar(history=False):
                row_ns = market_ns = published_ns
            case wire.Quote():
                market_ns = published_ns
            case wire.Decision():
                row_of[event.seq] = row_ns
            case wire.Acted() if event.answer.status == "accepted":
                answered.append((published_ns - row_of[event.answer.decision_seq]) / 1e3)
            case wire.OrderUpdate(status="submitted"):
                let_go[event.client_order_id] = market_ns
            case wire.Fill():
                filled.append((published_ns - let_go[event.client_order_id]) / 1e3)
            case _:
                pass
    return answered, filled


def _parts_us(run: Transcript) -> dict[str, list[float]]:
    """Take the way from row to answer apart."""
    asked: dict[int, tuple[int, int]] = {}
    row_ns = 0
    parts: dict[str, list[float]] = {"ask": [], "ways": [], "policy": [], "order": []}
    for published_ns, event in run.events:
        match event:
            case wire.Bar(history=False):
                row_ns = published_ns
            case wire.Decision():
                asked[event.seq] = row_ns, published_ns
            case wire.Acted() if event.answer.status == "accepted":
                row_at_ns, asked_ns = asked[event.answer.decision_seq]
                policy_ns = event.action.policy_ns
                parts["ask"].append((asked_ns - row_at_ns) / 1e3)
                parts["ways"].append((event.ts_recv_ns - asked_ns - policy_ns) / 1e3)
                parts["policy"].append(policy_ns / 1e3)
                parts["order"].append((published_ns - event.ts_recv_ns) / 1e3)
            case _:
                pass
    return parts


def _session(folder: Path, security: str = "off") -> Transcript:
    home = Home(folder / "home")
    rows = DECISIONS + 600
    dataset = write_synthetic("signal", "bench", home, n=rows, seed=1)
    middle = to_iso(dataset.start_ns + 600 * dataset.interval_ns)
    ends = (to_iso(dataset.start_ns), to_iso(dataset.end_ns))
    checkpoint = train(_run_config(ends, middle), home, progress=False)
    bus = Addresses.ipc(folder / "bus")
    file = folder / "grid.toml"
    if security == "on":
        make_grid_key(home.keys)
    file.write_text(_grid(bus, middle, checkpoint) + f'[security]\nmode = "{security}"\n')
    config = load(file, GridConfig)
    supervisor.run(config, processes(config, _COMMAND, file, home), home)
    return read(Session.open(find(home.sessions, "latest")))[-1]


def _run_config(ends: tuple[str, str], middle: str) -> RunConfig:
    tree: dict[str, Any] = {
        "name": "bench",
        "data": {"dataset": "bench", "train": [ends[0], middle], "test": [middle, ends[1]]},
        "env": {
            "features": ["log_return:1", "momentum:30", "rsi:14", "log_volume", "hour_sin"],
            "window": 8,
            "steps": 100,
            "target": {"max_qty": 100.0, "levels": [-1.0, 1.0]},
        },
        "algo": {"name": "ppo", "net": [32, 32], "n_steps": 128, "batch_size": 128},
        "run": {"total_steps": 128, "n_envs": 1, "checkpoint_every_steps": 128, "device": "cpu"},
    }
    return convert(tree, RunConfig, "agents.bench.decision")


def _grid(bus: Addresses, start: str, checkpoint: Path) -> str:
    ends = "\n".join(f'{f} = "{getattr(bus, f)}"' for f in bus.__struct_fields__)
    return (
        f'name = "bench"\n[bus]\n{ends}\n[feed]\ndataset = "bench"\nstart = "{start}"\n'
        f'speed = {PACE_PER_S}\n[node]\nstrategy_id = "bench"\ncheckpoint = "{checkpoint}"\n'
        f'[[agents]]\nid = "alpha"\nrole = "champion"\ncheckpoint = "{checkpoint}"\n'
    )


def _echo_us(folder: Path, loop: str = "") -> Sequence[float]:
    """Round trips to a process that echoes, through one that runs `loop` if there is one."""
    end, middle = f"ipc://{folder}/echo", f"ipc://{folder}/loop"
    with ExitStack() as stack:
        _script(stack, _ECHO, end)
        if loop:
            _script(stack, loop, middle, end)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        stack.callback(context.term)
        req = context.socket(zmq.REQ)
        stack.callback(req.close, linger=0)
        req.connect(middle if loop else end)
        req.rcvtimeo = _TIMEOUT_MS
        times = []
        for _ in range(ECHOES):
            began_ns = time.monotonic_ns()
            req.send(bytes(_BYTES))
            req.recv()
            times.append((time.monotonic_ns() - began_ns) / 1e3)
            time.sleep(1 / PACE_PER_S)
        return times[ECHOES // 10 :]


def _script(stack: ExitStack, code: str, *arguments: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", code, *arguments])
    stack.callback(child.wait, 10)
    stack.callback(child.kill)
