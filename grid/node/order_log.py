"""What is told of the strategy's orders, each with the decision that it is from."""

from collections.abc import Callable
from typing import Any, Final

from grid import wire
from grid.node.convert import SIDES
from grid.node.gate import Gate
from grid.node.market import Market

_KEPT: Final = 4096  # order ids whose decision is still known


class OrderLog:
    """Publishes states and fills of orders.

    Args:
        gate: knows strategy, epoch and the decision that is under way.
        market: knows the time.
        tell: publishes on the strategy's exec topic.
    """

    def __init__(self, gate: Gate, market: Market, tell: Callable[[wire.Event], None]) -> None:
        self._gate = gate
        self._market = market
        self._tell = tell
        self._decision_of: dict[str, int] = {}

    def given(self, client_order_id: str) -> None:
        """Take note that an order is from the newest decision."""
        self._decision_of[client_order_id] = self._gate.decision_seq
        if len(self._decision_of) > _KEPT:
            del self._decision_of[next(iter(self._decision_of))]

    def now(self, order: Any, status: str, reason: str = "") -> None:
        """Tell of a state that an order has at the last market event."""
        self.update(str(order.client_order_id), status, self._market.now_ns, reason, order)

    def update(
        self, client_order_id: str, status: str, ts_event_ns: int, reason: str, order: Any
    ) -> None:
        """Tell of a state; `order` is None where the engine does not know it."""
        self._tell(
            wire.OrderUpdate(
                strategy_id=self._gate.strategy_id,
                epoch=self._gate.epoch,
                decision_seq=self._decision_of.get(client_order_id, 0),
                client_order_id=client_order_id,
                status=status,
                side=SIDES[order.side] if order else "",
                qty=float(order.quantity) if order else 0.0,
                ts_event_ns=ts_event_ns,
                reason=reason,
            )
        )

    def fill(
        self, signed_qty: float, px: float, commission: float, event: Any, position_qty: float
    ) -> None:
        """Tell of a fill, after which the strategy holds `position_qty`."""
        client_order_id = str(event.client_order_id)
        self._tell(
            wire.Fill(
                strategy_id=self._gate.strategy_id,
                epoch=self._gate.epoch,
                decision_seq=self._decision_of.get(client_order_id, 0),
                client_order_id=client_order_id,
                trade_id=str(event.trade_id),
                side=SIDES[event.order_side],
                qty=abs(signed_qty),
                px=px,
                commission=commission,
                currency=str(event.currency),
                position_qty=position_qty,
                ts_event_ns=event.ts_event,
                ts_market_ns=self._market.now_ns,
            )
        )
