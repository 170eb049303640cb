"""What became of equity, and which positions made it."""

from typing import Any

import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]
from plotly.subplots import make_subplots  # type: ignore[import-untyped]

from agents.metrics import Track, drawdown
from agents.plots.style import COLORS, GAIN, LOSS, OTHER, styled, thin, times
from agents.scorecard import AGENT


def equity(tracks: dict[str, Track]) -> go.Figure:
    """Return change of equity and drawdown of all policies."""
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.68, 0.32], vertical_spacing=0.05
    )
    for name, track in tracks.items():
        at = thin(len(track.equity))
        x = times(track.ts_ns[at])
        line = {"color": COLORS.get(name, OTHER), "width": 2.4 if name == AGENT else 1.3}
        change = 100.0 * (track.equity / track.equity[0] - 1.0)
        common: dict[str, Any] = {
            "x": x, "name": name, "line": line, "legendgroup": name, "mode": "lines",
        }  # fmt: skip
        figure.add_scatter(y=change[at], hovertemplate="%{y:+.2f} %", **common, row=1, col=1)
        figure.add_scatter(
            y=-100.0 * drawdown(track.equity)[at],
            hovertemplate="%{y:.2f} %",
            showlegend=False,
            **common,
            row=2,
            col=1,
        )
    figure.update_yaxes(title_text="change of equity, %", row=1, col=1)
    figure.update_yaxes(title_text="drawdown, %", row=2, col=1)
    return styled(figure, 520)


def positions(track: Track) -> go.Figure:
    """Return price, fills and position of a policy."""
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.72, 0.28], vertical_spacing=0.05
    )
    at = thin(len(track.price))
    figure.add_scatter(
        x=times(track.ts_ns[at]),
        y=track.price[at],
        name="price",
        mode="lines",
        line={"color": "#64748b", "width": 1.2},
        hovertemplate="%{y}",
        row=1,
        col=1,
    )
    for name, sign, color, symbol in (
        ("bought", 1.0, GAIN, "triangle-up"),
        ("sold", -1.0, LOSS, "triangle-down"),
    ):
        fills = track.fills[track.fills[:, 1] * sign > 0]
        figure.add_scatter(
            x=times(fills[:, 0].astype(np.int64)),
            y=fills[:, 2],
            name=name,
            mode="markers",
            marker={"color": color, "symbol": symbol, "size": 8, "line": {"width": 0}},
            customdata=np.abs(fills[:, 1]),
            hovertemplate="%{customdata:,} at %{y}",
            row=1,
            col=1,
        )
    figure.add_scatter(
        x=times(track.ts_ns[at]),
        y=track.position_qty[at],
        name="position",
        mode="lines",
        line={"color": COLORS[AGENT], "width": 1.2, "shape": "hv"},
        fill="tozeroy",
        fillcolor="rgba(29, 78, 216, 0.12)",
        hovertemplate="%{y:,}",
        showlegend=False,
        row=2,
        col=1,
    )
    start, end = times(track.ts_ns[[0, -1]])
    figure.update_xaxes(range=[start, end])
    figure.update_yaxes(title_text="price", row=1, col=1)
    figure.update_yaxes(title_text="position, units", row=2, col=1)
    return styled(figure, 520)
