"""Which processes of a grid are there, by their heartbeats. Pure; the clock is an argument."""

from typing import Final

from grid import wire
from grid.gateway import rows
from grid.status import ProcessStatus, fold

ALIVE_NS: Final = 3_000_000_000  # silent for longer, a process counts as gone
_PROCESSES: Final = 1_000


class Presence:
    """The processes that were heard; of more than can be kept the later ones are left out."""

    def __init__(self) -> None:
        self._beats: dict[str, ProcessStatus] = {}
        self._heard_ns: dict[str, int] = {}

    def beat(self, beat: wire.Heartbeat, epoch: int, now_ns: int) -> None:
        """Take the next heartbeat of a process."""
        if beat.name not in self._beats and len(self._beats) >= _PROCESSES:
            return
        self._beats = fold(self._beats, beat, epoch)
        self._heard_ns[beat.name] = now_ns

    def last(self, name: str) -> tuple[str, int] | None:
        """Return what a process said last of its state, and when; None if it was never heard."""
        beat = self._beats.get(name)
        return None if beat is None else (beat.last.state, self._heard_ns[name])

    def rows(self, now_ns: int) -> list[rows.Process]:
        """Return the processes that were heard, by name."""
        return [
            rows.Process(
                name=name,
                role=seen.last.role,
                pid=seen.last.pid,
                epoch=seen.epoch,
                state=seen.last.state,
                uptime_s=seen.last.uptime_s,
                events_per_s=seen.events_per_s,
                alive=self.is_alive(name, now_ns),
                last_beat_ns=self._heard_ns[name],
                counters=dict(seen.last.counters),
                streams=dict(seen.last.streams),
            )
            for name, seen in sorted(self._beats.items())
        ]

    def is_alive(self, name: str, now_ns: int) -> bool:
        """Say whether a process was heard of late, and did not say that it stops."""
        beat = self._beats.get(name)
        if beat is None or beat.last.state in ("stopping", "stopped"):
            return False
        return now_ns - self._heard_ns[name] < ALIVE_NS

    def has(self, role: str, now_ns: int) -> bool:
        """Say whether a process of that role is alive."""
        return any(
            seen.last.role == role and self.is_alive(name, now_ns)
            for name, seen in self._beats.items()
        )
