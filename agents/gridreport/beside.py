"""Two grids beside each other."""

from html import escape

import numpy as np

from agents.gridreport import tables
from agents.gridreport.finding import Curves, grid_of
from agents.gridreport.findings import Findings
from agents.page import bullets, picture, table
from agents.plots import records
from agents.statistics.luck import not_better
from agents.statistics.scores import probability_of_improvement
from agents.statistics.words import percent
from agents.trials.axes import flatten


def compared(ours: Findings, mine: Curves, theirs: Findings, other: Curves) -> str:
    """Return what differs between two grids, and whose chosen configuration did better."""
    lines = [
        f"<p><code>{escape(f.name)}</code> "
        f"{escape(f.verdict.line if f.verdict else f.unjudged)}</p>"
        for f in (ours, theirs)
    ]
    return "".join(lines) + _table(ours, theirs) + _records(ours, mine, theirs, other) + bullets(
        [*differences(ours, theirs), *_lead(ours, mine, theirs, other)]
    )  # fmt: skip


def differences(ours: Findings, theirs: Findings) -> list[str]:
    """Return the keys of the config in which two grids differ, a sentence each."""
    a, b = flatten(ours.config), flatten(theirs.config)
    keys = [k for k in sorted(a.keys() | b.keys()) if a.get(k) != b.get(k) and k != "name"]
    return [f"{k}: {a.get(k)} here, {b.get(k)} in {theirs.name}." for k in keys[:12]]


def _table(ours: Findings, theirs: Findings) -> str:
    found = {}
    for f in (ours, theirs):
        v, row = f.verdict, f.row(f.chosen.key) if f.chosen else None
        found[f.name] = {
            "grade": v.grade if v else "no verdict",
            "configurations tried": str(f.tried),
            "chosen": row.said if row else "-",
            "Sharpe a year, test": tables.ratio(row.sharpe.value if row and row.sharpe else None),
            "95 %": tables.between(row.sharpe) if row else "",
            "record": tables.ratio(row.record if row else None),
            "expected of luck": tables.ratio(v.luck_sharpe if v else None),
            "deflated": percent(v.deflated) if v else "-",
            "overfitting": percent(v.overfitting.probability) if v and v.overfitting else "-",
        }
    rows = [[k, *(found[name][k] for name in found)] for k in found[ours.name]]
    return table(["", *found], rows, own=ours.name)


def _records(ours: Findings, mine: Curves, theirs: Findings, other: Curves) -> str:
    a, b = mine.table, other.table
    if a is None or b is None or ours.chosen is None or theirs.chosen is None:
        return ""
    if a.ts_ns[-1] < b.ts_ns[0] or b.ts_ns[-1] < a.ts_ns[0]:
        return ""
    moments = np.union1d(a.ts_ns, b.ts_ns)
    shown = {}
    for f, t in ((ours, a), (theirs, b)):
        assert f.chosen is not None
        record = np.zeros(len(moments))
        record[np.searchsorted(moments, t.ts_ns)] = t.returns[:, t.keys.index(f.chosen.key)]
        shown[f.name] = record
    return picture(records.stitched(moments, shown, ours.name, []))


def _lead(ours: Findings, mine: Curves, theirs: Findings, other: Curves) -> list[str]:
    a, b = mine.table, other.table
    if a is None or b is None or ours.chosen is None or theirs.chosen is None:
        return []
    said = []
    one, two = ours.row(ours.chosen.key), theirs.row(theirs.chosen.key)
    if one and two and len(ours.folds) == len(theirs.folds):
        better = probability_of_improvement(grid_of(one), grid_of(two))
        said.append(f"{ours.name} is better on the same fold with a probability of {better:.0%}.")
    if np.array_equal(a.ts_ns, b.ts_ns):
        chance = not_better(
            a.returns[:, a.keys.index(ours.chosen.key)],
            b.returns[:, b.keys.index(theirs.chosen.key)],
        )
        said.append(f"Such a lead over {theirs.name} without being better: {percent(chance)}.")
    else:
        said.append("The test periods differ: the records cannot be compared period by period.")
    return said
