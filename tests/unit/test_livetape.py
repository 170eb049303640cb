"""The tape of a market that is still being written."""

from pathlib import Path

import msgspec
import pytest

from grid import wire
from grid.bridges import record
from grid.bridges.plain import as_json
from grid.dataset import Dataset
from grid.errors import ProtocolError
from grid.livetape import At, LiveTape
from grid.venue import Venue
from tests.support.feeder import MINUTE_NS, START_NS, write_dataset

TOPIC = "md.EUR/USD.SIM.quote"


def quote(seq: int, *, history: bool = False, id: str = "EUR/USD.SIM") -> wire.Quote:
    """A quote of minute `seq`; the dataset has those of minutes 1 to 10."""
    return wire.Quote(id, START_NS + seq * MINUTE_NS, 1.0 + seq / 1e4, 1.1, 5.0, 6.0, history)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return write_dataset(tmp_path / "quotes", "quotes", 10)


def put(tape: LiveTape, seq: int, event: wire.Row, *, epoch: int = 1, known: bool = False) -> None:
    tape.put(event, ("node", epoch, TOPIC, seq), At(0, 100 + seq), known)


def test_tape_gives_each_row_once_and_in_order_of_time(dataset: Dataset) -> None:
    tape = LiveTape(dataset, Venue())
    for seq in (1, 2, 2, 5):
        put(tape, seq, quote(10 + seq))
    put(tape, 5, quote(15), epoch=2)  # told again by a node that was restarted
    put(tape, 6, quote(13), epoch=2)
    put(tape, 7, quote(20, id="GBP/USD.SIM"))
    assert [tape.event(i) for i in range(tape.rows)] == [quote(11), quote(12), quote(15)]
    assert (tape.repeated, tape.late, tape.missing, tape.others) == (2, 1, 2, 1)


def test_tape_begins_its_history_with_the_dataset(dataset: Dataset) -> None:
    tape = LiveTape(dataset, Venue(), start_ns=START_NS + 11 * MINUTE_NS)
    put(tape, 1, quote(9, history=True))
    put(tape, 2, quote(10))
    put(tape, 3, quote(11))
    put(tape, 4, quote(12))
    tape.release(1)
    assert tape.rows == 2
    found = tape.history(1, 4)
    assert [r.ts_event_ns for r in found] == [START_NS + m * MINUTE_NS for m in (8, 9, 10, 11)]
    assert all(r.history for r in found)
    assert found[-1] == quote(11, history=True)


def test_tape_read_again_gives_what_a_node_has_not_had(dataset: Dataset) -> None:
    tape = LiveTape(dataset, Venue())
    put(tape, 1, quote(11), known=True)
    put(tape, 2, quote(12))
    assert tape.events_until(START_NS + 13 * MINUTE_NS, 1) == 1
    put(tape, 3, quote(13))
    put(tape, 4, quote(14))
    assert tape.rows == 2  # the one of minute 13 was had
    assert tape.event(1) == quote(14)
    assert tape.open_offsets() == {0: 102}
    tape.release(1)
    assert tape.open_offsets() == {0: 104}


def test_tape_ends_with_the_first_row_of_its_end(dataset: Dataset) -> None:
    tape = LiveTape(dataset, Venue(), end_ns=START_NS + 12 * MINUTE_NS)
    for seq in (1, 2, 3):
        put(tape, seq, quote(10 + seq))
    assert tape.closed
    assert tape.full
    assert tape.rows == 1


@pytest.mark.parametrize("encode", [wire.encode, as_json])
def test_record_of_a_row_is_read_in_both_encodings(encode: object) -> None:
    bar = wire.Bar("EUR/USD.SIM", "1-HOUR-ASK", 5, 1.0, 1.2, 0.9, 1.1, 3.0)
    depth = wire.Depth("EUR/USD.SIM", 5, (1.0, 0.9), (1.1, 1.2), (5.0, 0.0), (6.0, 7.0))
    for row in (bar, depth, quote(3)):
        assert record.row(encode(row)) == row  # type: ignore[operator]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b'{"kind": "fill"}',
        b'{"kind": "quote", "instrument_id": "X.Y"}',
        wire.encode(wire.EndOfData("S", 1, 1)),
        wire.encode(msgspec.structs.replace(quote(1), bid_px=float("nan"))),
    ],
)
def test_record_that_is_no_row_is_refused(value: bytes) -> None:
    with pytest.raises(ProtocolError, match="record of"):
        record.row(value)
