"""Bars made of a dataset of quotes or trades; orders still fill on the ticks themselves."""

from typing import Final

import msgspec
import numpy as np

from envs.data.bar import interval_ns
from grid.bars import made_of
from grid.dataset import Dataset, Kind, Quality, check_finite, fingerprint
from grid.errors import ConfigError, DataError
from grid.spec import Spec

_PRICES: Final[dict[Kind, tuple[str, ...]]] = {"quotes": ("BID", "ASK", "MID"), "trades": ("LAST",)}


def bars_of(ticks: Dataset, bar: str) -> Dataset:
    """Return a dataset of bars made of `ticks`, which it keeps for orders to fill on.

    Args:
        ticks: quotes or trades.
        bar: the bars, as in `1-MINUTE-MID`: BID, ASK or MID of quotes, LAST of trades.

    Raises:
        ConfigError: such bars cannot be made of these ticks.
        DataError: there is no complete bar, or its name is wrong.
    """
    manifest = ticks.manifest
    length_ns = interval_ns(bar)
    prices = _PRICES.get(manifest.kind, ())
    if bar.rpartition("-")[2] not in prices:
        expected = f"one of {', '.join(prices)}" if prices else "quotes or trades"
        raise ConfigError(
            f"{manifest.name}: bars {bar} made of {manifest.kind}: expected {expected}"
        )
    check_finite(ticks, 0, manifest.rows)
    columns = made_of(ticks.columns, bar, length_ns, manifest.instrument)
    times_ns = columns["ts_event"]
    if not len(times_ns):
        raise DataError(f"{manifest.name}: no complete bar of {bar} in {manifest.rows} rows")
    made = msgspec.structs.replace(
        manifest,
        kind="bars",
        rows=len(times_ns),
        start_ns=int(times_ns[0]),
        end_ns=int(times_ns[-1]),
        fingerprint=fingerprint("bars", manifest.instrument, bar, columns),
        quality=Quality(rows_read=manifest.rows),
        bar=bar,
        interval_ns=length_ns,
    )
    return Dataset(ticks.path, made, columns, ticks=ticks)


def seen(dataset: Dataset, spec: Spec) -> Dataset:
    """Return the rows that a spec is about: bars made of the dataset, or the dataset itself.

    Raises:
        ConfigError: as `bars_of`.
        DataError: as `bars_of`.
    """
    return bars_of(dataset, spec.bar) if spec.bars_from and dataset.ticks is None else dataset


def ticks_between(bars: Dataset, first: int, last: int) -> Dataset:
    """Return what orders fill on between two decisions: the ticks, or the rows themselves.

    Args:
        bars: of any kind.
        first: row of the first decision.
        last: row of the last.
    """
    ticks, times_ns = bars.ticks, bars.columns["ts_event"]
    if ticks is None:
        return cut(bars, first, last + 1)
    return between(ticks, int(times_ns[first]), int(times_ns[last]))


def between(ticks: Dataset, start_ns: int, end_ns: int) -> Dataset:
    """Return the rows from the newest at `start_ns` to the first that is not before `end_ns`."""
    times_ns = ticks.columns["ts_event"]
    lo = max(0, int(np.searchsorted(times_ns, start_ns, side="right")) - 1)
    hi = int(np.searchsorted(times_ns, end_ns, side="left")) + 1
    return cut(ticks, lo, hi)


def cut(dataset: Dataset, lo: int, hi: int) -> Dataset:
    """Return rows [lo, hi) of a dataset."""
    columns = {k: np.asarray(v[lo:hi]) for k, v in dataset.columns.items()}
    return msgspec.structs.replace(dataset, columns=columns)
