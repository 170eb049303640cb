"""How a policy came to its result, in pictures half a page wide."""

import plotly.graph_objects as go  # type: ignore[import-untyped]
from plotly.subplots import make_subplots  # type: ignore[import-untyped]

from agents.diagnostics.actions import Actions
from agents.diagnostics.costs import Costs
from agents.diagnostics.holding import Holding
from agents.diagnostics.hours import Hours
from agents.diagnostics.regimes import Regime
from agents.plots.style import COLORS, GAIN, LOSS, PALE, styled
from agents.scorecard import AGENT

_HEIGHT = 270


def costs(found: Costs, currency: str) -> go.Figure:
    """Return what was earned, what trading took of it, and what was left."""
    names = ["before costs", "fees", "worse prices", "after costs"]
    values = [found.gross, -found.fees, -found.shortfall, found.profit]
    figure = go.Figure(
        go.Waterfall(
            x=names,
            y=values,
            measure=["absolute", "relative", "relative", "total"],
            increasing={"marker": {"color": GAIN}},
            decreasing={"marker": {"color": LOSS}},
            totals={"marker": {"color": COLORS[AGENT]}},
            connector={"line": {"color": "#cbd5e1"}},
            text=[f"{v:+,.0f}" for v in values],
            hovertemplate="%{x}: %{y:,.2f}<extra></extra>",
        )
    )
    figure.update_yaxes(title_text=currency)
    return styled(figure, _HEIGHT, hover="closest")


def targets(found: Actions) -> go.Figure:
    """Return how often each target was asked for."""
    figure = go.Figure()
    figure.add_bar(
        x=[f"{t:g}" for t in found.targets],
        y=[100.0 * share for share in found.shares],
        marker={"color": COLORS[AGENT]},
        width=0.6,
        hovertemplate="%{x}: %{y:.1f} %<extra></extra>",
    )
    figure.update_xaxes(title_text="target", type="category")
    figure.update_yaxes(title_text="decisions, %")
    return styled(figure, _HEIGHT, hover="closest")


def holding(found: Holding) -> go.Figure:
    """Return how long positions were held."""
    low = [1, *(bound + 1 for bound in found.lengths[:-1])]
    names = [f"{a}" if a == b else f"{a} to {b}" for a, b in zip(low, found.lengths, strict=True)]
    figure = go.Figure()
    figure.add_bar(
        x=names,
        y=list(found.counts),
        marker={"color": PALE},
        width=0.8,
        hovertemplate="%{x} decisions: %{y}<extra></extra>",
    )
    figure.update_xaxes(title_text="decisions held", type="category")
    figure.update_yaxes(title_text="positions")
    return styled(figure, _HEIGHT, hover="closest")


def hours(found: Hours) -> go.Figure:
    """Return exposure by hour of day, and what each hour earned."""
    figure = make_subplots(specs=[[{"secondary_y": True}]])
    earned = [100.0 * r for r in found.log_return]
    figure.add_bar(
        x=list(range(24)),
        y=earned,
        name="log return, %",
        marker={"color": [GAIN if r >= 0 else LOSS for r in earned], "opacity": 0.55},
        hovertemplate="%{y:+.2f} %",
        width=0.7,
    )
    figure.add_scatter(
        x=list(range(24)),
        y=list(found.exposure),
        name="mean exposure",
        mode="lines",
        line={"color": COLORS[AGENT], "width": 2, "shape": "hvh"},
        hovertemplate="%{y:.2f} x",
        secondary_y=True,
    )
    figure.update_xaxes(title_text="hour of day, UTC", dtick=3)
    figure.update_yaxes(title_text="log return, %", secondary_y=False)
    exposure = {"title_text": "exposure, x", "showgrid": False, "rangemode": "tozero"}
    figure.update_yaxes(secondary_y=True, tickmode="auto", nticks=5, tickformat=".1f", **exposure)
    return styled(figure, _HEIGHT + 50)


def regimes(found: tuple[Regime, ...]) -> go.Figure:
    """Return what policy and market earned in calm, usual and wild markets."""
    names = [f"{r.name}<br>{r.volatility:.1%}" for r in found]
    figure = go.Figure()
    for name, values, color in (
        (AGENT, [r.log_return for r in found], COLORS[AGENT]),
        ("market", [r.market for r in found], "#94a3b8"),
    ):
        figure.add_bar(
            x=names,
            y=[100.0 * v for v in values],
            name=name,
            marker={"color": color},
            hovertemplate="%{y:+.2f} %",
        )
    figure.update_layout(barmode="group")
    figure.update_xaxes(title_text="market, and its volatility a year")
    figure.update_yaxes(title_text="log return, %")
    figure = styled(figure, _HEIGHT + 50)
    return figure.update_layout(bargap=0.35, bargroupgap=0.08)
