"""Steps per second of the env, beside the bare engine with an empty strategy on the same data.

Both run in this process, one after the other in every round, on the same synthetic bars and the
quotes of their opens. The env computes nothing less than in training: features, account, reward.

    raw                 nothing is done, and one feature of one row seen
    hold, act10, act1   nothing, a change of target every 10 steps, one at every step
    reset               an episode of a day, beside the bare engine's reset and reload
    long_act10          steps/s of the last tenth of a million steps, beside the first tenth
    long_act10_memory   resident memory after the last tenth, beside that after the first
    long_reset          the same of 10,000 resets
"""

import statistics
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any, Final

import psutil
from nautilus_trader.model import BarType
from nautilus_trader.trading import Strategy, StrategyConfig

from agents.bench.report import Row
from envs import engine_build, engine_data
from envs.pipeline import fit
from envs.synthetic import INSTRUMENT, signal
from envs.trading import TradingEnv
from grid.dataset import Columns, Dataset, Manifest, Quality
from grid.node.links import LocalLink
from grid.spec import Spec, TargetRule
from grid.venue import Venue

ROUNDS: Final = 5
BARS: Final = 40_000
EPISODE: Final = 1_440  # a day of minutes
LONG_STEPS: Final = 1_000_000
LONG_RESETS: Final = 10_000
SHORT_EPISODE: Final = 120
RESETS: Final = 10  # that a round times
FEATURES: Final = (
    "log_return:1", "log_return:10", "momentum:60", "zscore:60", "rsi:14", "volatility:30",
    "bar_range", "bar_body", "log_volume", "hour_sin", "hour_cos",
)  # fmt: skip


class _Empty(Strategy):
    """Does nothing with each bar."""

    def on_start(self) -> None:
        """Subscribe."""
        self.subscribe_bars(BarType.from_str(f"{INSTRUMENT.id}-1-MINUTE-MID-EXTERNAL"))

    def on_bar(self, bar: Any) -> None:
        """Do nothing."""


def run() -> list[Row]:
    """Measure; takes about forty seconds."""
    dataset = bars_of(signal(BARS, seed=1).columns)
    rule = TargetRule(max_qty=100.0)
    spec = fit(dataset, (0, BARS), features=FEATURES, window=16, target=rule)
    least = fit(dataset, (0, BARS), features=FEATURES[:1], window=1, target=rule)
    venue = Venue()
    data = engine_data.market_data(dataset.manifest, dataset.columns, spec.bar_type, venue)
    day = data[: 2 * EPISODE]
    rates: dict[str, list[float]] = {}

    def note(name: str, per_s: float) -> None:
        rates.setdefault(name, []).append(per_s)

    for _ in range(ROUNDS):
        bare, strategy = _bare(dataset, spec, venue)
        bare.add_data(data, validate=False)
        note("bare", BARS / _timed(bare.run))
        del strategy
        bare.reset()
        note("bare_reset", RESETS / _timed(partial(_again, partial(_refill, bare, day))))
        bare.dispose()
        env = TradingEnv(dataset, spec, venue)
        env.reset()
        steps = BARS - env.pipeline.warmup - 1
        note("hold", steps / _timed(partial(_act, env, repeat(1, steps))))
        env.reset()
        note("act10", steps / _timed(partial(_act, env, _turns(steps, 10))))
        env.reset()
        note("act1", steps / 10 / _timed(partial(_act, env, _turns(steps // 10, 1))))
        env.close()
        raw = TradingEnv(dataset, least, venue)
        raw.reset()
        steps = BARS - raw.pipeline.warmup - 1
        note("raw", steps / _timed(partial(_act, raw, repeat(1, steps))))
        raw.close()
        short = TradingEnv(dataset, spec, venue, steps=EPISODE)
        short.reset(seed=0)
        note("reset", RESETS / _timed(partial(_again, short.reset)))
        short.close()
    value = {name: statistics.median(found) for name, found in rates.items()}
    return [
        Row.of("raw", value["raw"], "steps/s", value["bare"]),
        Row.of("hold", value["hold"], "steps/s", value["bare"]),
        Row.of("act10", value["act10"], "steps/s", value["bare"]),
        Row.of("act1", value["act1"], "steps/s", value["bare"]),
        Row.of("reset", value["reset"], "resets/s", value["bare_reset"]),
        *_endurance(dataset, spec, venue),
    ]


def _endurance(dataset: Dataset, spec: Spec, venue: Venue) -> list[Row]:
    env = TradingEnv(dataset, spec, venue)
    steps = BARS - env.pipeline.warmup - 1

    def pass_through() -> float:
        env.reset()
        return steps / _timed(partial(_act, env, _turns(steps, 10)))

    episodes = -(-LONG_STEPS // steps)
    rows = _long("long_act10", "steps/s", pass_through, episodes)
    env.close()
    short = TradingEnv(dataset, spec, venue, steps=SHORT_EPISODE)
    short.reset(seed=0)

    def again() -> float:
        return LONG_RESETS / 100 / _timed(partial(_resets, short, LONG_RESETS // 100))

    rows += _long("long_reset", "resets/s", again, 100)
    short.close()
    return rows


def _long(name: str, unit: str, measure: Callable[[], float], times: int) -> list[Row]:
    """Pace and memory of the last tenth of many measurements, beside the first tenth."""
    tenth = max(1, times // 10)
    rates, resident_mb = [], []
    for _ in range(times):
        rates.append(measure())
        resident_mb.append(psutil.Process().memory_info().rss / 1e6)
    first, last = statistics.median(rates[:tenth]), statistics.median(rates[-tenth:])
    return [
        Row.of(name, last, unit, first),
        Row.of(f"{name}_memory", resident_mb[-1], "MB", resident_mb[tenth - 1]),
    ]


def _resets(env: TradingEnv, n: int) -> None:
    for _ in range(n):
        env.reset()
        env.step(2)


def _act(env: TradingEnv, actions: Iterable[int]) -> None:
    step = env.step
    for action in actions:
        step(action)


def _turns(steps: int, each: int) -> list[int]:
    """Flat and long in turns, a change of target every `each` steps."""
    return [1 + (k // each) % 2 for k in range(steps)]


def _again(reset: Callable[[], object]) -> None:
    for _ in range(RESETS):
        reset()


def _refill(bare: Any, day: list[Any]) -> None:
    bare.reset()
    bare.clear_data()
    bare.add_data(day, validate=False)


def _timed(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def _bare(dataset: Dataset, spec: Spec, venue: Venue) -> tuple[Any, Strategy]:
    bare, _ = engine_build.build(
        spec, dataset.manifest.instrument, venue, LocalLink(lambda _: None)
    )
    bare.clear_strategies()
    strategy = _Empty(StrategyConfig())
    bare.add_strategy(strategy)
    return bare, strategy


def bars_of(columns: Columns) -> Dataset:
    """Return synthetic bars as a dataset that lies nowhere."""
    manifest = Manifest(
        name="bench",
        kind="bars",
        instrument=INSTRUMENT,
        rows=len(columns["ts_event"]),
        start_ns=int(columns["ts_event"][0]),
        end_ns=int(columns["ts_event"][-1]),
        fingerprint="",
        quality=Quality(rows_read=len(columns["ts_event"])),
        source="envs.synthetic.signal, seed 1",
        bar="1-MINUTE-MID",
        interval_ns=60_000_000_000,
    )
    return Dataset(Path("bench"), manifest, columns)
