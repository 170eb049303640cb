"""Which action counts: leases, deadlines and duplicates. Pure; the clock is an argument.

At most one action is accepted for a decision, from the one agent that holds the champion's lease,
before the deadline, and once: the same key gets the same answer again and never a second order.
"""

import math
from collections import Counter, OrderedDict
from typing import Final

import msgspec

from grid import wire

_REMEMBERED: Final = 4096  # answers kept for retries; an agent retries within one decision
_LEASES_PER_EPOCH: Final = 1_000_000


class Gate:
    """Decides on hellos and actions for one strategy in one epoch.

    Args:
        strategy_id: whose actions these are.
        epoch: of the strategy; leases grow with it, so that none is ever given twice.
        spec_digest: what an agent must have been trained on.
        champion: id of the one agent that may trade.

    Attributes:
        counts: answers by status, and `hello`, `refused`, `fallback`.
        decision_seq: the newest decision, 0 before the first.
    """

    def __init__(self, strategy_id: str, epoch: int, spec_digest: str, champion: str) -> None:
        self.strategy_id = strategy_id
        self.epoch = epoch
        self.champion = champion
        self.counts: Counter[str] = Counter()
        self.decision_seq = 0
        self._digest = spec_digest
        self._deadline_ns = 0
        self._closed_by = "nobody"  # why no action is wanted any more; empty while one is
        self._leases: dict[str, int] = {}
        self._granted = 0
        self._answers: OrderedDict[tuple[str, int, int], wire.Answer] = OrderedDict()

    @property
    def is_open(self) -> bool:
        """Whether a decision waits for its action."""
        return not self._closed_by

    def hello(self, hello: wire.Hello) -> tuple[int, bool] | wire.Refused:
        """Grant a lease: (lease, whether it is the champion's), or refuse.

        A new lease of the same agent ends its older one.
        """
        reason = self._refusal(hello)
        if reason:
            self.counts["refused"] += 1
            return wire.Refused(reason, retry=False)
        self._granted += 1
        lease = self.epoch * _LEASES_PER_EPOCH + self._granted
        self._leases[hello.agent_id] = lease
        self.counts["hello"] += 1
        return lease, hello.role == "champion"

    def has_joined(self, agent_id: str) -> bool:
        """Whether the agent holds a lease."""
        return agent_id in self._leases

    def open(self, deadline_ns: int) -> int:
        """Begin the next decision, to be answered by `deadline_ns`; return its sequence."""
        self.decision_seq += 1
        self._deadline_ns = deadline_ns
        self._closed_by = ""
        return self.decision_seq

    def expire(self, decision_seq: int) -> bool:
        """End a decision whose time is up; say whether it was still open."""
        if decision_seq != self.decision_seq or not self.is_open:
            return False
        self._closed_by = "deadline"
        self.counts["fallback"] += 1
        return True

    def judge(self, action: wire.Action, now_ns: int) -> wire.Answer:
        """Return the answer to an action; `accepted` closes the decision."""
        known = self._answers.get(_key(action))
        if known is not None:
            self.counts["duplicate"] += 1
            return msgspec.structs.replace(
                known, status="duplicate", reason=f"answered before: {known.status} {known.reason}"
            )
        status, reason = self._status(action, now_ns)
        if status == "accepted":
            self._closed_by = action.agent_id
        self.counts[status] += 1
        answer = wire.Answer(status, action.decision_seq, action.action_seq, reason)  # type: ignore[arg-type]
        self.remember(action, answer)
        return answer

    def overrule(self, action: wire.Action, accepted: wire.Answer, reason: str) -> wire.Answer:
        """Reject an accepted action after all: it must not be carried out. The decision is over."""
        self.counts["accepted"] -= 1
        self.counts["rejected"] += 1
        answer = msgspec.structs.replace(accepted, status="rejected", reason=reason)
        self.remember(action, answer)
        return answer

    def remember(self, action: wire.Action, answer: wire.Answer) -> None:
        """Keep the answer for a retry of the same action."""
        self._answers[_key(action)] = answer
        while len(self._answers) > _REMEMBERED:
            self._answers.popitem(last=False)

    def _refusal(self, hello: wire.Hello) -> str:
        if hello.version != wire.VERSION:
            return f"protocol version {wire.VERSION} expected, found {hello.version}"
        if hello.spec_digest != self._digest:
            return f"spec digest {self._digest} expected, found {hello.spec_digest}"
        if hello.role == "champion" and hello.agent_id != self.champion:
            return f"the champion is {self.champion!r}, not {hello.agent_id!r}"
        return ""

    def _status(self, action: wire.Action, now_ns: int) -> tuple[str, str]:
        newest = self.decision_seq
        if action.epoch != self.epoch:
            return "stale", f"epoch {self.epoch} expected, found {action.epoch}"
        lease = self._leases.get(action.agent_id)
        if action.lease != lease:
            return "fenced", f"lease {lease} expected, found {action.lease}"
        if not math.isfinite(action.target) or not -1.0 <= action.target <= 1.0:
            return "rejected", f"target from -1 to 1 expected, found {action.target}"
        if action.decision_seq > newest or action.decision_seq < 1:
            return "rejected", f"decision {newest} is the newest, found {action.decision_seq}"
        if action.decision_seq < newest:
            return "stale", f"decision {newest} is open, found {action.decision_seq}"
        if now_ns > self._deadline_ns or self._closed_by == "deadline":
            return "late", f"{(now_ns - self._deadline_ns) / 1e6:.3f} ms after the deadline"
        if action.agent_id != self.champion:
            return "shadow", ""
        if self._closed_by:
            return "rejected", f"already decided by {self._closed_by}"
        return "accepted", ""


def _key(action: wire.Action) -> tuple[str, int, int]:
    return action.agent_id, action.lease, action.action_seq
