"""The processes of a vector env, as the trainer sees them: started together, ended together.

What they write is kept for the error that tells of an end. None outlives the trainer.
"""

import contextlib
import logging
import os
import select
import signal
import subprocess
import sys
import weakref
from tempfile import TemporaryFile
from typing import Final, NoReturn

import msgspec
import psutil

from envs.block import Head
from envs.vector_worker import Place
from grid.errors import ProcessDied

log = logging.getLogger(__name__)

_END_S: Final = 5.0
_TAIL_BYTES: Final = 4096


class Workers:
    """The nursery and the workers in it; see `envs.nursery`.

    Attributes:
        nursery: descriptor that is readable once the nursery has ended.
        over: why there are no workers any more, else empty.

    Args:
        head: of the shared memory; the recipes are in its letter boxes.
        memory: its descriptor.
        wake: see `Place`.
        done: see `Place`.
        spin_ns: see `Place`.
    """

    def __init__(self, head: Head, memory: int, wake: int, done: int, spin_ns: int) -> None:
        self.over = ""
        self._head = head
        self._logs = [_log() for _ in range(head.n + 1)]
        logs, nursery_log = self._logs[:-1], self._logs[-1]
        life, theirs = os.pipe()
        place = Place(head.n, memory, wake, done, theirs, logs, os.getpid(), spin_ns)
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        # the workers share the cores, so none gains by threads; and a fork needs to have but one
        threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "envs.nursery", msgspec.json.encode(place).decode()],
                stdin=subprocess.DEVNULL,
                stdout=nursery_log,
                stderr=nursery_log,
                pass_fds=(memory, wake, done, theirs, *logs),
                env={**os.environ, **threads, "PYTHONPATH": path},
                process_group=0,  # Ctrl-C reaches the whole terminal: it is for the trainer
            )
        finally:
            os.close(theirs)
        self.nursery = os.pidfd_open(self._process.pid)
        fds = (life, self.nursery, *self._logs)
        self._finalizer = weakref.finalize(self, _end, self._process, os.getpid(), fds)

    @property
    def pids(self) -> list[int]:
        """Process ids, in the order of the envs."""
        return list(self._head.pids)

    def check(self) -> None:
        """Find out whether all live.

        Raises:
            ProcessDied: one does not; then all have ended.
        """
        if self.over:
            raise ProcessDied(self.over)
        for env, said in enumerate(self._head.exits):
            if said:
                code = os.waitstatus_to_exitcode(said - 1)
                self._fail(f"env {env}: its process ended {_how(code)}", self._logs[env])
        ended = self._process.poll()
        if ended is not None:
            self._fail(f"the process that starts the envs ended {_how(ended)}", self._logs[-1])

    def silent(self, env: int, timeout_s: float) -> NoReturn:
        """Tell of a worker that does not answer, and end all.

        Raises:
            ProcessDied: always.
        """
        pid = self.pids[env]
        state = psutil.Process(pid).status() if pid else "not started"
        what = f"env {env}: no answer within {timeout_s:g} s, its process is {state}"
        self._fail(what, self._logs[env] if pid else self._logs[-1])

    def close(self) -> None:
        """Let them end, and kill those that do not; harmless when closed already."""
        if self._finalizer.alive:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_S)
            for env, file in enumerate(self._logs):
                if tail := _tail(file):
                    who = f"env {env}" if env < self._head.n else "the process that starts the envs"
                    log.warning("%s wrote: %s", who, tail)
            self._finalizer()
        self.over = self.over or "vector env: expected an open one, found it closed"

    def _fail(self, what: str, file: int) -> NoReturn:
        tail = _tail(file)
        self.over = f"{what}; its log " + (f"ends:\n{tail}" if tail else "is empty")
        self._finalizer()
        raise ProcessDied(self.over)


def _log() -> int:
    with TemporaryFile() as file:
        return os.dup(file.fileno())


def _end(nursery: subprocess.Popen[bytes], owner: int, fds: tuple[int, ...]) -> None:
    """Kill the nursery, with which the workers go, and see that all are gone."""
    if os.getpid() == owner:  # a fork of the trainer holds the object, but they are not its own
        nursery.kill()  # does nothing to one that was waited for
        nursery.wait(_END_S)
        select.select([fds[0]], [], [], _END_S)
    for fd in fds:
        os.close(fd)


def _how(code: int) -> str:
    return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"


def _tail(file: int) -> str:
    start = max(0, os.fstat(file).st_size - _TAIL_BYTES)
    return os.pread(file, _TAIL_BYTES, start).decode(errors="replace").strip()
