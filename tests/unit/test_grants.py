"""What a key may do, and for whom."""

import pytest

from grid import grants
from grid.errors import AccessError
from grid.grants import ALL, EVERYTHING, NOTHING, Grant, Topics

BAR = b"md.X.SIM.bar\0frame"


@pytest.mark.parametrize(
    ("granted", "frame", "allowed"),
    [
        (("md.*",), BAR, True),
        (("md.X.SIM.bar",), BAR, True),
        (("*",), b"anything", True),
        (("md.X.SIM.ba",), BAR, False),  # a name that begins another is not that other
        (("decision.S-1",), b"decision.S-10\0", False),
        (("sys.node",), b"sys.nodes\0", False),
        (("md.*", "sys.node"), b"sys.node\0", True),
        ((), BAR, False),
        (("md.*",), b"md", False),
    ],
)
def test_topics_allow_what_is_granted_and_nothing_beside_it(granted, frame, allowed):
    assert Topics(granted).allow(frame) is allowed


@pytest.mark.parametrize(
    ("granted", "asked", "made"),
    [
        (("*",), b"", b""),
        (("md.*",), b"md.X.", b"md.X."),
        (("md.*",), b"md.", b"md."),
        (("md.*",), b"m", None),  # would match more than is granted
        (("md.*",), b"", None),
        (("decision.S",), b"decision.S\0", b"decision.S\0"),
        (("decision.S",), b"decision.S", b"decision.S\0"),  # closed, else it were S-2's too
        (("decision.S",), b"decision.S-2", None),
        (("decision.S",), b"decision.", None),
    ],
)
def test_subscription_matches_only_what_is_granted(granted, asked, made):
    assert Topics(granted).narrowed(asked) == made


def test_everything_and_nothing():
    ends = ("events_in", "events_out", "requests", "strategies", "feed", "venue")
    assert all(EVERYTHING.may_enter(e) for e in ends)
    assert not any(NOTHING.may_enter(e) for e in ends)
    assert not EVERYTHING.may_enter("elsewhere")
    assert EVERYTHING.is_everything
    assert not NOTHING.is_everything


def test_agents_role_is_to_follow_and_act_as_itself_for_its_strategies():
    grant = grants.of_role("agent", "beta", ("S-1",))
    assert (grant.act, grant.agents, grant.control, grant.serve) == (("S-1",), ("beta",), (), ())
    publish, subscribe = Topics(grant.publish), Topics(grant.subscribe)
    assert publish.allow(b"sys.agent-beta\0")
    assert not publish.allow(b"sys.node\0")
    assert not publish.allow(b"md.X.SIM.bar\0")
    assert subscribe.narrowed(b"decision.S-1\0")
    assert subscribe.narrowed(b"decision.S-2\0") is None
    assert subscribe.narrowed(b"exec.S-1\0") is None
    assert [e for e in ("feed", "venue", "strategies") if grant.may_enter(e)] == []


def test_nodes_role_is_to_speak_for_its_strategies_alone():
    grant = grants.of_role("node", "node2", ("S-2",))
    publish = Topics(grant.publish)
    assert publish.allow(b"exec.S-2\0")
    assert not publish.allow(b"exec.S-1\0")
    assert grant.serve == ("S-2", "history.node2")
    assert grant.may_enter("feed")
    assert not grant.may_enter("requests")


def test_operator_controls_and_observer_does_not():
    operator = grants.of_role("operator", "ann", ("S-1",))
    observer = grants.of_role("observer", "desk")
    assert operator.control == ("S-1",)
    assert observer.control == ()
    assert observer.subscribe == operator.subscribe == ALL
    assert not observer.act


@pytest.mark.parametrize("role", ["agent", "node", "operator"])
def test_role_that_is_for_a_strategy_demands_one(role):
    with pytest.raises(AccessError, match="at least one --strategy"):
        grants.of_role(role, "beta")


def test_unknown_role_is_refused():
    with pytest.raises(AccessError, match="expected one of grid, agent"):
        grants.of_role("root", "beta")


def test_all_stands_for_every_name():
    assert grants.covers(ALL, "S-1")
    assert grants.covers(("S-1",), "S-1")
    assert not grants.covers(("S-1",), "S-10")
    assert Grant(serve=("history",)).may_enter("strategies")
