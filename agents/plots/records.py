"""What a grid's configurations made of time they had not seen, and how they learned."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]
from numpy.typing import NDArray
from plotly.subplots import make_subplots  # type: ignore[import-untyped]

from agents.metrics import Ints, drawdown
from agents.plots.style import COLORS, GAIN, LOSS, OTHER, styled, times
from agents.scorecard import AGENT

type Floats = NDArray[np.float64]

_MOST_POINTS = 2_000


def stitched(
    ts_ns: Ints, records: Mapping[str, Floats], chosen: str, begins: Sequence[int]
) -> go.Figure:
    """Return equity and drawdown of records whose folds are joined.

    Args:
        ts_ns: int64 [n], ends of the periods.
        records: label to returns, float64 [n].
        chosen: label that stands out.
        begins: periods with which a fold begins.
    """
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.68, 0.32], vertical_spacing=0.05
    )
    at = np.unique(np.linspace(0, len(ts_ns) - 1, min(len(ts_ns), _MOST_POINTS)).astype(np.int64))
    x = times(ts_ns[at])
    for label, record in records.items():
        equity = np.cumprod(1.0 + record)
        fall = drawdown(np.concatenate([[1.0], equity]))[1:]
        own = label == chosen
        line = {
            "color": COLORS[AGENT] if own else COLORS.get(label, OTHER),
            "width": 2.4 if own else 1.3,
        }
        figure.add_scatter(
            x=x, y=100.0 * (equity[at] - 1.0), name=label, mode="lines", line=line,
            legendgroup=label, hovertemplate="%{y:+.2f} %", row=1, col=1,
        )  # fmt: skip
        figure.add_scatter(
            x=x, y=-100.0 * fall[at], name=label, mode="lines", line=line, legendgroup=label,
            showlegend=False, hovertemplate="%{y:.2f} %", row=2, col=1,
        )  # fmt: skip
    for begin in begins:
        figure.add_vline(
            x=times(ts_ns[[begin]])[0].astype(str),
            line={"color": "#cbd5e1", "width": 1, "dash": "dash"},
        )
    figure.update_yaxes(title_text="change of equity, %", row=1, col=1)
    figure.update_yaxes(title_text="drawdown, %", row=2, col=1)
    return styled(figure, 520)


def overfitting(counts: Sequence[int], edges: Sequence[float], probability: float) -> go.Figure:
    """Return how the best on one half of time ranks on the other: a histogram of logits."""
    bounds = np.array(edges)
    middle = (bounds[:-1] + bounds[1:]) / 2.0
    total = max(1, sum(counts))
    figure = go.Figure()
    figure.add_bar(
        x=middle,
        y=[100.0 * c / total for c in counts],
        width=np.diff(bounds) * 0.94,
        marker={"color": [LOSS if m <= 0 else GAIN for m in middle], "opacity": 0.65},
        hovertemplate="%{y:.1f} % of splits<extra></extra>",
    )
    figure.add_vline(x=0.0, line={"color": "#475569", "width": 1.4})
    for share, side, color, x in (
        (probability, "worse half", LOSS, 0.02),
        (1.0 - probability, "better half", GAIN, 0.98),
    ):
        figure.add_annotation(
            x=x, y=1.08, xref="paper", yref="paper", showarrow=False, xanchor="auto",
            text=f"{share:.0%} of splits in the {side}", font={"color": color, "size": 13},
        )  # fmt: skip
    figure.update_xaxes(
        title_text="logit of the best one's rank on the other half; 0 is the middle"
    )
    figure.update_yaxes(title_text="splits, %")
    return styled(figure, 320, hover="closest")


def learning(curves: Mapping[str, list[tuple[Ints, Floats]]], chosen: str) -> go.Figure:
    """Return the mean reward of an episode over decisions, a line each trial.

    Args:
        curves: label of a configuration to its trials: steps and rewards, [n] each.
        chosen: label that stands out.
    """
    figure = go.Figure()
    order = [label for label in curves if label != chosen] + [chosen] * (chosen in curves)
    shades = ("#94a3b8", "#b45309", "#7c3aed", "#047857", "#be185d", "#0e7490", "#a16207")
    for i, label in enumerate(order):
        color = COLORS[AGENT] if label == chosen else shades[i % len(shades)]
        for k, (steps, rewards) in enumerate(curves[label]):
            figure.add_scatter(
                x=steps,
                y=rewards,
                name=label,
                legendgroup=label,
                showlegend=k == 0,
                mode="lines+markers" if len(steps) < 12 else "lines",
                marker={"size": 4},
                line={"color": color, "width": 1.6},
                opacity=0.9 if label == chosen else 0.55,
                hovertemplate="%{x:,} decisions: %{y:.3g}",
            )
    figure.update_xaxes(title_text="decisions")
    figure.update_yaxes(title_text="mean reward of an episode")
    return styled(figure, 400, hover="closest")


def spark(ts_ns: Ints, equity: Floats, width: int = 360, height: int = 84) -> str:
    """Return a small equity curve as SVG, for there are hundreds of them."""
    at = np.unique(np.linspace(0, len(equity) - 1, min(len(equity), 160)).astype(np.int64))
    change = 100.0 * (equity[at] / equity[0] - 1.0)
    low, high = min(float(change.min()), 0.0), max(float(change.max()), 0.0)
    spread = (high - low) or 1.0
    moments = (ts_ns[at] - ts_ns[0]) / max(1, int(ts_ns[-1] - ts_ns[0]))
    x = 4 + moments * (width - 8)
    y = 6 + (high - change) / spread * (height - 12)
    zero = 6 + high / spread * (height - 12)
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    color = GAIN if change[-1] >= 0 else LOSS
    return (
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="equity, {change[-1]:+.2f} %"><line x1="4" x2="{width - 4}" y1="{zero:.1f}" '
        f'y2="{zero:.1f}" stroke="#cbd5e1"/><polyline points="{path}" fill="none" '
        f'stroke="{color}" stroke-width="1.6"/></svg>'
    )
