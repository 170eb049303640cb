"""What a version of a model has done, counted."""

from bisect import bisect_left
from collections import Counter
from typing import Final

from grid.serving.wire import Code, Stats

BOUNDS_S: Final = (
    50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 1.0,
)  # fmt: skip


class Tally:
    """Counts of one version."""

    def __init__(self) -> None:
        self._outcomes: Counter[str] = Counter()
        self._batches = 0
        self._rows = 0
        self._queue_s = 0.0
        self._run_s = 0.0
        self._total_s = 0.0
        self._buckets = [0] * (len(BOUNDS_S) + 1)

    def refused(self, code: Code) -> None:
        """Count a refusal."""
        self._outcomes[code] += 1

    def ran(self, rows: int, run_ns: int) -> None:
        """Count a batch."""
        self._batches += 1
        self._rows += rows
        self._run_s += run_ns / 1e9

    def answered(self, queue_ns: int, total_ns: int) -> None:
        """Count a prediction by the time that it took in the server."""
        self._outcomes["ok"] += 1
        self._queue_s += queue_ns / 1e9
        self._total_s += total_ns / 1e9
        self._buckets[bisect_left(BOUNDS_S, total_ns / 1e9)] += 1

    def stats(self, waiting: int) -> Stats:
        """Return what was counted."""
        return Stats(
            waiting=waiting,
            outcomes=dict(self._outcomes),
            batches=self._batches,
            rows=self._rows,
            queue_s=self._queue_s,
            run_s=self._run_s,
            total_s=self._total_s,
            buckets=tuple(self._buckets),
        )
