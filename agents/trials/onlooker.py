"""What the gateway tells of training grids: read from their folders, nothing is written there."""

import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Final

from agents.trials import journal
from agents.trials.axes import values_of
from agents.trials.folder import Folder
from agents.trials.results import load
from agents.trials.schedule import SETTLED, State
from agents.trials.table import point, short, total_steps
from agents.trials.verdicts import Verdicts
from agents.trials.watched import Watched
from grid.config import dump
from grid.errors import TrialsError
from grid.gateway import training as rows
from grid.home import Home

_POINTS: Final = 200  # of a curve
_KEPT: Final = 64  # grids whose journals are not read again from their beginning
_LOG_CHARS: Final = 4_000
_ENDS: Final = ("complete", "budget", "interrupted")


class Onlooker:
    """Implements `grid.gateway.training.Training`.

    Args:
        home: that the grids are in.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._watched: dict[str, Watched] = {}
        self._verdicts = Verdicts()

    def names(self) -> list[str]:
        """Return the grids, that in which something happened last first."""
        files = [
            p / journal.NAME for p in (self._home.root / "grids").glob("*") if p.name[:1].isalnum()
        ]
        return [f.parent.name for f in sorted(files, key=_written_ns, reverse=True) if f.is_file()]

    def grid(self, name: str) -> rows.TrainingGrid:
        """Return one in short."""
        with self._lock:
            return _short(self._look(name), time.time_ns())

    def detail(self, name: str) -> rows.TrainingDetail:
        """Return one, whole."""
        with self._lock:
            w = self._look(name)
            s, planned = w.schedule, w.planned
            short_one = _short(w, time.time_ns())
            opened = s.finalized.configuration if s.finalized else None
            found = rows.TrainingDetail(
                grid=short_one,
                by=planned.by,
                axes={path: _axis(axis) for path, axis in s.grid.axes.items()},
                spans=[rows.Fold(f.train, f.validation, f.test) for f in planned.folds],
                holdout=planned.holdout,
                opened=opened,
                seed_values=list(planned.seeds),
                best=_best(w),
                verdict=rows.TrainingVerdict("running", "Judged when the grid has ended."),
            )
        if found.grid.state == "running":
            return found
        path = w.folder.path
        key = f"{name} {found.grid.revision}"
        verdict = self._verdicts.of(key, path, w.changed_ns, lambda: load(path))
        return replace(found, verdict=verdict)

    def trials(self, name: str) -> list[rows.TrainingTrial]:
        """Return its trials, in the order in which they start."""
        with self._lock:
            w = self._look(name)
            states = enumerate(w.schedule.trials.values(), 1)
            return [_trial(w, n, state) for n, state in states]

    def curves(self, name: str) -> list[rows.Curve]:
        """Return the curves of its trials, in the same order."""
        with self._lock:
            w = self._look(name)
            return [_curve(w, state) for state in w.schedule.trials.values()]

    def failures(self, name: str) -> list[rows.Failure]:
        """Return the deaths of its trials, oldest first."""
        with self._lock:
            return [
                rows.Failure(n, e.trial, e.attempt, e.why, e.log[-_LOG_CHARS:], e.again, e.at_ns)
                for n, e in enumerate(self._look(name).deaths, 1)
            ]

    def close(self) -> None:
        """End what is under way."""
        self._verdicts.close()

    def _look(self, name: str) -> Watched:
        found = self._watched.pop(name, None)
        try:
            if found is None:
                found = Watched(Folder(self._home, name))
            found.refresh()
            _ = found.planned
        except OSError as e:
            raise TrialsError(f"grid {name!r}: cannot be read: {e.strerror}") from e
        self._watched[name] = found  # the newest last
        while len(self._watched) > _KEPT:
            del self._watched[next(iter(self._watched))]
        return found


def _short(w: Watched, now_ns: int) -> rows.TrainingGrid:
    s, planned = w.schedule, w.planned
    phases = Counter(str(state.phase) for state in s.trials.values())
    taken = {name: _steps(w, name, state) for name, state in s.trials.items()}
    ahead = sum(
        max(0, total_steps(s, state) - taken[name])
        for name, state in s.trials.items()
        if state.phase not in SETTLED
    )
    speed = sum(w.beats[n].steps_per_s for n in s.running if n in w.beats)
    state, why = _state(w)
    return rows.TrainingGrid(
        name=w.folder.name,
        state=state,
        why=why,
        revision=w.revision,
        trials=len(s.trials),
        phases=dict(phases),
        configurations=len(s.configurations),
        folds=len(planned.folds),
        seeds=len(planned.seeds),
        steps=sum(taken.values()),
        total_steps=sum(taken.values()) + ahead,
        steps_per_s=speed,
        eta_s=ahead / speed if speed > 0.0 else None,
        hours=s.spent(now_ns if w.running else None)["hours"],
        failures=len(w.deaths),
        objective=s.grid.objective,
        began_ns=planned.at_ns,
        changed_ns=w.changed_ns,
    )


def _state(w: Watched) -> tuple[rows.State, str]:
    stopped = w.schedule.stopped
    if w.running and not stopped:
        return "running", ""
    if stopped in _ENDS:
        return stopped, ""  # type: ignore[return-value]
    if stopped:
        return "stopped", stopped
    return "abandoned", f"no process runs it: go on with `grid resume {w.folder.name}`"


def _trial(w: Watched, n: int, state: State) -> rows.TrainingTrial:
    s, trial = w.schedule, state.trial
    beat = w.beats.get(trial.id) if state.phase == "running" else None
    total = total_steps(s, state)
    saved = list(w.rewards.get(trial.id, {}).values())
    scored = list(w.scores.get(trial.id, {}).values())
    pace = beat.steps_per_s if beat is not None else 0.0
    trains = beat is not None and beat.doing == "training" and pace > 0.0
    return rows.TrainingTrial(
        n=n,
        id=trial.id,
        configuration=trial.configuration,
        params=point(s.configurations[trial.configuration].params),
        fold=trial.fold,
        seed=trial.seed,
        phase=state.phase,
        doing=None if state.phase != "running" else beat.doing if beat else "starting",
        steps=_steps(w, trial.id, state),
        total_steps=total,
        steps_per_s=pace or None,
        reward=beat.reward if beat and beat.reward is not None else saved[-1] if saved else None,
        score=scored[-1] if scored else None,
        attempts=state.attempts,
        retries=max(0, state.failures - (state.phase == "failed")),
        memory_mb=beat.memory_mb or None if beat else None,
        gpu_mb=beat.gpu_mb or None if beat else None,
        eta_s=max(0, total - beat.steps) / pace if beat is not None and trains else None,
        seconds=state.outcome.seconds if state.outcome else None,
        why=state.why or None,
    )


def _curve(w: Watched, state: State) -> rows.Curve:
    trial = state.trial
    reward = sorted(w.rewards.get(trial.id, {}).items())
    beat = w.beats.get(trial.id) if state.phase == "running" else None
    if beat is not None and beat.reward is not None and beat.steps > (reward or [(0, 0.0)])[-1][0]:
        reward.append((beat.steps, beat.reward))
    score = sorted(w.scores.get(trial.id, {}).items())
    rewards, scores = _thinned(reward), _thinned(score)
    return rows.Curve(
        trial=trial.id,
        configuration=trial.configuration,
        params=point(w.schedule.configurations[trial.configuration].params),
        phase=state.phase,
        reward=rewards,
        score=scores,
        left_out=len(reward) + len(score) - len(rewards) - len(scores),
    )


def _thinned(line: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Leave every so many out; first and last stay."""
    if len(line) <= _POINTS:
        return line
    places = [round(i * (len(line) - 1) / (_POINTS - 1)) for i in range(_POINTS)]
    return [line[i] for i in places]


def _steps(w: Watched, name: str, state: State) -> int:
    beat = w.beats.get(name) if state.phase == "running" else None
    return max(state.steps, beat.steps if beat else 0)


def _best(w: Watched) -> rows.Best | None:
    s = w.schedule
    bad = {state.trial.configuration for state in s.trials.values() if state.phase != "done"}
    scores = {key: s.score_of(key) for key in s.configurations if key not in bad}
    known = {key: score for key, score in scores.items() if score is not None}
    if not known:
        return None
    key = max(known, key=known.__getitem__)
    return rows.Best(key, point(s.configurations[key].params), known[key])


def _axis(axis: object) -> str:
    values = values_of(axis)  # type: ignore[arg-type]
    if values is not None:
        return ", ".join(map(short, values))
    said = {k: v for k, v in dump(axis).items() if v is not None}  # type: ignore[arg-type]
    return ", ".join(f"{k} {v}" for k, v in said.items())


def _written_ns(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0
