import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid import wire
from grid.errors import ProtocolError

QUOTE = wire.Quote("X.SIM", 1, 1.5, 1.75, 10.0, 20.0)
TOPIC = "md.X.SIM.quote"


def frames(n: int) -> list[bytes]:
    return [wire.pack(TOPIC, "node", 1, seq, seq, QUOTE) for seq in range(1, n + 1)]


@given(st.integers(2, 300))
def test_batch_carries_its_frames_bit_for_bit(n: int) -> None:
    batch = wire.pack_batch(frames(n))
    assert wire.is_batch(batch)
    assert wire.events_in(batch) == n
    assert wire.split_batch(batch) == frames(n)


def test_single_frame_is_no_batch() -> None:
    (frame,) = frames(1)
    assert wire.pack_batch([frame]) == frame
    assert not wire.is_batch(frame)
    assert wire.events_in(frame) == 1


def test_batch_is_plain_messagepack_behind_its_topic() -> None:
    topic, _, payload = wire.pack_batch(frames(3)).partition(b"\0")
    assert topic.decode() == TOPIC
    assert [envelope[3] for envelope in msgpack.unpackb(payload)] == [1, 2, 3]


@pytest.mark.parametrize("frame", [b"", b"\0", b"md.", b"md.\0", b"\xdc\0", b"\xdc"])
def test_rubbish_is_no_batch(frame: bytes) -> None:
    assert not wire.is_batch(frame)
    assert wire.events_in(frame) == 1


def test_damaged_batch_is_a_protocol_error() -> None:
    batch = wire.pack_batch(frames(3))
    for cut in range(len(TOPIC) + 2, len(batch)):
        with pytest.raises(ProtocolError):
            wire.split_batch(batch[:cut])
