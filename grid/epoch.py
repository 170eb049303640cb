"""Epochs: a number for every start of a process, from a counter on disk and never from a clock."""

import fcntl
import os
import time
from pathlib import Path
from urllib.parse import quote

from grid.errors import BusError

LOCK_TIMEOUT_S = 5.0


def next_epoch(folder: Path, name: str) -> int:
    """Count up and return the epoch of `name`: 1 at first, greater at each call, across crashes.

    The new number is on disk before it is returned.

    Raises:
        BusError: the counter is damaged, or another process holds it for too long.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{quote(name, safe='')}.epoch"
    lock = os.open(file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(lock, file)
        epoch = _read(file) + 1
        _write(file, epoch)
    finally:
        os.close(lock)
    return epoch


def _lock(fd: int, file: Path) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise BusError(f"{file}: another process holds it for {LOCK_TIMEOUT_S} s") from None
            time.sleep(0.001)


def _read(file: Path) -> int:
    try:
        text = file.read_text()
    except FileNotFoundError:
        return 0
    # a counter that began again at 1 would let the dead speak for the living
    if not text.strip().isdecimal():
        raise BusError(f"{file}: expected the last epoch as a number, found {text[:40]!r}")
    return int(text)


def _write(file: Path, epoch: int) -> None:
    temp = file.with_suffix(".tmp")
    with temp.open("w") as out:
        out.write(f"{epoch}\n")
        out.flush()
        os.fsync(out.fileno())
    temp.rename(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
