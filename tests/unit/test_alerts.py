"""Which events are told to people, once each, and how many messages that makes."""

import pytest

from grid import wire
from grid.bridges.outbox import RETRY_S, Kept, Outbox
from grid.bridges.rules import Alert, Rules, State
from grid.bridges.telegram import Command, command_of

DAY_NS = 86_400_000_000_000
S_NS = 1_000_000_000


def envelope(seq: int = 1, ts_ns: int = DAY_NS) -> wire.Envelope:
    frame = wire.pack("exec.S-1", "node", 1, seq, ts_ns, wire.EndOfData("S-1", 1, 1))
    return wire.unpack(frame)[1]


def rules(state: State | None = None, **how: float) -> Rules:
    return Rules("eurusd", state or State(), DAY_NS, **how)  # type: ignore[arg-type]


def beat(
    name: str = "agent-a", state: str = "running", role: str = "agent champion", missing: float = 0
) -> wire.Heartbeat:
    return wire.Heartbeat(name, role, 1, state, 1.0, {"missing": missing}, {})


def fill(qty: float) -> wire.Fill:
    return wire.Fill(
        "S-1", 1, 1, "o-1", f"t-{qty:g}", "BUY", qty, 1.1, 0.0, "USD", qty, DAY_NS
    )  # fmt: skip


def told(alerts: list[Alert]) -> list[str]:
    return [alert.title.partition(": ")[2] for alert in alerts]


@pytest.mark.parametrize(
    ("event", "title"),
    [
        (wire.Halted("S-1", 1, "limits", "loss", 1, 1), "halted"),
        (wire.Resumed("S-1", 1, "ann", "", 1), "trades again"),
        (wire.Flattened("S-1", 1, "ann", "", 1), "closes its position"),
        (wire.TookOver("S-1", 1, "b", 2, "a", 1), "another agent trades"),
    ],
)
def test_what_a_person_should_know_is_told_with_a_key_of_its_own(
    event: wire.Event, title: str
) -> None:
    made = rules()
    first, again = made.take(envelope(1), event, DAY_NS), made.take(envelope(2), event, DAY_NS)
    assert told(first) == told(again) == [title]
    assert first[0].key != again[0].key
    assert first[0].key == rules().take(envelope(1), event, 0)[0].key


def test_fill_is_told_from_its_size_on() -> None:
    made = rules(fill_qty=10.0)
    assert told(made.take(envelope(1), fill(9.0), DAY_NS)) == []
    assert told(made.take(envelope(2), fill(10.0), DAY_NS)) == ["large fill"]
    assert told(rules().take(envelope(2), fill(10.0), DAY_NS)) == []


def test_agent_that_falls_silent_is_lost_once_and_one_that_stops_is_not() -> None:
    made = rules(silent_s=5.0)
    made.take(envelope(), beat(), DAY_NS)
    made.take(envelope(), beat("agent-b"), DAY_NS)
    made.take(envelope(), beat("agent-b", "stopped"), DAY_NS)
    assert told(made.tick(DAY_NS + 4 * S_NS)) == []
    assert told(made.tick(DAY_NS + 5 * S_NS)) == ["agent lost"]
    assert told(made.tick(DAY_NS + 9 * S_NS)) == []


def test_agent_that_fell_silent_while_alerts_were_down_is_lost() -> None:
    before = State()
    rules(before).take(envelope(), beat(), DAY_NS)
    assert told(rules(before).tick(DAY_NS + 5 * S_NS)) == ["agent lost"]


def test_missing_events_are_told_when_there_are_more() -> None:
    made = rules()
    lost = [
        told(made.take(envelope(), beat("recorder", role="recorder", missing=n), DAY_NS))
        for n in (0, 3, 3, 4)
    ]
    assert lost == [[], ["events are missing"], [], ["events are missing"]]


def test_day_is_summed_up_after_its_end() -> None:
    made = rules()
    made.take(envelope(1), fill(2.0), DAY_NS)
    made.take(envelope(2), fill(3.0), DAY_NS)
    (found,) = made.tick(2 * DAY_NS)
    assert found.key == "summary/1970-01-02"
    assert found.text.startswith("2 fills, bought 5, sold 0, position 3")
    assert made.tick(2 * DAY_NS + 1) == []


def alert(n: int) -> Alert:
    return Alert(f"key/{n}", f"title {n}", "text")


def test_outbox_sends_an_alert_once_across_starts() -> None:
    kept = Kept()
    box = Outbox(kept, 10)
    assert box.put(alert(1))
    assert box.next(0.0) == ("title 1", "text")
    assert box.next(0.0) is None  # one at a time
    box.done(True, 0.0)
    again = Outbox(kept, 10)
    assert not again.put(alert(1))
    assert again.next(99.0) is None
    assert (again.repeated, box.sent) == (1, 1)


def test_outbox_tries_again_later_and_loses_nothing() -> None:
    box = Outbox(Kept(), 10)
    box.put(alert(1))
    assert box.next(0.0)
    box.done(False, 0.0)
    assert box.next(RETRY_S / 2) is None
    assert box.next(RETRY_S) == ("title 1", "text")
    assert box.failed == 1


def test_outbox_joins_what_comes_faster_than_may_be_sent() -> None:
    box = Outbox(Kept(), 2)
    for n in range(50):
        box.put(alert(n))
    messages = []
    for _ in range(5):
        if (message := box.next(0.0)) is not None:
            messages.append(message)
            box.done(True, 0.0)
    (message,) = messages
    assert message[0] == "50 alerts"
    assert message[1].endswith("and 40 more")
    assert box.sent == 50


def update(**message: object) -> dict[str, object]:
    said = {"chat": {"id": 42, "username": "ann"}, "text": "/halt", "date": 9, **message}
    return {"update_id": 1, "message": said}


def test_command_is_taken_from_an_allowed_chat_with_its_name_and_reason() -> None:
    assert command_of(update(text="/halt@bot odd  fills "), {42}) == Command(
        "halt", 42, "telegram:ann", "odd  fills", 9
    )
    assert command_of(update(chat={"id": 42}, **{"from": {"first_name": "Bo"}}), {42}) == Command(
        "halt", 42, "telegram:Bo", "", 9
    )


@pytest.mark.parametrize(
    "said",
    [
        {"chat": {"id": 7}},
        {"chat": 42},
        {"text": "halt"},
        {"text": "/sell all"},
        {"text": None},
        {"text": "/"},
    ],
)
def test_what_is_no_command_or_of_another_chat_is_none(said: dict[str, object]) -> None:
    assert command_of(update(**said), {42}) is None
    assert command_of({"update_id": 1}, {42}) is None
