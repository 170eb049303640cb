"""The paper venue's decisions, its journal on a real disk: nothing twice, nothing lost."""

import contextlib
import sqlite3
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grid import wire
from grid.errors import DataError
from grid.paper.counterparty import Counterparty
from grid.paper.journal import Journal


@pytest.fixture
def file(tmp_path):
    return tmp_path / "v" / "g.sqlite"


@pytest.fixture
def start(file):
    with contextlib.ExitStack() as stack:
        yield lambda: Counterparty(stack.enter_context(contextlib.closing(Journal(file))))


def hello(epoch=1, seq=1, **changes):
    asked = wire.OpenAccount(
        "main", epoch, seq, "EUR/USD.SIM", "USD", 2, 5, 1e-5, 1.0, 0.5, 1_000.0
    )
    return msgspec.structs.replace(asked, **changes)


def place(seq, name, qty=10.0, epoch=1, due_ns=100):
    return wire.PlaceOrder("main", epoch, seq, name, qty, due_ns)


def tick(seq, ts_ns=100, epoch=1):
    return wire.Tick("main", epoch, seq, ts_ns, 1.1, 1.2, 1e9, 1e9)


def test_account_goes_on_after_the_venue_was_killed(start):
    venue = start()
    venue.handle(hello())
    venue.handle(place(2, "a"))
    before = venue.handle(tick(3))
    venue.handle(place(4, "b", -30.0, due_ns=200))
    again = start()  # nothing was closed: as after kill -9
    opened = again.handle(hello(epoch=2))
    assert opened.holdings == before.holdings
    assert [(o.client_order_id, o.status) for o in opened.orders] == [("b", "open")]
    reply = again.handle(tick(2, 200, epoch=2))
    assert [(f.client_order_id, f.px) for f in reply.fills] == [("b", 1.1)]
    assert reply.holdings.position_qty == -20.0


def test_message_sent_again_gets_the_same_reply_and_does_nothing(start):
    venue = start()
    venue.handle(hello())
    for message in (place(2, "a"), tick(3)):
        first = venue.handle(message)
        assert venue.handle(message) == _now(first, venue)
        assert start().handle(message) == _now(first, venue)
    assert venue.counts["repeated"] == 2
    assert venue.accounts["main"].ledger.fills == 1


def _now(reply, venue):
    return msgspec.structs.replace(reply, holdings=venue.accounts["main"].ledger.holdings)


def test_client_order_id_is_taken_for_ever(start):
    venue = start()
    venue.handle(hello())
    venue.handle(place(2, "a"))
    venue.handle(tick(3))
    (twin,) = venue.handle(place(4, "a")).orders
    assert (twin.status, twin.reason) == ("rejected", "client order id a was used before")
    later = start()
    later.handle(hello(epoch=2))
    (twin,) = later.handle(place(2, "a", epoch=2)).orders
    assert twin.status == "rejected"
    assert later.handle(tick(3, epoch=2)).fills == ()
    assert later.counts["twins"] == 1


def test_message_that_overtook_another_waits_until_both_are_sent_again(start):
    venue = start()
    venue.handle(hello())
    assert venue.handle(tick(3)) is None  # the order before it was lost on its way
    assert venue.handle(tick(4, 200)) is None
    assert venue.counts["early"] == 2
    assert venue.handle(place(2, "a")).orders[0].status == "open"
    assert [f.client_order_id for f in venue.handle(tick(3)).fills] == ["a"]
    assert venue.handle(tick(4, 200)).fills == ()
    assert venue.handle(hello(epoch=2, seq=1)).refused == ""
    assert venue.handle(tick(2, epoch=2)).fills == ()


def test_older_node_is_fenced(start):
    venue = start()
    venue.handle(hello(epoch=2))
    for message in (hello(epoch=1), place(2, "a", epoch=1), tick(3, epoch=1)):
        reply = venue.handle(message)
        assert reply.refused == "node epoch 2 expected, found 1"
    assert venue.accounts["main"].open == {}


def test_account_keeps_its_instrument(start):
    venue = start()
    venue.handle(hello())
    reply = venue.handle(hello(epoch=2, instrument_id="X.SIM"))
    assert "instrument_id EUR/USD.SIM expected, found X.SIM" in reply.refused
    assert venue.handle(hello(epoch=2, account_id="other", instrument_id="X.SIM")).refused == ""


def test_order_can_be_asked_for_by_its_id_and_taken_back(start):
    venue = start()
    venue.handle(hello())
    venue.handle(place(2, "a"))
    venue.handle(place(3, "b"))
    canceled = wire.CancelOrder("main", 1, 4, "b")
    assert [o.status for o in venue.handle(canceled).orders] == ["canceled"]
    assert [o.status for o in venue.handle(canceled).orders] == ["canceled"]
    venue.handle(tick(5))
    reply = start().handle(wire.QueryOrder("main", 1, 6, "a"))
    assert [o.status for o in reply.orders] == ["filled"]
    assert [f.trade_id for f in reply.fills] == ["main-1"]
    assert venue.handle(wire.QueryOrder("main", 1, 6, "c")).orders == ()
    (reply,) = venue.handle(wire.CancelOrder("main", 1, 7, "a")).orders
    assert reply.status == "filled"


def test_journal_of_before_there_were_limits_is_read_on(tmp_path):
    file = tmp_path / "v" / "g.sqlite"
    Journal(file).close()
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute("ALTER TABLE orders DROP COLUMN limit_px")
        db.execute("INSERT INTO orders VALUES ('main', 'o1', 1.0, 5, 1, 2, 'open', '')")
        db.execute("PRAGMA user_version = 1")
        db.commit()
    with contextlib.closing(Journal(file)) as journal:
        assert journal.order("main", "o1").limit_px == 0.0


def test_file_that_is_no_journal_is_one_sentence(file):
    file.parent.mkdir()
    file.write_bytes(b"no database at all, and long enough to be seen as one" * 20)
    with pytest.raises(DataError, match=r"g\.sqlite: cannot be used"):
        Journal(file)
    file.unlink()
    db = sqlite3.connect(file)
    db.execute("PRAGMA user_version = 7")
    db.close()
    with pytest.raises(DataError, match="version 2 expected, found 7"):
        Journal(file)


MESSAGES = st.lists(
    st.one_of(
        st.tuples(st.just("place"), st.integers(0, 5), st.integers(-50, 50), st.integers(0, 9)),
        st.tuples(st.just("tick"), st.integers(0, 9)),
        st.tuples(st.just("cancel"), st.integers(0, 5)),
    ),
    max_size=10,
)


@settings(max_examples=20, deadline=None)
@given(messages=MESSAGES, faults=st.lists(st.sampled_from(["", "again", "kill", "both"])))
def test_kills_and_repeats_at_any_moment_change_nothing(messages, faults):
    asked = [hello()]
    for seq, (kind, *what) in enumerate(messages, 2):
        match kind:
            case "place":
                asked.append(place(seq, f"o{what[0]}", float(what[1]), due_ns=what[2]))
            case "tick":
                asked.append(tick(seq, what[0]))
            case _:
                asked.append(wire.CancelOrder("main", 1, seq, f"o{what[0]}"))
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:

        def start(name):
            journal = Journal(Path(folder) / name)
            return Counterparty(stack.enter_context(contextlib.closing(journal)))

        plain, faulty = start("plain"), start("faulty")
        for message, fault in zip(asked, faults + [""] * len(asked), strict=False):
            expected = plain.handle(message)
            found = faulty.handle(message)
            if fault in ("kill", "both"):
                faulty = start("faulty")
            if fault in ("again", "both"):
                found = faulty.handle(message)
            assert found == expected
        ours, theirs = faulty.accounts["main"], plain.accounts["main"]
        assert ours.ledger.holdings == theirs.ledger.holdings
        assert list(ours.open) == list(theirs.open)
