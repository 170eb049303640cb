"""Real grids on random walks, and what their reports claim; one on a planted signal.

walks_claimed   grids of which the verdict claims an edge, of so many walks
walks_naive     grids whose best trial looks good had there been no other: its own probabilistic
                Sharpe ratio exceeds 95 %
walks_positive  grids whose chosen configuration has a positive Sharpe ratio
planted_found   grids on the planted signal whose verdict finds it, of one
grid_seconds    from the first process to the written report; beside its trainings one by one

Each the harder way: the walks trade without costs, for with costs whoever has no edge loses by
trading, and there would be little luck to resist; the signal has to pay for its costs. A grid that
is not complete or cannot be judged ends the measurement, for it would count as one that claims
nothing.
"""

import logging
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal, NamedTuple

from tqdm import tqdm

from agents.bench.report import Row
from agents.gridreport.report import write
from agents.statistics import sharpe as ratios
from agents.statistics.verdict import HOLDS, WORTH, Verdict
from agents.trials import launcher
from agents.trials.clusters import builder
from agents.trials.config import TrainingGrid
from agents.trials.results import GridResults, load
from agents.trials.returns import returns
from envs.synthetic import write_synthetic
from grid.config import convert
from grid.errors import TrialsError
from grid.home import Home

log = logging.getLogger(__name__)

type Kind = Literal["walk", "signal"]

GRIDS: Final = 20
STEPS = 3_072  # decisions of a trial
ROWS = 20_000  # minutes of a market
AXES: dict[str, list[Any]] = {"algo.learning_rate": [1e-3, 3e-3], "env.window": [2, 4]}
FOLDS = {"kind": "rolling", "train": "7d", "validation": "2d", "test": "4d", "count": 1}
_COSTS: Final[dict[Kind, dict[str, float]]] = {
    "walk": {"taker_fee_bps": 0.0, "half_spread_bps": 0.0},
    "signal": {"taker_fee_bps": 0.2, "half_spread_bps": 0.1},
}
_SURE: Final = 0.95


class Judged(NamedTuple):
    """What the report of a grid says.

    Attributes:
        claimed: whether the verdict claims an edge.
        naive: whether the best trial's own probabilistic Sharpe ratio would.
        positive: whether the chosen configuration's Sharpe ratio is above 0.
        seconds: of the grid and its report.
        alone_s: of its trainings, one after the other.
    """

    claimed: bool
    naive: bool
    positive: bool
    seconds: float
    alone_s: float


def run(grids: int = GRIDS) -> list[Row]:
    """Measure; a grid takes some 23 seconds of a core, shared among as many as there are.

    Args:
        grids: random walks, each with a grid of its own.

    Raises:
        TrialsError: a grid was not complete, or could not be judged.
    """
    walks: list[Judged] = []
    with tqdm(total=grids + 1, unit=" grids", desc="walks") as bar:
        for seed in range(grids):
            walks.append(judged("walk", seed))
            bar.set_postfix_str(f"{sum(w.claimed for w in walks)} claimed")
            bar.update()
        planted = judged("signal", grids)
        bar.update()
    return rows(walks, planted)


def rows(walks: list[Judged], planted: Judged) -> list[Row]:
    """Return the figures of some walks and of the signal."""
    every = [*walks, planted]
    return [
        _of("walks_claimed", [w.claimed for w in walks]),
        _of("walks_naive", [w.naive for w in walks]),
        _of("walks_positive", [w.positive for w in walks]),
        _of("planted_found", [planted.claimed]),
        Row.of(
            "grid_seconds",
            _mean([j.seconds for j in every]),
            "s",
            _mean([j.alone_s for j in every]),
        ),
    ]


def judged(kind: Kind, seed: int) -> Judged:
    """Return what the report says of a grid on a market of its own, made and trained for it.

    Args:
        kind: of the market.
        seed: of the market; the trials' seeds are the same in all grids.

    Raises:
        TrialsError: the grid was not complete, or could not be judged.
    """
    with TemporaryDirectory(prefix="argonaut-") as name:
        home = Home(Path(name))
        write_synthetic(kind, kind, home, n=ROWS, seed=seed)
        grid = convert(tree(kind), TrainingGrid, "bench walks")
        began_s = time.monotonic()
        schedule = launcher.run(grid, home, builder("local"), lambda schedule, beats, events: None)
        if schedule.stopped == launcher.INTERRUPTED:
            raise KeyboardInterrupt
        _, report = write(home, grid.name)
        seconds = time.monotonic() - began_s
        results = load(home.root / "grids" / grid.name)
        verdict = _verdict(results, report.findings.verdict, report.findings.unjudged)
        log.info("%s %d: %s", kind, seed, verdict.line)
        return Judged(
            claimed=verdict.grade in (WORTH, HOLDS),
            naive=_naive(results),
            positive=verdict.sharpe.value > 0.0,
            seconds=seconds,
            alone_s=sum(t.outcome.seconds for t in results.trials if t.outcome is not None),
        )


def tree(kind: Kind) -> dict[str, Any]:
    """Return the config of a grid: `AXES`, two seeds, one fold."""
    return {
        "name": kind,
        "seeds": 2,
        "folds": FOLDS,
        "axes": AXES,
        "base": {
            "name": kind,
            "data": {
                "dataset": kind,
                "train": ["2020-01-01", "2020-01-02"],  # of no meaning: the folds walk
                "test": ["2020-01-02", "2020-01-03"],
            },
            "env": {
                "features": ["log_volume", "log_return:1"],
                "window": 2,
                "steps": 390,
                "target": {"max_qty": 1_000.0},
            },
            "venue": _COSTS[kind],
            "algo": {"name": "ppo", "n_steps": 1_024, "batch_size": 256, "n_epochs": 6},
            "run": {"n_envs": 1, "total_steps": STEPS, "checkpoint_every_steps": STEPS},
        },
    }


def _verdict(results: GridResults, verdict: Verdict | None, unjudged: str) -> Verdict:
    lost = [t for t in results.trials if t.status != "done"]
    if lost:
        raise TrialsError(
            f"bench walks: expected {len(results.trials)} trials done, found {lost[0].trial.id} "
            f"{lost[0].status}: {lost[0].why}"
        )
    if verdict is None:
        raise TrialsError(f"bench walks: expected a verdict, found none: {unjudged}")
    return verdict


def _naive(results: GridResults) -> bool:
    found = [ratios.moments(column) for column in returns(results).returns.T]
    return max((ratios.psr(m) for m in found if m is not None), default=0.0) > _SURE


def _of(name: str, counted: list[bool]) -> Row:
    return Row.of(name, float(sum(counted)), "grids", float(len(counted)))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
