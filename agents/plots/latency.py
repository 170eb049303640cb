"""How long answers took."""

from html import escape
from typing import Final

import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]
from numpy.typing import NDArray
from plotly.subplots import make_subplots  # type: ignore[import-untyped]

from agents.plots.style import COLORS, PALE, styled
from agents.scorecard import AGENT

type Floats = NDArray[np.float64]

_BINS: Final = 60


def latency(latency_us: dict[str, Floats]) -> go.Figure:
    """Return a histogram for each label, with its median and 99th percentile."""
    figure = make_subplots(
        rows=len(latency_us),
        cols=1,
        subplot_titles=[f"{escape(label)}" for label in latency_us],
        vertical_spacing=0.32 / len(latency_us),
    )
    for row, values in enumerate(latency_us.values(), start=1):
        # the worst hundredth would flatten the rest into one bar: it is counted in the last bin
        p50, p99 = np.percentile(values, [50, 99]) if len(values) else (0.0, 0.0)
        top = max(float(p99) * 1.15, 1.0)
        counts, edges = np.histogram(np.minimum(values, top), bins=_BINS, range=(0.0, top))
        figure.add_bar(
            x=(edges[:-1] + edges[1:]) / 2.0,
            y=counts,
            width=np.diff(edges),
            marker={"color": PALE, "line": {"color": "#ffffff", "width": 0.5}},
            hovertemplate="%{x:,.0f} us: %{y}",
            showlegend=False,
            name="",
            row=row,
            col=1,
        )
        for label, at, color in (("p50", p50, COLORS[AGENT]), ("p99", p99, "#b91c1c")):
            figure.add_vline(
                x=float(at),
                line={"color": color, "width": 1.6, "dash": "dot"},
                annotation={
                    "text": f"{label} {at:,.0f} us",
                    "font": {"color": color, "size": 12},
                    "bgcolor": "rgba(255, 255, 255, 0.85)",
                },
                row=row,
                col=1,
            )
    figure.update_xaxes(title_text="microseconds", row=len(latency_us), col=1)
    figure.update_yaxes(title_text="decisions")
    return styled(figure, 60 + 260 * len(latency_us), hover="closest")
