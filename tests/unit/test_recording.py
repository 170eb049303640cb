"""A recorded session as the gateway plays it back: what was so at a time."""

import threading

import msgspec
import pytest

from envs.synthetic import INSTRUMENT
from grid import session, wire
from grid.errors import SessionError
from grid.eventfile import EventFile
from grid.gateway import recording
from grid.gateway.playback import thinned
from grid.gateway.played import between
from grid.gateway.recording import Recording
from grid.gateway.shelf import Shelf
from grid.session import Manifest, Session
from grid.spec import Spec, TargetRule
from grid.venue import Venue

T0_NS = 1_795_500_900 * 10**9
S_NS = 10**9
QUOTES = "md.SYN/USD.SIM.quote"


class Writer:
    """Writes a session event by event, a second each unless told otherwise."""

    def __init__(self, sessions, label="tape"):
        self.folder = session.new_folder(sessions, label, T0_NS)
        self.file = EventFile(self.folder)
        self.seqs = {}
        self.t_ns = T0_NS
        spec = Spec(
            instrument_id=INSTRUMENT.id, rows="quote", features=("spread",), mean=(0.0,),
            std=(1.0,), target=TargetRule(max_qty=1.0),
        )  # fmt: skip
        self.info = wire.StrategyInfo(
            "s", 1, msgspec.json.encode(spec), msgspec.json.encode(INSTRUMENT),
            msgspec.json.encode(Venue()), 0, {},
        )  # fmt: skip

    def __call__(self, topic, event, after_ns=S_NS, epoch=1):
        self.t_ns += after_ns
        stream = topic, epoch
        self.seqs[stream] = self.seqs.get(stream, 0) + 1
        self.file.write(
            self.t_ns, wire.pack(topic, "node", epoch, self.seqs[stream], self.t_ns, event)
        )

    def quote(self, mid, **more):
        self(QUOTES, wire.Quote(INSTRUMENT.id, self.t_ns, mid - 0.5, mid + 0.5, 1.0, 1.0), **more)

    def decision(self, seq, equity=100.0, position=0.0, epoch=1, **more):
        account = wire.Account(position, 0.0, 90.0, equity, 0.0, 2.0, 0)
        asked = wire.Decision("s", epoch, seq, self.t_ns, QUOTES, 1, 1, account)
        self("decision.s", asked, epoch=epoch, **more)

    def outcome(self, seq, target=1.0):
        self("exec.s", wire.Outcome("s", 1, seq, self.t_ns, "action", target, "ann"))

    def fill(self, n, side="BUY", after=1.0):
        said = wire.Fill("s", 1, 1, f"o{n}", f"t{n}", side, 1.0, 2.0, 0.5, "USD", after, self.t_ns)
        self("exec.s", said)

    def done(self):
        self.file.flush()
        self.file.close()
        Manifest(id=self.folder.name, state="complete", started_ns=T0_NS).write(self.folder)
        return self.folder


@pytest.fixture
def writer(tmp_path):
    made = Writer(tmp_path)
    made("exec.s", made.info, after_ns=0)
    yield made
    if not (made.folder / session.EVENTS).is_file():  # the test failed before it was done
        made.file.close()


def read(folder):
    return Recording.read(Session.open(folder), lambda events: False)


def test_time_between_question_and_answer_shows_the_decision_open(writer):
    writer.quote(10.0)
    writer.decision(1, equity=100.0)
    writer.outcome(1, target=-1.0)
    writer.fill(1, after=1.0)
    writer.quote(11.0)
    found = read(writer.done())
    asked, ended, filled = (found.at(n * S_NS) for n in (2, 3, 4))
    assert (asked.decision.how, asked.fills, asked.position.qty) == (None, 0, 0.0)
    assert (ended.decision.how, ended.decision.target) == ("action", -1.0)
    assert (filled.fills, filled.fees, filled.position.qty, filled.price) == (1, 0.5, 1.0, 10.0)
    assert filled.account.cash == 90.0 - 2.0 - 0.5
    assert ended.account.cash == 90.0  # rows stay as they were
    assert (found.at(5 * S_NS).price, found.at(0).account) == (11.0, None)


def test_halt_is_so_until_it_is_lifted(writer):
    writer.decision(1)
    writer("exec.s", wire.Halted("s", 1, "ann", "lunch", 5, 5))
    writer("exec.s", wire.Resumed("s", 1, "ann", "", 5))
    found = read(writer.done())
    assert [found.at(n * S_NS).strategy.halted for n in (1, 2, 3)] == [False, True, False]
    assert [c.row.kind for c in found.control] == ["halted", "resumed"]


def test_event_that_was_recorded_twice_counts_once(writer):
    writer.decision(1)
    writer.fill(1)
    writer.seqs["exec.s", 1] -= 1
    writer.fill(1)
    found = read(writer.done())
    assert (found.counts["fills"].recorded, found.at(9 * S_NS).fees) == (1, 0.5)


def test_order_is_told_as_it_was_at_each_change(writer):
    for status in ("submitted", "accepted"):
        said = wire.OrderUpdate("s", 1, 1, "o1", status, "BUY", 1.0, 5, "")
        writer("exec.s", said)
    writer.fill(1)
    found = read(writer.done())
    assert [o.row.status for o in found.orders] == ["submitted", "accepted", "filled"]


def test_long_session_is_thinned_and_says_so(writer, monkeypatch):
    monkeypatch.setattr(recording, "MOST_CANDLES", 10)
    monkeypatch.setattr(recording, "MOST_DECISIONS", 10)
    monkeypatch.setattr(recording, "MOST_ROWS", 5)
    for n in range(1, 51):
        writer.quote(100.0 + n)
        writer.decision(n, equity=100.0 + n)
        writer.fill(n)
    found = read(writer.done())
    (candles,) = found.candles.values()
    assert len(candles) <= 10
    assert sum(c.row.events for c in candles) == 50
    assert (min(c.row.low for c in candles), max(c.row.high for c in candles)) == (101.0, 150.0)
    assert [c.row.close for c in candles] == sorted(c.row.close for c in candles)
    assert len(found.decisions) <= 10
    assert found.decisions[0].row.decision.seq == 1
    assert thinned(found) == [
        f"50 events of {QUOTES} are {len(candles)} candles",
        f"of 50 decisions one in {found.every} is told",
        "of 50 fills the first 5 are told",
        "of 50 changes of orders the first 5 are told",
    ]
    for candle in candles:  # nothing is shown before it was so
        assert found.at(candle.t_ns - 1).price != candle.row.close


def test_node_that_begins_again_tells_its_history_only_once(writer):
    old = [wire.Quote(INSTRUMENT.id, T0_NS + n, 1.0, 2.0, 1.0, 1.0, True) for n in range(3)]
    for quote in old:
        writer(QUOTES, quote)
    writer("exec.s", msgspec.structs.replace(writer.info, epoch=2), epoch=2)
    for quote in (*old, wire.Quote(INSTRUMENT.id, T0_NS + 9, 3.0, 4.0, 1.0, 1.0)):
        writer(QUOTES, quote, epoch=2)
    found = read(writer.done())
    assert [c.row.ts_event_ns - T0_NS for c in found.candles[QUOTES]] == [0, 1, 2, 9]
    assert found.at(found.t_ns).strategy.epoch == 2


def test_rows_of_a_span_come_in_pages_without_a_gap(writer):
    for n in range(1, 8):
        writer.decision(n)
    found = read(writer.done()).decisions
    pages, after = [], 0
    while after is not None:
        page, after = between(found, 2 * S_NS, 7 * S_NS, after, 2)
        pages.append([d.row.decision.seq for d in page])
    assert pages == [[2, 3], [4, 5], [6]]
    assert between(found, 99 * S_NS, None, 0, 5) == ([], None)


def test_session_that_is_recorded_still_is_told_as_far_as_it_was_written(tmp_path):
    made = Writer(tmp_path)
    try:
        made.decision(1)
        made.file.flush()
        made.decision(2)
        Manifest(id=made.folder.name, state="recording", started_ns=T0_NS).write(made.folder)
        shelf = Shelf(tmp_path)
        try:
            assert shelf.state(made.folder.name) == "recording"
            assert shelf.take(made.folder.name, 20.0).counts["decisions"].recorded == 1
        finally:
            shelf.close()
    finally:
        made.file.close()


def test_session_that_takes_long_says_how_far_it_is_and_another_can_have_its_place(
    tmp_path, monkeypatch
):
    for label in ("a", "b", "c", "d"):
        made = Writer(tmp_path, label)
        made.decision(1)
        made.done()
    names = sorted(p.name for p in tmp_path.iterdir())
    go, real = threading.Event(), Recording.read

    def slow(session, stopping):
        assert stopping(7) is False
        assert go.wait(20.0)
        return real(session, stopping)

    monkeypatch.setattr(Recording, "read", slow)
    shelf = Shelf(tmp_path)
    try:
        found = [shelf.take(name, 0.0) for name in names]
        assert set(found) <= {0, 7}
        go.set()
        assert shelf.take(names[-1], 20.0).counts["decisions"].told == 1
        with pytest.raises(SessionError, match="no session here"):
            shelf.take("none")
    finally:
        go.set()
        shelf.close()
    assert (shelf.has(names[0]), shelf.has("none")) == (True, False)
