"""The sink that keeps events in a lake: rows are gathered, and committed with their position."""

import logging
import time
from collections.abc import Iterable
from typing import Final

from grid import wire
from grid.bridges.lake import Lake
from grid.bridges.position import Position
from grid.bridges.tables import TABLES, Taken, arrow, tables_of
from grid.errors import BridgeError, ProtocolError, SessionError
from grid.mender import Arrived
from grid.session import Session

log = logging.getLogger(__name__)

FLUSH_ROWS: Final = 100_000
FLUSH_S: Final = 10.0


class LakeSink:
    """Gathers rows and commits them, by number or after a while.

    Attributes:
        position: of the last commit.
        rows: committed by this process.
        unknown: events of kinds that only later versions know; no table has them.

    Args:
        lake: where they go.
        flush_rows: a commit as soon as there are so many rows.
        flush_s: and after so long, if there are any.
    """

    full = False

    def __init__(self, lake: Lake, flush_rows: int = FLUSH_ROWS, flush_s: float = FLUSH_S) -> None:
        self.position = Position(lake.manifest.position)
        self.rows = 0
        self.unknown = 0
        self._lake = lake
        self._flush_rows = flush_rows
        self._flush_s = flush_s
        self._gathered: dict[str, list[Taken]] = {}
        self._rows = 0
        self._events = 0
        self._since_s: float | None = None
        self._commits = 0

    def put(self, arrived: Arrived) -> None:
        """Take the next event.

        Raises:
            BridgeError: the disk refused it.
        """
        _, topic, envelope, _ = arrived
        if topic.startswith("sys."):
            return
        self.take(topic, envelope)
        if self._rows >= self._flush_rows:
            self.flush()

    def take(self, topic: str, envelope: wire.Envelope) -> None:
        """Gather the rows of an event."""
        try:
            event = wire.event(envelope)
        except ProtocolError:
            self.unknown += 1
        else:
            for table in tables_of(event):
                self._gathered.setdefault(table, []).append((topic, envelope, event))
                self._rows += 1
        self._events += 1
        self.position.advance(envelope.source, envelope.epoch, topic, envelope.seq)

    def turn(self, now_s: float) -> None:
        """Commit what has been gathered for long enough."""
        if not self._events:
            self._since_s = None
        elif self._since_s is None:
            self._since_s = now_s
        elif now_s - self._since_s >= self._flush_s:
            self.flush()

    def flush(self) -> None:
        """Commit what has been gathered.

        Raises:
            BridgeError: the disk refused it; nothing of it is in the lake.
        """
        if not self._events:
            return
        tables = {
            name: arrow(name, self._gathered[name]) for name in TABLES if name in self._gathered
        }
        try:
            self._lake.commit(tables, self.position, time.time_ns())
        except OSError as e:
            raise BridgeError(f"{self._lake.folder}: cannot be written: {e.strerror}") from e
        self.rows += self._rows
        self._commits += 1
        self._gathered.clear()
        self._rows = self._events = 0
        self._since_s = None

    def counters(self) -> dict[str, float]:
        """Return what is told in heartbeats."""
        return {
            "rows": float(self.rows),
            "gathered": float(self._rows),
            "commits": float(self._commits),
            "files": float(len(self._lake.manifest.files)),
            "unknown": float(self.unknown),
        }

    def close(self) -> None:
        """Commit what is there."""
        self.flush()


def export(session: Session, lake: Lake, prefixes: Iterable[str]) -> dict[str, int]:
    """Add a session's events to a lake, those that it has not; return the rows of each table.

    A session that the lake has already, whole or in part, is not written a second time.

    Raises:
        BridgeError: the disk refused it.
        SessionError: the session holds no event of such topics.
    """
    wanted = tuple(prefixes)
    sink = LakeSink(lake)
    before = _rows(lake)
    found = False
    for topic, envelope, _ in session:
        if not topic.startswith(wanted):
            continue
        found = True
        if sink.position.passed(envelope.source, envelope.epoch, topic, envelope.seq):
            continue
        sink.put(Arrived(0, topic, envelope, b""))
    if not found:
        raise SessionError(f"{session.path}: expected events of {', '.join(wanted)}, found none")
    sink.flush()
    after = _rows(lake)
    return {table: rows - before.get(table, 0) for table, rows in after.items()}


def _rows(lake: Lake) -> dict[str, int]:
    rows: dict[str, int] = {}
    for file in lake.manifest.files:
        rows[file.table] = rows.get(file.table, 0) + file.rows
    return rows
