"""What holding a position costs: funding of perpetuals, and what is borrowed for it. Pure."""

from collections.abc import Sequence
from typing import Final

from grid.venue import Venue

HOURS_PER_YEAR: Final = 365.0 * 24.0


def charges(venue: Venue, notionals: Sequence[float], equity: float) -> list[float]:
    """Return what is paid for each position at one settlement; negative where it is received.

    Funding is a share of the signed notional. Borrowed are the units of a short, and the money of
    longs beyond the equity; interest on it is for the time from one settlement to the next.

    Args:
        venue: the rates, and the time between settlements.
        notionals: of the positions, signed, in account currency.
        equity: of the account.
    """
    interest = venue.borrow_bps * 1e-4 * venue.settle_every_h / HOURS_PER_YEAR
    longs = sum(max(notional, 0.0) for notional in notionals)
    on_credit = max(longs - max(equity, 0.0), 0.0) / longs if longs else 0.0
    return [
        notional * venue.funding_bps * 1e-4
        + (notional * on_credit if notional > 0.0 else -notional) * interest
        for notional in notionals
    ]
