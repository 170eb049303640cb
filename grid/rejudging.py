"""The recorded actions before gate and limits once more: is each judged as it was? Pure.

The engine repeats what became of the decisions; this repeats how it came about: leases, deadlines,
duplicates, takeovers, halts, limits. What no recording holds is taken as it was told: when a lease
had lapsed, and on which side of its deadline an action came that came within `MARGIN_NS` of it.
"""

from typing import Final, NamedTuple

import msgspec

from grid import wire
from grid.errors import ProtocolError
from grid.limits import Limits, Meter
from grid.node.gate import Gate
from grid.node.intent import Intent
from grid.node.ledger import Ledger
from grid.transcript import CLOSED, Transcript

MARGIN_NS: Final = 20_000_000  # between the clock of the recording and that of the gate
BREACH: Final = "limits"  # who halts when a limit is broken


class Judged(NamedTuple):
    """How many events were judged again, and what came out differently."""

    compared: int
    differences: list[str]


def rejudge(run: Transcript, limits: Limits | None = None) -> Judged:
    """Judge a run's actions again, from its beginning.

    Args:
        run: from its start; of one that was cut or goes on with an account, the limits are not
            looked at, for they have a memory.
        limits: of the node; None if they are not known.
    """
    if run.base is not None:
        return Judged(0, [])
    bench = _Bench(run, limits if run.restored is None else None)
    for (published_ns, event), topic in zip(run.events, run.topics, strict=True):
        if topic.startswith("md."):
            bench.market_ns = int(getattr(event, "ts_event_ns", 0))
        else:
            bench.take(event, published_ns)
    return Judged(bench.compared, bench.differences)


class _Bench:
    """Gate, limits and ledger, driven by a recording."""

    def __init__(self, run: Transcript, limits: Limits | None) -> None:
        info = run.info
        roles = {j.agent_id: j.role for j in run.joined}
        champion = next((a for a, role in roles.items() if role == "champion"), "")
        standbys = [a for a, role in roles.items() if role == "standby"]
        # a lease of a moment: renewals are not recorded, and a takeover is told when it happens
        self._gate = Gate(info.strategy_id, info.epoch, run.spec.digest, champion, standbys, 1)
        self._digest = run.spec.digest
        self._limits = limits
        self._meter = Meter(limits, run.instrument.multiplier) if limits else None
        self._marks_all_rows = run.spec.every == 1
        self._intent = Intent(run.spec.target, run.instrument)
        self._ledger = Ledger(run.spec.capital, run.instrument.multiplier)
        self._working: dict[str, float] = {}  # signed, what is left of each order
        if run.restored is not None:
            self._working = {o.client_order_id: o.signed_qty for o in run.restored.orders}
            self._ledger.restore(run.restored.holdings, self._working.values())
        self._known: set[str] = set(run.inherited_ids)
        self._leases: dict[str, int] = {}
        self._halted: wire.Halted | None = None
        self._breach: wire.Halted | None = None  # told, and not yet found again
        self._decision: wire.Decision | None = None
        self._deadline_ns = 0
        self.market_ns = 0
        self.compared = 0
        self.differences: list[str] = []

    def take(self, event: wire.Event, published_ns: int) -> None:
        """Take the next event of the run that is no row; rows only move `market_ns`."""
        match event:
            case wire.Joined():
                self._join(event, published_ns)
            case wire.TookOver():
                self._take_over(event, published_ns)
            case wire.Decision():
                self._open(event, published_ns)
            case wire.Acted():
                self._judge(event)
            case wire.Outcome() if event.how == "fallback":
                waited = self._gate.is_open  # else an action was taken, and then refused
                expired = self._gate.expire(event.decision_seq)
                self._compare(f"fallback on decision {event.decision_seq}", waited, expired)
            case wire.OrderUpdate():
                self._order(event)
            case wire.Fill():
                self._fill(event)
            case wire.Halted():
                self._halted = event
                self._breach = event if event.by == BREACH else None
            case wire.Resumed():
                self._halted = self._breach = None
                if self._meter:
                    self._meter.begin_anew()
            case _:
                pass

    def _compare(self, what: str, recorded: object, again: object) -> None:
        self.compared += 1
        if recorded != again:
            self.differences.append(f"{what}: {recorded} recorded, {again} again")

    def _join(self, joined: wire.Joined, now_ns: int) -> None:
        role: wire.Role = joined.role  # type: ignore[assignment]
        hello = wire.Hello(joined.strategy_id, joined.agent_id, role, self._digest)
        lease = self._gate.hello(hello, now_ns)
        self._compare(f"lease of {joined.agent_id}", joined.lease, lease)
        self._leases[joined.agent_id] = joined.lease

    def _take_over(self, took: wire.TookOver, now_ns: int) -> None:
        lease = self._leases.get(took.agent_id, 0)
        renewed = self._gate.renew(wire.Renew(took.strategy_id, took.agent_id, lease), now_ns)
        self._leases[took.agent_id] = took.lease
        self._compare(
            f"takeover by {took.agent_id}",
            (took.agent_id, took.lease),
            (renewed.holder, renewed.lease),
        )

    def _open(self, decision: wire.Decision, published_ns: int) -> None:
        self._deadline_ns = published_ns + decision.ttl_ns
        self._decision = decision
        self._compare("decision", decision.seq, self._gate.open(self._deadline_ns))
        account = decision.account
        found = (self._ledger.position_qty, self._ledger.pending_qty, self._ledger.cash)
        told = (account.position_qty, account.pending_qty, account.cash)
        self._compare(f"account at decision {decision.seq}", told, found)
        if self._meter is not None and self._marks_all_rows:
            self._mark(decision, self._meter)

    def _mark(self, decision: wire.Decision, meter: Meter) -> None:
        """Look for a breach at a row; it is told between the row and its decision."""
        told, self._breach = self._breach, None
        if told is not None and told.ts_event_ns != decision.ts_event_ns:
            return  # in force since before this run
        if self._halted is None or told is not None:
            said = meter.breach(decision.account.equity, decision.ts_event_ns)
            self._compare(f"limits at decision {decision.seq}", told.reason if told else "", said)

    def _judge(self, acted: wire.Acted) -> None:
        action, told = acted.action, acted.answer
        what = f"action {action.action_seq} of {action.agent_id} on decision {action.decision_seq}"
        near = abs(acted.ts_recv_ns - self._deadline_ns) < MARGIN_NS
        now_ns = acted.ts_recv_ns
        if near:
            now_ns = self._deadline_ns + (1 if told.status == "late" else 0)
        again = self._gate.judge(action, now_ns)
        if again.status == "accepted" and (refusal := self._refusal(action, told)):
            again = self._gate.overrule(action, again, refusal)
        self._compare(what, _said(told), _said(again))
        self._breach = None

    def _refusal(self, action: wire.Action, told: wire.Answer) -> str:
        """Return why the node must not carry out an action that the gate has accepted."""
        on_order = self._breach is not None and self._breach.reason == told.reason
        if self._halted is not None and not on_order:
            return f"halted by {self._halted.by}: {self._halted.reason}"
        if self._meter is None:
            return told.reason if told.status == "rejected" else ""
        ledger = self._ledger
        qty = self._intent.order_qty(action.target, ledger.position_qty, ledger.pending_qty)
        if not qty or self._decision is None:
            return ""
        side = 1.0 if qty > 0 else -1.0
        held = ledger.position_qty + (ledger.working_qty * side + ledger.pending_qty) / 2.0
        mark_px = self._decision.account.mark_px
        return self._meter.refusal(qty, held, mark_px, self.market_ns)

    def _order(self, update: wire.OrderUpdate) -> None:
        name = update.client_order_id
        if update.status in CLOSED:
            self._ledger.release(self._working.pop(name, 0.0))
        elif name not in self._known and update.qty:
            self._known.add(name)
            signed = update.qty if update.side == "BUY" else -update.qty
            self._working[name] = signed
            self._ledger.order(signed)
            if self._meter:
                self._meter.ordered(self.market_ns)

    def _fill(self, fill: wire.Fill) -> None:
        signed = fill.qty if fill.side == "BUY" else -fill.qty
        left = self._working.get(fill.client_order_id, 0.0)
        self._working[fill.client_order_id] = round(left - signed, 12)
        self._ledger.fill(signed, fill.px, fill.commission)
        self._compare(
            f"position after {fill.trade_id}", fill.position_qty, self._ledger.position_qty
        )


def _said(answer: wire.Answer) -> tuple[str, str]:
    """Return what an answer says, without what is of one clock alone."""
    return answer.status, "" if answer.status == "late" else answer.reason


def limits_of(config: dict[str, object]) -> Limits | None:
    """Return the limits in a grid's config; None where it is not known.

    Raises:
        ProtocolError: they are of another version.
    """
    if not config:
        return None
    try:
        return msgspec.convert(config.get("limits", {}), Limits)
    except msgspec.ValidationError as e:
        raise ProtocolError(f"limits in the recorded config: {e}") from e
