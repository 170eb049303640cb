"""What a person sees of a training run: a bar, TensorBoard, and a line of JSON for each log."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter
from stable_baselines3.common.utils import safe_mean
from torch.utils.tensorboard.writer import SummaryWriter
from tqdm import tqdm


class Scalars(KVWriter):
    """Writes the trainer's scalars, and forgets those that a killed process wrote too far.

    Args:
        tb: folder of the TensorBoard events.
        lines: file of JSON lines.
        start: steps of the checkpoint that training goes on from; later entries are dropped.
    """

    def __init__(self, tb: Path, lines: Path, start: int) -> None:
        self._tensorboard = SummaryWriter(str(tb), purge_step=start + 1 if start else None)
        kept = []
        if lines.exists():
            for line in lines.read_bytes().splitlines(keepends=True):
                try:
                    if msgspec.json.decode(line)["steps"] <= start:
                        kept.append(line)
                except msgspec.MsgspecError:
                    break  # half a line: the process died writing it
        lines.parent.mkdir(parents=True, exist_ok=True)
        self._lines = lines.open("wb")
        self._lines.writelines(kept)

    def write(self, key_values: dict[str, Any], key_excluded: Any, step: int = 0) -> None:
        """Take one log of the trainer, at `step` decisions."""
        scalars = {
            key: float(value)
            for key, value in sorted(key_values.items())
            if isinstance(value, int | float | np.number)
        }
        for key, value in scalars.items():
            self._tensorboard.add_scalar(key, value, step)
        self._lines.write(msgspec.json.encode({"steps": step, **scalars}) + b"\n")
        self._lines.flush()

    def close(self) -> None:
        """Finish both files; called once more by the trainer's logger, which is harmless."""
        self._tensorboard.close()
        self._lines.close()


class Bar(BaseCallback):
    """Moves a progress bar, and tells the model how long the whole run is.

    Args:
        bar: counts decisions.
        total_steps: of the run, which schedules refer to; a segment is only a part of it.
        stepped: told of every step: decisions so far, mean reward of the last episodes, if any.
    """

    def __init__(
        self,
        bar: "tqdm[Any]",
        total_steps: int,
        stepped: Callable[[int, float | None], None] | None = None,
    ) -> None:
        super().__init__()
        self._bar = bar
        self._total_steps = total_steps
        self._stepped = stepped
        self._reward: float | None = None

    def _on_training_start(self) -> None:
        self.model._total_timesteps = self._total_steps

    def _on_step(self) -> bool:
        self._bar.update(self.training_env.num_envs)
        episodes = self.model.ep_info_buffer
        if episodes and self.n_calls % 64 == 0:
            self._reward = float(safe_mean([e["r"] for e in episodes]))
            self._bar.set_postfix_str(f"mean episode reward {self._reward:.3f}", refresh=False)
        if self._stepped is not None:
            self._stepped(self.num_timesteps, self._reward)
        return True


def write_hparams(tb: Path, params: dict[str, Any], metrics: dict[str, float]) -> None:
    """Write what TensorBoard's HPARAMS page compares runs by: parameters and final figures."""
    plain = {k: v if isinstance(v, bool | int | float) else str(v) for k, v in params.items()}
    with SummaryWriter(str(tb / "hparams")) as writer:
        writer.add_hparams(plain, metrics, run_name=".")


def limit_gpu(share: float) -> None:
    """Let this process take so much of the GPU's memory and no more."""
    if share < 1.0 and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(share)


def gpu_mb() -> float:
    """Return the GPU memory that this process holds for tensors."""
    return torch.cuda.memory_reserved() / 1e6
