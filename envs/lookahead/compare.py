"""Two futures, one past: what must be equal in both, bit for bit."""

from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.lookahead.play import Played
from envs.lookahead.report import Report
from envs.pipeline import Pipeline
from grid.dataset import Dataset


def compare_features(
    pipeline: Pipeline,
    dataset: Dataset,
    future: Dataset,
    cut: int,
    report: Report,
    *,
    where: str = "",
) -> None:
    """Compare the features of every row up to the cut; `where` stands before their names."""
    m = cut - pipeline.lookback + 2
    ours, theirs = (pipeline.raw(data.columns)[:m] for data in (dataset, future))
    for j, name in enumerate(pipeline.spec.features):
        row = _first(bits(ours[:, j]) != bits(theirs[:, j]))
        said = "" if row is None else _said(row + pipeline.lookback - 1, cut)
        report.note(f"feature {where}{name}", m, said)


def compare_episodes(pipeline: Pipeline, before: Played, after: Played, report: Report) -> None:
    """Compare what an agent and its trainer saw: observations, rewards, accounts, fills."""
    cut = before.rows[-1]
    _compare_obs(pipeline, before, after, report)
    same = min(len(before.steps), len(after.steps))
    ours, theirs = np.array(before.steps), np.array(after.steps)
    differs = bits(ours[:same]) != bits(theirs[:same])
    for what, columns in (("account", slice(1, None)), ("reward", slice(0, 1))):
        k = _first(differs[:, columns].any(axis=1))
        report.note(what, same, "" if k is None else _said(before.rows[k + 1], cut))
    if len(before.steps) != len(after.steps):
        report.note("account", 0, _said(before.rows[same], cut))
    pairs = zip_longest(before.fills, after.fills)
    odd = next((a or b for a, b in pairs if a is None or b is None or a.fill != b.fill), None)
    said = "" if odd is None else _said(before.rows[min(odd.step + 1, same)], cut)
    report.note("fills", len(before.fills), said)


def _compare_obs(pipeline: Pipeline, before: Played, after: Played, report: Report) -> None:
    spec, cut = pipeline.spec, before.rows[-1]
    width = len(spec.features)
    size = spec.window * width
    odd: dict[str, int] = {}
    for row, ours, theirs in zip(before.rows, before.obs, after.obs, strict=False):
        for place in np.flatnonzero(bits(ours) != bits(theirs)).tolist():
            if place < size:
                what = f"feature {spec.features[place % width]}"
                odd.setdefault(what, row - spec.window + 1 + place // width)
            else:
                odd.setdefault("account", row)
    for what in (*(f"feature {name}" for name in spec.features), "account"):
        report.note(what, len(before.obs), _said(odd[what], cut) if what in odd else "")


def bits(values: NDArray[Any]) -> NDArray[Any]:
    """Return the same numbers as integers: NaN equals itself, and 0.0 is not -0.0."""
    values = np.ascontiguousarray(values)
    return values.view(np.int32 if values.dtype == np.float32 else np.int64)


def _first(differs: NDArray[Any]) -> int | None:
    return int(np.argmax(differs)) if differs.any() else None


def _said(row: int, cut: int) -> str:
    return f"at row {row} changes when only rows after {cut} do"
