"""Market events per second of each kind of data: the env, beside the bare engine on the same data.

The env computes features, account and reward and changes its target at every tenth row, so that
the engine plays all there is; the bare engine hands each row to an empty strategy. A book by price
(L2) or by order (L3) is counted by its events, of which a row every 100 ms is made; all else by its
rows. The data are synthetic: `envs.synthetic` and `envs.synthetic_book`.

    bars ... L3          events played a second
    load_bars ... _L3    events that a reset builds and loads, beside loading them ready-made
    rows_L2, rows_L3     events a second when rows are made of them, on import
"""

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from nautilus_trader.model import BarType, BookType, InstrumentId
from nautilus_trader.trading import Strategy, StrategyConfig

from agents.bench.report import Row
from envs import engine_build, engine_data
from envs.books import book_type
from envs.data.book import rows_of
from envs.data.step import named
from envs.pipeline import fit
from envs.synthetic import BAR, INTERVAL_NS, signal
from envs.synthetic import INSTRUMENT as PAIR
from envs.synthetic_book import INSTRUMENT, LEVELS, made
from envs.trading import TradingEnv
from grid.dataset import Columns, Dataset, Kind, Manifest, Quality
from grid.instrument import Instrument
from grid.node.links import LocalLink
from grid.spec import Spec, TargetRule
from grid.venue import Venue

ROUNDS: Final = 3
EVENTS: Final = 40_000
EVERY: Final = "100ms"
VENUE: Final = Venue(latency_ms=5)
_CAPITAL: Final = 1e9  # that nobody is ruined
_COMMON: Final = ("log_return:1", "zscore:20", "volatility:20")
_BOOK: Final = ("spread", "microprice", "book_imbalance:5", "depth_spread:5", "levels:5")
FEATURES: Final[dict[Kind, tuple[str, ...]]] = {
    "bars": (*_COMMON, "bar_body", "log_volume"),
    "quotes": (*_COMMON, "spread", "imbalance", "microprice"),
    "trades": (*_COMMON, "trade_sign:20", "log_volume"),
    "depth": (*_COMMON, *_BOOK),
    "deltas": (*_COMMON, *_BOOK),
}


class _Empty(Strategy):
    """Does nothing with each row."""

    def __init__(self, config: StrategyConfig, spec: Spec) -> None:
        self._spec = spec

    def __new__(cls, config: StrategyConfig, spec: Spec) -> "_Empty":
        """Hand the engine its own config."""
        return super().__new__(cls, config)  # type: ignore[call-arg]

    def on_start(self) -> None:
        """Subscribe."""
        name = InstrumentId.from_str(self._spec.instrument_id)
        if self._spec.rows == "bar":
            self.subscribe_bars(BarType.from_str(self._spec.bar_type))
        elif self._spec.rows == "depth":
            self.subscribe_book_deltas(name, BookType.L2_MBP)
            self.subscribe_book_depth(name, BookType.L2_MBP)
        else:
            self.subscribe_quotes(name)

    def on_bar(self, bar: Any) -> None:
        """Do nothing."""

    def on_quote(self, quote: Any) -> None:
        """Do nothing."""

    def on_book_depth(self, depth: Any) -> None:
        """Do nothing."""

    def on_book_deltas(self, deltas: Any) -> None:
        """Do nothing."""


def run() -> list[Row]:
    """Measure; takes about twenty seconds."""
    plays, loads, imports = [], [], []
    for name, dataset in _datasets():
        count = dataset.manifest.events or dataset.manifest.rows
        rounds = [_round(dataset) for _ in range(ROUNDS)]
        env, bare, reset, ready = (count / statistics.median(r) for r in zip(*rounds, strict=True))
        plays.append(Row.of(name, env, "events/s", bare))
        loads.append(Row.of(f"load_{name}", reset, "events/s", ready))
        if dataset.manifest.events:
            rate = count / _seconds(partial(_make_rows, dataset))
            imports.append(Row.of(f"rows_{name}", rate, "events/s", bare))
    return plays + loads + imports


def _round(dataset: Dataset) -> tuple[float, float, float, float]:
    """Seconds of the env, of the bare engine, of a reset, and of loading what is ready-made."""
    manifest = dataset.manifest
    rule = TargetRule(max_qty=2.0)
    features = FEATURES[manifest.kind]
    whole = (0, manifest.rows)
    spec = fit(dataset, whole, features=features, window=8, target=rule, capital=_CAPITAL)
    data = engine_data.market_data(
        manifest, dataset.columns, spec.bar_type, VENUE, events=dataset.events
    )
    bare, _ = engine_build.build(
        spec, manifest.instrument, VENUE, LocalLink(lambda _: None), book=book_type(manifest, VENUE)
    )
    bare.clear_strategies()
    strategy = _Empty(StrategyConfig(), spec)
    bare.add_strategy(strategy)
    ready_s = _seconds(lambda: bare.add_data(data, validate=False))
    bare_s = _seconds(bare.run)
    del strategy
    bare.dispose()
    env = TradingEnv(dataset, spec, VENUE)
    env.reset()
    reset_s = _seconds(env.reset)
    steps = manifest.rows - env.pipeline.warmup - 1
    env_s = _seconds(lambda: _act10(env, steps))
    env.close()
    return env_s, bare_s, reset_s, ready_s


def _act10(env: TradingEnv, steps: int) -> None:
    for k in range(steps):
        env.step(1 + (k // 10) % 2)


def _seconds(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def _make_rows(dataset: Dataset) -> None:
    m = dataset.manifest
    rows_of(dataset.events, m.book or "L2", m.instrument, named(m.bar), LEVELS)


def _datasets() -> Iterator[tuple[str, Dataset]]:
    bars = signal(EVENTS, seed=1).columns
    yield "bars", _dataset("bars", bars, PAIR, bar=BAR, interval_ns=INTERVAL_NS)
    depth = made("depth", EVENTS, seed=1, every="1")
    levels = depth.columns
    best = {f[:-1]: np.ascontiguousarray(levels[f][:, 0]) for f in levels if f != "ts_event"}
    quotes = {"ts_event": levels["ts_event"], **best}
    yield "quotes", _dataset("quotes", quotes, INSTRUMENT)
    buys = np.random.default_rng(1).random(len(best["bid_px"])) < 0.5
    trades = {
        "ts_event": levels["ts_event"],
        "price": np.where(buys, best["ask_px"], best["bid_px"]),
        "qty": np.ones(len(buys)),
        "side": np.where(buys, 1.0, -1.0),
    }
    yield "trades", _dataset("trades", trades, INSTRUMENT)
    yield "depth", _dataset("depth", levels, INSTRUMENT, book="L2", levels=LEVELS)
    for kind in ("L2", "L3"):
        rows = made(kind, EVENTS, seed=1, every=EVERY)
        about = {"book": kind, "levels": LEVELS, "bar": rows.bar}
        yield kind, _dataset("deltas", rows.columns, INSTRUMENT, rows.events, **about)


def _dataset(
    kind: Kind,
    columns: Columns,
    instrument: Instrument,
    events: Columns | None = None,
    **about: Any,
) -> Dataset:
    ts = columns["ts_event"]
    manifest = Manifest(
        name="bench",
        kind=kind,
        instrument=instrument,
        rows=len(ts),
        start_ns=int(ts[0]),
        end_ns=int(ts[-1]),
        fingerprint="",
        quality=Quality(rows_read=len(ts)),
        source="synthetic",
        events=len(events["ts_event"]) if events else 0,
        **about,
    )
    return Dataset(Path("bench"), manifest, columns, events or {})
