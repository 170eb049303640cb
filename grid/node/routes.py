"""How orders reach a venue, and when the market may go on: the one difference between venues.

A decision's order may fill on the first market event at or after the decision's time plus the
venue's latency, as in the env, wherever it is sent.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Literal, Protocol

from nautilus_trader.model import ClientOrderId

from grid import wire
from grid.latency import Latency
from grid.node.exec_client import PaperWiring
from grid.node.strategy import AgentStrategy

type Submit = Callable[[Any], None]
type Shown = wire.Bar | wire.Quote | wire.Depth  # what orders may fill on


class Route(Protocol):
    """From the strategy to a venue.

    Attributes:
        open_orders: orders that are neither filled nor closed.
        settled: whether nothing is due from the venue before the next market event.
        kept: what the venue has kept of earlier runs; None if nothing.
        waits: whether an event is shown only when the decision on it has ended, as in the env: what
            fills on a row is not known yet when an order on that row is checked.
    """

    waits: bool

    @property
    def open_orders(self) -> int: ...  # noqa: D102

    @property
    def settled(self) -> bool: ...  # noqa: D102

    @property
    def kept(self) -> wire.VenueReply | None: ...  # noqa: D102

    def start(self, strategy: AgentStrategy, submit: Submit) -> None:
        """Use `submit` to hand an order to the engine."""

    def send(self, order: Any, asked_ns: int) -> Literal["held", "submitted"]:
        """Send an order that was asked for at `asked_ns`, now or when its time has come."""

    def show(self, event: Shown) -> None:
        """A market event has come, and the strategy has seen it; of a trade, its quote."""

    def accepted(self, client_order_id: str) -> None:
        """The venue has the order."""

    def closed(self, client_order_id: str) -> None:
        """The order is filled, or over."""

    def cancel(self, client_order_id: str) -> tuple[bool, Any]:
        """Take an order back: whether it is open, and it itself if no venue knows of it yet."""

    def withdraw(self) -> list[Any]:
        """Take all orders back; return those that no venue knows of yet."""


class SandboxRoute:
    """Holds every order back for the venue's latency: the sandbox fills at once, at what was shown.

    Args:
        latency: when orders arrive.
        waits: as in `Route`; where an order may be canceled in part, for lack of depth.
    """

    kept = None

    def __init__(self, latency: Latency, *, waits: bool = False) -> None:
        self.waits = waits
        self._latency = latency
        self._held: deque[tuple[int, Any]] = deque()
        self._at_venue: set[str] = set()  # and something is due from there
        self._limits: set[str] = set()
        self._resting: set[str] = set()

    @property
    def open_orders(self) -> int:
        """Orders held back or at the venue."""
        return len(self._held) + len(self._at_venue) + len(self._resting)

    @property
    def settled(self) -> bool:
        """Whether no order is at the venue that does not rest there."""
        return not self._at_venue

    def start(self, strategy: AgentStrategy, submit: Submit) -> None:
        """Use `submit` to hand an order to the engine."""
        self._strategy = strategy
        self._submit = submit

    def send(self, order: Any, asked_ns: int) -> Literal["held", "submitted"]:
        """Hold the order back."""
        self._held.append((self._latency.due_ns(asked_ns), order))
        return "held"

    def show(self, event: Shown) -> None:
        """Submit the orders whose time has come."""
        while self._held and self._held[0][0] <= event.ts_event_ns:
            order = self._held.popleft()[1]
            self._at_venue.add(str(order.client_order_id))
            if _is_limit(order):
                self._limits.add(str(order.client_order_id))
            self._submit(order)

    def accepted(self, client_order_id: str) -> None:
        """It fills at once, unless there is a limit to its price."""
        if client_order_id in self._limits and client_order_id in self._at_venue:
            self._at_venue.discard(client_order_id)
            self._resting.add(client_order_id)

    def closed(self, client_order_id: str) -> None:
        """Wait for it no more."""
        for orders in (self._at_venue, self._limits, self._resting):
            orders.discard(client_order_id)

    def cancel(self, client_order_id: str) -> tuple[bool, Any]:
        """Drop it if it is held back, or ask the venue to."""
        for entry in self._held:
            if str(entry[1].client_order_id) == client_order_id:
                self._held.remove(entry)
                return True, entry[1]
        if client_order_id not in self._resting | self._at_venue:
            return False, None
        self._cancel(client_order_id)
        return True, None

    def _cancel(self, client_order_id: str) -> None:
        self._resting.discard(client_order_id)
        self._at_venue.add(client_order_id)
        self._limits.discard(client_order_id)
        self._strategy.cancel_order(ClientOrderId(client_order_id))

    def withdraw(self) -> list[Any]:
        """Drop what is held back, cancel what rests."""
        for order_id in list(self._resting):
            self._cancel(order_id)
        dropped = [order for _, order in self._held]
        self._held.clear()
        return dropped


class PaperRoute:
    """Sends every order at once, to a venue that outlives the node and keeps it until it is due.

    The venue is shown each market event while orders are open there, behind them on the same line:
    so they fill on what the strategy saw, whatever is fast or slow.

    Args:
        wiring: of the engine's client of that venue.
        latency: when orders arrive.
    """

    waits = True

    def __init__(self, wiring: PaperWiring, latency: Latency) -> None:
        self._wiring = wiring
        self._latency = latency
        self._early: list[tuple[Any, int]] = []  # before the first price the engine denies all
        self._quote: wire.Quote | None = None
        self._due_ns: dict[str, int] = {}  # at the venue, and not shown the event that fills it
        self._limits: set[str] = set()
        self._resting: set[str] = set()  # at the venue, shown events, and without its price so far
        self._awaited: set[str] = set()  # a reply about it is due
        self._unshown: deque[tuple[int, wire.Quote]] = deque()  # until the orders before are sent

    @property
    def kept(self) -> wire.VenueReply | None:
        """The venue's answer when the account was opened, if it holds anything."""
        opened = self._wiring.opened
        return opened if opened and (opened.holdings.fills or opened.orders) else None

    @property
    def open_orders(self) -> int:
        """Orders on the way or at the venue."""
        return len(self._early) + len(self._awaited | self._due_ns.keys() | self._resting)

    @property
    def settled(self) -> bool:
        """Whether the venue has taken every order, and told of every fill that is due."""
        client = self._wiring.client
        unsure = self._resting and (self._unshown or (client is not None and client.waiting))
        return not self._awaited and not unsure

    def start(self, strategy: AgentStrategy, submit: Submit) -> None:
        """Use `submit` to hand an order to the engine; go on with what the venue has kept."""
        self._strategy = strategy
        self._submit = submit
        self._wiring.on_sent = self._catch_up
        if self.kept is not None:
            self._due_ns = {order.client_order_id: order.due_ns for order in self.kept.orders}
            self._limits = {o.client_order_id for o in self.kept.orders if o.limit_px}

    def send(self, order: Any, asked_ns: int) -> Literal["held", "submitted"]:
        """Send the order on, once there is a price."""
        due_ns = self._latency.due_ns(asked_ns)
        if self._quote is None:
            self._early.append((order, due_ns))
            return "held"
        self._send(order, due_ns)
        return "submitted"

    def show(self, event: Shown) -> None:
        """Show it to the venue, if an order waits there."""
        if isinstance(event, wire.Quote):
            self._quote = event
        if self._quote is None:
            return
        for order, due_ns in self._early:
            self._send(order, due_ns)
        self._early.clear()
        if not (self._due_ns or self._resting) or self._wiring.client is None:
            return
        now_ns = event.ts_event_ns
        self._unshown.append((now_ns, self._quote))
        self._catch_up()
        for order_id in [o for o, due_ns in self._due_ns.items() if due_ns <= now_ns]:
            del self._due_ns[order_id]
            (self._resting if order_id in self._limits else self._awaited).add(order_id)

    def accepted(self, client_order_id: str) -> None:
        """It rests until it is due."""
        if client_order_id in self._due_ns or client_order_id in self._resting:
            self._awaited.discard(client_order_id)

    def closed(self, client_order_id: str) -> None:
        """Wait for it no more."""
        for orders in (self._awaited, self._limits, self._resting):
            orders.discard(client_order_id)
        self._due_ns.pop(client_order_id, None)
        if self._wiring.due_ns.pop(client_order_id, None) is not None:
            self._catch_up()  # the engine denied it, and nothing will be sent

    def cancel(self, client_order_id: str) -> tuple[bool, Any]:
        """Drop it if it was not sent, or ask the venue to."""
        for entry in self._early:
            if str(entry[0].client_order_id) == client_order_id:
                self._early.remove(entry)
                return True, entry[0]
        if client_order_id not in self._awaited | self._due_ns.keys() | self._resting:
            return False, None
        self._cancel(client_order_id)
        return True, None

    def _cancel(self, client_order_id: str) -> None:
        self._awaited.add(client_order_id)
        self._resting.discard(client_order_id)
        self._due_ns.pop(client_order_id, None)
        self._strategy.cancel_order(ClientOrderId(client_order_id))

    def withdraw(self) -> list[Any]:
        """Cancel what rests at the venue; drop what was not sent."""
        for order_id in (*self._due_ns, *self._resting):
            self._cancel(order_id)
        dropped = [order for order, _ in self._early]
        self._early.clear()
        return dropped

    def _catch_up(self) -> None:
        """Show what is behind no order any more that the engine has and the venue has not."""
        client, on_the_way = self._wiring.client, self._wiring.due_ns
        while self._unshown and client is not None:
            now_ns, quote = self._unshown[0]
            if any(due_ns <= now_ns for due_ns in on_the_way.values()):
                return
            self._unshown.popleft()
            client.show(now_ns, quote)

    def _send(self, order: Any, due_ns: int) -> None:
        order_id = str(order.client_order_id)
        if _is_limit(order):
            self._limits.add(order_id)
        self._due_ns[order_id] = self._wiring.due_ns[order_id] = due_ns
        self._awaited.add(order_id)
        self._submit(order)


def _is_limit(order: Any) -> bool:
    return getattr(order, "price", None) is not None  # the engine's market orders have none
