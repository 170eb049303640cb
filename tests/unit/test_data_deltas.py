"""Files of book changes: by price, by order, in DBN; what is refused and what is repaired."""

from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from envs.data.read_deltas import read_deltas
from grid.dataset import EVENTS, FIELDS, LAST
from grid.errors import DataError
from tests.support.sources import ES, best, line, save

BY_ORDER = """\
ts_event,action,side,price,size,order_id,flags,sequence
1704067200000000001,add,bid,4000.00,5,11,0,1
1704067200000000001,add,ask,4000.50,4,12,128,2
1704067200000000002,add,bid,4000.00,3,13,128,3
1704067200000000003,update,bid,4000.00,2,11,128,4
1704067200000000004,add,ask,4000.25,1,14,0,5
1704067200000000004,delete,ask,,,12,128,6
"""
BY_PRICE = """\
timestamp,type,side,px,amount
2024-01-01 00:00:00.1,add,buy,4000.00,5
2024-01-01 00:00:00.1,add,sell,4000.50,4
2024-01-01 00:00:00.2,update,buy,4000.00,8
2024-01-01 00:00:00.3,update,buy,4000.00,0
2024-01-01 00:00:00.3,add,buy,3999.75,1
"""


def test_orders_make_rows_at_the_end_of_each_packet(tmp_path: Path) -> None:
    rows = read_deltas(save(tmp_path, BY_ORDER), ES, every="1", levels=2)
    assert (rows.book, rows.bar) == ("L3", "1-EVENT-BOOK")
    assert tuple(rows.columns) == FIELDS["deltas"]
    assert best(rows) == [
        (4000.0, 5.0, 4000.5, 4.0),
        (4000.0, 8.0, 4000.5, 4.0),
        (4000.0, 5.0, 4000.5, 4.0),
        (4000.0, 5.0, 4000.25, 1.0),
    ]
    assert (rows.columns["ts_event"] - 1704067200000000000).tolist() == [1, 2, 3, 4]
    assert rows.columns["event"].tolist() == [2, 3, 4, 6]
    assert {f: v.dtype.str for f, v in rows.events.items() if f in EVENTS} == {
        f: d.replace("<", "|") if d[-1] == "1" else d for f, d in EVENTS.items()
    }


def test_order_is_deleted_at_the_price_where_it_stood(tmp_path: Path) -> None:
    events = read_deltas(save(tmp_path, BY_ORDER), ES, every="1").events
    assert events["price"].tolist()[-1] == 4000.5
    assert events["side"].tolist()[-1] == -1


def test_prices_without_ids_and_flags_are_a_book_by_price(tmp_path: Path) -> None:
    rows = read_deltas(save(tmp_path, BY_PRICE), ES, every="1", levels=1)
    assert rows.book == "L2"
    assert best(rows) == [
        (4000.0, 5.0, 4000.5, 4.0),
        (4000.0, 8.0, 4000.5, 4.0),
        (3999.75, 1.0, 4000.5, 4.0),
    ]
    assert rows.events["flags"].tolist() == [0, LAST, LAST, 0, LAST]
    assert rows.events["action"].tolist() == [1, 1, 2, 3, 1]  # nothing left is a delete


def test_rows_by_time_hold_what_was_known_at_the_end_of_the_interval(tmp_path: Path) -> None:
    rows = read_deltas(save(tmp_path, BY_PRICE), ES, every="250ms", levels=1)
    at = (rows.columns["ts_event"] - 1704067200000000000) / 1e6
    assert at.tolist() == [250.0, 500.0]
    assert best(rows) == [(4000.0, 8.0, 4000.5, 4.0), (3999.75, 1.0, 4000.5, 4.0)]


def test_rows_by_events_end_with_whole_packets(tmp_path: Path) -> None:
    rows = read_deltas(save(tmp_path, BY_ORDER), ES, every="2", levels=1)
    assert rows.columns["event"].tolist() == [2, 4, 6]
    assert read_deltas(save(tmp_path, BY_ORDER), ES, every="5").columns["event"].tolist() == [6]


@pytest.mark.parametrize("text", ["0", "ms", "1.5s", "3h", "-5"])
def test_step_that_is_none_is_refused(tmp_path: Path, text) -> None:
    with pytest.raises(DataError, match=f"every '{text}': expected a number of events, as in 50"):
        read_deltas(save(tmp_path, BY_ORDER), ES, every=text)


WRONG = {
    "orders_unknown": ("1704067200000000003,update,bid,4000.00,2,99,128,4", "'99'"),
    "orders_unknown ": ("1704067200000000003,add,bid,4000.00,2,11,128,4", "'11'"),
    "bad_prices": ("1704067200000000003,update,bid,4000.00,-2,11,128,4", "finite quantity, 0"),
    "bad_prices ": ("1704067200000000003,add,bid,0,2,15,128,4", "finite price above 0"),
    "unreadable": ("1704067200000000003,swap,bid,4000.00,2,11,128,4", "add, update, delete or"),
    "unreadable ": ("1704067200000000003,add,left,4000.00,2,15,128,4", "side: expected bid or"),
    "out_of_order": ("1704067200000000001,update,bid,4000.00,2,11,128,4", "none earlier"),
    "sequence_gaps": ("1704067200000000003,update,bid,4000.00,2,11,128,4", "no number left out"),
    "rounded": ("1704067200000000003,add,bid,3999.80,2,15,128,4", "a multiple of 0.25"),
}


@pytest.mark.parametrize("flaw", WRONG)
def test_event_that_cannot_be_is_refused_with_its_place_or_repaired(tmp_path: Path, flaw) -> None:
    row, said = WRONG[flaw]
    text = line(BY_ORDER, 5, row)
    number = 5
    if flaw == "sequence_gaps":  # more messages, or one step is too much of them all
        more = "".join(
            f"170406720000000000{5 + i % 5},update,ask,4000.25,{2 + i},14,128,{8 + i}\n"
            if i < 5 else f"17040672000000000{5 + i},update,ask,4000.25,{2 + i},14,128,{8 + i}\n"
            for i in range(12)
        )  # fmt: skip
        text, number = text + more, 8
    path = save(tmp_path, text)
    with pytest.raises(DataError, match=rf"rows\.csv:{number}: ") as caught:
        read_deltas(path, ES, every="1")
    assert said in str(caught.value)
    rows = read_deltas(path, ES, every="1", repair=True)
    assert getattr(rows.quality, flaw.strip()) == 1


def test_book_that_is_crossed_is_refused_with_its_time_or_its_rows_left_out(tmp_path: Path) -> None:
    path = save(tmp_path, BY_ORDER.replace("ask,4000.25", "ask,3999.75"))
    said = "book at 2024-01-01 00:00:00: expected bid <= ask, found 4000 and 3999.75"
    with pytest.raises(DataError, match=said):
        read_deltas(path, ES, every="1")
    rows = read_deltas(path, ES, every="1", repair=True)
    assert rows.quality.crossed == 1
    assert rows.columns["event"].tolist() == [2, 3, 4]
    assert len(rows.events["action"]) == 6  # the book goes on beneath


def test_book_before_both_sides_are_there_makes_no_row(tmp_path: Path) -> None:
    text = BY_ORDER.replace("5,11,0,1", "5,11,128,1")
    text = text.replace("0001,add,ask", "0002,add,ask")
    rows = read_deltas(save(tmp_path, text), ES, every="1")
    assert rows.quality.one_sided == 1
    assert rows.columns["event"].tolist() == [3, 4, 6]


def test_packet_that_loses_its_last_event_ends_with_what_is_left(tmp_path: Path) -> None:
    rows = read_deltas(
        save(tmp_path, BY_ORDER.replace("delete,ask,,,12", "trade,ask,4000.5,1,0")), ES, every="1"
    )
    assert rows.columns["event"].tolist() == [2, 3, 4, 5]
    assert rows.note == "1 trades and fills left out"


def test_parquet_of_the_engine_1_gives_the_same(tmp_path: Path) -> None:
    def fixed(values):
        whole = (round(v * 100) * 10**14 for v in values)
        return pa.array([w.to_bytes(16, "little", signed=True) for w in whole], pa.binary(16))

    table = pa.table(
        {
            "action": pa.array([1, 1, 1, 2, 1, 3], pa.uint8()),
            "side": pa.array([1, 2, 1, 1, 2, 2], pa.uint8()),
            "price": fixed([4000.0, 4000.5, 4000.0, 4000.0, 4000.25, 4000.5]),
            "size": fixed([5, 4, 3, 2, 1, 0]),
            "order_id": pa.array([11, 12, 13, 11, 14, 12], pa.uint64()),
            "flags": pa.array([0, 128, 128, 128, 0, 128], pa.uint8()),
            "sequence": pa.array([1, 2, 3, 4, 5, 6], pa.uint64()),
            "ts_event": pa.array(
                [1704067200000000000 + i for i in (1, 1, 2, 3, 4, 4)], pa.uint64()
            ),
        }
    )
    pq.write_table(table, tmp_path / "deltas.parquet")
    found = read_deltas(tmp_path / "deltas.parquet", ES, every="1")
    same = read_deltas(save(tmp_path, BY_ORDER), ES, every="1")
    for f in EVENTS:
        assert found.events[f].tolist() == same.events[f].tolist(), f
