"""An episode as a picture: price with trades, position, equity. Only loaded when drawn."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from envs.fills import EnvFill

WIDTH_PX, HEIGHT_PX, DPI = 960, 640, 100


@dataclass
class Film:
    """What has happened in an episode so far, one entry a decision."""

    times_ns: list[int] = field(default_factory=list)
    prices: list[float] = field(default_factory=list)
    positions: list[float] = field(default_factory=list)
    equity: list[float] = field(default_factory=list)
    fills: list[EnvFill] = field(default_factory=list)

    def add(
        self, ts_ns: int, price: float, position: float, equity: float, fills: Sequence[EnvFill]
    ) -> None:
        """Add the state at a decision, and the fills since the last."""
        self.times_ns.append(ts_ns)
        self.prices.append(price)
        self.positions.append(position)
        self.equity.append(equity)
        self.fills.extend(fills)


def draw(film: Film, title: str) -> NDArray[np.uint8]:
    """Return a picture of an episode: uint8 [HEIGHT_PX, WIDTH_PX, 3]."""
    figure = Figure(figsize=(WIDTH_PX / DPI, HEIGHT_PX / DPI), dpi=DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    price, position, equity = figure.subplots(
        3, 1, sharex=True, gridspec_kw={"height_ratios": (4, 1, 2)}
    )
    times = [_moment(ts) for ts in film.times_ns]
    price.plot(times, film.prices, color="#475569", linewidth=1)
    for sign, marker, color, label in ((1, "^", "#15803d", "bought"), (-1, "v", "#b91c1c", "sold")):
        some = [f for f in film.fills if f.signed_qty * sign > 0]
        price.plot([_moment(f.ts_event_ns) for f in some], [f.px for f in some],
                   marker, color=color, markersize=4, label=label)  # fmt: skip
    price.set_ylabel("price")
    price.set_title(title, loc="left")
    price.legend(loc="upper left", frameon=False, ncols=2)
    position.step(times, film.positions, where="post", color="#1d4ed8", linewidth=1)
    position.set_ylabel("position")
    equity.plot(times, film.equity, color="#1d4ed8", linewidth=1.2)
    equity.set_ylabel("equity")
    for axes in (price, position, equity):
        axes.grid(alpha=0.25)
        axes.margins(x=0.01)
    equity.ticklabel_format(axis="y", useOffset=False, style="plain")
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()  # type: ignore[no-untyped-call]


def _moment(ts_ns: int) -> datetime:
    return datetime.fromtimestamp(ts_ns / 1e9, UTC)
