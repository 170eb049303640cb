import pytest

from envs.data import bar
from grid.errors import DataError
from tests.support.sources import ES, EURUSD


@pytest.mark.parametrize(
    ("seconds", "name"),
    [(1, "1-SECOND-MID"), (90, "90-SECOND-MID"), (300, "5-MINUTE-MID"), (86_400, "1-DAY-MID")],
)
def test_named_takes_the_longest_unit(seconds: int, name: str) -> None:
    assert bar.named(seconds * 10**9, EURUSD) == name
    assert bar.interval_ns(name) == seconds * 10**9


def test_named_of_a_future_are_of_trades() -> None:
    assert bar.named(3_600 * 10**9, ES) == "1-HOUR-LAST"


def test_named_of_a_broken_second_is_refused() -> None:
    with pytest.raises(DataError, match=r"rows 0\.5 s apart"):
        bar.named(500_000_000, EURUSD)


@pytest.mark.parametrize("name", ["", "1-HOUR", "1-hour-ask", "1.5-HOUR-ASK", "1-TICK-LAST"])
def test_interval_of_what_is_no_bar_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="expected step-unit-price"):
        bar.interval_ns(name)
