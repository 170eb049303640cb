"""Recordings that somebody looks at: read one at a time in the background, the newest are kept."""

import logging
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from grid.errors import ArgonautError, SessionError
from grid.gateway.recording import Cancelled, Recording
from grid.session import MANIFEST, Session, state

log = logging.getLogger(__name__)

_KEPT: Final = 3
_PATIENCE_S: Final = 3.0
_AGAIN_S: Final = 15.0  # until a session that is still being recorded is read anew


@dataclass
class Reading:
    """A session that is read, or was.

    Attributes:
        name: of the session.
        size: of its file when it was begun, in bytes.
        events: taken so far.
    """

    name: str
    size: int
    began_s: float = field(default_factory=time.monotonic)
    events: int = 0
    dropped: bool = False
    future: "Future[Recording]" = field(default_factory=Future)


class Shelf:
    """Reads sessions of a folder.

    Args:
        sessions: the folder.
    """

    def __init__(self, sessions: Path) -> None:
        self._sessions = sessions
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="shelf")
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Reading] = OrderedDict()

    def has(self, name: str) -> bool:
        """Say whether there is such a session."""
        return (self._sessions / name / MANIFEST).is_file()

    def state(self, name: str) -> str:
        """Say what a session is: see `grid.session.state`."""
        return state(self._sessions / name)

    def take(self, name: str, patience_s: float = _PATIENCE_S) -> Recording | int:
        """Return a recording, or how many of its events were read so far where that takes longer.

        Raises:
            SessionError: it cannot be read.
        """
        reading = self._reading(name)
        wait([reading.future], patience_s)
        if not reading.future.done():
            return reading.events
        try:
            return reading.future.result()
        except Cancelled:
            raise SessionError(
                f"session {name!r}: others were wanted meanwhile; ask again"
            ) from None
        except ArgonautError as e:
            raise SessionError(str(e)) from e

    def close(self) -> None:
        """Give up what is being read."""
        with self._lock:
            for reading in self._kept.values():
                reading.dropped = True
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _reading(self, name: str) -> Reading:
        with self._lock:
            session = Session.open(self._sessions / name)
            size = session.path.stat().st_size
            found = self._kept.pop(name, None)
            if found is not None and found.future.done():
                old = time.monotonic() - found.began_s > _AGAIN_S
                if found.future.exception() is not None or (old and found.size != size):
                    found = None
            if found is None:
                found = Reading(name, size)
                found.future = self._pool.submit(_read, session, found)
            self._kept[name] = found
            while len(self._kept) > _KEPT:
                _, gone = self._kept.popitem(last=False)
                gone.dropped = True
            return found


def _read(session: Session, reading: Reading) -> Recording:
    def stopping(events: int) -> bool:
        reading.events = events
        return reading.dropped

    if reading.dropped:
        raise Cancelled
    return Recording.read(session, stopping)
