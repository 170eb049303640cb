"""Orders and fills of one grid, and what people ordered. Pure."""

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Final

from grid import wire
from grid.gateway import rows

MANUAL: Final = "manual-"
_ORDERS: Final = 10_000
_FILLS: Final = 10_000
_OVER: Final = ("filled", "rejected", "denied", "canceled", "expired")
_DUST: Final = 1e-9


class Blotter:
    """The newest of them.

    Args:
        numbers: of the rows, in the order in which they came.

    Attributes:
        orders: by client order id, oldest first.
        manual: client order id -> what a person asked for, and whether it was done.
        fills: oldest first.
    """

    def __init__(self, numbers: Iterator[int]) -> None:
        self.orders: OrderedDict[str, rows.Order] = OrderedDict()
        self.manual: OrderedDict[str, wire.Manual] = OrderedDict()
        self.fills: deque[rows.Fill] = deque(maxlen=_FILLS)
        self._n = numbers

    def update(self, event: wire.OrderUpdate) -> None:
        """Take what became of an order."""
        order = self._order(event.client_order_id, event.strategy_id)
        order.decision_seq = order.decision_seq or event.decision_seq
        order.side = event.side or order.side
        order.qty = event.qty or order.qty
        order.ts_event_ns = event.ts_event_ns
        if order.open:  # a twin that the venue refuses does not change what became of the first
            order.status = event.status  # type: ignore[assignment]
            order.open = event.status not in _OVER
            order.reason = event.reason or None

    def fill(self, event: wire.Fill) -> None:
        """Take a fill of more than nothing."""
        name = event.strategy_id
        order = self._order(event.client_order_id, name)
        order.side, before = event.side, order.filled_qty
        order.filled_qty = round(before + event.qty, 12)
        order.avg_px = ((order.avg_px or 0.0) * before + event.px * event.qty) / order.filled_qty
        order.qty = max(order.qty, order.filled_qty)
        if order.filled_qty >= order.qty - _DUST:
            order.status, order.open = "filled", False
        order.ts_event_ns = event.ts_event_ns
        self.fills.append(
            rows.Fill(
                n=next(self._n),
                strategy_id=name,
                client_order_id=event.client_order_id,
                trade_id=event.trade_id,
                side=event.side,
                qty=event.qty,
                px=event.px,
                commission=event.commission,
                currency=event.currency,
                position_qty=event.position_qty,
                ts_event_ns=event.ts_event_ns,
                ts_market_ns=event.ts_market_ns,
                manual=event.client_order_id.startswith(MANUAL),
            )
        )

    def ask(self, event: wire.Manual) -> None:
        """Take an order that a person asked for."""
        name = event.client_order_id
        if not (name in self.manual and self.manual[name].done):
            self.manual[name] = event
        while len(self.manual) > _ORDERS:
            self.manual.popitem(last=False)
        if event.done:
            order = self._order(name, event.strategy_id)
            order.manual, order.by = True, event.by
            order.side, order.qty = event.side, event.qty
            order.ts_event_ns = event.ts_event_ns
            if event.limit_px:
                order.type, order.limit_px = "limit", event.limit_px

    def restore(self, event: wire.Restored) -> None:
        """Take the orders that a node found open at the venue when it began."""
        for kept in event.orders:
            order = self._order(kept.client_order_id, event.strategy_id)
            order.side = "BUY" if kept.signed_qty > 0 else "SELL"
            order.qty, order.status, order.open = abs(kept.signed_qty), "accepted", True
            order.reason = None
            if kept.limit_px:
                order.type, order.limit_px = "limit", kept.limit_px

    def node_ended(self, strategy_id: str) -> None:
        """Cancel what a node had open: the one that goes on with it tells of it anew."""
        for order in self.orders.values():
            if order.strategy_id == strategy_id and order.open:
                order.open, order.status = False, "canceled"
                order.reason = "its node has ended"

    def open_orders(self, strategy_id: str) -> int:
        """Return how many orders of a strategy are open."""
        return sum(o.open for o in self.orders.values() if o.strategy_id == strategy_id)

    def _order(self, name: str, strategy_id: str) -> rows.Order:
        order = self.orders.get(name)
        if order is None:
            manual = name.startswith(MANUAL)
            order = rows.Order(next(self._n), name, strategy_id, 0, "", 0.0, manual=manual)
            self.orders[name] = order
            while len(self.orders) > _ORDERS:
                self.orders.popitem(last=False)
        return order
