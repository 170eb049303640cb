"""The market as the strategy's node tells it: published, marked, and kept for agents that join."""

from collections import deque

from nautilus_trader.model import Bar, OrderBookDeltas, QuoteTick

from grid import wire
from grid.bars import BarMaker, Tick
from grid.bus import Publisher
from grid.instrument import Instrument
from grid.node.books import wire_depth
from grid.node.convert import wire_bar, wire_quote
from grid.node.routes import Shown
from grid.spec import Spec


class Market:
    """Turns what the engine hands over into events.

    Attributes:
        now_ns: ts_event of the last market event.
        mark_px: the position's price; 0 before the first.
        recent: the last rows.
        row_topic: of the rows.

    Args:
        spec: of the strategy.
        instrument: what it trades.
        publisher: for the events.
        interval_ns: of the rows, 0 if they have none.
        history_rows: rows kept for agents that join.
    """

    def __init__(
        self,
        spec: Spec,
        instrument: Instrument,
        publisher: Publisher,
        *,
        interval_ns: int,
        history_rows: int,
    ) -> None:
        self.now_ns = 0
        self.mark_px = 0.0
        self.recent: deque[wire.Row] = deque(maxlen=history_rows)
        self.row_topic = f"md.{instrument.id}.{spec.rows}"
        self._spec = spec
        self._id = instrument.id
        self._precisions = (instrument.price_precision, instrument.size_precision)
        self._publisher = publisher
        self._maker = BarMaker(instrument, spec.bar, interval_ns) if spec.bars_from else None
        self._trades: deque[wire.Trade] = deque()  # whose quotes are on their way to the strategy

    @property
    def rows_published(self) -> int:
        """Sequence of the last row."""
        return self._publisher.high.get(self.row_topic, 0)

    def trade(self, trade: wire.Trade) -> None:
        """Keep a trade until the strategy is handed the quote that it makes."""
        self._trades.append(trade)

    def history(self, row: wire.Row) -> None:
        """Publish a row from before the run, for warm-up."""
        if (bar := self.made_by(row)) is not None:
            self.publish(bar)
            self.recent.append(bar)
        self.publish(row)
        if wire.topic_of(row) == self.row_topic:
            self.recent.append(row)

    def taken(self, row: Bar | QuoteTick | OrderBookDeltas) -> tuple[Shown, wire.Row]:
        """Return what the venue is shown of the engine's row, and the event that it stands for."""
        shown = self._convert(row)
        return shown, self._trades.popleft() if self._spec.source == "trade" else shown

    def made_by(self, event: wire.Row) -> wire.Bar | None:
        """Return the bar that an event closes, where bars are made of ticks."""
        return self._maker.push(_tick(event)) if self._maker is not None else None

    def publish(self, event: wire.Row) -> None:
        """Publish a market event, and mark by it."""
        self.now_ns = event.ts_event_ns
        self._publisher.publish(wire.topic_of(event), event)
        if isinstance(event, wire.Bar):
            self.mark_px = event.close
        elif self._spec.rows == "bar":
            pass  # bars are marked at their close, whatever they are made of
        elif isinstance(event, wire.Trade):
            self.mark_px = event.price
        elif isinstance(event, wire.Depth):
            self.mark_px = (event.bid_pxs[0] + event.ask_pxs[0]) / 2.0
        else:
            self.mark_px = (event.bid_px + event.ask_px) / 2.0

    def _convert(self, row: Bar | QuoteTick | OrderBookDeltas) -> Shown:
        if isinstance(row, Bar):
            return wire_bar(row, self._id, self._spec.bar, self._precisions)
        if isinstance(row, OrderBookDeltas):
            assert self._spec.book is not None  # only then are books subscribed to
            return wire_depth(row, self._id, self._precisions, self._spec.book.levels)
        return wire_quote(row, self._id, self._precisions)


def _tick(event: wire.Row) -> Tick:
    assert isinstance(event, wire.Quote | wire.Trade)  # the node was set up for such data
    return event
