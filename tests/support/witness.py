"""What a recorder had received when it was killed: stamps in a file that outlives it."""

import mmap
import time
from pathlib import Path

import numpy as np

from grid.writer import Queue

_MOST = 200_000  # stamps


class Witness(Queue):
    """A recorder's queue that stamps the arrival of each market event, in shared memory."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        file.write_bytes(bytes(8 * _MOST))
        with file.open("r+b") as opened:
            self._stamps = np.frombuffer(mmap.mmap(opened.fileno(), 0), dtype=np.int64)
        self._stamped = 0

    def put(self, ts_ns: int, frame: bytes) -> None:
        super().put(ts_ns, frame)
        if frame.startswith(b"md."):
            self._stamps[self._stamped] = time.time_ns()
            self._stamped += 1


def stamps(file: Path) -> list[int]:
    """Return the stamps in a file, UNIX ns, oldest first."""
    found = np.fromfile(file, dtype=np.int64)
    return [int(ns) for ns in found if ns]


def starved_ns(pid: int) -> int:
    """Return how long the threads of a process have waited for a processor so far."""
    waited = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        waited += int((task / "schedstat").read_text().split()[1])
    return waited
