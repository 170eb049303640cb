"""Quotes and trades made by formula, for benchmarks and examples: a random walk on ticks.

Nothing foretells anything in them. The same seed gives the same bits.
"""

from pathlib import Path
from typing import Final, Literal

import numpy as np

from grid.dataset import Columns, Dataset, Manifest, Quality, fingerprint
from grid.instrument import CurrencyPair
from grid.venue import Floats, ticks

INSTRUMENT: Final = CurrencyPair(
    id="SYN/USD.SIM",
    price_precision=5,
    base_currency="SYN",
    quote_currency="USD",
)
START_NS: Final = 1_577_836_800 * 10**9  # 2020-01-01
_MEAN_WAIT_S: Final = 10.0
_MOVE_TICKS: Final = 2.0  # deviation of a quote's move
_TRADED: Final = 0.7  # share of the quotes after which somebody trades


def quotes(n: int, *, seed: int = 0) -> Dataset:
    """Return `n` quotes around 1.1, ten seconds apart on average, one to three ticks wide."""
    rng = np.random.Generator(np.random.PCG64(seed))
    waits_ns = rng.exponential(_MEAN_WAIT_S * 1e9, n).astype(np.int64) + 2
    bid_ticks: Floats = 110_000.0 + np.rint(np.cumsum(rng.normal(0.0, _MOVE_TICKS, n)))
    wide_ticks = rng.integers(1, 4, n)
    sizes = np.rint(np.exp(rng.normal(11.0, 0.7, (2, n))))  # half of them below 60,000
    columns: Columns = {
        "ts_event": START_NS + np.cumsum(waits_ns),
        "bid_px": ticks(_prices(bid_ticks), INSTRUMENT),
        "ask_px": ticks(_prices(bid_ticks + wide_ticks), INSTRUMENT),
        "bid_qty": sizes[0],
        "ask_qty": sizes[1],
    }
    return _dataset("quotes", columns)


def trades(quoted: Dataset, *, seed: int = 1) -> Dataset:
    """Return trades at the touch, at most one between two quotes, of 30,000 on average."""
    rng = np.random.Generator(np.random.PCG64(seed))
    columns = quoted.columns
    times_ns = columns["ts_event"]
    chosen = np.flatnonzero(rng.random(len(times_ns) - 1) < _TRADED)
    buys = rng.random(len(chosen)) < 0.5
    return _dataset(
        "trades",
        {
            "ts_event": (times_ns[chosen] + times_ns[chosen + 1]) // 2,
            "price": np.where(buys, columns["ask_px"][chosen], columns["bid_px"][chosen]),
            "qty": np.rint(rng.exponential(30_000.0, len(chosen))) + 1.0,
            "side": np.where(buys, 1.0, -1.0),
        },
    )


def _dataset(kind: Literal["quotes", "trades"], columns: Columns) -> Dataset:
    times_ns = columns["ts_event"]
    n = len(times_ns)
    manifest = Manifest(
        name=f"synthetic-{kind}",
        kind=kind,
        instrument=INSTRUMENT,
        rows=n,
        start_ns=int(times_ns[0]),
        end_ns=int(times_ns[-1]),
        fingerprint=fingerprint(kind, INSTRUMENT, "", columns),
        quality=Quality(rows_read=n),
        source="made by formula",
    )
    return Dataset(Path("nowhere"), manifest, columns)


def _prices(in_ticks: Floats) -> Floats:
    return in_ticks * INSTRUMENT.tick
