"""Alerts on their way: each once, no more than so many messages a minute. Pure; time is given."""

from typing import Final

import msgspec

from grid.bridges.rules import Alert

LIMIT: Final = 1_000  # alerts that wait
REMEMBERED: Final = 10_000  # keys of what was sent
LINES: Final = 10  # of a message that tells several
RETRY_S: Final = 1.0  # doubles with each failure
RETRY_MAX_S: Final = 60.0


class Kept(msgspec.Struct):
    """What outlives a start: what waits, and keys of what waits or was sent."""

    waiting: list[Alert] = []
    known: list[str] = []


class Outbox:
    """Takes alerts in, gives messages out.

    Args:
        kept: from before; changed in place.
        per_minute: messages.

    Attributes:
        sent: alerts.
        repeated: alerts that were known already.
        dropped: alerts that found no room.
        failed: tries in vain.
    """

    def __init__(self, kept: Kept, per_minute: int) -> None:
        self.kept = kept
        self.sent = 0
        self.repeated = 0
        self.dropped = 0
        self.failed = 0
        self._per_minute = per_minute
        self._known = dict.fromkeys(kept.known)
        self._left = float(per_minute)
        self._left_s = 0.0
        self._due_s = 0.0
        self._retry_s = RETRY_S
        self._going = 0  # how many of those that wait are in the message under way

    def put(self, alert: Alert) -> bool:
        """Take an alert; say whether it is new."""
        if alert.key in self._known:
            self.repeated += 1
            return False
        if len(self.kept.waiting) >= LIMIT:
            self.dropped += 1
            return False
        self._known[alert.key] = None
        if len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
        self.kept.known = list(self._known)
        self.kept.waiting.append(alert)
        return True

    def next(self, now_s: float) -> tuple[str, str] | None:
        """Return the title and text of the message to be sent now, if it is time for one."""
        self._left = min(
            float(self._per_minute), self._left + (now_s - self._left_s) * self._per_minute / 60.0
        )
        self._left_s = now_s
        waiting = self.kept.waiting
        if self._going or not waiting or now_s < self._due_s or self._left < 1.0:
            return None
        self._left -= 1.0
        # with as many messages left as there are alerts, each has its own
        self._going = 1 if len(waiting) <= self._left + 1.0 else len(waiting)
        if self._going == 1:
            return waiting[0].title, waiting[0].text
        lines = [f"{alert.title}: {alert.text}" for alert in waiting[:LINES]]
        if len(waiting) > LINES:
            lines.append(f"and {len(waiting) - LINES:,} more")
        return f"{len(waiting):,} alerts", "\n".join(lines)

    def done(self, ok: bool, now_s: float) -> None:
        """Take note of what became of the message."""
        going, self._going = self._going, 0
        if ok:
            del self.kept.waiting[:going]
            self.sent += going
            self._retry_s = RETRY_S
        else:
            self.failed += 1
            self._due_s = now_s + self._retry_s
            self._retry_s = min(RETRY_MAX_S, 2 * self._retry_s)
