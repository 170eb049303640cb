"""The one strategy: in the env, in replay and live. It moves to the target that its link names.

The engine swallows whatever a callback raises, so every callback that can fail hands its error to
the link and asks the engine to stop.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Self

from nautilus_trader.model import (
    Bar,
    BarType,
    BookType,
    ClientOrderId,
    InstrumentId,
    OrderBookDeltas,
    OrderBookDepth,
    OrderSide,
    Price,
    Quantity,
    QuoteTick,
    StrategyId,
    TimeInForce,
)
from nautilus_trader.trading import Strategy, StrategyConfig

from grid.instrument import Instrument
from grid.node.intent import Intent
from grid.node.ledger import Ledger
from grid.spec import Spec

if TYPE_CHECKING:
    from grid.node.links import Link


_KEPT_QUANTITIES: Final = 1024


class Stopped(Exception):
    """Raised by a link to end the run from inside a callback."""


class AgentStrategy(Strategy):
    """Follows one instrument and holds one position.

    Args:
        spec: rows, action rule and capital.
        instrument: what is traded.
        link: who decides.
        strategy_id: as in `AGENT-001`; the part after the hyphen tags order ids, 001 without one.
        inherits: whether the orders and the position that a venue reports at the start are its own.

    Attributes:
        ledger: cash and position from fills.
        dispatch: sends an order off; a link may put its own in place, to hold orders back.
        last_order_id: client order id of the newest order; empty before the first.
        resting: client order id -> signed quantity that is open of an order with a limit. It may
            never fill, so that it counts as pending for the limits alone, and for no target.
    """

    def __new__(
        cls,
        spec: Spec,
        instrument: Instrument,
        link: "Link",
        strategy_id: str,
        inherits: bool = False,
    ) -> Self:
        """Hand the engine its own config; it only counts here."""
        name = strategy_id if "-" in strategy_id else f"{strategy_id}-001"
        config = StrategyConfig(
            strategy_id=StrategyId(name),
            order_id_tag=name.rpartition("-")[2],
            external_order_instrument_ids=(
                [InstrumentId.from_str(instrument.id)] if inherits else None
            ),
            log_events=False,
            log_commands=False,
        )
        return super().__new__(cls, config)  # type: ignore[call-arg]

    def __init__(
        self,
        spec: Spec,
        instrument: Instrument,
        link: "Link",
        strategy_id: str,
        inherits: bool = False,
    ) -> None:
        self.spec = spec
        self.instrument = instrument
        self.link = link
        self.intent = Intent(spec.target, instrument)
        self.ledger = Ledger(spec.capital, instrument.multiplier)
        self.dispatch: Callable[[Any], None] = self.submit_order
        self.last_order_id = ""
        self.resting: dict[str, float] = {}
        self._row: Callable[[Any], float | None] = link.row
        # what a book cannot fill at once would stay open for ever
        self._time_in_force = TimeInForce.IOC if spec.rows == "depth" else TimeInForce.GTC
        self._quantities: dict[float, Quantity] = {}  # an agent orders few sizes, many times
        # a trade comes as the quote that it makes; of a book the quotes only tell risk a price
        self._on_rows = spec.rows in ("quote", "trade") and link.wants_rows
        self._ticks = spec.rows != "depth" and link.wants_ticks
        self._instrument_id = InstrumentId.from_str(instrument.id)
        self._precisions = (instrument.price_precision, instrument.size_precision)

    # -- life ----------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Subscribe, and tell the link."""
        self.ledger.reset(self.spec.capital)
        if self.spec.rows == "bar" and self.link.wants_rows and not self.spec.bars_from:
            self.subscribe_bars(BarType.from_str(self.spec.bar_type))
        if self.spec.rows == "depth" and self.link.wants_rows:
            self.subscribe_book_deltas(self._instrument_id, BookType.L2_MBP)
            self.subscribe_book_depth(self._instrument_id, BookType.L2_MBP)
        if self._on_rows or self._ticks:
            self.subscribe_quotes(self._instrument_id)
        self.link.start(self)

    def on_stop(self) -> None:
        """Tell the link."""
        self.link.stop()

    def on_reset(self) -> None:
        """Begin order ids anew, so that equal runs have equal ids."""
        self.order_factory.reset()
        self.last_order_id = ""

    # -- market --------------------------------------------------------------------------------

    def on_bar(self, bar: Bar) -> None:
        """A bar has closed."""
        try:
            target = self._row(bar)
            if target is not None:
                self.move_to(target)
        except BaseException as e:
            self.fail(e)

    def on_quote(self, quote: QuoteTick) -> None:
        """A quote has come: a row, or only the market's state."""
        try:
            if not self._on_rows:
                self.link.tick(quote)
                return
            target = self._row(quote)
            if target is not None:
                self.move_to(target)
        except BaseException as e:
            self.fail(e)

    def on_book_depth(self, depth: OrderBookDepth) -> None:
        """A row of depth has come, in the env."""
        try:
            target = self._row(depth)
            if target is not None:
                self.move_to(target)
        except BaseException as e:
            self.fail(e)

    def on_book_deltas(self, deltas: OrderBookDeltas) -> None:
        """A row of depth has come, on a grid: it builds the book anew."""
        try:
            target = self._row(deltas)
            if target is not None:
                self.move_to(target)
        except BaseException as e:
            self.fail(e)

    def on_time_event(self, event: Any) -> None:
        """An alert that the link has set: a row's time has come."""
        try:
            target = self._row(event)
            if target is not None:
                self.move_to(target)
        except BaseException as e:
            self.fail(e)

    # -- orders --------------------------------------------------------------------------------

    def move_to(self, target: float, client_order_id: str | None = None) -> bool:
        """Order what is missing between position and target; say whether anything was."""
        ledger = self.ledger
        qty = self.intent.order_qty(target, ledger.position_qty, ledger.pending_qty)
        if qty == 0.0:
            return False
        side, size = (OrderSide.BUY, qty) if qty > 0 else (OrderSide.SELL, -qty)
        quantity = self._quantities.get(size)
        if quantity is None:
            if len(self._quantities) > _KEPT_QUANTITIES:
                self._quantities.clear()
            quantity = self._quantities[size] = Quantity(size, self._precisions[1])
        order = self.order_factory.market(
            self._instrument_id,
            side,
            quantity,
            time_in_force=self._time_in_force,
            client_order_id=ClientOrderId(client_order_id) if client_order_id else None,
        )
        ledger.order(qty)
        self._send(order)
        return True

    def place(self, client_order_id: str, signed_qty: float, limit_px: float) -> None:
        """Order a quantity, at a price or better; at 0, at the market."""
        side = OrderSide.BUY if signed_qty > 0 else OrderSide.SELL
        quantity = Quantity(abs(signed_qty), self._precisions[1])
        name = ClientOrderId(client_order_id)
        if limit_px:
            px = Price(limit_px, self._precisions[0])
            order: Any = self.order_factory.limit(
                self._instrument_id, side, quantity, px, client_order_id=name
            )
            self.resting[client_order_id] = signed_qty
        else:
            order = self.order_factory.market(
                self._instrument_id,
                side,
                quantity,
                time_in_force=self._time_in_force,
                client_order_id=name,
            )
            self.ledger.order(signed_qty)
        self._send(order)

    def _send(self, order: Any) -> None:
        self.last_order_id = str(order.client_order_id)
        self.dispatch(order)

    def forget(self, order: Any) -> None:
        """Count what is left of an order as pending no more."""
        if self.resting.pop(str(order.client_order_id), None) is not None:
            return
        left = round(float(order.leaves_qty), self._precisions[1])
        self.ledger.release(left if order.side == OrderSide.BUY else -left)

    def on_order_filled(self, event: Any) -> None:
        """Book a fill."""
        try:
            qty = round(float(event.last_qty), self._precisions[1])
            signed = qty if event.order_side == OrderSide.BUY else -qty
            px = round(float(event.last_px), self._precisions[0])
            commission = float(event.commission.as_double()) if event.commission else 0.0
            if self.resting:
                self._rest_no_more(str(event.client_order_id), signed)
            self.ledger.fill(signed, px, commission)
            self.link.filled(signed, px, commission, event)
        except BaseException as e:
            self.fail(e)

    def _rest_no_more(self, client_order_id: str, signed_qty: float) -> None:
        left = self.resting.pop(client_order_id, None)
        if left is None:
            return
        self.ledger.order(signed_qty)  # a fill is of what was pending
        if left := round(left - signed_qty, 12):
            self.resting[client_order_id] = left

    def on_order_accepted(self, event: Any) -> None:
        """Tell the link."""
        self.link.ordered(str(event.client_order_id), "accepted", event)

    def on_order_rejected(self, event: Any) -> None:
        """The venue refused: nothing is pending any more."""
        self._closed("rejected", event)

    def on_order_denied(self, event: Any) -> None:
        """The engine's own risk checks refused: nothing is pending any more."""
        self._closed("denied", event)

    def on_order_canceled(self, event: Any) -> None:
        """What was left of the order is gone."""
        self._closed("canceled", event)

    def on_order_expired(self, event: Any) -> None:
        """What was left of the order is gone."""
        self._closed("expired", event)

    def _closed(self, status: str, event: Any) -> None:
        try:
            order = self.cache.order(event.client_order_id)
            if order is not None:
                self.forget(order)
            self.link.ordered(str(event.client_order_id), status, event)
        except BaseException as e:
            self.fail(e)

    def fail(self, error: BaseException) -> None:
        """Hand an error to the link and end the run: the engine would swallow it."""
        if not isinstance(error, Stopped):
            self.link.failed(error)
        self.shutdown_system(f"{type(error).__name__}: {error}")
