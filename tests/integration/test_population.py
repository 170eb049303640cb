"""Stacked agents learn what each would by itself: stable-baselines3's PPO is the oracle."""

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.population import Population, Rollout

STEPS, BATCH, EPOCHS, OBS = 64, 16, 3, 5


class Noise(gymnasium.Env[Any, Any]):
    observation_space = spaces.Box(-5.0, 5.0, (OBS,), np.float32)
    action_space = spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        reward = float(self.np_random.standard_normal())
        return (
            self.observation_space.sample(),
            reward,
            bool(self.np_random.random() < 0.1),
            False,
            {},
        )


def model(member: int) -> PPO:
    made = PPO(
        "MlpPolicy", DummyVecEnv([Noise]), learning_rate=1e-3 * (1 + member), gamma=0.9,
        clip_range=0.1 + 0.1 * member, ent_coef=0.01 * member, vf_coef=0.5, gae_lambda=0.8,
        max_grad_norm=0.3, n_steps=STEPS, batch_size=BATCH, n_epochs=EPOCHS, seed=member,
        policy_kwargs={"net_arch": [8, 8]}, device="cpu",
    )  # fmt: skip
    made.set_logger(configure(None, []))
    return made


def test_population_makes_the_updates_that_each_member_would_make_alone() -> None:
    torch.distributions.Distribution.set_default_validate_args(False)
    models = [model(member) for member in range(3)]
    for m in models:
        _, callback = m._setup_learn(STEPS)
        m.collect_rollouts(m.env, callback, m.rollout_buffer, STEPS)
    population = Population(models)
    buffers: list[Any] = [m.rollout_buffer for m in models]

    # advantages
    values = torch.tensor(np.stack([b.values for b in buffers], axis=1))
    begins = torch.tensor(np.stack([b.episode_starts for b in buffers], axis=1))
    last = torch.stack([m.policy.predict_values(m.policy.obs_to_tensor(m._last_obs)[0]).view(-1)
                        for m in models]).detach()  # fmt: skip
    over = torch.tensor(np.stack([m._last_episode_starts for m in models]), dtype=torch.float32)
    rewards = torch.tensor(np.stack([b.rewards for b in buffers], axis=1))
    found = population.advantages(
        rewards, torch.cat([values, last[None]]), torch.cat([begins, over[None]])
    )
    want = torch.tensor(np.stack([b.advantages for b in buffers], axis=1))
    torch.testing.assert_close(found, want, rtol=0, atol=1e-5)

    def stacked(name: str) -> torch.Tensor:
        return torch.tensor(np.stack([np.asarray(getattr(b, name))[:, 0] for b in buffers]))

    rollout = Rollout(
        obs=stacked("observations"), actions=stacked("actions").long().squeeze(-1),
        values=stacked("values"), log_probs=stacked("log_probs"),
        advantages=stacked("advantages"), returns=stacked("returns"),
    )  # fmt: skip
    before = {n: p.detach().clone() for n, p in population.parameters.items()}
    orders = []
    for member, m in enumerate(models):
        np.random.seed(member)
        orders.append([np.random.permutation(STEPS) for _ in range(EPOCHS)])
        np.random.seed(member)
        m.train()
    for epoch in range(EPOCHS):
        for start in range(0, STEPS, BATCH):
            rows = np.stack([order[epoch][start : start + BATCH] for order in orders])
            losses = population.update(rollout, torch.tensor(rows))
            assert losses.shape == (3,)
    for member, m in enumerate(models):
        for name, p in m.policy.named_parameters():
            torch.testing.assert_close(
                population.parameters[name][member].detach(), p.detach(), rtol=0, atol=1e-5
            )
            assert not torch.equal(before[name][member], p)

    obs = rollout.obs[:, :4]
    actions, values, log_probs = population.act(obs, torch.Generator().manual_seed(0))
    for member, m in enumerate(models):
        own, same, _ = m.policy.evaluate_actions(obs[member], actions[member])
        torch.testing.assert_close(values[member], own.view(-1), rtol=0, atol=1e-5)
        torch.testing.assert_close(log_probs[member], same, rtol=0, atol=1e-5)
