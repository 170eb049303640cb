"""From the trials of a grid to what its report says."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from agents.diagnostics.costs import costs
from agents.diagnostics.diagnosis import diagnose
from agents.gridreport.findings import Chosen, Findings, Row, TrialRow
from agents.gridreport.holdout import opened
from agents.gridreport.playing import TRAINING, Played, Tell, beside, elsewhere, joined
from agents.metrics import Track, drawdown, measure, periods_per_year
from agents.scorecard import Case
from agents.statistics import sharpe as ratios
from agents.statistics.judge import judge
from agents.statistics.overfitting import logits
from agents.statistics.scores import (
    caution,
    interquartile_mean,
    probability_of_improvement,
    stratified,
)
from agents.statistics.verdict import Verdict
from agents.trials.results import GridResults, TrialResult
from agents.trials.returns import Table, returns
from agents.trials.table import point
from grid.config import dump
from grid.errors import DataError
from grid.home import Home

type Floats = NDArray[np.float64]
type Tracks = dict[str, dict[str, Track]]  # trial -> span -> track

_DRAWS: Final = 500
_BINS: Final = 24


@dataclass
class Curves:
    """What a report draws and `report.json` leaves out.

    Attributes:
        tracks: trial -> `validation` and `test` -> its track.
        table: records of the configurations side by side; None before one is done.
        baselines: name -> returns in the table's periods.
    """

    tracks: Tracks = field(default_factory=dict)
    table: Table | None = None
    baselines: dict[str, Floats] = field(default_factory=dict)


def find(
    results: GridResults, home: Home, tell: Tell = lambda said: None, *, play: bool = True
) -> tuple[Findings, Curves]:
    """Return what a grid has found so far.

    Args:
        results: of the grid.
        home: where the whole datasets are, for a holdout that was opened.
        tell: called before each episode that is played.
        play: the baselines and other worlds; without it there is less to say, and at once.

    Raises:
        CheckpointError: a trial's file is damaged.
        EngineError: the engine failed.
    """
    curves = Curves({t.trial.id: t.tracks() for t in results.trials if t.status == "done"})
    unjudged, verdict, chosen = "", None, None
    rows = [_row(results, key.key, curves.tracks) for key in results.configurations]
    beside_them: list[Row] = []
    notes: list[str] = []
    try:
        curves.table = returns(results)
    except DataError as e:
        unjudged = str(e)
    if curves.table is not None:
        key = _key(results, curves.table)
        own = [t for t in results.trials if t.trial.configuration == key]
        test = {t.trial.id: curves.tracks[t.trial.id]["test"] for t in own}
        played = beside(own, test, results.home, None, tell) if play else Played()
        notes += played.notes
        curves.baselines = {n: _record(curves.table, t) for n, t in played.baselines.items()}
        try:
            verdict = _verdict(results, curves, key, home, tell, play, notes)
        except DataError as e:
            unjudged = str(e)
        rows = [_measured(row, curves.table, verdict) for row in rows]
        beside_them = [
            _baseline(name, seeds, curves, verdict) for name, seeds in played.baselines.items()
        ]
        base = next(row for row in rows if row.name == key)
        rows, beside_them = (
            [_compared(row, base) for row in several] for several in (rows, beside_them)
        )
        chosen = _chosen(results, own, curves.tracks, tell, play)
    counts, edges = _logits(curves.table)
    findings = Findings(
        name=results.grid.name,
        objective=results.grid.objective,
        verdict=verdict,
        unjudged=unjudged,
        tried=results.count,
        statuses=dict(sorted(Counter(str(t.status) for t in results.trials).items())),
        excluded=results.excluded,
        invalid={point(r.params): r.why for r in results.invalid},
        folds=results.planned.folds,
        holdout=results.holdout,
        opened=results.finalized.configuration if results.finalized else "",
        seeds=results.planned.seeds,
        configurations=tuple(sorted(rows, key=_rank)),
        baselines=tuple(beside_them),
        trials=tuple(_trial(t) for t in results.trials),
        chosen=chosen,
        best_on_test=_best_on_test(curves.table),
        logits=counts,
        logit_edges=edges,
        notes=tuple(_notes(results) + notes),
        data=results.planned.datasets,
        sources=results.planned.sources,
        config=dump(results.grid),
    )
    return findings, curves


def _key(results: GridResults, table: Table) -> str:
    if results.finalized is not None:
        return results.finalized.configuration
    best = results.best()
    return best.key if best is not None else table.keys[0]


def _verdict(
    results: GridResults,
    curves: Curves,
    key: str,
    home: Home,
    tell: Tell,
    play: bool,
    notes: list[str],
) -> Verdict:
    table = curves.table
    assert table is not None
    held = opened(results, home, tell, play=play)
    notes += held.notes
    return judge(
        table.returns,
        table.per_year,
        tried=max(results.count, len(table.keys)),
        baselines=curves.baselines,
        holdout=None if held.returns is None else (held.returns, held.baselines),
        chosen=table.keys.index(key),
        seeds=len(results.planned.seeds),
    )


def _row(results: GridResults, key: str, tracks: Tracks) -> Row:
    own = [t for t in results.trials if t.trial.configuration == key]
    done = [(t, tracks[t.trial.id]["test"]) for t in own if t.trial.id in tracks]
    return Row(
        name=key,
        said=point(own[0].params) if own else "",
        params=own[0].params if own else {},
        trials=dict(sorted(Counter(str(t.status) for t in own).items())),
        scores=tuple((t.trial.fold, t.trial.seed, _sharpe(track)) for t, track in done),
        validation=results.scores[key],
        **_traded([track for _, track in done]),
    )


def _baseline(
    name: str, seeds: Mapping[int, list[Track]], curves: Curves, verdict: Verdict | None
) -> Row:
    scores = tuple(
        (fold, seed, _sharpe(track))
        for seed, tracks in seeds.items()
        for fold, track in enumerate(tracks)
    )
    row = Row(name=name, scores=scores, **_traded([t for own in seeds.values() for t in own]))
    assert curves.table is not None
    return _with_record(row, curves.baselines[name], curves.table, verdict)


def _measured(row: Row, table: Table, verdict: Verdict | None) -> Row:
    if row.name not in table.keys:
        return row
    return _with_record(row, table.returns[:, table.keys.index(row.name)], table, verdict)


def _with_record(row: Row, record: Floats, table: Table, verdict: Verdict | None) -> Row:
    root, found = table.per_year**0.5, ratios.moments(record)
    equity = np.concatenate([[1.0], np.cumprod(1.0 + record)])
    luck = verdict.luck_sharpe / root if verdict is not None else None
    return msgspec.structs.replace(
        row,
        sharpe=stratified(grid_of(row), draws=_DRAWS),
        record=None if found is None else found.ratio * root,
        total_return=float(equity[-1] - 1.0),
        max_drawdown=float(drawdown(equity).max()),
        deflated=None if found is None or luck is None else ratios.psr(found, luck),
    )


def _compared(row: Row, chosen: Row) -> Row:
    if row.name == chosen.name or row.sharpe is None or chosen.sharpe is None:
        return row
    better = probability_of_improvement(grid_of(row), grid_of(chosen))
    return msgspec.structs.replace(row, better=better)


def grid_of(row: Row) -> Floats:
    """Return the scores of a row as float64 [seeds, folds]."""
    seeds = sorted({seed for _, seed, _ in row.scores})
    folds = sorted({fold for fold, _, _ in row.scores})
    found = {(fold, seed): score for fold, seed, score in row.scores}
    return np.array([[found[fold, seed] for fold in folds] for seed in seeds])


def _record(table: Table, seeds: Mapping[int, list[Track]]) -> Floats:
    return np.asarray(np.mean([table.of(tracks) for tracks in seeds.values()], axis=0))


def _traded(tracks: list[Track]) -> dict[str, Any]:
    if not tracks:
        return {}
    paid = [costs(t, periods_per_year(t.ts_ns)) for t in tracks]
    traded = sum(c.traded for c in paid)
    return {
        "turnover_per_year": float(np.mean([c.turnover_per_year for c in paid])),
        "cost_bps": 1e4 * sum(c.fees + c.shortfall for c in paid) / traded if traded else None,
        "trades": float(np.mean([len(t.fills) for t in tracks])),
    }


def _sharpe(track: Track) -> float:
    return measure(track).sharpe or 0.0


def _chosen(
    results: GridResults, own: list[TrialResult], tracks: Tracks, tell: Tell, play: bool
) -> Chosen:
    seeds = sorted(results.planned.seeds)
    of_seed = {s: [t for t in own if t.trial.seed == s] for s in seeds}
    earned = {
        s: sum(measure(tracks[t.trial.id]["test"]).log_return for t in of_seed[s]) for s in seeds
    }
    seed = sorted(seeds, key=earned.__getitem__)[(len(seeds) - 1) // 2]
    middle = sorted(of_seed[seed], key=lambda t: t.trial.fold)
    worlds = elsewhere(middle, results.home, tell) if play else {}
    trained = worlds.pop(TRAINING, None)
    last = len(results.planned.folds) - 1
    return Chosen(
        key=own[0].trial.configuration,
        said=point(own[0].params),
        trials=tuple(t.trial.id for t in own if t.trial.fold == last),
        seed=seed,
        diagnosis=diagnose(joined([tracks[t.trial.id]["test"] for t in middle])),
        worlds=tuple(Case(name=n, metrics=measure(joined(ts))) for n, ts in worlds.items()),
        training=None if trained is None else measure(joined(trained)),
    )


def _trial(t: TrialResult) -> TrialRow:
    o = t.outcome
    return TrialRow(
        name=t.trial.id,
        configuration=t.trial.configuration,
        fold=t.trial.fold,
        seed=t.trial.seed,
        status=t.status,
        steps=t.steps,
        digest=o.digest if o else "",
        validation=o.validation if o else {},
        test=o.test if o else {},
        why="" if t.status == "done" else t.why,
        log=t.log if t.status == "failed" else "",
    )


def _best_on_test(table: Table | None) -> str:
    if table is None:
        return ""
    found = [ratios.sharpe(column) or 0.0 for column in table.returns.T]
    return table.keys[int(np.argmax(found))]


def _logits(table: Table | None) -> tuple[tuple[int, ...], tuple[float, ...]]:
    found = np.empty(0) if table is None else logits(table.returns)
    if not len(found):
        return (), ()
    far = float(np.abs(found).max()) * 1.05 or 1.0
    counts, edges = np.histogram(found, bins=_BINS, range=(-far, far))
    return tuple(counts.tolist()), tuple(edges.tolist())


def _notes(results: GridResults) -> list[str]:
    v, seeds = results.grid.base.venue, len(results.planned.seeds)
    said = [
        f"Costs, unless an axis says otherwise: a fee of {v.taker_fee_bps:g} bps, a half spread of "
        f"{v.half_spread_bps:g} bps where rows have none, a latency of {v.latency_text}.",
        "random draws its targets evenly, with the turnover of the chosen configuration.",
    ]
    if few := caution(seeds):
        said.append(f"{few[0].upper()}{few[1:]}.")
    if any(t.status != "done" for t in results.trials):
        said.append(
            "A configuration without figures was not done on all folds and seeds; it counts among "
            "those tried."
        )
    return said


def _rank(row: Row) -> tuple[bool, float]:
    return row.validation is None, -(row.validation or 0.0)


__all__ = ["Curves", "find", "grid_of", "interquartile_mean"]
