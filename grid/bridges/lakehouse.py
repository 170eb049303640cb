"""The sink that keeps events as rows: they are gathered, and committed with their position."""

import logging
import time
from typing import Any, Final, Protocol

from grid import wire
from grid.bridges.position import Mark, Position
from grid.bridges.tables import TABLES, Taken, arrow, tables_of
from grid.errors import ProtocolError, UnreachableError
from grid.mender import Arrived

log = logging.getLogger(__name__)

FLUSH_ROWS: Final = 100_000
FLUSH_S: Final = 10.0
RETRY_S: Final = 0.5  # doubles with each failure
RETRY_MAX_S: Final = 10.0
TIDY_S: Final = 10.0


class Store(Protocol):
    """Tables somewhere, and the position that they have come to."""

    @property
    def position(self) -> tuple[Mark, ...]:
        """Of the last commit."""

    def commit(self, tables: dict[str, Any], position: Position, now_ns: int) -> None:
        """Add rows, and say how far the events have come with them.

        A commit that is made again after it has failed, or was cut off, adds no row twice.

        Args:
            tables: rows by table, as pyarrow's tables.
            position: of the last event of each stream that is in them or before.
            now_ns: UNIX ns.

        Raises:
            BridgeError: the store refuses it.
            UnreachableError: it may take it later.
        """

    def tidy(self) -> None:
        """Make one of some small files, if there are many; a second's work at most."""

    def counters(self) -> dict[str, float]:
        """Return what is told in heartbeats."""


class LakeSink:
    """Gathers rows and commits them, by number or after a while.

    While the store cannot be reached, what is gathered waits, and the sink is full when there is as
    much of it as makes a commit.

    Attributes:
        position: of what is gathered.
        rows: committed by this process.
        unknown: events of kinds that only later versions know; no table has them.
        failures: commits that the store could not be reached for.

    Args:
        store: where they go.
        flush_rows: a commit as soon as there are so many rows.
        flush_s: and after so long, if there are any.
    """

    def __init__(
        self, store: Store, flush_rows: int = FLUSH_ROWS, flush_s: float = FLUSH_S
    ) -> None:
        self.position = Position(store.position)
        self.rows = 0
        self.unknown = 0
        self.failures = 0
        self._store = store
        self._flush_rows = flush_rows
        self._flush_s = flush_s
        self._gathered: dict[str, list[Taken]] = {}
        self._rows = 0
        self._events = 0
        self._since_s: float | None = None
        self._commits = 0
        self._retry_s = RETRY_S
        self._due_s: float | None = None  # of the next try, after a failure
        self._tidy_s = time.monotonic()

    @property
    def full(self) -> bool:
        """Whether it waits for the store."""
        return self._due_s is not None and self._rows >= self._flush_rows

    def put(self, arrived: Arrived) -> None:
        """Take the next event.

        Raises:
            BridgeError: the store refuses a commit.
        """
        _, topic, envelope, _ = arrived
        if topic.startswith("sys."):
            return
        self.take(topic, envelope)
        if self._rows >= self._flush_rows and self._due_s is None:
            self._try(time.monotonic())

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
        """Commit what has been gathered for long enough; look after small files."""
        if self._due_s is not None:
            if now_s >= self._due_s:
                self._try(now_s)
        elif not self._events:
            self._since_s = None
        elif self._since_s is None:
            self._since_s = now_s
        elif now_s - self._since_s >= self._flush_s:
            self._try(now_s)
        if now_s - self._tidy_s >= TIDY_S and self._due_s is None:
            self._tidy_s = now_s
            try:
                self._store.tidy()
            except UnreachableError as e:
                log.warning("%s", e)

    def flush(self) -> None:
        """Commit what has been gathered.

        Raises:
            BridgeError: the store refuses it; nothing is lost of what is gathered.
        """
        if not self._events:
            return
        tables = {
            name: arrow(name, self._gathered[name]) for name in TABLES if name in self._gathered
        }
        self._store.commit(tables, self.position, time.time_ns())
        self.rows += self._rows
        self._commits += 1
        self._gathered.clear()
        self._rows = self._events = 0
        self._since_s = None

    def _try(self, now_s: float) -> None:
        try:
            self.flush()
        except UnreachableError as e:
            self.failures += 1
            log.warning("%s: tried again in %g s", e, self._retry_s)
            self._due_s = now_s + self._retry_s
            self._retry_s = min(2 * self._retry_s, RETRY_MAX_S)
        else:
            self._due_s, self._retry_s = None, RETRY_S

    def counters(self) -> dict[str, float]:
        """Return what is told in heartbeats."""
        return {
            "rows": float(self.rows),
            "gathered": float(self._rows),
            "commits": float(self._commits),
            "unknown": float(self.unknown),
            "failures": float(self.failures),
            **self._store.counters(),
        }

    def close(self) -> None:
        """Commit what is there; what cannot be is fetched after the next start."""
        try:
            self.flush()
        except UnreachableError as e:
            log.warning("%s: %d events are left to the next start", e, self._events)
