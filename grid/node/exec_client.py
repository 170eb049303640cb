"""The live node's orders at the paper venue, as an engine execution client.

The venue outlives the node. So a node that starts opens its account there, learns what it holds and
which orders are open, and reports both to the engine before the strategy starts.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import zmq
from nautilus_trader.live.clients import ExecutionClient, ExecutionClientFactory
from nautilus_trader.model import (
    AccountBalance,
    AccountId,
    AccountType,
    ClientOrderId,
    Currency,
    InstrumentId,
    LiquiditySide,
    Money,
    OmsType,
    OrderSide,
    OrderStatus,
    OrderStatusReport,
    OrderType,
    PositionSide,
    PositionStatusReport,
    Price,
    Quantity,
    TimeInForce,
    TradeId,
    VenueOrderId,
)
from nautilus_trader.model import Venue as EngineVenue

from grid import wire
from grid.errors import BusError
from grid.instrument import Instrument
from grid.paper.line import Line
from grid.venue import Venue

log = logging.getLogger(__name__)

OPEN_TIMEOUT_S: Final = 20.0  # a venue that was killed is back by then
_WATCH_S: Final = 0.25
_MOST_WAITING: Final = 1_000  # messages without a reply: a venue that is away takes no more orders


@dataclass
class PaperWiring:
    """What the engine's factory cannot hand over.

    Attributes:
        context: of `grid.bus.new_context`.
        address: of the venue.
        account_id: at the venue.
        epoch: of this node.
        instrument: what is traded.
        venue: its costs.
        capital: of a new account.
        due_ns: client order id -> when it may fill; from before an order is submitted until it is
            sent.
        on_sent: called when an order has been sent.
        on_heard: called when the venue has replied to all that was sent.
        on_failed: called with the error when the account cannot be opened.
        opened: the venue's first reply: holdings and open orders.
        client: the client, once the engine has built it.
    """

    context: zmq.Context[zmq.Socket[bytes]]
    address: str
    account_id: str
    epoch: int
    instrument: Instrument
    venue: Venue
    capital: float
    on_failed: Callable[[BaseException], None]
    due_ns: dict[str, int] = field(default_factory=dict)
    on_sent: Callable[[], None] = lambda: None
    on_heard: Callable[[], None] = lambda: None
    opened: wire.VenueReply | None = None
    client: "PaperClient | None" = None


class PaperClient(ExecutionClient):
    """Carries orders to the venue and its reports to the engine.

    Attributes:
        repeated: messages to the venue that were sent again.
    """

    def __init__(self, wiring: PaperWiring, **engine: Any) -> None:
        instrument = wiring.instrument
        self._currency = Currency.from_str(instrument.currency)
        super().__init__(
            venue=EngineVenue(instrument.venue),
            account_id=AccountId(f"{instrument.venue}-PAPER"),
            account_type=AccountType.MARGIN,
            oms_type=OmsType.NETTING,
            base_currency=self._currency,
            **engine,
        )
        self._wiring = wiring
        wiring.client = self
        self._instrument_id = InstrumentId.from_str(instrument.id)
        self._line: Line | None = None
        self._fd = -1
        self.repeated = 0

    @property
    def waiting(self) -> int:
        """Messages to the venue that have no reply yet."""
        return self._line.waiting if self._line is not None else 0

    def show(self, ts_event_ns: int, quote: wire.Quote) -> None:
        """Show the venue the market as it is at `ts_event_ns`; it fills what is due."""
        self._send(
            wire.Tick,
            ts_event_ns=ts_event_ns,
            bid_px=quote.bid_px,
            ask_px=quote.ask_px,
            bid_qty=quote.bid_qty,
            ask_qty=quote.ask_qty,
        )

    # -- life ----------------------------------------------------------------------------------

    async def _connect(self) -> None:
        wiring, instrument = self._wiring, self._wiring.instrument
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[wire.VenueReply] = self._loop.create_future()
        self._line = Line(wiring.context, wiring.address, wiring.account_id, wiring.epoch)
        self._listen()
        self.create_task(self._watch(), "venue-watch")
        self._send(
            wire.OpenAccount,
            instrument_id=instrument.id,
            currency=instrument.currency,
            currency_digits=self._currency.precision,
            price_digits=instrument.price_precision,
            tick=instrument.tick,
            multiplier=instrument.multiplier,
            taker_fee_bps=wiring.venue.taker_fee_bps,
            capital=wiring.capital,
        )
        try:
            opened = await asyncio.wait_for(self._opened, OPEN_TIMEOUT_S)
        except TimeoutError:
            raise self._failed(f"no answer within {OPEN_TIMEOUT_S:g} s; is it running?") from None
        if opened.refused:
            raise self._failed(opened.refused)
        wiring.opened = opened
        self._tell_account(opened.holdings)

    async def _disconnect(self) -> None:
        if self._line is not None:
            self._loop.remove_reader(self._fd)
            self._line.close()
            self._line = None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_S)
            if self._line is not None and self._line.silent():
                self._loop.remove_reader(self._fd)
                self._line.renew()
                self.repeated = self._line.repeated
                self._listen()
                self._drain()

    def _listen(self) -> None:
        assert self._line is not None  # connected
        self._fd = int(self._line.socket.get(zmq.FD))
        self._loop.add_reader(self._fd, self._drain)

    def _failed(self, why: str) -> BusError:
        error = BusError(f"paper venue at {self._wiring.address}: {why}")
        self._wiring.on_failed(error)
        return error

    # -- orders --------------------------------------------------------------------------------

    async def _submit_order(self, command: Any) -> None:
        order: Any = self.cache.order(command.client_order_id)
        self.generate_order_submitted(order)
        if self._line is None or self._line.waiting >= _MOST_WAITING:
            self._reject(order, "the paper venue does not answer")
        elif order.order_type not in (OrderType.MARKET, OrderType.LIMIT):
            self._reject(order, "the paper venue takes market and limit orders only")
        else:
            order_id = str(order.client_order_id)
            self._send(
                wire.PlaceOrder,
                client_order_id=order_id,
                signed_qty=self._signed(order),
                due_ns=self._wiring.due_ns.pop(order_id, 0),
                limit_px=self._limit_px(order),
            )
            self._wiring.on_sent()

    async def _cancel_order(self, command: Any) -> None:
        self._send(wire.CancelOrder, client_order_id=str(command.client_order_id))

    async def _cancel_all_orders(self, command: Any) -> None:
        for order in self.cache.orders_open(instrument_id=command.instrument_id):
            self._send(wire.CancelOrder, client_order_id=str(order.client_order_id))

    def _signed(self, order: Any) -> float:
        qty = round(float(order.quantity), self._wiring.instrument.size_precision)
        return qty if order.side == OrderSide.BUY else -qty

    def _limit_px(self, order: Any) -> float:
        if order.order_type != OrderType.LIMIT:
            return 0.0
        return round(float(order.price), self._wiring.instrument.price_precision)

    def _reject(self, order: Any, reason: str) -> None:
        self.generate_order_rejected(order, reason, self.clock.timestamp_ns(), False)

    # -- replies -------------------------------------------------------------------------------

    def _send(self, kind: type[wire.VenueRequest], **fields: Any) -> None:
        if self._line is not None:
            self._line.send(kind, **fields)
            # sending may take in what has arrived, and then the descriptor stays silent
            self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        while self._line is not None and (found := self._line.recv()) is not None:
            asked, reply = found
            if isinstance(asked, wire.OpenAccount):
                if not self._opened.done():
                    self._opened.set_result(reply)
            elif reply.refused:
                self._failed(reply.refused)
            else:
                self._take(asked, reply)
                if not self.waiting:
                    self._wiring.on_heard()

    def _take(self, asked: wire.VenueRequest, reply: wire.VenueReply) -> None:
        now_ns = self.clock.timestamp_ns()
        if isinstance(asked, wire.PlaceOrder | wire.CancelOrder):
            order = self.cache.order(ClientOrderId(asked.client_order_id))
            venue_id = _venue_id(asked.client_order_id)
            (report,) = reply.orders or (None,)
            match report.status if report else "unknown":
                case "rejected":
                    self._reject(order, report.reason if report else "")
                case "canceled":
                    self.generate_order_canceled(order, venue_id, now_ns)
                case _ if isinstance(asked, wire.PlaceOrder):
                    self.generate_order_accepted(order, venue_id, now_ns)
                case status:
                    self.generate_order_cancel_rejected(order, venue_id, status, now_ns)
        elif isinstance(asked, wire.Tick):
            for fill in reply.fills:
                self._fill(fill, now_ns)
            if reply.fills:
                self._tell_account(reply.holdings)

    def _fill(self, fill: wire.VenueFill, now_ns: int) -> None:
        instrument = self._wiring.instrument
        self.generate_order_filled(
            self.cache.order(ClientOrderId(fill.client_order_id)),
            _venue_id(fill.client_order_id),
            None,
            TradeId(fill.trade_id),
            Quantity(abs(fill.signed_qty), instrument.size_precision),
            Price(fill.px, instrument.price_precision),
            self._currency,
            Money(fill.commission, self._currency),
            LiquiditySide.TAKER,
            now_ns,
        )

    def _tell_account(self, held: wire.Holdings) -> None:
        instrument, venue = self._wiring.instrument, self._wiring.venue
        invested = held.position_qty * held.avg_px * instrument.multiplier
        total = Money(held.cash + invested, self._currency)
        margin = abs(invested) * instrument.margin_maint / venue.leverage
        locked = Money(margin, self._currency)
        balance = AccountBalance(total, locked, total - locked)
        self.generate_account_state([balance], [], True, self.clock.timestamp_ns())

    # -- reports -------------------------------------------------------------------------------

    async def _query_account(self, command: Any) -> None:
        """The account is told after every fill."""

    async def _query_order(self, command: Any) -> None:
        """Every message is sent until it has its reply."""

    async def _generate_order_status_report(self, command: Any) -> None:
        return None

    async def _generate_fill_reports(self, command: Any) -> list[Any]:
        return []  # of earlier runs; what they came to is in the position

    async def _generate_order_status_reports(self, command: Any) -> list[OrderStatusReport]:
        orders = self._wiring.opened.orders if self._wiring.opened else ()
        now_ns, digits = self.clock.timestamp_ns(), self._wiring.instrument.size_precision
        return [
            OrderStatusReport(
                self.account_id,
                self._instrument_id,
                _venue_id(order.client_order_id),
                OrderSide.BUY if order.signed_qty > 0 else OrderSide.SELL,
                OrderType.LIMIT if order.limit_px else OrderType.MARKET,
                TimeInForce.GTC,
                OrderStatus.ACCEPTED,
                Quantity(abs(order.signed_qty), digits),
                Quantity(0, digits),
                now_ns,
                now_ns,
                now_ns,
                client_order_id=ClientOrderId(order.client_order_id),
                price=(
                    Price(order.limit_px, self._wiring.instrument.price_precision)
                    if order.limit_px
                    else None
                ),
            )
            for order in orders
        ]

    async def _generate_position_status_reports(self, command: Any) -> list[PositionStatusReport]:
        held = self._wiring.opened.holdings if self._wiring.opened else None
        if held is None or not held.position_qty:
            return []
        now_ns = self.clock.timestamp_ns()
        return [
            PositionStatusReport(
                self.account_id,
                self._instrument_id,
                PositionSide.LONG if held.position_qty > 0 else PositionSide.SHORT,
                Quantity(abs(held.position_qty), self._wiring.instrument.size_precision),
                now_ns,
                now_ns,
                avg_px_open=Decimal(repr(held.avg_px)),
            )
        ]


def paper_factory(wiring: PaperWiring) -> type[ExecutionClientFactory]:
    """Return a factory, as the engine wants one, whose client is wired with `wiring`."""

    class Factory(ExecutionClientFactory):
        """Builds the paper venue's client."""

        @staticmethod
        def create(
            *, name: str, config: Any, cache: Any, clock: Any, trader_id: Any
        ) -> PaperClient:
            """Build the client."""
            return PaperClient(
                wiring, name=name, config=config, cache=cache, clock=clock, trader_id=trader_id
            )

    return Factory


def _venue_id(client_order_id: str) -> VenueOrderId:
    return VenueOrderId(f"V-{client_order_id}")
