"""A bridge whose sink could take nothing for long goes on with what is on disk."""

from collections.abc import Iterator
from typing import Any

import pytest

from grid import wire
from grid.bridges import bridge
from grid.bridges.follower import Follower
from grid.bridges.position import Position

TOPIC = "md.X.SIM.quote"


def frame(seq: int) -> bytes:
    quote = wire.Quote("X.SIM", seq, 1.0, 1.1, 5.0, 6.0)
    return wire.pack(TOPIC, "node", 1, seq, seq, quote)


class Bus:
    """The ends of a bus on which nothing comes but `live`."""

    bad = 0

    def __init__(self) -> None:
        self.live: list[bytes] = []

    def frames(self, limit: int) -> list[bytes]:
        found, self.live = self.live, []
        return found

    def recv(self) -> None:
        return None

    def send(self, request: object) -> None:
        raise AssertionError(request)


class Sink:
    """Takes events unless it is full."""

    def __init__(self) -> None:
        self.position = Position()
        self.full = False
        self.seqs: list[int] = []

    def put(self, arrived: Any) -> None:
        self.seqs.append(arrived.envelope.seq)

    def turn(self, now_s: float) -> None:
        pass


@pytest.mark.parametrize(("away_s", "asked"), [(0.0, 2), (1e9, 1)])
def test_bridge_reads_what_is_on_disk_after_a_long_wait_only(
    monkeypatch: pytest.MonkeyPatch, away_s: float, asked: int
) -> None:
    monkeypatch.setattr(bridge, "AWAY_S", away_s)
    disk = [frame(1)]
    reads: list[int] = []

    def recorded(position: Position) -> Iterator[bytes]:
        reads.append(position.last("node", 1, TOPIC))
        return iter(disk[reads[-1] :])

    bus, sink = Bus(), Sink()
    ends: Any = bus
    to: Any = sink
    loop = bridge._Loop(Follower("b", Position(), ("md.",)), to, ends, ends, ends, recorded)
    for _ in range(2):
        loop._turn()
    assert sink.seqs == [1]
    sink.full = True
    disk += [frame(2), frame(3)]  # which the socket had no room for
    loop._turn()
    sink.full = False
    bus.live = [frame(4)] if asked == 2 else [frame(2)]
    for _ in range(3):
        loop._turn()
    assert sink.seqs == ([1, 2, 3, 4] if asked == 2 else [1, 2])
    assert reads == [0, 1][:asked]
