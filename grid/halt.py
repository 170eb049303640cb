"""What the guard keeps on disk over restarts of its node: a halt, and what losses count from.

A halt ends only when a person says so.
"""

import os
from pathlib import Path

import msgspec

from grid.limits import Marks


class Halt(msgspec.Struct, frozen=True):
    """Who halted a strategy, why, and since when, UNIX ns."""

    by: str
    reason: str
    since_ns: int


def load(file: Path) -> Halt | None:
    """Return the halt in force, None if there is none; one that cannot be read is in force."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Halt)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as e:
        return Halt("unknown", f"{file} cannot be read: {e}", 0)


def save(file: Path, halt: Halt | None) -> None:
    """Put a halt in force, or end it; it is so on the disk when the call returns."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if halt is None:
        file.unlink(missing_ok=True)
    else:
        temp = file.with_suffix(".tmp")
        with temp.open("wb") as out:
            out.write(msgspec.json.encode(halt) + b"\n")
            out.flush()
            os.fsync(out.fileno())
        temp.rename(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load_marks(file: Path) -> Marks | None:
    """Return the marks kept in a file, None where there are none to be read."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Marks)
    except (OSError, msgspec.MsgspecError):
        return None


def save_marks(file: Path, marks: Marks | None) -> None:
    """Keep marks over a kill of this process; not over a power cut, which is no trading day."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if marks is None:
        file.unlink(missing_ok=True)
        return
    temp = file.with_suffix(".tmp")
    temp.write_bytes(msgspec.json.encode(marks))
    temp.rename(file)
