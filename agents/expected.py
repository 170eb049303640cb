"""What a replay must give, and every field in which one that was given differs."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from envs.rerun import Filled, Order, Rerun

MOST_LINES: Final = 20


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """Of one run: what the recording says that its orders came to.

    Attributes:
        orders: as they left the strategy.
        fills: of those orders.
        cash: in the end, in account currency.
        position_qty: in the end, signed.
    """

    strategy_id: str
    epoch: int
    decisions: int
    orders: tuple[Order, ...]
    fills: tuple[Filled, ...]
    cash: float
    position_qty: float

    def differences(self, found: Rerun) -> list[str]:
        """Return a sentence for each field that is not the same, to the last bit."""
        lines = [
            *_rows("order", self.orders, found.orders),
            *_rows("fill", self.fills, found.fills),
        ]
        for name in ("cash", "position_qty"):
            lines += _field(name, getattr(self, name), getattr(found, name))
        if len(lines) > MOST_LINES:
            more = len(lines) - MOST_LINES
            lines = [*lines[:MOST_LINES], f"and {more} more"]
        return lines


def _rows(what: str, expected: Sequence[Any], found: Sequence[Any]) -> Iterator[str]:
    for n, (want, got) in enumerate(zip(expected, found, strict=False), start=1):
        for name in want._fields:
            yield from _field(f"{what} {n}: {name}", getattr(want, name), getattr(got, name))
    for n, want in enumerate(expected[len(found) :], start=len(found) + 1):
        yield f"{what} {n}: expected {_words(want)} found none"
    for n, got in enumerate(found[len(expected) :], start=len(expected) + 1):
        yield f"{what} {n}: expected none found {_words(got)}"


def _field(name: str, want: Any, got: Any) -> list[str]:
    return [] if want == got else [f"{name} expected {want!r} found {got!r}"]


def _words(row: Any) -> str:
    return " ".join(str(getattr(row, name)) for name in row._fields)
