"""What the process of a trial does: train, judge, write the results, and say so."""

import contextlib
import errno
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import msgspec
import psutil

from agents.checkpoint import LATEST, Checkpoint
from agents.config import RunConfig
from agents.metrics import Track
from agents.run import wait_until_free
from agents.trials import judging
from agents.trials.messages import NO_GPU, Beat, Died, Finished, Message, Order, Rung, Saved
from agents.trials.trial import Outcome, Scores
from grid.config import convert
from grid.durable import write_atomic
from grid.errors import ArgonautError
from grid.home import Home

RESULT: Final = "result.json"
TRACKS: Final = "tracks.safetensors"
_BEAT_S: Final = 0.5
_WEIGH_S: Final = 5.0
_SMOOTH: Final = 12  # beats that a rate is taken over
_LINGER_S: Final = 10.0

log = logging.getLogger(__name__)

type Tell = Callable[[Message], None]


def work(order: Order, home: Home, tell: Tell) -> None:
    """Carry out a trial in the home of its grid; whatever happens, the last message says it."""
    trial, attempt = order.trial, order.attempt
    try:
        outcome = _work(order, home, tell)
    except ArgonautError as e:
        log.error("%s", e)
        kind: Literal["input", "crash"] = "input" if e.exit_code == 2 else "crash"
        tell(Died(trial=trial, attempt=attempt, why=str(e), kind=kind))
    except OSError as e:
        if e.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        why = f"{e.filename or home.root}: {os.strerror(e.errno)}"
        log.error("%s", why)
        tell(Died(trial=trial, attempt=attempt, why=why, kind="disk"))
    else:
        tell(Finished(trial=trial, attempt=attempt, outcome=outcome))


def _work(order: Order, home: Home, tell: Tell) -> Outcome:
    started = time.monotonic()
    watch = Watcher(order, home, tell)
    watch.beat("starting")
    config = convert(order.config, RunConfig, order.trial)
    if order.gpu >= 0:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(order.gpu)  # read once CUDA is first used

    from agents.progress import limit_gpu, write_hparams  # torch, for who has it loaded already
    from agents.training import train

    if order.gpu != NO_GPU:
        limit_gpu(order.gpu_share)
    folder = home.runs / order.trial
    wait_until_free(folder, _LINGER_S)
    if (folder / LATEST).exists():
        watch.judge(Checkpoint.open(folder))  # it may have died at a rung
    path = train(
        config,
        home,
        resume=True,
        progress=False,
        initial=home.runs / order.parent if order.parent else None,
        watch=watch,
        threads=order.cores,
        commit=order.commit,
    )
    checkpoint = Checkpoint.open(path)
    spans = {"validation": order.validation, "test": checkpoint.manifest.data.test}
    tracks = {
        name: judging.judge(checkpoint, home, span, watch.judged) for name, span in spans.items()
    }
    figures = {name: judging.scores(track) for name, track in tracks.items()}
    outcome = Outcome(
        digest=checkpoint.digest,
        steps=checkpoint.manifest.steps,
        seconds=time.monotonic() - started,
        **figures,
    )
    _write(folder, outcome, tracks)
    known = {k: v for k, v in figures["validation"].items() if v is not None}
    write_hparams(folder / "tb", order.params, {f"validation/{k}": v for k, v in known.items()})
    return outcome


def _write(folder: Path, outcome: Outcome, tracks: dict[str, Track]) -> None:
    write_atomic(folder / TRACKS, judging.to_bytes(tracks))
    raw = msgspec.json.format(msgspec.json.encode(outcome), indent=1)
    write_atomic(folder / RESULT, raw)


class Watcher:
    """Follows a training run and tells the launcher: a beat now and then, a score at each rung."""

    def __init__(self, order: Order, home: Home, tell: Tell) -> None:
        self._order, self._home, self._tell = order, home, tell
        self._rungs = [i for i in range(len(order.rungs)) if i not in order.reported]
        self._process = psutil.Process()
        self._beat_at = self._weighed_at = 0.0
        self._weight_mb = 0.0
        self._steps = 0
        self._past: deque[tuple[float, int]] = deque(maxlen=_SMOOTH)
        self._reward: float | None = None

    def stepped(self, steps: int, reward: float | None) -> None:
        """Beat, if the last one is a while ago; what is saved next is told with this reward."""
        self._steps = steps
        self._reward = self._reward if reward is None else reward
        now = time.monotonic()
        if now - self._beat_at < _BEAT_S:
            return
        self._past.append((now, steps))
        then, before = self._past[0]
        self.beat("training", (steps - before) / (now - then) if now > then else 0.0)

    def saved(self, checkpoint: Checkpoint) -> None:
        """Tell of a checkpoint, and judge it."""
        o, steps = self._order, checkpoint.manifest.steps
        self._tell(Saved(trial=o.trial, attempt=o.attempt, steps=steps, reward=self._reward))
        self.judge(checkpoint)

    def judge(self, checkpoint: Checkpoint) -> None:
        """Judge a checkpoint, if a rung has been reached with it."""
        steps = checkpoint.manifest.steps
        reached = [i for i in self._rungs if self._order.rungs[i] <= steps]
        if not reached:
            return
        track = judging.judge(checkpoint, self._home, self._order.validation, self.judged)
        score = _score(judging.scores(track), self._order.objective)
        for rung in reached:
            self._rungs.remove(rung)
            o = self._order
            self._tell(Rung(trial=o.trial, attempt=o.attempt, rung=rung, steps=steps, score=score))

    def judged(self) -> None:
        """Beat while judging, if the last one is a while ago."""
        if time.monotonic() - self._beat_at >= _BEAT_S:
            self.beat("judging")

    def beat(self, doing: str, rate: float = 0.0) -> None:
        """Give a sign of life."""
        self._beat_at = time.monotonic()
        self._tell(
            Beat(
                trial=self._order.trial,
                attempt=self._order.attempt,
                doing=doing,  # type: ignore[arg-type]
                steps=self._steps,
                steps_per_s=rate,
                reward=self._reward,
                memory_mb=self._memory_mb(),
                gpu_mb=self._gpu_mb(),
            )
        )

    def _memory_mb(self) -> float:
        now = time.monotonic()
        if now - self._weighed_at >= _WEIGH_S:  # it takes the kernel milliseconds to count
            total = 0
            for process in (self._process, *self._process.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    total += process.memory_full_info().pss  # not what all trials share
            self._weighed_at, self._weight_mb = now, total / 1e6
        return self._weight_mb

    def _gpu_mb(self) -> float:
        if self._order.gpu == NO_GPU:
            return 0.0
        from agents.progress import gpu_mb

        return gpu_mb()


def _score(figures: Scores, objective: str) -> float | None:
    return figures.get(objective)
