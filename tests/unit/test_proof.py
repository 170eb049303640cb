"""An honest recording passes every rule; each crime that is planted in it breaks its own."""

from typing import Any

import msgspec
import pytest

from grid import wire
from grid.paper.log import LoggedOrder, VenueLog
from grid.proof.check import RULES, check
from grid.proof.evidence import Evidence
from grid.session import LostRecord
from tests.support import markets

DATA = markets.dataset(markets.bar_columns(120))
INFO = wire.StrategyInfo(
    "S", 1, msgspec.json.encode(markets.spec_for(DATA)), msgspec.json.encode(markets.PAIR), b"{}",
    0, {},
)  # fmt: skip
CAPITAL = markets.spec_for(DATA).capital
MD, ASK, EXEC = "md.EUR/USD.SIM.bar", "decision.S", "exec.S"
LEASE, BETAS = 1_000_001, 1_000_002
MS = 1_000_000
STEP_NS = 10 * MS

type Line = tuple[str, wire.Event]


def decision(seq: int, qty: float, cash: float) -> Line:
    account = wire.Account(qty, 0.0, cash, cash, 0.0, 1.0, 0)
    return ASK, wire.Decision("S", 1, seq, seq, MD, seq, 50 * MS, account)


def acted(seq: int, n: int, status: Any = "accepted", **more: Any) -> Line:
    agent, lease = more.pop("agent", "alpha"), more.pop("lease", LEASE)
    reason = more.pop("reason", "" if status in ("accepted", "shadow") else "because")
    ids = (f"{agent}-{lease}-{n}",) if status == "accepted" else ()
    action = wire.Action("S", more.pop("epoch", 1), seq, agent, lease, n, 1.0)
    return EXEC, wire.Acted(action, wire.Answer(status, seq, n, reason, ids), 0)


def order(seq: int, name: str, status: str, qty: float = 5.0, reason: str = "") -> Line:
    return EXEC, wire.OrderUpdate("S", 1, seq, name, status, "BUY", qty, seq, reason)


def fill(seq: int, name: str, trade: str, after: float, qty: float = 5.0) -> Line:
    return EXEC, wire.Fill(
        "S", 1, seq, name, trade, "BUY", qty, 2.0, 0.5, "USD", after, seq, seq
    )  # fmt: skip


def outcome(seq: int, how: Any = "action", reason: str = "") -> Line:
    return EXEC, wire.Outcome("S", 1, seq, seq, how, 1.0, "alpha", reason)


FIRST, SECOND = f"alpha-{LEASE}-1", f"beta-{BETAS + 1}-1"
HONEST: list[Line] = [
    (EXEC, INFO),
    (EXEC, wire.Joined("S", 1, "alpha", "champion", LEASE)),
    (EXEC, wire.Joined("S", 1, "beta", "standby", BETAS)),
    decision(1, 0.0, CAPITAL),
    order(1, FIRST, "submitted"),
    acted(1, 1),
    outcome(1),
    order(1, FIRST, "accepted"),
    fill(1, FIRST, "main-1", 5.0),
    decision(2, 5.0, CAPITAL - 10.5),
    acted(2, 2, "rejected"),
    outcome(2, "fallback", "no action by the deadline"),
    (EXEC, wire.TookOver("S", 1, "beta", BETAS + 1, "alpha", 5)),
    decision(3, 5.0, CAPITAL - 10.5),
    order(3, SECOND, "submitted"),
    acted(3, 1, agent="beta", lease=BETAS + 1),
    outcome(3),
    order(3, SECOND, "accepted"),
    fill(3, SECOND, "main-2", 10.0),
    decision(4, 10.0, CAPITAL - 21.0),
    outcome(4, "fallback", "no action by the deadline"),
    (EXEC, wire.EndOfData("S", 1, 4)),
]
FILLS = (
    wire.VenueFill("main-1", FIRST, 5.0, 2.0, 0.5, 1),
    wire.VenueFill("main-2", SECOND, 5.0, 2.0, 0.5, 3),
)
VENUE = VenueLog({n: LoggedOrder(n, 5.0, 1, "filled") for n in (FIRST, SECOND)}, FILLS)


def recorded(
    lines: list[Line], session: str = "one", epoch: int = 1, skip: frozenset[int] = frozenset()
) -> list[tuple[str, str, wire.Envelope]]:
    """What a recorder has of it: published 10 ms apart, actions received as they are published."""
    seqs: dict[str, int] = {}
    found = []
    for i, (topic, said) in enumerate(lines):
        now_ns = (i + 1) * STEP_NS
        seqs[topic] = seqs.get(topic, 0) + 1
        fresh = isinstance(said, wire.Acted) and not said.ts_recv_ns
        event = msgspec.structs.replace(said, ts_recv_ns=now_ns) if fresh else said
        if i not in skip:
            frame = wire.pack(topic, "node", epoch, seqs[topic], now_ns, event)
            found.append((session, *wire.unpack(frame)))
    return found


def broken(evidence: Evidence, **how: Any) -> set[str]:
    return {one.rule for one in check(evidence, **how) if one.violations}


def changed(at: Line, *to: Line) -> list[Line]:
    """The honest lines with one of them replaced."""
    i = HONEST.index(at)
    return [*HONEST[:i], *to, *HONEST[i + 1 :]]


def after(at: Line, *more: Line) -> list[Line]:
    return changed(at, at, *more)


def test_honest_recording_breaks_no_rule_and_every_rule_looked():
    checked = check(Evidence(recorded(HONEST), venue=VENUE))
    assert [one.rule for one in checked] == list(RULES)
    assert [one for one in checked if one.violations] == []
    assert all(one.looked_at for one in checked)


D2, D3 = decision(2, 5.0, CAPITAL - 10.5), decision(3, 5.0, CAPITAL - 10.5)
REJECTED, BETA = acted(2, 2, "rejected"), acted(3, 1, agent="beta", lease=BETAS + 1)
F1, F2 = fill(1, FIRST, "main-1", 5.0), fill(3, SECOND, "main-2", 10.0)
LATE = (EXEC, msgspec.structs.replace(BETA[1], ts_recv_ns=STEP_NS * 14 + 52 * MS))


@pytest.mark.parametrize(
    ("lines", "rules"),
    [
        (changed(outcome(1)), {"each decision ends once"}),
        (after(outcome(2, "fallback", "no action by the deadline"), outcome(2)),
         {"each decision ends once"}),
        (changed(D2), {"each decision ends once"}),
        (after(acted(1, 1), acted(1, 1)), {"no action counts twice"}),
        (after(outcome(1), acted(1, 2)), {"no action counts twice", "no action is stale",
                                          "no order is lost"}),
        (changed(BETA, LATE), {"no action is stale"}),
        (changed(BETA, acted(3, 3, lease=LEASE)),
         {"no action is from the wrong hand", "no order is lost", "no order is unasked for"}),
        (changed(BETA, acted(3, 1, agent="beta", lease=BETAS)),
         {"no action is from the wrong hand", "no order is lost", "no order is unasked for"}),
        (changed(BETA, acted(3, 1, agent="beta", lease=BETAS + 1, epoch=2)),
         {"no action is stale"}),
        (changed(REJECTED, acted(2, 2, "rejected", reason="")), {"each refusal has a reason"}),
        (after(REJECTED, order(2, FIRST, "rejected")), {"each refusal has a reason"}),
        (changed(outcome(4, "fallback", "no action by the deadline"), outcome(4, "fallback")),
         {"each refusal has a reason"}),
        (changed(BETA), {"no order is unasked for"}),
        (after(outcome(2, "fallback", "no action by the deadline"), order(2, "x", "submitted"),
               order(2, "x", "canceled")), {"no order is unasked for"}),
        (after(order(1, FIRST, "submitted"), order(1, FIRST, "submitted")),
         {"no order is doubled"}),
        (after(F1, fill(1, FIRST, "main-1", 10.0)),
         {"no order is doubled", "positions follow from fills"}),
        (changed(F1, fill(1, FIRST, "main-1", 6.0)), {"positions follow from fills"}),
        (changed(D3, decision(3, 6.0, CAPITAL - 10.5)), {"positions follow from fills"}),
        (changed(D3, decision(3, 5.0, CAPITAL)), {"positions follow from fills"}),
        (changed(F2, fill(3, SECOND, "main-9", 10.0)), {"positions follow from fills"}),
    ],
)  # fmt: skip
def test_planted_crime_breaks_its_rule(lines, rules):
    assert broken(Evidence(recorded(lines), venue=VENUE)) == rules


@pytest.mark.parametrize(
    ("venue", "rules"),
    [
        (VenueLog({SECOND: VENUE.orders[SECOND]}, FILLS), {"no order is lost"}),
        (VenueLog({**VENUE.orders, FIRST: LoggedOrder(FIRST, 5.0, 1, "open")}, FILLS),
         {"no order is doubled"}),
        (VenueLog({**VENUE.orders, "ghost": LoggedOrder("ghost", 5.0, 1, "canceled")}, FILLS),
         {"no order is unasked for"}),
        (VenueLog(VENUE.orders, (*FILLS, FILLS[1])), {"no order is doubled"}),
        (VenueLog(VENUE.orders, FILLS[:1]),
         {"no order is doubled", "positions follow from fills"}),
    ],
)  # fmt: skip
def test_journal_that_tells_another_story_breaks_a_rule(venue, rules):
    assert broken(Evidence(recorded(HONEST), venue=venue)) == rules


def test_order_without_end_is_lost_unless_its_node_was_killed():
    lines = [line for line in HONEST if line != F1 and line != F2]
    lines = [line for line in lines if not isinstance(line[1], wire.Decision | wire.EndOfData)]
    told = Evidence(recorded([*lines, (EXEC, wire.EndOfData("S", 1, 4))]))
    assert "no order is lost" in broken(told)
    killed = recorded(lines)
    again = recorded([(EXEC, INFO)], epoch=2)
    assert "no order is lost" not in broken(Evidence([*killed, *again]))


def test_hole_is_a_violation_unless_a_session_says_so():
    hole = frozenset({9})  # the second decision
    rule = {"no hole in a stream is untold"}
    assert broken(Evidence(recorded(HONEST, skip=hole), venue=VENUE)) == rule
    record = LostRecord(
        cause="stream", frames=1, source="node", epoch=1, topic=ASK, first=2, last=2
    )
    told = Evidence(recorded(HONEST, skip=hole), [record], VENUE)
    assert broken(told) == set()
    assert [hole.told for hole in told.holes] == [True]


def test_hole_in_one_session_is_none_when_another_has_it_or_begins_behind_it():
    first, second = recorded(HONEST, "one"), recorded(HONEST, "two")
    assert broken(Evidence(first[:8] + second[6:], venue=VENUE)) == set()
    late = Evidence(first[:8] + second[10:], venue=VENUE)
    assert all(hole.told for hole in late.holes)
    assert broken(late) == set()


def test_two_events_at_one_place_are_a_violation():
    forged = recorded(changed(D3, decision(3, 5.0, 1.0)), "two")
    evidence = Evidence(recorded(HONEST) + forged, venue=VENUE)
    assert broken(evidence) == {"no hole in a stream is untold"}


def test_violation_names_the_events_that_show_it():
    (found,) = (
        one for one in check(Evidence(recorded(changed(outcome(1))), venue=VENUE)) if one.violations
    )
    assert found.violations == (
        "decision 1 had no end; one: node 1 decision.S 1; one: node 1 decision.S 2",
    )


def test_times_are_not_compared_where_clocks_were_set():
    evidence = Evidence(recorded(changed(BETA, LATE)), venue=VENUE)
    assert broken(evidence, clocks_hold=False) == set()
    stale = Evidence(recorded(after(outcome(1), acted(1, 2))), venue=VENUE)
    assert "no action is stale" in broken(stale, clocks_hold=False)


def test_next_life_goes_on_with_what_the_venue_kept():
    held = wire.Holdings(CAPITAL - 21.0, 10.0, 2.0, 1.0, 20.0, 2)
    first = recorded(HONEST[:-2])
    lines = [
        (EXEC, msgspec.structs.replace(INFO, epoch=2)),
        (EXEC, wire.Restored("S", 2, held, ())),
    ]
    assert broken(Evidence(first + recorded(lines, epoch=2), venue=VENUE)) == set()
    wrong = wire.Restored("S", 2, msgspec.structs.replace(held, fills=1), ())
    lines = [lines[0], (EXEC, wrong)]
    found = broken(Evidence(first + recorded(lines, epoch=2), venue=VENUE))
    assert found == {"positions follow from fills"}
