"""Between an accepted action and its order: the limits, the kill switch, the audit log.

All this lives in the node: an agent can neither see nor pass it. Everything here runs on the node's
event loop.
"""

import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Collection
from pathlib import Path
from typing import Final, Protocol

import msgspec

from grid import halt, wire
from grid.audit import Audit, Kind
from grid.halt import Halt
from grid.limits import Limits, Marks, Meter
from grid.node.ledger import Ledger

log = logging.getLogger(__name__)

BREACH: Final = "limits"  # who halts when a limit is broken
_REMEMBERED: Final = 256  # replies kept for control requests that are sent again


class Desk(Protocol):
    """What the guard needs of the strategy's link."""

    @property
    def market_ns(self) -> int:
        """ts_event of the last market event."""

    @property
    def ledger(self) -> Ledger:
        """The strategy's own account."""

    @property
    def restored(self) -> bool:
        """Whether the account goes on from an earlier node."""

    @property
    def resting(self) -> Collection[float]:
        """Signed quantities of the open orders with a limit; pending does not have them."""

    def publish(self, event: wire.Event) -> None:
        """Publish an event on the strategy's exec topic."""

    def close_position(self, client_order_id: str) -> bool:
        """Order what closes the position, open orders counted as done; say whether anything."""


class Guard:
    """Refuses orders beyond the limits, halts on losses and at a person's word.

    Args:
        strategy_id: who is guarded.
        epoch: of the node.
        allowed: the limits.
        multiplier: of the instrument.
        file: of the halt: see `grid.halt`.
        marks: file of what losses are counted from, for an account that goes on in the next node;
            None where every node begins anew.
        audit: where acts and refusals are written.

    Attributes:
        halt: the one in force; None while trading.
        counts: `halts`, `limited` (orders refused here).
    """

    def __init__(
        self,
        strategy_id: str,
        epoch: int,
        allowed: Limits,
        multiplier: float,
        file: Path,
        audit: Audit,
        marks: Path | None = None,
    ) -> None:
        self.halt = halt.load(file)
        self.counts: Counter[str] = Counter(halts=0, limited=0)
        self.audit = audit
        self._strategy_id = strategy_id
        self._epoch = epoch
        self._limits = allowed
        self._meter = Meter(allowed, multiplier)
        self._file = file
        self._marks_file = marks
        self._marks_kept: Marks | None = None
        self._flattened = 0
        self._replies: OrderedDict[str, wire.ControlReply] = OrderedDict()

    def start(self, desk: Desk) -> None:
        """Guard this desk from now on, and tell of a halt that is in force already."""
        self._desk = desk
        if desk.restored and self._marks_file is not None:
            self._meter.marks = self._marks_kept = halt.load_marks(self._marks_file)
        if self.halt is not None:
            log.warning("still halted by %s: %s", self.halt.by, self.halt.reason)
            self._tell_halt(self.halt)

    # -- orders and losses --------------------------------------------------------------------

    def refusal(self, agent_id: str, order_qty: float, mark_px: float) -> str:
        """Return why an agent's action must not be carried out; empty if it may.

        Args:
            agent_id: whose action it is.
            order_qty: signed, of the order that it leads to; 0 for none.
            mark_px: last price that positions are valued at.
        """
        if self.halt is not None:
            said = f"halted by {self.halt.by}: {self.halt.reason}"
            self.refused(agent_id, said, "action")
            return said
        if not order_qty:
            return ""
        ledger = self._desk.ledger
        side = 1.0 if order_qty > 0 else -1.0
        working = (ledger.working_qty * side + ledger.pending_qty) / 2.0  # of this side alone
        resting = sum(qty for qty in self._desk.resting if qty * side > 0.0)
        held = ledger.position_qty + working + resting
        said = self._meter.refusal(order_qty, held, mark_px, self._desk.market_ns)
        if said:
            self.counts["limited"] += 1
            self.refused(agent_id, said, f"order {order_qty:+.10g}")
            if self._limits.on_order_breach == "halt":
                self._breach(said)
        return said

    def ordered(self) -> None:
        """Count an order that leaves, whoever gave it."""
        self._meter.ordered(self._desk.market_ns)

    def marked(self, equity: float) -> None:
        """Take in equity at a new mark, and halt if too much of it is lost."""
        if self.halt is None and (said := self._meter.breach(equity, self._desk.market_ns)):
            self._breach(said)

    def sync(self) -> None:
        """Put on disk what need not be there at once; call it every now and then."""
        self.audit.sync()
        if self._marks_file is None or self._meter.marks == self._marks_kept:
            return
        self._marks_kept = self._meter.marks
        try:
            halt.save_marks(self._marks_file, self._marks_kept)
        except OSError as e:
            log.error("marks not kept in %s: %s", self._marks_file, e)

    def refused(self, by: str, reason: str, subject: str) -> None:
        """Write down what was refused, here or at the gate."""
        self.audit.write("refusal", by, reason, done=False, subject=subject)

    # -- control acts -------------------------------------------------------------------------

    def control(self, request: wire.Control) -> wire.ControlReply:
        """Do what a person asks, once, and say what is so from now on."""
        known = self._replies.get(request.request_id)
        if known is not None:
            return known
        match request:
            case wire.Halt():
                reply = self._halted(request)
            case wire.Resume():
                reply = self._resumed(request)
            case wire.Flatten():
                reply = self._flatten(request)
        kind: Kind = type(request).__struct_config__.tag  # type: ignore[assignment]
        self.audit.write(
            kind, request.by, request.reason, done=reply.done, subject=reply.client_order_id
        )
        self._replies[request.request_id] = reply
        while len(self._replies) > _REMEMBERED:
            self._replies.popitem(last=False)
        return reply

    def _halted(self, request: wire.Halt) -> wire.ControlReply:
        if self.halt is not None:
            return self._reply(request, False, f"halted already by {self.halt.by}")
        self._stop(request.by, request.reason)
        return self._reply(request, True)

    def _resumed(self, request: wire.Resume) -> wire.ControlReply:
        if self.halt is None:
            return self._reply(request, False, "not halted")
        log.warning("resumed by %s: %s", request.by, request.reason)
        self._keep(None)
        self._meter.begin_anew()
        self._desk.publish(
            wire.Resumed(
                self._strategy_id, self._epoch, request.by, request.reason, self._desk.market_ns
            )
        )
        return self._reply(request, True)

    def _flatten(self, request: wire.Flatten) -> wire.ControlReply:
        if self.halt is None:
            self._stop(request.by, request.reason)
        order_id = self._close(request.by, request.reason)
        if not order_id:
            return self._reply(request, False, "nothing to close")
        return msgspec.structs.replace(self._reply(request, True), client_order_id=order_id)

    def _reply(self, request: wire.Control, done: bool, reason: str = "") -> wire.ControlReply:
        return wire.ControlReply(
            request_id=request.request_id,
            state="trading" if self.halt is None else "halted",
            done=done,
            reason=reason,
            position_qty=self._desk.ledger.position_qty,
        )

    # -- halts --------------------------------------------------------------------------------

    def _breach(self, reason: str) -> None:
        self._stop(BREACH, reason)
        self.audit.write("halt", BREACH, reason)
        if self._limits.on_halt == "flatten":
            order_id = self._close(BREACH, reason)
            self.audit.write("flatten", BREACH, reason, done=bool(order_id), subject=order_id)

    def _stop(self, by: str, reason: str) -> None:
        log.warning("halted by %s: %s", by, reason)
        self.counts["halts"] += 1
        stopped = Halt(by, reason, time.time_ns())
        self._keep(stopped)
        self._tell_halt(stopped)

    def _close(self, by: str, reason: str) -> str:
        order_id = f"flatten-{self._epoch}-{self._flattened + 1}"
        if self._desk.close_position(order_id):
            self._flattened += 1
        else:
            order_id = ""
        self._desk.publish(
            wire.Flattened(
                self._strategy_id, self._epoch, by, reason, self._desk.market_ns, order_id
            )
        )
        return order_id

    def _tell_halt(self, told: Halt) -> None:
        self._desk.publish(
            wire.Halted(
                strategy_id=self._strategy_id,
                epoch=self._epoch,
                by=told.by,
                reason=told.reason,
                since_ns=told.since_ns,
                ts_event_ns=self._desk.market_ns,
            )
        )

    def _keep(self, kept: Halt | None) -> None:
        self.halt = kept
        try:
            halt.save(self._file, kept)
        except OSError as e:  # it is in force here; a node that starts anew will not know of it
            log.error("halt not kept in %s: %s", self._file, e)
