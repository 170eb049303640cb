"""Orders of web clients in Redis: how they get in, once, and what they say. For any web tier.

    orders = Orders(redis.Redis.from_url(url), Names.under("argonaut:eurusd"))
    orders.submit("7f3a", "BUY", 1000.0)          # an order under the key 7f3a
    orders.reply("7f3a")                          # what the strategy said, None so far

Remembering the key and adding the order is one script, so that no crash leaves one without the
other.
"""

import hashlib
from typing import Any, Final, Literal

import msgspec

from grid import wire
from grid.errors import BridgeError
from grid.redis.config import Names

KEPT_S: Final = 7 * 86_400  # a key is remembered for so long after its order
REPLIES: Final = 100_000
MOST_WAITING: Final = 10_000  # orders; a grid that is away takes no more

# KEYS: known, orders. ARGV: what is asked for, entry, seconds, most waiting
_SUBMIT: Final = """
local before = redis.call('GET', KEYS[1])
if before then return before == ARGV[1] and 'duplicate' or 'conflict' end
if redis.call('XLEN', KEYS[2]) >= tonumber(ARGV[4]) then return 'full' end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
redis.call('XADD', KEYS[2], '*', 'order', ARGV[2])
return 'queued'
"""

type Submitted = Literal["queued", "duplicate", "conflict", "full"]


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of the stream of orders, as JSON in its field `order`.

    Attributes:
        act: to order, or to take an order back.
        key: of the client's choice: the same one is never carried out twice.
        side: of an order.
        qty: of an order, whole lots.
        limit_px: whole ticks; 0 at the market.
        strategy_id: empty for the grid's.
        by: who asks; empty for what the bridge is told.
        reason: for the audit log.
    """

    key: str
    act: Literal["order", "cancel"] = "order"
    side: Literal["BUY", "SELL"] = "BUY"
    qty: float = 0.0
    limit_px: float = 0.0
    strategy_id: str = ""
    by: str = ""
    reason: str = ""

    @property
    def client_order_id(self) -> str:
        """The one id that an order of this key has: see `client_order_id`."""
        return client_order_id(self.key)

    def request(self, strategy_id: str, by: str) -> wire.ByHand:
        """Return what the strategy is asked."""
        name, who = self.strategy_id or strategy_id, self.by or by
        if self.act == "cancel":
            return wire.CancelManual(name, self.client_order_id, who, self.reason)
        return wire.ManualOrder(
            name, self.client_order_id, who, self.side, self.qty, self.limit_px, self.reason
        )


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an entry.

    Attributes:
        key: of the client.
        client_order_id: that events of the order carry.
        act: what was asked.
        status: the strategy's answer; `expired` and `invalid` orders never came to it.
        reason: why not.
    """

    key: str
    client_order_id: str
    act: str
    status: Literal["accepted", "duplicate", "refused", "expired", "invalid"]
    reason: str = ""


def client_order_id(key: str) -> str:
    """Return the client order id of a key: a function of it, so that a twin has the same."""
    return f"manual-{hashlib.blake2b(f'redis\0{key}'.encode(), digest_size=12).hexdigest()}"


def asked(fields: dict[bytes, bytes]) -> Asked:
    """Read an entry of the stream.

    Raises:
        BridgeError: it is none.
    """
    try:
        found = msgspec.json.decode(fields[b"order"], type=Asked)
    except (KeyError, msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise BridgeError(f"order: expected a field `order` of JSON, found {e}") from e
    if not 0 < len(found.key) <= 200:
        raise BridgeError(f"order: expected a key of 1 to 200 characters, found {len(found.key)}")
    return found


class Orders:
    """The web tier's end. One connection, one thread at a time.

    Args:
        client: of redis-py, `decode_responses` off.
        names: of the keys.
    """

    def __init__(self, client: Any, names: Names) -> None:
        self._client = client
        self._names = names
        self._submit = client.register_script(_SUBMIT)

    def submit(
        self, key: str, side: Literal["BUY", "SELL"], qty: float, limit_px: float = 0.0,
        *, by: str = "", reason: str = "",
    ) -> Submitted:  # fmt: skip
        """Put an order into the stream, once; at 0 it is at the market.

        Returns:
            `queued`; `duplicate` if it was there; `conflict` if the key was used for another;
            `full` if too many wait.
        """
        return self._put(
            Asked(key=key, side=side, qty=qty, limit_px=limit_px, by=by, reason=reason)
        )

    def cancel(self, key: str, *, by: str = "", reason: str = "") -> Submitted:
        """Ask to take back what is open of the order of that key."""
        return self._put(Asked(key=key, act="cancel", by=by, reason=reason))

    def reply(self, key: str, act: str = "order") -> Reply | None:
        """Return what became of it; None while nothing has."""
        text = self._client.get(reply_name(self._names, key, act))
        return msgspec.json.decode(text, type=Reply) if text is not None else None

    def _put(self, entry: Asked) -> Submitted:
        text = msgspec.json.encode(entry)
        known = f"{self._names.known}:{entry.act}:{entry.key}"
        wanted = f"{entry.side} {entry.qty!r} {entry.limit_px!r}"
        said = self._submit(
            keys=[known, self._names.orders], args=[wanted, text, KEPT_S, MOST_WAITING]
        )
        found: Submitted = said.decode()
        return found


def reply_name(names: Names, key: str, act: str) -> str:
    """Return where the reply to an entry is kept."""
    return f"{names.replies}:{act}:{key}"
