"""Names of bars, `1-HOUR-ASK`: step, unit of time, price."""

import re
from typing import Final

from grid.errors import DataError
from grid.instrument import CurrencyPair, Instrument

SECONDS: Final = {"SECOND": 1, "MINUTE": 60, "HOUR": 3_600, "DAY": 86_400}
PRICES: Final = ("BID", "ASK", "MID", "LAST")

_BAR: Final = re.compile(rf"([1-9]\d*)-({'|'.join(SECONDS)})-({'|'.join(PRICES)})")


def interval_ns(bar: str) -> int:
    """Return the length of a bar.

    Raises:
        DataError: the name is not of the form step-unit-price.
    """
    match = _BAR.fullmatch(bar)
    if not match:
        raise DataError(
            f"bar {bar!r}: expected step-unit-price such as 1-HOUR-ASK, the unit one of "
            f"{', '.join(SECONDS)}, the price one of {', '.join(PRICES)}"
        )
    return int(match[1]) * SECONDS[match[2]] * 10**9


def named(length_ns: int, instrument: Instrument) -> str:
    """Return the name of bars of that length; MID of a currency pair, LAST of all else.

    Raises:
        DataError: the length is no whole number of seconds.
    """
    seconds, rest = divmod(length_ns, 10**9)
    if rest or not seconds:
        found = f"rows {length_ns / 1e9:g} s apart" if length_ns else "one time only"
        raise DataError(
            f"expected bars of whole seconds, found {found}: name the bars, as in 1-HOUR-ASK"
        )
    unit = next(u for u in reversed(SECONDS) if not seconds % SECONDS[u])
    price = "MID" if isinstance(instrument, CurrencyPair) else "LAST"
    return f"{seconds // SECONDS[unit]}-{unit}-{price}"
