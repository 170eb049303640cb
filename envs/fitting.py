"""What must fit together before an env is made, and on which rows it may decide."""

import numpy as np
from numpy.typing import NDArray

from envs.engine_build import check_latency
from envs.pipeline import ROWS, Pipeline, book_of
from grid.config import checked
from grid.dataset import Dataset, to_iso
from grid.errors import ConfigError, DataError
from grid.spec import Spec
from grid.venue import Venue


def check_fit(dataset: Dataset, spec: Spec, venue: Venue) -> None:
    """Refuse a spec that was made for other rows or another instrument.

    Raises:
        ConfigError: with what differs.
    """
    manifest = dataset.manifest
    rows = ROWS.get(manifest.kind, manifest.kind)
    if rows != spec.rows:
        raise ConfigError(f"{manifest.name}: expected {spec.rows} rows, found {manifest.kind}")
    if manifest.instrument.id != spec.instrument_id:
        raise ConfigError(
            f"{manifest.name}: expected {spec.instrument_id}, found {manifest.instrument.id}"
        )
    if book_of(manifest) != spec.book:
        expected, found = (f"{b.levels} levels and tick {b.tick:g}" if b else "no book"
                           for b in (spec.book, book_of(manifest)))  # fmt: skip
        raise ConfigError(f"{manifest.name}: expected {expected}, found {found}")
    if manifest.bar != spec.bar:
        raise ConfigError(f"{manifest.name}: expected {spec.bar} bars, found {manifest.bar}")
    if (dataset.ticks is not None) != bool(spec.bars_from):
        made, given = "bars made of ticks", "rows as they were given"
        expected, found = (made, given) if spec.bars_from else (given, made)
        raise ConfigError(f"{manifest.name}: expected {expected}, found {found}")
    checked(spec, "spec")
    checked(venue, "venue")
    check_latency((dataset.ticks or dataset).manifest, venue)


def decision_rows(
    dataset: Dataset, pipeline: Pipeline, rows: tuple[int, int] | None
) -> tuple[int, int]:
    """Return the half-open range of rows of `rows`, None for all, that have their warm-up.

    Raises:
        DataError: there is no such range, or nothing is left of it.
    """
    manifest = dataset.manifest
    lo, hi = (0, manifest.rows) if rows is None else rows
    if not 0 <= lo < hi <= manifest.rows:
        raise DataError(f"{manifest.name}: rows {lo} to {hi} of {manifest.rows} are no range")
    lo = max(lo, pipeline.warmup - 1)
    if hi - lo < 2:
        ts = dataset.columns["ts_event"]
        raise DataError(
            f"{manifest.name}: after {pipeline.warmup - 1} rows of warm-up no decision is left "
            f"before {to_iso(int(ts[hi - 1]))}"
        )
    return lo, hi


def timed_rows(
    times_ns: NDArray[np.int64], first: int, timer_ns: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the decisions of a timer: the newest row at each, and its time.

    They lie on the multiples of the timer since which there is a new row, from row `first` on, and
    not after the last row.
    """
    due_ns = -(-times_ns // timer_ns) * timer_ns
    newest = np.flatnonzero(np.diff(due_ns, append=due_ns[-1] + 1))
    newest = newest[(newest >= first) & (due_ns[newest] <= times_ns[-1])]
    return newest, due_ns[newest]
