"""An order book made by chance: what engine and env can be measured on, in a clean clone.

Zero intelligence, after Smith, Farmer, Gillemot and Krishnamurthy (2003): limit orders, their
cancellations and changes, and orders at the market come at random, with no plan. Nothing is to be
learned in it. The same flow is written by order (L3) or by price (L2).
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Final, Literal

import numpy as np

from envs.data.book import ADD, DELETE, UPDATE, Book, completed, rows_of
from envs.data.check import take
from envs.data.read import Rows
from envs.data.step import parse
from envs.data.write import write
from grid.dataset import EVENTS, LAST, Columns, Manifest, Quality
from grid.errors import DataError
from grid.home import Home
from grid.instrument import Future

START_NS: Final = 1_577_836_800 * 10**9  # 2020-01-01
MEAN_STEP_NS: Final = 20_000_000  # from one packet to the next
LEVELS: Final = 10
INSTRUMENT: Final = Future(
    id="BOOK.SIM",
    price_precision=2,
    tick_size=0.25,
    quote_currency="USD",
    underlying="SYN",
    contract_size=50.0,
)

_START_TICK: Final = 16_000
_START_LEVELS: Final = 15
_START_ORDERS: Final = 4  # at each of them
_FEWEST_LEVELS: Final = 6
_REACH: Final = 25  # ticks from the other side's best within which orders come
_ORDERS: Final = 300  # that the book tends to
_FEWEST: Final = 40  # orders of a side: below, nothing is taken away from it
_MAX_QTY: Final = 10
_SWEEP_QTY: Final = 25

type _Event = tuple[int, int, int, int, int]  # action, side, price in ticks, quantity, order id


def book(n: int, *, seed: int, kind: Book = "L3") -> Columns:
    """Return about `n` complete events of a book, as in `grid.dataset.EVENTS` and `DERIVED`.

    Same seed, same bits; a packet is never cut.

    Raises:
        DataError: there are too few events for a book to stand.
    """
    fewest = 2 * _START_LEVELS * _START_ORDERS
    if n < fewest:
        raise DataError(f"synthetic book: expected {fewest} events or more, found {n}")
    rng = np.random.Generator(np.random.PCG64(seed))
    flow = _Flow(rng)
    found: list[_Event] = []
    ends: list[int] = []
    for packet in flow.packets():
        changes = packet if kind == "L3" else flow.by_price(packet)
        if not changes:
            continue
        found += changes
        ends.append(len(found))
        if len(found) >= n:
            break
    action, side, price, qty, order_id = (np.array(c) for c in zip(*found, strict=True))
    steps = rng.integers(1, 2 * MEAN_STEP_NS, len(ends))
    flags = np.zeros(len(found), np.uint8)
    flags[np.array(ends) - 1] = LAST
    events = {
        "ts_event": START_NS + np.repeat(np.cumsum(steps), np.diff(ends, prepend=0)),
        "action": action,
        "side": side,
        "price": price * INSTRUMENT.tick,
        "qty": np.where(action == DELETE, 0, qty),
        "order_id": order_id if kind == "L3" else np.zeros(len(found)),
        "flags": flags,
        "sequence": np.arange(1, len(found) + 1),
    }
    return completed({f: v.astype(EVENTS[f]) for f, v in events.items()}, kind)


def made(
    kind: Literal["depth", "L2", "L3"], n: int, *, seed: int, every: str, levels: int = LEVELS
) -> Rows:
    """Return such a book as rows of depth: bare, or with its events beneath.

    Args:
        kind: rows alone, or with events by price or by order.
        n: events.
        seed: of the flow.
        every: how often there is a row: see `envs.data.step`.
        levels: of a row, a side.

    Raises:
        DataError: one of them is out of range.
    """
    pace = parse(every)
    by: Book = "L3" if kind == "L3" else "L2"
    events = book(n, seed=seed, kind=by)
    columns, one_sided, _ = rows_of(events, by, INSTRUMENT, pace, levels)
    columns = take(columns, ~one_sided)
    quality = Quality(rows_read=n, one_sided=int(one_sided.sum()))
    if kind == "depth":
        del columns["event"]
        return Rows(columns, quality, book="L2")
    return Rows(columns, quality, pace.name, book=by, events=events)


def write_book(
    kind: Literal["depth", "L2", "L3"],
    name: str,
    home: Home,
    *,
    n: int = 120_000,
    seed: int = 0,
    every: str = "100ms",
    replace: bool = False,
) -> Manifest:
    """Write such a book as a dataset; see `made`.

    Raises:
        DataError: a parameter is out of its range, or the name is taken.
    """
    return write(
        made(kind, n, seed=seed, every=every),
        INSTRUMENT,
        kind="depth" if kind == "depth" else "deltas",
        name=name,
        datasets=home.datasets,
        source=f"synthetic book: seed {seed}, {n} events, a row every {every}",
        replace=replace,
    )


class _Side:
    """One side of the book: queues of order ids at prices in ticks."""

    def __init__(self, sign: int) -> None:
        self.sign = sign  # 1 the bid, -1 the ask
        self.queues: dict[int, list[int]] = {}
        self.ticks: list[int] = []  # rising
        self.orders = 0

    @property
    def best(self) -> int:
        """Best price, in ticks."""
        return self.ticks[-1] if self.sign > 0 else self.ticks[0]

    def add(self, order_id: int, tick: int) -> None:
        """Let an order stand last in its queue."""
        if tick not in self.queues:
            self.queues[tick] = []
            insort(self.ticks, tick)
        self.queues[tick].append(order_id)
        self.orders += 1

    def remove(self, order_id: int, tick: int) -> None:
        """Take an order out of its queue."""
        queue = self.queues[tick]
        queue.remove(order_id)
        self.orders -= 1
        if not queue:
            del self.queues[tick]
            del self.ticks[bisect_left(self.ticks, tick)]

    @property
    def is_thin(self) -> bool:
        """Whether nothing should be taken away."""
        return self.orders < _FEWEST or len(self.ticks) < _FEWEST_LEVELS


class _Flow:
    """Orders that come and go; after each packet the book is uncrossed and has both sides."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._draws: list[float] = []
        self._last_id = 0
        self._orders: dict[int, tuple[_Side, int, int]] = {}  # side, tick, quantity
        self._bid, self._ask = _Side(1), _Side(-1)
        self._told: dict[tuple[int, int], int] = {}  # sizes of levels, as `by_price` has told them

    def packets(self) -> Iterator[list[_Event]]:
        """Yield packets without end."""
        for level in range(1, _START_LEVELS + 1):
            for side in (self._bid, self._ask):
                for _ in range(_START_ORDERS):
                    yield [self._add(side, _START_TICK - side.sign * level)]
        while True:
            yield self._packet()

    def by_price(self, packet: list[_Event]) -> list[_Event]:
        """Return what a packet changes in the sizes of levels."""
        changes: list[_Event] = []
        for sign, tick in dict.fromkeys((sign, tick) for _, sign, tick, _, _ in packet):
            queue = (self._bid if sign > 0 else self._ask).queues.get(tick, ())
            size = sum(self._orders[i][2] for i in queue)
            before = self._told.get((sign, tick), 0)
            self._told[sign, tick] = size
            if size != before:
                action = DELETE if not size else UPDATE if before else ADD
                changes.append((action, sign, tick, size, 0))
        return changes

    def _packet(self) -> list[_Event]:
        side, other = (self._bid, self._ask) if self._draw() < 0.5 else (self._ask, self._bid)
        what = self._draw()
        if side.is_thin or what < (0.65 if len(self._orders) < _ORDERS else 0.35):
            away = 1 + int(_REACH * self._draw() ** 2)
            return [self._add(side, other.best - side.sign * away)]
        if what < 0.93:
            return self._change(side, cancel=what < 0.85)
        return self._sweep(side)

    def _add(self, side: _Side, tick: int) -> _Event:
        self._last_id += 1
        qty = self._whole(_MAX_QTY)
        self._orders[self._last_id] = (side, tick, qty)
        side.add(self._last_id, tick)
        return ADD, side.sign, tick, qty, self._last_id

    def _change(self, side: _Side, *, cancel: bool) -> list[_Event]:
        tick = side.ticks[self._whole(len(side.ticks)) - 1]
        queue = side.queues[tick]
        order_id = queue[self._whole(len(queue)) - 1]
        _, _, qty = self._orders[order_id]
        if cancel or qty == 1:
            return [self._delete(order_id)]
        left = self._whole(qty - 1)
        self._orders[order_id] = (side, tick, left)
        return [(UPDATE, side.sign, tick, left, order_id)]

    def _sweep(self, side: _Side) -> list[_Event]:
        """An order at the market takes from the best on."""
        wanted = self._whole(_SWEEP_QTY)
        packet: list[_Event] = []
        while wanted and not side.is_thin:
            tick = side.best
            order_id = side.queues[tick][0]
            qty = self._orders[order_id][2]
            if qty <= wanted:
                packet.append(self._delete(order_id))
            else:
                self._orders[order_id] = (side, tick, qty - wanted)
                packet.append((UPDATE, side.sign, tick, qty - wanted, order_id))
            wanted -= min(qty, wanted)
        return packet

    def _delete(self, order_id: int) -> _Event:
        side, tick, _ = self._orders.pop(order_id)
        side.remove(order_id, tick)
        return DELETE, side.sign, tick, 0, order_id

    def _draw(self) -> float:
        if not self._draws:
            self._draws = self._rng.random(4096).tolist()
        return self._draws.pop()

    def _whole(self, most: int) -> int:
        return 1 + int(self._draw() * most)
