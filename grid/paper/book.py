"""The paper venue's book: accounts, their open orders, and what fills them. Pure.

The rule is the env's, so that a paper session and its replay agree to the cent: an order fills
whole on the first tick at or after it is due, at the touch; what exceeds the size there, one tick
worse. One with a limit waits for a touch at that price or better, and never pays a worse one.
"""

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Literal

import msgspec

from grid import wire
from grid.node.ledger import Ledger

type Place = tuple[int, int]  # (epoch, sequence) of a node's message


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What an account trades, and at what cost: see `grid.wire.OpenAccount`."""

    instrument_id: str
    currency: str
    currency_digits: int
    price_digits: int
    tick: float
    multiplier: float
    taker_fee_bps: float

    @classmethod
    def of(cls, asked: wire.OpenAccount) -> "Terms":
        """Return the terms in a node's message."""
        return cls(**{f: getattr(asked, f) for f in cls.__struct_fields__})

    def conflict(self, other: "Terms") -> str:
        """Say what of an account's terms can never change, and does; empty if nothing."""
        for name in ("instrument_id", "currency", "multiplier"):
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours != theirs:
                return f"{name} {ours} expected, found {theirs}"
        return ""

    def commission(self, qty: float, px: float) -> float:
        """Return the fee of a fill, to the smallest unit of money, half to even."""
        rate = Decimal(str(self.taker_fee_bps)) / 10_000
        notional = Decimal(repr(qty)) * Decimal(repr(px)) * Decimal(str(self.multiplier))
        unit = Decimal(1).scaleb(-self.currency_digits)
        return float((notional * rate).quantize(unit, ROUND_HALF_EVEN))


class Order(msgspec.Struct, kw_only=True):
    """An order; `placed` is the message that brought it, `limit_px` is 0 for one at the market."""

    client_order_id: str
    signed_qty: float
    due_ns: int
    placed: Place
    status: Literal["open", "filled", "canceled", "rejected"] = "open"
    reason: str = ""
    limit_px: float = 0.0

    @property
    def report(self) -> wire.VenueOrder:
        """The order, as the venue tells of it."""
        return wire.VenueOrder(
            self.client_order_id,
            self.status,
            self.signed_qty,
            self.due_ns,
            self.reason,
            self.limit_px,
        )

    def meets(self, tick: wire.Tick) -> bool:
        """Say whether it fills on a tick, its time having come."""
        if not self.limit_px:
            return True
        return tick.ask_px <= self.limit_px if self.signed_qty > 0 else tick.bid_px >= self.limit_px


class Account:
    """One account at the venue: one instrument, one position.

    Args:
        account_id: its name.
        terms: what it trades.
        epoch: of the node that trades it; older ones are fenced.
        holdings: what it holds; the capital and nothing else at first.
        orders: the open ones.

    Attributes:
        ledger: the same arithmetic as the strategy's own, so that both have the same bits.
        open: orders by client order id, in the order in which they came.
    """

    def __init__(
        self,
        account_id: str,
        terms: Terms,
        epoch: int,
        holdings: wire.Holdings,
        orders: tuple[Order, ...] = (),
    ) -> None:
        self.account_id = account_id
        self.terms = terms
        self.epoch = epoch
        self.open = {order.client_order_id: order for order in orders}
        self.ledger = Ledger(holdings.cash, terms.multiplier)
        self.ledger.restore(holdings, [order.signed_qty for order in orders])

    def place(self, order: Order) -> None:
        """Take an order, or reject it: its status says which."""
        if not order.signed_qty:
            order.status, order.reason = "rejected", "quantity 0"
            return
        self.open[order.client_order_id] = order
        self.ledger.order(order.signed_qty)

    def cancel(self, client_order_id: str) -> Order | None:
        """Take back an open order and return it; None if none of that id is open."""
        order = self.open.pop(client_order_id, None)
        if order is not None:
            order.status = "canceled"
            self.ledger.release(order.signed_qty)
        return order

    def tick(self, tick: wire.Tick) -> tuple[list[Order], list[wire.VenueFill]]:
        """Fill what is due and came before the tick; return the filled orders and their fills."""
        now = (tick.node_epoch, tick.seq)
        due = (o for o in self.open.values() if o.due_ns <= tick.ts_event_ns and o.placed < now)
        filled = [order for order in due if order.meets(tick)]
        fills = [fill for order in filled for fill in self._fill(order, tick)]
        return filled, fills

    def _fill(self, order: Order, tick: wire.Tick) -> list[wire.VenueFill]:
        buys = order.signed_qty > 0
        px, size, side = (
            (tick.ask_px, tick.ask_qty, 1.0) if buys else (tick.bid_px, tick.bid_qty, -1.0)
        )
        qty = abs(order.signed_qty)
        worse_px = round(px + side * self.terms.tick, self.terms.price_digits)
        if order.limit_px:
            worse_px = (min if buys else max)(worse_px, order.limit_px)
        parts = [(min(qty, size), px), (round(qty - min(qty, size), 12), worse_px)]
        del self.open[order.client_order_id]
        order.status = "filled"
        fills = []
        for part_qty, part_px in parts:
            if part_qty <= 0.0:
                continue
            signed = side * part_qty
            commission = self.terms.commission(part_qty, part_px)
            self.ledger.fill(signed, part_px, commission)
            fills.append(
                wire.VenueFill(
                    trade_id=f"{self.account_id}-{self.ledger.fills}",
                    client_order_id=order.client_order_id,
                    signed_qty=signed,
                    px=part_px,
                    commission=commission,
                    ts_event_ns=tick.ts_event_ns,
                )
            )
        return fills
