"""The strategy's own account: what it holds and what it is worth, from its fills alone.

The engine's portfolio costs microseconds to ask and marks at other prices in the env than live.
This ledger is the same arithmetic in the same order everywhere, so account state has the same
bits in training, replay and live; a test holds it against the engine's account.
"""

from collections.abc import Iterable

from grid import wire


class Ledger:
    """Cash and one position, in account currency and units.

    Args:
        capital: starting balance.
        multiplier: notional of one unit at a price of one.

    Attributes:
        cash: balance if the position were worth nothing.
        position_qty: signed.
        pending_qty: signed, in orders that are neither filled nor closed.
        working_qty: the same without signs: 0 means that no order is under way.
        avg_px: average price of the open position.
        fees: paid so far.
        funding: paid so far for holding the position, interest included; negative if received.
        traded: notional traded so far.
        fills: how many.
    """

    __slots__ = (
        "avg_px", "cash", "fees", "fills", "funding", "multiplier", "pending_qty", "position_qty",
        "traded", "working_qty",
    )  # fmt: skip

    def __init__(self, capital: float, multiplier: float) -> None:
        self.multiplier = multiplier
        self.reset(capital)

    def reset(self, capital: float) -> None:
        """Start anew with `capital` and nothing held."""
        self.cash = capital
        self.position_qty = 0.0
        self.pending_qty = 0.0
        self.working_qty = 0.0
        self.avg_px = 0.0
        self.fees = 0.0
        self.funding = 0.0
        self.traded = 0.0
        self.fills = 0

    def restore(self, holdings: wire.Holdings, working: Iterable[float]) -> None:
        """Go on with what a venue has kept; `working` are the signed quantities of open orders."""
        self.reset(holdings.cash)
        self.position_qty = holdings.position_qty
        self.avg_px = holdings.avg_px
        self.fees = holdings.fees
        self.traded = holdings.traded
        self.fills = holdings.fills
        for signed_qty in working:
            self.order(signed_qty)

    @property
    def holdings(self) -> wire.Holdings:
        """What `restore` needs, open orders apart."""
        return wire.Holdings(
            self.cash, self.position_qty, self.avg_px, self.fees, self.traded, self.fills
        )

    def order(self, signed_qty: float) -> None:
        """Count an order as pending."""
        if not self.working_qty:  # the usual case, and a sum of one is exact without rounding
            self.pending_qty, self.working_qty = signed_qty, abs(signed_qty)
            return
        self.pending_qty = round(self.pending_qty + signed_qty, 12)
        self.working_qty = round(self.working_qty + abs(signed_qty), 12)

    def fill(self, signed_qty: float, px: float, commission: float) -> None:
        """Take one fill of an order that was pending."""
        before = self.position_qty
        # sums of decimal quantities leave dust that would look like an open position
        after = round(before + signed_qty, 12) if before else signed_qty
        if before * signed_qty >= 0:
            self.avg_px = (before * self.avg_px + signed_qty * px) / after
        elif before * after < 0:
            self.avg_px = px
        elif after == 0:
            self.avg_px = 0.0
        notional = signed_qty * px * self.multiplier
        self.cash -= notional + commission
        self.position_qty = after
        self.release(signed_qty)
        self.fees += commission
        self.traded += abs(notional)
        self.fills += 1

    def charge(self, amount: float) -> None:
        """Pay for holding the position; a negative amount is received."""
        self.cash -= amount
        self.funding += amount

    def release(self, signed_qty: float) -> None:
        """Count a quantity as pending no more."""
        if self.pending_qty == signed_qty and self.working_qty == abs(signed_qty):
            self.pending_qty = self.working_qty = 0.0
            return
        self.pending_qty = round(self.pending_qty - signed_qty, 12)
        self.working_qty = round(self.working_qty - abs(signed_qty), 12)

    def equity(self, mark_px: float) -> float:
        """Cash and position at `mark_px`."""
        return self.cash + self.position_qty * mark_px * self.multiplier

    def unrealized(self, mark_px: float) -> float:
        """Profit of the open position at `mark_px`, fees apart."""
        return self.position_qty * (mark_px - self.avg_px) * self.multiplier
