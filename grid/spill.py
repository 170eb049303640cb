"""Frames that were received and wait for what is missing before them, on disk meanwhile.

The recorder holds back what comes after a hole until the hole is filled, so that the file keeps
the order of publication. That may take seconds, and a crash must not take what was received: here
it waits, and a session that was interrupted is read with it.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from grid.wire import MAX_FRAME_BYTES

_HEAD: Final = struct.Struct("<IIq")  # length of the frame, its CRC-32, time of arrival in UNIX ns


class Spill:
    """The writing side; there is a file only once something waits.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None
        self._waiting: list[bytes] = []
        self._holds = False

    def keep(self, ts_ns: int, frame: bytes) -> None:
        """Take a frame that arrived at `ts_ns`; it is safe after the next `flush`."""
        self._waiting += (_HEAD.pack(len(frame), zlib.crc32(frame), ts_ns), frame)
        self._holds = True

    def flush(self) -> None:
        """Put what came since into the file.

        Raises:
            OSError: the disk refused it.
        """
        if not self._waiting:
            return
        if self._fd is None:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        left = memoryview(b"".join(self._waiting))
        self._waiting.clear()
        while left:
            left = left[os.write(self._fd, left) :]

    def sync(self) -> None:
        """Wait until the disk has what was flushed; may run beside the other methods."""
        if self._fd is not None and self._holds:
            os.fdatasync(self._fd)

    def clear(self) -> None:
        """Forget everything: it stands elsewhere now."""
        if not self._holds:
            return
        self._waiting.clear()
        self._holds = False
        if self._fd is not None:
            os.ftruncate(self._fd, 0)

    def close(self) -> None:
        """Remove the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
            self._path.unlink(missing_ok=True)


def read(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (time of arrival in UNIX ns, frame), as far as the file is whole; none without one."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    pos = 0
    while pos + _HEAD.size <= len(data):
        size, crc, ts_ns = _HEAD.unpack_from(data, pos)
        pos += _HEAD.size
        frame = data[pos : pos + size]
        if size > MAX_FRAME_BYTES or len(frame) < size or zlib.crc32(frame) != crc:
            return
        yield ts_ns, frame
        pos += size
