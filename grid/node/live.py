"""The live node: the engine's LiveNode on our event loop, the env's strategy, the bus link.

One process, one thread, one loop: the engine, the requests of the agents and the heartbeat share
it, so a node that is stuck is silent, and its supervisor and the agents notice.
"""

import asyncio
import logging
import platform
from collections.abc import Iterator
from decimal import Decimal
from importlib.metadata import version
from itertools import count
from typing import Any, Final

import msgspec
import uvloop
import zmq
from nautilus_trader.adapters.sandbox import (
    SandboxExecutionClientConfig,
    SandboxExecutionClientFactory,
)
from nautilus_trader.common import Environment, LoggerConfig, LogLevel
from nautilus_trader.live import (
    DataClientConfig,
    ExecutionClientConfig,
    LiveExecutionEngineConfig,
    LiveNode,
    LiveRiskEngineConfig,
    RoutingConfig,
)
from nautilus_trader.model import AccountType, BookType, Currency, Money, OmsType, TraderId
from nautilus_trader.model import Venue as EngineVenue

from grid import wire
from grid.audit import Audit
from grid.bus import (
    BROKER_TIMEOUT_S,
    Publisher,
    Requester,
    Responder,
    Subscriber,
    new_context,
    wait_until_flowing,
)
from grid.epoch import next_epoch
from grid.errors import ArgonautError, EngineError, ProtocolError
from grid.history import history_of
from grid.instrument import Instrument
from grid.latency import Latency
from grid.node.bus_link import BusLink
from grid.node.costs import fee_model, fill_model
from grid.node.data_client import Wiring, factory
from grid.node.departure import ASK_S, PATIENCE_S, Departure
from grid.node.exec_client import PaperWiring, paper_factory
from grid.node.gate import Gate
from grid.node.guard import Guard
from grid.node.manual import ManualOrders
from grid.node.routes import PaperRoute, Route, SandboxRoute
from grid.node.setup import NodeSetup
from grid.node.strategy import AgentStrategy
from grid.process import Lifeline

log = logging.getLogger(__name__)

_PULSE_S: Final = 0.5
_ANNOUNCE_BEATS: Final = 10
_WINDOW: Final = 256  # events under way when the feed does not wait for decisions
_KEPT_MINS: Final = 1  # what is closed stays in the engine's cache for so long
_LOOK_S: Final = 0.02  # between two looks at what came, while the node waits to end


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
            instrument=_as_traded(setup),
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
        node = self._build()
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

    def _build(self) -> Any:
        builder = LiveNode.builder("ARGONAUT", TraderId("ARGONAUT-001"), Environment.SANDBOX)
        builder = builder.with_logging(
            LoggerConfig(stdout_level=LogLevel.WARNING, is_colored=False, print_config=False)
        )
        builder = builder.with_timeout_connection(30)
        builder = builder.with_delay_post_stop_secs(0).with_delay_shutdown_secs(0)
        builder = builder.with_risk_engine_config(
            LiveRiskEngineConfig(max_order_submit_rate="10000/00:00:01")
        )
        builder = builder.add_data_client(
            "FEED", factory(self._wiring)(), DataClientConfig(), RoutingConfig(default=True)
        )
        if self._paper is None:
            builder = builder.add_simulated_exec_client(
                "SANDBOX", SandboxExecutionClientFactory(), _sandbox(self._setup)
            )
        else:
            builder = builder.add_exec_client(
                "PAPER",
                paper_factory(self._paper)(),
                ExecutionClientConfig(),
                RoutingConfig(default=True),
            )
        # the paper client repeats what has no reply, and the sandbox replies at once: the engine
        # need not ask again; what is closed it would keep for ever
        builder = builder.with_exec_engine_config(
            LiveExecutionEngineConfig(
                inflight_check_interval_ms=0 if self._paper else None,
                purge_closed_orders_interval_mins=1,
                purge_closed_orders_buffer_mins=_KEPT_MINS,
                purge_closed_positions_interval_mins=1,
                purge_closed_positions_buffer_mins=_KEPT_MINS,
                purge_account_events_interval_mins=1,
                purge_account_events_lookback_mins=_KEPT_MINS,
            )
        )
        node = builder.build()
        node.add_strategy(self._strategy)
        return node

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
        loop = asyncio.get_running_loop()
        subscriber = Subscriber(self._context, setup.addresses.events_out, ["sys."])
        requester = Requester(self._context, setup.addresses.requests)
        deadline_s = loop.time() + PATIENCE_S
        ask_s = 0.0
        try:
            while not leaving.safe and loop.time() < deadline_s:
                if loop.time() >= ask_s:
                    ask_s = loop.time() + ASK_S
                    publisher.heartbeat(self._state, self._counters())
                    if leaving.want is not None:
                        requester.send(leaving.want)  # again if no broker takes it yet
                await asyncio.sleep(_LOOK_S)
                self._link.serve()
                if (reply := requester.recv()) is not None:
                    leaving.reply(reply)
                for beat, epoch in _beats(subscriber):
                    leaving.heard(beat, epoch)
            if not leaving.safe:
                log.warning("nobody has confirmed the last event within %g s", PATIENCE_S)
        finally:
            subscriber.close()
            requester.close()
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


def _beats(subscriber: Subscriber) -> Iterator[tuple[wire.Heartbeat, int]]:
    for _, envelope, _ in subscriber.drain(_WINDOW):
        try:
            event = wire.event(envelope)
        except ProtocolError:
            continue
        if isinstance(event, wire.Heartbeat):
            yield event, envelope.epoch


def _sandbox(setup: NodeSetup) -> SandboxExecutionClientConfig:
    currency = Currency.from_str(setup.instrument.currency)
    margin = setup.venue.account == "margin"
    return SandboxExecutionClientConfig(
        venue=EngineVenue(setup.instrument.venue),
        starting_balances=[Money(setup.spec.capital, currency)],
        base_currency=currency if margin else None,
        oms_type=OmsType.NETTING,
        account_type=AccountType.MARGIN if margin else AccountType.CASH,
        default_leverage=Decimal(str(setup.venue.leverage)),
        fee_model=fee_model(setup.venue),
        fill_model=fill_model(setup.venue, setup.venue.fill_seed),
        book_type=BookType.L2_MBP if setup.spec.book else BookType.L1_MBP,
        bar_execution=False,
        queue_position=setup.venue.queue_position,
        liquidity_consumption=setup.venue.liquidity_consumption,
    )


def _as_traded(setup: NodeSetup) -> Instrument:
    """Return the instrument as the engine is to know it."""
    instrument = setup.instrument
    if not setup.paper:
        return instrument
    # an account that is reported to the engine has no leverage there: it goes into the margins
    return msgspec.structs.replace(
        instrument,
        margin_init=instrument.margin_init / setup.venue.leverage,
        margin_maint=instrument.margin_maint / setup.venue.leverage,
    )


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
