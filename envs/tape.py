"""`Tape`: when decisions are taken, at which prices, and the episodes that can be cut from them."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from envs.views import Clock, View, decision_times
from grid.dataset import Dataset, to_iso
from grid.errors import ConfigError, DataError
from grid.latency import bounds_ns
from grid.venue import Venue

_LEAST_REACH: Final = 4  # decisions after an episode, for an account to be closed out on


class Tape:
    """Decision times with the rows and prices that belong to them, and episodes cut from it.

    Args:
        views: what is seen.
        markets: what is traded, one dataset for each instrument.
        clock: when decisions are taken.
        span_ns: half-open span of decision times, None for all.
    """

    def __init__(
        self,
        views: Sequence[View],
        markets: Sequence[Dataset],
        clock: Clock,
        span_ns: tuple[int, int] | None,
    ) -> None:
        times = decision_times(clock, views)
        if span_ns is not None:
            times = times[(times >= span_ns[0]) & (times < span_ns[1])]
        if len(times) < 2:
            raise DataError("no two decision times in the span asked for")
        self.times_ns = times
        self.rows = np.stack([view.rows_at(times) for view in views], axis=1)
        self.step_ns = _usual_step_ns(times, views[0].fitted_ns)
        by_id = {view.dataset.manifest.instrument.id: view for view in reversed(views)}
        ids = [m.manifest.instrument.id for m in markets]
        missing = [i for i in ids if i not in by_id]
        if missing:
            raise ConfigError(f"no view of {missing[0]}, which is traded; its price is not known")
        self.prices = np.stack([by_id[i].prices[by_id[i].rows_at(times)] for i in ids], axis=1)
        self._market_times = [np.asarray(m.columns["ts_event"]) for m in markets]
        for market, rows_ns in zip(markets, self._market_times, strict=True):
            if not ((rows_ns >= times[0]) & (rows_ns <= times[-1])).any():
                m, start, end = market.manifest, *(to_iso(int(times[k])) for k in (0, -1))
                raise DataError(
                    f"{m.name}: no row of {m.instrument.id} between {start} and {end}, where "
                    "decisions are taken"
                )

    def prices_at(self, ts_ns: int) -> list[float]:
        """Return the prices at the newest decision that is not after `ts_ns`."""
        at = int(np.searchsorted(self.times_ns, ts_ns, side="right")) - 1
        prices: list[float] = self.prices[at].tolist()
        return prices

    def reach(self, last: int, venue: Venue) -> int:
        """Return the last decision that an engine is given, to be closed out on, after `last`."""
        if not venue.liquidation:
            return last
        _, longest_ns = bounds_ns(venue)
        # what is under way, the cancellation, the closing order, each with its latency
        until_ns = self.times_ns[last] + 3 * longest_ns
        end = max(last + _LEAST_REACH, int(np.searchsorted(self.times_ns, until_ns, side="right")))
        return min(len(self.times_ns) - 1, end)

    def market_rows(self, first: int, last: int) -> list[tuple[int, int]]:
        """Return the rows of each market from just before decision `first` to `last`."""
        start, end = self.times_ns[first], self.times_ns[last]
        ranges = []
        for times in self._market_times:
            lo = int(np.searchsorted(times, start, side="right")) - 1
            hi = int(np.searchsorted(times, end, side="right")) + 1
            ranges.append((max(0, lo), min(len(times), hi)))
        return ranges


def _usual_step_ns(times_ns: NDArray[np.int64], fitted_ns: tuple[int, int]) -> int:
    """The unit of an order's age; like normalization, learned from training rows and no other."""
    known = times_ns[(times_ns >= fitted_ns[0]) & (times_ns <= fitted_ns[1])]
    return int(np.median(np.diff(known if len(known) > 1 else times_ns[:2])))
