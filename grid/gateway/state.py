"""What the gateway knows of a grid: events in, rows out. Pure; the clock is an argument."""

import itertools
from collections import OrderedDict, deque
from typing import Any, Final

import msgspec

from grid import wire
from grid.gateway import rows
from grid.instrument import Instrument
from grid.spec import Spec
from grid.status import ProcessStatus, fold

MANUAL: Final = "manual-"
ALIVE_NS: Final = 3_000_000_000  # silent for longer, a process counts as gone
_MARKET: Final = 2_000  # events a topic
_TOPICS: Final = 200
_DECISIONS: Final = 5_000
_ORDERS: Final = 10_000
_FILLS: Final = 10_000
_CONTROL: Final = 1_000
_AGENTS: Final = 1_000
_PROCESSES: Final = 1_000
_OVER: Final = ("filled", "rejected", "denied", "canceled", "expired")
_DUST: Final = 1e-9


class State:
    """Positions, account, orders, fills, decisions, agents, processes, gaps of one grid.

    Everything is bounded: of each list the newest are kept.

    Attributes:
        market: topic -> its newest events.
        orders: by client order id, oldest first.
        manual: client order id -> what a person asked for, and whether it was done.
    """

    def __init__(self) -> None:
        self.market: dict[str, deque[rows.Event]] = {}
        self.accounts: dict[str, rows.Account] = {}
        self.positions: dict[str, rows.Position] = {}
        self.points: dict[str, deque[rows.Point]] = {}
        self.strategies: dict[str, rows.Strategy] = {}
        self.agents: OrderedDict[tuple[str, str], rows.Agent] = OrderedDict()
        self.decisions: OrderedDict[tuple[str, int, int], rows.Decision] = OrderedDict()
        self.orders: OrderedDict[str, rows.Order] = OrderedDict()
        self.manual: OrderedDict[str, wire.Manual] = OrderedDict()
        self.fills: deque[rows.Fill] = deque(maxlen=_FILLS)
        self.control: deque[rows.Control] = deque(maxlen=_CONTROL)
        self.gaps: deque[rows.Gap] = deque(maxlen=_CONTROL)
        self.beats: dict[str, ProcessStatus] = {}
        self.heard_ns: dict[str, int] = {}
        self._asked_ns: dict[tuple[str, int, int], int] = {}
        self._n = itertools.count(1)

    # -- in -----------------------------------------------------------------------------------

    def take(self, event: wire.Event, shown: rows.Event, now_ns: int) -> None:
        """Take in the next event; `shown` is the same for people, `now_ns` when it came."""
        match event:
            case wire.Bar() | wire.Quote() | wire.Trade() | wire.Depth():
                self._market(event, shown)
            case wire.Heartbeat():
                self._beat(event, shown.epoch, now_ns)
            case wire.Decision():
                self._decision(event, shown.ts_pub_ns)
            case wire.Outcome():
                self._outcome(event)
            case wire.Acted():
                self._acted(event)
            case wire.OrderUpdate():
                self._order(event)
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

    def processes(self, now_ns: int) -> list[rows.Process]:
        """Return the processes that were heard, by name."""
        return [
            rows.Process(
                name=name,
                role=seen.last.role,
                pid=seen.last.pid,
                epoch=seen.epoch,
                state=seen.last.state,
                uptime_s=seen.last.uptime_s,
                events_per_s=seen.events_per_s,
                alive=self.is_alive(name, now_ns),
                last_beat_ns=self.heard_ns[name],
                counters=dict(seen.last.counters),
                streams=dict(seen.last.streams),
            )
            for name, seen in sorted(self.beats.items())
        ]

    def is_alive(self, name: str, now_ns: int) -> bool:
        """Say whether a process was heard of late, and did not say that it stops."""
        beat = self.beats.get(name)
        if beat is None or beat.last.state in ("stopping", "stopped"):
            return False
        return now_ns - self.heard_ns[name] < ALIVE_NS

    def has(self, role: str, now_ns: int) -> bool:
        """Say whether a process of that role is alive."""
        return any(
            seen.last.role == role and self.is_alive(name, now_ns)
            for name, seen in self.beats.items()
        )

    def agents_now(self, now_ns: int) -> list[rows.Agent]:
        """Return the agents, with what their heartbeats say."""
        found = []
        for agent in self.agents.values():
            name = f"agent-{agent.agent_id}"
            beat = self.beats.get(name)
            strategy = self.strategies.get(agent.strategy_id)
            agent.holder = strategy is not None and strategy.holder == agent.agent_id
            agent.state = beat.last.state if beat else None
            agent.alive = self.is_alive(name, now_ns)
            agent.last_beat_ns = self.heard_ns.get(name)
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

    def _beat(self, beat: wire.Heartbeat, epoch: int, now_ns: int) -> None:
        if beat.name not in self.beats and len(self.beats) >= _PROCESSES:
            return
        self.beats = fold(self.beats, beat, epoch)
        self.heard_ns[beat.name] = now_ns

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
        before = self.accounts.get(name)
        peak = max(account.equity, before.peak_equity if before else account.equity)
        self.accounts[name] = rows.Account(
            strategy_id=name,
            cash=account.cash,
            equity=account.equity,
            unrealized=account.unrealized,
            mark_px=account.mark_px,
            position_qty=account.position_qty,
            pending_qty=account.pending_qty,
            open_orders=account.open_orders,
            peak_equity=peak,
            drawdown=1.0 - account.equity / peak if peak > 0.0 else 0.0,
            ts_event_ns=event.ts_event_ns,
        )
        points = self.points.setdefault(name, deque(maxlen=_DECISIONS))
        points.append(
            rows.Point(
                next(self._n),
                event.ts_event_ns,
                account.equity,
                account.position_qty,
                account.mark_px,
            )
        )
        self._hold(name, account.position_qty, account.mark_px, event.ts_event_ns)

    def _hold(self, name: str, qty: float, mark_px: float, ts_ns: int) -> None:
        strategy = self._strategy(name)
        known = self.positions.get(name)
        avg_px = known.avg_px if known is not None and qty else 0.0
        unrealized = qty * (mark_px - avg_px) * strategy.multiplier if avg_px else 0.0
        self.positions[name] = rows.Position(
            name, strategy.instrument_id, qty, avg_px, mark_px, unrealized, ts_ns
        )

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

    def _order(self, event: wire.OrderUpdate) -> None:
        order = self._known_order(event.client_order_id, event.strategy_id)
        order.decision_seq = order.decision_seq or event.decision_seq
        order.side = event.side or order.side
        order.qty = event.qty or order.qty
        order.ts_event_ns = event.ts_event_ns
        if order.open:  # a twin that the venue refuses does not change what became of the first
            order.status = event.status  # type: ignore[assignment]
            order.open = event.status not in _OVER
            order.reason = event.reason or None

    def _fill(self, event: wire.Fill) -> None:
        if event.qty <= 0.0:
            return  # of nobody who keeps to the protocol
        name = event.strategy_id
        order = self._known_order(event.client_order_id, name)
        order.side, before = event.side, order.filled_qty
        order.filled_qty = round(before + event.qty, 12)
        order.avg_px = ((order.avg_px or 0.0) * before + event.px * event.qty) / order.filled_qty
        order.qty = max(order.qty, order.filled_qty)
        if order.filled_qty >= order.qty - _DUST:
            order.status, order.open = "filled", False
        order.ts_event_ns = event.ts_event_ns
        self.fills.append(
            rows.Fill(
                n=next(self._n),
                strategy_id=name,
                client_order_id=event.client_order_id,
                trade_id=event.trade_id,
                side=event.side,
                qty=event.qty,
                px=event.px,
                commission=event.commission,
                currency=event.currency,
                position_qty=event.position_qty,
                ts_event_ns=event.ts_event_ns,
                ts_market_ns=event.ts_market_ns,
                manual=event.client_order_id.startswith(MANUAL),
            )
        )
        self._move(event)

    def _move(self, event: wire.Fill) -> None:
        """Follow the position through a fill, as the strategy's own ledger does."""
        name, strategy = event.strategy_id, self._strategy(event.strategy_id)
        signed = event.qty if event.side == "BUY" else -event.qty
        known = self.positions.get(name)
        after, before = event.position_qty, round(event.position_qty - signed, 12)
        avg_px = known.avg_px if known is not None else 0.0
        if after == 0.0:
            avg_px = 0.0
        elif before * signed >= 0.0:
            avg_px = (before * avg_px + signed * event.px) / after
        elif before * after < 0.0:
            avg_px = event.px
        account = self.accounts.get(name)
        mark_px = account.mark_px if account else event.px
        unrealized = after * (mark_px - avg_px) * strategy.multiplier
        self.positions[name] = rows.Position(
            name, strategy.instrument_id, after, avg_px, mark_px, unrealized, event.ts_event_ns
        )
        if account is None:
            return
        account.cash -= signed * event.px * strategy.multiplier + event.commission
        account.position_qty = after
        account.equity = account.cash + after * mark_px * strategy.multiplier
        account.unrealized = unrealized
        account.ts_event_ns = event.ts_event_ns
        account.open_orders = sum(o.open for o in self.orders.values() if o.strategy_id == name)

    def _info(self, event: wire.StrategyInfo) -> None:
        strategy = self._strategy(event.strategy_id)
        if event.epoch != strategy.epoch:
            strategy.halted, strategy.halted_by, strategy.halt_reason = False, None, None
            # what a node of the past had open is told anew by the one that goes on with it
            for order in self.orders.values():
                if order.strategy_id == event.strategy_id and order.open and strategy.epoch:
                    order.open, order.status = False, "canceled"
                    order.reason = "its node has ended"
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
                self._manual(event)
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

    def _manual(self, event: wire.Manual) -> None:
        if event.act != "order":
            return
        name = event.client_order_id
        if not (name in self.manual and self.manual[name].done):
            self.manual[name] = event
        while len(self.manual) > _ORDERS:
            self.manual.popitem(last=False)
        if event.done:
            order = self._known_order(name, event.strategy_id)
            order.manual, order.by = True, event.by
            order.side, order.qty = event.side, event.qty
            order.ts_event_ns = event.ts_event_ns
            if event.limit_px:
                order.type, order.limit_px = "limit", event.limit_px

    def _restored(self, event: wire.Restored) -> None:
        for kept in event.orders:
            order = self._known_order(kept.client_order_id, event.strategy_id)
            order.side = "BUY" if kept.signed_qty > 0 else "SELL"
            order.qty, order.status, order.open = abs(kept.signed_qty), "accepted", True
            order.reason = None
            if kept.limit_px:
                order.type, order.limit_px = "limit", kept.limit_px
        held, strategy = event.holdings, self._strategy(event.strategy_id)
        self.positions[event.strategy_id] = rows.Position(
            event.strategy_id, strategy.instrument_id, held.position_qty, held.avg_px,
            held.avg_px, 0.0, 0,
        )  # fmt: skip

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

    def _known_order(self, name: str, strategy_id: str) -> rows.Order:
        order = self.orders.get(name)
        if order is None:
            manual = name.startswith(MANUAL)
            order = rows.Order(next(self._n), name, strategy_id, 0, "", 0.0, manual=manual)
            self.orders[name] = order
            while len(self.orders) > _ORDERS:
                self.orders.popitem(last=False)
        return order
