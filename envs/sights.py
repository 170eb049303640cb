"""What an agent sees at a decision, then its account: the window of features, or where it lies."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.pipeline import ACCOUNT, Pipeline
from grid.dataset import Dataset, check_finite
from grid.errors import ConfigError

type Obs = NDArray[np.float32]

_EXACT_ROWS: Final = 1 << 24  # whole numbers that float32 holds


class Windows:
    """The numbers themselves: float32 [window * features + account].

    Args:
        dataset: what the features are computed of.
        pipeline: the features.
        rows: half-open range of the rows that can be shown, after their warm-up.
        at: the row of each decision; None where decisions are counted by rows.

    Attributes:
        account: float32 [account], shown behind the window; to be written by the env.

    Raises:
        DataError: a number of the dataset, or a feature, is not finite.
    """

    def __init__(
        self, dataset: Dataset, pipeline: Pipeline, rows: tuple[int, int], at: Sequence[int] | None
    ) -> None:
        spec = pipeline.spec
        first = rows[0] - pipeline.warmup + 1
        columns = {k: np.asarray(v[first : rows[1]]) for k, v in dataset.columns.items()}
        features = pipeline.matrix(columns, first).ravel()
        check_finite(dataset, first, rows[1])
        # room behind the last window, so that each can be copied with the account's places
        self._flat = np.concatenate([features, np.zeros(len(ACCOUNT), dtype=np.float32)])
        # row r of the dataset is row r - self._offset of the matrix
        self._offset = first + pipeline.lookback - 1
        self._width = len(spec.features)
        self._size = spec.window * self._width
        self._at = at
        self.account = np.zeros(len(ACCOUNT), dtype=np.float32)
        self.space = spaces.Box(-spec.clip, spec.clip, (pipeline.obs_size,), np.float32)

    def observe(self, decision: int) -> Obs:
        """Return the window at a decision, and the account; the array is fresh."""
        row = decision if self._at is None else self._at[decision]
        end = (row - self._offset + 1) * self._width
        size = self._size
        obs: Obs = self._flat[end - size : end + len(ACCOUNT)].copy()
        obs[size:] = self.account
        return obs


class Indices:
    """The row in place of its window, for a policy that has the features: float32 [1 + account].

    Args:
        rows: of the dataset.
        clip: bound of the account's numbers.
        at: the row of each decision; None where decisions are counted by rows.

    Attributes:
        account: float32 [account], shown behind the row; to be written by the env.

    Raises:
        ConfigError: there are more rows than float32 can count.
    """

    def __init__(self, rows: int, clip: float, at: Sequence[int] | None) -> None:
        if rows > _EXACT_ROWS:
            raise ConfigError(
                f"observation: index is exact up to {_EXACT_ROWS:,} rows, the dataset has {rows:,}"
            )
        bound = np.full(1 + len(ACCOUNT), clip, dtype=np.float32)
        low, high = -bound, bound
        low[0], high[0] = 0.0, rows
        self._at = at
        self.account = np.zeros(len(ACCOUNT), dtype=np.float32)
        self.space = spaces.Box(low, high, dtype=np.float32)

    def observe(self, decision: int) -> Obs:
        """Return the row of a decision, and the account; the array is fresh."""
        index: Obs = np.empty(1 + len(ACCOUNT), dtype=np.float32)
        index[0] = decision if self._at is None else self._at[decision]
        index[1:] = self.account
        return index
