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
from typing import Any

import msgspec
import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv
from tqdm import tqdm

from agents import algorithms, plan, provenance, transformer
from agents.checkpoint import Checkpoint, Manifest
from agents.config import PPO, RunConfig, algo_name
from agents.gather import extractor
from agents.progress import Bar, Scalars
from agents.run import Run
from agents.vec import make_vec
from grid.config import dump
from grid.dataset import Dataset
from grid.errors import CheckpointError
from grid.home import Home

log = logging.getLogger(__name__)


def train(
    config: RunConfig,
    home: Home,
    *,
    resume: bool = False,
    replace: bool = False,
    progress: bool = True,
) -> Path:
    """Train an agent and return the folder of its final checkpoint.

    Args:
        config: the run.
        home: where datasets are and runs go.
        resume: go on with a run of the same name and config.
        replace: remove a run of the same name first.
        progress: show a bar on stderr.

    Raises:
        ConfigError: the run exists, has another config, or asks for what is not there.
        DataError: the dataset is missing or damaged.
        CheckpointError: the run's latest checkpoint is damaged, or from other data.
        ProcessDied: an env's process ended.
    """
    algorithms.device(config.run.device)  # what is not there is said before anything is written
    planned = plan.make(config, home)
    total = config.run.total_steps
    with Run(home.runs / config.name, config, resume=resume, replace=replace) as run:
        latest = run.latest()
        if latest is not None:
            _check_same(latest, planned)
            if latest.manifest.steps >= total:
                return latest.path
        _threads()
        start = latest.manifest.steps if latest else 0
        template = _manifest(config, planned)
        gathering: dict[str, Any] = {}
        if config.env.by_reference:
            gathering = extractor(Dataset.open(planned.recipe.dataset), planned.spec)
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
                latest = _segment(config, template, envs, run, latest, scalars, bar, gathering)
        del envs
        return latest.path


def seed_of(seed: int, segment: int) -> int:
    """Return the seed of a segment: unrelated to those of other segments and runs."""
    return int(np.random.SeedSequence([seed, segment]).generate_state(1)[0] % 2**31)


def _segment(
    config: RunConfig,
    template: Manifest,
    envs: VecEnv,
        if (body := config.algo.transformer) is not None:
            spec = planned.spec
            gathering = transformer.extractor(
                spec.window, len(spec.features), body.width, body.heads, body.layers, gathering
            )
    run: Run,
    latest: Checkpoint | None,
    scalars: Scalars,
    bar: "tqdm[Any]",
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
        callback=Bar(bar, config.run.total_steps),
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


def _manifest(config: RunConfig, planned: plan.Plan) -> Manifest:
    return Manifest(
        algo=algo_name(config.algo),
        spec=planned.spec,
        spec_digest=planned.spec.digest,
        venue=config.venue,
        reward=config.env.reward,
        reward_scale=planned.recipe.reward_scale,
        data=planned.data,
        config=dump(config),
        seed=config.seed,
        steps=0,
        segment=0,
        metrics={},
        versions=provenance.versions(),
        commit=provenance.commit(),
        platform=provenance.system(),
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
    if (found, latest.manifest.spec_digest) != (want, planned.spec.digest):
        raise CheckpointError(
            f"{latest.path}: trained on {found.name} with fingerprint {found.fingerprint}, the "
            f"dataset now has {want.fingerprint}"
        )


def _threads() -> None:
    # small networks lose by more threads; half of the cores stay with the envs
    torch.set_num_threads(max(1, min(4, (os.cpu_count() or 1) // 2)))
