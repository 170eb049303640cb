"""The broker's decisions about requests, without a socket."""

import pytest

from grid import wire
from grid.switch import MAX_REQUEST_BYTES, MAX_STRATEGIES, SILENT_S, Switch

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
