"""A grid before it starts, as text: trials, folds, cost, and what will not be tried."""

from collections.abc import Sequence

from agents.hyperparameters import algo_name
from agents.trials import planning
from agents.trials.axes import values_of
from agents.trials.config import TrainingGrid
from agents.trials.estimate import Cost, Pace, calibrate, cost, earlier
from agents.trials.local import slots
from agents.trials.table import columns, duration, folds, point, short
from agents.trials.trial import Configuration, Trial, run_config
from grid.config import dump
from grid.home import Home

_MOST_INVALID = 20


def preview(grid: TrainingGrid, home: Home, *, quick: bool = False) -> str:
    """Return what a grid would run; nothing is written in `home`.

    Args:
        grid: its config.
        home: where the datasets are.
        quick: take the cost from earlier trials or leave it open, but train nothing for it.

    Raises:
        ConfigError: the grid is not what can be run.
        DataError: a dataset is missing, or not one fold fits.
    """
    plan = planning.make(grid, home)
    first = plan.proposer.next([])
    total = _configurations(grid, len(first.configurations))
    each = len(plan.folds) * len(grid.all_seeds)
    steps = sum(c.params.get("run.total_steps", grid.base.run.total_steps)
                for c in first.configurations) * each  # fmt: skip
    steps = round(steps * total / max(1, len(first.configurations)))
    lines = [
        f"grid {grid.name}: {total} configurations x {len(plan.folds)} folds x "
        f"{len(grid.all_seeds)} seeds = {total * each:,} trials, search {_kind(grid)}",
        columns([("axis", "values"), *_axes(grid)], left=2) if grid.axes else "no axes: one point",
        folds(plan.folds, plan.holdout),
    ]
    if grid.prune is not None:
        lines.append(
            f"pruning: one in {grid.prune.reduction} goes on past {grid.prune.min_steps:,} steps, "
            f"and so on"
        )
    budget = {k: v for k, v in dump(grid.budget).items() if v is not None}
    if budget:
        lines.append("budget: " + ", ".join(f"{v:,g} {k}" for k, v in budget.items()))
    paces = _paces(plan, first.configurations, home, quick=quick)
    if first.configurations and paces:
        found = cost(plan, first.configurations, paces, slots_of(grid))
        lines += _cost(found, total / len(first.configurations))
    elif first.configurations:
        lines.append("cost: unknown, no earlier trial tells; without --quick a short one is made")
    lines.append(f"decisions: {steps:,} at most")
    if first.excluded:
        lines.append(f"excluded by the config: {first.excluded} points")
    lines += [f"invalid: {point(r.params)}: {r.why}" for r in first.invalid[:_MOST_INVALID]]
    if len(first.invalid) > _MOST_INVALID:
        lines.append(f"and {len(first.invalid) - _MOST_INVALID} more invalid points")
    return "\n".join(lines)


def slots_of(grid: TrainingGrid) -> int:
    """Return how many trials this machine runs at once.

    Raises:
        ConfigError: not one.
    """
    import os

    from agents.trials.gpus import found

    gpus = found() if grid.workers.gpu_memory_mb else []
    return slots(grid.workers, len(os.sched_getaffinity(0)), gpus)


def _configurations(grid: TrainingGrid, first: int) -> int:
    search = dump(grid.search)
    if "generations" in search:
        return first * int(search["generations"])
    return max(first, int(search.get("configurations", 0))) if _kind(grid) == "bayes" else first


def _kind(grid: TrainingGrid) -> str:
    return str(grid.search.__struct_config__.tag)


def _axes(grid: TrainingGrid) -> list[tuple[str, str]]:
    rows = []
    for path, axis in grid.axes.items():
        values = values_of(axis)
        if values is not None:
            rows.append((path, ", ".join(map(short, values))))
        else:
            said = {k: v for k, v in dump(axis).items() if v is not None}  # type: ignore[arg-type]
            rows.append((path, ", ".join(f"{k} {list(v)}" for k, v in said.items())))
    return rows


def _paces(
    plan: planning.Plan, chosen: Sequence[Configuration], home: Home, *, quick: bool
) -> dict[str, Pace]:
    paces: dict[str, Pace] = {}
    base = dump(plan.grid.base)
    for c in chosen:
        trial = Trial(c.key, 0, 0)
        algo = algo_name(run_config(base, c, trial, plan.folds[0], gpu=False).algo)
        if algo in paces:
            continue
        pace = earlier(home, algo) or (None if quick else calibrate(plan, c))
        if pace is None:
            return {}
        paces[algo] = pace
    return paces


def _cost(found: Cost, times: float) -> list[str]:
    return [
        f"cost: about {duration(found.seconds * times)} with {found.slots} trials at once, "
        f"{found.bytes * times / 1e6:,.0f} MB of disk",
        *(
            f"    {algo}: {pace.steps_per_s:,.0f} steps/s a trial, from {pace.source}"
            for algo, pace in found.paces.items()
        ),
    ]
