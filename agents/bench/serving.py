"""One prediction of a 64-64 policy network, by every way that there is to ask for it.

    NAME_p50, NAME_p99    in this process, over ZeroMQ, over HTTP by both APIs, over gRPC, and from
                          TorchServe where it is installed; the baseline is TorchServe, or without
                          it the network in this process
    zmq_N_clients         predictions a second of N clients that ask again when they have an answer;
                          the baseline is one client
    zmq_N_batch           mean rows of a batch meanwhile; the baseline is one

All in one run, in rounds, so that a busy minute is everyone's. The clients of the last rows are one
process: what it cannot send, the server cannot answer. `TORCHSERVE` names TorchServe's program.
"""

import os
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from agents.bench.report import Row
from agents.bench.serving_ends import grpc_call, http_call, load, local_call, zmq_call
from agents.bench.serving_start import start_ours, start_torchserve
from agents.checkpoint import Checkpoint
from agents.config import RunConfig
from agents.training import train
from envs.synthetic import write_synthetic
from grid.config import convert
from grid.dataset import to_iso
from grid.home import Home

ROUNDS: Final = 5
CALLS: Final = 300  # of each way in a round
CLIENTS: Final = (1, 8, 32)
LOAD_S: Final = 2.0
_WARM: Final = 50


def run() -> list[Row]:
    """Measure; takes about half a minute, and a minute with TorchServe."""
    with TemporaryDirectory(prefix="argonaut-") as name, ExitStack() as stack:
        folder = Path(name)
        checkpoint = _checkpoint(folder)
        ours = start_ours(stack, folder, checkpoint)
        obs = np.random.default_rng(0).standard_normal(_size(checkpoint)).astype(np.float32)
        calls = {
            "in_process": local_call(checkpoint, obs),
            "zmq": zmq_call(stack, ours.zmq, obs),
            "torchserve_api": http_call(stack, ours.http, "/predictions/tick", obs),
            "oip_http": http_call(stack, ours.http, "/v2/models/tick/infer", obs),
            "oip_grpc": grpc_call(stack, ours.grpc, obs),
        }
        if program := os.environ.get("TORCHSERVE") or shutil.which("torchserve"):
            theirs, token = start_torchserve(stack, folder, checkpoint, program)
            calls["torchserve"] = http_call(stack, theirs, "/predictions/tick", obs, token)
        times = _times_us(calls)
        rows = _latencies(times)
        for clients in CLIENTS:
            rate, batch = load(ours.zmq, obs, clients, LOAD_S)
            one = rate if clients == 1 else rows[-2 * CLIENTS.index(clients)].value
            rows.append(Row.of(f"zmq_{clients}_clients", rate, "predictions/s", one))
            rows.append(Row.of(f"zmq_{clients}_batch", batch, "rows", 1.0))
    return rows


def _times_us(calls: dict[str, Callable[[], None]]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(_WARM):
            call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            for _ in range(CALLS):
                began_ns = time.perf_counter_ns()
                call()
                times[name].append((time.perf_counter_ns() - began_ns) / 1e3)
    return times


def _latencies(times: dict[str, list[float]]) -> list[Row]:
    beside = times.get("torchserve", times["in_process"])
    return [
        Row.of(
            f"{name}_p{percent}",
            float(np.percentile(values, percent)),
            "us",
            float(np.percentile(beside, percent)),
        )
        for name, values in times.items()
        for percent in (50, 99)
    ]


def _size(checkpoint: Checkpoint) -> int:
    spec = checkpoint.manifest.spec
    return spec.window * len(spec.features) + 4


def _checkpoint(folder: Path) -> Checkpoint:
    home = Home(folder / "home")
    dataset = write_synthetic("signal", "bench", home, n=600, seed=1)
    start, end = to_iso(dataset.start_ns), to_iso(dataset.end_ns)
    middle = to_iso(dataset.start_ns + 400 * dataset.interval_ns)
    tree: dict[str, Any] = {
        "name": "bench",
        "data": {"dataset": "bench", "train": [start, middle], "test": [middle, end]},
        "env": {
            "features": ["log_return:1", "momentum:30", "rsi:14"],
            "window": 4,
            "steps": 100,
            "target": {"max_qty": 100.0},
        },
        "algo": {"name": "ppo", "net": [64, 64], "n_steps": 128, "batch_size": 128},
        "run": {"total_steps": 128, "n_envs": 1, "checkpoint_every_steps": 128, "device": "cpu"},
    }
    config = convert(tree, RunConfig, "agents.bench.serving")
    return Checkpoint.open(train(config, home, progress=False))
