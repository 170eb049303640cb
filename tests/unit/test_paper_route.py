"""The way to the paper venue: a price never overtakes the order that it is to fill."""

from types import SimpleNamespace

import pytest

from grid import wire
from grid.latency import Latency
from grid.node.routes import PaperRoute
from grid.venue import Venue


class Engine:
    """Takes orders, and passes them on when told to, as the engine's loop does."""

    def __init__(self) -> None:
        self.line: list[str] = []  # what the venue gets, in order
        self.due_ns: dict[str, int] = {}
        self.opened = None
        self.client = self
        self.on_sent = lambda: None
        self.waiting = 0  # messages to the venue without a reply

    def show(self, now_ns: int, quote: wire.Quote) -> None:
        self.line.append(f"tick {now_ns}")

    def pass_on(self, name: str) -> None:
        self.due_ns.pop(name)
        self.line.append(name)
        self.on_sent()


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
def route(engine):
    made = PaperRoute(engine, Latency(Venue(latency_ms=1e-5), 0))
    made.start(None, lambda order: None)
    made.show(quote(0))
    return made


def quote(ts_ns):
    return wire.Quote("X", ts_ns, 1.0, 1.1, 5.0, 5.0)


def order(name):
    return SimpleNamespace(client_order_id=name)


def test_tick_waits_for_the_order_that_it_fills(engine, route):
    route.send(order("a"), 0)
    route.show(quote(10))
    assert engine.line == []
    assert not route.settled
    engine.pass_on("a")
    assert engine.line == ["a", "tick 10"]
    route.closed("a")
    assert route.settled


def test_ticks_behind_one_that_waits_keep_their_order(engine, route):
    route.send(order("a"), 0)
    route.show(quote(5))
    route.show(quote(10))
    route.send(order("b"), 10)
    route.show(quote(20))
    assert engine.line == ["tick 5"]
    engine.pass_on("a")
    assert engine.line == ["tick 5", "a", "tick 10"]
    engine.pass_on("b")
    assert engine.line == ["tick 5", "a", "tick 10", "b", "tick 20"]


def test_order_with_a_limit_rests_and_the_market_goes_on_once_the_venue_has_said_so(engine, route):
    limited = order("a")
    limited.price = 0.5
    route.send(limited, 0)
    engine.pass_on("a")
    route.accepted("a")
    engine.waiting = 1
    route.show(quote(10))
    assert engine.line == ["a", "tick 10"]
    assert not route.settled
    engine.waiting = 0
    assert route.settled
    assert route.open_orders == 1
    route.show(quote(20))
    assert engine.line[-1] == "tick 20"
    route.closed("a")
    assert (route.settled, route.open_orders) == (True, 0)


def test_order_that_the_engine_denies_holds_no_tick_back(engine, route):
    route.send(order("a"), 0)
    route.send(order("b"), 0)
    engine.pass_on("b")
    route.show(quote(10))
    assert engine.line == ["b"]
    route.closed("a")
    assert engine.line == ["b", "tick 10"]
