"""`Timeline`: the decisions of a dataset, and the market between any two of them."""

import bisect

import numpy as np

from envs.fitting import timed_rows
from envs.made_bars import between, cut
from envs.pipeline import as_rows
from grid.dataset import Dataset
from grid.errors import DataError
from grid.latency import bounds_ns
from grid.spec import Spec
from grid.venue import Venue


class Timeline:
    """Decisions by number: a row's own, or with the spec's timer that of the decision.

    Args:
        dataset: the rows that decisions are taken on.
        spec: every how many rows, or by which timer.
        venue: its latency, and whether it liquidates.
        rows: half-open range of rows that decisions are taken on.
        warmup: rows before the first decision that are known as well, the first one's included.

    Attributes:
        lo: number of the first decision.
        hi: one more than that of the last.
        at: with a timer, the newest row at each decision; else None.
        first: number that `prices` and `times_ns` begin with.
        prices: at each number.
        times_ns: of each number.

    Raises:
        ConfigError: the venue's latency is yet to be measured.
        DataError: the timer leaves no two decisions.
    """

    def __init__(
        self, dataset: Dataset, spec: Spec, venue: Venue, rows: tuple[int, int], warmup: int
    ) -> None:
        self._dataset = dataset
        self._every = spec.every
        self._liquidation = venue.liquidation
        _, self._longest_ns = bounds_ns(venue)
        self.lo, self.hi = rows
        self.first = self.lo - warmup + 1
        columns = {k: np.asarray(v[self.first : self.hi]) for k, v in dataset.columns.items()}
        self.prices: list[float] = as_rows(columns)["close"].tolist()
        self.times_ns: list[int] = columns["ts_event"].tolist()
        self.at: list[int] | None = None
        if spec.timer_s:
            self._decide_by_time(spec)

    def _decide_by_time(self, spec: Spec) -> None:
        """Count decisions in place of rows."""
        first = self.first
        newest, times_ns = timed_rows(np.array(self.times_ns), self.lo - first, spec.timer_ns)
        if len(newest) < 2:
            raise DataError(
                f"{self._dataset.manifest.name}: expected two decisions or more, every "
                f"{spec.timer_s:g} s from row {self.lo} to {self.hi}, found {len(newest)}"
            )
        self.at = (newest + first).tolist()
        self.prices = [self.prices[row] for row in newest.tolist()]
        self.times_ns = times_ns.tolist()
        self.lo, self.hi, self.first = 0, len(newest), 0

    def number_of(self, row: int) -> int:
        """Return the number of the first decision that knows of a row of the dataset."""
        return row if self.at is None else bisect.bisect_left(self.at, row)

    def reach(self, last: int) -> int:
        """Return the last decision that an engine is given, to be closed out on, after `last`."""
        if not self._liquidation:
            return last
        every = self._every
        # one order may be under way already when the closing one is sent
        until_ns = self.times_ns[last - self.first] + 2 * self._longest_ns
        rows = bisect.bisect_right(self.times_ns, until_ns) + self.first - last
        decisions = max(2, -(-rows // every))
        return last + min(decisions, (self.hi - 1 - last) // every) * every

    def market(self, first: int, last: int) -> tuple[Dataset, list[int] | None]:
        """Return what orders fill on from decision `first` to `last`, and the decisions' times.

        The times are None where the rows are both.
        """
        dataset = self._dataset
        if self.at is None and dataset.ticks is None:
            return cut(dataset, first, last + 1), None
        times_ns = self.times_ns[first - self.first : last - self.first + 1]
        return between(dataset.ticks or dataset, times_ns[0], times_ns[-1]), times_ns
