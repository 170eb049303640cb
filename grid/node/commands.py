"""What a strategy can be told to order, and the orders that it has open. Plain: no engine."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

type Tif = Literal["GTC", "IOC", "FOK", "DAY"]


class Market(NamedTuple):
    """Buy (positive) or sell at the market."""

    instrument_id: str
    signed_qty: float
    reduce_only: bool = False


class Limit(NamedTuple):
    """Buy (positive) or sell at a price or better."""

    instrument_id: str
    signed_qty: float
    px: float
    tif: Tif = "GTC"
    post_only: bool = False


class Bracket(NamedTuple):
    """Enter at the market, with a take-profit limit and a stop-loss; one cancels the other."""

    instrument_id: str
    signed_qty: float
    take_profit_px: float
    stop_loss_px: float


class Cancel(NamedTuple):
    """Cancel one order."""

    client_order_id: str


class CancelAll(NamedTuple):
    """Cancel all orders of an instrument."""

    instrument_id: str


type Command = Market | Limit | Bracket | Cancel | CancelAll


@dataclass
class OpenOrder:
    """An order that is neither filled nor closed.

    Attributes:
        left_qty: signed.
        px: limit or trigger price, None at the market.
        ts_ns: when it was given.
        exits: whether it only closes what another order opens, as the legs of a bracket do.
        accepted: whether it rests at the venue.
        sent: whether its market has moved since it arrived; until then nothing can fill it.
    """

    client_order_id: str
    instrument_id: str
    left_qty: float
    px: float | None
    ts_ns: int
    exits: bool = False
    accepted: bool = False
    sent: bool = False
