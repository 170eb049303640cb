"""What stacking PPO agents saves in their updates, beside the same agents one after the other.

population_N_update     decisions a second that N stacked agents learn from, all passes of a
                        rollout; beside stable-baselines3's own update of each in turn
"""

import statistics
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
from gymnasium import Env, spaces
from stable_baselines3 import PPO
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.bench.report import Row
from agents.population import Population, Rollout

OBS: Final = 516  # a window of 64 rows of 8 features, and the account
STEPS, BATCH, EPOCHS = 2_048, 256, 4
MEMBERS: Final = (2, 8)
ROUNDS: Final = 3


class _Nowhere(Env[Any, Any]):
    observation_space = spaces.Box(-5.0, 5.0, (OBS,), np.float32)
    action_space = spaces.Discrete(3)


def rows(device: str) -> list[Row]:
    """Measure; takes some seconds.

    With one thread, as trials of a grid have: threads that wait for a core cost more than they do.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [_row(members, device) for members in MEMBERS]
    finally:
        torch.set_num_threads(threads)


def _row(members: int, device: str) -> Row:
    models = [_model(seed, device) for seed in range(members)]
    population, rollout = Population(models, device), _rollout(models, device)

    def stacked() -> None:
        for _ in range(EPOCHS):
            order = torch.stack([torch.randperm(STEPS) for _ in models]).to(device)
            for start in range(0, STEPS, BATCH):
                population.update(rollout, order[:, start : start + BATCH])

    def apart() -> None:
        for model in models:
            model.train()

    learned = members * STEPS
    return Row.of(
        f"population_{members}_update", learned / _median_s(stacked), "steps/s",
        learned / _median_s(apart),
    )  # fmt: skip


def _median_s(work: Callable[[], None]) -> float:
    took = []
    for _ in range(ROUNDS + 1):
        began_s = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        took.append(time.perf_counter() - began_s)
    return statistics.median(took[1:])


def _model(seed: int, device: str) -> PPO:
    model = PPO(
        "MlpPolicy", DummyVecEnv([_Nowhere]), n_steps=STEPS, batch_size=BATCH, n_epochs=EPOCHS,
        seed=seed, device=device, policy_kwargs={"net_arch": [64, 64]},
    )  # fmt: skip
    model.set_logger(configure(None, []))
    rng, buffer = np.random.default_rng(seed), model.rollout_buffer
    buffer.observations[:] = rng.standard_normal(buffer.observations.shape)
    buffer.actions[:] = rng.integers(0, 3, buffer.actions.shape)
    buffer.log_probs[:] = -np.log(3.0)
    for part in (buffer.values, buffer.advantages, buffer.returns):
        part[:] = rng.standard_normal(part.shape)
    buffer.full = True
    return model


def _rollout(models: list[PPO], device: str) -> Rollout:
    def part(name: str) -> torch.Tensor:
        found = np.stack([getattr(m.rollout_buffer, name)[:STEPS].copy() for m in models])
        return torch.tensor(found.reshape(len(models), STEPS, -1), device=device)

    return Rollout(
        obs=part("observations"),
        actions=part("actions").long().squeeze(-1),
        values=part("values").squeeze(-1),
        log_probs=part("log_probs").squeeze(-1),
        advantages=part("advantages").squeeze(-1),
        returns=part("returns").squeeze(-1),
    )
