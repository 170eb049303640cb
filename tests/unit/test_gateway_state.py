"""What the gateway makes of a grid's events."""

import asyncio

import msgspec
import pytest

from grid import wire
from grid.gateway.hub import Frame, Hub, Wish, shown
from grid.gateway.presence import ALIVE_NS
from grid.gateway.state import State
from grid.gateway.stream import QUEUE, SLOW, Client

NOW_NS = 1_000_000_000_000


class Told:
    """A state, and events for it."""

    def __init__(self):
        self.state = State()
        self.n = 0

    def __call__(self, *events, now_ns=NOW_NS, epoch=1):
        for event in events:
            self.n += 1
            envelope = wire.Envelope(1, "node", epoch, self.n, self.n, msgspec.Raw(b""))
            self.state.take(event, shown("exec.s", envelope, event, self.n), now_ns)


@pytest.fixture
def told():
    return Told()


def order(status, name="o1", qty=10.0, reason=""):
    return wire.OrderUpdate("s", 1, 1, name, status, "BUY", qty, 5, reason)


def fill(qty, px, after, name="o1", side="BUY"):
    return wire.Fill("s", 1, 1, name, f"t{px}", side, qty, px, 0.5, "USD", after, 6)


def decision(seq=1, equity=100.0, position=0.0):
    account = wire.Account(position, 0.0, 90.0, equity, 0.0, 2.0, 0)
    return wire.Decision("s", 1, seq, 5, "md.X.bar", 1, 1, account)


def manual(done=True, name="manual-1", limit_px=0.0):
    return wire.Manual("s", 1, "order", "ann", name, done, "why", "BUY", 10.0, limit_px, 3)


def test_order_that_is_filled_in_parts_has_their_average_price(told):
    told(order("submitted"), order("accepted"), fill(4.0, 1.0, 4.0))
    assert told.state.orders["o1"].open
    told(fill(6.0, 2.0, 10.0))
    found = told.state.orders["o1"]
    assert (found.status, found.open, found.filled_qty, found.avg_px) == (
        "filled",
        False,
        10.0,
        1.6,
    )


def test_twin_that_the_venue_refuses_leaves_the_first_as_it_was(told):
    told(order("submitted"), fill(10.0, 1.0, 10.0), order("rejected", reason="used before"))
    assert told.state.orders["o1"].status == "filled"


def test_position_follows_fills_through_zero(told):
    told(fill(10.0, 1.0, 10.0), fill(10.0, 3.0, 20.0, "o2"))
    assert told.state.positions["s"].avg_px == 2.0
    told(fill(30.0, 4.0, -10.0, "o3", "SELL"))
    found = told.state.positions["s"]
    assert (found.qty, found.avg_px) == (-10.0, 4.0)
    told(fill(10.0, 4.0, 0.0, "o4"))
    assert (told.state.positions["s"].qty, told.state.positions["s"].avg_px) == (0.0, 0.0)


def test_decision_gives_account_with_drawdown_and_ends_by_its_outcome(told):
    told(decision(), decision(2, 80.0))
    assert told.state.accounts["s"].drawdown == pytest.approx(0.2)
    told(wire.Outcome("s", 1, 2, 5, "fallback", 0.5, "", "late"))
    ends = [(d.how, d.reason) for d in told.state.decisions.values()]
    assert ends == [(None, None), ("fallback", "late")]


def test_manual_order_is_a_persons_and_a_refused_one_is_no_order(told):
    told(manual(limit_px=1.5), manual(False, "manual-2"))
    found = told.state.orders["manual-1"]
    assert (found.manual, found.by, found.type, found.limit_px) == (True, "ann", "limit", 1.5)
    assert "manual-2" not in told.state.orders
    assert [c.done for c in told.state.control] == [True, False]
    assert not told.state.manual["manual-2"].done


def test_halt_is_shown_until_it_is_resumed(told):
    told(wire.Halted("s", 1, "ann", "lunch", 1, 2))
    assert told.state.strategies["s"].halt_reason == "lunch"
    told(wire.Resumed("s", 1, "ann", "back", 2))
    assert not told.state.strategies["s"].halted


def test_orders_of_a_node_that_died_are_over_unless_the_next_restores_them(told):
    info = wire.StrategyInfo("s", 1, b"", b"", b"", 0, {})
    told(info, order("accepted"), order("accepted", "o2"))
    told(msgspec.structs.replace(info, epoch=2))
    assert not told.state.orders["o1"].open
    held = wire.Holdings(1.0, 2.0, 3.0, 0.0, 0.0, 1)
    told(wire.Restored("s", 2, held, (wire.VenueOrder("o2", "open", 10.0, 5, "", 1.25),)))
    found = told.state.orders["o2"]
    assert (found.open, found.type, found.limit_px) == (True, "limit", 1.25)
    assert told.state.positions["s"].qty == 2.0


def test_process_that_is_silent_or_stopping_is_not_alive(told):
    told(wire.Heartbeat("node", "node", 1, "trading", 1.0, {}, {}))
    assert told.state.presence.has("node", NOW_NS)
    assert not told.state.presence.has("node", NOW_NS + ALIVE_NS)
    told(wire.Heartbeat("node", "node", 1, "stopping", 2.0, {}, {}))
    assert not told.state.presence.has("node", NOW_NS)


# -- frames ----------------------------------------------------------------------------------------

ALL = Wish(frozenset({"market", "fills"}))


def hub_with(*events, kept=100):
    hub = Hub("f", kept)
    for n, event in enumerate(events, 1):
        envelope = wire.Envelope(1, "node", 1, n, n, msgspec.Raw(b""))
        topic = wire.topic_of(event) if isinstance(event, wire.Quote) else "exec.s"
        hub.push(shown(topic, envelope, event, n))
    return hub


def quote(px, name="X"):
    return wire.Quote(name, 1, px, px + 1, 1.0, 1.0)


def events_of(frames):
    return [e for f in frames for e in msgspec.json.decode(f.text)["events"]]


def test_frame_has_what_was_wished_and_is_one_object_for_all_of_a_wish():
    hub = hub_with(quote(1.0), fill(1.0, 1.0, 1.0), quote(2.0, "Y"))
    some = Wish(frozenset({"market"}), frozenset({"Y"}))
    cut = hub.cut([ALL, ALL, some, Wish(frozenset({"status"}))])
    assert [e["n"] for e in events_of(cut[ALL])] == [1, 2, 3]
    assert [e["data"]["bid_px"] for e in events_of(cut[some])] == [2.0]
    assert len(cut) == 2
    assert hub.cut([ALL]) == {}


def test_conflated_frame_has_the_newest_of_each_topic_and_every_fill():
    hub = hub_with(quote(1.0), fill(1.0, 1.0, 1.0), quote(2.0), quote(3.0, "Y"))
    wish = msgspec.structs.replace(ALL, conflate=True)
    (frame,) = hub.cut([wish])[wish]
    assert [e["n"] for e in events_of([frame])] == [2, 3, 4]
    assert msgspec.json.decode(frame.text)["conflated"] == 1


def test_resume_gives_what_came_after_and_none_if_it_is_gone():
    hub = hub_with(*(quote(float(n)) for n in range(1, 6)), kept=3)
    hub.cut([])
    assert [e["n"] for e in events_of(hub.since(3, ALL))] == [4, 5]
    assert hub.since(5, ALL) == []
    assert hub.since(1, ALL) is None
    assert hub.since(6, ALL) is None


def test_resume_by_stream_gives_what_came_after_its_sequence_and_none_if_it_is_gone():
    hub = hub_with(*(quote(float(n)) for n in range(1, 6)), kept=3)
    hub.cut([])
    stream = "node 1 md.X.quote"
    assert [e["seq"] for e in events_of(hub.since_streams({stream: 3}, ALL))] == [4, 5]
    assert hub.since_streams({stream: 1}, ALL) is None
    assert hub.since_streams({"node 2 md.X.quote": 9}, ALL) is None


def test_client_that_reads_slowly_is_conflated_then_loses_the_oldest_and_is_told():
    async def slowly():
        client = Client()
        client.begin(ALL, 0)
        for n in range(1, QUEUE + 6):
            client.offer([Frame(b"%d" % n, 2, n)])
            if n > SLOW + 1:
                assert client.wished.conflate
        said = [await client.take() for _ in range(QUEUE + 1)]
        assert msgspec.json.decode(said[0]) == {"op": "dropped", "events": 10, "total": 10}
        assert said[1:] == [b"%d" % n for n in range(6, QUEUE + 6)]
        assert not client.wished.conflate

    asyncio.run(slowly())


def test_bytes_are_left_out_of_what_is_shown():
    action = wire.Action("s", 1, 2, "a", 3, 4, 0.5, b"\x00")
    acted = wire.Acted(action, wire.Answer("accepted", 2, 4), 9)
    envelope = wire.Envelope(1, "node", 1, 1, 1, msgspec.Raw(b""))
    row = shown("exec.s", envelope, acted, 1)
    assert "obs" not in row.data["action"]
    assert row.data["answer"]["status"] == "accepted"
