"""Fills, as envs report them."""

from typing import NamedTuple


class EnvFill(NamedTuple):
    """One fill as the env reports it."""

    ts_event_ns: int
    signed_qty: float
    px: float
    commission: float
    client_order_id: str


class MarketFill(NamedTuple):
    """One fill as a stage reports it.

    Attributes:
        signed_qty: positive for a buy.
        instrument_id: under which the trader trades it.
        decided_ns: when its order was given; of a leg of a bracket, when the bracket was.
    """

    ts_event_ns: int
    signed_qty: float
    px: float
    commission: float
    client_order_id: str
    instrument_id: str
    decided_ns: int
