"""Which grids run on this machine: a lock that dies with its holder, and a state file beside it."""

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from grid.bus import Addresses
from grid.errors import BusError
from grid.home import Home
from grid.identity import Security

CLAIM_TIMEOUT_S = 0.5


class ChildState(msgspec.Struct, frozen=True, kw_only=True):
    """One process of a grid; `pid` is 0 while there is none."""

    name: str
    pid: int
    phase: str
    restarts: int
    log: str


class GridState(msgspec.Struct, frozen=True, kw_only=True):
    """A grid that runs: `pid` is its supervisor's."""

    name: str
    strategy_id: str
    pid: int
    started_ns: int
    addresses: Addresses
    children: tuple[ChildState, ...]
    security: Security = msgspec.field(default_factory=Security)


class Claim:
    """The right to be the grid of this name; held while open, and lost with the process.

    Raises:
        BusError: another process holds it.
    """

    def __init__(self, home: Home, name: str) -> None:
        self._file = _folder(home) / f"{name}.json"
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(_lock_file(self._file), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + CLAIM_TIMEOUT_S
        # whoever looks whether a grid runs holds the lock for an instant, too
        while not _locked(self._lock, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                os.close(self._lock)
                state = _read(self._file)
                who = f" as process {state.pid}" if state else ""
                raise BusError(f"grid {name!r} runs already{who}: stop it, or choose another name")
            time.sleep(0.01)
        self._position = feed_position(home, name)
        self._position.unlink(missing_ok=True)

    def write(self, state: GridState) -> None:
        """Replace the state file, whole or not at all."""
        temp = self._file.with_suffix(".tmp")
        with temp.open("wb") as out:
            out.write(msgspec.json.format(msgspec.json.encode(state)))
            out.flush()
            os.fsync(out.fileno())
        temp.rename(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None
    ) -> None:
        self._file.unlink(missing_ok=True)
        self._position.unlink(missing_ok=True)
        os.close(self._lock)


def running(home: Home) -> list[GridState]:
    """Return the grids of this home folder whose supervisor lives, by name."""
    states = (_read(f) for f in sorted(_folder(home).glob("*.json")) if _held(_lock_file(f)))
    return [s for s in states if s is not None]


def feed_position(home: Home, name: str) -> Path:
    """Return the file that a supervised feed keeps its position in; a new grid removes it."""
    return _folder(home) / f"{name}.feed"


def _folder(home: Home) -> Path:
    return home.root / "grids"


def _lock_file(file: Path) -> Path:
    return file.with_suffix(".lock")


def _held(lock_file: Path) -> bool:
    try:
        fd = os.open(lock_file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _locked(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def _locked(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(file: Path) -> GridState | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=GridState)
    except (OSError, msgspec.MsgspecError):
        return None
