"""A grid's report as one HTML file that needs no network, and as JSON beside it."""

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from agents.checkpoint import Checkpoint
from agents.diagnosed import pictures
from agents.diagnostics.words import said
from agents.gridreport import reading, tables
from agents.gridreport.beside import compared
from agents.gridreport.finding import Curves, find, grid_of
from agents.gridreport.findings import Circumstances, Findings, Report, Row
from agents.metrics import Ints
from agents.page import banner, bullets, contents, folded, page, pairs, picture, section, table
from agents.plots import records, search
from agents.scorecard import figures
from agents.statistics.verdict import HOLDS, LUCK, WORTH, Verdict
from agents.trials.axes import flatten
from agents.trials.events import Launched, Saved
from agents.trials.results import GridResults, load
from agents.trials.table import duration, short
from grid.dataset import Dataset, to_iso
from grid.durable import write_atomic
from grid.errors import ArgonautError
from grid.home import Home

type Floats = NDArray[np.float64]
type Tell = Callable[[str], None]

HTML: Final = "report.html"
JSON: Final = "report.json"
_KINDS: Final = {HOLDS: "good", WORTH: "good", LUCK: "open"}
_MOST_ROWS: Final = 24  # of a picture; the table has all
_MOST_PROFILES: Final = 5


def write(
    home: Home,
    name: str,
    out: Path | None = None,
    *,
    other: str = "",
    play: bool = True,
    tell: Tell = lambda said: None,
) -> tuple[Path, Report]:
    """Write the report of a grid; return the path of the HTML file, and what is in it.

    Args:
        home: that the grid is in.
        name: of the grid.
        out: folder; the grid's `reports` by default.
        other: name of a grid to compare it with, if any.
        play: the baselines and other worlds, which takes an episode each.
        tell: called before each episode.

    Raises:
        TrialsError: there is no such grid, or its journal is damaged.
        CheckpointError: a trial's file is damaged.
        EngineError: the engine failed.
    """
    results = load(home.root / "grids" / name)
    found, curves = find(results, home, tell, play=play)
    theirs = None
    if other:
        theirs = find(load(home.root / "grids" / other), home, tell, play=play)
    told = circumstances(results)
    report = Report(findings=found, circumstances=told, other=theirs[0] if theirs else None)
    out = results.home.reports if out is None else out
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / JSON, msgspec.json.format(msgspec.json.encode(report), indent=1))
    write_atomic(out / HTML, html(report, curves, results, theirs[1] if theirs else None))
    return out / HTML, report


def circumstances(results: GridResults) -> Circumstances:
    """Return when, where and with what a grid was run."""
    launches = [e for e in results.events if isinstance(e, Launched)]
    done = next((t for t in results.trials if t.status == "done"), None)
    m = Checkpoint.open(done.folder).manifest if done else None
    return Circumstances(
        state=results.stopped or "running",
        steps=results.spent["steps"],
        hours=results.spent["hours"],
        launches=len(launches),
        again=sum(max(0, t.attempts - 1) for t in results.trials),
        by=results.planned.by,
        commits=tuple(dict.fromkeys(e.commit for e in launches if e.commit)),
        versions=m.versions if m else {},
        platform=m.platform if m else "",
        first=to_iso(results.events[0].at_ns),
        last=to_iso(results.events[-1].at_ns),
    )


def html(report: Report, curves: Curves, results: GridResults, theirs: Curves | None) -> bytes:
    """Return the page."""
    f, c = report.findings, report.circumstances
    made: list[tuple[str, str, str, str]] = [
        ("time", "Time", reading.TIME, picture(search.folds(_spans(f)))),
        ("configurations", "Configurations", reading.CONFIGURATIONS, _configurations(f)),
        ("equity", "Equity on unseen time", reading.EQUITY, _equity(f, curves)),
        ("holdout", "The holdout", reading.HOLDOUT, _holdout(f)),
        ("overfitting", "Is choosing worth anything?", reading.OVERFITTING, _overfitting(f)),
        ("parameters", "What the parameters do", reading.PARAMETERS, _parameters(f)),
        ("profiles", "How many trials are how good", reading.PROFILES, _profiles(f)),
        ("learning", "Learning curves", reading.LEARNING, _learning(f, results)),
        ("diagnosis", "How it came about", reading.DIAGNOSIS, _diagnosis(f, results)),
        ("worlds", "In a less kind world", reading.WORLDS, _worlds(f)),
    ]
    if report.other is not None and theirs is not None:
        body = compared(f, curves, report.other, theirs)
        made.insert(0, ("compare", f"Beside {report.other.name}", reading.COMPARE, body))
    lost = [t for t in f.trials if t.status in ("failed", "pruned")]
    refused = bullets(f"{point}: {why}" for point, why in f.invalid.items())
    gone = tables.failures(lost) + (refused if f.invalid else "")
    made += [
        ("failed", f"Failed and stopped: {len(lost) + len(f.invalid)}", reading.FAILED, gone),
        ("trials", "Trials", reading.TRIALS, tables.trials(f) + tables.tearsheets(f, curves)),
        ("origin", "Where it comes from", reading.ORIGIN, _origin(f, c)),
    ]
    shown = [part for part in made if part[3]]
    parts = [
        _header(f, c),
        _verdict(f),
        tables.tiles(_tiles(f, c)),
        contents({anchor: title for anchor, title, _, _ in shown}),
        *(section(title, body, read, anchor) for anchor, title, read, body in shown),
    ]
    return page(f"Grid {f.name}", parts)


def _header(f: Findings, c: Circumstances) -> str:
    return (
        f"<header><h1>Training grid <code>{escape(f.name)}</code></h1>"
        f"<p>{escape(', '.join(f.data))}; {escape(c.first[:16])} to {escape(c.last[:16])} UTC, "
        f"{escape(c.state)}</p></header>"
    )


def _verdict(f: Findings) -> str:
    how = f'<p class="read">{escape(reading.VERDICT)}</p>'
    if f.verdict is None:
        return banner("no verdict", f"Nothing can be judged: {f.unjudged}.", f.notes, "bad") + how
    v: Verdict = f.verdict
    reasons = list(v.reasons)
    if f.chosen is not None:
        reasons.insert(
            0,
            f"Judged is {f.chosen.key} ({f.chosen.said}), the best on the validation spans. A "
            f"trial here means a configuration: {len(f.seeds)} seeds averaged, {len(f.folds)} "
            "folds in a row.",
        )
        if f.best_on_test != f.chosen.key and (best := f.row(f.best_on_test)):
            reasons.append(
                f"{best.name} ({best.said}) has {tables.ratio(best.record)} on the test spans; to "
                "choose it now would be choosing by luck."
            )
    made = banner(v.grade, v.line, reasons, _KINDS.get(v.grade, "bad"))
    return made.removesuffix("</section>") + how + "</section>"


def _tiles(f: Findings, c: Circumstances) -> list[tuple[str, str]]:
    trials = sum(f.statuses.values())
    states = ", ".join(f"{n} {s}" for s, n in f.statuses.items())
    found = [
        (str(f.tried), "configurations tried"),
        (str(trials), f"trainings: {states}"),
        (f"{len(f.folds)} x {len(f.seeds)}", "folds x seeds"),
        (f"{c.steps:,.0f}", "decisions in training"),
        (duration(3600 * c.hours), "of training"),
    ]
    if f.verdict is not None:
        found += [
            (f"{f.verdict.sharpe.value:.2f}", "Sharpe a year, chosen"),
            (f"{f.verdict.luck_sharpe:.2f}", "expected of luck"),
            (f"{f.verdict.deflated:.0%}", "deflated Sharpe ratio"),
        ]
        if f.verdict.overfitting is not None:
            found.append((f"{f.verdict.overfitting.probability:.0%}", "overfitting"))
    return found


def _spans(f: Findings) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"train": d.train, "validation": d.validation, "test": d.test} for d in f.folds
    ]
    return rows + ([{"holdout": f.holdout}] if f.holdout else [])


def _configurations(f: Findings) -> str:
    known = [row for row in f.configurations if row.scores][:_MOST_ROWS]
    rows = [
        (_label(row), np.array([s for _, _, s in row.scores]), row.sharpe)
        for row in (*known, *f.baselines)
    ]
    luck = f.verdict.luck_sharpe if f.verdict is not None and f.tried > 1 else None
    chosen = f.row(f.chosen.key) if f.chosen else None
    drawn = picture(search.scores(rows, luck, _label(chosen) if chosen else "")) if rows else ""
    return drawn + tables.configurations(f) + bullets(f.notes)


def _equity(f: Findings, curves: Curves) -> str:
    found = curves.table
    if found is None or f.chosen is None:
        return ""
    own = f"chosen, {f.chosen.key}"
    shown = {own: found.returns[:, found.keys.index(f.chosen.key)], **curves.baselines}
    if f.best_on_test != f.chosen.key:
        best = found.returns[:, found.keys.index(f.best_on_test)]
        shown[f"best afterwards, {f.best_on_test}"] = best
    begins = np.flatnonzero(np.diff(found.fold)) + 1
    return picture(records.stitched(found.ts_ns, shown, own, begins.tolist()))


def _holdout(f: Findings) -> str:
    h = f.verdict.holdout if f.verdict is not None else None
    if h is None:
        shut = f"Still shut: {f.holdout[0]} to {f.holdout[1]}." if f.holdout else ""
        return f"<p>{escape(shut)}</p>" if shut and not f.opened else ""
    rows = [["chosen", tables.ratio(h.sharpe.value), tables.between(h.sharpe)]]
    rows += [[name, tables.ratio(value), ""] for name, value in h.beside.items()]
    return table(["", "Sharpe a year", "95 %"], rows)


def _overfitting(f: Findings) -> str:
    o = f.verdict.overfitting if f.verdict is not None else None
    if o is None or not f.logits:
        return ""
    return picture(records.overfitting(f.logits, f.logit_edges, o.probability))


def _parameters(f: Findings) -> str:
    rows = [row for row in f.configurations if row.sharpe is not None and row.params]
    if len(rows) < 2:
        return ""
    found = np.array([row.sharpe.value for row in rows if row.sharpe is not None])
    axes = {
        path: [_plain(row.params[path]) for row in rows]
        for path in rows[0].params
        if all(path in row.params for row in rows)
    }
    chosen = f.row(f.chosen.key) if f.chosen else None
    own = rows.index(chosen) if chosen in rows else -1
    drawn = [picture(search.marginal(path, v, found, own)) for path, v in axes.items()]
    grid = f'<div class="pair">{"".join(f"<div>{d}</div>" for d in drawn)}</div>'
    many = len(axes) > 1 and len(rows) > 3
    return grid + (picture(search.parallel(axes, found, own)) if many else "")


def _profiles(f: Findings) -> str:
    rows = [row for row in f.configurations if row.sharpe is not None][:_MOST_PROFILES]
    rows += [row for row in f.baselines if row.name in ("random", "untrained", "hold")]
    chosen = f.row(f.chosen.key) if f.chosen else None
    if chosen is None or chosen.sharpe is None:
        return ""
    if chosen not in rows:
        rows.insert(0, chosen)
    return picture(search.profiles({_label(r): grid_of(r) for r in rows}, _label(chosen)))


def _learning(f: Findings, results: GridResults) -> str:
    saved: dict[str, dict[int, float]] = {}
    for e in results.events:
        if isinstance(e, Saved) and e.reward is not None:
            saved.setdefault(e.trial, {})[e.steps] = e.reward
    curves: dict[str, list[tuple[Ints, Floats]]] = {}
    for row in f.configurations[:_MOST_ROWS]:
        own = [t.name for t in f.trials if t.configuration == row.name and t.name in saved]
        lines = [sorted(saved[name].items()) for name in own]
        if lines:
            curves[_label(row)] = [
                (np.array([s for s, _ in line]), np.array([r for _, r in line])) for line in lines
            ]
    chosen = f.row(f.chosen.key) if f.chosen else None
    return picture(records.learning(curves, _label(chosen) if chosen else "")) if curves else ""


def _diagnosis(f: Findings, results: GridResults) -> str:
    if f.chosen is None:
        return ""
    d, currency = f.chosen.diagnosis, _currency(results)
    facts = {"configuration": f.chosen.said, "seed": str(f.chosen.seed), **said(d, currency)}
    return f"{pictures(d, currency)}{pairs(facts)}"


def _worlds(f: Findings) -> str:
    if f.chosen is None or not f.chosen.worlds:
        return ""
    shown = ("total return", "Sharpe, annual", "max drawdown", "trades", "fees")
    texts = figures()
    cases = [(case.name, case.metrics) for case in f.chosen.worlds]
    cases.append(("in training", f.chosen.training))
    rows = [[name, *(texts[k](m, None) for k in shown)] for name, m in cases if m is not None]
    return table(["", *shown], rows)


def _origin(f: Findings, c: Circumstances) -> str:
    facts = {
        **{f"data {name}": f"fingerprint {print_}" for name, print_ in f.data.items()},
        **{
            f"whole {name}": f"fingerprint {print_}"
            for name, print_ in f.sources.items()
            if f.data.get(name) != print_
        },
        "commit": ", ".join(c.commits) or "unknown",
        "versions": ", ".join(f"{k} {v}" for k, v in c.versions.items()) or "unknown",
        "platform": c.platform or "unknown",
        "planned by": c.by,
        "launches": f"{c.launches}, {c.again} attempts beyond the first",
    }
    axes = {k: str(v) for k, v in flatten(f.config).items() if v is not None}
    return pairs(facts) + folded("the grid's config, complete", pairs(axes))


def _currency(results: GridResults) -> str:
    for name in results.planned.datasets:
        try:
            return Dataset.find(results.home.datasets, name).manifest.instrument.currency
        except ArgonautError:
            continue
    return ""


def _label(row: Row) -> str:
    text = row.said or row.name
    return text if len(text) <= 34 else f"{text[:24]}… {row.name}"


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str) else short(value)


__all__ = ["HTML", "JSON", "circumstances", "html", "write"]
