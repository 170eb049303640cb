"""Room on a disk that is kept back, so that a full one still takes a last word."""

import os
from pathlib import Path
from typing import Final

RESERVE_BYTES: Final = 64 * 1024


class Reserve:
    """A file that only takes up room, until that is needed.

    Args:
        path: of the file.

    Raises:
        OSError: there is no room, or the place refuses it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            os.posix_fallocate(fd, 0, RESERVE_BYTES)
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(fd)

    def release(self) -> None:
        """Give the room back; a second time does nothing."""
        self._path.unlink(missing_ok=True)
