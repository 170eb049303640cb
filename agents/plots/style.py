"""How all pictures look."""

from typing import Final

import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]
from numpy.typing import NDArray

from agents.scorecard import AGENT, TRAINING

type Floats = NDArray[np.float64]

COLORS: Final = {
    AGENT: "#1d4ed8",
    "flat": "#94a3b8",
    "hold": "#b45309",
    "random": "#7c3aed",
    "momentum": "#047857",
    "untrained": "#be185d",
    TRAINING: "#60a5fa",
}
OTHER: Final = "#475569"
GAIN, LOSS, PALE = "#059669", "#dc2626", "#93c5fd"
FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"
INK, GRID = "#1e293b", "#e2e8f0"
_MOST_POINTS: Final = 20_000  # of a curve; more are thinned, for no screen shows them


def styled(figure: go.Figure, height: int, hover: str = "x unified") -> go.Figure:
    """Return a figure in the house's style, `height` pixels high."""
    figure.update_layout(
        height=height,
        template="plotly_white",
        font={"family": FONT, "size": 13, "color": INK},
        margin={"l": 70, "r": 20, "t": 40, "b": 40},
        hovermode=hover,
        legend={"orientation": "h", "y": 1.03, "yanchor": "bottom", "x": 0},
        paper_bgcolor="#ffffff",
        plot_bgcolor="#ffffff",
        bargap=0,
    )
    figure.update_xaxes(gridcolor=GRID, zeroline=False)
    figure.update_yaxes(gridcolor=GRID, zerolinecolor="#cbd5e1")
    return figure


def thin(n: int) -> NDArray[np.int64]:
    """Return which of n points to draw."""
    return np.unique(np.linspace(0, n - 1, min(n, _MOST_POINTS)).astype(np.int64))


def times(ts_ns: NDArray[np.int64]) -> NDArray[np.datetime64]:
    """Return UNIX ns as an axis takes them."""
    return ts_ns.astype("datetime64[ns]").astype("datetime64[ms]")
