"""What a run's config means on its datasets, where several instruments or orders are traded."""

from collections.abc import Mapping

import numpy as np

from agents.config import RunConfig, Span, ViewConfig
from envs import rewards
from envs.made_bars import bars_of
from envs.market import MarketEnv
from envs.market_recipe import market_env
from envs.market_spec import MarketSpec, SeenView
from envs.pipeline import fit
from envs.schemes import Orders, Weights
from grid.dataset import Dataset, to_iso, to_ns
from grid.errors import ConfigError, DataError
from grid.instrument import Instrument
from grid.spec import TargetRule
from grid.venue import Venue

type Datasets = Mapping[str, Dataset]


def learn(config: RunConfig, datasets: Datasets) -> MarketSpec:
    """Return the spec, its normalization fitted on the rows of `data.train` and on no other.

    Raises:
        ConfigError: a feature does not fit its dataset, or nothing is traded.
        DataError: a span holds too few rows of a dataset.
    """
    market, env = config.market, config.env
    assert market is not None
    first = ViewConfig(dataset=config.data.dataset, bar=env.bar)
    views: list[SeenView] = []
    traded: dict[str, str] = {}  # instrument -> view
    for view in (first, *market.views):
        dataset = datasets[view.dataset]
        if view.bar:
            dataset = bars_of(dataset, view.bar)
        seen = _seen(view, dataset, config)
        views.append(seen)
        if view.traded:
            traded.setdefault(seen.spec.instrument_id, seen.name)
            _check_lot(market.action, dataset.manifest.instrument)
    quoted = {
        seen.spec.instrument_id
        for seen in views
        if seen.name in traded.values() and "quote" in (seen.spec.rows, seen.spec.bars_from)
    }
    for i, name in enumerate(market.trades):
        _check_trades(f"market.trades[{i}]", datasets[name], sorted(quoted))
    return MarketSpec(
        views=tuple(views),
        traded=tuple(traded.values()),
        action=market.action,
        trades=market.trades,
        every=env.every,
        timer_s=env.timer_s,
        clip=env.clip,
        capital=env.capital,
    )


def scaled(config: RunConfig, spec: MarketSpec, datasets: Datasets, venue: Venue) -> float:
    """Return the factor of the reward, learned from the time of training and no other.

    Raises:
        DataError: the prices do not move, or there are too few decision times.
    """
    scale = config.env.reward_scale
    if scale != "auto":
        return scale
    if rewards.is_unitless(config.env.reward):
        return 1.0
    env = market_env(spec, datasets, venue, span_ns=span_ns(config.data.train))
    try:
        return _unit_scale(env, spec)
    finally:
        env.close()
        del env


def span_ns(span: Span) -> tuple[int, int]:
    """Return a span of two ISO times in UNIX ns."""
    return to_ns(span[0]), to_ns(span[1])


def _seen(view: ViewConfig, dataset: Dataset, config: RunConfig) -> SeenView:
    env, train = config.env, config.data.train
    lo, hi = dataset.rows_between(*span_ns(train))
    if hi - lo < 2:
        m = dataset.manifest
        raise DataError(
            f"{m.name}: data.train {list(train)} holds {hi - lo} rows; the dataset runs from "
            f"{to_iso(m.start_ns)} to {to_iso(m.end_ns)}"
        )
    spec = fit(
        dataset,
        (lo, hi),
        features=view.features or env.features,
        window=view.window or env.window,
        target=TargetRule(max_qty=1.0),
        clip=env.clip,
        capital=env.capital,
    )
    times_ns = dataset.columns["ts_event"]
    fitted = int(times_ns[lo]), int(times_ns[hi - 1])
    name = view.name or view.dataset
    return SeenView(name=name, dataset=view.dataset, spec=spec, fitted_ns=fitted)


def _check_lot(action: Weights | Orders, instrument: Instrument) -> None:
    if isinstance(action, Orders) and (least := min(action.sizes)) < instrument.lot:
        raise ConfigError(
            f"key market.action.sizes: expected at least {instrument.lot:g}, the lot of "
            f"{instrument.id}, found {least:g}"
        )


def _check_trades(key: str, dataset: Dataset, quoted: list[str]) -> None:
    m = dataset.manifest
    if m.kind != "trades":
        raise ConfigError(f"key {key}: expected trades, found {m.kind} in {m.name}")
    if m.instrument.id not in quoted:
        raise ConfigError(
            f"key {key}: expected trades of what is traded on quotes, which is "
            f"{', '.join(quoted) or 'nothing'}, found those of {m.instrument.id}"
        )


def _unit_scale(env: MarketEnv, spec: MarketSpec) -> float:
    """The factor that gives the log return of what can be held a deviation of 1 a decision.

    Held is an equal share of each instrument with weights, the highest position with orders.
    """
    prices = env.prices
    if isinstance(spec.action, Weights):
        exposure = np.full(prices.shape[1], spec.action.gross / prices.shape[1])
    else:
        traded = {m.manifest.instrument.id: m.manifest.instrument for m in env.markets}
        unit = np.array([traded[i].multiplier for i in spec.instruments])
        exposure = spec.action.max_qty * unit * prices.mean(axis=0) / spec.capital
    deviation = float(np.std(np.diff(np.log(prices), axis=0) @ exposure))
    if not deviation > 0:
        raise DataError("the prices of what is traded do not move on the training rows")
    return 1.0 / deviation
