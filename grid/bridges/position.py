"""How far a bridge has come: the last event of each stream that its sink has for good. Pure."""

from collections.abc import Iterable

import msgspec


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """The last event of a stream that is done."""

    source: str
    epoch: int
    topic: str
    seq: int


class Position:
    """Folds events into marks.

    Args:
        marks: where to go on.
    """

    def __init__(self, marks: Iterable[Mark] = ()) -> None:
        self._last = {(m.source, m.epoch, m.topic): m.seq for m in marks}

    def __bool__(self) -> bool:
        return bool(self._last)

    def passed(self, source: str, epoch: int, topic: str, seq: int) -> bool:
        """Return whether an event lies at or before the mark of its stream."""
        return seq <= self._last.get((source, epoch, topic), 0)

    def advance(self, source: str, epoch: int, topic: str, seq: int) -> None:
        """Take note that an event is done, and all before it."""
        self._last[source, epoch, topic] = seq

    def last(self, source: str, epoch: int, topic: str) -> int:
        """Return the sequence of a stream's mark, 0 if there is none."""
        return self._last.get((source, epoch, topic), 0)

    def marks(self) -> tuple[Mark, ...]:
        """Return all marks, to be kept."""
        return tuple(Mark(*stream, seq) for stream, seq in sorted(self._last.items()))
