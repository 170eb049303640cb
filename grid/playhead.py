"""Where a played market stands: what may be sent next, and when. No clock, no socket, no data.

The events of a run count from 0; a row takes one of them, or two: the quote of its open, and the
bar. `done` of them are known to be processed, `next` is the first that was not sent.
"""

import math

CATCH_UP_S = 0.02  # rows that are late by less are sent at once, to keep the speed


class Playhead:
    """Position, credit and speed, for one node at a time.

    A node's *window* is what its first credit grants: from then on a credit for `upto` events says
    that `upto - window` were processed. A new node goes on with the row that holds the first event
    not known to be processed: after a crash of a node, at least once.

    Attributes:
        epoch: of the node that is served; 0 before the first.
        done: events known to be processed.
        next: the event to send next.
        events: of the whole run, as far as they are known.
        open: whether more may come to be known.

    Args:
        events: as they are known now.
        per_row: events of each row.
        period_s: from one row to the next; 0 is as fast as credit allows.
    """

    def __init__(self, events: int, per_row: int = 1, period_s: float = 0.0) -> None:
        self.events = events
        self.per_row = per_row
        self.epoch = 0
        self.window: int | None = None
        self.done = 0
        self.next = 0
        self.open = False
        self._period_s = period_s
        self._base = 0  # event that the node's count begins with
        self._limit = 0  # events below it may be sent
        self._due_s = -math.inf  # when the next row may begin

    @property
    def row(self) -> int:
        """The row that `next` belongs to, counted from the first of the run."""
        return self.next // self.per_row

    @property
    def ended(self) -> bool:
        """Whether every event was sent."""
        return self.next >= self.events and not self.open

    @property
    def waits(self) -> bool:
        """Whether only the node's credit is missing."""
        return self.next < self.events and self.next >= self._limit

    @property
    def untouched(self) -> bool:
        """Whether nothing was sent to this node yet."""
        return self.next == self._base

    def subscribe(self, epoch: int, after: int | None = None) -> bool:
        """Serve the node of that epoch from now on, unless it is older than the present one.

        Args:
            epoch: of the node.
            after: events that a node has already that asks anew; None for one that has just begun.
        """
        if epoch < self.epoch:
            return False
        if epoch > self.epoch:
            self.epoch, self.window = epoch, None
        begun = self.done - self.done % self.per_row
        self.next = self._base = self._limit = begun if after is None else after
        return True

    def credit(self, epoch: int, upto: int) -> bool:
        """Allow `upto` events since the node's subscription, if it is the present node."""
        if epoch != self.epoch:
            return False
        if self.window is None:
            self.window = max(0, upto)
        self._limit = max(self._limit, self._base + upto)
        self.done = min(max(self._base + upto - self.window, 0), self.next)
        return True

    def wait_s(self, now_s: float) -> float:
        """Return the time until an event may be sent: 0 for now, infinite without credit."""
        if self.next >= min(self._limit, self.events):
            return math.inf
        return max(0.0, self._due_s - now_s) if self.next % self.per_row == 0 else 0.0

    def sent(self, now_s: float) -> None:
        """Note that the event `next` was sent."""
        if self.next % self.per_row == 0 and self._period_s:
            self._due_s = max(self._due_s, now_s - CATCH_UP_S) + self._period_s
        self.next += 1

    def resume(self, epoch: int, window: int | None, done: int) -> None:
        """Take up what another playhead of the same run has left."""
        self.epoch, self.window = epoch, window
        self.done = self.next = self._base = self._limit = min(done, self.events)
