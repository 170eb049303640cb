"""What trading cost, and at what cost nothing would have been left."""

import msgspec
import numpy as np

from agents.metrics import Track


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """Of a track, in account currency unless a name says otherwise.

    Attributes:
        profit: end less start.
        gross: profit had every fill had the price seen at its decision, without fees.
        fees: paid.
        shortfall: paid by fills at worse prices than those: spread, slippage, and what the market
            did meanwhile.
        traded: notional.
        per_traded_bps: fees and shortfall, of notional traded; None without a trade.
        break_even_bps: such a cost at which profit would be 0, by the same trades.
        turnover_per_year: notional traded over mean equity, a year.
    """

    profit: float
    gross: float
    fees: float
    shortfall: float
    traded: float
    per_traded_bps: float | None
    break_even_bps: float | None
    turnover_per_year: float


def costs(track: Track, per_year: float) -> Costs:
    """Return what a track's trades cost, by implementation shortfall.

    Perold 1988, The Implementation Shortfall: against the price that a decision saw.
    """
    decided = track.price[track.fills[:, 4].astype(np.int64)]
    quantity, price = track.fills[:, 1], track.fills[:, 2]
    shortfall = float(np.sum(quantity * (price - decided))) * track.multiplier
    profit, fees = float(track.equity[-1] - track.equity[0]), float(track.fees[-1])
    gross, traded = profit + fees + shortfall, float(track.traded[-1])
    share = 1e4 / traded if traded > 0 else None
    return Costs(
        profit=profit,
        gross=gross,
        fees=fees,
        shortfall=shortfall,
        traded=traded,
        per_traded_bps=None if share is None else (fees + shortfall) * share,
        break_even_bps=None if share is None else gross * share,
        turnover_per_year=traded / float(track.equity.mean()) / track.steps * per_year,
    )
