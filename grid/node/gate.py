"""Which action counts: leases, deadlines and duplicates. Pure; the clock is an argument.

At most one action is accepted for a decision, from the one agent that trades, the holder, before
the deadline, and once: the same key gets the same answer again and never a second order. When the
holder lets its lease lapse, a standby takes over under a new and greater one; the old is fenced.
"""

import math
from collections import Counter, OrderedDict
from collections.abc import Collection
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
        champion: id of the agent that trades first; its place is kept until `lease_ttl_ns` after
            the deadline of the first decision.
        standbys: ids of those that may take over.
        lease_ttl_ns: a lease that is not renewed for so long lapses; 0 for never.

    Attributes:
        counts: answers by status, and `hello`, `refused`, `fallback`, `took_over`.
        holder: id of the agent that trades.
        decision_seq: the newest decision, 0 before the first.
    """

    def __init__(
        self,
        strategy_id: str,
        epoch: int,
        spec_digest: str,
        champion: str,
        standbys: Collection[str] = (),
        lease_ttl_ns: int = 0,
    ) -> None:
        self.strategy_id = strategy_id
        self.epoch = epoch
        self.champion = self.holder = champion
        self.standbys = frozenset(standbys)
        self.lease_ttl_ns = lease_ttl_ns
        self.counts: Counter[str] = Counter()
        self.decision_seq = 0
        self._digest = spec_digest
        self._deadline_ns = 0
        self._closed_by = "nobody"  # why no action is wanted any more; empty while one is
        self._lapses_ns: int | None = None  # the holder's lease; not before there is a decision
        self._leases: dict[str, int] = {}
        self._shadows: set[str] = set()
        self._granted = 0
        self._answers: OrderedDict[tuple[str, int, int], wire.Answer] = OrderedDict()

    @property
    def is_open(self) -> bool:
        """Whether a decision waits for its action."""
        return not self._closed_by

    def hello(self, hello: wire.Hello, now_ns: int) -> int | wire.Refused:
        """Grant a lease, or refuse; a new lease of the same agent ends its older one."""
        reason = self._refusal(hello)
        if reason:
            self.counts["refused"] += 1
            return wire.Refused(reason, retry=False)
        self.counts["hello"] += 1
        if hello.role == "shadow":
            self._shadows.add(hello.agent_id)
        else:
            self._shadows.discard(hello.agent_id)
            if hello.agent_id == self.holder:
                self._prolong(now_ns)
        return self._grant(hello.agent_id)

    def renew(self, renew: wire.Renew, now_ns: int) -> wire.Renewed:
        """Prolong the holder's lease, or let a standby take over one that has lapsed."""
        agent = renew.agent_id
        lease = self._leases.get(agent, 0)
        if renew.lease != lease:
            self.counts["fenced"] += 1
            lease = 0
        elif not lease or agent in self._shadows:
            pass
        elif agent == self.holder:
            self._prolong(now_ns)
        elif self.lapsed_ns(now_ns) > 0:
            self._leases.pop(self.holder, None)
            self.holder = agent
            lease = self._grant(agent)
            self._prolong(now_ns)
            self.counts["took_over"] += 1
        return wire.Renewed(self.strategy_id, agent, lease, self.holder, self.lease_ttl_ns)

    def lapsed_ns(self, now_ns: int) -> int:
        """Return for how long the holder's lease has lapsed; 0 while it has not."""
        if not self.lease_ttl_ns or self._lapses_ns is None:
            return 0
        return max(0, now_ns - self._lapses_ns)

    def has_joined(self, agent_id: str) -> bool:
        """Whether the agent holds a lease."""
        return agent_id in self._leases

    def open(self, deadline_ns: int) -> int:
        """Begin the next decision, to be answered by `deadline_ns`; return its sequence."""
        self.decision_seq += 1
        self._deadline_ns = deadline_ns
        self._closed_by = ""
        if self._lapses_ns is None:
            self._lapses_ns = deadline_ns + self.lease_ttl_ns
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
            self._prolong(now_ns)
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

    def _grant(self, agent_id: str) -> int:
        self._granted += 1
        lease = self._leases[agent_id] = self.epoch * _LEASES_PER_EPOCH + self._granted
        return lease

    def _prolong(self, now_ns: int) -> None:
        if self._lapses_ns is not None:
            self._lapses_ns = max(self._lapses_ns, now_ns + self.lease_ttl_ns)

    def _refusal(self, hello: wire.Hello) -> str:
        if hello.version != wire.VERSION:
            return f"protocol version {wire.VERSION} expected, found {hello.version}"
        if hello.spec_digest != self._digest:
            return f"spec digest {self._digest} expected, found {hello.spec_digest}"
        if hello.role == "champion" and hello.agent_id != self.champion:
            return f"the champion is {self.champion!r}, not {hello.agent_id!r}"
        if hello.role == "standby" and hello.agent_id not in self.standbys:
            return f"{hello.agent_id!r} is none of the standbys: {', '.join(self.standbys) or '-'}"
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
        if action.agent_id != self.holder or action.agent_id in self._shadows:
            return "shadow", ""
        if self._closed_by:
            return "rejected", f"already decided by {self._closed_by}"
        return "accepted", ""


def _key(action: wire.Action) -> tuple[str, int, int]:
    return action.agent_id, action.lease, action.action_seq
