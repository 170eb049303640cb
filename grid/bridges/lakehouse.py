"""The sink that keeps events in a lake: rows are gathered, and committed with their position."""

import logging
import time
from typing import Final

from grid import wire
from grid.bridges.lake import Lake
from grid.bridges.position import Position
from grid.bridges.tables import TABLES, Taken, arrow, tables_of
from grid.errors import BridgeError, ProtocolError
from grid.mender import Arrived

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
