"""dataset -> envs -> algorithm -> checkpoint.

Training is a chain of segments. Each begins from the checkpoint before it and from nothing else:
a fresh model takes weights, optimizer, counters and replay buffer from the disk, seeds follow from
(seed, segment), and the envs are reset. So a run that was killed and resumed ends with the same
bits as one that was not; what is lost is the work since the last checkpoint.
"""

import logging
import os
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv
from tqdm import tqdm

from agents import algorithms, plan, provenance, transformer
from agents.checkpoint import Checkpoint, Manifest
from agents.config import RunConfig
from agents.gather import extractor
from agents.hyperparameters import PPO, RecurrentPPO, algo_name
from agents.progress import Bar, Scalars
from agents.run import Run
from agents.vec import make_vec
from envs.made_bars import seen
from envs.trading_recipe import EnvRecipe
from grid.config import dump
from grid.dataset import Dataset
from grid.errors import CheckpointError, ConfigError
from grid.home import Home

log = logging.getLogger(__name__)


class Watch(Protocol):
    """Somebody who follows a training run, called from its thread."""

    def stepped(self, steps: int, reward: float | None) -> None:
        """All envs took a decision: `steps` of them so far, mean reward of the last episodes."""

    def saved(self, checkpoint: Checkpoint) -> None:
        """A segment ended."""


def train(
    config: RunConfig,
    home: Home,
    *,
    resume: bool = False,
    replace: bool = False,
    progress: bool = True,
    initial: Path | None = None,
    watch: Watch | None = None,
    threads: int | None = None,
    commit: str | None = None,
) -> Path:
    """Train an agent and return the folder of its final checkpoint.

    Args:
        config: the run.
        home: where datasets are and runs go.
        resume: go on with a run of the same name and config.
        replace: remove a run of the same name first.
        progress: show a bar on stderr.
        initial: the checkpoint to begin from, trained on the same data with the same network and
            perhaps other parameters; its decisions count. Without one the network is fresh.
        watch: is told of every step and checkpoint.
        threads: of the network's arithmetic; without it, see `use_threads`.
        commit: of the source, for the manifest; without it, git is asked.

    Raises:
        ConfigError: the run exists, has another config, or asks for what is not there.
        DataError: the dataset is missing or damaged.
        CheckpointError: the run's latest checkpoint, or the initial one, is damaged, from other
            data or of another network.
        ProcessDied: an env's process ended.
    """
    algorithms.device(config.run.device)  # what is not there is said before anything is written
    planned = plan.make(config, home)
    total = config.run.total_steps
    with Run(home.runs / config.name, config, resume=resume, replace=replace) as run:
        first = None if initial is None else Checkpoint.open(initial)
        latest = run.latest()
        for found in filter(None, (latest, first)):
            _check_same(found, planned)
        if latest is not None and latest.manifest.steps >= total:
            return latest.path
        if first is not None and first.manifest.steps >= total:
            raise ConfigError(
                f"key run.total_steps: expected more than the {first.manifest.steps} steps of the "
                f"initial checkpoint {first.digest}, found {total}"
            )
        algo = config.algo
        use_threads(threads, large=isinstance(algo, RecurrentPPO) or algo.transformer is not None)
        template = _manifest(config, planned, first, commit)
        latest = latest or first
        start = latest.manifest.steps if latest else 0
        gathering: dict[str, Any] = {}
        if config.env.by_reference and isinstance(planned.recipe, EnvRecipe):
            gathering = extractor(
                seen(Dataset.open(planned.recipe.dataset), planned.spec), planned.spec
            )
        if (body := config.algo.transformer) is not None:
            spec = planned.spec
            gathering = transformer.extractor(
                spec.window, len(spec.features), body.width, body.heads, body.layers, gathering
            )
        with (
            closing(make_vec(planned.recipe, config.run.n_envs)) as envs,
            closing(Scalars(run.tb, run.progress, start)) as scalars,
            tqdm(
                total=total,
                initial=start,
                unit=" steps",
                desc=config.name,
                mininterval=0.1 if sys.stderr.isatty() else 5.0,
                disable=not progress,
            ) as bar,
        ):
            while latest is None or latest.manifest.steps < total:
                shown = Bar(bar, total, watch.stepped if watch else None)
                latest = _segment(config, template, envs, run, latest, scalars, shown, gathering)
                if watch is not None:
                    watch.saved(latest)
        del envs
        return latest.path


def seed_of(seed: int, segment: int) -> int:
    """Return the seed of a segment: unrelated to those of other segments and runs."""
    return int(np.random.SeedSequence([seed, segment]).generate_state(1)[0] % 2**31)


def _segment(
    config: RunConfig,
    template: Manifest,
    envs: VecEnv,
    run: Run,
    latest: Checkpoint | None,
    scalars: Scalars,
    bar: Bar,
    policy_kwargs: dict[str, Any],
) -> Checkpoint:
    segment = latest.manifest.segment if latest else 0
    model = algorithms.build(config, envs, seed_of(config.seed, segment), policy_kwargs)
    if latest is not None:
        algorithms.restore(model, latest)
    model.set_logger(Logger(None, [scalars]))
    start, every = model.num_timesteps, config.run.checkpoint_every_steps
    goal = min((start // every + 1) * every, config.run.total_steps)
    model.learn(
        goal - start,
        callback=bar,
        log_interval=1 if isinstance(config.algo, PPO) else 4,
        reset_num_timesteps=False,
    )
    manifest = msgspec.structs.replace(
        template, steps=model.num_timesteps, segment=segment + 1, metrics=_metrics(model)
    )
    checkpoint = Checkpoint.write(run.checkpoints, manifest, algorithms.files(model))
    run.advance(checkpoint)
    log.info("checkpoint %s after %d steps", checkpoint.digest, model.num_timesteps)
    return checkpoint


def _manifest(
    config: RunConfig, planned: plan.Plan, initial: Checkpoint | None, commit: str | None
) -> Manifest:
    return Manifest(
        algo=algo_name(config.algo),
        spec=planned.spec,
        spec_digest=planned.spec_digest,
        venue=planned.recipe.venue,
        reward=config.env.reward,
        reward_scale=planned.recipe.reward_scale,
        data=planned.data,
        config=dump(config),
        seed=config.seed,
        steps=0,
        segment=0,
        metrics={},
        versions=provenance.versions(),
        commit=provenance.commit() if commit is None else commit,
        platform=provenance.system(),
        parent=initial.digest if initial else "",
        market=planned.market,
    )


def _metrics(model: BaseAlgorithm) -> dict[str, float]:
    episodes = list(model.ep_info_buffer or ())
    if not episodes:
        return {}
    return {
        "episodes": float(len(episodes)),
        "mean_episode_reward": float(np.mean([e["r"] for e in episodes])),
        "mean_episode_steps": float(np.mean([e["l"] for e in episodes])),
    }


def _check_same(latest: Checkpoint, planned: plan.Plan) -> None:
    found, want = latest.manifest.data, planned.data
    if (found, latest.manifest.spec_digest) != (want, planned.spec_digest):
        raise CheckpointError(
            f"{latest.path}: trained on {found.name} with fingerprint {found.fingerprint}, the "
            f"dataset now has {want.fingerprint}"
        )


def use_threads(asked: int | None = None, *, large: bool = False) -> None:
    """Let the network's arithmetic use so many cores; by default as suits it.

    A small network loses by more than a few threads, and threads that wait for each other take the
    cores of the envs. A large one, an LSTM or a transformer, is nearly all of the work.
    """
    cores = os.cpu_count() or 1
    torch.set_num_threads(asked or (min(8, cores) if large else max(1, min(4, cores // 2))))
