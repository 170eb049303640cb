"""A transformer over the window of an observation, for policies that should see order in time.

Written out layer by layer, so that `agents.export` can write the same arithmetic as ONNX nodes:
pre-norm blocks (Xiong et al. 2020) of scaled dot-product attention (Vaswani et al. 2017) and a
ReLU network of twice the width; positions are learned. Every row may attend to every other: the
whole window is past.
"""

import math
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn


class Block(nn.Module):
    """Attention among the rows of a window, then a network on each; both added to their input.

    Args:
        width: numbers a row.
        heads: attentions side by side; divides `width`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.norm_2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return float32 [batch, rows, width] for the same."""
        batch, rows, width = x.shape
        parts = self.qkv(self.norm_1(x)).view(batch, rows, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.mix(mixed.transpose(1, 2).reshape(batch, rows, width))
        down: torch.Tensor = self.down(torch.relu(self.up(self.norm_2(x))))
        return x + down


class WindowTransformer(nn.Module):
    """[window, account] in one row of numbers to [what the newest row has become, account].

    Args:
        window: rows.
        features: numbers a row.
        account: numbers behind the window.
        width: of the blocks.
        heads: of each block.
        layers: blocks.
    """

    def __init__(
        self, window: int, features: int, account: int, width: int, heads: int, layers: int
    ) -> None:
        super().__init__()
        self.window, self.features, self.account, self.width = window, features, account, width
        self.embed = nn.Linear(features, width)
        self.position = nn.Parameter(torch.randn(window, width) / math.sqrt(width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Return float32 [batch, width + account] for [batch, window * features + account]."""
        size = self.window * self.features
        rows = obs[:, :size].reshape(-1, self.window, self.features)
        x = self.embed(rows) + self.position
        for block in self.blocks:
            x = block(x)
        return torch.cat([self.norm(x[:, -1]), obs[:, size:]], dim=1)


class TransformerExtractor(BaseFeaturesExtractor):
    """`WindowTransformer` as stable-baselines3 wants it.

    Args:
        observation_space: of a `TradingEnv`.
        window: rows in an observation.
        features: numbers a row.
        width: see `WindowTransformer`, as for the next two.
        heads: likewise.
        layers: likewise.
        gather: class of what turns row numbers into windows first, see `agents.gather`.
        gather_kwargs: of that.
    """

    def __init__(
        self,
        observation_space: spaces.Box,
        window: int,
        features: int,
        width: int,
        heads: int,
        layers: int,
        gather: type[BaseFeaturesExtractor] | None = None,
        gather_kwargs: dict[str, Any] | None = None,
    ) -> None:
        gathered = gather(observation_space, **(gather_kwargs or {})) if gather else None
        size = gathered.features_dim if gathered else observation_space.shape[0]
        account = size - window * features
        super().__init__(observation_space, width + account)
        self.gather = gathered
        self.body = WindowTransformer(window, features, account, width, heads, layers)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Return float32 [batch, width + account]."""
        if self.gather is not None:
            observations = self.gather(observations)
        out: torch.Tensor = self.body(observations)
        return out


def extractor(
    window: int, features: int, width: int, heads: int, layers: int, gathering: dict[str, Any]
) -> dict[str, Any]:
    """Return the `policy_kwargs` of stable-baselines3; `gathering` are those of `agents.gather`."""
    return {
        "features_extractor_class": TransformerExtractor,
        "features_extractor_kwargs": {
            "window": window,
            "features": features,
            "width": width,
            "heads": heads,
            "layers": layers,
            "gather": gathering.get("features_extractor_class"),
            "gather_kwargs": gathering.get("features_extractor_kwargs"),
        },
    }
