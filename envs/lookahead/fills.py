"""Honest fills: after the decision, and at a price that came after it too."""

from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from envs.books import meets_events
from envs.data.book import best_levels
from envs.lookahead.play import Played
from envs.lookahead.report import Report
from grid.dataset import LAST, Dataset
from grid.latency import bounds_ns
from grid.venue import Venue, quotes_from_opens, quotes_from_trades

WORSE_TICKS: Final = 2.0 + 1e-6  # slippage costs one, and what is beyond the quote's size another


class Fill(Protocol):
    """What is known of a fill in any env."""

    @property
    def ts_event_ns(self) -> int:
        """When."""
        ...

    @property
    def signed_qty(self) -> float:
        """Positive for a buy."""
        ...

    @property
    def px(self) -> float:
        """At what price."""
        ...


class Quoted(NamedTuple):
    """All quotes that orders fill on, in order.

    Attributes:
        times_ns: UNIX ns.
        bid: best bids.
        ask: best asks.
        lowest: of books: how deep a sale may go.
        highest: of books: how high a purchase may go.
    """

    times_ns: NDArray[np.int64]
    bid: NDArray[np.float64]
    ask: NDArray[np.float64]
    lowest: NDArray[np.float64] | None = None
    highest: NDArray[np.float64] | None = None


def check_fills(dataset: Dataset, venue: Venue, played: Played, report: Report) -> None:
    """No order fills before it arrives, nor at a price that was on view when it was decided on."""
    times_ns = dataset.columns["ts_event"]
    market = quoted(dataset.ticks or dataset, venue)
    slack = dataset.manifest.instrument.tick * WORSE_TICKS
    for what in ("fill time", "fill price"):
        report.note(what, 0)
    for step, decided, fill in played.fills:
        where = f"at row {played.rows[min(step + 1, len(played.rows) - 1)]}: "
        decision_ns = int(times_ns[played.rows[decided]])
        for what, said in (
            ("fill time", wrong_time(fill, decision_ns, venue)),
            ("fill price", wrong_price(fill, decision_ns, market, slack)),
        ):
            report.note(what, 1, said and where + said)


def wrong_time(fill: Fill, decision_ns: int, venue: Venue) -> str:
    """Say why a fill cannot have come when it did; empty if it can."""
    after_ns = fill.ts_event_ns - decision_ns
    least_ns, _ = bounds_ns(venue)
    if after_ns >= least_ns:
        return ""
    return (
        f"expected a fill later than its decision, by {least_ns / 1e6:g} ms or more, "
        f"found {after_ns / 1e6:g} ms"
    )


def wrong_price(fill: Fill, decision_ns: int, market: Quoted, slack: float) -> str:
    """Say why a fill cannot have been at its price; empty if it can.

    Args:
        fill: what was filled.
        decision_ns: when its order was decided on.
        market: the quotes.
        slack: by how much an order may fill worse than the touch.
    """
    newest = int(np.searchsorted(market.times_ns, fill.ts_event_ns, side="right")) - 1
    first = int(np.searchsorted(market.times_ns, market.times_ns[newest], side="left"))
    buys = fill.signed_qty > 0
    touch = (market.ask if buys else market.bid)[first : newest + 1]
    worse = (fill.px - touch) * np.sign(fill.signed_qty)
    deepest = market.highest if buys else market.lowest
    depth = 0.0 if deepest is None else np.abs(deepest[first : newest + 1] - touch)
    if int(market.times_ns[newest]) <= decision_ns:
        return f"{fill.px:g} is of a quote that was on view at the decision"
    if not ((worse > -1e-9 * fill.px) & (worse < slack + depth)).any():
        return f"expected {touch[-1]:g}, the market at the fill, found {fill.px:g}"
    return ""


def quoted(dataset: Dataset, venue: Venue) -> Quoted:
    """Return the quotes that the engine makes of a dataset."""
    manifest, columns = dataset.manifest, dataset.columns
    if meets_events(manifest, venue):
        return _every_packet(dataset)
    if manifest.book:
        bids, asks = np.asarray(columns["bid_pxs"]), np.asarray(columns["ask_pxs"])
        return Quoted(columns["ts_event"], bids[:, 0], asks[:, 0], bids[:, -1], asks[:, -1])
    if manifest.kind == "quotes":
        return Quoted(columns["ts_event"], columns["bid_px"], columns["ask_px"])
    if manifest.kind == "trades":
        price, side = np.asarray(columns["price"]), np.asarray(columns["side"])
        made = quotes_from_trades(price, side, manifest.instrument, venue)
        return Quoted(np.asarray(columns["ts_event"]), *made)
    return Quoted(
        *quotes_from_opens(
            np.asarray(columns["ts_event"]),
            np.asarray(columns["open"]),
            manifest.bar,
            manifest.interval_ns,
            manifest.instrument,
            venue,
        )
    )


def _every_packet(dataset: Dataset) -> Quoted:
    """The best of a book after each of its packets; how deep it goes is not bounded."""
    manifest, events = dataset.manifest, dataset.events
    ends = np.flatnonzero(np.asarray(events["flags"]) & LAST) + 1
    best = best_levels(events, manifest.book or "L2", manifest.instrument, ends, 1)
    bid, ask = best["bid_pxs"][:, 0], best["ask_pxs"][:, 0]
    times_ns = np.asarray(events["ts_event"])[ends - 1]
    return Quoted(times_ns, bid, ask, np.full(len(bid), -np.inf), np.full(len(ask), np.inf))
