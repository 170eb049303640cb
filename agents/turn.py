"""An agent's turn: the newest decision, the policy's target, the action until its answer. Pure."""

from collections import Counter
from typing import Final

from agents.policy import Policy, Undecided, begin
from envs.follower import Follower
from envs.pipeline import Pipeline
from grid import wire

_RESEND_AFTER_NS: Final = 200_000_000
_UNDECIDED: Final = 3  # decisions in a row without a target; then others may try


class Turn:
    """Of one agent at one strategy.

    Args:
        agent_id: who acts.
        strategy_id: whose decisions it answers.
        policy: what decides.
        policy_name: digest of its checkpoint, or baseline:NAME; for the record.
        counts: where it counts actions, and decisions that it gave none to.

    Attributes:
        policy: what decides now.
        policy_name: of that policy.
        follower: takes the rows, and gives the observation at the newest.
        lease: that actions are given under.
        is_open: whether the newest decision is still to be answered.
    """

    def __init__(
        self,
        agent_id: str,
        strategy_id: str,
        policy: Policy,
        policy_name: str,
        counts: Counter[str],
    ) -> None:
        self.policy = policy
        self.policy_name = policy_name
        self.lease = 0
        self.is_open = False
        self._agent_id = agent_id
        self._strategy_id = strategy_id
        self._counts = counts
        self._pipeline = Pipeline(policy.spec)
        self.follower = Follower(self._pipeline)
        self._decision: wire.Decision | None = None  # the newest, open or not
        self._due_ns = 0
        self._undecided = 0  # decisions in a row that the policy had no target for
        self._told: tuple[tuple[int, int], float] | None = None  # decision, and its target
        self._action_seq = 0
        self._waiting: wire.Action | None = None  # for its answer
        self._give_up_ns = 0
        self._resend_ns = 0

    @property
    def undecided(self) -> bool:
        """Whether the policy has had no target for so long that others may try."""
        return self._undecided >= _UNDECIDED

    def begin(self) -> None:
        """Forget the rows, and what the policy remembers of them."""
        self.follower = Follower(self._pipeline)
        self._remember_nothing()

    def change_to(self, policy: Policy, policy_name: str) -> None:
        """Decide by another policy of the same spec from the next decision on."""
        self.policy = policy
        self.policy_name = policy_name
        self._remember_nothing()

    def hold(self, lease: int) -> None:
        """Act under another lease: its actions are counted anew."""
        self.lease = lease
        self._action_seq = 0
        self._waiting = None

    def take(self, decision: wire.Decision, now_ns: int) -> None:
        """Take the next decision; one that is still open is skipped."""
        self._counts["skipped"] += self.is_open
        self._decision = decision
        self._due_ns = now_ns + decision.ttl_ns
        self.is_open = True

    def reopen(self) -> None:
        """Answer the newest decision again: what was answered as a standby counts now."""
        self.is_open = self._decision is not None

    def act(self, last_row: int, now_ns: int) -> wire.Action | None:
        """Answer the open decision, if every row is there up to its own; `last_row` is the last."""
        decision = self._decision
        if decision is None or last_row < decision.market_seq:
            return None
        self.is_open = False
        if last_row > decision.market_seq or now_ns > self._due_ns:
            # older than the snapshot, or overtaken: its time has passed
            self._counts["skipped"] += 1
            return None
        if not self.follower.ready:
            self._counts["cold"] += 1
            return None
        obs = self.follower.observe(decision.account)
        of = (decision.epoch, decision.seq)
        try:
            if self._told is None or self._told[0] != of:
                # once for each decision: the policy may remember what it was asked
                self._told = of, self.policy.act(obs)
        except Undecided as e:  # the strategy's fallback takes this one
            self._undecided += 1
            self._counts["undecided"] += 1
            self._counts[f"undecided_{e.why}"] += 1
            return None
        self._undecided = 0
        self._action_seq += 1
        action = wire.Action(
            strategy_id=self._strategy_id,
            epoch=decision.epoch,
            decision_seq=decision.seq,
            agent_id=self._agent_id,
            lease=self.lease,
            action_seq=self._action_seq,
            target=self._told[1],
            obs=obs.astype("<f4", copy=False).tobytes(),
            policy=self.policy_name,
        )
        self._waiting = action
        self._give_up_ns = self._due_ns
        self._resend_ns = now_ns + _RESEND_AFTER_NS
        self._counts["actions"] += 1
        return action

    def resend(self, now_ns: int) -> wire.Action | None:
        """Return the action again that waits for its answer, if it is time, and still in time."""
        if self._waiting is None or now_ns < self._resend_ns:
            return None
        if now_ns >= self._give_up_ns:
            self._waiting = None
            self._counts["unanswered"] += 1
            return None
        self._resend_ns = now_ns + _RESEND_AFTER_NS
        self._counts["resent"] += 1
        return self._waiting

    def answered(self, answer: wire.Answer) -> None:
        """Take the answer to an action."""
        if self._waiting is not None and answer.action_seq == self._waiting.action_seq:
            self._waiting = None

    def drop(self) -> None:
        """Wait for no answer any more."""
        self._waiting = None

    def _remember_nothing(self) -> None:
        begin(self.policy)
        self._told = None
