"""What a grid will cost, before it starts: time and disk, from earlier trials or a short one."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec

from agents.checkpoint import RESUME
from agents.config import RunConfig
from agents.hyperparameters import PPO, algo_name
from agents.trials import data, journal
from agents.trials.events import Done
from agents.trials.local import Local
from agents.trials.messages import Died, Finished, Order
from agents.trials.planning import Plan
from agents.trials.trial import Configuration, Trial, run_config
from envs.pipeline import ACCOUNT
from grid.config import dump
from grid.errors import ArgonautError, ProcessDied, TrialsError
from grid.home import Home

REPLAY: Final = f"{RESUME}/replay.safetensors"  # as in `agents.algorithms`
_STEPS: Final = 2_048  # of a calibration, at least
_TIMEOUT_S: Final = 120.0


class Pace(msgspec.Struct, frozen=True):
    """How fast trials of an algorithm are, and what they leave behind.

    Attributes:
        steps_per_s: of one trial, judging included.
        checkpoint_bytes: of a checkpoint that is not the latest.
        latest_bytes: more than that, of the latest, without a replay buffer.
        replay_bytes: of a number of an observation in the replay buffer; 0 where there is none.
        source: where the figures come from, for people.
    """

    steps_per_s: float
    checkpoint_bytes: float
    latest_bytes: float
    replay_bytes: float
    source: str


class Cost(msgspec.Struct, frozen=True):
    """What a grid will take: seconds on `slots` at once, bytes, and the paces assumed."""

    seconds: float
    bytes: float
    slots: int
    paces: dict[str, Pace]


def cost(plan: Plan, chosen: Sequence[Configuration], paces: dict[str, Pace], slots: int) -> Cost:
    """Return the cost of configurations, each on all folds with all seeds."""
    base = dump(plan.grid.base)
    seconds = size = 0.0
    trials = len(plan.folds) * len(plan.grid.all_seeds)
    for c in chosen:
        config = run_config(base, c, Trial(c.key, 0, 0), plan.folds[0], gpu=False)
        pace = paces[algo_name(config.algo)]
        run = config.run
        checkpoints = -(-run.total_steps // run.checkpoint_every_steps)
        seconds += trials * run.total_steps / pace.steps_per_s
        latest = pace.latest_bytes + pace.replay_bytes * _replayed(config, run.total_steps)
        size += trials * (checkpoints * pace.checkpoint_bytes + latest)
    busy = max(1, min(slots, trials * len(chosen)))
    copies = [d for d in plan.datasets.values() if plan.holdout is not None]
    size += sum(sum(c.nbytes for c in d.columns.values()) for d in copies)
    return Cost(seconds / busy, size, busy, paces)


def earlier(home: Home, algo: str) -> Pace | None:
    """Return the pace of an algorithm's trials in this home's latest grid that has some."""
    files = sorted((home.root / "grids").glob(f"*/{journal.NAME}"), key=lambda f: f.stat().st_mtime)
    for file in reversed(files):
        try:
            done = [e for e in journal.read(file) if isinstance(e, Done)]
        except ArgonautError:
            continue
        for event in reversed(done):
            pace = _of_run(file.parent / "runs" / event.trial, event, algo)
            if pace is not None:
                return pace
    return None


def calibrate(plan: Plan, chosen: Configuration) -> Pace:
    """Train a configuration for a short while in a folder that is gone afterwards.

    Raises:
        ProcessDied: the trial did.
    """
    grid = plan.grid
    trial = Trial(chosen.key, 0, 0)
    config = run_config(
        dump(grid.base), chosen, trial, plan.folds[0], gpu=grid.workers.gpu_memory_mb > 0
    )
    run = config.run
    rollout = config.algo.n_steps * run.n_envs if isinstance(config.algo, PPO) else 1
    steps = min(run.total_steps, -(-_STEPS // rollout) * rollout)
    config = msgspec.structs.replace(
        config,
        run=msgspec.structs.replace(run, total_steps=steps, checkpoint_every_steps=steps),
    )
    with TemporaryDirectory(prefix="argonaut-") as folder:
        home = Home(Path(folder))
        for dataset in plan.datasets.values():
            data.seal(dataset, home, None)
        pool = Local(home, grid.workers)
        try:
            pool.submit(_order(config, plan, trial))
            outcome = _wait(pool)
        finally:
            pool.close()
        event = Done(trial=trial.id, outcome=outcome)
        pace = _of_run(home.runs / trial.id, event, algo_name(config.algo))
        assert pace is not None
        return msgspec.structs.replace(
            pace, source=f"a short training of {outcome.steps:,} steps just now"
        )


def _replayed(config: RunConfig, steps: int) -> int:
    """Numbers of observations in a replay buffer after so many steps, 0 where there is none."""
    env, rows = config.env, min(steps, getattr(config.algo, "buffer_size", 0))
    market = 1 if env.by_reference else env.window * len(env.features)
    for view in config.market.views if config.market else ():
        market += (view.window or env.window) * len(view.features or env.features)
    return rows * (market + len(ACCOUNT))


def _order(config: RunConfig, plan: Plan, trial: Trial) -> Order:
    return Order(
        trial=trial.id,
        attempt=1,
        config=dump(config),
        validation=plan.folds[0].validation,
        objective=plan.grid.objective,
        rungs=(),
        reported=(),
        parent="",
        params={},
        commit="",
        cores=plan.grid.workers.cores,
    )


def _wait(pool: Local) -> Any:
    waited_s, poll_s = 0.0, 0.5
    while waited_s < _TIMEOUT_S:
        messages = pool.poll(poll_s)
        waited_s += 0.0 if messages else poll_s
        for message in messages:
            if isinstance(message, Finished):
                return message.outcome
            if isinstance(message, Died):
                raise ProcessDied(f"the trial that was to show the cost {message.why}")
    raise TrialsError(f"the trial that was to show the cost was silent for {_TIMEOUT_S:g} s")


def _of_run(folder: Path, event: Done, algo: str) -> Pace | None:
    """The pace of a trial, None if it is of another algorithm or its files are gone."""
    try:
        config = msgspec.json.decode((folder / "config.json").read_bytes(), type=RunConfig)
    except (OSError, msgspec.MsgspecError):
        return None
    o = event.outcome
    if algo_name(config.algo) != algo or o.seconds <= 0:
        return None
    checkpoints = [p for p in (folder / "checkpoints").iterdir() if p.is_dir()]
    resume = sum(data.size_bytes(p / RESUME) for p in checkpoints)
    replay = sum((p / REPLAY).stat().st_size for p in checkpoints if (p / REPLAY).exists())
    kept = sum(data.size_bytes(p) for p in checkpoints) - resume
    rest = data.size_bytes(folder) - kept - replay
    return Pace(
        o.steps / o.seconds,
        kept / max(1, len(checkpoints)),
        rest,
        replay / max(1, _replayed(config, o.steps)),
        f"trial {event.trial} of grid {folder.parents[1].name}",
    )
