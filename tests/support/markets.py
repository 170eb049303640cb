"""Small markets in memory, and specs for them."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from envs.made_bars import bars_of
from envs.pipeline import fit
from grid.dataset import LEVELS as LEVEL_FIELDS
from grid.dataset import Columns, Dataset, Manifest, Quality, fingerprint
from grid.instrument import CurrencyPair, Instrument
from grid.spec import Spec, TargetRule
from grid.venue import ticks

MINUTE_NS = 60_000_000_000
START_NS = 1_577_836_800_000_000_000
PAIR = CurrencyPair(id="EUR/USD.SIM", price_precision=5, base_currency="EUR", quote_currency="USD")
BAR_FEATURES = ("log_return:1", "momentum:5", "volatility:10", "rsi:10", "bar_body", "hour_sin")
QUOTE_FEATURES = ("log_return:1", "spread", "imbalance", "zscore:10")
TRADE_FEATURES = ("log_return:1", "trade_imbalance:10", "trade_sign:3", "log_volume", "zscore:10")
DEPTH_FEATURES = ("log_return:1", "spread", "microprice", "book_imbalance:3", "levels:2")
FEATURES = {
    "bars": BAR_FEATURES,
    "quotes": QUOTE_FEATURES,
    "trades": TRADE_FEATURES,
    "depth": DEPTH_FEATURES,
    "deltas": DEPTH_FEATURES,
}
_TELLING = {"bars": "open", "quotes": "bid_px", "trades": "price", "depth": "bid_pxs"}
LEVELS = 5


def bar_columns(n: int = 400, seed: int = 0, instrument: Instrument = PAIR) -> Columns:
    """A random walk of bars whose opens are never the closes before them."""
    rng = np.random.default_rng(seed)
    close = 1.1 + np.cumsum(rng.normal(0, 2e-4, n))
    opening = np.concatenate([[1.1], close[:-1]]) + rng.choice([-1.0, 1.0], n) * 3e-4
    return {
        "ts_event": START_NS + np.arange(1, n + 1, dtype=np.int64) * MINUTE_NS,
        "open": ticks(opening, instrument),
        "high": ticks(np.maximum(opening, close) + 1e-4, instrument),
        "low": ticks(np.minimum(opening, close) - 1e-4, instrument),
        "close": ticks(close, instrument),
        "volume": np.rint(rng.uniform(1, 1000, n)),
    }


def quote_columns(n: int = 600, seed: int = 0, instrument: Instrument = PAIR) -> Columns:
    """A random walk of quotes at irregular times, 2 s apart on average."""
    rng = np.random.default_rng(seed)
    mid = 1.1 + np.cumsum(rng.normal(0, 5e-5, n))
    half = rng.uniform(2e-5, 8e-5, n)
    return {
        "ts_event": START_NS + np.cumsum(rng.integers(1, 4_000_000_000, n)),
        "bid_px": ticks(mid - half, instrument, np.floor),
        "ask_px": ticks(mid + half, instrument, np.ceil),
        "bid_qty": np.rint(rng.uniform(1e5, 1e6, n)),
        "ask_qty": np.rint(rng.uniform(1e5, 1e6, n)),
    }


def trade_columns(n: int = 600, seed: int = 0, instrument: Instrument = PAIR) -> Columns:
    """A random walk of trades, some of them at one time, some of unknown side."""
    rng = np.random.default_rng(seed)
    return {
        "ts_event": START_NS + np.cumsum(rng.integers(0, 4, n) * 1_000_000_000),
        "price": ticks(1.1 + np.cumsum(rng.normal(0, 5e-5, n)), instrument),
        "qty": np.rint(rng.uniform(1, 5_000, n)),
        "side": rng.choice([1.0, 1.0, -1.0, -1.0, 0.0], n),
    }


def depth_columns(n: int = 600, seed: int = 0, instrument: Instrument = PAIR) -> Columns:
    """A random walk of a book of five levels, 2 s apart on average; some have fewer."""
    rng = np.random.default_rng(seed)
    mid = 1.1 + np.cumsum(rng.normal(0, 5e-5, n))[:, None]
    columns: Columns = {"ts_event": START_NS + np.cumsum(rng.integers(1, 4_000_000_000, n))}
    for side, sign, rounding in (("bid", -1.0, np.floor), ("ask", 1.0, np.ceil)):
        away = np.cumsum(rng.integers(1, 4, (n, LEVELS)), axis=1) * 1e-5
        px = ticks(mid + sign * away, instrument, rounding)
        qty = np.rint(rng.uniform(1e3, 4e3, (n, LEVELS)))
        short = rng.random(n) < 0.1
        px[short, -1], qty[short, -1] = px[short, -2], 0.0
        columns |= {f"{side}_pxs": px, f"{side}_qtys": qty}
    return {"ts_event": columns["ts_event"], **{f: columns[f] for f in LEVEL_FIELDS}}


def book_dataset(n: int = 4_000, *, book: Any = "L3", every: str = "100ms") -> Dataset:
    """A book made by chance, with its events."""
    from envs.synthetic_book import INSTRUMENT, made  # it loads pandas, which starts a thread

    rows = made(book, n, seed=1, every=every, levels=LEVELS)
    data = dataset(rows.columns, INSTRUMENT)
    manifest = msgspec.structs.replace(
        data.manifest,
        kind="deltas",
        bar=rows.bar,
        book=book,
        events=len(rows.events["ts_event"]),
    )
    return Dataset(data.path, manifest, rows.columns, rows.events)


def dataset(columns: Columns, instrument: Instrument = PAIR, name: str = "test") -> Dataset:
    """Wrap columns as a dataset that lies nowhere."""
    kind: Any = next(k for k, field in _TELLING.items() if field in columns)
    bar = "1-MINUTE-LAST" if kind == "bars" else ""
    n = len(columns["ts_event"])
    manifest = Manifest(
        name=name,
        kind=kind,
        instrument=instrument,
        rows=n,
        start_ns=int(columns["ts_event"][0]),
        end_ns=int(columns["ts_event"][-1]),
        fingerprint=fingerprint(kind, instrument, bar, columns),
        quality=Quality(rows_read=n),
        source="made for a test",
        bar=bar,
        interval_ns=MINUTE_NS if kind == "bars" else 0,
        book="L2" if kind == "depth" else "",
        levels=columns["bid_pxs"].shape[1] if kind == "depth" else 0,
    )
    return Dataset(Path("nowhere"), manifest, columns)


def spec_for(
    data: Dataset,
    *,
    every: int = 1,
    window: int = 4,
    timer_s: float = 0.0,
    bar: str = "",
    **target: Any,
) -> Spec:
    """Fit a spec on the first half of a dataset, or of the bars that are made of it."""
    if bar:
        data = bars_of(data, bar)
    features = FEATURES[data.manifest.kind]
    rule = TargetRule(**{"max_qty": 10_000.0, **target})
    half = data.manifest.rows // 2
    return fit(
        data, (0, half), features=features, window=window, target=rule, every=every, timer_s=timer_s
    )
