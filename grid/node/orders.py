"""A strategy that carries out orders as they are named: market, limit, bracket, cancel.

Where `AgentStrategy` moves one position to a target, this one trades several instruments and keeps
its open orders in view. It is told what to do at the decision times that its link sets.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Self

from nautilus_trader.model import (
    ClientOrderId,
    InstrumentId,
    OrderSide,
    Price,
    Quantity,
    StrategyId,
    TimeInForce,
)
from nautilus_trader.trading import Strategy, StrategyConfig

from grid.instrument import Instrument
from grid.node.commands import Bracket, Cancel, CancelAll, Command, Limit, Market, OpenOrder
from grid.node.courier import Courier
from grid.node.ledger import Ledger
from grid.node.strategy import Stopped

if TYPE_CHECKING:
    from grid.node.links import Link

_TIF: Final = {name: getattr(TimeInForce, name) for name in ("GTC", "IOC", "FOK", "DAY")}


class OrderStrategy(Strategy):
    """Trades several instruments, one account.

    Args:
        instruments: what may be traded; all settle in one currency.
        capital: starting balance.
        link: sets the times and names the commands.
        strategy_id: as in `AGENT-001`.

    Attributes:
        ledgers: by instrument id; their cash is what trading it has brought, so equity is capital
            plus the equity of all.
        open: orders by client order id, oldest first.
        perform: carries out what the link answers.
        courier: takes orders to the venue; without one they go at once.
        books: instruments whose orders meet a whole book, which fills them at once or not at all.
    """

    def __new__(
        cls,
        instruments: Sequence[Instrument],
        capital: float,
        link: "Link | None",
        strategy_id: str,
    ) -> Self:
        """Hand the engine its own config; it only counts here."""
        config = StrategyConfig(
            strategy_id=StrategyId(strategy_id),
            order_id_tag=strategy_id.rpartition("-")[2],
            log_events=False,
            log_commands=False,
            manage_gtd_expiry=False,
        )
        return super().__new__(cls, config)  # type: ignore[call-arg]

    def __init__(
        self,
        instruments: Sequence[Instrument],
        capital: float,
        link: "Link | None",
        strategy_id: str,
    ) -> None:
        self.instruments = {i.id: i for i in instruments}
        self.capital = capital
        self.link = link
        self.ledgers = {i.id: Ledger(0.0, i.multiplier) for i in instruments}
        self.open: dict[str, OpenOrder] = {}
        self.perform: Callable[[Any], None] = self.execute
        self.courier: Courier | None = None
        self.books: frozenset[str] = frozenset()
        self.refused = 0
        self._ids = {i.id: InstrumentId.from_str(i.id) for i in instruments}

    def equity(self, prices: dict[str, float]) -> float:
        """Capital and the result of every instrument at `prices`, in account currency."""
        return self.capital + sum(
            ledger.equity(prices[name]) for name, ledger in self.ledgers.items()
        )

    def execute(self, commands: Sequence[Command]) -> None:
        """Carry out commands in order."""
        for command in commands:
            match command:
                case Market():
                    self._market(command)
                case Limit():
                    self._limit(command)
                case Bracket():
                    self._bracket(command)
                case Cancel():
                    if command.client_order_id in self.open:
                        self._cancel(command.client_order_id)
                case CancelAll():
                    for order in list(self.open.values()):
                        if order.instrument_id == command.instrument_id:
                            self._cancel(order.client_order_id)

    # -- life ----------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Begin with nothing held."""
        for ledger in self.ledgers.values():
            ledger.reset(0.0)
        self.open.clear()
        self.refused = 0
        if self.link is not None:
            self.link.start(self)  # type: ignore[arg-type]

    def on_reset(self) -> None:
        """Begin order ids anew, so that equal runs have equal ids."""
        self.order_factory.reset()

    def on_time_event(self, event: Any) -> None:
        """A decision's time has come."""
        try:
            answer = self.link.row(event) if self.link is not None else None
            if answer is not None:
                self.perform(answer)
        except BaseException as e:
            self.fail(e)

    # -- events --------------------------------------------------------------------------------

    def on_order_filled(self, event: Any) -> None:
        """Book a fill."""
        try:
            instrument = self.instruments[str(event.instrument_id)]
            qty = round(float(event.last_qty), instrument.size_precision)
            signed = qty if event.order_side == OrderSide.BUY else -qty
            px = round(float(event.last_px), instrument.price_precision)
            commission = float(event.commission.as_double()) if event.commission else 0.0
            ledger = self.ledgers[instrument.id]
            order = self.open.get(str(event.client_order_id))
            if order is None or order.exits:
                ledger.order(signed)  # legs of a bracket are not pending until they fill
            ledger.fill(signed, px, commission)
            if self.link is not None:
                self.link.filled(signed, px, commission, event)  # finds the order still open
            self._refresh(event)
        except BaseException as e:
            self.fail(e)

    def on_order_accepted(self, event: Any) -> None:
        """The order rests at the venue."""
        order = self.open.get(str(event.client_order_id))
        if order is not None:
            order.accepted = True

    def on_order_updated(self, event: Any) -> None:
        """One leg of a bracket shrinks as the other fills."""
        try:
            self._refresh(event)
        except BaseException as e:
            self.fail(e)

    def on_order_rejected(self, event: Any) -> None:
        """The venue refused."""
        self.refused += 1
        self._gone(event)

    def on_order_denied(self, event: Any) -> None:
        """The engine's own risk checks refused."""
        self.refused += 1
        self._gone(event)

    def on_order_canceled(self, event: Any) -> None:
        """What was left of the order is gone."""
        self._gone(event)

    def on_order_expired(self, event: Any) -> None:
        """What was left of the order is gone."""
        self._gone(event)

    # -- orders --------------------------------------------------------------------------------

    def _market(self, command: Market) -> None:
        order = self.order_factory.market(
            self._ids[command.instrument_id],
            _side(command.signed_qty),
            self._quantity(command),
            time_in_force=self._market_tif(command),
            reduce_only=command.reduce_only,
        )
        self._track(order, command, None)
        self._send([order], lambda: self.submit_order(order))

    def _market_tif(self, command: Market | Bracket) -> TimeInForce:
        # what a book cannot fill at once would stay open for ever
        return TimeInForce.IOC if command.instrument_id in self.books else TimeInForce.GTC

    def _limit(self, command: Limit) -> None:
        order = self.order_factory.limit(
            self._ids[command.instrument_id],
            _side(command.signed_qty),
            self._quantity(command),
            self._price(command.instrument_id, command.px),
            time_in_force=_TIF[command.tif],
            post_only=command.post_only,
        )
        self._track(order, command, command.px)
        self._send([order], lambda: self.submit_order(order))

    def _bracket(self, command: Bracket) -> None:
        name = command.instrument_id
        orders = self.order_factory.bracket(
            self._ids[name],
            _side(command.signed_qty),
            self._quantity(command),
            tp_price=self._price(name, command.take_profit_px),
            sl_trigger_price=self._price(name, command.stop_loss_px),
            time_in_force=self._market_tif(command),
            tp_post_only=False,
        )
        self._track(orders[0], command, None)
        for leg, px in zip(orders[1:], (command.stop_loss_px, command.take_profit_px), strict=True):
            self._track(leg, Market(name, -command.signed_qty), px, exits=True)
        self._send(orders, lambda: self.submit_order_list(orders))

    def _cancel(self, client_order_id: str) -> None:
        def cancel() -> None:
            order = self.open.get(client_order_id)
            if order is not None and order.sent:
                self.cancel_order(ClientOrderId(client_order_id))
            elif order is not None and not order.exits:  # legs go with their entry
                self._withdraw(order)

        if self.courier is None:
            cancel()
        else:
            self.courier.carry_cancel(cancel)

    def _withdraw(self, order: OpenOrder) -> None:
        """Take back an order that no event of its market has met, and the legs of its bracket."""
        del self.open[order.client_order_id]
        self.ledgers[order.instrument_id].release(order.left_qty)
        for leg in [*self.open.values()]:
            same = (leg.ts_ns, leg.instrument_id) == (order.ts_ns, order.instrument_id)
            if leg.exits and same:
                del self.open[leg.client_order_id]

    def _send(self, orders: Sequence[Any], submit: Callable[[], None]) -> None:
        names = [str(order.client_order_id) for order in orders]

        def hand_over() -> None:
            if names[0] not in self.open:
                return  # withdrawn
            for name in names:
                self.open[name].sent = True
            submit()

        if self.courier is None:
            hand_over()
        else:
            self.courier.carry(str(orders[0].instrument_id), hand_over)

    def _track(
        self, order: Any, command: Market | Limit | Bracket, px: float | None, exits: bool = False
    ) -> None:
        order_id = str(order.client_order_id)
        now_ns = self.clock.timestamp_ns()
        self.open[order_id] = OpenOrder(
            order_id, command.instrument_id, command.signed_qty, px, now_ns, exits
        )
        if not exits:
            self.ledgers[command.instrument_id].order(command.signed_qty)

    def _gone(self, event: Any) -> None:
        order = self.open.pop(str(event.client_order_id), None)
        if order is not None and not order.exits:
            self.ledgers[order.instrument_id].release(order.left_qty)

    def _refresh(self, event: Any) -> None:
        order = self.open.get(str(event.client_order_id))
        known = self.cache.order(event.client_order_id)
        if order is None or known is None:
            return
        precision = self.instruments[order.instrument_id].size_precision
        left = round(float(known.leaves_qty), precision)
        order.left_qty = left if order.left_qty > 0 else -left
        if known.is_closed or left == 0.0:
            del self.open[order.client_order_id]

    def _quantity(self, command: Market | Limit | Bracket) -> Quantity:
        precision = self.instruments[command.instrument_id].size_precision
        return Quantity(abs(command.signed_qty), precision)

    def _price(self, instrument_id: str, px: float) -> Price:
        return Price(px, self.instruments[instrument_id].price_precision)

    def fail(self, error: BaseException) -> None:
        """Hand an error to the link and end the run: the engine would swallow it."""
        if not isinstance(error, Stopped) and self.link is not None:
            self.link.failed(error)
        self.shutdown_system(f"{type(error).__name__}: {error}")


def _side(signed_qty: float) -> OrderSide:
    return OrderSide.BUY if signed_qty > 0 else OrderSide.SELL
