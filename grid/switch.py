"""The broker's decisions about requests. Pure: frames in, frames out, monotonic time given."""

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from grid import wire
from grid.access import ANYONE, Holder
from grid.errors import ProtocolError
from grid.grants import Topics, covers
from grid.quota import Quota

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES: Final = 1 << 18
REQUESTS_PER_S: Final = 5_000.0  # of one peer, and as many at once after a pause
MAX_STRATEGIES: Final = 1_000
SILENT_S: Final = 3.0  # a strategy registers each second
_UNDER_WAY: Final = 10_000

type Side = Literal["agents", "strategies"]
type Sending = tuple[Side, list[bytes]]


class Route(msgspec.Struct):
    """Where a strategy is reached."""

    routing_id: bytes
    epoch: int
    heard_s: float
    trusted: bool = True  # its replies need no look at what it was asked


class Switch:
    """Decides where requests and replies go.

    Args:
        on_refusal: called with who was refused what, and why, when a key has not the right to it.
        on_misdeed: called with who has sent what no good peer sends.

    Attributes:
        routes: strategy_id -> its route.
        refused: reason -> requests answered here.
        ignored: registrations of an older epoch than the one known, or of one strategy too many.
        requests: from agents.
        replies: from strategies.
        bad: frames from strategies that mean nothing.
        lost: replies and refusals whose agent had left.
    """

    def __init__(
        self,
        on_refusal: Callable[[Holder, wire.Request | wire.Register, str], None] | None = None,
        on_misdeed: Callable[[Holder], None] | None = None,
    ) -> None:
        self._on_refusal = on_refusal or (lambda who, asked, why: None)
        self._on_misdeed = on_misdeed or (lambda who: None)
        self._quota = Quota()
        # requests under way to those not trusted: (strategy, agent) -> how many
        self._under_way: OrderedDict[tuple[bytes, bytes], int] = OrderedDict()
        self.routes: dict[str, Route] = {}
        self.refused: Counter[str] = Counter()
        self.ignored = self.requests = self.replies = self.bad = self.lost = 0

    def from_agent(self, frames: list[bytes], now_s: float, who: Holder = ANYONE) -> Sending:
        """Send [agent, empty, payload] of a peer on to its strategy, or answer it."""
        self.requests += 1
        agent = frames[0]
        # the grid's own processes share a key, and one of them must not use up what others need
        peer = agent if who.grant.is_everything else who.name
        if not self._quota.take(peer, REQUESTS_PER_S, now_s):
            self._on_misdeed(who)
            return self._answer(agent, "flood", _TOO_MANY)
        if len(frames) != 3 or frames[1]:
            self._on_misdeed(who)
            said = f"expected an empty frame and one payload, found {len(frames) - 1} frames"
            return self._answer(agent, "malformed", wire.Refused(said, retry=False))
        payload = frames[2]
        if len(payload) > MAX_REQUEST_BYTES:
            self._on_misdeed(who)
            said = f"request of {len(payload)} bytes: expected at most {MAX_REQUEST_BYTES}"
            return self._answer(agent, "oversize", wire.Refused(said, retry=False))
        try:
            request = wire.request(payload)
        except ProtocolError as e:
            self._on_misdeed(who)
            return self._answer(agent, "undecodable", wire.Refused(str(e), retry=False))
        if not who.grant.is_everything:
            if said := _forbidden(request, who):
                return self._forbid(agent, request, who, said)
            request = _signed(request, who)
            payload = wire.encode(request)
        route = self.routes.get(wire.addressee(request))
        if route is None:
            return self._refuse(agent, request, "unknown", "is not known here")
        if now_s - route.heard_s > SILENT_S:
            return self._refuse(agent, request, "silent", f"has been silent for {SILENT_S:g} s")
        if not route.trusted:
            self._await(route.routing_id, agent)
        return "strategies", [route.routing_id, agent, payload]

    def from_strategy(
        self, frames: list[bytes], now_s: float, who: Holder = ANYONE
    ) -> Sending | None:
        """Take a registration [strategy, empty, payload], or pass [strategy, corr, payload] on."""
        if len(frames) != 3:
            self.bad += 1
            return None
        strategy, corr, payload = frames
        if corr:
            if not (who.grant.is_everything or self._was_asked(strategy, corr)):
                self.refused["unasked"] += 1
                self._on_misdeed(who)
                return None
            self.replies += 1
            return "agents", [corr, b"", payload]
        try:
            register = wire.register(payload)
        except ProtocolError:
            self.bad += 1
            return None
        if covers(who.grant.serve, register.strategy_id):
            self._register(strategy, register, now_s, trusted=who.grant.is_everything)
        else:
            self.refused["forbidden"] += 1
            self._on_refusal(who, register, f"it may not answer for {register.strategy_id!r}")
            self._on_misdeed(who)
        return None

    def undeliverable(self, sending: Sending) -> Sending | None:
        """Answer a request whose strategy has left; a reply whose agent has left is let go."""
        side, frames = sending
        if side == "agents":
            self.lost += 1
            return None
        _, agent, payload = frames
        return self._refuse(agent, wire.request(payload), "unreachable", "cannot be reached")

    def _await(self, strategy: bytes, agent: bytes) -> None:
        self._under_way[strategy, agent] = self._under_way.get((strategy, agent), 0) + 1
        if len(self._under_way) > _UNDER_WAY:
            self._under_way.popitem(last=False)

    def _was_asked(self, strategy: bytes, agent: bytes) -> bool:
        """Take one request as answered; without it, a strategy could speak for another one."""
        left = self._under_way.pop((strategy, agent), 0)
        if left > 1:
            self._under_way[strategy, agent] = left - 1
        return left > 0

    def _register(
        self, routing_id: bytes, register: wire.Register, now_s: float, *, trusted: bool
    ) -> None:
        known = self.routes.get(register.strategy_id)
        full = known is None and len(self.routes) >= MAX_STRATEGIES
        if full or (known is not None and register.epoch < known.epoch):
            self.ignored += 1
            return
        if known is None or register.epoch > known.epoch:
            log.info("strategy %s is here, epoch %d", register.strategy_id, register.epoch)
        self.routes[register.strategy_id] = Route(routing_id, register.epoch, now_s, trusted)

    def _refuse(self, agent: bytes, request: wire.Request, why: str, said: str) -> Sending:
        reason = f"strategy {wire.addressee(request)!r} {said}"
        match request:
            case wire.Action():
                answer = wire.Answer(
                    "rejected", request.decision_seq, request.action_seq, reason, retry=True
                )
                return self._answer(agent, why, answer)
            case _:
                return self._answer(agent, why, wire.Refused(reason, retry=True))

    def _forbid(self, agent: bytes, request: wire.Request, who: Holder, said: str) -> Sending:
        self._on_refusal(who, request, said)
        self._on_misdeed(who)
        reason = f"key {who.name!r}: {said}"
        match request:
            case wire.Action():
                answer = wire.Answer("rejected", request.decision_seq, request.action_seq, reason)
                return self._answer(agent, "forbidden", answer)
            case _:
                return self._answer(agent, "forbidden", wire.Refused(reason, retry=False))

    def _answer(self, agent: bytes, why: str, reply: wire.Reply) -> Sending:
        self.refused[why] += 1
        return "agents", [agent, b"", wire.encode(reply)]


_TOO_MANY: Final = wire.Refused(f"more than {REQUESTS_PER_S:g} requests in a second", retry=True)


def _forbidden(request: wire.Request, who: Holder) -> str:
    """Say why a key may not ask this; empty if it may."""
    grant = who.grant
    match request:
        case wire.Hello() | wire.Action() | wire.Renew():
            if not covers(grant.act, request.strategy_id):
                return f"it may not act for strategy {request.strategy_id!r}"
            if not covers(grant.agents, request.agent_id):
                return f"it may not act as agent {request.agent_id!r}"
        case wire.Halt() | wire.Resume() | wire.Flatten():
            if not covers(grant.control, request.strategy_id):
                return f"it may not control strategy {request.strategy_id!r}"
        case wire.ManualOrder() | wire.CancelManual():
            if not covers(grant.orders, request.strategy_id):
                return f"it may not order for strategy {request.strategy_id!r}"
        case wire.Fetch() | wire.Tail():
            if not grant.history:
                return "it may not fetch past events"
            if not Topics(grant.subscribe).allow(f"{request.topic}\0".encode()):
                return f"it may not follow topic {request.topic!r}"
    return ""


def _signed(request: wire.Request, who: Holder) -> wire.Request:
    """Return a request under the name that was proved, whatever it says of itself."""
    match request:
        case (
            wire.Halt() | wire.Resume() | wire.Flatten() | wire.ManualOrder() | wire.CancelManual()
        ):
            return msgspec.structs.replace(request, by=who.name)
        case wire.Fetch() | wire.Tail():
            return msgspec.structs.replace(request, client=who.name)
        case _:
            return request  # as an agent that the key may be
