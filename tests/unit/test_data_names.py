from pathlib import Path

import pytest

from envs.data.names import match
from grid.errors import DataError

FILE = Path("rows.csv")


@pytest.mark.parametrize(
    "header",
    [
        "timestamp,open,high,low,close,volume",
        "Gmt time,Open,High,Low,Close,Volume",
        "<DATETIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>",
        "ts,o,h,l,c,v",
        ",Open,High,Low,Close,Volume",
    ],
)
def test_match_usual_names_finds_all_bars(header: str) -> None:
    chosen = match(header.split(","), "bars", "close", {}, FILE)
    fields = ("ts_event", "open", "high", "low", "close", "volume")
    assert chosen == {field: (i,) for i, field in enumerate(fields)}


def test_match_date_and_time_of_day_takes_both() -> None:
    chosen = match(["Time", "Date", "o", "h", "l", "c"], "bars", "close", {}, FILE)
    assert chosen["ts_event"] == (1, 0)


def test_match_adjusted_close_is_not_the_close() -> None:
    chosen = match(["Date", "Open", "High", "Low", "Adj Close", "Last"], "bars", "close", {}, FILE)
    assert chosen["close"] == (5,)


def test_match_open_time_is_the_time_only_of_bars_marked_at_open() -> None:
    header = ["open_time", "open", "high", "low", "close"]
    assert match(header, "bars", "open", {}, FILE)["ts_event"] == (0,)
    with pytest.raises(DataError, match="no column for timestamp of bars; found open_time"):
        match(header, "bars", "close", {}, FILE)


def test_match_given_names_come_first_by_any_usual_name() -> None:
    header = ["when", "bid", "ask", "B", "A"]
    given = {"timestamp": "When", "bid": "B", "ask_price": "A"}
    chosen = match(header, "quotes", "close", given, FILE)
    assert chosen == {"ts_event": (0,), "bid_px": (3,), "ask_px": (4,)}


def test_match_given_name_that_is_not_there_is_refused() -> None:
    with pytest.raises(DataError, match=r"rows\.csv: no column 'bids'; found ts, bid, ask"):
        match(["ts", "bid", "ask"], "quotes", "close", {"bid": "bids"}, FILE)


def test_match_given_field_that_is_none_is_refused() -> None:
    with pytest.raises(DataError, match="column for 'colour': expected one of timestamp, bid_px"):
        match(["ts", "bid", "ask"], "quotes", "close", {"colour": "bid"}, FILE)
