from pathlib import Path

import numpy as np
import pytest

from grid import wire
from grid.dataset import Dataset
from grid.errors import DataError
from grid.feed import rows
from grid.tape import Tape
from grid.topology import FeedConfig
from grid.venue import DEEP_QTY, Venue
from tests.support.feeder import MINUTE_NS, START_NS, write_dataset
from tests.support.markets import dataset, trade_columns

MS = 1_000_000


@pytest.fixture
def bars(tmp_path: Path) -> Dataset:
    return write_dataset(tmp_path / "bars", "bars", 10)


@pytest.fixture
def quotes(tmp_path: Path) -> Dataset:
    return write_dataset(tmp_path / "quotes", "quotes", 10)


def test_tape_bars_come_each_after_the_quote_of_their_open(bars: Dataset) -> None:
    tape = Tape(bars, Venue(latency_ms=250, half_spread_bps=1), 3, 6)
    assert (tape.rows, tape.per_row) == (3, 2)
    quote, bar = tape.event(2), tape.event(3)
    assert quote == wire.Quote(
        "EUR/USD.SIM",
        START_NS + 4 * MINUTE_NS + 250 * MS,
        1.00019,  # an ask of 1.0004 less twice the half spread, rounded outwards
        1.0004,
        DEEP_QTY,
        DEEP_QTY,
    )
    close_ns = START_NS + 5 * MINUTE_NS
    assert bar == wire.Bar(
        "EUR/USD.SIM", "1-MINUTE-ASK", close_ns, 1.0004, 1.2004, 0.8004, 1.1004, 4.0
    )
    times = [tape.event(i).ts_event_ns for i in range(6)]
    assert times == sorted(times)


def test_tape_quotes_come_as_they_are(quotes: Dataset) -> None:
    tape = Tape(quotes, Venue(), 0, 10)
    assert (tape.rows, tape.per_row) == (10, 1)
    assert tape.event(1) == wire.Quote(
        "EUR/USD.SIM", START_NS + 2 * MINUTE_NS, 1.0001, 1.0002, 5.0, 6.0
    )


def test_tape_events_hold_plain_numbers(bars: Dataset) -> None:
    tape = Tape(bars, Venue(), 0, 10)
    for event in (tape.event(0), tape.event(1)):
        assert wire.encode(event)  # msgspec refuses numbers of NumPy
        assert {type(getattr(event, f)) for f in event.__struct_fields__} <= {str, int, float, bool}


def test_tape_history_is_the_rows_before_even_before_the_run(bars: Dataset) -> None:
    tape = Tape(bars, Venue(), 4, 10)
    history = tape.history(1, 3)
    assert [e.ts_event_ns for e in history] == [START_NS + k * MINUTE_NS for k in (3, 4, 5)]
    assert all(isinstance(e, wire.Bar) and e.history for e in history)
    assert len(tape.history(0, 99)) == 4
    assert tape.history(0, -1) == []


def test_tape_events_until_counts_what_a_node_has(bars: Dataset, quotes: Dataset) -> None:
    for tape in (Tape(bars, Venue(), 2, 9), Tape(quotes, Venue(), 2, 9)):
        assert tape.events_until(START_NS) == 0
        count = tape.rows * tape.per_row
        for i in range(count):
            assert tape.events_until(tape.event(i).ts_event_ns) in (i, i + 1)
        assert tape.events_until(tape.event(count - 1).ts_event_ns) == count


def test_tape_of_trades_of_one_time_goes_on_with_those_that_a_node_lacks() -> None:
    columns = trade_columns(6)
    columns["ts_event"] = START_NS + np.array([1, 2, 2, 2, 3, 4])
    tape = Tape(dataset(columns), Venue(), 0, 6)
    first = tape.event(0)
    assert isinstance(first, wire.Trade)
    assert (first.price, first.qty, first.side) == tuple(
        columns[f][0] for f in ("price", "qty", "side")
    )
    assert [tape.events_until(START_NS + 2, n) for n in (1, 2, 3, 9, 0)] == [2, 3, 4, 4, 4]


def test_tape_without_latency_still_quotes_after_the_bar(bars: Dataset) -> None:
    tape = Tape(bars, Venue(latency_ms=0), 0, 9)
    bar, quote = tape.event(3), tape.event(4)
    assert bar.ts_event_ns + 1 == quote.ts_event_ns
    assert tape.events_until(quote.ts_event_ns) == 5


def test_tape_latency_longer_than_a_bar_is_refused(bars: Dataset) -> None:
    with pytest.raises(DataError, match="bars longer than the venue's latency of 60000 ms"):
        Tape(bars, Venue(latency_ms=60_000), 0, 9)


def test_rows_are_half_open_and_whole_by_default(bars: Dataset) -> None:
    assert rows(FeedConfig(dataset="test"), bars) == (0, 10)
    start, end = "2020-01-01T00:03", "2020-01-01T00:05"
    assert rows(FeedConfig(dataset="test", start=start, end=end), bars) == (2, 4)


def test_rows_outside_the_data_are_one_sentence(bars: Dataset) -> None:
    with pytest.raises(DataError) as error:
        rows(FeedConfig(dataset="test", start="2021-01-01"), bars)
    assert str(error.value) == (
        "dataset test: no rows from 2021-01-01 to its end;"
        " it has 2020-01-01 00:01:00 to 2020-01-01 00:10:00"
    )
