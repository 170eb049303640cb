"""What a key may do, and whether that covers a topic, a strategy, an endpoint. Pure.

Topics are named as `decision.S`, that topic alone, or `md.*`, all that begin so; other names are
meant whole, and `*` is all of them.
"""

from typing import Final, Literal

import msgspec

from grid.errors import AccessError

type Endpoint = Literal["events_in", "events_out", "requests", "strategies", "feed", "venue"]

ALL: Final = ("*",)
EVENTS_PER_S: Final = 100.0  # of a key that only beats


class Grant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rights of a key; without any, it may not even connect.

    Attributes:
        publish: topics. Its events may say of themselves that they come from X if `sys.X` is among
            these.
        subscribe: topics.
        act: strategies that it may ask as an agent.
        agents: ids of the agents that it may be.
        serve: names that it may answer requests for: strategies, `history`, `history.<source>`.
        control: strategies that it may halt, resume and flatten.
        history: whether it may fetch past events, of the topics that it may subscribe to.
        trade: whether it may connect to the feed and to the paper venue.
        events_per_s: how many events it may publish; 0 for as many as it likes.
        orders: strategies that it may send manual orders to.
    """

    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    act: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    serve: tuple[str, ...] = ()
    control: tuple[str, ...] = ()
    history: bool = False
    trade: bool = False
    events_per_s: float = 0.0
    orders: tuple[str, ...] = ()

    @property
    def is_everything(self) -> bool:
        """Whether nothing is forbidden: the key of the grid's own processes."""
        # a key of the grid from before there were manual orders may give them, too
        return msgspec.structs.replace(self, orders=ALL) == EVERYTHING

    def may_enter(self, endpoint: str) -> bool:
        """Say whether the key has any business at an endpoint."""
        match endpoint:
            case "events_in":
                return bool(self.publish)
            case "events_out":
                return bool(self.subscribe)
            case "requests":
                return bool(self.act or self.control or self.orders or self.history)
            case "strategies":
                return bool(self.serve)
            case "feed" | "venue":
                return self.trade
            case _:
                return False


EVERYTHING: Final = Grant(
    publish=ALL,
    subscribe=ALL,
    act=ALL,
    agents=ALL,
    serve=ALL,
    control=ALL,
    history=True,
    trade=True,
    orders=ALL,
)
NOTHING: Final = Grant()


def covers(names: tuple[str, ...], name: str) -> bool:
    """Say whether a name is among those granted."""
    return "*" in names or name in names


class Topics:
    """Topics that are granted, ready to be looked up in frames."""

    def __init__(self, granted: tuple[str, ...]) -> None:
        # a frame begins with its topic and a zero byte
        self._starts = tuple(
            t[:-1].encode() if t.endswith("*") else t.encode() + b"\0" for t in granted
        )

    def allow(self, frame: bytes) -> bool:
        """Say whether a frame is on one of them."""
        return frame.startswith(self._starts)

    def narrowed(self, prefix: bytes) -> bytes | None:
        """Return what a subscription may match, or None: a whole topic is closed by its zero."""
        if prefix.startswith(self._starts):
            return prefix
        return prefix + b"\0" if prefix + b"\0" in self._starts else None


# -- roles: grants with a name -------------------------------------------------------------------

ROLES: Final = {
    "grid": "the grid's own processes: everything",
    "agent": "follows the market, acts for strategies as the agents that it is",
    "node": "publishes and answers for strategies; may use feed and paper venue",
    "observer": "follows and fetches everything, publishes its own heartbeat",
    "operator": "halts, resumes and flattens; follows everything",
    "trader": "as an operator, and sends manual orders",
}


def of_role(
    role: str, name: str, strategies: tuple[str, ...] = (), agents: tuple[str, ...] = ()
) -> Grant:
    """Return the grant of a role, for a key of that name.

    Args:
        role: one of `ROLES`.
        name: of the key; also of its process, so that its heartbeat is on `sys.NAME`.
        strategies: that it acts for, answers for, or controls.
        agents: ids of the agents that it may be; by default its name.

    Raises:
        AccessError: there is no such role, or a strategy is missing.
    """
    if role not in ROLES:
        raise AccessError(f"role: expected one of {', '.join(ROLES)}, found {role!r}")
    if role not in ("grid", "observer") and not strategies:
        raise AccessError(f"key {name!r}: role {role} is for at least one --strategy")
    own = f"sys.{name}"
    match role:
        case "grid":
            return EVERYTHING
        case "agent":
            ids = agents or (name,)
            return Grant(
                publish=(own, *(f"sys.agent-{a}" for a in ids)),
                subscribe=("md.*", "sys.*", *(f"decision.{s}" for s in strategies)),
                act=strategies,
                agents=ids,
                history=True,
                events_per_s=EVENTS_PER_S,
            )
        case "node":
            theirs = (f"{kind}.{s}" for s in strategies for kind in ("decision", "exec"))
            return Grant(
                publish=(own, "md.*", *theirs),
                subscribe=("sys.*",),
                serve=(*strategies, f"history.{name}"),
                trade=True,
            )
        case "observer":
            return Grant(publish=(own,), subscribe=ALL, history=True, events_per_s=EVENTS_PER_S)
        case _:
            return Grant(
                publish=(own,),
                subscribe=ALL,
                control=strategies,
                events_per_s=EVENTS_PER_S,
                orders=strategies if role == "trader" else (),
            )
