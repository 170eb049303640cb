"""`gymnasium.make("envs.registration:argonaut/Trading-v0", dataset="eurusd-1h-2017", ...)`."""

from pathlib import Path
from typing import Any

import gymnasium

from envs.pipeline import fit
from envs.trading import TradingEnv
from grid.dataset import Dataset
from grid.home import DEFAULT, Home
from grid.spec import TargetRule
from grid.venue import Venue


def make(
    dataset: str,
    features: tuple[str, ...],
    max_qty: float,
    *,
    home: Path | str = DEFAULT,
    window: int = 16,
    every: int = 1,
    capital: float = 100_000.0,
    kind: Any = "discrete",
    venue: Venue | None = None,
    rows: tuple[int, int] | None = None,
    **options: Any,
) -> TradingEnv:
    """Build a `TradingEnv` from plain arguments, normalization fitted on `rows`.

    Args:
        dataset: name of a dataset in the home folder.
        features: as in `log_return:5`, see `envs.features`.
        max_qty: position, in units, at a target of 1.
        home: folder of the datasets.
        window: feature rows in an observation.
        every: rows from one decision to the next.
        capital: starting balance in account currency.
        kind: `discrete` (short, flat, long) or `continuous` targets.
        venue: costs; the defaults of `grid.venue.Venue` if None.
        rows: half-open range of dataset rows for decisions, None for all.
        options: further arguments of `TradingEnv`.
    """
    data = Dataset.find(Home(Path(home)).datasets, dataset)
    rule = TargetRule(max_qty=max_qty, kind=kind)
    spec = fit(
        data,
        rows or (0, data.manifest.rows),
        features=features,
        window=window,
        target=rule,
        every=every,
        capital=capital,
    )
    return TradingEnv(data, spec, venue or Venue(), rows=rows, **options)


gymnasium.register(id="argonaut/Trading-v0", entry_point="envs.registration:make")
