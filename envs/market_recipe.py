"""A `MarketEnv` as plain data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envs.fills import MarketFill
from envs.made_bars import seen
from envs.market import MarketEnv
from envs.market_spec import MarketSpec
from envs.recipe import Recipe
from envs.views import Rows, Timer, View
from grid.dataset import Dataset
from grid.venue import Venue


class MarketRecipe(Recipe, frozen=True, kw_only=True):
    """All that a process needs to build its env; see `envs.market.MarketEnv`.

    Attributes:
        folders: of the datasets, by name.
        span_ns: half-open span of decision times, UNIX ns.
    """

    folders: dict[str, Path]
    spec: MarketSpec
    venue: Venue
    span_ns: tuple[int, int]
    steps: int
    reward: str
    reward_scale: float

    def make(self) -> MarketEnv:
        """Return the env."""
        return market_env(
            self.spec,
            {name: Dataset.open(folder) for name, folder in self.folders.items()},
            self.venue,
            span_ns=self.span_ns,
            steps=self.steps,
            reward=self.reward,
            reward_scale=self.reward_scale,
        )

    def info_types(self) -> dict[str, Any]:
        """Return that fills are `MarketFill`."""
        return {"fills": list[MarketFill]}


def market_env(
    spec: MarketSpec, datasets: Mapping[str, Dataset], venue: Venue, **options: Any
) -> MarketEnv:
    """Return the env of a spec, its observation one flat array.

    Args:
        spec: what is seen and done.
        datasets: by name, as they lie on the disk.
        venue: costs.
        options: further arguments of `MarketEnv`.

    Raises:
        ConfigError: the parts do not fit together.
        DataError: there are too few decision times.
    """
    views = [
        View.learned(v.name, seen(datasets[v.dataset], v.spec), v.spec, v.fitted_ns)
        for v in spec.views
    ]
    shown = {view.name: view.dataset.ticks or view.dataset for view in views}
    return MarketEnv(
        views,
        spec.action,
        venue,
        markets=[*(shown[name] for name in spec.traded), *(datasets[name] for name in spec.trades)],
        clock=Timer(spec.timer_s) if spec.timer_s else Rows(spec.every),
        capital=spec.capital,
        clip=spec.clip,
        flat=True,
        **options,
    )
