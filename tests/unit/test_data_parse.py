from datetime import date, datetime, timedelta, timezone

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pytest

from envs.data.parse import UNREADABLE, join, numbers, sides, times
from grid.dataset import to_ns
from grid.errors import DataError

NEW_YEAR = to_ns("2024-01-01")


def column(*values: object) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values)])


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2024-01-01", 0),
        ("20240101", 0),
        ("2024-01-01T00:00:00Z", 0),
        ("2024-01-01 01:00:00+01:00", 0),
        ("2024-01-01 00:00:00.5", 500_000_000),
        ("2024-01-01 00:00:00.123456789", 123_456_789),
        ("1704067200", 0),
        ("1704067200.123456789", 123_456_789),
        ("1704067200123", 123_000_000),
        ("1704067200123456", 123_456_000),
        ("1704067200123456789", 123_456_789),
    ],
)
def test_times_of_text_are_read_to_the_nanosecond(text: str, ns: int) -> None:
    assert times(column(text, text), "t", None).tolist() == [NEW_YEAR + ns] * 2


def test_times_of_mixed_iso_forms_are_read_each() -> None:
    mixed = column("2024-01-01 00:00:00+00:00", "2024-01-01T00:00:00.000000001Z", "no", "")
    assert times(mixed, "t", None).tolist() == [NEW_YEAR, NEW_YEAR + 1, UNREADABLE, UNREADABLE]


def test_times_by_a_format_are_read_by_it_alone() -> None:
    found = times(column("31.12.2023 23:00:00.250", "2023-12-31"), "t", "%d.%m.%Y %H:%M:%S.%f")
    assert found.tolist() == [NEW_YEAR - 3_599_750_000_000, UNREADABLE]


def test_times_by_a_format_that_is_none_are_refused() -> None:
    with pytest.raises(DataError, match="time format '%Q'"):
        times(column("2024"), "t", "%Q")


@pytest.mark.parametrize("text", ["01/02/2024", "9999-01-01", "0001-01-01", "1e400"])
def test_times_that_could_be_anything_are_unreadable(text: str) -> None:
    assert times(column(text), "t", None).tolist() == [UNREADABLE]


def test_times_of_epochs_in_another_unit_than_most_are_unreadable() -> None:
    found = times(column("1704067200", "1704067200000", "1704067201", "x"), "t", None)
    assert found.tolist() == [NEW_YEAR, UNREADABLE, NEW_YEAR + 10**9, UNREADABLE]


def test_times_of_typed_columns_are_utc() -> None:
    berlin = timezone(timedelta(hours=1))
    for value in (
        date(2024, 1, 1),
        datetime(2024, 1, 1),
        datetime(2024, 1, 1, 1, tzinfo=berlin),
        1704067200,
        1704067200.0,
        NEW_YEAR,
    ):
        assert times(column(value, None), "t", None).tolist() == [NEW_YEAR, UNREADABLE]


def test_times_of_a_date_and_a_time_of_day_are_joined() -> None:
    joined = join(column("2024.01.01"), column("00:01"))
    assert times(joined, "t", "%Y.%m.%d %H:%M").tolist() == [NEW_YEAR + 60 * 10**9]


def test_numbers_are_nan_where_there_is_none() -> None:
    found = numbers(column("1.5", "", "x", "1e3"), "n")
    assert np.array_equal(found, [1.5, np.nan, np.nan, 1000.0], equal_nan=True)
    assert numbers(column(1, None), "n")[0] == 1.0


def test_numbers_of_a_column_of_another_type_are_refused() -> None:
    with pytest.raises(DataError, match="column 'n': expected numbers, found bool"):
        numbers(column(True), "n")


def test_sides_are_read_in_any_words() -> None:
    found = sides(column("BUY", "Seller", None, "", "1", "-1", "?"), "side")
    assert np.array_equal(found, [1, -1, 0, 0, 1, -1, np.nan], equal_nan=True)


def test_sides_of_a_buying_maker_are_of_a_selling_aggressor() -> None:
    assert sides(column(True, False, None), "is_buyer_maker").tolist() == [-1, 1, 0]
