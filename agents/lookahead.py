"""A training config under the look-ahead check of `envs.lookahead`."""

from functools import partial

import numpy as np

from agents import market_plan, plan
from agents.config import RunConfig
from envs.lookahead.check import Learned, Subject
from envs.lookahead.check import check as check_subject
from envs.lookahead.market import Datasets, MarketSubject, check_market
from envs.lookahead.report import Report
from envs.made_bars import seen
from envs.market import MarketEnv
from envs.market_recipe import market_env
from envs.trading import TradingEnv
from grid.dataset import Dataset
from grid.home import Home
from grid.venue import Venue


def check(
    config: RunConfig, home: Home, *, cuts: int = 4, steps: int = 500, seed: int = 0
) -> Report:
    """Play the config's env on its dataset, all rows of it, and on altered futures.

    Args:
        config: a training run.
        home: where the dataset lies.
        cuts: rows after which everything is altered.
        steps: decisions played before each, fewer if there are not so many to learn from.
        seed: of rows, actions and futures.

    Raises:
        ConfigError: the config does not fit its dataset.
        DataError: there is no such dataset, or it is too short.
    """
    planned = plan.make(config, home)
    if config.market is not None:
        return _check_market(config, home, planned.recipe.venue, cuts, steps, seed)
    dataset = Dataset.find(home.datasets, config.data.dataset)
    dataset = seen(dataset, planned.spec)
    rows = planned.data.train_rows
    build = partial(_build, config, planned.recipe.venue)
    subject = Subject(dataset, rows, partial(_learn, config, rows), build)
    return check_subject(subject, cuts=cuts, steps=steps, seed=seed)


def _check_market(
    config: RunConfig, home: Home, venue: Venue, cuts: int, steps: int, seed: int
) -> Report:
    datasets = {name: Dataset.find(home.datasets, name) for name in config.datasets}
    train_end_ns = market_plan.span_ns(config.data.train)[1]

    def build(given: Datasets, steps: int) -> MarketEnv:
        spec = market_plan.learn(config, given)
        scale = market_plan.scaled(config, spec, given, venue)
        return market_env(
            spec, given, venue, steps=steps, reward=config.env.reward, reward_scale=scale
        )

    env = build(datasets, 1)
    learned = int(np.searchsorted(env.times_ns, train_end_ns)) - 1  # decisions before its last
    env.close()
    del env  # a thread can have one engine
    subject = MarketSubject(datasets, train_end_ns, build)
    return check_market(subject, cuts=cuts, steps=min(steps, learned), seed=seed)


def _learn(config: RunConfig, rows: tuple[int, int], dataset: Dataset) -> Learned:
    return Learned(*plan.learn(config, dataset, rows))


def _build(
    config: RunConfig, venue: Venue, dataset: Dataset, learned: Learned, steps: int
) -> TradingEnv:
    return TradingEnv(
        dataset,
        learned.spec,
        venue,
        steps=steps,
        reward=config.env.reward,
        reward_scale=learned.reward_scale,
    )
