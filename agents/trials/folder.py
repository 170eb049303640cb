"""A grid's folder, in which one launcher at a time may write.

NAME/grid.json       the config, resolved
NAME/events.jsonl    what happened: see `agents.trials.journal`
NAME/live.json       what the running trials do at the moment; nothing depends on it
NAME/lock            held by the launcher, with its process id in it
NAME/datasets/       what trials read, the holdout cut off
NAME/runs/TRIAL/     see `agents.run`; with `result.json` and `tracks.safetensors` when done
NAME/logs/TRIAL.log  what a trial has written
NAME/reports/        what `grid finalize` found on the holdout
"""

import fcntl
import os
import shutil
import signal
import time
from typing import Any, Final

import msgspec

from agents.trials import journal
from agents.trials.axes import flatten
from agents.trials.config import TrainingGrid
from agents.trials.events import Event
from agents.trials.messages import Beat
from grid.config import convert, dump
from grid.durable import write_atomic
from grid.errors import ConfigError, TrialsError
from grid.home import Home

FREE_TO_CHANGE: Final = ("workers", "budget")
_CLAIM_S: Final = 0.5


class Live(msgspec.Struct, frozen=True):
    """The last beats, by trial; `at_ns` is when."""

    at_ns: int
    beats: dict[str, Beat] = {}


class Folder:
    """Paths of a grid, and the right to write there.

    Args:
        home: that the grid is in.
        name: of the grid.
    """

    def __init__(self, home: Home, name: str) -> None:
        self.name = name
        self.path = home.root / "grids" / name
        self.home = Home(self.path)
        self.journal = self.path / journal.NAME
        self.config = self.path / "grid.json"
        self._live = self.path / "live.json"
        self._lock = -1

    @property
    def exists(self) -> bool:
        """Whether a grid of this name has begun."""
        return self.journal.exists() and self.config.exists()

    def events(self) -> list[Event]:
        """Return all that happened.

        Raises:
            TrialsError: there is no such grid, or its journal is damaged.
        """
        if not self.exists:
            raise TrialsError(f"no grid {self.name!r} in {self.path.parent}; `grid run` begins one")
        return journal.read(self.journal)

    def grid(self) -> TrainingGrid:
        """Return the config that the grid runs with.

        Raises:
            TrialsError: it is damaged, or there is none.
        """
        try:
            return convert(
                msgspec.json.decode(self.config.read_bytes()), TrainingGrid, str(self.config)
            )
        except FileNotFoundError as e:
            raise TrialsError(f"no grid {self.name!r} in {self.path.parent}") from e
        except msgspec.MsgspecError as e:
            raise TrialsError(f"{self.config}: damaged: {e}") from e

    def keep(self, grid: TrainingGrid) -> None:
        """Write the config down.

        Raises:
            ConfigError: the grid goes on with another one.
        """
        if self.config.exists():
            check_same(self.name, self.grid(), grid)
        raw = msgspec.json.format(msgspec.json.encode(dump(grid)), indent=1)
        write_atomic(self.config, raw)

    def lock(self) -> None:
        """Become the launcher of this grid.

        Raises:
            TrialsError: another process is.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        deadline = time.monotonic() + _CLAIM_S
        while not _locked(fd, fcntl.LOCK_EX):  # who looks on holds the lock for an instant, too
            if time.monotonic() > deadline:
                os.close(fd)
                raise TrialsError(
                    f"grid {self.name!r} runs already, as process {self._pid()}: look at it with "
                    "`grid status`, end it with `grid stop`"
                )
            time.sleep(0.01)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._lock = fd

    def unlock(self) -> None:
        """Let go."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def clear(self) -> None:
        """Remove all that a grid of this name has left; the lock must be held."""
        self.journal.unlink(missing_ok=True)  # first: what a crash leaves of the rest is no grid
        for entry in self.path.iterdir():
            if entry.name == "lock":
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    @property
    def launcher(self) -> int:
        """Process id of the running launcher, 0 when there is none."""
        try:
            fd = os.open(self.path / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0
        try:
            return 0 if _locked(fd, fcntl.LOCK_SH) else self._pid()
        finally:
            os.close(fd)

    def stop(self, timeout_s: float) -> bool:
        """Ask the launcher to stop and wait; return whether there was one.

        Raises:
            TrialsError: it still runs after `timeout_s`.
        """
        pid = self.launcher
        if not pid:
            return False
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + timeout_s
        while self.launcher:
            if time.monotonic() > deadline:
                raise TrialsError(
                    f"grid {self.name!r}: process {pid} did not stop within {timeout_s:g} s"
                )
            time.sleep(0.05)
        return True

    def show(self, beats: dict[str, Beat]) -> None:
        """Write what the running trials do, for who looks on from outside."""
        draft = self._live.with_suffix(".tmp")
        draft.write_bytes(msgspec.json.encode(Live(time.time_ns(), beats)))
        draft.rename(self._live)

    def shown(self) -> dict[str, Beat]:
        """Return the last beats, none where nothing was shown."""
        try:
            return msgspec.json.decode(self._live.read_bytes(), type=Live).beats
        except (OSError, msgspec.MsgspecError):
            return {}

    def _pid(self) -> int:
        text = (self.path / "lock").read_text().strip()
        return int(text) if text.isdecimal() else 0


def _locked(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def check_same(name: str, was: TrainingGrid, now: TrainingGrid) -> None:
    """Refuse to go on with another config; workers and budget may change.

    Raises:
        ConfigError: with the keys that differ.
    """
    before, after = (flatten(_plain(grid)) for grid in (was, now))
    keys = [
        k
        for k in sorted(before.keys() | after.keys())
        if before.get(k) != after.get(k) and k.partition(".")[0] not in FREE_TO_CHANGE
    ]
    if keys:
        said = ", ".join(f"{k} was {before.get(k)!r}, is {after.get(k)!r}" for k in keys[:4])
        raise ConfigError(f"grid {name!r} cannot go on with another config: {said}")


def _plain(grid: TrainingGrid) -> dict[str, Any]:
    tree: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(dump(grid)))
    return tree
