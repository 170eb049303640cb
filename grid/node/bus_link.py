"""The strategy's link to the grid: events and decisions go out, actions come back.

Everything here runs on the node's event loop, in the thread of the engine.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from typing import Any, Final, Literal

import msgspec
from nautilus_trader.model import Bar, OrderBookDeltas, QuoteTick

from grid import wire
from grid.bars import close_ns
from grid.bus import Publisher, Responder
from grid.history import History
from grid.instrument import Instrument
from grid.node.gate import Gate
from grid.node.guard import Guard
from grid.node.ledger import Ledger
from grid.node.manual import ManualOrders
from grid.node.market import Market
from grid.node.order_log import OrderLog
from grid.node.reception import Reception
from grid.node.routes import Route, Shown
from grid.node.strategy import AgentStrategy
from grid.spec import Spec

log = logging.getLogger(__name__)

type Fallback = Literal["hold", "flatten"]

_NS_PER_S: Final = 1_000_000_000
_REFUSALS: Final = ("late", "stale", "fenced", "rejected")


class BusLink:
    """Publishes what the strategy sees and does, and carries out accepted actions.

    Args:
        spec: of the strategy.
        instrument: what it trades.
        gate: judges the actions.
        guard: holds them to the limits, and obeys people.
        manual: takes orders of people.
        route: takes the orders to the venue.
        publisher: for events.
        responder: for requests.
        ttl_ns: time to answer a decision.
        fallback: what to do when nobody answers.
        history_rows: rows kept for agents that join.
        info: versions and origin, for the record.
        on_idle: called when no decision and no order is under way.
        on_failed: called once with the error, when a callback raised.
    """

    wants_ticks = True
    wants_rows = True

    def __init__(
        self,
        spec: Spec,
        instrument: Instrument,
        gate: Gate,
        guard: Guard,
        manual: ManualOrders,
        route: Route,
        publisher: Publisher,
        responder: Responder,
        *,
        ttl_ns: int,
        fallback: Fallback,
        history_rows: int,
        info: wire.StrategyInfo,
        on_idle: Callable[[], None],
        on_failed: Callable[[BaseException], None],
    ) -> None:
        self._spec = spec
        self.gate = gate
        self.guard = guard
        self.manual = manual
        self._route = route
        self._publisher = publisher
        self.past = History(publisher.ring)
        self._responder = responder
        self._ttl_ns = ttl_ns
        self._fallback = fallback
        self._info = info
        self._on_idle = on_idle
        self._on_failed = on_failed
        self.market = Market(
            spec,
            instrument,
            publisher,
            interval_ns=info.interval_ns,
            history_rows=history_rows,
        )
        self._order_log = OrderLog(gate, self.market, self.publish)
        self._reception = Reception(gate, guard, self.market, publisher, self.publish)
        self._timer_due_ns = 0  # of the next decision by time; 0 while no row waits for one
        # an order of a decision before an event may fill on it, so it is shown when that has ended
        self._waits = route.waits or spec.timed
        self._decision_topic = f"decision.{gate.strategy_id}"
        self._exec_topic = f"exec.{gate.strategy_id}"
        self._due = 1
        self._decision_ns = 0
        self._asked_ns = 0  # when what is ordered now was asked for
        self._unshown: Shown | None = None
        self._target = 0.0
        self._ended = False
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.rows = 0
        self.processed = 0  # market events of this run that the strategy has seen
        self.orders = 0

    # -- the strategy's side ------------------------------------------------------------------

    def announce(self) -> None:
        """Say who trades what: before anything else, and again for those who came later."""
        self.publish(self._info)

    def start(self, strategy: AgentStrategy) -> None:
        """Listen for requests from now on."""
        self._strategy = strategy
        strategy.dispatch = self._dispatch
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._responder.fd, self.serve)
        self._route.start(strategy, self._submit)
        self._restore()
        self.guard.start(self)
        self.manual.start(self, self._route.kept.orders if self._route.kept else ())
        self.serve()

    def stop(self) -> None:
        """Stop listening."""
        if self._timer:
            self._timer.cancel()
        if self._loop:
            self._loop.remove_reader(self._responder.fd)

    def row(self, row: Bar | QuoteTick | OrderBookDeltas) -> float | None:
        """Publish the row, and a decision when one is due."""
        shown, event = self.market.taken(row)
        if 0 < self._timer_due_ns < event.ts_event_ns:
            self._decide(self._timer_due_ns)
        self._take_row(event)
        self._show(shown)
        self._processed()
        return None

    def tick(self, quote: QuoteTick) -> None:
        """Publish a quote that is no row, and let go the orders that waited for it.

        Where bars are made of ticks, it may be one that closes a bar: that comes first.
        """
        shown, event = self.market.taken(quote)
        if (bar := self.market.made_by(event)) is not None:
            self._take_row(bar)
        self.market.publish(event)
        self._show(shown)
        self._processed()

    def _take_row(self, event: wire.Row) -> None:
        self.market.publish(event)
        self.market.recent.append(event)
        self.rows += 1
        self.guard.marked(self.equity())
        if self._spec.timer_ns:
            self._timer_due_ns = close_ns(event.ts_event_ns, self._spec.timer_ns)
            return
        self._due -= 1
        if not self._due:
            self._due = self._spec.every
            self._decide(event.ts_event_ns)

    def ordered(self, client_order_id: str, status: str, event: Any) -> None:
        """Publish an order's new state."""
        if status == "accepted":
            self._route.accepted(client_order_id)
        else:
            self._route.closed(client_order_id)
            log.warning("order %s %s: %s", client_order_id, status, _reason(event))
        order = self._strategy.cache.order(event.client_order_id)
        self._order_log.update(client_order_id, status, event.ts_event, _reason(event), order)
        self.check_idle()

    def filled(self, signed_qty: float, px: float, commission: float, event: Any) -> None:
        """Publish a fill."""
        self._order_log.fill(signed_qty, px, commission, event, self.ledger.position_qty)
        if self._strategy.cache.is_order_closed(event.client_order_id):
            self._route.closed(str(event.client_order_id))
        self.check_idle()

    @property
    def market_ns(self) -> int:
        """ts_event of the last market event."""
        return self.market.now_ns

    @property
    def mark_px(self) -> float:
        """The position's price; 0 before the first."""
        return self.market.mark_px

    @property
    def ledger(self) -> Ledger:
        """The strategy's own account."""
        return self._strategy.ledger

    @property
    def resting(self) -> Collection[float]:
        """Signed quantities of the orders with a limit that are open."""
        return self._strategy.resting.values()

    @property
    def restored(self) -> bool:
        """Whether the account goes on from an earlier node."""
        return self._route.kept is not None

    def close_position(self, client_order_id: str) -> bool:
        """Order what closes the position, open orders counted as done; say whether anything."""
        decision_ns, self._asked_ns = self._asked_ns, self.market.now_ns
        self._target = 0.0
        ordered = self._strategy.move_to(0.0, client_order_id)
        self._asked_ns = decision_ns
        return ordered

    @property
    def closed(self) -> str:
        """Why nothing can be ordered now; empty if it can."""
        if self._ended:
            return "the feed has ended"
        return "" if self.market.mark_px else "there is no price yet"

    def place(self, client_order_id: str, signed_qty: float, limit_px: float) -> None:
        """Order a quantity, at a price or better; at 0, at the market."""
        decision_ns, self._asked_ns = self._asked_ns, self.market.now_ns
        self._strategy.place(client_order_id, signed_qty, limit_px)
        self._asked_ns = decision_ns

    def take_back(self, client_order_id: str) -> bool:
        """Cancel what is open of an order; say whether anything is."""
        is_open, dropped = self._route.cancel(client_order_id)
        if dropped is not None:
            self._drop(dropped, "taken back")
        return is_open

    def failed(self, error: BaseException) -> None:
        """Hand the error to the process around the node."""
        self._on_failed(error)

    @property
    def idle(self) -> bool:
        """Whether no decision is open and nothing is due from the venue."""
        return not self.gate.is_open and self._route.settled

    def end(self) -> bool:
        """Take back the orders that waited for the next event, and say that the feed has no more.

        Returns:
            False while the venue has not confirmed all that; then call it again when idle.
        """
        self._ended = True
        for order in self._route.withdraw():
            self._drop(order, "the feed has ended")
        if not self._route.settled:
            return False
        self.publish(wire.EndOfData(self.gate.strategy_id, self.gate.epoch, self.gate.decision_seq))
        return True

    def _drop(self, order: Any, reason: str) -> None:
        self._strategy.forget(order)
        self._order_log.now(order, "canceled", reason)

    def equity(self) -> float:
        """Equity at the last mark; before the first, at the price that was paid."""
        if self._loop is None:  # not started
            return self._spec.capital
        return self.ledger.equity(self.market.mark_px or self.ledger.avg_px)

    def _restore(self) -> None:
        """Go on with what the venue has kept of earlier runs, before any agent is welcomed."""
        kept = self._route.kept
        if kept is None:
            return
        ledger = self.ledger
        ledger.restore(kept.holdings, [o.signed_qty for o in kept.orders if not o.limit_px])
        self._strategy.resting = {
            o.client_order_id: o.signed_qty for o in kept.orders if o.limit_px
        }
        sought = (ledger.position_qty + ledger.pending_qty) / self._spec.target.max_qty
        self._target = min(1.0, max(-1.0, sought))
        self.publish(
            wire.Restored(
                strategy_id=self.gate.strategy_id,
                epoch=self.gate.epoch,
                holdings=kept.holdings,
                orders=kept.orders,
            )
        )

    # -- the agents' side ---------------------------------------------------------------------

    def serve(self) -> None:
        """Answer the requests that have arrived."""
        while (found := self._responder.recv()) is not None:
            corr, request = found
            match request:
                case wire.Hello():
                    self._responder.reply(corr, self._reception.welcome(request))
                    self.check_idle()
                case wire.Action():
                    self._act(corr, request)
                case wire.Renew():
                    self._responder.reply(corr, self._reception.renew(request))
                case wire.Fetch() | wire.Tail():
                    self._responder.reply(corr, self.past.answer(request, time.monotonic()))
                case wire.Halt() | wire.Resume() | wire.Flatten():
                    self._responder.reply(corr, self.guard.control(request))
                case wire.ManualOrder():
                    self._responder.reply(corr, self.manual.order(request))
                case wire.CancelManual():
                    self._responder.reply(corr, self.manual.cancel(request))

    def _act(self, corr: bytes, action: wire.Action) -> None:
        received_ns = time.time_ns()
        answer = self.gate.judge(action, time.monotonic_ns())
        decides = answer.status == "accepted"
        if decides:
            answer = self._carry_out(action, answer)
        elif answer.status in _REFUSALS:
            said = f"{answer.status}: {answer.reason}"
            self.guard.refused(action.agent_id, said, f"action {action.action_seq}")
        self._responder.reply(corr, answer)
        self.publish(wire.Acted(action, answer, received_ns))
        if answer.status == "accepted":
            self._close("action", action.target, action.agent_id)
        elif decides:
            self._close("fallback", self._target, "", answer.reason, kept=True)

    def _carry_out(self, action: wire.Action, answer: wire.Answer) -> wire.Answer:
        strategy, ledger = self._strategy, self.ledger
        qty = strategy.intent.order_qty(action.target, ledger.position_qty, ledger.pending_qty)
        if refusal := self.guard.refusal(action.agent_id, qty, self.market.mark_px):
            return self.gate.overrule(action, answer, refusal)
        order_id = f"{action.agent_id}-{action.lease}-{action.action_seq}"
        if qty and strategy.move_to(action.target, order_id):
            answer = msgspec.structs.replace(answer, client_order_ids=(order_id,))
            self.gate.remember(action, answer)
        return answer

    # -- decisions and orders -----------------------------------------------------------------

    def _decide(self, at_ns: int) -> None:
        if self.gate.is_open:  # a row has come before the deadline: the question is stale
            self._deadline(self.gate.decision_seq, "overtaken by the next row")
        self._decision_ns = self._asked_ns = at_ns
        seq = self.gate.open(time.monotonic_ns() + self._ttl_ns)
        ledger, mark = self.ledger, self.market.mark_px
        account = wire.Account(
            position_qty=ledger.position_qty,
            pending_qty=ledger.pending_qty,
            cash=ledger.cash,
            equity=ledger.equity(mark),
            unrealized=ledger.unrealized(mark),
            mark_px=mark,
            open_orders=self._route.open_orders,
        )
        self._publisher.publish(
            self._decision_topic,
            wire.Decision(
                strategy_id=self.gate.strategy_id,
                epoch=self.gate.epoch,
                seq=seq,
                ts_event_ns=self._decision_ns,
                market_topic=self.market.row_topic,
                market_seq=self.market.rows_published,
                ttl_ns=self._ttl_ns,
                account=account,
            ),
        )
        assert self._loop is not None  # row() comes after start()
        self._timer = self._loop.call_later(self._ttl_ns / _NS_PER_S, self._deadline, seq)

    def _deadline(self, seq: int, reason: str = "no action by the deadline") -> None:
        if not self.gate.expire(seq):
            return
        halted = self.guard.halt is not None
        if self._fallback == "flatten" and not halted:
            self._target = 0.0
            self._strategy.move_to(0.0, f"fallback-{self.gate.epoch}-{seq}")
        self._close("fallback", self._target, "", reason, kept=halted)

    def _close(
        self,
        how: Literal["action", "fallback"],
        target: float,
        agent_id: str,
        reason: str = "",
        kept: bool = False,
    ) -> None:
        if self._timer:
            self._timer.cancel()
        self._target = target
        self._show(None)
        self.publish(
            wire.Outcome(
                strategy_id=self.gate.strategy_id,
                epoch=self.gate.epoch,
                decision_seq=self.gate.decision_seq,
                ts_event_ns=self._decision_ns,
                how=how,
                target=target,
                agent_id=agent_id,
                reason=reason,
                kept=kept,
            )
        )
        self.check_idle()

    def _dispatch(self, order: Any) -> None:
        self._order_log.given(str(order.client_order_id))
        self.guard.ordered()
        if self._route.send(order, self._asked_ns) == "held":
            self._order_log.now(order, "held")

    def _submit(self, order: Any) -> None:
        self.orders += 1
        self._order_log.now(order, "submitted")
        self._strategy.submit_order(order)

    # -- market -------------------------------------------------------------------------------

    def _show(self, event: Shown | None) -> None:
        """Let the venue fill on an event; if the route waits, when the decision on it has ended."""
        if self._unshown is not None:
            self._route.show(self._unshown)
            self._unshown = None
        if event is None:
            return
        if self._waits and self.gate.is_open:
            self._unshown = event
        else:
            self._route.show(event)

    def _processed(self) -> None:
        self.processed += 1
        self.check_idle()

    def check_idle(self) -> None:
        """Let the market go on, if nothing is under way."""
        if self.idle:
            self._on_idle()

    def publish(self, event: wire.Event) -> None:
        """Publish an event on the strategy's exec topic."""
        self._publisher.publish(self._exec_topic, event)


def _reason(event: Any) -> str:
    return str(getattr(event, "reason", "") or "")
