"""A market that is still being written, as the events of a feed. Pure: no clock, no socket.

What the feed plays counts from 0, as with `grid.tape.Tape`, but grows; what was processed is kept
for a while as history, and then forgotten. Events are in the order of their time: one that is older
than another before it came too late.
"""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

import msgspec
import numpy as np

from grid import wire
from grid.dataset import Dataset, Kind
from grid.tape import Tape, first_of
from grid.venue import Venue

QUEUE: Final = 20_000  # events that may wait to be processed
RECENT: Final = 20_000  # rows that are kept for the history of a node that comes later
STREAMS: Final = 1_000  # whose last sequence is known

_WANTED: Final[dict[Kind, tuple[type[wire.Row], ...]]] = {
    "bars": (wire.Bar, wire.Quote),  # a quote is where an order fills
    "quotes": (wire.Quote,),
    "trades": (wire.Trade,),
    "depth": (wire.Depth,),
    "deltas": (wire.Depth,),
}


class At(NamedTuple):
    """Where an event lies: a partition, and the offset in it."""

    partition: int
    offset: int


class LiveTape:
    """Takes rows in, gives a feed's events out.

    Args:
        dataset: of what the rows are, and those before them.
        venue: of the checkpoint that trades.
        bar_ns: length of the bars that a node makes of the rows; 0 if it makes none.
        start_ns: rows before it are history.
        end_ns: the first of this time or later ends the market; None: none does.

    Attributes:
        per_row: events of a row: one.
        rows: events that are known, counted from 0.
        closed: whether the end has come.
        late: rows that were older than one before them.
        repeated: rows that were known already.
        missing: rows that a stream of the bus has numbered and that did not come.
        others: rows of other instruments, or of kinds that are not played.
    """

    per_row = 1

    def __init__(
        self,
        dataset: Dataset,
        venue: Venue,
        *,
        bar_ns: int = 0,
        start_ns: int = 0,
        end_ns: int | None = None,
    ) -> None:
        m = dataset.manifest
        self.rows = 0
        self.closed = False
        self.late = 0
        self.repeated = 0
        self.missing = 0
        self.others = 0
        self._past = Tape(dataset, venue, 0, m.rows, bar_ns)
        self._past_ns = dataset.columns["ts_event"]
        self._wanted = _WANTED[m.kind]
        self._id, self._bar, self._levels = m.instrument.id, m.bar, m.levels
        self._interval_ns = m.interval_ns
        self._bar_ns, self._start_ns, self._end_ns = bar_ns, start_ns, end_ns
        self._queue: deque[tuple[wire.Row, At]] = deque()  # not known to be processed
        self._open: dict[int, deque[int]] = {}  # offsets of the queue's events, by partition
        self._recent: deque[wire.Row] = deque(maxlen=RECENT)
        self._last_ns = 0
        self._now: list[tuple[tuple[str, int], wire.Row]] = []  # of the time `_last_ns`, by origin
        self._streams: dict[tuple[str, int, str], int] = {}
        self._had: tuple[int, int] | None = None  # a node's last event, if it was not read yet

    @property
    def full(self) -> bool:
        """Whether there is no room for more rows."""
        return self.closed or len(self._queue) >= QUEUE

    def put(
        self, row: wire.Row, place: tuple[str, int, str, int] | None, at: At, known: bool
    ) -> None:
        """Take the next row.

        Args:
            row: of whatever instrument and kind.
            place: source, epoch, topic and sequence on the bus it came from; None of others' rows.
            at: where it lies.
            known: whether it was processed before this process began.
        """
        if self.closed:
            return
        if row.instrument_id != self._id:
            self.others += 1
            return
        if place is not None and not self._follows(*place):
            self.repeated += 1
            return
        if not self._is_played(row):
            self.others += 1
            return
        ts = row.ts_event_ns
        origin = place[:2] if place is not None else ("", 0)
        if ts < self._last_ns:
            self.late += not row.history
            self.repeated += row.history  # a node that began anew has told again what it began with
            return
        if ts > self._last_ns:
            self._last_ns = ts
            self._now.clear()
        elif any(same == row and by != origin for by, same in self._now):
            self.repeated += 1  # by a node that was restarted and did not know of it
            return
        self._now.append((origin, row))
        # a quote beside bars belongs to the one that is open
        row_ns = ts if isinstance(row, self._wanted[0]) else ts + self._interval_ns
        if self._end_ns is not None and row_ns >= self._end_ns:
            self.closed = True
        elif known or row.history or row_ns < self._start_ns or self._was_had(ts):
            self._recent.append(row)
        else:
            self._queue.append((row, at))
            self._open.setdefault(at.partition, deque()).append(at.offset)
            self.rows += 1

    def event(self, index: int) -> wire.Row:
        """Return an event that is not known to be processed."""
        return self._queue[index - self._first][0]

    def history(self, row: int, count: int) -> list[wire.Row]:
        """Return up to `count` rows before an event, or the ticks of so many bars, oldest first."""
        if count <= 0:
            return []
        kept = [r for r in self._before(row) if isinstance(r, self._wanted[0])]
        if kept:
            oldest_ns = kept[0].ts_event_ns
        else:  # nothing was read yet: what comes will be later than all of this
            oldest_ns = self._start_ns or int(self._past_ns[-1]) + 1
            if self._queue:
                oldest_ns = self._queue[0][0].ts_event_ns
        end = int(np.searchsorted(self._past_ns, oldest_ns, side="left"))
        rows = [*self._past.history(end, count), *kept]
        ts = np.array([r.ts_event_ns for r in rows], dtype=np.int64)
        first = first_of(ts, count, self._bar_ns)
        return [r if r.history else msgspec.structs.replace(r, history=True) for r in rows[first:]]

    def events_until(self, ts_ns: int, count: int = 0) -> int:
        """Return how many events a node has whose last one is of `ts_ns`.

        Those that are yet to be read are then history.

        Args:
            ts_ns: UNIX ns.
            count: how many of that very time it has; 0 for all.
        """
        left = count or QUEUE
        for row in self._recent:
            left -= row.ts_event_ns == ts_ns
        index = self._first
        for row, _ in self._queue:
            if row.ts_event_ns > ts_ns or (row.ts_event_ns == ts_ns and left <= 0):
                break
            left -= row.ts_event_ns == ts_ns
            index += 1
        self._had = (ts_ns, left) if index == self.rows else None
        return index

    def release(self, done: int) -> None:
        """Take note that the events before `done` were processed."""
        while self._queue and self._first < done:
            row, at = self._queue.popleft()
            self._open[at.partition].popleft()
            self._recent.append(row)

    def open_offsets(self) -> dict[int, int]:
        """Return the first offset of each partition whose event is not known to be processed."""
        return {partition: offsets[0] for partition, offsets in self._open.items() if offsets}

    @property
    def _first(self) -> int:
        """The event at the head of the queue."""
        return self.rows - len(self._queue)

    def _before(self, row: int) -> Iterator[wire.Row]:
        yield from self._recent
        yield from (r for r, _ in islice(self._queue, max(0, row - self._first)))

    def _is_played(self, row: wire.Row) -> bool:
        if not isinstance(row, self._wanted):
            return False
        if isinstance(row, wire.Bar):
            return row.bar == self._bar
        return not isinstance(row, wire.Depth) or len(row.bid_pxs) == self._levels

    def _follows(self, source: str, epoch: int, topic: str, seq: int) -> bool:
        """Note a row of a stream of the bus; say whether it is new."""
        stream = (source, epoch, topic)
        last = self._streams.pop(stream, 0)
        self._streams[stream] = max(last, seq)
        if len(self._streams) > STREAMS:
            del self._streams[next(iter(self._streams))]
        if last and seq > last + 1:
            self.missing += seq - last - 1
        return seq > last

    def _was_had(self, ts_ns: int) -> bool:
        if self._had is None:
            return False
        had_ns, left = self._had
        if ts_ns > had_ns or (ts_ns == had_ns and left <= 0):
            self._had = None
            return False
        self._had = (had_ns, left - (ts_ns == had_ns))
        return True
