"""What an agent sees of one dataset, and when it is asked: views and clocks.

A view is a dataset with features and a window; several of them, of other instruments or other
bar sizes, make one observation. A clock gives the times at which decisions are taken. At a time T
a view shows the newest row with ts_event <= T, and nothing later.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from envs.pipeline import Pipeline, as_rows, fit
from grid.dataset import Dataset
from grid.errors import ConfigError, DataError
from grid.spec import Spec, TargetRule

type Times = NDArray[np.int64]
type Window = NDArray[np.float32]


class View:
    """Features of one dataset.

    Args:
        name: of this part of the observation.
        dataset: bars, quotes or trades.
        features: as in `log_return:5`, see `envs.features`.
        train_rows: half-open range of rows that the normalization is fitted on, and no other.
        window: feature rows shown.
        clip: bound of every number.

    Attributes:
        prices: float64 [rows], close, mid, or of the trade.
        times_ns: int64 [rows].
        fitted_ns: times of the first and the last row that the normalization is fitted on.
    """

    def __init__(
        self,
        name: str,
        dataset: Dataset,
        features: tuple[str, ...],
        *,
        train_rows: tuple[int, int],
        window: int = 16,
        clip: float = 5.0,
    ) -> None:
        spec = fit(
            dataset,
            train_rows,
            features=features,
            window=window,
            target=TargetRule(max_qty=1.0),
            clip=clip,
        )
        first, last = dataset.columns["ts_event"][[train_rows[0], train_rows[1] - 1]].tolist()
        self._show(name, dataset, spec, (first, last))

    @classmethod
    def learned(cls, name: str, dataset: Dataset, spec: Spec, fitted_ns: tuple[int, int]) -> "View":
        """Return a view that was fitted before, and is not again."""
        view = cls.__new__(cls)
        view._show(name, dataset, spec, fitted_ns)
        return view

    def _show(self, name: str, dataset: Dataset, spec: Spec, fitted_ns: tuple[int, int]) -> None:
        self.name = name
        self.dataset = dataset
        self.window = spec.window
        self.pipeline = Pipeline(spec)
        columns = {k: np.asarray(v) for k, v in dataset.columns.items()}
        self._matrix = self.pipeline.matrix(columns)
        self.prices: NDArray[np.float64] = as_rows(columns)["close"]
        self.times_ns: Times = columns["ts_event"]
        self.fitted_ns = fitted_ns

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and features of what is shown."""
        return self.window, self._matrix.shape[1]

    @property
    def first_row(self) -> int:
        """The first row at which a whole window can be shown."""
        return self.pipeline.warmup - 1

    def rows_at(self, times_ns: Times) -> NDArray[np.int64]:
        """Return the newest row at each time; -1 before the first."""
        return np.searchsorted(self.times_ns, times_ns, side="right").astype(np.int64) - 1

    def show(self, row: int) -> Window:
        """Return the window that ends at a row: float32 [window, features], a fresh array."""
        end = row - self.pipeline.lookback + 2
        return self._matrix[end - self.window : end].copy()


class Rows(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A decision every `every` rows of the first view: bars as given, or every n quotes."""

    every: Annotated[int, msgspec.Meta(ge=1)] = 1

    def times(self, views: Sequence[View]) -> Times:
        """Return all decision times, UNIX ns."""
        return views[0].times_ns[:: self.every]


class Timer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A decision every `seconds`, on the full multiples, from the first row to the last."""

    seconds: Annotated[float, msgspec.Meta(gt=0)]

    def times(self, views: Sequence[View]) -> Times:
        """Return all decision times, UNIX ns; times at which no view has a new row are left out."""
        step_ns = round(self.seconds * 1e9)
        rows = np.unique(np.concatenate([view.times_ns for view in views]))
        ticks = np.unique(-(-rows // step_ns) * step_ns)
        return np.asarray(ticks[ticks <= rows[-1]])


type Clock = Rows | Timer


def decision_times(clock: Clock, views: Sequence[View]) -> Times:
    """Return the clock's times at which every view has a whole window to show.

    Raises:
        ConfigError: two views have one name.
        DataError: there are fewer than two such times.
    """
    names = [view.name for view in views]
    if len(set(names)) != len(names):
        raise ConfigError(f"views: expected a name each, found {', '.join(names)}")
    times = clock.times(views)
    whole = np.all([view.rows_at(times) >= view.first_row for view in views], axis=0)
    last = min(int(view.times_ns[-1]) for view in views)
    times = np.unique(times[whole & (times <= last)])
    if len(times) < 2:
        raise DataError(
            f"views {', '.join(names)}: expected at least two decision times at which all have "
            f"their warm-up, found {len(times)}"
        )
    return times


def first_of_each(views: Sequence[View]) -> list[Dataset]:
    """Return what is traded where nothing else is named: the dataset of each first view.

    Of bars that were made it is the ticks that they were made of.
    """
    found: dict[str, Dataset] = {}
    for view in views:
        dataset = view.dataset
        found.setdefault(dataset.manifest.instrument.id, dataset.ticks or dataset)
    return list(found.values())
