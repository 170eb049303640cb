"""How much may be traded and lost, whoever decides. Pure: the clock is an argument.

The clock is the market's: a run that is played ten times faster breaches the same limits at the
same decisions, and live the two clocks are one.
"""

from collections import deque
from typing import Annotated, Final, Literal

import msgspec

from grid.dataset import to_iso

Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]

_NS_PER_S: Final = 1_000_000_000
_NS_PER_MIN: Final = 60 * _NS_PER_S
_NS_PER_DAY: Final = 86_400 * _NS_PER_S
_DUST: Final = 1e-9  # relative: sums of decimal quantities are no breach


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section `[limits]` of a grid. What is not given is not limited.

    An order beyond a limit is refused; one that only makes the position smaller breaks no limit of
    position or notional. A loss beyond a limit halts the strategy until a person resumes it.

    Attributes:
        max_position_qty: units or contracts, long or short, orders under way included.
        max_notional: of the position at the last mark, in account currency.
        max_orders_per_s: orders in any second of market time.
        max_orders_per_min: orders in any minute of market time.
        max_daily_loss: equity lost since the UTC day began, in account currency.
        max_drawdown_share: equity lost since its highest, as a share of that.
        on_order_breach: `halt` makes an order beyond a limit halt the strategy, too.
        on_halt: `flatten` closes the position when a breach halts; `hold` leaves it.
    """

    max_position_qty: Positive | None = None
    max_notional: Positive | None = None
    max_orders_per_s: Count | None = None
    max_orders_per_min: Count | None = None
    max_daily_loss: Positive | None = None
    max_drawdown_share: Share | None = None
    on_order_breach: Literal["refuse", "halt"] = "refuse"
    on_halt: Literal["hold", "flatten"] = "hold"


class Marks(msgspec.Struct, frozen=True):
    """What losses are counted from: equity at the last mark, as the day began, and the highest."""

    equity: float
    day: int
    day_began: float
    peak: float


class Meter:
    """What was ordered and lost so far, against the limits.

    Args:
        limits: what is allowed.
        multiplier: notional of one unit at a price of one.

    Attributes:
        marks: what losses are counted from; None before the first mark.
    """

    def __init__(self, limits: Limits, multiplier: float) -> None:
        self._limits = limits
        self._multiplier = multiplier
        self._ordered: deque[int] = deque()
        self.marks: Marks | None = None

    def refusal(self, order_qty: float, held_qty: float, mark_px: float, now_ns: int) -> str:
        """Return why an order must not leave; empty if it may.

        Args:
            order_qty: signed.
            held_qty: the position before it, if every open order of its side fills and no other.
            mark_px: last price that positions are valued at.
            now_ns: of the last market event.
        """
        limits = self._limits
        for name, limit, span_ns in (
            ("max_orders_per_s", limits.max_orders_per_s, _NS_PER_S),
            ("max_orders_per_min", limits.max_orders_per_min, _NS_PER_MIN),
        ):
            if limit is not None and self._ordered_within(span_ns, now_ns) >= limit:
                return f"limits.{name} {limit}: this would be one order more"
        after_qty = held_qty + order_qty
        if held_qty * after_qty >= 0.0 and abs(after_qty) <= abs(held_qty):
            return ""
        notional = abs(after_qty) * mark_px * self._multiplier
        for name, most, found in (
            ("max_position_qty", limits.max_position_qty, abs(after_qty)),
            ("max_notional", limits.max_notional, notional),
        ):
            if most is not None and found > most * (1 + _DUST):
                return f"limits.{name} {most:,.10g}: the order would make it {found:,.10g}"
        return ""

    def ordered(self, now_ns: int) -> None:
        """Count an order that leaves."""
        self._ordered.append(now_ns)
        while self._ordered[0] <= now_ns - _NS_PER_MIN:
            self._ordered.popleft()

    def breach(self, equity: float, now_ns: int) -> str:
        """Take in equity at a mark; return which loss is too great, empty if none is."""
        marks = self.marks = self._mark(equity, now_ns // _NS_PER_DAY)
        loss, most = marks.day_began - equity, self._limits.max_daily_loss
        if most is not None and loss >= most:
            return f"limits.max_daily_loss {most:,.10g}: {loss:,.2f} lost on {to_iso(now_ns)[:10]}"
        fallen, share = marks.peak - equity, self._limits.max_drawdown_share
        if share is not None and fallen >= share * marks.peak:
            return (
                f"limits.max_drawdown_share {share:g}: equity {equity:,.2f} is"
                f" {fallen / marks.peak:.4f} below its highest, {marks.peak:,.2f}"
            )
        return ""

    def begin_anew(self) -> None:
        """Count losses from the next mark on."""
        self.marks = None

    def _mark(self, equity: float, day: int) -> Marks:
        last = self.marks
        if last is None:
            return Marks(equity, day, equity, equity)
        day_began = last.day_began if day == last.day else last.equity
        return Marks(equity, day, day_began, max(last.peak, equity))

    def _ordered_within(self, span_ns: int, now_ns: int) -> int:
        return sum(at_ns > now_ns - span_ns for at_ns in self._ordered)
