"""Features of the order book: its best levels, each side, as rows of depth have them.

Sums over levels are spelled out, from the best level on: the order of additions is then the same
for one row and for a whole dataset. A level that the book has not counts with size 0.
"""

import numpy as np

from envs.features.kernel import Floats, Rows, feature, ratio

_BOTH = ("bid_qtys", "ask_qtys")
_ALL = ("bid_pxs", "ask_pxs", *_BOTH, "close")


def _own(i: int) -> int:
    return i


@feature("share of -1 to 1", _BOTH, lambda k: 1, levels=_own)
def book_imbalance(rows: Rows, k: int) -> Floats:
    """Order book imbalance over k levels: bid sizes less ask sizes, over both."""
    bids, asks = _total(rows["bid_qtys"], k), _total(rows["ask_qtys"], k)
    return ratio(bids - asks, bids + asks)


@feature("share of price", _ALL, lambda k: 1, levels=_own)
def depth_spread(rows: Rows, k: int) -> Floats:
    """Size-weighted ask less size-weighted bid over k levels, over the mid price.

    What a round trip through the best k levels would pay; the quoted spread is that of k = 1.
    """
    sides = []
    for side in ("ask", "bid"):
        px, qty = rows[f"{side}_pxs"], rows[f"{side}_qtys"]
        sides.append(ratio(_total(px * qty, k), _total(qty, k)))
    return np.asarray((sides[0] - sides[1]) / rows["close"])


@feature("share of -1 to 1", (*_ALL, "tick"), lambda k: 1, levels=_own)
def book_slope(rows: Rows, k: int) -> Floats:
    """Pressure slope: how fast bids pile up with distance less how fast asks do, over both.

    The slope of a side is that of its cumulated size on the distance from the mid, least squares
    through the origin over k levels: sum(d C) / sum(d^2). After Naes and Skjeltorp (2006).
    """
    bids, asks = _slope(rows, "bid", k), _slope(rows, "ask", k)
    return ratio(bids - asks, bids + asks)


@feature("ticks", ("bid_pxs", "close", "tick"), lambda i: 1, levels=_own)
def bid_ticks(rows: Rows, i: int) -> Floats:
    """Distance of the i-th best bid below the mid price, in ticks."""
    return np.asarray((rows["close"] - rows["bid_pxs"][:, i - 1]) / rows["tick"])


@feature("ticks", ("ask_pxs", "close", "tick"), lambda i: 1, levels=_own)
def ask_ticks(rows: Rows, i: int) -> Floats:
    """Distance of the i-th best ask above the mid price, in ticks."""
    return np.asarray((rows["ask_pxs"][:, i - 1] - rows["close"]) / rows["tick"])


@feature("log quantity", ("bid_qtys",), lambda i: 1, levels=_own)
def bid_size(rows: Rows, i: int) -> Floats:
    """Log of 1 plus the size at the i-th best bid."""
    return np.asarray(np.log1p(np.ascontiguousarray(rows["bid_qtys"][:, i - 1])))


@feature("log quantity", ("ask_qtys",), lambda i: 1, levels=_own)
def ask_size(rows: Rows, i: int) -> Floats:
    """Log of 1 plus the size at the i-th best ask."""
    return np.asarray(np.log1p(np.ascontiguousarray(rows["ask_qtys"][:, i - 1])))


def _slope(rows: Rows, side: str, k: int) -> Floats:
    sign = 1.0 if side == "ask" else -1.0
    px, qty = rows[f"{side}_pxs"], rows[f"{side}_qtys"]
    above, below, piled = 0.0 * px[:, 0], 0.0 * px[:, 0], 0.0 * px[:, 0]
    for i in range(k):
        away = sign * (px[:, i] - rows["close"]) / rows["tick"]
        piled = piled + qty[:, i]
        above = above + away * piled
        below = below + away * away
    return ratio(above, below)


def _total(values: Floats, k: int) -> Floats:
    result = values[:, 0]
    for i in range(1, k):
        result = result + values[:, i]
    return result
