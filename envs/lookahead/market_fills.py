"""Honest fills of orders that may rest: never before they arrive, never better than the market."""

from collections.abc import Sequence

import numpy as np

from envs.lookahead.fills import WORSE_TICKS, Fill, Quoted, quoted, wrong_price, wrong_time
from envs.lookahead.market_play import Seen
from envs.lookahead.report import Report
from grid.dataset import Dataset, to_iso
from grid.venue import Venue


def check_market_fills(
    markets: Sequence[Dataset], venue: Venue, resting: bool, seen: Seen, report: Report
) -> None:
    """No order fills before it arrives, nor at a price that was on view when it was given.

    Orders at the market fill at the touch. Orders that rest may have a worse price, their own, and
    on bars any price that the bar came to.
    """
    known = {m.manifest.instrument.id: (m, quoted(m, venue)) for m in markets}
    given_ns = set(seen.times_ns[:-1])
    for what in ("fill time", "fill price"):
        report.note(what, 0)
    for step, fill in seen.fills:
        where = f"at {to_iso(seen.times_ns[step + 1])}: "
        market, quotes = known[fill.instrument_id]
        slack = np.inf if resting else market.manifest.instrument.tick * WORSE_TICKS
        late = wrong_time(fill, fill.decided_ns, venue)
        if fill.decided_ns not in given_ns:
            late = f"no decision was taken at {to_iso(fill.decided_ns)}, which its order is from"
        report.note("fill time", 1, late and where + late)
        said = wrong_price(fill, fill.decided_ns, quotes, slack)
        if said and resting and market.manifest.kind == "bars":
            said = _outside_of_bar(fill, market, quotes)
        report.note("fill price", 1, said and where + said)


def _outside_of_bar(fill: Fill, market: Dataset, quotes: Quoted) -> str:
    """Say that the bar in which an order filled did not come to its price; empty if it did."""
    columns = market.columns
    row = int(np.searchsorted(columns["ts_event"], fill.ts_event_ns, side="left"))
    low = min(columns["low"][row], quotes.bid[row])
    high = max(columns["high"][row], quotes.ask[row])
    if low <= fill.px <= high:
        return ""
    return f"expected {low:g} to {high:g}, the range of the bar, found {fill.px:g}"
