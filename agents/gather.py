"""Observations by reference: the features lie once on the training device, envs send row numbers.

A rollout buffer then holds five numbers a step in place of a whole window, nothing large travels
between processes or to the device, and the window is gathered where the network is. The numbers
are those of the plain observation.
"""

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from envs.pipeline import Pipeline
from grid.dataset import Dataset
from grid.spec import Spec


class WindowGather(BaseFeaturesExtractor):
    """Turns [row, account] into [window, account].

    Args:
        observation_space: of a `TradingEnv` with `observation="index"`.
        matrix: float32 [rows - lookback + 1, features], see `feature_matrix`.
        window: feature rows in an observation.
        lookback: rows that one feature row needs.
    """

    matrix: torch.Tensor
    offsets: torch.Tensor

    def __init__(
        self, observation_space: spaces.Box, matrix: torch.Tensor, window: int, lookback: int
    ) -> None:
        account = observation_space.shape[0] - 1
        super().__init__(observation_space, window * matrix.shape[1] + account)
        # no part of what was learned: it comes from the data again
        self.register_buffer("matrix", matrix, persistent=False)
        self.register_buffer("offsets", torch.arange(1 - window, 1), persistent=False)
        self._first = lookback - 1

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Return float32 [batch, window * features + account]."""
        rows = observations[:, 0].long() - self._first
        windows = self.matrix[rows[:, None] + self.offsets]
        return torch.cat([windows.flatten(1), observations[:, 1:]], dim=1)


def feature_matrix(dataset: Dataset, spec: Spec) -> torch.Tensor:
    """Return the normalized features of all rows of a dataset, on the CPU."""
    columns = {k: np.asarray(v) for k, v in dataset.columns.items()}
    return torch.from_numpy(Pipeline(spec).matrix(columns))


def extractor(dataset: Dataset, spec: Spec) -> dict[str, Any]:
    """Return the `policy_kwargs` of stable-baselines3 that gather windows of `dataset`."""
    return {
        "features_extractor_class": WindowGather,
        "features_extractor_kwargs": {
            "matrix": feature_matrix(dataset, spec),
            "window": spec.window,
            "lookback": Pipeline(spec).lookback,
        },
    }
