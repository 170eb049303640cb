"""What a grid tried: spans of time, scores of configurations, what each parameter does."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]
from numpy.typing import NDArray

from agents.plots.style import COLORS, INK, OTHER, PALE, styled
from agents.scorecard import AGENT
from agents.statistics.blocks import Interval
from agents.statistics.scores import performance_profile, profile_band
from grid.dataset import to_iso, to_ns

type Floats = NDArray[np.float64]
type Dots = Sequence[tuple[str, Floats, Interval | None]]

SPANS: Final = {
    "train": "#93c5fd",
    "validation": "#fbbf24",
    "test": "#1d4ed8",
    "holdout": "#be185d",
    "gap": "#e2e8f0",
}
_SAID: Final = {
    "train": "learned from",
    "validation": "chosen by",
    "test": "judged on",
    "holdout": "holdout",
    "gap": "left out",
}
_DRAWS: Final = 300
_MOST_LINES: Final = 200
_FEW: Final = 8


def folds(spans: Sequence[Mapping[str, tuple[str, str]]]) -> go.Figure:
    """Return spans on a time axis, a row for each fold, with what is left out between them.

    Args:
        spans: name to half-open span, in order of time; a row each.
    """
    figure = go.Figure()
    shown: set[str] = set()
    for row, own in enumerate(spans):
        label = "holdout" if set(own) == {"holdout"} else f"fold {row}"
        end = 0
        for name, (first, last) in own.items():
            start, stop = to_ns(first), to_ns(last)
            if end and start > end:
                _bar(figure, label, "gap", end, start, shown)
            _bar(figure, label, name, start, stop, shown)
            end = stop
    figure.update_layout(barmode="overlay")
    figure.update_xaxes(type="date")
    figure.update_yaxes(autorange="reversed")
    figure = styled(figure, 96 + 34 * len(spans), hover="closest")
    return figure.update_layout(bargap=0.35)


def scores(rows: Dots, luck: float | None, chosen: str) -> go.Figure:
    """Return the Sharpe ratio of each trial as a dot, and their interquartile mean with interval.

    Args:
        rows: label, float64 of its trials, interval; the first on top.
        luck: ratio that the best of all without skill is expected to show.
        chosen: label that stands out.
    """
    figure = go.Figure()
    for label, dots, found in rows:
        color = COLORS[AGENT] if label == chosen else COLORS.get(label, OTHER)
        figure.add_scatter(
            x=dots,
            y=[label] * len(dots),
            mode="markers",
            marker={"color": color, "size": 7, "opacity": 0.35},
            hovertemplate="%{x:.2f}<extra>a trial</extra>",
            showlegend=False,
        )
        if found is None:
            continue
        figure.add_scatter(
            x=[found.value],
            y=[label],
            mode="markers",
            marker={"color": color, "size": 11, "symbol": "diamond"},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [found.high - found.value],
                "arrayminus": [found.value - found.low],
                "color": color,
                "thickness": 2.2,
                "width": 6,
            },
            hovertemplate=f"{found.value:.2f}, from {found.low:.2f} to {found.high:.2f}"
            "<extra></extra>",
            showlegend=False,
        )
    figure.add_vline(x=0.0, line={"color": "#94a3b8", "width": 1.2})
    if luck:
        figure.add_vline(
            x=luck,
            line={"color": "#b91c1c", "width": 1.6, "dash": "dot"},
            annotation={"text": f"luck {luck:.2f}", "font": {"color": "#b91c1c", "size": 12}},
        )
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(title_text="Sharpe ratio a year, on the test spans")
    return styled(figure, 110 + 30 * len(rows), hover="closest").update_layout(margin_l=190)


def profiles(found: Mapping[str, Floats], chosen: str) -> go.Figure:
    """Return performance profiles: the share of trials above each Sharpe ratio.

    Args:
        found: label to scores, float64 [seeds, folds].
        chosen: label that stands out, with the band of its bootstrap.
    """
    low = min(float(s.min()) for s in found.values())
    high = max(float(s.max()) for s in found.values())
    room = 0.05 * max(high - low, 1e-9)
    at = np.linspace(low - room, high + room, 201)
    figure = go.Figure()
    for label, several in found.items():
        own = label == chosen
        color = COLORS[AGENT] if own else COLORS.get(label, "#94a3b8")
        if own and several.shape[0] > 1:
            band = profile_band(several, at, draws=_DRAWS)
            figure.add_scatter(
                x=np.concatenate([at, at[::-1]]),
                y=np.concatenate([band[0], band[1][::-1]]),
                fill="toself",
                fillcolor="rgba(29, 78, 216, 0.12)",
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
            )
        figure.add_scatter(
            x=at,
            y=performance_profile(several, at),
            name=label,
            mode="lines",
            line={
                "color": color,
                "width": 2.4 if own else 1.4,
                "dash": "dot" if label in COLORS and not own else "solid",
                "shape": "hv",
            },
            hovertemplate="%{y:.0%}",
        )
    figure.add_vline(x=0.0, line={"color": "#94a3b8", "width": 1})
    figure.update_xaxes(title_text="Sharpe ratio a year")
    figure.update_yaxes(title_text="share of trials above", tickformat=".0%", range=[-0.02, 1.02])
    return styled(figure, 400)


def marginal(path: str, values: Sequence[Any], found: Floats, chosen: int) -> go.Figure:
    """Return the score of each configuration over one of its parameters.

    Args:
        path: of the parameter.
        values: of the configurations; numbers, or labels.
        found: float64, their scores.
        chosen: index of the chosen configuration, -1 without one.
    """
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    labels = list(values) if numbers else [str(v) for v in values]
    distinct: list[Any] = sorted(set(labels)) if numbers else list(dict.fromkeys(labels))
    few = len(distinct) <= _FEW
    x = [str(v) for v in labels] if few else labels
    figure = go.Figure()
    figure.add_scatter(
        x=x,
        y=found,
        mode="markers",
        marker={
            "size": 10,
            "color": [COLORS[AGENT] if i == chosen else PALE for i in range(len(x))],
            "line": {"color": "#ffffff", "width": 1},
        },
        hovertemplate="%{x}: %{y:.2f}<extra></extra>",
    )
    if few:
        means = [float(np.mean(found[[a == v for a in labels]])) for v in distinct]
        figure.add_scatter(
            x=[str(v) for v in distinct],
            y=means,
            mode="lines+markers",
            marker={"symbol": "line-ew", "size": 26, "line": {"color": INK, "width": 2.5}},
            line={"color": "#cbd5e1", "width": 1, "dash": "dot"},
            hovertemplate="mean %{y:.2f}<extra></extra>",
        )
        order = [str(v) for v in distinct]
        figure.update_xaxes(type="category", categoryorder="array", categoryarray=order)
    elif min(distinct) > 0 and max(distinct) / min(distinct) > 20:
        figure.update_xaxes(type="log")
    figure.update_xaxes(title_text=path)
    figure.update_yaxes(title_text="Sharpe, test")
    return styled(figure, 290, hover="closest").update_layout(showlegend=False)


def parallel(axes: Mapping[str, Sequence[Any]], found: Floats, chosen: int) -> go.Figure:
    """Return configurations as lines through their parameters, darker the better they are.

    Drawn as plain lines, for Plotly's own would need WebGL.

    Args:
        axes: path of a parameter to the configurations' values.
        found: float64, their scores.
        chosen: index of the chosen one, -1 without one.
    """
    columns = [(*axis, False) for axis in axes.items()] + [("Sharpe, test", found.tolist(), True)]
    figure = go.Figure()
    heights = []
    for i, (path, values, scaled) in enumerate(columns):
        height, marks = _column(values, scaled=scaled)
        heights.append(height)
        figure.add_vline(x=i, line={"color": "#cbd5e1", "width": 1.2})
        for at, label in marks:
            figure.add_annotation(
                x=i, y=at, text=label, showarrow=False, xanchor="right", xshift=-6,
                font={"size": 12, "color": OTHER}, bgcolor="rgba(255, 255, 255, 0.7)",
            )  # fmt: skip
        title = path.rpartition(".")[2]
        figure.add_annotation(x=i, y=1.13, text=f"<b>{title}</b>", showarrow=False)
    low, spread = float(found.min()), float(np.ptp(found)) or 1.0
    order = sorted(np.argsort(found)[-_MOST_LINES:].tolist(), key=lambda k: k == chosen)
    for k in order:
        own = k == chosen
        figure.add_scatter(
            x=list(range(len(columns))),
            y=[height[k] for height in heights],
            mode="lines",
            line={
                "color": COLORS[AGENT] if own else "#60a5fa",
                "width": 2.6 if own else 1.6,
                "shape": "spline",
                "smoothing": 0.5,
            },
            opacity=1.0 if own else 0.15 + 0.7 * (float(found[k]) - low) / spread,
            hovertemplate=f"{found[k]:.2f}<extra></extra>",
        )
    figure = styled(figure, 360, hover="closest").update_layout(showlegend=False)
    figure.update_xaxes(visible=False, range=[-0.35, len(columns) - 0.85])
    return figure.update_yaxes(visible=False, range=[-0.06, 1.2])


def _column(values: Sequence[Any], *, scaled: bool) -> tuple[Floats, list[tuple[float, str]]]:
    """Return where each value is between 0 and 1, and what to write where."""
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    distinct: list[Any] = sorted(set(values)) if numbers else list(dict.fromkeys(map(str, values)))
    last = max(len(distinct) - 1, 1)
    if len(distinct) <= _FEW and not scaled:
        at = {v: i / last for i, v in enumerate(distinct)}
        heights = np.array([at[v if numbers else str(v)] for v in values])
        marks = [(y, f"{v:.4g}" if numbers else str(v)[:22]) for v, y in at.items()]
        return heights, marks
    if not numbers:
        at = {v: i / last for i, v in enumerate(distinct)}
        return np.array([at[str(v)] for v in values]), []
    low, high = float(distinct[0]), float(distinct[-1])
    logs = low > 0 and high / low > 20
    raw = np.log(np.array(values, float)) if logs else np.array(values, float)
    ends = (raw.min(), raw.max())
    marks = [
        (y, f"{math.exp(v) if logs else v:.3g}")
        for y in (0.0, 0.5, 1.0)
        for v in [ends[0] + y * (ends[1] - ends[0])]
    ]
    return np.asarray((raw - ends[0]) / ((ends[1] - ends[0]) or 1.0)), marks


def _bar(
    figure: go.Figure, label: str, name: str, start_ns: int, end_ns: int, shown: set[str]
) -> None:
    first, last = to_iso(start_ns), to_iso(end_ns)
    days = (end_ns - start_ns) / 86_400e9
    figure.add_bar(
        base=[first],
        x=[(end_ns - start_ns) / 1e6],
        y=[label],
        orientation="h",
        name=_SAID[name],
        legendgroup=name,
        showlegend=name not in shown,
        marker={
            "color": SPANS[name],
            "line": {"width": 0},
            "pattern": {"shape": "/" if name == "gap" else "", "fgcolor": "#94a3b8", "size": 6},
        },
        hovertemplate=f"{_SAID[name]}: {first} to {last}, {days:.3g} d<extra></extra>",
    )
    shown.add(name)
