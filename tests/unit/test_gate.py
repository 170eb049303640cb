"""Which action counts."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid import wire
from grid.node.gate import Gate

SPEC = "0" * 32


@pytest.fixture
def gate():
    return Gate("S-1", epoch=7, spec_digest=SPEC, champion="alpha")


def join(gate, agent="alpha", role="champion", now=0):
    granted = gate.hello(wire.Hello("S-1", agent, role, SPEC), now)
    assert not isinstance(granted, wire.Refused)
    return granted


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
    refused = gate.hello(hello, 0)
    assert isinstance(refused, wire.Refused)
    assert said in refused.reason
    assert not refused.retry


# -- failover ---------------------------------------------------------------------------------

TTL = 1_500


@pytest.fixture
def pair():
    return Gate("S-1", 7, SPEC, champion="alpha", standbys=("beta", "gamma"), lease_ttl_ns=TTL)


def renew(gate, agent, lease, now):
    return gate.renew(wire.Renew("S-1", agent, lease), now)


def test_standby_takes_over_only_when_the_champions_lease_has_lapsed(pair):
    old, standby = join(pair), join(pair, "beta", "standby")
    pair.open(deadline_ns=100)
    assert pair.judge(action(old), 50).status == "accepted"
    lapses = 100 + TTL
    pair.open(lapses + 500)
    assert renew(pair, "beta", standby, lapses) == wire.Renewed(
        "S-1", "beta", standby, "alpha", TTL
    )
    assert pair.judge(action(standby, decision=2, agent="beta"), lapses).status == "shadow"
    renewed = renew(pair, "beta", standby, lapses + 1)
    assert renewed.holder == pair.holder == "beta"
    assert renewed.lease > max(old, standby)
    assert pair.judge(action(old, decision=2, seq=2), lapses + 2).status == "fenced"
    taken = action(renewed.lease, decision=2, agent="beta")
    assert pair.judge(taken, lapses + 3).status == "accepted"
    assert pair.counts["took_over"] == 1


def test_champion_that_renews_keeps_its_place(pair):
    lease, standby = join(pair), join(pair, "beta", "standby")
    pair.open(100)
    for now in range(0, 10 * TTL, TTL // 3):
        assert renew(pair, "alpha", lease, now).lease == lease
        assert renew(pair, "beta", standby, now).holder == "alpha"


def test_champion_whose_lease_lapsed_goes_on_while_nobody_takes_over(pair):
    lease = join(pair)
    pair.open(100)
    pair.open(10 * TTL)
    assert pair.lapsed_ns(9 * TTL) > 0
    assert pair.judge(action(lease, decision=2), 9 * TTL).status == "accepted"
    assert pair.lapsed_ns(9 * TTL) == 0


def test_place_is_kept_for_a_champion_that_comes_late(pair):
    standby = join(pair, "beta", "standby")
    assert renew(pair, "beta", standby, 10**12).holder == "alpha"  # nothing was asked yet
    pair.open(10**12)
    assert renew(pair, "beta", standby, 10**12 + TTL).holder == "alpha"
    assert renew(pair, "beta", standby, 10**12 + TTL + 1).holder == "beta"


def test_champion_that_comes_back_waits_until_the_standby_is_gone(pair):
    join(pair)
    standby = join(pair, "beta", "standby")
    pair.open(0)
    held = renew(pair, "beta", standby, TTL + 1).lease
    lease = join(pair, now=TTL + 2)
    assert renew(pair, "alpha", lease, TTL + 3).holder == "beta"
    assert pair.judge(action(lease), TTL + 3).status in ("shadow", "late")
    assert renew(pair, "alpha", lease, 2 * TTL + 2).holder == "alpha"
    assert renew(pair, "beta", held, 2 * TTL + 3).lease == 0


def test_shadow_never_takes_over_even_under_the_id_of_a_standby(pair):
    shadow = join(pair, "beta", "shadow")
    pair.open(0)
    assert renew(pair, "beta", shadow, 100 * TTL).holder == "alpha"


def test_champion_that_only_watches_does_not_keep_its_place(pair):
    shadow, standby = join(pair, "alpha", "shadow"), join(pair, "beta", "standby")
    pair.open(0)
    assert renew(pair, "alpha", shadow, TTL).holder == "alpha"
    assert renew(pair, "beta", standby, TTL + 1).holder == "beta"


def test_standby_that_is_none_is_refused(pair):
    refused = pair.hello(wire.Hello("S-1", "delta", "standby", SPEC), 0)
    assert isinstance(refused, wire.Refused)
    assert "'delta' is none of the standbys" in refused.reason


AGENTS = {"alpha": "champion", "beta": "standby", "gamma": "standby", "delta": "shadow"}
ops = st.one_of(
    st.tuples(st.just("pass"), st.sampled_from([1, 200, TTL // 3, TTL, 3 * TTL])),
    st.tuples(st.just("open"), st.sampled_from([100, 1_000, 5_000])),
    st.tuples(st.just("expire"), st.none()),
    st.tuples(st.sampled_from(["hello", "renew"]), st.sampled_from(sorted(AGENTS))),
    st.tuples(
        st.just("act"),
        st.tuples(
            st.sampled_from(sorted(AGENTS)),
            st.integers(0, 3),  # how old a lease
            st.integers(0, 2),  # how old a decision
            st.booleans(),  # the last key again
        ),
    ),
)


@given(st.lists(ops, max_size=120))
def test_no_schedule_makes_two_agents_trade_or_one_twice(schedule):
    gate = Gate("S-1", 7, SPEC, "alpha", ("beta", "gamma"), TTL)
    now, key = 0, 0
    leases: dict[str, list[int]] = {agent: [] for agent in AGENTS}
    granted: list[int] = []
    accepted: dict[int, str] = {}  # decision -> by whom
    trading: list[int] = []  # leases of what was accepted, in order
    renewed = {"alpha": 0}

    def take(agent, lease):
        if lease and lease not in granted:
            assert lease > max(granted, default=0)
            granted.append(lease)
            leases[agent].append(lease)

    for what, how in schedule:
        before = gate.holder
        if what == "pass":
            now += how
        elif what == "open":
            gate.open(now + how)
        elif what == "expire":
            gate.expire(gate.decision_seq)
        elif what == "hello":
            take(how, join(gate, how, AGENTS[how], now))
            renewed[how] = now
        elif what == "renew" and leases[how]:
            lease = leases[how][-1]
            take(how, renew(gate, how, lease, now).lease)
            if gate.holder != before:
                # whoever takes over does so from one who was silent for a whole lease
                assert gate.holder == how != before
                assert now - renewed.get(before, -TTL) > TTL
            renewed[how] = now
        elif what == "act":
            agent, age, older, again = how
            if not leases[agent]:
                continue
            key += not again
            lease = leases[agent][-1 - min(age, len(leases[agent]) - 1)]
            decision = gate.decision_seq - older
            answer = gate.judge(action(lease, decision=decision, seq=key, agent=agent), now)
            if answer.status == "accepted":
                assert lease == leases[agent][-1]  # never an older one
                assert agent == gate.holder
                assert AGENTS[agent] != "shadow"
                assert decision == gate.decision_seq
                assert decision not in accepted
                assert lease >= max(trading, default=0)
                accepted[decision] = agent
                trading.append(lease)
                renewed[agent] = now
        if gate.holder != before:
            assert what == "renew"
    assert len(accepted) == gate.counts["accepted"]
