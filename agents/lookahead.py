"""A training config under the look-ahead check of `envs.lookahead`."""

from functools import partial

from agents import plan
from agents.config import RunConfig
from envs.lookahead.check import Learned, Subject
from envs.lookahead.check import check as check_subject
from envs.lookahead.report import Report
from envs.made_bars import seen
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
        steps: decisions played before each.
        seed: of rows, actions and futures.

    Raises:
        ConfigError: the config does not fit its dataset.
        DataError: there is no such dataset, or it is too short.
    """
    planned = plan.make(config, home)
    dataset = Dataset.find(home.datasets, config.data.dataset)
    dataset = seen(dataset, planned.spec)
    rows = planned.data.train_rows
    build = partial(_build, config, planned.recipe.venue)
    subject = Subject(dataset, rows, partial(_learn, config, rows), build)
    return check_subject(subject, cuts=cuts, steps=steps, seed=seed)


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
