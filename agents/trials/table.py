"""A grid as text: what runs, what came of it, and one line for each thing that happens."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from agents.trials.axes import Point
from agents.trials.events import (
    Done,
    Event,
    Failed,
    Finalized,
    Launched,
    Planned,
    Proposed,
    Pruned,
    Reported,
    Saved,
    Started,
    Stopped,
)
from agents.trials.messages import Beat
from agents.trials.results import GridResults
from agents.trials.schedule import Schedule, State

_HEAD: Final = (
    "trial", "configuration", "fold", "seed", "doing", "steps", "steps/s", "reward", "score",
    "memory", "GPU", "ETA",
)  # fmt: skip
_WIDEST: Final = 44


def live(schedule: Schedule, beats: Mapping[str, Beat], now_ns: int | None = None) -> str:
    """Return the state of a grid: a line of counts, and a row for each trial that runs."""
    rows = [_row(schedule, schedule.trials[name], beats.get(name)) for name in schedule.running]
    table = columns([_HEAD, *rows], left=5) if rows else ""
    return "\n".join(filter(None, (summary(schedule, beats, now_ns), table)))


def summary(schedule: Schedule, beats: Mapping[str, Beat], now_ns: int | None = None) -> str:
    """Return a grid's counts in one line."""
    now_ns = time.time_ns() if now_ns is None else now_ns
    phases = Counter(state.phase for state in schedule.trials.values())
    counts = ", ".join(
        f"{phases[p]} {p}" for p in ("done", "running", "waiting", "pruned", "failed") if phases[p]
    )
    speed = sum(beats[n].steps_per_s for n in schedule.running if n in beats)
    taken = {name: beat.steps for name, beat in beats.items()}
    left = sum(
        max(0, total_steps(schedule, s) - max(s.steps, taken.get(name, 0)))
        for name, s in schedule.trials.items()
        if s.phase in ("running", "waiting")
    )
    parts = [
        f"grid {schedule.grid.name}: {len(schedule.trials)} trials of "
        f"{len(schedule.configurations)} configurations, {counts or 'none yet'}"
    ]
    if schedule.stopped:
        parts.append(schedule.stopped)
    elif speed > 0:
        parts.append(f"{speed:,.0f} steps/s, about {duration(left / speed)} for those proposed")
    parts.append(f"{duration(3600 * schedule.spent(now_ns)['hours'])} so far")
    return "; ".join(parts)


def total_steps(schedule: Schedule, state: State) -> int:
    """Return the decisions that a trial is to take in all."""
    params = schedule.configurations[state.trial.configuration].params
    return int(params.get("run.total_steps", schedule.grid.base.run.total_steps))


def line(event: Event) -> str:
    """Return what happened in one line."""
    match event:
        case Planned():
            return f"planned: {len(event.folds)} folds, {len(event.seeds)} seeds, by {event.by}"
        case Launched():
            return f"launched: process {event.pid} by {event.by}"
        case Proposed():
            out = [f"proposed: {len(event.configurations)} configurations"]
            out += [f"{event.excluded} points excluded"] if event.excluded else []
            out += [f"{len(event.invalid)} invalid"] if event.invalid else []
            return ", ".join(out)
        case Started():
            again = f", attempt {event.attempt}" if event.attempt > 1 else ""
            return f"started: {event.trial}{again}"
        case Saved():
            reward = number(event.reward)
            return f"saved: {event.trial}, {event.steps:,} steps, mean reward {reward}"
        case Reported():
            return (
                f"reported: {event.trial} rung {event.rung}, {event.steps:,} steps, "
                f"score {number(event.score)}"
            )
        case Pruned():
            return f"pruned: {event.trial}: {event.why}"
        case Failed():
            end = "tried again" if event.again else "given up"
            return f"failed: {event.trial}, attempt {event.attempt}: {event.why}; {end}"
        case Done():
            o = event.outcome
            return (
                f"done: {event.trial} {o.digest}, {o.steps:,} steps in {duration(o.seconds)}, "
                f"validation Sharpe {number(o.validation.get('sharpe'))}, "
                f"test Sharpe {number(o.test.get('sharpe'))}"
            )
        case Stopped():
            return f"stopped: {event.why}"
        case Finalized():
            return f"finalized: configuration {event.configuration} by {event.by}"


def report(results: GridResults) -> str:
    """Return a grid's configurations, best first, and what failed with its last lines."""
    objective = results.grid.objective
    ranked = sorted(
        results.configurations,
        key=lambda c: -float("inf") if (s := results.scores[c.key]) is None else s,
        reverse=True,
    )
    rows = []
    for c in ranked:
        own = [t for t in results.trials if t.trial.configuration == c.key]
        phases = Counter(t.status for t in own)
        test = [t.outcome.test.get(objective) for t in own if t.outcome]
        known = [x for x in test if x is not None]
        mean = sum(known) / len(known) if known else None
        status = " ".join(f"{n} {p}" for p, n in phases.items())
        rows.append((c.key, point(c.params), status, number(results.scores[c.key]), number(mean)))
    head = ("key", "configuration", "trials", f"validation {objective}", f"test {objective}")
    said = [
        f"grid {results.grid.name}: {results.count} configurations tried, "
        f"{len(results.trials)} trials, {results.spent['steps']:,.0f} steps, "
        f"{duration(3600 * results.spent['hours'])}; {results.stopped or 'running'}",
        folds(results.planned.folds, results.holdout),
        columns([head, *rows], left=3),
    ]
    if results.excluded:
        said.append(f"{results.excluded} points excluded by the config")
    said += [f"invalid: {point(r.params)}: {r.why}" for r in results.invalid]
    for t in results.trials:
        if t.status == "failed":
            said.append(f"failed: {t.trial.id}, {point(t.params)}: {t.why}")
            said += [f"    {text}" for text in t.log.splitlines()]
    return "\n".join(said)


def holdout(opened: Finalized) -> str:
    """Return what the holdout said, a row for each trial."""
    head = ("trial", "log return", "Sharpe, annual", "max drawdown", "turnover", "trades")
    keys = ("log_return", "sharpe", "max_drawdown", "turnover", "trades")
    rows = [(name, *(number(s.get(k)) for k in keys)) for name, s in opened.scores.items()]
    return (
        f"holdout opened by {opened.by} for configuration {opened.configuration}, once\n"
        + columns([head, *rows], left=1)
    )


def folds(all_folds: Sequence[Any], holdout: Any) -> str:
    """Return the spans of folds, a row each."""
    head = ("fold", "train", "validation", "test")
    rows = [
        (str(i), *(f"{span[0]} to {span[1]}" for span in (f.train, f.validation, f.test)))
        for i, f in enumerate(all_folds)
    ]
    text = columns([head, *rows], left=4)
    return text + (f"\nholdout: {holdout[0]} to {holdout[1]}" if holdout else "\nno holdout")


def point(params: Point) -> str:
    """Return a point of the axes in short."""
    return ", ".join(f"{key.rpartition('.')[2]}={short(v)}" for key, v in params.items()) or "base"


def short(value: Any) -> str:
    """Return a value of an axis in short: a number's digits that matter, a table's name."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return str(value.get("name", value.get("kind", value)))
    if isinstance(value, list | tuple):
        return "+".join(map(short, value))
    return str(value)


def columns(rows: Sequence[Sequence[str]], left: int) -> str:
    """Return rows as aligned text, the first `left` columns flush left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def duration(seconds: float) -> str:
    """Return a time as `2.5 s`, `3 min 20 s` or `4 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def number(value: float | None) -> str:
    """Return a figure, or a dash where there is none."""
    return "-" if value is None else f"{value:.3g}"


def _row(schedule: Schedule, state: State, beat: Beat | None) -> tuple[str, ...]:
    trial, total = state.trial, total_steps(schedule, state)
    params = point(schedule.configurations[trial.configuration].params)
    clipped = params if len(params) <= _WIDEST else params[: _WIDEST - 1] + "~"
    score = state.rungs[max(state.rungs)] if state.rungs else None
    head = (trial.id, clipped, str(trial.fold), str(trial.seed))
    if beat is None:
        return (*head, "starting", f"{state.steps:,}", "", "", number(score), "", "", "")
    going = beat.steps_per_s > 0 and beat.doing == "training"
    return (
        *head,
        beat.doing,
        f"{beat.steps:,} of {total:,}",
        f"{beat.steps_per_s:,.0f}" if beat.steps_per_s else "",
        number(beat.reward),
        number(score),
        f"{beat.memory_mb:,.0f} MB",
        f"{beat.gpu_mb:,.0f} MB" if beat.gpu_mb else "-",
        duration((total - beat.steps) / beat.steps_per_s) if going else "",
    )
