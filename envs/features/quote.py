"""Features of quotes: the top of the order book."""

import numpy as np

from envs.features.kernel import Floats, Rows, feature, ratio, total, windows


@feature("share of price", ("bid_px", "ask_px", "close"), lambda: 1)
def spread(rows: Rows) -> Floats:
    """Ask less bid, over the mid price."""
    return ratio(rows["ask_px"] - rows["bid_px"], rows["close"])


@feature("share of -1 to 1", ("bid_qty", "ask_qty"), lambda: 1)
def imbalance(rows: Rows) -> Floats:
    """Order book imbalance: bid size less ask size, over both."""
    return ratio(rows["bid_qty"] - rows["ask_qty"], rows["bid_qty"] + rows["ask_qty"])


@feature("log quantity", ("bid_qty", "ask_qty"), lambda: 1)
def log_depth(rows: Rows) -> Floats:
    """Log of 1 plus the sizes at bid and ask."""
    return np.asarray(np.log1p(rows["bid_qty"] + rows["ask_qty"]))


@feature("share of price", ("bid_px", "ask_px", "bid_qty", "ask_qty", "close"), lambda: 1)
def microprice(rows: Rows) -> Floats:
    """Distance of the size-weighted mid from the mid, over the mid.

    Weighted by the size of the other side: imbalance x (ask - bid) / 2 (Gatheral and Oomen 2010).
    """
    lean = imbalance(rows) * (rows["ask_px"] - rows["bid_px"])
    return np.asarray(lean / (2.0 * rows["close"]))


@feature("share of depth", ("bid_px", "ask_px", "bid_qty", "ask_qty"), lambda n: n + 1)
def order_flow(rows: Rows, n: int) -> Floats:
    """Order flow imbalance of n changes of the quote, over the mean size at a side.

    Cont, Kukanov and Stoikov (2014): what was added to the bid, or taken from the ask, counts up.
    """
    bid, ask = rows["bid_px"], rows["ask_px"]
    bids, asks = rows["bid_qty"], rows["ask_qty"]
    bid_move, ask_move = bid[1:] - bid[:-1], ask[1:] - ask[:-1]
    flow = (
        np.heaviside(bid_move, 1.0) * bids[1:]
        - np.heaviside(-bid_move, 1.0) * bids[:-1]
        - np.heaviside(-ask_move, 1.0) * asks[1:]
        + np.heaviside(ask_move, 1.0) * asks[:-1]
    )
    depth = total(windows((bids + asks)[1:], n)) / (2.0 * n)
    return ratio(total(windows(flow, n)), depth)
