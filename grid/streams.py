"""What a subscriber knows of the streams that it follows: what came, and what did not. Pure.

A stream is (source, epoch, topic), counted from 1 without a hole. The bus may lose, and says
nothing when it does; the count says it.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import msgspec

from grid import wire

type Kind = Literal["first", "next", "duplicate", "gap", "new_epoch", "old_epoch"]


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What one event means; sequences `first_missing` to `last_missing`, if any, did not come.

    `first` is the first that is seen of a stream that may have begun long before.
    """

    kind: Kind
    first_missing: int = 0
    last_missing: int = 0

    @property
    def missing(self) -> int:
        """How many events did not come."""
        return self.last_missing - self.first_missing + 1 if self.first_missing else 0


class Gap(msgspec.Struct, frozen=True):
    """Events of one stream that did not come, both ends included."""

    source: str
    epoch: int
    topic: str
    first_missing: int
    last_missing: int


_NEXT = Verdict("next")
_FIRST = Verdict("first")
_DUPLICATE = Verdict("duplicate")
_OLD_EPOCH = Verdict("old_epoch")


class StreamTracker:
    """Folds (source, epoch, topic, seq) into verdicts, and counts them.

    Attributes:
        counts: how often each kind of verdict was given; heartbeats that show a loss count as gaps.
        missing: events that did not come, in all streams together.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.missing = 0
        self._epochs: dict[str, int] = {}
        self._last: dict[tuple[str, str], tuple[int, int]] = {}

    def last(self, source: str, topic: str) -> tuple[int, int] | None:
        """Return (epoch, sequence) of the last event that is known of a stream."""
        return self._last.get((source, topic))

    def saw(self, source: str, epoch: int, topic: str, seq: int) -> Verdict:
        """Take in one event; only after `next`, `first` and an unbroken `new_epoch` is all well."""
        verdict = self._judge(source, epoch, topic, seq)
        self.counts[verdict.kind] += 1
        self.missing += verdict.missing
        if verdict.kind not in ("duplicate", "old_epoch"):
            self._epochs[source] = epoch
            self._last[source, topic] = (epoch, seq)
        return verdict

    def heard(self, source: str, epoch: int, streams: dict[str, int]) -> list[Gap]:
        """Take in a heartbeat's last sequences and return the losses that it brings to light.

        Give it only the topics that are followed. A topic never seen before is not a loss: it
        begins here.
        """
        gaps = []
        for topic, seq in streams.items():
            verdict = self._judge(source, epoch, topic, seq + 1)
            if verdict.kind in ("duplicate", "old_epoch"):
                continue
            if verdict.missing:
                gaps.append(Gap(source, epoch, topic, verdict.first_missing, seq))
                self.counts["gap"] += 1
                self.missing += verdict.missing
            self._epochs[source] = epoch
            self._last[source, topic] = (epoch, seq)
        return gaps

    def _judge(self, source: str, epoch: int, topic: str, seq: int) -> Verdict:
        if epoch < self._epochs.get(source, epoch):
            return _OLD_EPOCH
        known = self._last.get((source, topic))
        if known is None:
            return _FIRST
        if known[0] != epoch:
            return Verdict("new_epoch", 1, seq - 1) if seq > 1 else Verdict("new_epoch")
        missing = seq - known[1] - 1
        if missing == 0:
            return _NEXT
        return _DUPLICATE if missing < 0 else Verdict("gap", known[1] + 1, seq - 1)


class InOrder:
    """One stream handed on in order and without a hole: what comes early waits for the rest.

    Attributes:
        last: sequence of the last event that was handed on.
        high: the greatest that is known to exist.

    Args:
        last: where to begin; the next event is one more.
    """

    def __init__(self, last: int) -> None:
        self.last = self.high = last
        self._early: dict[int, wire.Envelope] = {}

    @property
    def waiting(self) -> int:
        """How many events have come early."""
        return len(self._early)

    @property
    def missing(self) -> tuple[int, int] | None:
        """The first range that is missing, both ends included."""
        if self.last == self.high:
            return None
        return self.last + 1, min(self._early, default=self.high + 1) - 1

    def heard(self, high: int) -> None:
        """Take note that the stream has come to `high`."""
        self.high = max(self.high, high)

    def take(self, envelope: wire.Envelope) -> Sequence[wire.Envelope]:
        """Take an event of the stream and return those whose turn has come."""
        seq = envelope.seq
        if seq <= self.last:
            return ()
        self.heard(seq)
        if seq > self.last + 1:
            self._early[seq] = envelope
            return ()
        self.last = seq
        if not self._early:
            return (envelope,)
        ready = [envelope]
        while (following := self._early.pop(self.last + 1, None)) is not None:
            self.last += 1
            ready.append(following)
        return ready
