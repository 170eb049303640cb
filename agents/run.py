"""The folder of a training run, in which one process at a time may write.

NAME/config.json      the config, resolved
NAME/checkpoints/     see `agents.checkpoint`
NAME/latest           digest of the newest checkpoint
NAME/tb/              TensorBoard events
NAME/progress.jsonl   the same numbers, a line each time they are logged
"""

import fcntl
import os
import shutil
import time
from pathlib import Path
from typing import Any, Self

import msgspec

from agents.checkpoint import LATEST, RESUME, Checkpoint, drop_resume
from agents.config import RunConfig
from grid.config import dump
from grid.durable import write_atomic
from grid.errors import ConfigError


class Run:
    """A run's folder, locked while it is open.

    Args:
        folder: of the run.
        config: of the run.
        resume: go on with the run that is there, if any.
        replace: remove the run that is there, if any; goes before `resume`.

    Raises:
        ConfigError: the run is there and neither was asked for, it has another config, or another
            process is training it.
    """

    def __init__(
        self, folder: Path, config: RunConfig, *, resume: bool = False, replace: bool = False
    ) -> None:
        self.folder = folder
        self.checkpoints = folder / "checkpoints"
        self.tb = folder / "tb"
        self.progress = folder / "progress.jsonl"
        file = folder / "config.json"
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(folder)
        try:
            if replace or not file.exists():
                self._clear()  # without a config it is what a crash left behind
            elif resume:
                _check_equal(file, config)
            else:
                raise ConfigError(
                    f"run {config.name!r} exists in {folder}: go on with --resume, begin anew with "
                    "--replace, or choose another name"
                )
            if not file.exists():
                raw = msgspec.json.format(msgspec.json.encode(dump(config)), indent=1)
                write_atomic(file, raw)
            for draft in self.checkpoints.glob(".draft-*"):  # left by a process that was killed
                shutil.rmtree(draft, ignore_errors=True)
        except BaseException:
            self.close()
            raise

    def latest(self) -> Checkpoint | None:
        """Return the newest checkpoint, None before the first."""
        return Checkpoint.open(self.folder) if (self.folder / LATEST).exists() else None

    def advance(self, checkpoint: Checkpoint) -> None:
        """Make `checkpoint` the newest; older ones lose what only further training needs."""
        write_atomic(self.folder / LATEST, checkpoint.digest.encode() + b"\n")
        for other in self.checkpoints.iterdir():
            if other != checkpoint.path and (other / RESUME).is_dir():
                drop_resume(other)

    def close(self) -> None:
        """Let go of the folder."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _clear(self) -> None:
        # config.json goes first: what is left behind by a crash is then no run, and is cleared too
        (self.folder / "config.json").unlink(missing_ok=True)
        for entry in self.folder.iterdir():
            if entry.name != "lock":
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def wait_until_free(folder: Path, timeout_s: float) -> None:
    """Return when no process trains the run, or after `timeout_s`: one that was killed lingers."""
    deadline = time.monotonic() + timeout_s
    while folder.exists() and time.monotonic() < deadline:
        try:
            os.close(_locked(folder))
        except ConfigError:
            time.sleep(0.05)
        else:
            return


def _locked(folder: Path) -> int:
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        os.close(fd)
        raise ConfigError(f"run {folder.name!r} is being trained by another process") from e
    return fd


def _check_equal(file: Path, config: RunConfig) -> None:
    try:
        was = _flat(msgspec.json.decode(file.read_bytes()))
    except msgspec.MsgspecError as e:
        raise ConfigError(f"{file}: damaged: {e}") from e
    now = _flat(msgspec.json.decode(msgspec.json.encode(dump(config))))
    keys = sorted(k for k in was.keys() | now.keys() if was.get(k) != now.get(k))
    if keys:
        changes = ", ".join(f"{k} was {was.get(k)!r}, is {now.get(k)!r}" for k in keys)
        raise ConfigError(f"run {config.name!r} cannot be resumed with another config: {changes}")


def _flat(tree: Any, at: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {at: tree}
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{at}.{key}" if at else key)
    return flat
