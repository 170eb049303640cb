"""The kill switch in the node."""

import msgspec
import pytest

from grid import halt, wire
from grid.audit import Audit, Entry
from grid.limits import Limits
from grid.node.guard import Guard
from grid.node.ledger import Ledger


class Desk:
    """Keeps what a guard asks of it."""

    def __init__(self):
        self.market_ns = 7
        self.ledger = Ledger(1_000.0, 1.0)
        self.events = []
        self.closed = []
        self.restored = False
        self.resting = []

    def publish(self, event):
        self.events.append(event)

    def close_position(self, client_order_id):
        if self.ledger.position_qty + self.ledger.pending_qty == 0.0:
            return False
        self.ledger.order(-self.ledger.position_qty - self.ledger.pending_qty)
        self.closed.append(client_order_id)
        return True

    def hold(self, qty):
        self.ledger.order(qty)
        self.ledger.fill(qty, 1.0, 0.0)


@pytest.fixture
def make(tmp_path):
    audits = []

    def build(epoch=3, marks=None, restored=False, **limits):
        audits.append(Audit(tmp_path / "audit" / "g.jsonl", "S-1", epoch))
        halt_file = tmp_path / "h" / "g.json"
        guard = Guard("S-1", epoch, Limits(**limits), 1.0, halt_file, audits[-1], marks)
        desk = Desk()
        desk.restored = restored
        guard.start(desk)
        return guard, desk

    yield build
    for audit in audits:
        audit.close()


def audited(tmp_path):
    lines = (tmp_path / "audit" / "g.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Entry) for line in lines]


def control(kind, n=1, by="ann"):
    return kind("S-1", f"r{n}", by, "because")


def test_halt_refuses_actions_until_resumed(make, tmp_path):
    guard, desk = make()
    assert guard.refusal("alpha", 1.0, 1.0) == ""
    reply = guard.control(control(wire.Halt))
    assert (reply.state, reply.done) == ("halted", True)
    assert guard.refusal("alpha", 1.0, 1.0) == "halted by ann: because"
    assert guard.refusal("alpha", 0.0, 1.0) == "halted by ann: because"
    reply = guard.control(control(wire.Resume, 2))
    assert (reply.state, reply.done) == ("trading", True)
    assert guard.refusal("alpha", 1.0, 1.0) == ""
    assert [type(e) for e in desk.events] == [wire.Halted, wire.Resumed]
    assert [(e.kind, e.by, e.done) for e in audited(tmp_path)] == [
        ("halt", "ann", True), ("refusal", "alpha", False), ("refusal", "alpha", False),
        ("resume", "ann", True),
    ]  # fmt: skip


def test_control_request_sent_again_is_done_once(make, tmp_path):
    guard, desk = make()
    first = guard.control(control(wire.Halt))
    guard.control(control(wire.Resume, 2))
    assert guard.control(control(wire.Halt)) == first
    assert guard.halt is None
    assert len(desk.events) == 2
    assert len(audited(tmp_path)) == 2


def test_halt_is_said_once_and_a_second_one_says_so(make):
    guard, desk = make()
    guard.control(control(wire.Halt))
    reply = guard.control(control(wire.Halt, 2, by="bob"))
    assert (reply.done, reply.reason) == (False, "halted already by ann")
    assert len(desk.events) == 1
    assert guard.counts["halts"] == 1


def test_halt_outlives_the_node_and_is_told_under_the_new_epoch(make, tmp_path):
    guard, _ = make()
    guard.control(control(wire.Halt))
    again, desk = make(epoch=4)
    assert again.halt == guard.halt
    (told,) = desk.events
    assert (told.epoch, told.by, told.since_ns) == (4, "ann", guard.halt.since_ns)
    again.control(control(wire.Resume))
    assert halt.load(tmp_path / "h" / "g.json") is None
    assert make(epoch=5)[0].halt is None


def test_halt_that_cannot_be_read_is_in_force(make, tmp_path):
    (tmp_path / "h").mkdir()
    (tmp_path / "h" / "g.json").write_text("{")
    guard, _ = make()
    assert guard.halt.by == "unknown"


def test_halt_that_cannot_be_kept_is_in_force_all_the_same(make, tmp_path):
    guard, _ = make()
    (tmp_path / "h").write_text("no folder")
    assert guard.control(control(wire.Halt)).done
    assert guard.refusal("alpha", 1.0, 1.0).startswith("halted")


def test_flatten_halts_and_closes_once(make):
    guard, desk = make()
    desk.hold(5.0)
    reply = guard.control(control(wire.Flatten))
    assert (reply.state, reply.done, reply.client_order_id) == ("halted", True, "flatten-3-1")
    assert reply.position_qty == 5.0
    reply = guard.control(control(wire.Flatten, 2))
    assert (reply.done, reply.reason) == (False, "nothing to close")
    assert desk.closed == ["flatten-3-1"]
    assert [type(e) for e in desk.events] == [wire.Halted, wire.Flattened, wire.Flattened]


@pytest.mark.parametrize("on_halt", ["hold", "flatten"])
def test_loss_halts_once_and_closes_if_told_to(make, on_halt):
    guard, desk = make(max_daily_loss=100.0, on_halt=on_halt)
    desk.hold(5.0)
    guard.marked(1_000.0)
    guard.marked(950.0)
    assert guard.halt is None
    guard.marked(890.0)
    guard.marked(800.0)
    assert guard.halt.by == "limits"
    assert "max_daily_loss" in guard.halt.reason
    wanted = [wire.Halted] + [wire.Flattened] * (on_halt == "flatten")
    assert [type(e) for e in desk.events] == wanted
    guard.control(control(wire.Resume))
    guard.marked(800.0)
    assert guard.halt is None


def test_order_beyond_a_limit_is_refused_and_halts_only_if_told_to(make, tmp_path):
    guard, _ = make(max_position_qty=10.0)
    assert guard.refusal("alpha", 11.0, 1.0).startswith("limits.max_position_qty")
    assert guard.halt is None
    assert guard.counts == {"halts": 0, "limited": 1}
    (entry,) = audited(tmp_path)
    assert (entry.kind, entry.by, entry.subject) == ("refusal", "alpha", "order +11")
    strict, _ = make(max_position_qty=10.0, on_order_breach="halt")
    assert strict.refusal("alpha", -11.0, 1.0)
    assert strict.halt.by == "limits"


def test_open_orders_of_a_side_count_as_filled_and_those_of_the_other_as_not(make):
    guard, desk = make(max_position_qty=10.0)
    desk.ledger.order(6.0)
    assert guard.refusal("alpha", 5.0, 1.0)
    assert guard.refusal("alpha", 4.0, 1.0) == ""
    assert guard.refusal("alpha", -10.0, 1.0) == ""
    desk.ledger.order(-6.0)
    assert guard.refusal("alpha", 5.0, 1.0)
    assert guard.refusal("alpha", -5.0, 1.0)


def test_drawdown_is_counted_over_a_restart_where_the_account_goes_on(make, tmp_path):
    kept = {"marks": tmp_path / "v" / "g.marks", "max_drawdown_share": 0.1}
    guard, _ = make(**kept)
    guard.marked(1_000.0)
    guard.marked(950.0)
    guard.sync()
    new_account, _ = make(epoch=4, **kept)
    new_account.marked(890.0)
    assert new_account.halt is None
    same_account, _ = make(epoch=5, restored=True, **kept)
    same_account.marked(890.0)
    assert same_account.halt.reason.endswith("below its highest, 1,000.00")
    same_account.control(control(wire.Resume))
    same_account.sync()
    assert not kept["marks"].exists()
