"""A node ends when what it has published is safe."""

import pytest

from grid import wire
from grid.node.departure import Departure

TOPIC = "exec.S-1"


def beat(name: str, role: str, mending: float = 0.0, seq: int = 0) -> wire.Heartbeat:
    return wire.Heartbeat(name, role, 1, "running", 1.0, {"mending": mending}, {TOPIC: seq})


def frames(seq: int = 7, epoch: int = 2) -> wire.Frames:
    return wire.Frames("node", epoch, TOPIC, seq, (b"",))


def test_recorded_node_stays_until_its_last_event_is_kept_and_nothing_is_mended():
    leaving = Departure("node", 2, TOPIC, 7, recorded=True)
    assert leaving.want == wire.Fetch("history", "node", "node", 2, TOPIC, 7, 7)
    leaving.heard(beat("recorder", "recorder"), 1)
    leaving.heard(beat("node", "node", seq=7), 2)
    assert not leaving.safe
    leaving.reply(frames())
    assert leaving.want is None
    leaving.heard(beat("recorder", "recorder", mending=3.0), 1)
    assert not leaving.safe
    leaving.heard(beat("alpha", "agent champion"), 1)
    assert not leaving.safe
    leaving.heard(beat("recorder", "recorder"), 1)
    assert leaving.safe


@pytest.mark.parametrize(
    "reply",
    [
        frames(seq=6),
        frames(epoch=1),
        wire.Evicted("node", 2, TOPIC, 1, 6),
        wire.Refused("not here yet", retry=True),
    ],
)
def test_other_replies_keep_a_node_asking(reply):
    leaving = Departure("node", 2, TOPIC, 7, recorded=True)
    leaving.reply(reply)
    leaving.heard(beat("recorder", "recorder"), 1)
    assert leaving.want is not None
    assert not leaving.safe


def test_node_that_nothing_records_stays_until_its_last_event_came_through_the_broker():
    leaving = Departure("node", 2, TOPIC, 7, recorded=False)
    assert leaving.want is None
    leaving.heard(beat("node", "node", seq=6), 2)
    leaving.heard(beat("node", "node", seq=9), 1)
    leaving.heard(beat("other", "node", seq=9), 2)
    assert not leaving.safe
    leaving.heard(beat("node", "node", seq=7), 2)
    assert leaving.safe
