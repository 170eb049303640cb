"""The live node's market data: a feed process over ZeroMQ, as an engine data client.

The feed sends only as much as it has credit for, so nothing queues up in the engine, whose own
queues have no bound. When the feed is silent with credit in hand, it may have been restarted: the
client subscribes anew and says what it has already.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import zmq
from nautilus_trader.live.clients import DataClientFactory, MarketDataClient
from nautilus_trader.model import BarType, InstrumentId
from nautilus_trader.model import Venue as EngineVenue

from grid import wire
from grid.bus import new_socket
from grid.context import connect
from grid.errors import ProtocolError
from grid.instrument import Instrument
from grid.node.books import best_of, depth_packet
from grid.node.convert import engine_bar, engine_quote, quote_of
from grid.node.instruments import to_engine
from grid.venue import Venue

log = logging.getLogger(__name__)

SILENCE_S: Final = 2.0


@dataclass
class Wiring:
    """What the engine's factory cannot hand over.

    Attributes:
        context: of `grid.bus.new_context`.
        address: where the feed is.
        epoch: of this node.
        warmup: rows of history wanted.
        instrument: what is traded.
        venue: for the quotes that are made from trades.
        bar_type: the engine's name of the bars; empty for other rows.
        on_history: takes each row of history.
        on_trade: takes each trade, just before the engine gets the quote that it makes.
        on_end: called once when the feed has no more.
        client: the client, once the engine has built it.
    """

    context: zmq.Context[zmq.Socket[bytes]]
    address: str
    epoch: int
    warmup: int
    instrument: Instrument
    venue: Venue
    bar_type: str
    on_history: Callable[[wire.Row], None]
    on_trade: Callable[[wire.Trade], None]
    on_end: Callable[[], None]
    client: "FeedDataClient | None" = None


class FeedDataClient(MarketDataClient):
    """Hands the feed's events to the engine, in order.

    Attributes:
        received: market events of the run so far, history apart.
        bad: frames that were not of this protocol.
        stale: messages that answered an earlier subscribe.
        resubscribed: how often a silent feed was asked anew.
    """

    def __init__(self, wiring: Wiring, **engine: Any) -> None:
        super().__init__(venue=EngineVenue(wiring.instrument.venue), **engine)
        self._wiring = wiring
        wiring.client = self
        self._precisions = (wiring.instrument.price_precision, wiring.instrument.size_precision)
        self._instrument_id = InstrumentId.from_str(wiring.instrument.id)
        self._bar_type = BarType.from_str(wiring.bar_type) if wiring.bar_type else None
        self.received = 0
        self.bad = 0
        self.stale = 0
        self.resubscribed = 0
        self._last_ns = 0
        self._same = 0  # events of that very ns
        self._base = 0  # `received` at the last subscribe
        self._granted = 0
        self._feed_seq = 0  # of the last message since the last subscribe
        self._ended = False
        self._socket: zmq.Socket[bytes] | None = None
        self._heard_s = 0.0

    async def _connect(self) -> None:
        self._handle_instrument(to_engine(self._wiring.instrument))
        self._socket = new_socket(self._wiring.context, zmq.DEALER)
        connect(self._socket, self._wiring.address)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(int(self._socket.get(zmq.FD)), self._drain)
        self._subscribe_feed()
        self.create_task(self._watch(), "feed-watch")

    async def _disconnect(self) -> None:
        if self._socket:
            self._loop.remove_reader(int(self._socket.get(zmq.FD)))
            self._socket.close()
            self._socket = None

    async def _subscribe_bars(self, command: Any) -> None:
        """Bars come whether asked for or not."""

    async def _subscribe_quotes(self, command: Any) -> None:
        """Quotes come whether asked for or not."""

    async def _subscribe_book_deltas(self, command: Any) -> None:
        """Books come whether asked for or not."""

    async def _subscribe_book_depth(self, command: Any) -> None:
        """Rows come as deltas, which the sandbox takes."""

    async def _unsubscribe_book_depth(self, command: Any) -> None:
        """Nothing was subscribed."""

    async def _unsubscribe_book_deltas(self, command: Any) -> None:
        """Nothing was subscribed."""

    async def _unsubscribe_bars(self, command: Any) -> None:
        """Nothing was subscribed."""

    async def _unsubscribe_quotes(self, command: Any) -> None:
        """Nothing was subscribed."""

    def grant(self, upto: int) -> None:
        """Let the feed send until `received` is `upto`."""
        if upto > self._granted:
            self._granted = upto
            self._send(wire.Credit(self._wiring.epoch, upto - self._base))

    def _subscribe_feed(self) -> None:
        self._base = self.received
        self._feed_seq = 0
        warmup = 0 if self._last_ns else self._wiring.warmup
        self._send(wire.Subscribe(self._wiring.epoch, warmup, self._last_ns, self._same))
        if self._granted > self._base:
            self._send(wire.Credit(self._wiring.epoch, self._granted - self._base))
        self._heard_s = self._loop.time()

    def _send(self, message: wire.FeedRequest) -> None:
        if self._socket is None:
            return
        try:
            self._socket.send(wire.encode(message), zmq.NOBLOCK)
        except zmq.Again:
            log.warning("feed %s takes nothing: %s", self._wiring.address, type(message).__name__)
        # sending may take in what has arrived, and then the descriptor stays silent
        self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        while self._socket is not None:
            try:
                frame = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._heard_s = self._loop.time()
            try:
                message = wire.feed_reply(frame)
            except ProtocolError as e:
                self.bad += 1
                log.warning("feed %s: %s", self._wiring.address, e)
                continue
            self._take(message)

    def _take(self, message: wire.FeedReply) -> None:
        if message.seq != self._feed_seq + 1:
            self.stale += 1  # sent before the feed had read the last subscribe
            return
        self._feed_seq = message.seq
        if isinstance(message, wire.FeedEnd):
            if not self._ended:
                self._ended = True
                self._wiring.on_end()
            return
        event = message.event
        if event.ts_event_ns < self._last_ns:
            log.warning("feed went back in time to %d: event dropped", event.ts_event_ns)
            return
        if event.history:
            self._wiring.on_history(event)
            return
        self._same = self._same + 1 if event.ts_event_ns == self._last_ns else 1
        self._last_ns = event.ts_event_ns
        self.received += 1
        if isinstance(event, wire.Trade):
            # the engine knows trades by the quotes that they make: as in the env, orders fill there
            self._wiring.on_trade(event)
            event = quote_of(event, self._wiring.instrument, self._wiring.venue)
        if isinstance(event, wire.Depth):
            # its quote first: the risk checks of an order on this row look at it
            self._handle_data(engine_quote(best_of(event), self._instrument_id, self._precisions))
            self._handle_data(depth_packet(self._wiring.instrument, event))
        elif isinstance(event, wire.Quote):
            self._handle_data(engine_quote(event, self._instrument_id, self._precisions))
        elif self._bar_type is not None:
            self._handle_data(engine_bar(event, self._bar_type, self._precisions))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(SILENCE_S / 4)
            waits = self._granted > self.received or not self._granted
            if waits and not self._ended and self._loop.time() - self._heard_s > SILENCE_S:
                self.resubscribed += 1
                self._subscribe_feed()


def factory(wiring: Wiring) -> type[DataClientFactory]:
    """Return a factory, as the engine wants one, whose client is wired with `wiring`."""

    class Factory(DataClientFactory):
        """Builds the feed's client."""

        @staticmethod
        def create(*, name: str, config: Any, cache: Any, clock: Any) -> FeedDataClient:
            """Build the client."""
            return FeedDataClient(wiring, name=name, config=config, cache=cache, clock=clock)

    return Factory
