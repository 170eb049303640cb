"""Where a feed stands, kept on disk: a feed that was killed goes on and does not begin again."""

import logging
import os
import struct
from pathlib import Path

from grid.playhead import Playhead

log = logging.getLogger(__name__)


class Bookmark:
    """The position in a file, so that it survives a kill of this process; not a power cut.

    Args:
        file: where; None keeps nothing.
    """

    _FORM = struct.Struct("<4sqqq")
    _MAGIC = b"feed"

    def __init__(self, file: Path | None) -> None:
        self._fd = -1
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def load(self, playhead: Playhead) -> None:
        """Put `playhead` where the last one was."""
        kept = os.pread(self._fd, self._FORM.size, 0) if self._fd >= 0 else b""
        if len(kept) == self._FORM.size and kept.startswith(self._MAGIC):
            _, epoch, window, done = self._FORM.unpack(kept)
            playhead.resume(epoch, window if window >= 0 else None, done)
            log.info("going on after %d events", done)

    def save(self, playhead: Playhead) -> None:
        """Keep where `playhead` is: one small write, whole or not at all."""
        if self._fd >= 0:
            window = -1 if playhead.window is None else playhead.window
            kept = self._FORM.pack(self._MAGIC, playhead.epoch, window, playhead.done)
            os.pwrite(self._fd, kept, 0)

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
