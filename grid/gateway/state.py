"""What the gateway knows of a grid: events in, rows out. Pure; the clock is an argument."""

import itertools
from collections import OrderedDict, deque
from typing import Any, Final

import msgspec

from grid import wire
from grid.gateway import rows
from grid.gateway.blotter import Blotter
from grid.gateway.portfolio import Portfolio
from grid.gateway.presence import Presence
from grid.instrument import Instrument
from grid.spec import Spec

_MARKET: Final = 2_000  # events a topic
_TOPICS: Final = 200
_DECISIONS: Final = 5_000
_CONTROL: Final = 1_000
_AGENTS: Final = 1_000


class State:
    """Positions, account, orders, fills, decisions, agents, processes, gaps of one grid.

    Everything is bounded: of each list the newest are kept.

    Attributes:
        market: topic -> its newest events.
        presence: the processes.
        orders: by client order id, oldest first.
        manual: client order id -> what a person asked for, and whether it was done.
    """

    def __init__(self) -> None:
        self.market: dict[str, deque[rows.Event]] = {}
        self.strategies: dict[str, rows.Strategy] = {}
        self.agents: OrderedDict[tuple[str, str], rows.Agent] = OrderedDict()
        self.decisions: OrderedDict[tuple[str, int, int], rows.Decision] = OrderedDict()
        self.control: deque[rows.Control] = deque(maxlen=_CONTROL)
        self.gaps: deque[rows.Gap] = deque(maxlen=_CONTROL)
        self.presence = Presence()
        self._asked_ns: dict[tuple[str, int, int], int] = {}
        self._n = itertools.count(1)
        self._blotter = Blotter(self._n)
        self.orders, self.manual = self._blotter.orders, self._blotter.manual
        self.fills = self._blotter.fills
        self._portfolio = Portfolio(self._n)
        self.accounts, self.positions = self._portfolio.accounts, self._portfolio.positions
        self.points = self._portfolio.points

    # -- in -----------------------------------------------------------------------------------

    def take(self, event: wire.Event, shown: rows.Event, now_ns: int) -> None:
        """Take in the next event; `shown` is the same for people, `now_ns` when it came."""
        match event:
            case wire.Bar() | wire.Quote() | wire.Trade() | wire.Depth():
                self._market(event, shown)
            case wire.Heartbeat():
                self.presence.beat(event, shown.epoch, now_ns)
            case wire.Decision():
                self._decision(event, shown.ts_pub_ns)
            case wire.Outcome():
                self._outcome(event)
            case wire.Acted():
                self._acted(event)
            case wire.OrderUpdate():
                self._blotter.update(event)
            case wire.Fill():
                self._fill(event)
            case wire.StrategyInfo():
                self._info(event)
            case wire.Joined():
                self._joined(event)
            case wire.TookOver():
                self._holder(event.strategy_id, event.agent_id)
            case wire.Halted() | wire.Resumed() | wire.Flattened() | wire.Manual():
                self._did(event)
            case wire.Restored():
                self._restored(event)
            case wire.EndOfData():
                pass

    def missed(self, source: str, epoch: int, topic: str, first: int, last: int, ns: int) -> None:
        """Take note of events that are gone for good."""
        self.gaps.append(rows.Gap(next(self._n), source, epoch, topic, first, last, ns))

    # -- out ----------------------------------------------------------------------------------

    def agents_now(self, now_ns: int) -> list[rows.Agent]:
        """Return the agents, with what their heartbeats say."""
        found = []
        for agent in self.agents.values():
            name = f"agent-{agent.agent_id}"
            last = self.presence.last(name)
            strategy = self.strategies.get(agent.strategy_id)
            agent.holder = strategy is not None and strategy.holder == agent.agent_id
            agent.state, agent.last_beat_ns = last or (None, None)
            agent.alive = self.presence.is_alive(name, now_ns)
            found.append(agent)
        return found

    # -- folds --------------------------------------------------------------------------------

    def _market(self, event: wire.Row, shown: rows.Event) -> None:
        kept = self.market.get(shown.topic)
        if kept is None:
            if len(self.market) >= _TOPICS:
                return
            kept = self.market[shown.topic] = deque(maxlen=_MARKET)
        kept.append(shown)

    def _decision(self, event: wire.Decision, published_ns: int) -> None:
        account, name = event.account, event.strategy_id
        key = (name, event.epoch, event.seq)
        self.decisions[key] = rows.Decision(
            n=next(self._n),
            strategy_id=name,
            epoch=event.epoch,
            seq=event.seq,
            ts_event_ns=event.ts_event_ns,
            mark_px=account.mark_px,
            position_qty=account.position_qty,
            equity=account.equity,
        )
        self._asked_ns[key] = published_ns
        while len(self.decisions) > _DECISIONS:
            gone, _ = self.decisions.popitem(last=False)
            self._asked_ns.pop(gone, None)
        self._strategy(name).decision_seq = event.seq
        self._portfolio.mark(event, self._strategy(name))

    def _outcome(self, event: wire.Outcome) -> None:
        found = self.decisions.get((event.strategy_id, event.epoch, event.decision_seq))
        if found is not None:
            found.how = event.how
            found.target = event.target
            found.agent_id = event.agent_id or None
            found.reason = event.reason or None
        if event.how == "action":
            self._holder(event.strategy_id, event.agent_id)

    def _acted(self, event: wire.Acted) -> None:
        action, answer = event.action, event.answer
        agent = self._agent(action.strategy_id, action.agent_id)
        agent.answers[answer.status] = agent.answers.get(answer.status, 0) + 1
        if action.policy:
            agent.policy = action.policy
        if not agent.role and answer.status in ("accepted", "shadow"):
            # it joined longer ago than the histories go back
            agent.role = "shadow" if answer.status == "shadow" else "champion"
            agent.lease = action.lease
        asked_ns = self._asked_ns.get((action.strategy_id, action.epoch, action.decision_seq))
        if asked_ns is not None and answer.status in ("accepted", "shadow"):
            agent.latency_us = (event.ts_recv_ns - asked_ns) / 1e3

    def _fill(self, event: wire.Fill) -> None:
        if event.qty <= 0.0:
            return  # of nobody who keeps to the protocol
        self._blotter.fill(event)
        name = event.strategy_id
        self._portfolio.fill(event, self._strategy(name), self._blotter.open_orders(name))

    def _info(self, event: wire.StrategyInfo) -> None:
        strategy = self._strategy(event.strategy_id)
        if event.epoch != strategy.epoch:
            strategy.halted, strategy.halted_by, strategy.halt_reason = False, None, None
            if strategy.epoch:
                self._blotter.node_ended(event.strategy_id)
        strategy.epoch = event.epoch
        strategy.checkpoint, strategy.fallback = event.checkpoint, event.fallback
        try:
            spec = msgspec.json.decode(event.spec, type=Spec)
            instrument: Instrument = msgspec.json.decode(event.instrument, type=Instrument)
        except msgspec.MsgspecError:
            return  # of a later version
        strategy.instrument_id, strategy.venue = instrument.id, instrument.venue
        strategy.multiplier, strategy.max_qty = instrument.multiplier, spec.target.max_qty

    def _joined(self, event: wire.Joined) -> None:
        agent = self._agent(event.strategy_id, event.agent_id)
        agent.role, agent.lease, agent.policy = event.role, event.lease, event.policy
        if event.role == "champion" and not self._strategy(event.strategy_id).holder:
            self._holder(event.strategy_id, event.agent_id)

    def _holder(self, strategy_id: str, agent_id: str) -> None:
        self._strategy(strategy_id).holder = agent_id

    def _did(self, event: wire.Halted | wire.Resumed | wire.Flattened | wire.Manual) -> None:
        strategy = self._strategy(event.strategy_id)
        order_id, done = "", True
        match event:
            case wire.Halted():
                kind: Any = "halted"
                strategy.halted, strategy.halted_by = True, event.by
                strategy.halt_reason = event.reason
            case wire.Resumed():
                kind = "resumed"
                strategy.halted, strategy.halted_by, strategy.halt_reason = False, None, None
            case wire.Flattened():
                kind, order_id = "flattened", event.client_order_id
            case wire.Manual():
                kind = "ordered" if event.act == "order" else "canceled"
                order_id, done = event.client_order_id, event.done
                if event.act == "order":
                    self._blotter.ask(event)
        self.control.append(
            rows.Control(
                n=next(self._n),
                kind=kind,
                strategy_id=event.strategy_id,
                by=event.by,
                reason=event.reason,
                client_order_id=order_id or None,
                done=done,
                ts_event_ns=event.ts_event_ns,
            )
        )

    def _restored(self, event: wire.Restored) -> None:
        self._blotter.restore(event)
        self._portfolio.restore(event, self._strategy(event.strategy_id))

    # -- what there is ------------------------------------------------------------------------

    def _strategy(self, name: str) -> rows.Strategy:
        if name not in self.strategies:
            self.strategies[name] = rows.Strategy(name)
        return self.strategies[name]

    def _agent(self, strategy_id: str, agent_id: str) -> rows.Agent:
        key = (strategy_id, agent_id)
        if key not in self.agents:
            self.agents[key] = rows.Agent(agent_id, strategy_id, "", 0, "")
            while len(self.agents) > _AGENTS:
                self.agents.popitem(last=False)
        return self.agents[key]
