"""What a run's config means on the dataset it names: rows, spec, reward scale."""

from dataclasses import dataclass

import numpy as np

from agents import market_plan
from agents.checkpoint import DataRef
from agents.config import RunConfig, Span
from envs import rewards
from envs.fitting import timed_rows
from envs.made_bars import bars_of, seen
from envs.market_recipe import MarketRecipe, market_env
from envs.market_spec import MarketSpec
from envs.pipeline import Pipeline, as_rows, fit
from envs.trading_recipe import EnvRecipe
from grid.dataset import Dataset, to_iso, to_ns
from grid.errors import ConfigError, DataError
from grid.home import Home
from grid.latency import measured
from grid.spec import Spec


@dataclass(frozen=True)
class Plan:
    """A config made concrete.

    Attributes:
        spec: normalization fitted on the training rows and no other; of a market its first view's.
        recipe: of the training envs.
        data: the rows, and the fingerprint of what they are rows of.
        market: of a run on several instruments or by orders.
    """

    spec: Spec
    recipe: EnvRecipe | MarketRecipe
    data: DataRef
    market: MarketSpec | None = None

    @property
    def spec_digest(self) -> str:
        """Of all that observation and action mean."""
        return self.spec.digest if self.market is None else self.market.digest


def make(config: RunConfig, home: Home) -> Plan:
    """Read the dataset and fit the spec.

    Raises:
        DataError: there is no such dataset, it is damaged, or a span holds too few rows.
        ConfigError: a feature or reward is unknown, or does not fit the data.
        SessionError: latencies are to be measured, and the session is not there.
    """
    datasets = {name: Dataset.find(home.datasets, name) for name in config.datasets}
    for dataset in datasets.values():
        dataset.verify()
    rewards.find(config.env.reward)
    if config.market is not None:
        return _market(config, home, datasets)
    dataset = datasets[config.data.dataset]
    fingerprint = dataset.manifest.fingerprint
    if config.env.bar:
        dataset = bars_of(dataset, config.env.bar)
    train = _rows(dataset, "data.train", config.data.train)
    test = _rows(dataset, "data.test", config.data.test)
    env = config.env
    spec, scale = learn(config, dataset, train)
    lot = dataset.manifest.instrument.lot
    if spec.target.max_qty < lot:
        raise ConfigError(
            f"key env.target.max_qty: expected at least {lot:g}, the lot of "
            f"{spec.instrument_id}, found {spec.target.max_qty:g}"
        )
    warmup = Pipeline(spec).warmup
    if test[1] - max(test[0], warmup - 1) <= env.every:
        raise DataError(
            f"{config.data.dataset}: data.test holds {test[1] - test[0]} rows, too few for one "
            f"step after {warmup} rows of warm-up"
        )
    recipe = EnvRecipe(
        dataset=dataset.path.resolve(),
        spec=spec,
        venue=measured(config.venue, home.sessions),
        rows=train,
        steps=env.steps,
        reward=env.reward,
        reward_scale=scale,
        observation="index" if env.by_reference else "window",
    )
    recipe.make().close()  # a mistake shows here in one sentence, not in a child's traceback
    data = DataRef(
        name=dataset.manifest.name,
        fingerprint=fingerprint,
        train=config.data.train,
        train_rows=train,
        test=config.data.test,
        test_rows=test,
    )
    return Plan(spec, recipe, data)


def _market(config: RunConfig, home: Home, datasets: dict[str, Dataset]) -> Plan:
    venue = measured(config.venue, home.sessions)
    market = market_plan.learn(config, datasets)
    first = market.views[0]
    shown = seen(datasets[first.dataset], first.spec)
    train, test = config.data.train, config.data.test
    train_rows, test_rows = _rows(shown, "data.train", train), _rows(shown, "data.test", test)
    recipe = MarketRecipe(
        folders={name: dataset.path.resolve() for name, dataset in datasets.items()},
        spec=market,
        venue=venue,
        span_ns=market_plan.span_ns(train),
        steps=config.env.steps,
        reward=config.env.reward,
        reward_scale=market_plan.scaled(config, market, datasets, venue),
    )
    recipe.make().close()  # a mistake shows here in one sentence, not in a child's traceback
    market_env(market, datasets, venue, span_ns=market_plan.span_ns(test)).close()
    fingerprints = {name: dataset.manifest.fingerprint for name, dataset in datasets.items()}
    data = DataRef(
        name=config.data.dataset,
        fingerprint=fingerprints.pop(config.data.dataset),
        train=train,
        train_rows=train_rows,
        test=test,
        test_rows=test_rows,
        others=fingerprints,
    )
    return Plan(first.spec, recipe, data, market)


def learn(config: RunConfig, dataset: Dataset, rows: tuple[int, int]) -> tuple[Spec, float]:
    """Return spec and reward scale: what is fitted on the training rows, and on no other.

    Raises:
        DataError: the rows are too few, or a feature is not finite on them.
        ConfigError: a feature or reward is unknown, or does not fit the data.
    """
    env = config.env
    assert env.target is not None
    spec = fit(
        dataset,
        rows,
        features=env.features,
        window=env.window,
        target=env.target,
        every=env.every,
        timer_s=env.timer_s,
        clip=env.clip,
        capital=env.capital,
    )
    scale = env.reward_scale
    if scale == "auto":
        scale = 1.0 if rewards.is_unitless(env.reward) else unit_scale(dataset, rows, spec)
    return spec, scale


def unit_scale(dataset: Dataset, rows: tuple[int, int], spec: Spec) -> float:
    """Return the factor that gives a full position's log return a deviation of 1 a decision.

    Raises:
        DataError: the price does not move.
    """
    columns = {k: np.asarray(v[rows[0] : rows[1]]) for k, v in dataset.columns.items()}
    price = as_rows(columns)["close"]
    if spec.timer_ns:
        newest, _ = timed_rows(columns["ts_event"], 0, spec.timer_ns)
        price = price[newest]
    else:
        price = price[:: spec.every]
    multiplier = dataset.manifest.instrument.multiplier
    exposure = spec.target.max_qty * multiplier * float(np.mean(price)) / spec.capital
    deviation = exposure * float(np.std(np.diff(np.log(price))))
    if not deviation > 0:
        raise DataError(f"{dataset.manifest.name}: the price does not move on the training rows")
    return 1.0 / deviation


def _rows(dataset: Dataset, key: str, span: Span) -> tuple[int, int]:
    lo, hi = dataset.rows_between(to_ns(span[0]), to_ns(span[1]))
    if hi - lo < 2:
        m = dataset.manifest
        raise DataError(
            f"{m.name}: {key} {list(span)} holds {hi - lo} rows; the dataset runs from "
            f"{to_iso(m.start_ns)} to {to_iso(m.end_ns)}"
        )
    return lo, hi
