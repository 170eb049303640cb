"""How sure the ratios are: a dot and its interval for each policy."""

import plotly.graph_objects as go  # type: ignore[import-untyped]

from agents.plots.style import COLORS, OTHER, styled
from agents.statistics.blocks import Interval


def forest(found: dict[str, Interval], luck: float | None) -> go.Figure:
    """Return annualized Sharpe ratios with their intervals.

    Args:
        found: policy to interval, the first on top.
        luck: the ratio that the best of all trials without skill is expected to show, if it was one
            of several.
    """
    figure = go.Figure()
    for name, one in found.items():
        color = COLORS.get(name, OTHER)
        figure.add_scatter(
            x=[one.value],
            y=[name],
            mode="markers",
            marker={"color": color, "size": 11},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [one.high - one.value],
                "arrayminus": [one.value - one.low],
                "color": color,
                "thickness": 2.2,
                "width": 6,
            },
            hovertemplate=f"{one.value:.2f}, from {one.low:.2f} to {one.high:.2f}",
            name=name,
            showlegend=False,
        )
    figure.add_vline(x=0.0, line={"color": "#94a3b8", "width": 1.2})
    if luck is not None:
        figure.add_vline(
            x=luck,
            line={"color": "#b91c1c", "width": 1.6, "dash": "dot"},
            annotation={"text": f"luck {luck:.2f}", "font": {"color": "#b91c1c", "size": 12}},
        )
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(title_text="Sharpe ratio a year, 95 of 100 such records")
    return styled(figure, 110 + 38 * len(found), hover="closest")
