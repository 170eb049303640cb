"""Starts model servers to be measured: ours, and TorchServe where it is installed."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from agents.checkpoint import Checkpoint
from agents.registry.export import export
from grid.errors import ProcessDied

_COMMAND: Final = (sys.executable, str(Path(__file__).parents[2] / "launch.py"))
_START_S: Final = 120.0
_END_S: Final = 20.0


class Ends(NamedTuple):
    """Where our server is."""

    zmq: str
    http: str
    grpc: str


def start_ours(stack: ExitStack, folder: Path, checkpoint: Checkpoint) -> Ends:
    """Start `launch.py serve` with model `tick`, and wait until it is ready."""
    log = folder / "serving.log"
    end = f"ipc://{folder}/serving"
    settings = (f"endpoint={end}", "http.port=0", "grpc.port=0")
    argv = [*_COMMAND, "serve", f"tick={checkpoint.path}", "--home", str(folder / "home")]
    for setting in settings:
        argv += ["--set", setting]
    _start(stack, argv, log)
    _until(lambda: "ready: " in log.read_text(), log)
    text = log.read_text()
    found = [re.search(rf"{name}: (\S+)", text) for name in ("HTTP", "gRPC")]
    http_end, grpc_end = (match[1] if match else "" for match in found)
    return Ends(end, http_end, grpc_end)


def start_torchserve(
    stack: ExitStack, folder: Path, checkpoint: Checkpoint, program: str
) -> tuple[str, str]:
    """Start TorchServe with the same network, one worker; return its address and token."""
    own = folder / "torchserve"
    export(checkpoint, own, "mar", "tick")
    ports = _free_ports(5)
    names = ("inference_address", "management_address", "metrics_address")
    lines = [f"{n}=http://127.0.0.1:{p}" for n, p in zip(names, ports[:3], strict=True)]
    lines += [f"grpc_inference_port={ports[3]}", f"grpc_management_port={ports[4]}"]
    (own / "ts.properties").write_text("\n".join([*lines, "default_workers_per_model=1"]))
    argv = [
        program, "--start", "--ncs", "--foreground", "--model-store", str(own),
        "--models", "tick=tick.mar", "--ts-config", str(own / "ts.properties"),
    ]  # fmt: skip
    more = {
        "PATH": f"{Path(program).parent}:{os.environ.get('PATH', '')}",
        "TMPDIR": str(own),  # else it finds another that runs, and gives way
        "LOG_LOCATION": str(own / "logs"),
        "METRICS_LOCATION": str(own / "logs"),
    }
    log = folder / "torchserve.log"
    _start(stack, argv, log, more, own)
    keys = own / "key_file.json"
    _until(lambda: keys.exists() and b'"API"' in keys.read_bytes(), log)
    token = str(json.loads(keys.read_bytes())["inference"]["key"])
    _until(lambda: _answers(ports[0], checkpoint, token), log)
    return f"http://127.0.0.1:{ports[0]}", token


def _answers(port: int, checkpoint: Checkpoint, token: str) -> bool:
    spec = checkpoint.manifest.spec
    body = json.dumps([0.0] * (spec.window * len(spec.features) + 4))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_END_S)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    try:
        connection.request("POST", "/predictions/tick", body, headers)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _start(
    stack: ExitStack,
    argv: Sequence[str],
    log: Path,
    more: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> None:
    with log.open("wb") as out:
        child = subprocess.Popen(
            argv,
            stdout=out,
            stderr=out,
            env={**os.environ, **(more or {})},
            cwd=folder,
            start_new_session=True,
        )

    def end() -> None:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_END_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # TorchServe leaves its own children behind
        child.wait(_END_S)

    stack.callback(end)


def _until(fact: Callable[[], bool], log: Path) -> None:
    deadline_s = time.monotonic() + _START_S
    while not fact():
        if time.monotonic() > deadline_s:
            said = log.read_text(errors="replace")[-500:]
            raise ProcessDied(f"{log.stem} was not ready within {_START_S:g} s: {said}")
        time.sleep(0.05)


def _free_ports(n: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports
