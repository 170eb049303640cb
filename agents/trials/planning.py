"""From a grid's config to its folds, configurations and trials, with everything checked."""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from agents.config import RunConfig, Span
from agents.trials import data, folds
from agents.trials.axes import values_of
from agents.trials.config import TrainingGrid
from agents.trials.search import Proposer, proposer
from agents.trials.trial import Configuration, Dates, Trial, run_config
from envs.features.registry import parse
from grid.config import convert, dump
from grid.dataset import Dataset
from grid.errors import ArgonautError
from grid.home import Home


class Plan(msgspec.Struct, frozen=True):
    """A grid made concrete.

    Attributes:
        grid: its config.
        folds: spans, the oldest fold first.
        holdout: span that only `finalize` opens, if any.
        datasets: that the trials read, whole.
        proposer: of configurations.
    """

    grid: TrainingGrid
    folds: list[Dates]
    holdout: Span | None
    datasets: dict[str, Dataset]
    proposer: Proposer

    def trials(self, chosen: list[Configuration]) -> list[Trial]:
        """Return the trials of configurations: each on all folds with all seeds."""
        return [
            Trial(c.key, fold, seed)
            for c in chosen
            for fold in range(len(self.folds))
            for seed in self.grid.all_seeds
        ]


def make(
    grid: TrainingGrid, home: Home, known: tuple[list[Dates], Span | None] | None = None
) -> Plan:
    """Read the datasets, and lay out the folds.

    Args:
        grid: its config.
        home: where the datasets are.
        known: folds and holdout of a grid that goes on, which are not laid out again.

    Raises:
        ConfigError: folds do not fit, or the search does not fit the axes.
        DataError: a dataset is missing or damaged, or not one fold fits.
    """
    base = dump(grid.base)
    datasets = {name: data.find(home, name) for name in _datasets(grid)}
    laid, holdout = known or folds.make(
        grid.folds,
        grid.base.data,
        _common(list(datasets.values())),
        purge_ns=_purge_ns(grid, datasets),
        embargo_ns=_embargo_ns(grid, datasets),
    )
    check = Check(base, datasets, laid, home)
    return Plan(grid, laid, holdout, datasets, proposer(grid, check))


class Check:
    """Tries out what a run's config means on the data, once for all trials that share it."""

    def __init__(
        self, base: Mapping[str, Any], datasets: dict[str, Dataset], folds: list[Dates], home: Home
    ) -> None:
        self._base, self._datasets, self._folds, self._home = base, datasets, folds, home
        self._known: dict[bytes, ArgonautError | None] = {}

    def __call__(self, tree: Mapping[str, Any]) -> None:
        """Refuse a run that cannot be on one of the folds.

        Raises:
            ArgonautError: it cannot.
        """
        shared = [tree["data"]["dataset"], *(tree.get(k) for k in ("env", "venue", "market"))]
        key = msgspec.json.encode(shared, order="deterministic")
        if key not in self._known:
            self._known[key] = self._try(tree)
        error = self._known[key]
        if error is not None:
            raise error

    def _try(self, tree: Mapping[str, Any]) -> ArgonautError | None:
        from agents import plan  # the engine, for those who plan

        try:
            for i, dates in enumerate(self._folds):
                point = Configuration("trial", {})
                config = run_config(tree, point, Trial("trial", i, 0), dates, gpu=True)
                plan.make(config, self._home)
                judged = {**dump(config)["data"], "test": list(dates.validation)}
                checked = convert({**dump(config), "data": judged}, RunConfig, "trial")
                plan.make(checked, self._home)
        except ArgonautError as e:
            return e
        return None


def _all(grid: TrainingGrid, path: str, base: Any) -> list[Any]:
    """All values that a key of the run takes, through axes of the key and of tables around it."""
    found = [] if path in grid.axes else [base]
    section, _, key = path.partition(".")
    for axis, values in ((a, values_of(grid.axes[a]) or []) for a in (path, section)
                         if a in grid.axes):  # fmt: skip
        found += values if axis == path else [v[key] for v in values if key in v]
    return found


def _most(grid: TrainingGrid, path: str, base: int) -> int:
    return max(x for x in _all(grid, path, base) if isinstance(x, int))


def _datasets(grid: TrainingGrid) -> list[str]:
    """Names of all datasets that a configuration may read, each once."""
    views, trades = _views(grid), _all(grid, "market.trades", [])
    names = [*_all(grid, "data.dataset", grid.base.data.dataset), *(v["dataset"] for v in views)]
    if grid.base.market is not None:
        names += grid.base.market.trades
    return list(dict.fromkeys([*names, *(name for found in trades for name in found)]))


def _views(grid: TrainingGrid) -> list[dict[str, Any]]:
    """All views beside the first that a configuration may have."""
    base = grid.base.market
    found = _all(grid, "market.views", [] if base is None else dump(base).get("views", []))
    return [view for views in found for view in views if isinstance(view, dict)]


def _purge_ns(grid: TrainingGrid, datasets: dict[str, Dataset]) -> int:
    """The longest time from one decision to the next: a reward looks so far ahead."""
    names = _all(grid, "data.dataset", grid.base.data.dataset)
    first = {name: datasets[name] for name in names}
    return _reach_ns(first, _most(grid, "env.every", grid.base.env.every))


def _embargo_ns(grid: TrainingGrid, datasets: dict[str, Dataset]) -> int:
    """The longest time that a first observation looks back, in any view."""
    env = grid.base.env
    names = _all(grid, "data.dataset", grid.base.data.dataset)
    window = _most(grid, "env.window", env.window)
    features = _all(grid, "env.features", env.features)
    longest = _reach_ns({n: datasets[n] for n in names}, _warmup(features, window))
    for view in _views(grid):
        rows = _warmup([view.get("features") or f for f in features], view.get("window") or window)
        longest = max(longest, _reach_ns({"": datasets[view["dataset"]]}, rows))
    return longest


def _warmup(sets: list[Any], window: int) -> int:
    """Rows before a first observation, the most among sets of features."""
    lookback = 1
    for features in sets:
        for text in features if isinstance(features, list | tuple) else ():
            try:
                lookback = max(lookback, parse(str(text)).lookback)
            except ArgonautError:
                continue  # of an invalid configuration, which is told of where it is tried
    return lookback + window - 1


def _reach_ns(datasets: dict[str, Dataset], rows: int) -> int:
    """The longest time that so many rows take in any of the datasets."""
    longest = 0
    for dataset in datasets.values():
        ts = np.asarray(dataset.columns["ts_event"])
        n = min(rows, len(ts) - 1)
        longest = max(longest, int((ts[n:] - ts[: len(ts) - n]).max()) if n else 0)
    return longest


def _common(datasets: list[Dataset]) -> tuple[int, int]:
    start = max(d.manifest.start_ns for d in datasets)
    end = min(d.manifest.end_ns for d in datasets)
    return start, end + 1_000_000_000  # spans are told to the second
