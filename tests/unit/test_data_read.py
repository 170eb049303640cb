import re
from pathlib import Path

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from envs.data.check import MAX_PRICE
from envs.data.read import DEFAULT_QUOTE_QTY, read
from grid.dataset import FIELDS, to_ns
from grid.errors import DataError
from tests.support.sources import BARS, ES, EURUSD, QUOTES, TRADES, line, save

MINUTE_NS = 60 * 10**9


def test_read_bars_gives_columns_on_the_tick(tmp_path: Path) -> None:
    rows = read(save(tmp_path, BARS), EURUSD, kind="bars")
    assert tuple(rows.columns) == FIELDS["bars"]
    assert rows.columns["ts_event"][0] == to_ns("2024-01-01 00:01:00")
    assert rows.columns["close"].tolist() == [1.1001, 1.1002, 1.1003, 1.1004]
    assert rows.columns["volume"].tolist() == [5.0, 6.0, 7.0, 8.0]
    assert (rows.bar, rows.interval_ns) == ("1-MINUTE-MID", MINUTE_NS)
    assert rows.quality.rows_read == 4


def test_read_bars_marked_at_open_are_stored_at_close(tmp_path: Path) -> None:
    rows = read(save(tmp_path, BARS), EURUSD, kind="bars", timestamp="open")
    assert rows.columns["ts_event"][0] == to_ns("2024-01-01 00:02:00")


def test_read_quotes_keeps_nanoseconds_and_changes_within_one_time(tmp_path: Path) -> None:
    rows = read(save(tmp_path, QUOTES), EURUSD, kind="quotes")
    assert (rows.columns["ts_event"] - to_ns("2024-01-01")).tolist() == [1, 1, 2]
    assert rows.columns["bid_px"].tolist() == [1.1, 1.10001, 1.10001]
    assert rows.columns["ask_qty"].tolist() == [200.0] * 3
    assert (rows.bar, rows.interval_ns) == ("", 0)


def test_read_quotes_without_sizes_gives_the_default(tmp_path: Path) -> None:
    text = "time,Bid,Ask\n2024-01-01,1.1,1.2\n"
    rows = read(save(tmp_path, text), EURUSD, kind="quotes")
    assert rows.columns["bid_qty"].tolist() == [DEFAULT_QUOTE_QTY]
    assert rows.absent == ("bid_qty", "ask_qty")


def test_read_trades_of_two_ids_are_no_duplicates(tmp_path: Path) -> None:
    rows = read(save(tmp_path, TRADES), EURUSD, kind="trades")
    assert rows.columns["side"].tolist() == [1.0, 1.0, -1.0, 0.0]
    assert rows.columns["qty"].tolist() == [3.0, 3.0, 2.0, 1.0]


def test_read_gzip_gives_the_same_as_plain(tmp_path: Path) -> None:
    plain = read(save(tmp_path, BARS), EURUSD, kind="bars")
    packed = read(save(tmp_path, BARS, "rows.csv.gz"), EURUSD, kind="bars")
    assert all(np.array_equal(plain.columns[f], packed.columns[f]) for f in FIELDS["bars"])


def test_read_parquet_gives_the_same_as_csv(tmp_path: Path) -> None:
    rows = read(save(tmp_path, BARS), EURUSD, kind="bars")
    times = pa.array(rows.columns["ts_event"]).cast(pa.timestamp("ns", "UTC"))
    table = pa.table({**rows.columns, "ts_event": times})
    pq.write_table(table, tmp_path / "rows.parquet")
    again = read(tmp_path / "rows.parquet", EURUSD, kind="bars")
    assert all(np.array_equal(rows.columns[f], again.columns[f]) for f in FIELDS["bars"])


def test_read_parquet_with_a_bad_row_names_its_number(tmp_path: Path) -> None:
    table = pa.table({"time": [10**18, 10**18 + 1], "bid": [1.1, 1.3], "ask": [1.2, 1.2]})
    pq.write_table(table, tmp_path / "q.parquet")
    with pytest.raises(DataError, match=r"q\.parquet:2: quote: expected bid <= ask, found"):
        read(tmp_path / "q.parquet", EURUSD, kind="quotes")


@pytest.mark.parametrize(
    ("number", "text", "said"),
    [
        (3, "yesterday,1.1,1.1,1.1,1.1,5", "3: time: expected a time, found 'yesterday'"),
        (3, "2024-01-01 00:02:00,x,1.1,1.1,1.1,5", "3: open: expected a number, found 'x'"),
        (3, "2024-01-01 00:02:00,1.1,1.1,1.1,1.1,", "3: volume: expected a number, found ''"),
        (4, "2024-01-01 00:03:00,1.1,inf,1.1,1.1,5", "4: high: expected a finite price above 0"),
        (4, "2024-01-01 00:03:00,1.1,1.1,0,1.1,5", "4: low: expected a finite price above 0"),
        (4, "2024-01-01 00:03:00,1.1,1.1,-1,1.1,5", "4: low: expected a finite price above 0"),
        (4, f"2024-01-01 00:03:00,1.1,{MAX_PRICE:.0f}1,1.1,1.1,5", "4: high: expected a finite"),
        (4, "2024-01-01 00:03:00,1.1,1.1,1.1,1.1,-5", "4: volume: expected a finite quantity"),
        (5, "2024-01-01 00:04:00,1.1,1.0,1.2,1.1,5", "5: bar: expected open and close between"),
        (5, "2024-01-01 00:04:00,1.3,1.2,1.0,1.1,5", "found open '1.3', high '1.2', low '1.0'"),
        (5, "2024-01-01 00:04:00,1.1,1.2,1.0,0.9,5", "5: bar: expected open and close between"),
        (5, "2024-01-01 00:03:00,1.1,1.1,1.1,1.1,5", "5: row: expected no row twice"),
        (5, "2024-01-01 00:01:30,1.1,1.1,1.1,1.1,5", "5: time: expected none earlier"),
        (
            5,
            "2024-01-01 00:04:00,1.1,1.1,1.1,1.1",
            "5: expected 6 fields, as in the header, found 5",
        ),
        (2, "2024-01-01 00:01:00,1,1,1,1,5,7", "2: expected 6 fields, as in the header, found 7"),
        (2, "2024-01-01 00:01:00,1,1,1,1.000005,5", "2: close: expected a multiple of 0.00001"),
    ],
)
def test_read_bars_with_a_bad_row_names_its_line(
    tmp_path: Path, number: int, text: str, said: str
) -> None:
    path = save(tmp_path, line(BARS, number, text))
    with pytest.raises(DataError, match=re.escape(said)) as e:
        read(path, EURUSD, kind="bars")
    assert str(e.value).startswith(f"{path}:{number}: ")
    assert e.value.exit_code == 2


def test_read_with_several_bad_rows_names_the_first(tmp_path: Path) -> None:
    text = line(line(BARS, 5, "1,2"), 4, "2024-01-01 00:03:00,1.1,1.1,1.1,oops,5")
    with pytest.raises(DataError, match=r"rows\.csv:4: close: .* found 'oops'"):
        read(save(tmp_path, text), EURUSD, kind="bars")
    text = line(line(BARS, 3, "1,2"), 4, "2024-01-01 00:03:00,1.1,1.1,1.1,oops,5")
    with pytest.raises(DataError, match=r"rows\.csv:3: expected 6 fields"):
        read(save(tmp_path, text), EURUSD, kind="bars")


def test_read_counts_empty_lines_as_lines_not_as_rows(tmp_path: Path) -> None:
    text = BARS.replace("2024-01-01 00:02", "\n   \n2024-01-01 00:02").replace("1.10040,8", "x,8")
    with pytest.raises(DataError, match=r"rows\.csv:7: close: expected a number, found 'x'"):
        read(save(tmp_path, text), EURUSD, kind="bars")
    rows = read(save(tmp_path, text.replace("x,8", "1.1004,8")), EURUSD, kind="bars")
    assert rows.quality.rows_read == 4


def test_read_names_the_line_of_a_compressed_file_behind_a_byte_order_mark(tmp_path: Path) -> None:
    path = save(tmp_path, "\ufeff" + line(BARS, 3, "x,1,1,1,1,1"), "rows.csv.gz")
    with pytest.raises(DataError, match=r"rows\.csv\.gz:3: time"):
        read(path, EURUSD, kind="bars")


def test_read_repairing_drops_sorts_and_counts(tmp_path: Path) -> None:
    text = BARS + "\n".join(
        [
            "2024-01-01 00:07:00,1.1,1.1,1.1,1.1,9",
            "2024-01-01 00:05:00,1.1,1.1,1.1,1.1,10",  # out of order
            "2024-01-01 00:05:00,1.2,1.2,1.2,1.2,11",  # twice, and out of order
            "2024-01-01 00:08:00,x,1.1,1.1,1.1,12",
            "2024-01-01 00:09:00,1.1,1.1",
            "2024-01-01 00:10:00,0,1.1,1.1,1.1,13",
            "2024-01-01 00:11:00,1.1,1.0,1.2,1.1,14",
            "2024-01-01 00:12:00,1.1,1.1,1.1,1.100004,15",  # rounded
        ]
    )
    rows = read(save(tmp_path, text), EURUSD, kind="bars", repair=True)
    q = rows.quality
    assert q.rows_read == 12
    assert (q.unreadable, q.bad_prices, q.crossed, q.rounded) == (2, 1, 1, 1)
    assert (q.out_of_order, q.duplicates) == (2, 1)
    minutes = (rows.columns["ts_event"] - to_ns("2024-01-01")) // MINUTE_NS
    assert minutes.tolist() == [1, 2, 3, 4, 5, 7, 12]
    assert rows.columns["volume"].tolist() == [5, 6, 7, 8, 10, 9, 15]
    assert rows.columns["close"][-1] == 1.1


def test_read_repairing_clean_rows_changes_nothing(tmp_path: Path) -> None:
    plain = read(save(tmp_path, BARS), EURUSD, kind="bars")
    repaired = read(save(tmp_path, BARS), EURUSD, kind="bars", repair=True)
    assert plain.quality == repaired.quality
    assert all(np.array_equal(plain.columns[f], repaired.columns[f]) for f in FIELDS["bars"])


@pytest.mark.parametrize(("kind", "text"), [("quotes", QUOTES), ("trades", TRADES)])
def test_read_ticks_drops_only_identical_rows(tmp_path: Path, kind: str, text: str) -> None:
    twice = text + text.splitlines()[-1] + "\n"
    last = len(twice.splitlines())
    with pytest.raises(DataError, match=rf":{last}: row: expected no row twice"):
        read(save(tmp_path, twice), EURUSD, kind=kind)  # type: ignore[arg-type]
    rows = read(save(tmp_path, twice), EURUSD, kind=kind, repair=True)  # type: ignore[arg-type]
    assert rows.quality.duplicates == 1
    assert len(rows.columns["ts_event"]) == last - 2


def test_read_quotes_crossed_is_refused_and_touching_is_not(tmp_path: Path) -> None:
    touching = line(QUOTES, 3, "2024-01-01 00:00:00.000000001,1.1001,1.1001,1,1")
    assert read(save(tmp_path, touching), EURUSD, kind="quotes").quality.crossed == 0
    crossed = line(QUOTES, 3, "2024-01-01 00:00:00.000000001,1.1002,1.1001,1,1")
    with pytest.raises(DataError, match=r":3: quote: expected bid <= ask, found bid_px '1.1002'"):
        read(save(tmp_path, crossed), EURUSD, kind="quotes")


def test_read_trades_of_no_size_or_unknown_side_is_refused(tmp_path: Path) -> None:
    none = line(TRADES, 2, "2024-01-01,1.1,0,buy,1")
    with pytest.raises(DataError, match=r":2: qty: expected a finite quantity above 0, found '0'"):
        read(save(tmp_path, none), EURUSD, kind="trades")
    odd = line(TRADES, 2, "2024-01-01,1.1,1,perhaps,1")
    with pytest.raises(DataError, match=r":2: side: expected buy, sell or none, found 'perhaps'"):
        read(save(tmp_path, odd), EURUSD, kind="trades")


def test_read_prices_off_the_declared_tick_are_refused_and_rounded_on_repair(
    tmp_path: Path,
) -> None:
    text = "ts,price,qty\n1700000000,4700.25,1\n1700000001,4700.10,1\n"
    with pytest.raises(DataError, match=r":3: price: expected a multiple of 0\.25, the tick of ES"):
        read(save(tmp_path, text), ES, kind="trades")
    rows = read(save(tmp_path, text), ES, kind="trades", repair=True)
    assert rows.columns["price"].tolist() == [4700.25, 4700.0]
    assert rows.quality.rounded == 1


def test_read_prices_with_the_noise_of_arithmetic_are_taken_as_meant(tmp_path: Path) -> None:
    text = "ts,price,qty\n1700000000,1.1000100000000002,1\n1700000001,1.1000199999999998,1\n"
    rows = read(save(tmp_path, text), EURUSD, kind="trades")
    assert rows.columns["price"].tolist() == [1.10001, 1.10002]
    assert rows.quality.rounded == 0


def test_read_counts_gaps_and_keeps_the_longest(tmp_path: Path) -> None:
    minutes = [0]
    for hole in (1, 1, 6, 5, *range(10, 22)):  # 6 and the twelve are longer than five intervals
        minutes += [minutes[-1] + hole, minutes[-1] + hole + 1]
    text = "ts,o,h,l,c\n" + "".join(f"{1_700_000_000 + 60 * m},1,1,1,1\n" for m in minutes)
    rows = read(save(tmp_path, text), EURUSD, kind="bars")
    assert rows.quality.gaps == 13
    found = [gap.seconds / 60 for gap in rows.quality.longest_gaps]
    assert found == list(range(12, 22))
    first = rows.quality.longest_gaps[0].start_ns
    assert first in rows.columns["ts_event"]
    assert first + 12 * MINUTE_NS in rows.columns["ts_event"]


def test_read_quotes_counts_holes_of_more_than_five_minutes(tmp_path: Path) -> None:
    text = "ts,bid,ask\n" + "".join(f"{1_700_000_000 + t},1,1\n" for t in (0, 300, 601))
    quality = read(save(tmp_path, text), EURUSD, kind="quotes").quality
    assert (quality.gaps, quality.longest_gaps[0].seconds) == (1, 301.0)


@pytest.mark.parametrize(
    ("bar", "said"),
    [
        ("1-HOUR-MID", "is 3600 s long: rows so far apart expected, found 60 s between most"),
        ("1-WEEK-MID", "expected step-unit-price such as 1-HOUR-ASK"),
        ("0-HOUR-MID", "expected step-unit-price such as 1-HOUR-ASK"),
    ],
)
def test_read_bars_named_wrong_is_refused(tmp_path: Path, bar: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read(save(tmp_path, BARS), EURUSD, kind="bars", bar=bar)


def test_read_quotes_with_a_bar_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="of use with bars only"):
        read(save(tmp_path, QUOTES), EURUSD, kind="quotes", bar="1-HOUR-ASK")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "rows.csv:1: expected a header"),
        ("timestamp,open,high,low,close\n", "expected bars, found no row"),
        ("a,b\n1,2\n", "no column for timestamp, open, high, low, close of bars; found a, b"),
        ("ts,o,h,l,c\nx,1,1,1,1\n", "rows.csv:2: time: expected a time, found 'x'"),
    ],
)
def test_read_file_without_bars_says_what_was_found(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=re.escape(said)):
        read(save(tmp_path, text), EURUSD, kind="bars")


def test_read_repairing_a_file_with_no_good_row_says_why(tmp_path: Path) -> None:
    text = "ts,o,h,l,c\nx,1,1,1,1\n1700000000,1,1,1,0\n1,2\n"
    with pytest.raises(DataError, match="no row of 3 is fit for use: 2 unreadable, 1 bad_prices"):
        read(save(tmp_path, text), EURUSD, kind="bars", repair=True)


def test_read_what_is_no_file_is_one_sentence(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.csv", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            read(path, EURUSD, kind="bars")
    path = tmp_path / "binary.csv"
    path.write_bytes(b"a,b\n\xff\xfe\x00,1\n")
    with pytest.raises(DataError, match="neither CSV nor Parquet"):
        read(path, EURUSD, kind="bars")
    path.write_bytes(b"PAR1 but no more")
    with pytest.raises(DataError, match="neither CSV nor Parquet"):
        read(path, EURUSD, kind="bars")


def test_read_tab_separated_date_and_time_of_a_trading_terminal(tmp_path: Path) -> None:
    text = (
        "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\n"
        "2024.01.01\t00:00\t1.1\t1.2\t1.0\t1.15\t12\n"
        "2024.01.01\t01:00\t1.15\t1.2\t1.0\t1.1\t13\n"
    )
    path = save(tmp_path, text)
    rows = read(path, EURUSD, kind="bars", timestamp="open", time_format="%Y.%m.%d %H:%M")
    assert rows.columns["ts_event"][0] == to_ns("2024-01-01 01:00")
    assert rows.columns["volume"].tolist() == [12, 13]
    path = save(tmp_path, text.replace("2024.01.01\t01", "01/02/2024\t01"))
    with pytest.raises(DataError, match=r":3: time: expected a time, found '01/02/2024' '01:00'"):
        read(path, EURUSD, kind="bars", timestamp="open")


def test_read_volume_that_the_size_precision_rounds_to_nothing_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read(save(tmp_path, line(BARS, 2, "2024-01-01 00:01,1.1,1.1,1.1,1.1,.4")), EURUSD, kind="bars")
    assert "volume rounds to 0 in 1 rows" in caplog.text


@pytest.mark.parametrize("codec", ["zstd", "bz2"])
def test_read_other_compressions_as_well(tmp_path: Path, codec: str) -> None:
    path = tmp_path / ("rows.csv.zst" if codec == "zstd" else "rows.csv.bz2")
    with pa.output_stream(str(path), compression=codec) as stream:
        stream.write(BARS.encode())
    assert read(path, EURUSD, kind="bars").quality.rows_read == 4


def test_read_archive_cut_short_is_one_sentence(tmp_path: Path) -> None:
    path = save(tmp_path, BARS, "rows.csv.gz")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"rows\.csv\.gz"):
        read(path, EURUSD, kind="bars")
