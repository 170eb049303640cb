"""A wall clock that a grid's processes go by, and that can be set while they run.

`libfaketime`, of the Debian package `faketime`, stands between them and the system. Only the wall
clock is moved: monotonic time goes on as it does when a person or NTP sets the clock.
"""

from pathlib import Path
from typing import Final

_PLACES: Final = ("/usr/lib", "/usr/lib64", "/usr/local/lib")


class Clock:
    """A clock in a file.

    Args:
        file: that says by how many seconds the clock is wrong; made.
        library: see `library`.
    """

    def __init__(self, file: Path, library: Path) -> None:
        self._file = file
        self.env = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_CACHE_DURATION": "1",  # seconds, so that processes jump apart from another
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.set(0.0)

    def set(self, ahead_s: float) -> None:
        """Set it to be ahead of the true time, or behind it."""
        draft = self._file.with_suffix(".draft")
        draft.write_text(f"{ahead_s:+.3f}\n")
        draft.rename(self._file)


def library() -> Path | None:
    """Return the library that does it; None where it is not installed."""
    found = (f for place in _PLACES for f in Path(place).glob("**/faketime/libfaketimeMT.so.1"))
    return next(found, None)
