"""Every public parameter of the envs stands in their page."""

import inspect
from pathlib import Path

import pytest

from envs.market import MarketEnv
from envs.parallel import ParallelMarketEnv, Role
from envs.schemes import Orders, Weights
from envs.trading import TradingEnv
from envs.vector import SharedVectorEnv
from envs.views import Rows, Timer, View
from grid.spec import TargetRule
from grid.venue import Venue

PAGE = (Path(__file__).parents[2] / "docs" / "env.md").read_text()


KINDS = (
    TradingEnv, MarketEnv, ParallelMarketEnv, Role, View, Rows, Timer, Weights, Orders, Venue,
    TargetRule, SharedVectorEnv,
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_is_in_the_page(kind):
    for name in inspect.signature(kind).parameters:
        assert f"`{name}`" in PAGE or f".{name}`" in PAGE or f"{name}=" in PAGE, name
