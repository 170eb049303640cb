"""An agent's part in the protocol, as a state machine. Pure: messages in, messages out.

An agent acts only while it has every row: from the welcome's history on, no sequence of the market
stream missing. A hole, another epoch or a fencing sends it back to the door: it says hello again
and gets the rows it needs in one consistent snapshot.
"""

from collections import Counter
from typing import Final, Literal

from agents.policy import Policy
from envs.follower import Follower
from envs.pipeline import Pipeline
from grid import wire

_HELLO_EVERY_NS: Final = 500_000_000
_RESEND_AFTER_NS: Final = 200_000_000


class Seat:
    """One agent at one strategy.

    Args:
        agent_id: unique in the grid.
        strategy_id: whose decisions it answers.
        role: the champion's actions are traded, a shadow's recorded.
        policy: what decides.
        policy_name: digest of its checkpoint, or baseline:NAME; for the record.

    Attributes:
        counts: decisions seen, actions sent, answers by status, gaps, rejoins, skipped.
        refused: why the strategy will never have this agent; empty while it may.
    """

    def __init__(
        self,
        agent_id: str,
        strategy_id: str,
        role: Literal["champion", "shadow"],
        policy: Policy,
        policy_name: str = "",
    ) -> None:
        spec = policy.spec
        self.agent_id = agent_id
        self.strategy_id = strategy_id
        self.role = role
        self.row_topic = f"md.{spec.instrument_id}.{spec.rows}"
        self.decision_topic = f"decision.{strategy_id}"
        self.counts: Counter[str] = Counter(gaps=0, late=0)
        self.refused = ""
        self._policy = policy
        self._policy_name = policy_name
        self._pipeline = Pipeline(spec)
        self._follower = Follower(self._pipeline)
        self._welcome: wire.Welcome | None = None
        self._market_seq = 0
        self._action_seq = 0
        self._waiting: wire.Action | None = None  # for its answer
        self._give_up_ns = 0
        self._next_ns = 0

    @property
    def state(self) -> str:
        """`joining`, `warming`, `acting` or `refused`."""
        if self.refused:
            return "refused"
        if self._welcome is None:
            return "joining"
        return "acting" if self._follower.ready else "warming"

    def tick(self, now_ns: int) -> wire.Request | None:
        """Return what is due by time: a hello, or an action again that got no answer."""
        if self.refused or now_ns < self._next_ns:
            return None
        if self._welcome is None:
            self._next_ns = now_ns + _HELLO_EVERY_NS
            spec = self._policy.spec
            return wire.Hello(
                self.strategy_id,
                self.agent_id,
                self.role,
                spec.digest,
                policy=self._policy_name,
            )
        if self._waiting is not None:
            if now_ns >= self._give_up_ns:
                self._waiting = None
                self.counts["unanswered"] += 1
                return None
            self._next_ns = now_ns + _RESEND_AFTER_NS
            self.counts["resent"] += 1
            return self._waiting
        return None

    def reply(self, reply: wire.Reply) -> None:
        """Take the strategy's reply."""
        match reply:
            case wire.Welcome():
                self._enter(reply)
            case wire.Refused():
                self.counts["refused"] += 1
                if not reply.retry:
                    self.refused = reply.reason
            case wire.Answer():
                self._answered(reply)

    def event(self, topic: str, envelope: wire.Envelope, now_ns: int) -> wire.Action | None:
        """Take an event; return the action, if it asks for one."""
        welcome = self._welcome
        if welcome is None or envelope.source != welcome.market_source:
            return None
        if envelope.epoch < welcome.market_epoch:
            self.counts["old_epoch"] += 1
            return None
        if envelope.epoch > welcome.market_epoch:
            self._leave("new_epoch", now_ns)
            return None
        if topic == self.row_topic:
            self._row(envelope, now_ns)
        elif topic == self.decision_topic:
            return self._decision(envelope, now_ns)
        return None

    def _enter(self, welcome: wire.Welcome) -> None:
        self._welcome = welcome
        self._market_seq = welcome.market_seq
        self._action_seq = 0
        self._waiting = None
        self._follower = Follower(self._pipeline)
        for row in welcome.history:
            self._follower.push(row)
        self.counts["joined"] += 1

    def _leave(self, why: str, now_ns: int) -> None:
        self.counts[why] += 1
        self._welcome = None
        self._waiting = None
        self._next_ns = now_ns

    def _row(self, envelope: wire.Envelope, now_ns: int) -> None:
        if envelope.seq <= self._market_seq:
            self.counts["known"] += 1
            return
        if envelope.seq > self._market_seq + 1:
            self._leave("gaps", now_ns)
            return
        row = wire.event(envelope)
        assert isinstance(row, wire.Bar | wire.Quote)  # the topic says so
        self._market_seq = envelope.seq
        self._follower.push(row)
        self.counts["followed"] += 1

    def _decision(self, envelope: wire.Envelope, now_ns: int) -> wire.Action | None:
        decision = wire.event(envelope)
        assert isinstance(decision, wire.Decision)  # the topic says so
        welcome = self._welcome
        assert welcome is not None  # event() has looked
        self.counts["decisions"] += 1
        if decision.market_seq != self._market_seq:
            if decision.market_seq > self._market_seq:
                self._leave("gaps", now_ns)
            else:
                self.counts["skipped"] += 1  # older than the snapshot: its time has passed
            return None
        if not self._follower.ready:
            self.counts["cold"] += 1
            return None
        obs = self._follower.observe(decision.account)
        target = self._policy.act(obs)
        self._action_seq += 1
        action = wire.Action(
            strategy_id=self.strategy_id,
            epoch=decision.epoch,
            decision_seq=decision.seq,
            agent_id=self.agent_id,
            lease=welcome.lease,
            action_seq=self._action_seq,
            target=target,
            obs=obs.astype("<f4", copy=False).tobytes(),
        )
        self._waiting = action
        self._give_up_ns = now_ns + decision.ttl_ns
        self._next_ns = now_ns + _RESEND_AFTER_NS
        self.counts["actions"] += 1
        return action

    def _answered(self, answer: wire.Answer) -> None:
        self.counts[answer.status] += 1
        waiting = self._waiting
        if waiting is not None and answer.action_seq == waiting.action_seq:
            self._waiting = None
        if answer.status == "fenced":
            self._leave("rejoins", 0)
