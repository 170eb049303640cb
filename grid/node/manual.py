"""A person's orders: each is judged once, and goes the way of every other order.

All this lives in the node, beside the guard. Everything here runs on the node's event loop.
"""

import logging
import math
from collections import Counter, OrderedDict
from typing import Final, Protocol

from grid import wire
from grid.instrument import Instrument
from grid.node.guard import Guard

log = logging.getLogger(__name__)

PREFIX: Final = "manual-"  # of their client order ids; no agent's id makes one that begins so
_REMEMBERED: Final = 4096  # orders whose answer is kept for those who ask again


class Desk(Protocol):
    """What manual orders need of the strategy's link."""

    @property
    def market_ns(self) -> int:
        """ts_event of the last market event."""

    @property
    def mark_px(self) -> float:
        """Price that the position is valued at; 0 before the first."""

    @property
    def closed(self) -> str:
        """Why nothing can be ordered now; empty if it can."""

    def publish(self, event: wire.Event) -> None:
        """Publish an event on the strategy's exec topic."""

    def place(self, client_order_id: str, signed_qty: float, limit_px: float) -> None:
        """Order it."""

    def take_back(self, client_order_id: str) -> bool:
        """Cancel what is open of an order; say whether anything is."""


class ManualOrders:
    """Takes orders of people, within the guard's limits, and each of them once.

    Args:
        strategy_id: whose position they change.
        epoch: of the node.
        instrument: what is traded.
        guard: holds them to the limits, and writes the audit log.
        refusal: why this node takes none; empty if it does.

    Attributes:
        counts: `manual_orders`, `manual_cancels`, `manual_refused`.
    """

    def __init__(
        self, strategy_id: str, epoch: int, instrument: Instrument, guard: Guard, refusal: str = ""
    ) -> None:
        self.counts: Counter[str] = Counter(manual_orders=0, manual_cancels=0, manual_refused=0)
        self._strategy_id = strategy_id
        self._epoch = epoch
        self._instrument = instrument
        self._guard = guard
        self._refusal = refusal
        self._known: OrderedDict[str, tuple[wire.ManualOrder | None, wire.ManualReply]] = (
            OrderedDict()
        )

    def start(self, desk: Desk, kept: tuple[wire.VenueOrder, ...] = ()) -> None:
        """Order through this desk from now on; `kept` are open from before this node."""
        self._desk = desk
        for order in kept:
            if order.client_order_id.startswith(PREFIX):
                self._remember(None, wire.ManualReply(order.client_order_id, "accepted"))

    def order(self, request: wire.ManualOrder) -> wire.ManualReply:
        """Order what a person asks for, unless it was answered before, and say what came of it."""
        name = request.client_order_id
        if name in self._known:
            return self._again(request, *self._known[name])
        signed = request.qty if request.side == "BUY" else -request.qty
        said = self._refusal or self._fault(request) or self._desk.closed
        if said:
            self._guard.refused(request.by, said, f"manual order {name}")
        else:
            said = self._guard.refusal(request.by, signed, self._desk.mark_px)
        self.counts["manual_refused" if said else "manual_orders"] += 1
        reply = wire.ManualReply(name, "refused" if said else "accepted", said)
        self._remember(request, reply)
        self._tell(request, said)
        if not said:
            log.warning("%s orders %s %s as %s", request.by, request.side, request.qty, name)
            self._desk.place(name, signed, request.limit_px)
        return reply

    def cancel(self, request: wire.CancelManual) -> wire.ManualReply:
        """Take back what is open of a manual order, and say whether anything was."""
        name, said = request.client_order_id, self._refusal
        if not said and not (name.startswith(PREFIX) and self._desk.take_back(name)):
            said = f"no manual order {name!r} is open"
        self.counts["manual_refused" if said else "manual_cancels"] += 1
        self._tell(request, said)
        return wire.ManualReply(name, "refused" if said else "accepted", said)

    def _again(
        self, request: wire.ManualOrder, first: wire.ManualOrder | None, reply: wire.ManualReply
    ) -> wire.ManualReply:
        if first is not None and _wanted(first) != _wanted(request):
            said = "this client order id was used for another order"
            return wire.ManualReply(request.client_order_id, "refused", said)
        if reply.status == "refused":
            return reply
        return wire.ManualReply(request.client_order_id, "duplicate", "ordered before")

    def _fault(self, order: wire.ManualOrder) -> str:
        instrument, qty, px = self._instrument, order.qty, order.limit_px
        if not order.client_order_id.startswith(PREFIX):
            return f"client order id: expected {PREFIX}..., found {order.client_order_id!r}"
        if not (math.isfinite(qty) and qty > 0.0 and instrument.whole_lots(qty) == qty):
            return f"qty: expected whole lots of {instrument.lot:.10g}, found {qty:.10g}"
        if not (math.isfinite(px) and px >= 0.0 and _whole(px / instrument.tick)):
            return f"limit_px: expected whole ticks of {instrument.tick:.10g}, found {px:.10g}"
        return ""

    def _remember(self, request: wire.ManualOrder | None, reply: wire.ManualReply) -> None:
        self._known[reply.client_order_id] = request, reply
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _tell(self, request: wire.ManualOrder | wire.CancelManual, refusal: str) -> None:
        ordered = isinstance(request, wire.ManualOrder)
        reason = refusal or request.reason
        self._guard.audit.write(
            "order" if ordered else "cancel",
            request.by,
            reason,
            done=not refusal,
            subject=request.client_order_id,
        )
        self._desk.publish(
            wire.Manual(
                strategy_id=self._strategy_id,
                epoch=self._epoch,
                act="order" if ordered else "cancel",
                by=request.by,
                client_order_id=request.client_order_id,
                done=not refusal,
                reason=reason,
                side=request.side if isinstance(request, wire.ManualOrder) else "",
                qty=request.qty if isinstance(request, wire.ManualOrder) else 0.0,
                limit_px=request.limit_px if isinstance(request, wire.ManualOrder) else 0.0,
                ts_event_ns=self._desk.market_ns,
            )
        )


def _wanted(order: wire.ManualOrder) -> tuple[str, float, float]:
    return order.side, order.qty, order.limit_px


def _whole(ticks: float) -> bool:
    return abs(ticks - round(ticks)) < 1e-6
