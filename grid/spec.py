"""What an agent sees and may do. Two parties talk only if their specs have the same digest."""

import hashlib
from typing import Annotated, Final, Literal

import msgspec

Qty = Annotated[float, msgspec.Meta(gt=0)]


class TargetRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an action becomes a position: a target in [-1, 1] times `max_qty`.

    Attributes:
        kind: `discrete` picks one of `levels`; `continuous` gives the target itself.
        levels: targets of the discrete actions, in the order of their index.
        max_qty: position, in units or contracts, at a target of 1.
        min_trade_qty: smaller changes of position are not traded; 0 means one lot.
    """

    max_qty: Qty
    kind: Literal["discrete", "continuous"] = "discrete"
    levels: tuple[Annotated[float, msgspec.Meta(ge=-1, le=1)], ...] = (-1.0, 0.0, 1.0)
    min_trade_qty: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class Book(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What rows of depth hold.

    Attributes:
        levels: a side.
        tick: smallest step of a price.
    """

    levels: Annotated[int, msgspec.Meta(ge=1)]
    tick: Qty


_LATER: Final = {"book": None, "timer_s": 0.0, "bars_from": ""}


class Spec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Observation and action of an agent, complete enough to rebuild both.

    A *row* is what features are computed on: one bar, quote or trade, or the best levels of a book
    at one time. A decision is due every `every` rows, counted from the start of the run, or every
    `timer_s` seconds.

    Attributes:
        instrument_id: as in `EUR/USD.SIM`.
        rows: what a row is.
        bar: step and price of the bars, as in `1-HOUR-ASK`; of depth its step, as in
            `100-MILLISECOND-BOOK`, empty if the rows are as they were given; empty for other rows.
        every: rows from one decision to the next.
        features: names with parameters, as in `log_return:5`, in the order of the matrix.
        window: feature rows in one observation.
        mean: of each feature over the training range.
        std: of each feature over the training range; 1 where it does not vary.
        clip: bound of every number in an observation.
        capital: starting balance that account state is measured against, in account currency.
        target: the action rule.
        book: of rows of depth.
        timer_s: a decision on each multiple of so many seconds since which there is a new row; 0
            for one every `every` rows.
        bars_from: the ticks that the bars are made of; empty where they come as bars.
    """

    instrument_id: str
    rows: Literal["bar", "quote", "trade", "depth"]
    features: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    target: TargetRule
    bar: str = ""
    every: Annotated[int, msgspec.Meta(ge=1)] = 1
    window: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 16
    clip: Annotated[float, msgspec.Meta(gt=0)] = 5.0
    capital: Annotated[float, msgspec.Meta(gt=0)] = 100_000.0
    book: Book | None = None
    timer_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    bars_from: Literal["", "quote", "trade"] = ""

    def __post_init__(self) -> None:
        """Refuse clocks that contradict each other."""
        if self.timer_s and self.every != 1:
            raise ValueError(f"every: expected 1 beside timer_s, found {self.every}")
        if self.timer_s and self.rows == "bar":
            raise ValueError(
                "timer_s: expected rows of quotes, trades or depth; bars are a clock already: take "
                "every = n, or bars made of ticks"
            )
        if self.bars_from and self.rows != "bar":
            raise ValueError(f"bars_from: expected rows of bars, found {self.rows}")

    @property
    def timed(self) -> bool:
        """Whether decisions lie between the market's events, and not on them."""
        return bool(self.timer_s or self.bars_from)

    @property
    def timer_ns(self) -> int:
        """From one decision to the next; 0 where rows are counted."""
        return round(self.timer_s * 1e9)

    @property
    def source(self) -> str:
        """What comes from the venue: the rows, or the ticks that they are made of."""
        return self.bars_from or self.rows

    @property
    def bar_type(self) -> str:
        """The engine's name of the bars, as in `EUR/USD.SIM-1-HOUR-ASK-EXTERNAL`."""
        return f"{self.instrument_id}-{self.bar}-EXTERNAL"

    @property
    def digest(self) -> str:
        """32 hex digits that change with any field."""
        said = msgspec.to_builtins(self)
        for name, default in _LATER.items():
            if said[name] == default:
                del said[name]  # specs without it may be older than it, and keep their digest
        canonical = msgspec.json.encode(said)
        return hashlib.blake2b(canonical, digest_size=16).hexdigest()
