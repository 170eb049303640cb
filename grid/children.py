"""The processes of a grid as the system knows them: sessions, pipes, logs and exit codes."""

import contextlib
import os
import selectors
import signal
import subprocess
from pathlib import Path

from grid.lifecycle import ProcessSpec

LAST_WAIT_S = 10.0  # for what was killed with -9
LOG_BYTES = 16 << 20  # of a log file when it is put aside
LAST_LINES = 8


class _Process:
    """A child that runs, or that could not even be started, then without `popen`."""

    def __init__(self, popen: subprocess.Popen[bytes] | None, pipe: int) -> None:
        self.popen = popen
        self.pipe = pipe

    @property
    def pid(self) -> int:
        return self.popen.pid if self.popen else 0


class Children:
    """The processes that run now, by name.

    Attributes:
        selector: readable with a child's name as data when the child has said something.

    Args:
        logs: folder of the log files, one a child; made.
    """

    def __init__(self, logs: Path) -> None:
        self.selector = selectors.DefaultSelector()
        self._running: dict[str, _Process] = {}
        self._logs = logs
        self._logs.mkdir(parents=True, exist_ok=True)
        self._log_starts: dict[str, int] = {}

    def start(self, spec: ProcessSpec) -> None:
        """Start a process, in a session of its own: a Ctrl-C is for the supervisor alone."""
        path = self.log_file(spec.name)
        if path.exists() and path.stat().st_size > LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        read, write = os.pipe()
        os.set_blocking(read, False)
        with path.open("ab") as out:
            self._log_starts[spec.name] = out.tell()
            try:
                popen = subprocess.Popen(
                    [*spec.argv, "--lifeline", str(write)],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    pass_fds=(write,),
                    start_new_session=True,
                )
            except OSError as e:
                out.write(f"{spec.argv[0]}: {e.strerror}\n".encode())
                popen = None
            finally:
                os.close(write)
        self._running[spec.name] = _Process(popen, read)
        self.selector.register(read, selectors.EVENT_READ, spec.name)

    def signal(self, name: str, signum: int) -> None:
        """Send a signal; SIGKILL goes to the whole session of the process."""
        process = self._running.get(name)
        if process is None or process.popen is None:
            return
        # its pid is its own until `reap` has waited for it
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if signum == signal.SIGKILL else os.kill)(process.pid, signum)

    def heard(self, name: str) -> bytes:
        """Return what a child has written to its pipe since the last time."""
        process = self._running[name]
        try:
            said = os.read(process.pipe, 4096)
        except BlockingIOError:
            return b""
        if not said:  # closed: of no use to wait for any more
            with contextlib.suppress(KeyError):
                self.selector.unregister(process.pipe)
        return said

    def ended(self) -> list[str]:
        """Return the children that have ended and were not reaped."""
        return [name for name, process in self._running.items() if _has_ended(process)]

    def reap(self, name: str) -> int:
        """Let an ended child go, with all that it left in its session; return its exit code."""
        self.signal(name, signal.SIGKILL)
        process = self._running.pop(name)
        with contextlib.suppress(KeyError):
            self.selector.unregister(process.pipe)
        os.close(process.pipe)
        return process.popen.wait(LAST_WAIT_S) if process.popen else 127

    def pid(self, name: str) -> int:
        """Return the process id, or 0."""
        process = self._running.get(name)
        return process.pid if process else 0

    def log_file(self, name: str) -> Path:
        """Return where a child's output goes."""
        return self._logs / f"{name}.log"

    def last_lines(self, name: str) -> str:
        """Return the end of what a child has written in its last life."""
        with self.log_file(name).open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_starts.get(name, 0), end - 4096))
            lines = file.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-LAST_LINES:])

    def close(self) -> None:
        """Kill what still runs: nothing does, unless the supervisor itself has failed."""
        for name in list(self._running):
            self.signal(name, signal.SIGKILL)
        for name in list(self._running):
            self.reap(name)
        self.selector.close()


def _has_ended(process: _Process) -> bool:
    if process.popen is None:
        return True
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, process.pid, flags) is not None
