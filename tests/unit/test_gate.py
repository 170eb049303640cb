"""Which action counts."""

import math

import pytest

from grid import wire
from grid.node.gate import Gate

SPEC = "0" * 32


@pytest.fixture
def gate():
    return Gate("S-1", epoch=7, spec_digest=SPEC, champion="alpha")


def join(gate, agent="alpha", role="champion"):
    granted = gate.hello(wire.Hello("S-1", agent, role, SPEC))
    assert not isinstance(granted, wire.Refused)
    return granted[0]


def action(lease, *, decision=1, seq=1, agent="alpha", epoch=7, target=1.0):
    return wire.Action("S-1", epoch, decision, agent, lease, seq, target)


def test_action_in_time_is_accepted_once(gate):
    lease = join(gate)
    gate.open(deadline_ns=100)
    first = action(lease)
    assert gate.judge(first, 50).status == "accepted"
    assert not gate.is_open
    again = gate.judge(first, 60)
    assert (again.status, again.reason) == ("duplicate", "answered before: accepted ")
    assert gate.judge(action(lease, seq=2), 60).status == "rejected"
    assert gate.counts["accepted"] == 1


def test_retry_gets_the_order_ids_of_the_first_answer(gate):
    lease = join(gate)
    gate.open(100)
    answer = gate.judge(action(lease), 50)
    gate.remember(action(lease), wire.Answer("accepted", 1, 1, "", ("id-1",)))
    assert answer.client_order_ids == ()
    assert gate.judge(action(lease), 60).client_order_ids == ("id-1",)


def test_action_after_the_deadline_is_late_even_before_the_timer(gate):
    lease = join(gate)
    gate.open(100)
    assert gate.judge(action(lease), 101).status == "late"
    assert gate.is_open
    assert gate.expire(1)
    assert not gate.expire(1)
    assert gate.judge(action(lease, seq=2), 102).status == "late"
    assert gate.counts["fallback"] == 1


def test_action_for_an_older_decision_is_stale(gate):
    lease = join(gate)
    gate.open(100)
    gate.open(200)
    assert gate.judge(action(lease, decision=1), 50).status == "stale"
    assert gate.is_open


def test_action_of_another_epoch_is_stale(gate):
    lease = join(gate)
    gate.open(100)
    assert gate.judge(action(lease, epoch=6), 50).status == "stale"


def test_older_lease_of_the_same_agent_is_fenced(gate):
    zombie = join(gate)
    lease = join(gate)
    assert lease > zombie
    gate.open(100)
    assert gate.judge(action(zombie), 50).status == "fenced"
    assert gate.judge(action(lease), 50).status == "accepted"


def test_lease_of_a_later_epoch_is_always_greater():
    first = Gate("S-1", 1, SPEC, "alpha")
    leases = [join(first) for _ in range(3)]
    assert join(Gate("S-1", 2, SPEC, "alpha")) > max(leases)


def test_stranger_without_a_lease_is_fenced(gate):
    gate.open(100)
    assert gate.judge(action(0, agent="mallory"), 50).status == "fenced"


def test_shadow_is_heard_and_never_traded(gate):
    champion, shadow = join(gate), join(gate, "beta", "shadow")
    gate.open(100)
    assert gate.judge(action(shadow, agent="beta"), 50).status == "shadow"
    assert gate.is_open
    assert gate.judge(action(champion), 50).status == "accepted"
    assert gate.judge(action(shadow, agent="beta", seq=2), 60).status == "shadow"
    assert gate.judge(action(shadow, agent="beta", seq=3), 160).status == "late"


@pytest.mark.parametrize("target", [math.nan, math.inf, 1.0001, -2.0])
def test_target_that_is_no_target_is_rejected(gate, target):
    lease = join(gate)
    gate.open(100)
    assert gate.judge(action(lease, target=target), 50).status == "rejected"
    assert gate.is_open


@pytest.mark.parametrize("decision", [0, -1, 2, 99])
def test_decision_that_was_never_asked_is_rejected(gate, decision):
    lease = join(gate)
    gate.open(100)
    assert gate.judge(action(lease, decision=decision), 50).status == "rejected"


@pytest.mark.parametrize(
    ("hello", "said"),
    [
        (wire.Hello("S-1", "alpha", "champion", "f" * 32), "spec digest"),
        (wire.Hello("S-1", "beta", "champion", SPEC), "the champion is 'alpha'"),
        (wire.Hello("S-1", "alpha", "champion", SPEC, version=99), "protocol version 1"),
    ],
)
def test_hello_that_does_not_fit_is_refused_with_the_reason(gate, hello, said):
    refused = gate.hello(hello)
    assert isinstance(refused, wire.Refused)
    assert said in refused.reason
    assert not refused.retry
