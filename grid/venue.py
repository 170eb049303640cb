"""The venue as it is simulated: what trading costs, in the env and in paper trading alike."""

from itertools import pairwise
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from grid.instrument import Instrument

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

NS_PER_MS = 1_000_000
DEEP_QTY = 1e9  # size of the quotes that are made from bars: an order fills whole at the touch
_MOST_SKEWED: Final = 14.0  # beyond 14.97, exp(z^2 / 2), no lognormal has such a 99th percentile
NonNegative = Annotated[float, msgspec.Meta(ge=0)]
Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Venue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Costs and rules of the simulated venue. The defaults are never free.

    Attributes:
        latency_ms: from a decision to the order's arrival; an order fills on the first quote that
            the venue shows after it, so even 0 means the next quote and never the one just seen.
            The mean, where it is drawn.
        latency_p99_ms: 99th percentile of a lognormal latency, drawn for each order; 0 for the same
            latency for all.
        latency_from: a session, by id or folder, whose own times from a decision to the arrival of
            its action are drawn from, in place of the two above.
        latency_quantiles_ms: those times as quantiles at equal steps from 0 to 1; filled in from
            the session, so that a run can be repeated without it.
        taker_fee_bps: fee of an order that takes liquidity, of notional.
        maker_fee_bps: fee of an order that gives liquidity, of notional.
        half_spread_bps: half of the spread of the quotes that are made from bars or trades, of
            price; quoted data has its own spread.
        account: `margin` may go short and use leverage; `cash` may not.
        leverage: notional allowed per unit of equity in a margin account.
        ruin: the share of the starting balance at which an account is stopped.
        liquidation: whether an account at its `ruin`, or below its maintenance margin, is closed
            out at the market; without it only ruin ends an episode, and the position stays open.
        funding_bps: of a position's notional at each settlement: long pays, short gets it, or the
            other way round where it is negative.
        borrow_bps: interest a year, charged at each settlement, of what is borrowed: of a short's
            notional, and of what longs hold beyond the account's equity.
        settle_every_h: settlements are on the multiples of so many hours, UTC.
        slippage_prob: probability that an order at the market fills one tick worse.
        limit_fill_prob: probability that a limit fills when others trade at its price, no further.
        depth_qty: size of the quotes that are made from bars or trades; what an order wants beyond
            it fills one tick worse.
        queue_position: whether a limit waits behind the size that stands at its price; needs
            trades.
        liquidity_consumption: whether size that was filled is gone until the quote changes.
        book: what orders meet where a book is known by its events: every one of them, or its rows
            alone, as on a grid.
        fill_seed: of the draws of a live run or a replay, fills and latencies; the env draws one
            for each episode.
    """

    latency_ms: NonNegative = 250.0
    latency_p99_ms: NonNegative = 0.0
    latency_from: str = ""
    latency_quantiles_ms: tuple[NonNegative, ...] = ()
    taker_fee_bps: NonNegative = 0.5
    maker_fee_bps: NonNegative = 0.5
    half_spread_bps: NonNegative = 0.5
    account: Literal["margin", "cash"] = "margin"
    leverage: Annotated[float, msgspec.Meta(ge=1)] = 20.0
    ruin: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.5
    liquidation: bool = True
    funding_bps: float = 0.0
    borrow_bps: NonNegative = 0.0
    settle_every_h: Annotated[float, msgspec.Meta(gt=0)] = 8.0
    slippage_prob: Probability = 0.0
    limit_fill_prob: Probability = 1.0
    depth_qty: Annotated[float, msgspec.Meta(gt=0)] = DEEP_QTY
    queue_position: bool = False
    liquidity_consumption: bool = False
    fill_seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    book: Literal["events", "rows"] = "events"

    def __post_init__(self) -> None:
        """Refuse latencies that no distribution has."""
        p99, mean, known = self.latency_p99_ms, self.latency_ms, self.latency_quantiles_ms
        if p99 and not mean < p99 <= _MOST_SKEWED * mean:
            raise ValueError(
                f"latency_p99_ms: expected 0, or more than a latency_ms of {mean:g} and at most "
                f"{_MOST_SKEWED:g} times it, found {p99:g}"
            )
        if p99 and (self.latency_from or known):
            raise ValueError("latency_p99_ms: expected 0 beside a measured latency")
        if known and (len(known) < 2 or any(b < a for a, b in pairwise(known))):
            raise ValueError("latency_quantiles_ms: expected two or more that do not fall")

    @property
    def draws(self) -> bool:
        """Whether fills or latencies depend on chance."""
        return self.slippage_prob > 0.0 or self.limit_fill_prob < 1.0 or self.latency_varies

    @property
    def charges(self) -> bool:
        """Whether holding a position is paid for."""
        return bool(self.funding_bps or self.borrow_bps)

    @property
    def latency_varies(self) -> bool:
        """Whether each order has a latency of its own."""
        return bool(self.latency_p99_ms or self.latency_from or self.latency_quantiles_ms)

    def maintenance(self, instrument: Instrument) -> float:
        """Return the equity that a position needs, as a share of its notional; 0 for none."""
        if self.account != "margin" or not self.liquidation:
            return 0.0
        return instrument.margin_maint / self.leverage

    @property
    def latency_text(self) -> str:
        """The latency, for people."""
        if self.latency_from:
            return f"the latencies of session {self.latency_from}"
        if self.latency_quantiles_ms:
            return f"measured latencies of up to {self.latency_quantiles_ms[-1]:g} ms"
        if self.latency_p99_ms:
            return f"{self.latency_ms:g} ms on average, 99 % within {self.latency_p99_ms:g} ms"
        return f"{self.latency_ms:g} ms"

    @property
    def latency_ns(self) -> int:
        """Fixed latency in ns, at least 1: no order meets a quote that was there before it."""
        return max(1, round(self.latency_ms * NS_PER_MS))


def quotes_from_opens(
    ts_close_ns: Ints,
    opens: Floats,
    bar: str,
    interval_ns: int,
    instrument: Instrument,
    venue: Venue,
) -> tuple[Ints, Floats, Floats]:
    """Return the quotes (ts_event, bid, ask) at which orders fill when there are only bars.

    A decision is taken at the close of a bar; the order arrives `latency_ns` later and finds the
    open of the next bar. So each bar's open is quoted `latency_ns` after the bar begins, and never
    a price of a bar that the agent has seen. Bid and ask are rounded outwards to ticks.

    Args:
        ts_close_ns: int64 [n], close times of the bars.
        opens: float64 [n], their open prices.
        bar: step and price type, as in `1-HOUR-ASK`; an ASK open is the ask, a BID open the bid.
        interval_ns: length of a bar; must exceed the venue's latency.
        instrument: for the tick size.
        venue: for latency and spread.
    """
    half = opens * (venue.half_spread_bps * 1e-4)
    price_type = bar.rpartition("-")[2]
    below = {"ASK": 2.0, "BID": 0.0}.get(price_type, 1.0)
    bid = ticks(opens - below * half, instrument, np.floor)
    ask = ticks(opens + (2.0 - below) * half, instrument, np.ceil)
    return ts_close_ns - interval_ns + venue.latency_ns, bid, ask


def quotes_from_trades(
    prices: Floats, sides: Floats, instrument: Instrument, venue: Venue
) -> tuple[Floats, Floats]:
    """Return the quotes (bid, ask) at which orders fill when there are only trades.

    Each trade shows the side that it took: a buyer paid the ask, a seller got the bid, and the
    other side lies the whole spread away. A trade whose side is unknown is the middle. Bid and ask
    are rounded outwards to ticks.

    Args:
        prices: float64 [n], of the trades.
        sides: [n], 1 where the buyer took, -1 where the seller did, 0 where nobody knows.
        instrument: for the tick size.
        venue: for the spread.
    """
    half = prices * (venue.half_spread_bps * 1e-4)
    bid = ticks(prices - (1.0 + sides) * half, instrument, np.floor)
    ask = ticks(prices + (1.0 - sides) * half, instrument, np.ceil)
    return bid, ask


def ticks(prices: Floats, instrument: Instrument, rounding: np.ufunc = np.rint) -> Floats:
    """Round prices to the tick, as the doubles nearest to their decimal form.

    Those doubles are the ones that `round(price, precision)` gives, so that a price has the same
    bits whether it comes from a file, from the engine or from the wire.
    """
    units = 10.0**instrument.price_precision
    per_tick = max(1.0, float(np.rint(instrument.tick * units)))
    # the inner rint takes away the error of the multiplication before rounding outwards
    scaled = np.round(prices * units / per_tick, 6)
    result: Floats = rounding(scaled) * per_tick / units
    return result
