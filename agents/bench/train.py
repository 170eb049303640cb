"""Where the time of training goes: PPO with a small network, an LSTM and a transformer.

NET_N             decisions a second of PPO on N envs, collecting and updating; beside the same envs
                  stepped at random without anybody learning, the most that there could be
NET_N_env         seconds of 100 that the trainer spends waiting for its envs, as for the next
NET_N_forward     in the network, choosing actions
NET_N_update      in gradient steps
NET_N_rest        in the loop of stable-baselines3 around them, copies to the device included

Observations travel by reference and the features lie on the device, so that all networks meet the
same envs. The baseline of a share is 100. The LSTM is sb3-contrib's RecurrentPPO; without that
package its rows are left out, and said to be. The rows of `agents.bench.population` come last.
On a GPU there are more envs and larger batches.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv

from agents import gather, transformer
from agents.bench import population
from agents.bench.env import BARS, FEATURES
from agents.bench.report import Row
from agents.training import use_threads
from agents.vec import SharedVecEnv
from envs.pipeline import fit
from envs.synthetic import write_synthetic
from envs.trading_recipe import EnvRecipe
from grid.dataset import Dataset
from grid.home import Home
from grid.spec import Spec, TargetRule
from grid.venue import Venue

WINDOW: Final = 64
EPISODE: Final = 390
ROUNDS: Final = 5  # rollouts measured; one before them warms up
NETS: Final = ("mlp", "lstm", "transformer")


class Size(NamedTuple):
    """Envs, decisions of each in a rollout, transitions in a gradient step, passes."""

    envs: int
    steps: int
    batch: int
    epochs: int


CPU: Final = (Size(8, 256, 256, 6),)  # the defaults of `train`
GPU: Final = (Size(8, 512, 2_048, 4), Size(64, 256, 8_192, 4))


def run(device: str = "auto") -> list[Row]:
    """Measure; takes about a minute on two cores.

    Args:
        device: `auto` takes a GPU where there is one.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.distributions.Distribution.set_default_validate_args(False)
    torch.set_float32_matmul_precision("high")
    rows: list[Row] = []
    with TemporaryDirectory(prefix="argonaut-") as name:
        recipe, dataset = _recipe(Home(Path(name)))
        for size in CPU if device == "cpu" else GPU:
            with closing(SharedVecEnv([recipe] * size.envs)) as envs:
                most = _untrained(envs, size)
                for net in NETS:
                    use_threads(large=net != "mlp")
                    if net != "lstm" or find_spec("sb3_contrib"):
                        model = _model(net, envs, dataset, recipe.spec, size, device)
                        rows += _rows(f"{net}_{size.envs}", model, most)
    return rows + population.rows(device)


def _rows(name: str, model: PPO, most: float) -> list[Row]:
    found = [_rollout(model) for _ in range(ROUNDS + 1)][1:]
    median = {k: statistics.median(each[k] for each in found) for k in found[0]}
    rows = [Row.of(name, median.pop("rate"), "steps/s", most)]
    return rows + [Row.of(f"{name}_{k}", 100.0 * v, "% of time", 100.0) for k, v in median.items()]


class _Clock:
    """Seconds spent in parts of the work that do not overlap."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    @contextmanager
    def on(self, part: str) -> Iterator[None]:
        began_s = time.perf_counter()
        yield
        self.spent[part] = self.spent.get(part, 0.0) + time.perf_counter() - began_s

    def around(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.on(part):
                result = function(*args, **kwargs)
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                return result

        return timed


def _rollout(model: PPO) -> dict[str, float]:
    """Collect and update once; return decisions a second, and shares of the time."""
    clock = _Clock()
    envs: Any = model.env
    policy: Any = model.policy
    parts = (
        (envs, "step_async", "env"),
        (envs, "step_wait", "env"),
        (policy, "forward", "forward"),
        (model, "train", "update"),
    )
    for owner, method, part in parts:
        setattr(owner, method, clock.around(part, getattr(type(owner), method).__get__(owner)))
    steps = model.n_steps * envs.num_envs
    began_s = time.perf_counter()
    try:
        model.learn(steps, reset_num_timesteps=False)
    finally:
        for owner, method, _ in parts:
            delattr(owner, method)
    took_s = time.perf_counter() - began_s
    shares = {part: clock.spent[part] / took_s for part in ("env", "forward", "update")}
    return {"rate": steps / took_s, **shares, "rest": 1.0 - sum(shares.values())}


def _untrained(envs: VecEnv, size: Size) -> float:
    """Return decisions a second of the envs alone, at random."""
    rng = np.random.default_rng(0)
    envs.reset()
    rates = []
    for _ in range(ROUNDS + 1):
        actions = rng.integers(0, 3, (size.steps, size.envs))
        began_s = time.perf_counter()
        for row in actions:
            envs.step(row)
        rates.append(actions.size / (time.perf_counter() - began_s))
    return statistics.median(rates[1:])


def _model(net: str, envs: VecEnv, dataset: Dataset, spec: Spec, size: Size, device: str) -> PPO:
    kwargs: dict[str, Any] = {
        "env": envs,
        "n_steps": size.steps,
        "batch_size": size.batch,
        "n_epochs": size.epochs,
        "device": device,
        "seed": 0,
    }
    body = gather.extractor(dataset, spec)
    if net == "transformer":
        body = transformer.extractor(spec.window, len(spec.features), 64, 4, 2, body)
    kwargs["policy_kwargs"] = {"net_arch": [64, 64], **body}
    if net != "lstm":
        return PPO("MlpPolicy", **kwargs)
    from sb3_contrib import RecurrentPPO

    kwargs["policy_kwargs"] |= {"lstm_hidden_size": 64, "n_lstm_layers": 1}
    recurrent: Any = RecurrentPPO("MlpLstmPolicy", **kwargs)
    found: PPO = recurrent
    return found


def _recipe(home: Home) -> tuple[EnvRecipe, Dataset]:
    write_synthetic("signal", "bench", home, n=BARS, seed=1)
    dataset = Dataset.find(home.datasets, "bench")
    rule = TargetRule(max_qty=100.0)
    spec = fit(dataset, (0, BARS), features=FEATURES, window=WINDOW, target=rule)
    recipe = EnvRecipe(
        dataset=dataset.path,
        spec=spec,
        venue=Venue(),
        rows=(0, BARS),
        steps=EPISODE,
        reward="log_equity",
        reward_scale=1.0,
        observation="index",
    )
    return recipe, dataset
