"""The live node: the engine's LiveNode on our event loop, the env's strategy, the bus link.

One process, one thread, one loop: the engine, the requests of the agents and the heartbeat share
it, so a node that is stuck is silent, and its supervisor and the agents notice.
"""

import asyncio
import logging
import platform
from importlib.metadata import version
from itertools import count
from typing import Final

import msgspec
import uvloop
import zmq

from grid import wire
from grid.audit import Audit
from grid.bus import BROKER_TIMEOUT_S, Publisher, Responder, new_context, wait_until_flowing
from grid.epoch import next_epoch
from grid.errors import ArgonautError, EngineError
from grid.history import history_of
from grid.latency import Latency
from grid.node.bus_link import BusLink
from grid.node.data_client import Wiring
from grid.node.departure import Departure
from grid.node.engine_build import as_traded, build_node
from grid.node.exec_client import PaperWiring
from grid.node.gate import Gate
from grid.node.guard import Guard
from grid.node.manual import ManualOrders
from grid.node.parting import part
from grid.node.routes import PaperRoute, Route, SandboxRoute
from grid.node.setup import NodeSetup
from grid.node.strategy import AgentStrategy
from grid.process import Lifeline

log = logging.getLogger(__name__)

_PULSE_S: Final = 0.5
_ANNOUNCE_BEATS: Final = 10
_WINDOW: Final = 256  # events under way when the feed does not wait for decisions


def run(setup: NodeSetup, life: Lifeline) -> None:
    """Trade until the feed ends or the process is told to stop.

    Raises:
        BusError: the broker does not answer.
        EngineError: a callback of the strategy failed, or the engine did.
    """
    context = new_context()
    publisher = Publisher(
        context,
        setup.addresses.events_in,
        setup.name,
        next_epoch(setup.epochs, setup.name),
        role="node",
        ring_bytes=setup.ring_bytes,
    )
    try:
        if wait_until_flowing(
            context, setup.addresses, publisher, BROKER_TIMEOUT_S, lambda: life.stopping
        ):
            uvloop.run(_Node(setup, life, context, publisher).run())
    finally:
        publisher.close()
        context.destroy(linger=500)


class _Node:
    def __init__(
        self,
        setup: NodeSetup,
        life: Lifeline,
        context: zmq.Context[zmq.Socket[bytes]],
        publisher: Publisher,
    ) -> None:
        self._setup = setup
        self._life = life
        self._context = context
        self._publisher = publisher
        epoch = publisher.epoch
        self._responder = Responder(self._context, setup.addresses.strategies)
        self._gate = Gate(
            setup.strategy_id,
            epoch,
            setup.spec.digest,
            setup.champion,
            setup.standbys,
            setup.lease_ttl_ns,
        )
        self._guard = Guard(
            setup.strategy_id,
            epoch,
            setup.limits,
            setup.instrument.multiplier,
            setup.halt,
            Audit(setup.audit, setup.strategy_id, epoch),
            setup.marks if setup.paper else None,
        )
        self._manual = ManualOrders(
            setup.strategy_id, epoch, setup.instrument, self._guard, setup.no_manual_orders
        )
        self._paper = self._paper_wiring() if setup.paper else None
        latency = Latency(setup.venue, setup.venue.fill_seed)
        route: Route = (
            PaperRoute(self._paper, latency)
            if self._paper
            else SandboxRoute(latency, waits=setup.spec.book is not None)
        )
        self._link = BusLink(
            setup.spec,
            setup.instrument,
            self._gate,
            self._guard,
            self._manual,
            route,
            self._publisher,
            self._responder,
            ttl_ns=setup.ttl_ns,
            fallback=setup.fallback,
            history_rows=setup.warmup + 64,
            info=_info(setup, epoch),
            on_idle=self._let_come,
            on_failed=self._fail,
        )
        if self._paper is not None:
            self._paper.on_heard = self._link.check_idle
        self._link.announce()
        self._wiring = Wiring(
            context=self._context,
            address=setup.addresses.feed,
            epoch=epoch,
            warmup=setup.warmup,
            instrument=as_traded(setup),
            venue=setup.venue,
            bar_type=setup.spec.bar_type if setup.spec.rows == "bar" else "",
            on_history=self._link.market.history,
            on_trade=self._link.market.trade,
            on_end=self._end_of_feed,
        )
        self._strategy = AgentStrategy(
            setup.spec,
            setup.instrument,
            self._link,
            setup.strategy_id,
            inherits=bool(setup.paper),
        )
        self._error: BaseException | None = None
        self._started = False  # rows may come
        self._feed_ended = False
        self._leaving: asyncio.Task[None] | None = None
        self._state = "starting"

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        node = build_node(self._setup, self._wiring, self._paper, self._strategy)
        self._handle = node.handle()
        loop.add_reader(self._life.wake_fd, self._handle.stop)
        self._started_s = loop.time()
        running = asyncio.ensure_future(node.run_async())
        pulse = asyncio.ensure_future(self._pulse())
        try:
            done, _ = await asyncio.wait({running, pulse}, return_when=asyncio.FIRST_COMPLETED)
            if pulse in done:  # it never ends by itself
                self._handle.stop()
                pulse.result()
            await running
        finally:
            pulse.cancel()
            if self._leaving is not None:
                self._leaving.cancel()
            loop.remove_reader(self._life.wake_fd)
            node.dispose()
            self._publisher.heartbeat("stopped", self._counters())
            self._guard.sync()
            self._guard.audit.close()
            self._responder.close()
        if isinstance(self._error, ArgonautError):
            raise self._error
        if self._error is not None:
            error = self._error
            raise EngineError(f"the strategy failed: {type(error).__name__}: {error}") from error

    def _paper_wiring(self) -> PaperWiring:
        setup = self._setup
        return PaperWiring(
            context=self._context,
            address=setup.addresses.venue,
            account_id=setup.paper,
            epoch=self._publisher.epoch,
            instrument=setup.instrument,
            venue=setup.venue,
            capital=setup.spec.capital,
            on_failed=self._venue_failed,
        )

    async def _pulse(self) -> None:
        loop = asyncio.get_running_loop()
        for beat in count(1):
            if beat % _ANNOUNCE_BEATS == 0:
                self._link.announce()
            self._responder.register(self._setup.strategy_id, self._gate.epoch)
            self._responder.register(history_of(self._setup.name), self._gate.epoch)
            if self._handle.is_running:
                self._link.serve()
                if self._state == "starting":
                    self._state = "waiting"
                    self._life.ready()
                self._begin(loop.time())
            halted = self._guard.halt is not None and self._state == "trading"
            self._publisher.heartbeat("halted" if halted else self._state, self._counters())
            self._guard.sync()
            self._life.beat()
            await asyncio.sleep(_PULSE_S)

    def _begin(self, now_s: float) -> None:
        """Let the first row come once the agents are there, or have been waited for."""
        if self._started:
            return
        absent = [a for a in self._setup.agents if not self._gate.has_joined(a)]
        if absent:
            waited_s = now_s - self._started_s
            if waited_s < self._setup.wait_for_agents_s:
                return
            log.warning("not here after %.1f s: %s", waited_s, ", ".join(absent))
        self._started = True
        self._state = "trading"
        self._let_come()

    def _let_come(self) -> None:
        """Called when nothing is under way: the market may go on."""
        client = self._wiring.client
        if client is None:
            return
        if not self._started:
            if self._state == "waiting":  # an agent has joined
                self._begin(asyncio.get_running_loop().time())
            return
        client.grant(self._link.processed + (1 if self._setup.lockstep else _WINDOW))
        if self._feed_ended and self._link.processed >= client.received:
            self._finish()

    def _end_of_feed(self) -> None:
        self._feed_ended = True
        if self._link.idle:
            self._let_come()

    def _finish(self) -> None:
        if self._state == "done" or not self._link.end():
            return
        self._state = "done"
        log.info("feed has ended after %d decisions", self._gate.decision_seq)
        if self._setup.stop_at_end:
            self._leaving = asyncio.get_running_loop().create_task(self._depart())

    async def _depart(self) -> None:
        """End the engine once others have all that was published; answer them until then."""
        setup, publisher = self._setup, self._publisher
        topic = f"exec.{setup.strategy_id}"
        leaving = Departure(
            setup.name, publisher.epoch, topic, publisher.high[topic], recorded=setup.recorded
        )
        await part(
            leaving,
            self._context,
            setup.addresses,
            beat=lambda: publisher.heartbeat(self._state, self._counters()),
            serve=self._link.serve,
        )
        self._handle.stop()

    def _fail(self, error: BaseException) -> None:
        log.error("strategy failed", exc_info=error)
        self._error = self._error or error

    def _venue_failed(self, error: BaseException) -> None:
        self._error = self._error or error
        self._handle.stop()

    def _counters(self) -> dict[str, float]:
        link, ledger, client = self._link, self._strategy.ledger, self._wiring.client
        paper = self._paper
        counts = {k: float(v) for k, v in self._gate.counts.items()}
        return {
            "late": 0.0,
            **counts,
            **{k: float(v) for k, v in link.past.counts.items()},
            "rows": float(link.rows),
            "decisions": float(self._gate.decision_seq),
            "orders": float(link.orders),
            "fills": float(ledger.fills),
            "position_qty": ledger.position_qty,
            "equity": link.equity(),
            "fees": ledger.fees,
            **{k: float(v) for k, v in self._guard.counts.items()},
            **{k: float(v) for k, v in self._manual.counts.items()},
            "audit_lost": float(self._guard.audit.lost),
            "venue_repeated": float(paper.client.repeated if paper and paper.client else 0),
            "resubscribed": float(client.resubscribed if client else 0),
            "bad": float(self._responder.bad + (client.bad if client else 0)),
        }


def _info(setup: NodeSetup, epoch: int) -> wire.StrategyInfo:
    packages = ("nautilus_trader", "pyzmq", "msgspec", "numpy")
    return wire.StrategyInfo(
        strategy_id=setup.strategy_id,
        epoch=epoch,
        spec=msgspec.json.encode(setup.spec),
        instrument=msgspec.json.encode(setup.instrument),
        venue=msgspec.json.encode(setup.venue),
        interval_ns=setup.interval_ns,
        versions={"python": platform.python_version(), **{p: version(p) for p in packages}},
        checkpoint=setup.checkpoint,
        fallback=setup.fallback,
    )
