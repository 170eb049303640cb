"""The section `[redis]` of a grid, and the names of its keys there. No client of Redis here."""

from typing import Annotated

import msgspec

Positive = Annotated[float, msgspec.Meta(gt=0)]


class RedisConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Redis that web clients put orders into and read events from.

    Attributes:
        enabled: whether a bridge to it is started with the grid.
        url: of the server, as in `redis://127.0.0.1:6379/0`.
        prefix: of all keys; empty for `argonaut:` and the grid's name.
        order_ttl_s: an order that has waited for longer is answered `expired` and not sent.
        topics: beginnings of the topics that go out.
        events_maxlen: events that the stream keeps, about.
        pubsub: whether events are published on a channel, too, for those who need no past.
        by: who orders, in the audit log, where an order says nothing else.
    """

    enabled: bool = True
    url: Annotated[str, msgspec.Meta(pattern=r"^(redis|rediss|unix)://")] = (
        "redis://127.0.0.1:6379/0"
    )
    prefix: str = ""
    order_ttl_s: Positive = 30.0
    topics: tuple[str, ...] = ("decision.", "exec.")
    events_maxlen: Annotated[int, msgspec.Meta(ge=1)] = 100_000
    pubsub: bool = True
    by: Annotated[str, msgspec.Meta(min_length=1, max_length=60)] = "redis"

    def names(self, grid: str) -> "Names":
        """Return the names of the keys for a grid."""
        return Names.under(self.prefix or f"argonaut:{grid}")


class Names(msgspec.Struct, frozen=True):
    """Keys in Redis.

    Attributes:
        orders: stream of orders and cancels, in.
        known: prefix of the keys that remember what was asked for under a client order id.
        replies: stream of the strategy's answers, out.
        events: stream of events, and the channel that mirrors it, out.
        positions: hash of what went out last, by stream of the bus.
    """

    orders: str
    known: str
    replies: str
    events: str
    positions: str

    @classmethod
    def under(cls, prefix: str) -> "Names":
        """Return the names that begin with a prefix."""
        return cls(*(f"{prefix}:{field}" for field in cls.__struct_fields__))
