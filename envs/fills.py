"""A fill, as an env reports it."""

from typing import NamedTuple


class EnvFill(NamedTuple):
    """One fill as the env reports it."""

    ts_event_ns: int
    signed_qty: float
    px: float
    commission: float
    client_order_id: str
