"""What every child does first: a name, a log, ears for signals, and a line to its supervisor.

The supervisor hands down the writing end of a pipe: one byte `R` when the child is ready, one byte
`.` at each beat of its working thread. A child without a supervisor has no pipe and needs none.
"""

import ctypes
import logging
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Final

from grid.errors import ProcessDied

READY: Final = b"R"
BEAT: Final = b"."

_STEP_BACK: Final = 5  # of 19; a third of the share of a process that does not
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15


class Lifeline:
    """The process's tie to its supervisor, and the one place that says when to stop.

    Attributes:
        stopping: true after SIGTERM, SIGINT, and when the supervisor is gone; loops watch it.
        wake_fd: readable from then on, for loops that wait on descriptors.

    Args:
        fd: writing end of the supervisor's pipe, or None without a supervisor.
    """

    def __init__(self, fd: int | None = None) -> None:
        self.stopping = False  # no threading.Event: a signal's handler could wait for its lock
        self.wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._fd = fd
        if fd is not None:
            try:
                os.set_inheritable(fd, False)
                os.set_blocking(fd, False)
                os.write(fd, b"")
            except OSError as e:
                raise ProcessDied(f"lifeline {fd}: expected an open pipe: {e.strerror}") from e

    def ready(self) -> None:
        """Tell the supervisor that others may now count on this process."""
        self._say(READY)

    def beat(self) -> None:
        """Tell the supervisor that the working thread works; call it from nowhere else."""
        self._say(BEAT)

    def end(self) -> None:
        """Ask this process to stop; safe from any thread and from a signal's handler."""
        self.stopping = True
        os.eventfd_write(self.wake_fd, 1)

    def close(self) -> None:
        """Close the descriptors."""
        fds = {self.wake_fd, self._fd} - {None, -1}
        self.wake_fd, self._fd = -1, None
        for fd in fds:
            os.close(fd)  # type: ignore[arg-type]

    def _say(self, byte: bytes) -> None:
        if self._fd is None:
            return
        try:
            os.write(self._fd, byte)
        except BlockingIOError:
            pass  # a supervisor that reads nothing has a full pipe of beats already
        except BrokenPipeError:
            self.end()


def start(name: str, fd: int | None = None, log_file: Path | None = None) -> Lifeline:
    """Make this process a child of the grid; call once, from the main thread.

    With a supervisor it dies when the supervisor dies, even one killed with -9 and even while it
    is stopped or stuck itself; that is why the signal is SIGKILL and nothing softer.

    Args:
        name: of the process, in `ps` and in the log.
        fd: writing end of the supervisor's pipe.
        log_file: the log goes there too; it always goes to stderr.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)
    log_to(name, log_file)
    life = Lifeline(fd)
    if fd is not None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        life.beat()  # finds out whether the supervisor died before the line above

    def end(number: int, frame: FrameType | None) -> None:
        life.end()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    return life


def step_back() -> None:
    """Let the other processes of the grid go first where all want the processor."""
    os.nice(_STEP_BACK)


class _OneLine(logging.Formatter):
    """One line a record, whatever it holds: a traceback must not look like other records."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """Return the record with its line breaks written as ` | `."""
        return " | ".join(super().format(record).splitlines())


def log_to(name: str, file: Path | None = None) -> None:
    """Log to stderr and, if given, to `file`: UTC time, level, process, logger, message."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(file))
    form = _OneLine(
        "%(asctime)s.%(msecs)03dZ %(levelname)s %(process_name)s %(name)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
        defaults={"process_name": name},
    )
    for handler in handlers:
        handler.setFormatter(form)
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
