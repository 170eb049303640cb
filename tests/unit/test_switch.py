"""The broker's decisions about requests, without a socket."""

import msgspec
import pytest

from grid import grants, wire
from grid.access import Holder
from grid.grants import Grant
from grid.switch import MAX_REQUEST_BYTES, MAX_STRATEGIES, REQUESTS_PER_S, SILENT_S, Switch

ACTION = wire.Action("s1", 1, 7, "alpha", 1, 3, 0.5)
HELLO = wire.Hello("s1", "alpha", "shadow", "digest")


def register(switch: Switch, rid: bytes, strategy_id: str, epoch: int, now_s: float = 0.0) -> None:
    payload = wire.encode(wire.Register(strategy_id, epoch))
    assert switch.from_strategy([rid, b"", payload], now_s) is None


def answer(switch: Switch, payload: bytes, now_s: float = 0.0) -> wire.Reply:
    side, frames = switch.from_agent([b"agent", b"", payload], now_s)
    assert side == "agents"
    assert frames[:2] == [b"agent", b""]
    return wire.reply(frames[2])


def test_request_goes_to_the_strategy_that_it_names_with_the_agent_as_correlation() -> None:
    switch = Switch()
    register(switch, b"node1", "s1", 1)
    register(switch, b"node2", "s2", 1)
    payload = wire.encode(ACTION)
    sent = switch.from_agent([b"agent", b"", payload], 1.0)
    assert sent == ("strategies", [b"node1", b"agent", payload])


def test_request_for_history_goes_to_whoever_keeps_it() -> None:
    switch = Switch()
    register(switch, b"recorder", "history", 1)
    register(switch, b"node1", "history.node", 1)
    for at, where in (("history", b"recorder"), ("history.node", b"node1")):
        payload = wire.encode(wire.Fetch(at, "alpha", "node", 1, "md.X.SIM.bar", 3, 4))
        assert switch.from_agent([b"a", b"", payload], 1.0) == (
            "strategies",
            [where, b"a", payload],
        )
    reply = answer(switch, wire.encode(wire.Tail("history.feed", "alpha", "t", 1)), 1.0)
    assert isinstance(reply, wire.Refused)
    assert reply.retry
    assert "'history.feed' is not known" in reply.reason


def test_reply_goes_back_to_the_agent_in_the_envelope_of_a_req_socket() -> None:
    sent = Switch().from_strategy([b"node1", b"agent", b"reply"], 0.0)
    assert sent == ("agents", [b"agent", b"", b"reply"])


def test_action_for_an_unknown_strategy_is_rejected_with_its_own_numbers() -> None:
    switch = Switch()
    reply = answer(switch, wire.encode(ACTION))
    assert isinstance(reply, wire.Answer)
    assert (reply.status, reply.decision_seq, reply.action_seq) == ("rejected", 7, 3)
    assert reply.retry
    assert "'s1' is not known" in reply.reason
    assert switch.refused == {"unknown": 1}


def test_hello_for_an_unknown_strategy_is_refused_and_may_try_again() -> None:
    reply = answer(Switch(), wire.encode(HELLO))
    assert isinstance(reply, wire.Refused)
    assert reply.retry


def test_request_for_a_silent_strategy_is_rejected_until_it_registers_again() -> None:
    switch = Switch()
    register(switch, b"node1", "s1", 1, now_s=0.0)
    payload = wire.encode(ACTION)
    assert switch.from_agent([b"a", b"", payload], SILENT_S)[0] == "strategies"
    reply = answer(switch, payload, SILENT_S + 0.1)
    assert isinstance(reply, wire.Answer)
    assert "silent" in reply.reason
    register(switch, b"node1", "s1", 1, now_s=SILENT_S + 0.2)
    assert switch.from_agent([b"a", b"", payload], SILENT_S + 0.3)[0] == "strategies"


def test_registration_of_the_highest_epoch_wins_and_older_ones_are_counted() -> None:
    switch = Switch()
    register(switch, b"new", "s1", 2)
    register(switch, b"old", "s1", 1)
    assert switch.routes["s1"].routing_id == b"new"
    assert switch.ignored == 1
    register(switch, b"new, reconnected", "s1", 2)
    assert switch.routes["s1"].routing_id == b"new, reconnected"


def test_registrations_are_bounded() -> None:
    switch = Switch()
    for i in range(MAX_STRATEGIES + 5):
        register(switch, b"n", f"s{i}", 1)
    assert len(switch.routes) == MAX_STRATEGIES
    assert switch.ignored == 5


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"\xc1", "undecodable"),
        (b"", "undecodable"),
        (b"\x91" * 100_000, "undecodable"),  # deeply nested
        (wire.encode(wire.Register("s1", 1)), "undecodable"),  # a message, but no request
        (b"x" * (MAX_REQUEST_BYTES + 1), "oversize"),
    ],
)
def test_rubbish_is_refused_once_and_counted(payload: bytes, why: str) -> None:
    switch = Switch()
    reply = answer(switch, payload)
    assert isinstance(reply, wire.Refused)
    assert not reply.retry
    assert switch.refused == {why: 1}


@pytest.mark.parametrize(
    "frames", [[b"a"], [b"a", b"x"], [b"a", b"", b"x", b"y"], [b"a", b"x", b""]]
)
def test_request_in_a_wrong_envelope_is_refused(frames: list[bytes]) -> None:
    side, reply = Switch().from_agent(frames, 0.0)
    assert side == "agents"
    assert isinstance(wire.reply(reply[2]), wire.Refused)


def test_request_that_cannot_be_delivered_is_answered_and_a_reply_is_let_go() -> None:
    switch = Switch()
    instead = switch.undeliverable(("strategies", [b"node1", b"agent", wire.encode(ACTION)]))
    assert instead is not None
    assert wire.reply(instead[1][2]).reason == "strategy 's1' cannot be reached"  # type: ignore[union-attr]
    assert switch.undeliverable(("agents", [b"agent", b"", b"reply"])) is None
    assert (switch.refused, switch.lost) == ({"unreachable": 1}, 1)


def test_frames_of_a_strategy_that_mean_nothing_are_counted() -> None:
    switch = Switch()
    assert switch.from_strategy([b"node1", b"", b"\xc1"], 0.0) is None
    assert switch.from_strategy([b"node1"], 0.0) is None
    assert switch.bad == 2


# -- keys and their rights ---------------------------------------------------------------------


def holding(name: str, grant: Grant) -> Holder:
    return Holder(name=name, public="0" * 40, grant=grant)


BETA = holding("beta", grants.of_role("agent", "beta", ("s1",)))
ANN = holding("ann", grants.of_role("operator", "ann", ("s1",)))
TOM = holding("tom", grants.of_role("trader", "tom", ("s1",)))
NODE2 = holding("node2", grants.of_role("node", "node2", ("s2",)))


def asked(switch: Switch, who: Holder, request: wire.Request) -> wire.Reply | None:
    """What the broker itself answers; None when it passes the request on."""
    side, frames = switch.from_agent([b"a", b"", wire.encode(request)], 1.0, who)
    return wire.reply(frames[2]) if side == "agents" else None


def passed_on(switch: Switch, who: Holder, request: wire.Request) -> wire.Request:
    side, frames = switch.from_agent([b"a", b"", wire.encode(request)], 1.0, who)
    assert side == "strategies"
    return wire.request(frames[2])


@pytest.fixture
def switch() -> Switch:
    made = Switch()
    for name in ("s1", "s2", "history"):
        register(made, b"node", name, 1)
    return made


@pytest.mark.parametrize(
    ("who", "request_", "why"),
    [
        (BETA, wire.Hello("s2", "beta", "shadow", "d"), "may not act for strategy 's2'"),
        (BETA, wire.Hello("s1", "alpha", "champion", "d"), "may not act as agent 'alpha'"),
        (BETA, wire.Renew("s1", "alpha", 1), "may not act as agent 'alpha'"),
        (BETA, wire.Halt("s1", "r", "ann"), "may not control strategy 's1'"),
        (ANN, wire.Flatten("s2", "r", "ann"), "may not control strategy 's2'"),
        (ANN, wire.ManualOrder("s1", "manual-1", "ann", "BUY", 1.0), "may not order for"),
        (TOM, wire.CancelManual("s2", "manual-1", "tom"), "may not order for strategy 's2'"),
        (ANN, wire.Hello("s1", "ann", "shadow", "d"), "may not act for"),
        (ANN, wire.Tail("history", "ann", "md.X.SIM.bar", 1), "may not fetch past events"),
        (BETA, wire.Tail("history", "beta", "exec.s1", 1), "may not follow topic 'exec.s1'"),
    ],
)
def test_request_beyond_a_keys_rights_is_refused_and_told(
    switch: Switch, who: Holder, request_: wire.Request, why: str
) -> None:
    told = []
    switch._on_refusal = lambda *what: told.append(what)
    reply = asked(switch, who, request_)
    assert isinstance(reply, wire.Refused)
    assert not reply.retry
    assert why in reply.reason
    assert switch.refused["forbidden"] == 1
    assert told == [(who, request_, reply.reason.removeprefix(f"key {who.name!r}: "))]


def test_action_beyond_a_keys_rights_is_rejected_with_its_own_numbers(switch: Switch) -> None:
    reply = asked(switch, BETA, ACTION)
    assert isinstance(reply, wire.Answer)
    assert (reply.status, reply.decision_seq, reply.action_seq) == ("rejected", 7, 3)
    assert "may not act as agent 'alpha'" in reply.reason
    assert not reply.retry


def test_request_within_a_keys_rights_goes_on_under_the_name_that_was_proved(
    switch: Switch,
) -> None:
    halt = passed_on(switch, ANN, wire.Halt("s1", "r", "someone else", "why"))
    assert halt == wire.Halt("s1", "r", "ann", "why")
    fetch = passed_on(switch, BETA, wire.Tail("history", "node", "md.X.SIM.bar", 1))
    assert fetch == wire.Tail("history", "beta", "md.X.SIM.bar", 1)
    hello = wire.Hello("s1", "beta", "shadow", "d")
    assert passed_on(switch, BETA, hello) == hello


def test_strategy_is_served_by_a_key_that_may_alone(switch: Switch) -> None:
    stolen = wire.encode(wire.Register("s1", 99))
    assert switch.from_strategy([b"thief", b"", stolen], 1.0, NODE2) is None
    assert switch.routes["s1"].routing_id == b"node"
    assert switch.refused["forbidden"] == 1
    own = wire.encode(wire.Register("s2", 2))
    assert switch.from_strategy([b"node2", b"", own], 1.0, NODE2) is None
    assert switch.routes["s2"].routing_id == b"node2"


def test_strategy_answers_what_it_was_asked_and_nothing_else(switch: Switch) -> None:
    own = wire.encode(wire.Register("s2", 2))
    switch.from_strategy([b"node2", b"", own], 1.0, NODE2)
    assert switch.from_strategy([b"node2", b"a", b"forged"], 1.0, NODE2) is None
    for n in (1, 2):
        passed_on(switch, holding("gamma", grants.EVERYTHING), wire.Renew("s2", "gamma", n))
    for _ in range(2):
        reply = switch.from_strategy([b"node2", b"a", b"reply"], 1.0, NODE2)
        assert reply == ("agents", [b"a", b"", b"reply"])
    assert switch.from_strategy([b"node2", b"a", b"one too many"], 1.0, NODE2) is None
    assert switch.refused["unasked"] == 2


def test_peer_that_floods_is_answered_without_a_look_and_others_are_served(
    switch: Switch,
) -> None:
    payload = wire.encode(wire.Renew("s1", "beta", 1))
    for _ in range(int(REQUESTS_PER_S)):
        assert switch.from_agent([b"a", b"", payload], 1.0, BETA)[0] == "strategies"
    side, frames = switch.from_agent([b"b", b"", payload], 1.0, BETA)  # a second connection
    assert side == "agents"
    assert wire.reply(frames[2]) == wire.Refused("more than 5000 requests in a second", retry=True)
    assert switch.refused["flood"] == 1
    other = holding("gamma", grants.of_role("agent", "beta", ("s1",)))
    assert switch.from_agent([b"c", b"", payload], 1.0, other)[0] == "strategies"
    assert switch.from_agent([b"a", b"", payload], 2.0, BETA)[0] == "strategies"


def test_manual_order_is_of_whoever_has_the_key(switch):
    order = wire.ManualOrder("s1", "manual-1", "somebody", "BUY", 1.0)
    assert passed_on(switch, TOM, order) == msgspec.structs.replace(order, by="tom")
