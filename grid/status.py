"""What the processes of a grid say of themselves: their heartbeats, folded into one table."""

import time
from collections.abc import Iterable
from typing import Final

import msgspec

from grid import wire
from grid.bus import Addresses, Subscriber, new_context
from grid.errors import ProtocolError
from grid.identity import Identity

# column -> the counters that it sums; a process without any shows that it does not apply
COLUMNS: Final = {
    "gaps": ("gaps",),
    "missing": ("missing", "missed"),
    "late": ("late",),
    "dropped": ("dropped", "events_dropped", "dropped_alerts"),
    "position": ("position_qty",),
}
# what a process counts as its events: those through the broker, recorded, sent by the feed, or
# followed by an agent; otherwise those that it published
_EVENTS: Final = ("events_in", "events", "sent", "followed")


class ProcessStatus(msgspec.Struct, frozen=True):
    """One process, by its first and last heartbeat in the time watched."""

    first: wire.Heartbeat
    last: wire.Heartbeat
    epoch: int

    @property
    def events_per_s(self) -> float | None:
        """Events through this process between the two heartbeats; None from a single one.

        It counts `events_in` or `events` where it has such a counter, else what it published.
        """
        seconds = self.last.uptime_s - self.first.uptime_s
        if seconds <= 0.0:
            return None
        return (_events(self.last) - _events(self.first)) / seconds


class Snapshot(msgspec.Struct, frozen=True):
    """What was heard on the bus at `address` in `seconds`.

    Attributes:
        processes: name -> its status.
        missing: names that were expected and not heard.
        address: `events_out` of the broker.
        seconds: how long was listened.
    """

    processes: dict[str, ProcessStatus]
    missing: tuple[str, ...]
    address: str
    seconds: float


def fold(
    processes: dict[str, ProcessStatus], beat: wire.Heartbeat, epoch: int
) -> dict[str, ProcessStatus]:
    """Return `processes` with one more heartbeat taken in; a new epoch begins a process anew."""
    known = processes.get(beat.name)
    if known is not None and epoch < known.epoch:
        return processes
    first = known.first if known is not None and epoch == known.epoch else beat
    return {**processes, beat.name: ProcessStatus(first, beat, epoch)}


def collect(
    addresses: Addresses,
    seconds: float,
    expected: Iterable[str] = (),
    identity: Identity | None = None,
) -> Snapshot:
    """Listen to the heartbeats of a running grid for `seconds`; two or more give rates."""
    context = new_context(identity)
    subscriber = Subscriber(context, addresses.events_out, ["sys."])
    processes: dict[str, ProcessStatus] = {}
    deadline_s = time.monotonic() + seconds
    try:
        while (left_s := deadline_s - time.monotonic()) > 0:
            received = subscriber.recv(left_s)
            if received is None:
                continue
            try:
                event = wire.event(received[1])
            except ProtocolError:
                continue  # of a kind that only later versions know
            if isinstance(event, wire.Heartbeat):
                processes = fold(processes, event, received[1].epoch)
    finally:
        subscriber.close()
        context.destroy(linger=0)
    missing = tuple(name for name in expected if name not in processes)
    return Snapshot(processes, missing, addresses.events_out, seconds)


def render(snapshot: Snapshot) -> str:
    """Return the table, a line a process, and a line on what is missing."""
    if not snapshot.processes:
        return f"no heartbeat at {snapshot.address} within {snapshot.seconds:g} s"
    head = ("process", "role", "pid", "state", "uptime", "events/s", *COLUMNS)
    rows = [head, *(_row(p) for _, p in sorted(snapshot.processes.items()))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = [_line(row, widths) for row in rows]
    if snapshot.missing:
        lines.append(f"not heard within {snapshot.seconds:g} s: {', '.join(snapshot.missing)}")
    return "\n".join(lines)


def _events(beat: wire.Heartbeat) -> float:
    for name in _EVENTS:
        if name in beat.counters:
            return beat.counters[name]
    return float(sum(beat.streams.values()))


def _row(process: ProcessStatus) -> tuple[str, ...]:
    beat, rate = process.last, process.events_per_s
    counted = (_sum(beat, names) for names in COLUMNS.values())
    return (
        beat.name,
        beat.role,
        str(beat.pid),
        beat.state,
        f"{beat.uptime_s:,.0f} s",
        "-" if rate is None else f"{rate:,.1f}",
        *("-" if n is None else f"{n:,.10g}" for n in counted),
    )


def _sum(beat: wire.Heartbeat, names: tuple[str, ...]) -> float | None:
    found = [beat.counters[name] for name in names if name in beat.counters]
    return sum(found) if found else None


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    cells = (
        cell.ljust(width) if i in (0, 1, 3) else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join(cells).rstrip()
