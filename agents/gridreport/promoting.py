"""From a grid to a model: the checkpoint that it chose, and the verdict as evidence."""

from agents.checkpoint import Checkpoint
from agents.gridreport.finding import find
from agents.registry.evidence import Evidence
from agents.statistics.verdict import HOLDS, WORTH, Verdict
from agents.statistics.words import percent
from agents.trials.results import GridResults, TrialResult, load
from grid.errors import TrialsError
from grid.home import Home


def chosen(home: Home, name: str) -> Checkpoint:
    """Return what a grid chose: of its best configuration the newest fold and the middle seed.

    The middle one by the score on the validation span: the best seed would be the luckiest.

    Raises:
        TrialsError: there is no such grid, or no configuration is done on all folds and seeds.
        CheckpointError: the checkpoint is damaged.
    """
    results = load(home.root / "grids" / name)
    own = _newest(results)
    objective = results.grid.objective
    ranked = sorted(own, key=lambda t: (_score(t, objective), t.trial.seed))
    return Checkpoint.open(ranked[(len(ranked) - 1) // 2].folder)


def evidence(home: Home, name: str, at: str) -> Evidence:
    """Return the verdict on a grid as evidence: it passes from `worth a holdout` on.

    Args:
        home: that the grid is in.
        name: of the grid.
        at: the time, UTC.

    Raises:
        TrialsError: there is no such grid.
        CheckpointError: a trial's file is damaged.
        EngineError: the engine failed.
    """
    found, _ = find(load(home.root / "grids" / name), home)
    v = found.verdict
    if v is None:
        said = f"grid {name}: no verdict: {found.unjudged}"
        return Evidence(what="grid", passed=False, said=said, at=at)
    return Evidence(
        what="grid", passed=v.grade in (WORTH, HOLDS), said=_said(name, v), at=at, metrics=_told(v)
    )


def _said(name: str, v: Verdict) -> str:
    figures = [f"{v.tried:,} tried", f"deflated Sharpe ratio {percent(v.deflated)}"]
    if v.overfitting is not None:
        figures.append(f"overfitting {percent(v.overfitting.probability)}")
    return f"grid {name}: {v.grade}: {v.line} {', '.join(figures)}"


def _told(v: Verdict) -> dict[str, float]:
    told = {
        "tried": float(v.tried),
        "sharpe": v.sharpe.value,
        "chance": v.chance,
        "deflated": v.deflated,
    }
    if v.overfitting is not None:
        told["overfitting"] = v.overfitting.probability
    return told if v.holdout is None else {**told, "holdout_sharpe": v.holdout.sharpe.value}


def _newest(results: GridResults) -> list[TrialResult]:
    opened, best = results.finalized, results.best()
    if opened is None and best is None:
        raise TrialsError(
            f"grid {results.grid.name!r}: no configuration is done on all folds and seeds"
        )
    key = opened.configuration if opened is not None else best.key if best else ""
    last = len(results.planned.folds) - 1
    return [t for t in results.trials if (t.trial.configuration, t.trial.fold) == (key, last)]


def _score(t: TrialResult, objective: str) -> float:
    score = t.outcome.validation.get(objective) if t.outcome else None
    return -float("inf") if score is None else score
