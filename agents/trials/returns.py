"""The records of a grid's configurations side by side, as the statistics take them.

table = returns(load(folder))
judge(table.returns, table.per_year, tried=results.count)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from agents.metrics import Floats, Ints, Track, periods_per_year
from agents.trials.results import GridResults, TrialResult
from grid.errors import DataError


@dataclass(frozen=True)
class Table:
    """Returns on unseen spans: a column each configuration, its folds joined, its seeds averaged.

    Attributes:
        keys: of the configurations.
        ts_ns: int64 [n], ends of the periods.
        returns: float64 [n, configurations], simple returns of a period after costs.
        fold: int64 [n], index of the fold that a period is of.
        per_year: periods in a year, as counted within the folds.
        moments: of each fold, int64 [its periods + 1]: the beginning of its first period, then
            the ends.
    """

    keys: tuple[str, ...]
    ts_ns: Ints
    returns: Floats
    fold: NDArray[np.int64]
    per_year: float
    moments: tuple[Ints, ...]

    def of(self, tracks: Sequence[Track]) -> Floats:
        """Return another's returns in these periods, float64 [n]: a track for each fold."""
        return np.concatenate([between(t, ts) for t, ts in zip(tracks, self.moments, strict=True)])


def returns(results: GridResults, span: str = "test") -> Table:
    """Return the table of all configurations whose trials are all done.

    Where configurations decide at different times, the periods are those between moments that all
    have. An account that was ruined stays as it was.

    Args:
        results: of a grid.
        span: `test`, or `validation`, which was chosen by.

    Raises:
        DataError: no configuration is done on all folds and seeds, or no moment is common to all.
        CheckpointError: a trial's file is damaged.
    """
    unfinished = {t.trial.configuration for t in results.trials if t.status != "done"}
    keys = tuple(c.key for c in results.configurations if c.key not in unfinished)
    if not keys:
        raise DataError(f"grid {results.grid.name!r}: no configuration is done on all folds, seeds")
    columns: list[Floats] = []
    moments: list[Ints] = []
    rates = []
    for fold in range(len(results.planned.folds)):
        own = [t for t in results.trials if t.trial.fold == fold and t.trial.configuration in keys]
        tracks = {t.trial.id: t.tracks()[span] for t in own}
        ts = _common(list(tracks.values()))
        rates.append(periods_per_year(ts))
        moments.append(ts)
        columns.append(np.column_stack([_mean(key, own, tracks, ts) for key in keys]))
    fold_of = np.repeat(np.arange(len(moments)), [len(ts) - 1 for ts in moments])
    ends = np.concatenate([ts[1:] for ts in moments])
    per_year = float(np.mean(rates))
    return Table(keys, ends, np.concatenate(columns), fold_of, per_year, tuple(moments))


def _common(tracks: list[Track]) -> Ints:
    whole = [t.ts_ns for t in tracks if not t.ruined] or [t.ts_ns for t in tracks]
    ts: Ints = reduce(np.intersect1d, whole)
    if len(ts) < 2:
        raise DataError("returns: expected two moments or more that all configurations have")
    return ts


def _mean(key: str, own: list[TrialResult], tracks: dict[str, Track], ts: Ints) -> Floats:
    of_seeds = [between(tracks[t.trial.id], ts) for t in own if t.trial.configuration == key]
    return np.asarray(np.mean(of_seeds, axis=0))


def between(track: Track, ts: Ints) -> Floats:
    """Return a track's simple returns between moments: float64 [moments - 1]."""
    at = np.searchsorted(track.ts_ns, ts, side="right") - 1
    equity = track.equity[np.maximum(at, 0)]
    return np.asarray(equity[1:] / equity[:-1] - 1.0)
