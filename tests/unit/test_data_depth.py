"""Files of book snapshots: what is kept, what is refused, what is repaired."""

from pathlib import Path

import pytest

from envs.data.importer import import_file
from envs.data.read_depth import read_depth
from grid.dataset import FIELDS
from grid.errors import DataError
from grid.home import Home
from tests.support.sources import EURUSD, line, save

DEPTH = """\
ts_event,bid_px_0,bid_px_1,ask_px_0,ask_px_1,bid_qty_0,bid_qty_1,ask_qty_0,ask_qty_1
2024-01-01 00:00:01,1.1,1.09999,1.10002,1.10003,5,6,7,8
2024-01-01 00:00:02,1.1,,1.10001,1.10005,5,,7,8
2024-01-01 00:00:03,1.1,1.09998,1.10001,1.10005,5,9,7,0
2024-01-01 00:00:04,1.1,1.09998,1.10001,1.10005,5,9,7,1
"""


def test_levels_that_are_not_there_repeat_the_one_before_with_nothing(tmp_path: Path) -> None:
    rows = read_depth(save(tmp_path, DEPTH), EURUSD)
    assert tuple(rows.columns) == FIELDS["depth"]
    assert rows.book == "L2"
    assert rows.columns["bid_pxs"].tolist()[:3] == [[1.1, 1.09999], [1.1, 1.1], [1.1, 1.09998]]
    assert rows.columns["bid_qtys"].tolist()[:3] == [[5.0, 6.0], [5.0, 0.0], [5.0, 9.0]]
    assert rows.columns["ask_pxs"].tolist()[2] == [1.10001, 1.10001]
    assert rows.columns["ask_qtys"].tolist()[2] == [7.0, 0.0]


def test_levels_can_be_fewer_than_the_file_has(tmp_path: Path) -> None:
    rows = read_depth(save(tmp_path, DEPTH), EURUSD, levels=1)
    assert rows.columns["ask_pxs"].shape == (4, 1)
    assert rows.note == "1 of 2 levels"
    with pytest.raises(DataError, match="levels: expected 1 to 2, found 3"):
        read_depth(save(tmp_path, DEPTH), EURUSD, levels=3)


def test_levels_go_by_many_names(tmp_path: Path) -> None:
    text = DEPTH.replace("bid_px_", "bids[").replace("ask_px_", "asks[")
    head, _, rest = text.partition("\n")
    head = "time,bids[0].price,bids[1].price,asks[0].price,asks[1].price,"
    head += "bids[0].amount,bids[1].amount,asks[0].amount,asks[1].amount"
    rows = read_depth(save(tmp_path, f"{head}\n{rest}"), EURUSD)
    assert rows.columns["bid_pxs"].tolist()[0] == [1.1, 1.09999]


def test_row_without_a_side_is_left_out_and_counted(tmp_path: Path) -> None:
    text = line(DEPTH, 3, "2024-01-01 00:00:02,1.1,1.09999,,,5,6,0,0")
    rows = read_depth(save(tmp_path, text), EURUSD)
    assert rows.quality.one_sided == 1
    assert len(rows.columns["ts_event"]) == 3


WRONG = {
    "crossed": ("1.10003,1.09999,1.10002,1.10003,5,6,7,8", "expected falling bids, rising asks"),
    "crossed ": ("1.1,1.1,1.10002,1.10003,5,6,7,8", "found bid_pxs '1.1' '1.1'"),
    "bad_prices": ("1.1,1.09999,1.10002,1.10003,5,-6,7,8", "bids: expected quantities of 0"),
    "bad_prices ": ("-1.1,-1.2,1.10002,1.10003,5,6,7,8", "bids: expected finite prices above 0"),
    "bad_prices  ": ("1.1,1.09999,1.10002,1.10003,0,6,7,8", "expected no hole between levels"),
    "unreadable": ("1.1,x,1.10002,1.10003,5,6,7,8", "bid_pxs: expected numbers, found '1.1' 'x'"),
    "rounded": ("1.1,1.099991,1.10002,1.10003,5,6,7,8", "multiples of 0.00001, the tick of EUR"),
}


@pytest.mark.parametrize("flaw", WRONG)
def test_row_that_cannot_be_is_refused_with_its_place_or_repaired(tmp_path: Path, flaw) -> None:
    cells, said = WRONG[flaw]
    path = save(tmp_path, line(DEPTH, 3, f"2024-01-01 00:00:02,{cells}"))
    with pytest.raises(DataError, match=r"rows\.csv:3: ") as caught:
        read_depth(path, EURUSD)
    assert said in str(caught.value)
    rows = read_depth(path, EURUSD, repair=True)
    assert getattr(rows.quality, flaw.strip()) == 1
    assert len(rows.columns["ts_event"]) == (4 if flaw == "rounded" else 3)


def test_rows_of_one_time_leave_the_last(tmp_path: Path) -> None:
    path = save(tmp_path, DEPTH.replace("00:00:03", "00:00:04"))
    with pytest.raises(DataError, match=r"rows\.csv:4: time: expected one row a time"):
        read_depth(path, EURUSD)
    rows = read_depth(path, EURUSD, repair=True)
    assert rows.quality.duplicates == 1
    assert rows.columns["ask_qtys"].tolist()[-1] == [7.0, 1.0]


def test_file_without_levels_or_with_half_of_them_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected bid_px_0, bid_qty_0, ask_px_0, ask_qty_0 and"):
        read_depth(save(tmp_path, "time,a\n1,2\n"), EURUSD)
    with pytest.raises(DataError, match="found 2 of bid_pxs, 2 of ask_pxs, 2 of bid_qtys, 1 of"):
        read_depth(save(tmp_path, DEPTH.replace("ask_qty_1", "x")), EURUSD)


def test_option_that_is_of_no_use_to_the_kind_is_refused(tmp_path: Path) -> None:
    path, home = save(tmp_path, DEPTH), Home(tmp_path)
    with pytest.raises(DataError, match="every 1s: of use with deltas only, found depth"):
        import_file(path, EURUSD, name="x", home=home, kind="depth", every="1s")
    with pytest.raises(DataError, match="levels 3: of use with depth and deltas only, found bars"):
        import_file(path, EURUSD, name="x", home=home, levels=3)
