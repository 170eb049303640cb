"""Where agents come in: who is welcomed, and whose lease goes on."""

import logging
import time
from collections.abc import Callable
from typing import Final

from grid import wire
from grid.bus import Publisher
from grid.node.gate import Gate
from grid.node.guard import Guard
from grid.node.market import Market

log = logging.getLogger(__name__)

_NS_PER_S: Final = 1_000_000_000


class Reception:
    """Answers agents that join and that renew, and tells of it.

    Args:
        gate: grants leases.
        guard: is told of refusals.
        market: whose last rows an agent is given.
        publisher: of market and decisions.
        tell: publishes on the strategy's exec topic.
    """

    def __init__(
        self,
        gate: Gate,
        guard: Guard,
        market: Market,
        publisher: Publisher,
        tell: Callable[[wire.Event], None],
    ) -> None:
        self._gate = gate
        self._guard = guard
        self._market = market
        self._publisher = publisher
        self._tell = tell
        self._decision_topic = f"decision.{gate.strategy_id}"

    def welcome(self, hello: wire.Hello) -> wire.Welcome | wire.Refused:
        """Let an agent in, or say why not."""
        gate, publisher = self._gate, self._publisher
        lease = gate.hello(hello, time.monotonic_ns())
        if isinstance(lease, wire.Refused):
            log.warning("agent %s refused: %s", hello.agent_id, lease.reason)
            self._guard.refused(hello.agent_id, lease.reason, f"hello as {hello.role}")
            return lease
        log.info("agent %s joined as %s, lease %d", hello.agent_id, hello.role, lease)
        self._tell(
            wire.Joined(
                strategy_id=gate.strategy_id,
                epoch=gate.epoch,
                agent_id=hello.agent_id,
                role=hello.role,
                lease=lease,
                policy=hello.policy,
            )
        )
        return wire.Welcome(
            strategy_id=gate.strategy_id,
            agent_id=hello.agent_id,
            role=hello.role,
            epoch=gate.epoch,
            lease=lease,
            market_source=publisher.source,
            market_epoch=publisher.epoch,
            market_seq=self._market.rows_published,
            history=tuple(self._market.recent),
            holder=gate.holder,
            ttl_ns=gate.lease_ttl_ns,
            decision_seq=publisher.high.get(self._decision_topic, 0) - gate.is_open,
            uptime_s=publisher.uptime_s,
        )

    def renew(self, renew: wire.Renew) -> wire.Renewed:
        """Let a lease go on; where the champion's has lapsed, the standby takes over."""
        gate, now_ns = self._gate, time.monotonic_ns()
        before, lapsed_ns = gate.holder, gate.lapsed_ns(now_ns)
        renewed = gate.renew(renew, now_ns)
        if gate.holder != before:
            self._tell(
                wire.TookOver(
                    strategy_id=gate.strategy_id,
                    epoch=gate.epoch,
                    agent_id=renew.agent_id,
                    lease=renewed.lease,
                    before=before,
                    lapsed_ns=lapsed_ns,
                )
            )
            log.warning(
                "agent %s takes over from %s, whose lease lapsed %.3f s ago",
                renew.agent_id,
                before,
                lapsed_ns / _NS_PER_S,
            )
        return renewed
