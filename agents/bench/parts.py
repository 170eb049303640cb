"""Where the microseconds of the env go; the baseline of a part is the whole that it belongs to.

    step_*      a step that holds a position: action, account, reward, observation, info
    order_*     an order and its fill, one every ten steps; `order_engine` is what the bare engine
                takes for the same, `order_rows` its way over the ten rows between
    reset_*     a reset to an episode of a day
    vector_N_*  a step of N envs at once; `env` in this process, `hand` with envs that do nothing

Parts are timed alone, in loops: caches are warm there, so they add up to a little less than the
whole. What is left of the whole is the row `rest`. All is processor time, which others on the
machine disturb least, but for `vector`, where one process waits for others.
"""

import statistics
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from nautilus_trader.model import BarType, OrderSide, Quantity
from nautilus_trader.trading import Strategy, StrategyConfig

from agents.bench import vector
from agents.bench.env import EPISODE, FEATURES, bars_of
from agents.bench.idle import Idle
from agents.bench.report import Row
from agents.vec import SharedVecEnv
from envs import engine_build, engine_data
from envs.pipeline import fit
from envs.synthetic import INSTRUMENT, signal
from envs.trading import TradingEnv
from grid.dataset import Dataset
from grid.home import Home
from grid.node.links import LocalLink
from grid.spec import Spec, TargetRule
from grid.venue import Venue

BARS: Final = 20_000
ROUNDS: Final = 5
SIZES: Final = (2, 8)
_TURN: Final = 10  # rows between two orders
_FLAT, _LONG = 1, 2


def run() -> list[Row]:
    """Measure; takes about half a minute."""
    dataset = bars_of(signal(BARS, seed=1).columns)
    rule = TargetRule(max_qty=100.0)
    spec = fit(dataset, (0, BARS), features=FEATURES, window=16, target=rule)
    venue = Venue()
    rounds = [
        _step(dataset, spec, venue) | _order(dataset, spec, venue) | _reset(dataset, spec, venue)
        for _ in range(ROUNDS)
    ]
    found = {name: statistics.median(r[name] for r in rounds) for name in rounds[0]}
    return _rows(found) + _vector_rows()


def _rows(found_us: dict[str, float]) -> list[Row]:
    """The whole of each kind, its parts, and what they leave."""
    rows = []
    for kind in dict.fromkeys(name.partition("_")[0] for name in found_us):
        whole = found_us[kind]
        parts = {n: us for n, us in found_us.items() if n.startswith(f"{kind}_")}
        parts[f"{kind}_rest"] = whole - sum(parts.values())
        rows += [Row.of(name, us, "us", whole) for name, us in {kind: whole, **parts}.items()]
    return rows


def _step(dataset: Dataset, spec: Spec, venue: Venue) -> dict[str, float]:
    with closing(TradingEnv(dataset, spec, venue)) as env:
        env.reset()
        for _ in range(_TURN):
            env.step(_LONG)
        price, equity = env._prices[_TURN], env._equity
        n = BARS // 2
        return {
            "step": _us(partial(env.step, _LONG), n),
            "step_action": _us(partial(env._target, _LONG), n)
            + _us(partial(env._order_qty, 1.0, 100.0, 0.0), n),
            "step_account": _us(partial(env._remember_account, price), n),
            "step_reward": _us(partial(env._rewarded, equity, equity * 1.0001), n),
            "step_observe": _us(partial(env._observe, env._row), n),
            "step_info": _us(partial(env._info, price), n),
        }


def _order(dataset: Dataset, spec: Spec, venue: Venue) -> dict[str, float]:
    manifest, columns = dataset.manifest, dataset.columns
    n = BARS - 2 * _TURN
    with closing(TradingEnv(dataset, spec, venue)) as env:
        n = min(n, BARS - env.pipeline.warmup - 1)
        env.reset()
        hold = _us(partial(env.step, _FLAT), n)
        env.reset()
        targets = iter([_FLAT + k // _TURN % 2 for k in range(n)])
        act = _us(lambda: env.step(next(targets)), n)
    bars = engine_data.market_data(manifest, columns, spec.bar_type, venue)
    quiet = _bare(bars, dataset, spec, venue, _Flips(0)) / BARS
    busy = _bare(bars, dataset, spec, venue, _Flips(_TURN)) / BARS
    quotes = engine_data.market_data(manifest, columns, spec.bar_type, venue, only_quotes=True)
    passed = _bare(quotes, dataset, spec, venue, None) / BARS
    return {
        "order": (act - hold) * _TURN,
        "order_engine": (busy - quiet) * _TURN,
        "order_rows": passed * _TURN,
    }


def _reset(dataset: Dataset, spec: Spec, venue: Venue) -> dict[str, float]:
    manifest = dataset.manifest
    day = {k: np.asarray(v[: EPISODE + 1]) for k, v in dataset.columns.items()}
    n = 100
    make = partial(engine_data.market_data, manifest, day, spec.bar_type, venue, only_quotes=True)
    with closing(TradingEnv(dataset, spec, venue, steps=EPISODE)) as env:
        env.reset(seed=0)
        whole = _us(env.reset, n)
        stepped, data, spent_us = env._engine, make(), {"engine": 0.0, "add": 0.0}
        for _ in range(n):
            env.reset()

            def clear() -> None:
                stepped.stop()
                stepped._engine.reset()
                stepped._engine.clear_data()

            spent_us["engine"] += _us(clear, 1) / n
            spent_us["add"] += _us(partial(stepped._engine.add_data, data, validate=False), 1) / n
    return {
        "reset": whole,
        "reset_convert": _us(make, n),
        "reset_add": spent_us["add"],
        "reset_engine": spent_us["engine"],
    }


def _vector_rows() -> list[Row]:
    rows = []
    with TemporaryDirectory(prefix="argonaut-") as name, closing(vector._Servers()):
        recipe = vector._recipe(Home(Path(name)))
        with closing(recipe.make()) as env:
            env.reset(seed=0)
            alone = _us(partial(env.step, _FLAT), EPISODE - 1)
            obs_size = env.observation_space.shape[0]
        for n in SIZES:
            found: dict[str, list[float]] = {"whole": [], "hand": []}
            with (
                closing(SharedVecEnv([recipe] * n)) as envs,
                closing(SharedVecEnv([Idle(obs_size=obs_size)] * n)) as idle,
            ):
                for kind, each in [("whole", envs), ("hand", idle)] * ROUNDS:
                    each.reset()
                    step = partial(each.step, np.full(n, _FLAT))
                    found[kind].append(_us(step, 300, time.perf_counter))
            whole = statistics.median(found["whole"])
            hand = statistics.median(found["hand"])
            rows += [
                Row.of(f"vector_{n}", whole, "us", whole),
                Row.of(f"vector_{n}_env", alone, "us", whole),
                Row.of(f"vector_{n}_hand", hand, "us", whole),
            ]
    return rows


class _Flips(Strategy):
    """Buys and sells in turn every so many bars; 0 for never."""

    def __new__(cls, every: int) -> "_Flips":
        return super().__new__(cls, StrategyConfig())  # type: ignore[call-arg]

    def __init__(self, every: int) -> None:
        self._every = every
        self._seen = self._sent = 0

    def on_start(self) -> None:
        """Subscribe."""
        self.subscribe_bars(BarType.from_str(f"{INSTRUMENT.id}-1-MINUTE-MID-EXTERNAL"))

    def on_bar(self, bar: Any) -> None:
        """Order when it is time."""
        self._seen += 1
        if self._every and self._seen % self._every == 0:
            side = OrderSide.SELL if self._sent % 2 else OrderSide.BUY
            self._sent += 1
            quantity = Quantity(100.0, INSTRUMENT.size_precision)
            self.submit_order(self.order_factory.market(bar.bar_type.instrument_id, side, quantity))


def _bare(
    data: list[Any], dataset: Dataset, spec: Spec, venue: Venue, strategy: Strategy | None
) -> float:
    """Return the microseconds that the bare engine takes for all of it."""
    bare, _ = engine_build.build(
        spec, dataset.manifest.instrument, venue, LocalLink(lambda _: None)
    )
    bare.clear_strategies()
    if strategy is not None:
        bare.add_strategy(strategy)
    bare.add_data(data, validate=False)
    took_us = _us(bare.run, 1)
    bare.dispose()
    return took_us


def _us(
    work: Callable[[], object], n: int, clock_s: Callable[[], float] = time.process_time
) -> float:
    began_s = clock_s()
    for _ in range(n):
        work()
    return (clock_s() - began_s) / n * 1e6
