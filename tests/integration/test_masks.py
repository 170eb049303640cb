"""sb3-contrib's MaskablePPO trains on `action_masks`, here and through shared memory."""

from contextlib import closing
from typing import Any

import numpy as np
import pytest
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.vec import SharedVecEnv
from tests.support.envs import OrderByOrder

STEPS = 256


class Watched(SharedVecEnv):
    """Compares each action with the mask that held when it was chosen."""

    taken = 0
    forbidden = 0
    masked = 0

    def step_async(self, actions: Any) -> None:
        masks = get_action_masks(self).astype(bool)
        starts = np.cumsum([0, *self.action_space.nvec[:-1]])  # type: ignore[attr-defined]
        chosen = masks[np.arange(len(actions))[:, None], starts + actions]
        self.taken += chosen.size
        self.forbidden += int((~chosen).sum())
        self.masked += int((~masks).sum())
        super().step_async(actions)


@pytest.mark.filterwarnings("ignore::UserWarning:sb3_contrib")
def test_maskable_ppo_trains_on_shared_envs_and_takes_no_masked_action() -> None:
    with closing(Watched([OrderByOrder()] * 2)) as envs:
        assert is_masking_supported(envs)
        model = MaskablePPO(
            "MlpPolicy", envs, n_steps=64, batch_size=64, n_epochs=2, seed=0, device="cpu"
        )
        before = weights(model)
        model.learn(STEPS)
        assert envs.taken == STEPS * 5
        assert envs.masked > 100
        assert envs.forbidden == 0
        assert any((a != b).any() for a, b in zip(before, weights(model), strict=True))


def test_maskable_ppo_predicts_a_possible_action_only() -> None:
    envs = DummyVecEnv([OrderByOrder(max_qty=1_000.0).make])
    try:
        model = MaskablePPO("MlpPolicy", envs, seed=0, device="cpu")
        obs = envs.reset()
        for _ in range(60):
            masks = get_action_masks(envs)
            action, _ = model.predict(obs, action_masks=masks, deterministic=False)
            starts = np.cumsum([0, *envs.action_space.nvec[:-1]])
            assert masks[0, starts + action[0]].all()
            obs, _, _, infos = envs.step(action)
            assert all(abs(qty) <= 1_000.0 for qty in infos[0]["positions"].values())
    finally:
        envs.close()


def weights(model: MaskablePPO) -> list[Any]:
    return [p.detach().numpy().copy() for p in model.policy.parameters()]
