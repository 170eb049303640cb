"""The broker's decisions about requests. Pure: frames in, frames out, monotonic time given."""

import logging
from collections import Counter
from typing import Final, Literal

import msgspec

from grid import wire
from grid.errors import ProtocolError

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES: Final = 1 << 18
MAX_STRATEGIES: Final = 1_000
SILENT_S: Final = 3.0  # a strategy registers each second

type Side = Literal["agents", "strategies"]
type Sending = tuple[Side, list[bytes]]


class Route(msgspec.Struct):
    """Where a strategy is reached."""

    routing_id: bytes
    epoch: int
    heard_s: float


class Switch:
    """Decides where requests and replies go.

    Attributes:
        routes: strategy_id -> its route.
        refused: reason -> requests answered here.
        ignored: registrations of an older epoch than the one known, or of one strategy too many.
        requests: from agents.
        replies: from strategies.
        bad: frames from strategies that mean nothing.
        lost: replies and refusals whose agent had left.
    """

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self.refused: Counter[str] = Counter()
        self.ignored = self.requests = self.replies = self.bad = self.lost = 0

    def from_agent(self, frames: list[bytes], now_s: float) -> Sending:
        """Send [agent, empty, payload] on to its strategy, or answer it."""
        self.requests += 1
        agent = frames[0]
        if len(frames) != 3 or frames[1]:
            said = f"expected an empty frame and one payload, found {len(frames) - 1} frames"
            return self._answer(agent, "malformed", wire.Refused(said, retry=False))
        payload = frames[2]
        if len(payload) > MAX_REQUEST_BYTES:
            said = f"request of {len(payload)} bytes: expected at most {MAX_REQUEST_BYTES}"
            return self._answer(agent, "oversize", wire.Refused(said, retry=False))
        try:
            request = wire.request(payload)
        except ProtocolError as e:
            return self._answer(agent, "undecodable", wire.Refused(str(e), retry=False))
        route = self.routes.get(wire.addressee(request))
        if route is None:
            return self._refuse(agent, request, "unknown", "is not known here")
        if now_s - route.heard_s > SILENT_S:
            return self._refuse(agent, request, "silent", f"has been silent for {SILENT_S:g} s")
        return "strategies", [route.routing_id, agent, payload]

    def from_strategy(self, frames: list[bytes], now_s: float) -> Sending | None:
        """Take a registration [strategy, empty, payload], or pass [strategy, corr, payload] on."""
        if len(frames) != 3:
            self.bad += 1
            return None
        strategy, corr, payload = frames
        if corr:
            self.replies += 1
            return "agents", [corr, b"", payload]
        try:
            self._register(strategy, wire.register(payload), now_s)
        except ProtocolError:
            self.bad += 1
        return None

    def undeliverable(self, sending: Sending) -> Sending | None:
        """Answer a request whose strategy has left; a reply whose agent has left is let go."""
        side, frames = sending
        if side == "agents":
            self.lost += 1
            return None
        _, agent, payload = frames
        return self._refuse(agent, wire.request(payload), "unreachable", "cannot be reached")

    def _register(self, routing_id: bytes, register: wire.Register, now_s: float) -> None:
        known = self.routes.get(register.strategy_id)
        full = known is None and len(self.routes) >= MAX_STRATEGIES
        if full or (known is not None and register.epoch < known.epoch):
            self.ignored += 1
            return
        if known is None or register.epoch > known.epoch:
            log.info("strategy %s is here, epoch %d", register.strategy_id, register.epoch)
        self.routes[register.strategy_id] = Route(routing_id, register.epoch, now_s)

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

    def _answer(self, agent: bytes, why: str, reply: wire.Reply) -> Sending:
        self.refused[why] += 1
        return "agents", [agent, b"", wire.encode(reply)]
