"""hftbacktest, driven from Python: an order book with latency and queues, but no env around it."""
# /// script
# requires-python = ">=3.12"
# dependencies = ["hftbacktest==2.4.4"]
# ///

from importlib.metadata import version
from typing import Any, Final

import numpy as np

from agents.bench.peers.pace import Bars, Steps, serve, targets

_MINUTE_NS: Final = 60_000_000_000
_SETTLED_NS: Final = 1_000  # steps end between the updates of a close and not amid them
_LATENCY_NS: Final = 250_000_000
_HALF_SPREAD: Final = 5e-5
_FEE: Final = 5e-5
_TICK: Final = 1e-5
_SIZE: Final = 1e6  # of the book's only level
_QTY: Final = 100.0


def make(bars: Bars) -> Steps:
    """A step elapses a minute and reads the best prices and the position: no features, no reward.

    Spread, fees and latency are ours; the book moves once a minute, to around each close.
    """
    import hftbacktest as hft

    feed = _depth(bars, hft)
    book: Any = None
    held = ids = 0

    def reset() -> None:
        nonlocal book, held, ids
        asset = (
            hft.BacktestAsset()
            .data(feed)
            .linear_asset(1.0)
            .constant_order_latency(_LATENCY_NS, 0)
            .risk_adverse_queue_model()
            .partial_fill_exchange()
            .trading_value_fee_model(_FEE, _FEE)
            .tick_size(_TICK)
            .lot_size(0.01)
        )
        book, held, ids = hft.HashMapMarketDepthBacktest([asset]), 0, 0
        book.elapse(_SETTLED_NS)

    def step(target: int) -> bool:
        nonlocal held, ids
        if target != held:
            ids += 1
            depth = book.depth(0)
            send, px = (
                (book.submit_buy_order, depth.best_ask)
                if target > held
                else (book.submit_sell_order, depth.best_bid)
            )
            send(0, ids, px, _QTY, hft.GTC, hft.MARKET, False)
            held = target
            book.clear_inactive_orders(0)
        over = book.elapse(_MINUTE_NS) != 0
        depth = book.depth(0)
        _ = depth.best_bid, depth.best_ask, book.position(0)
        return bool(over)

    return Steps(version("hftbacktest"), reset, step, targets(0, 0), targets(0, 1))


def _depth(bars: Bars, hft: Any) -> Any:
    """Four updates of the book at each close: the old levels go, the new ones come."""
    close, ts = bars["close"], bars["ts_event"]
    bid, ask = (np.round(close * (1.0 + side * _HALF_SPREAD), 5) for side in (-1, 1))
    old_bid, old_ask = np.append(bid[0], bid[:-1]), np.append(ask[0], ask[:-1])
    moves = (
        (hft.BUY_EVENT, old_bid, 0.0), (hft.SELL_EVENT, old_ask, 0.0),
        (hft.BUY_EVENT, bid, _SIZE), (hft.SELL_EVENT, ask, _SIZE),
    )  # fmt: skip
    rows = np.zeros(len(close) * len(moves), hft.event_dtype)
    for place, (side, px, qty) in enumerate(moves):
        part = rows[place :: len(moves)]
        part["ev"] = hft.EXCH_EVENT | hft.LOCAL_EVENT | hft.DEPTH_EVENT | side
        part["exch_ts"] = part["local_ts"] = ts + place
        part["px"], part["qty"] = px, qty
    return rows


if __name__ == "__main__":
    serve(make)
