"""stable-baselines3 models: built from a config, taken apart into plain arrays, put together again.

A model's whole state is arrays and numbers: weights, moments of the optimizers, counters, replay
buffer. Its random generators are seeded anew for each segment, so they need no saving.
"""

from operator import attrgetter
from typing import Any, Final

import msgspec
import numpy as np
import torch
from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from agents import hyperparameters as c
from agents.checkpoint import GOLDEN, ONNX, RESUME, WEIGHTS, Checkpoint, Tensors, save_tensors
from agents.config import RunConfig
from agents.export import golden, to_onnx
from grid.errors import CheckpointError, ConfigError

OPTIMIZER: Final = f"{RESUME}/optimizer.safetensors"
REPLAY: Final = f"{RESUME}/replay.safetensors"
COUNTERS: Final = f"{RESUME}/counters.json"

_COUNTED: Final = ("num_timesteps", "_n_updates", "_n_calls", "_episode_num", "exploration_rate")
_REPLAYED: Final = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


def build(
    config: RunConfig, envs: VecEnv, seed: int, policy_kwargs: dict[str, Any] | None = None
) -> BaseAlgorithm:
    """Return a fresh model on `envs`, which it seeds; `policy_kwargs` come on top of the config's.

    Raises:
        ConfigError: the device is not there.
    """
    algo = config.algo
    # checks of every sample cost a tenth to a third of collecting
    torch.distributions.Distribution.set_default_validate_args(False)
    common: dict[str, Any] = {
        "policy": "MlpPolicy",
        "env": envs,
        "learning_rate": algo.learning_rate,
        "gamma": algo.gamma,
        "batch_size": algo.batch_size,
        "policy_kwargs": {"net_arch": list(algo.net), **(policy_kwargs or {})},
        "seed": seed,
        "device": device(config.run.device),
    }
    match algo:
        case c.MaskablePPO():
            return MaskablePPO(**common, **_rollouts(algo))
        case c.RecurrentPPO():
            common["policy"] = "MlpLstmPolicy"
            common["policy_kwargs"]["lstm_hidden_size"] = algo.lstm_size
            return RecurrentPPO(**common, **_rollouts(algo))
        case c.PPO():
            return PPO(**common, **_rollouts(algo))
        case c.DQN():
            return DQN(
                **common,
                **_replay(algo),
                target_update_interval=algo.target_update_interval,
                exploration_fraction=algo.exploration_fraction,
                exploration_final_eps=algo.exploration_final,
            )
        case c.SAC():
            return SAC(**common, **_replay(algo), tau=algo.tau, ent_coef=algo.ent_coef)


def files(model: BaseAlgorithm) -> dict[str, bytes]:
    """Return a model as the files of a checkpoint."""
    network = to_onnx(model)
    state: Tensors = {}
    optimizers, variables = _parts(model)
    for name in optimizers:
        for index, moments in attrgetter(name)(model).state_dict()["state"].items():
            for key, value in moments.items():
                state[f"{name}/{index}/{key}"] = _array(value)
    for name in variables:
        state[name] = _array(attrgetter(name)(model))
    counters = {name: getattr(model, name) for name in _COUNTED if hasattr(model, name)}
    result = {
        ONNX: network,
        GOLDEN: save_tensors(dict(golden(model, network))),
        WEIGHTS: save_tensors({k: _array(v) for k, v in model.policy.state_dict().items()}),
        OPTIMIZER: save_tensors(state),
        COUNTERS: msgspec.json.encode(counters),
    }
    if isinstance(model, OffPolicyAlgorithm) and model.replay_buffer is not None:
        buffer = model.replay_buffer
        rows = buffer.buffer_size if buffer.full else buffer.pos
        replayed = {name: getattr(buffer, name)[:rows] for name in _REPLAYED}
        result[REPLAY] = save_tensors({**replayed, "pos": np.array([buffer.pos])})
    return result


def restore(model: BaseAlgorithm, checkpoint: Checkpoint) -> None:
    """Put a checkpoint's state into a fresh model of the same config.

    Raises:
        CheckpointError: the checkpoint has no such state, or that of another network.
    """
    if not checkpoint.resumable:
        raise CheckpointError(
            f"{checkpoint.path}: cannot train on from here, only a run's latest keeps {RESUME}/"
        )
    try:
        weights = checkpoint.tensors(WEIGHTS)
        model.policy.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
        _restore_optimizers(model, checkpoint.tensors(OPTIMIZER))
        for name, value in msgspec.json.decode(checkpoint.read(COUNTERS)).items():
            if name not in _COUNTED:
                raise KeyError(name)
            setattr(model, name, value)
        if isinstance(model, OffPolicyAlgorithm):
            _restore_replay(model, checkpoint.tensors(REPLAY))
    except (KeyError, ValueError, RuntimeError, msgspec.MsgspecError) as e:
        raise CheckpointError(
            f"{checkpoint.path}: the saved state does not fit the run's config: {e}"
        ) from e


def _restore_optimizers(model: BaseAlgorithm, state: Tensors) -> None:
    optimizers, variables = _parts(model)
    for name in optimizers:
        optimizer = attrgetter(name)(model)
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in state.items():
            owner, _, rest = key.partition("/")
            if owner == name:
                index, _, moment = rest.partition("/")
                moments.setdefault(int(index), {})[moment] = torch.from_numpy(value.copy())
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    for name in variables:
        with torch.no_grad():
            attrgetter(name)(model).copy_(torch.from_numpy(state[name]))


def _restore_replay(model: OffPolicyAlgorithm, saved: Tensors) -> None:
    buffer = model.replay_buffer
    if buffer is None:
        raise ValueError("no replay buffer")
    rows = len(saved["rewards"])
    for name in _REPLAYED:
        getattr(buffer, name)[:rows] = saved[name]
    buffer.pos, buffer.full = int(saved["pos"][0]), rows == buffer.buffer_size


def _parts(model: BaseAlgorithm) -> tuple[list[str], list[str]]:
    """Names of the optimizers, and of the variables that are no part of the policy."""
    modules, variables = model._get_torch_save_params()
    return [name for name in modules if name != "policy"], list(variables)


def _rollouts(algo: c.PPO) -> dict[str, Any]:
    return {
        "n_steps": algo.n_steps,
        "n_epochs": algo.n_epochs,
        "gae_lambda": algo.gae_lambda,
        "clip_range": algo.clip_range,
        "ent_coef": algo.ent_coef,
        "vf_coef": algo.vf_coef,
        "max_grad_norm": algo.max_grad_norm,
    }


def _replay(algo: c.DQN | c.SAC) -> dict[str, Any]:
    return {
        "buffer_size": algo.buffer_size,
        "learning_starts": algo.learning_starts,
        "train_freq": algo.train_freq,
        "gradient_steps": algo.gradient_steps,
    }


def device(name: str) -> str:
    """Return the device that `run.device` asks for.

    Raises:
        ConfigError: it is not there.
    """
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise ConfigError("key run.device: expected a CUDA device for 'cuda', found none")
    return "cuda" if found and name == "auto" else name.replace("auto", "cpu")


def _array(value: Any) -> np.ndarray[Any, Any]:
    return np.asarray(torch.as_tensor(value).detach().cpu().numpy())
