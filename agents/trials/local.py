"""Trials as processes of this machine, within its cores and the memory of its GPUs."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec

from agents.trials.config import Workers
from agents.trials.gpus import Gpu, found, places
from agents.trials.messages import Died, Message, Order
from agents.trials.nursery import MESSAGE_BYTES, Ask, Ended, Fork, Kill, Told
from grid.errors import ConfigError, ProcessDied
from grid.home import Home

LOGS: Final = "logs"
NURSERY_LOG: Final = "nursery.log"
_ROOT: Final = Path(__file__).resolve().parents[2]
_END_S: Final = 10.0


class Local:
    """The pool: a nursery that forks trials.

    Args:
        home: of the grid.
        workers: how many at once, and what each may use.

    Raises:
        ConfigError: there is not room for one trial.
    """

    name = "local"

    def __init__(self, home: Home, workers: Workers) -> None:
        self._home, self._workers = home, workers
        self._gpus = found() if workers.gpu_memory_mb else []
        self._places = places(self._gpus, workers.gpu_memory_mb)
        self.slots = slots(workers, len(os.sched_getaffinity(0)), self._gpus)
        self._running: dict[str, tuple[Order, int]] = {}  # trial -> order, start of its log
        self._held: dict[str, Order] = {}  # until an earlier process of the trial is gone
        self._free_places = list(self._places)
        self._logs = home.root / LOGS
        self._logs.mkdir(parents=True, exist_ok=True)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._link = ours
        threads = {"OMP_NUM_THREADS": str(workers.cores), "OPENBLAS_NUM_THREADS": "1"}
        path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        log = self._logs / NURSERY_LOG
        with theirs, log.open("ab") as out:
            command = (sys.executable, "-m", "agents.trials.nursery")
            self._nursery = subprocess.Popen(
                [*command, str(home.root.resolve()), str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                pass_fds=(theirs.fileno(),),
                env={**os.environ, **threads, "PYTHONPATH": path},
                start_new_session=True,
            )

    @property
    def free(self) -> int:
        """Slots in which nothing runs."""
        return self.slots - len(self._running)

    @property
    def pid(self) -> int:
        """Process id of the nursery."""
        return self._nursery.pid

    def submit(self, order: Order) -> None:
        """Fork a process for a trial, once an earlier one of it is gone."""
        if order.trial in self._running:
            self._held[order.trial] = order
            return
        if self._free_places:
            gpu = self._free_places.pop(0)
            share = self._workers.gpu_memory_mb / self._gpus[gpu].total_mb
            order = msgspec.structs.replace(order, gpu=self._gpus[gpu].index, gpu_share=share)
        log = self.log_file(order.trial)
        start = log.stat().st_size if log.exists() else 0
        self._running[order.trial] = (order, start)
        self._ask(Fork(order, str(log)))

    def poll(self, timeout_s: float) -> list[Message]:
        """Return what trials have said."""
        messages: list[Message] = []
        while select.select([self._link], [], [], 0.0 if messages else timeout_s)[0]:
            told: Told = msgspec.json.decode(self._receive(), type=Told)
            match told:
                case Ended():
                    messages.append(self._ended(told))
                case Died():
                    messages.append(msgspec.structs.replace(told, log=self._tail(told.trial)))
                case _:
                    messages.append(told)
        return messages

    def _receive(self) -> bytes:
        try:
            raw = self._link.recv(MESSAGE_BYTES)
        except ConnectionResetError:
            raw = b""
        if raw:
            return raw
        code = self._nursery.wait(_END_S)
        log = self._logs / NURSERY_LOG
        last = tail(log, 0, 1) or "empty"
        raise ProcessDied(
            f"the process that starts the trials ended with code {code}; its log {log} ends: {last}"
        )

    def cancel(self, trial: str) -> None:
        """Kill a trial's process, if it runs."""
        self._held.pop(trial, None)
        if trial in self._running:
            self._ask(Kill(trial))

    def close(self) -> None:
        """Kill all, and wait until they are gone."""
        self._link.close()  # the nursery ends, and with it the trials
        try:
            self._nursery.wait(1.0)
        except subprocess.TimeoutExpired:
            self._nursery.send_signal(signal.SIGKILL)
            self._nursery.wait(_END_S)

    def log_file(self, trial: str) -> Path:
        """Return where a trial's output goes."""
        return self._logs / f"{trial}.log"

    def _ask(self, ask: Ask) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # `poll` tells
            self._link.send(msgspec.json.encode(ask))

    def _ended(self, told: Ended) -> Message:
        order, _ = self._running[told.trial]
        why = f"exited with code {told.code}"
        if told.code < 0:
            why = f"was killed by {signal.Signals(-told.code).name}"
        log = self._tail(told.trial)
        del self._running[told.trial]
        if order.gpu >= 0:
            self._free_places.append([g.index for g in self._gpus].index(order.gpu))
        if told.trial in self._held:
            self.submit(self._held.pop(told.trial))
        return Died(trial=told.trial, attempt=told.attempt, why=why, log=log)

    def _tail(self, trial: str) -> str:
        if trial not in self._running:
            return ""
        return tail(self.log_file(trial), self._running[trial][1], self._workers.log_lines)


def tail(file: Path, start: int, lines: int) -> str:
    """Return the last lines of a log file, none before byte `start`."""
    if not file.exists():
        return ""
    with file.open("rb") as log:
        end = log.seek(0, os.SEEK_END)
        log.seek(max(start, end - 8192))
        text = log.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:])


def slots(workers: Workers, cores: int, gpus: list[Gpu]) -> int:
    """Return how many trials run at once.

    Raises:
        ConfigError: not one.
    """
    room = max(1, cores // workers.cores)
    if workers.gpu_memory_mb:
        fitting = len(places(gpus, workers.gpu_memory_mb))
        if fitting == 0:
            have = ", ".join(f"{g.free_mb:,.0f} MB free on {g.index}" for g in gpus) or "no GPU"
            raise ConfigError(
                f"key workers.gpu_memory_mb: expected a GPU with {workers.gpu_memory_mb:,.0f} MB "
                f"free, found {have}"
            )
        room = min(room, fitting)
        if workers.processes != "auto":
            return min(fitting, workers.processes)
    return room if workers.processes == "auto" else workers.processes
