"""An agent's part in the protocol, as a state machine. Pure: messages in, messages out.

An agent acts only while it has every row, and knows that they are fresh. What it misses it fetches
from the history, and only when that has it no more does it say hello anew and get the rows in one
consistent snapshot; the same after another epoch of the strategy, a fenced lease, and when it was
so slow that what it reads is no longer the present.
"""

from collections import Counter, deque
from typing import Final

from agents.policy import Obs, Policy, Undecided, begin
from envs.follower import Follower
from envs.pipeline import Pipeline
from grid import wire
from grid.freshness import Freshness
from grid.retriever import Retriever
from grid.streams import InOrder

_HELLO_EVERY_NS: Final = 500_000_000
_RESEND_AFTER_NS: Final = 200_000_000
_BEFORE_WELCOME: Final = 1_000  # events that may wait for it
_UNDECIDED: Final = 3  # decisions in a row without a target; then others may try
_FETCH_ROWS: Final = 20_000  # a snapshot is cheaper than more than these


class Seat:
    """One agent at one strategy.

    Args:
        agent_id: unique in the grid.
        strategy_id: whose decisions it answers.
        role: the champion's actions are traded, a standby's once it has taken over, a shadow's not.
        policy: what decides.
        policy_name: digest of its checkpoint, or baseline:NAME; for the record.

    Attributes:
        counts: decisions seen, actions sent, answers by status, gaps, rejoins, skipped.
        policy_name: of the policy that decides now.
        refused: why the strategy will never have this agent; empty while it may.
    """

    def __init__(
        self,
        agent_id: str,
        strategy_id: str,
        role: wire.Role,
        policy: Policy,
        policy_name: str = "",
    ) -> None:
        spec = policy.spec
        self.agent_id = agent_id
        self.strategy_id = strategy_id
        self.role = role
        self.row_topic = f"md.{spec.instrument_id}.{spec.rows}"
        self.decision_topic = f"decision.{strategy_id}"
        self.counts: Counter[str] = Counter()
        self.refused = ""
        self._followed = ("", 0)  # source and epoch of what it follows
        self._beat_topic = ""
        self._policy = policy
        self.policy_name = policy_name
        self._pipeline = Pipeline(spec)
        self._follower = Follower(self._pipeline)
        self._welcome: wire.Welcome | None = None
        self._before: deque[tuple[str, wire.Envelope, int]] = deque(maxlen=_BEFORE_WELCOME)
        self._lease = 0
        self._trades = False
        self._rows = InOrder(0)
        self._action_seq = 0
        self._waiting: wire.Action | None = None  # for its answer
        self._give_up_ns = 0
        self._next_ns = 0
        self._renew_ns = 0
        # the newest decision: to be answered, or answered already
        self._decision: wire.Decision | None = None
        self._due_ns = 0
        self._open = False
        self._decisions = 0  # sequence of the last that came, in its stream
        self._decisions_high = 0
        self._fresh = Freshness(0)
        self._retriever = Retriever(agent_id)
        self._undecided = 0  # decisions in a row that the policy had no target for
        self._told: tuple[tuple[int, int], float] | None = None  # decision, and its target

    @property
    def state(self) -> str:
        """What it is: only `live` acts.

        `joining`, `rejoining`, `warming`, `live`, `gap`, `stale`, `lagging`, `undecided` or
        `refused`.
        """
        if self.refused:
            return "refused"
        if self._welcome is None:
            return "rejoining" if self.market_source else "joining"
        if self._fresh.state != "fresh":
            return self._fresh.state
        if self._rows.missing:
            return "gap"
        if self._undecided >= _UNDECIDED:
            return "undecided"
        return "live" if self._follower.ready else "warming"

    @property
    def market_source(self) -> str:
        """Whose rows, decisions and heartbeats it follows; empty before the first welcome."""
        return self._followed[0]

    @property
    def trades(self) -> bool:
        """Whether this agent's actions are traded, as far as it knows."""
        return self._trades and self._welcome is not None

    def change_to(self, policy: Policy, policy_name: str) -> bool:
        """Decide by another policy from the next decision on; False if its spec is another.

        Call it between events: every decision is then taken by one policy or the other.
        """
        if policy.spec.digest != self._policy.spec.digest:
            self.counts["unfit_policies"] += 1
            return False
        self._policy = policy
        self.policy_name = policy_name
        self._remember_nothing()
        self.counts["changed_policy"] += 1
        return True

    # -- what comes ---------------------------------------------------------------------------

    def event(self, topic: str, envelope: wire.Envelope, now_ns: int) -> wire.Action | None:
        """Take an event; return the action, if it asks for one."""
        welcome = self._welcome
        if welcome is None:  # the welcome may be on its way, and a slower one
            self._before.append((topic, envelope, now_ns))
            return None
        if envelope.source != welcome.market_source:
            return None
        if envelope.epoch < welcome.market_epoch:
            self.counts["old_epoch"] += 1
            return None
        if envelope.epoch > welcome.market_epoch:
            self._open = False
            self._leave("new_epoch", now_ns)
            return None
        self._fresh.heard(now_ns)
        if topic == self._beat_topic:
            self._beat(envelope, now_ns)
        elif self._fresh.state == "lagging":
            self.counts["drained"] += 1
        elif topic == self.row_topic:
            self._row(envelope, now_ns)
        elif topic == self.decision_topic:
            self._ask(envelope, now_ns)
        return self._act(now_ns) if self._open else None

    def reply(self, reply: wire.Reply, now_ns: int) -> wire.Action | None:
        """Take a reply to what was asked; return the action that has become possible."""
        match reply:
            case wire.Welcome():
                return self._enter(reply, now_ns)
            case wire.Refused():
                self.counts["refused"] += 1
                if not reply.retry and self._welcome is None:
                    self.refused = reply.reason
            case wire.Answer():
                self._answered(reply, now_ns)
            case wire.Renewed():
                self._renewed(reply, now_ns)
            case wire.Frames():
                self._fetched(reply, now_ns)
            case wire.Evicted():
                self._evicted(reply, now_ns)
            case wire.ControlReply() | wire.ManualReply():
                pass  # nothing of the kind was asked
        return self._act(now_ns) if self._open else None

    # -- what is due --------------------------------------------------------------------------

    def tick(self, now_ns: int) -> wire.Request | None:
        """Return what is due by time, and is to be sent; ask again until it is None."""
        if self.refused:
            return None
        if self._welcome is None:
            return self._hello(now_ns)
        self._fresh.passed(now_ns)
        return self._resend(now_ns) or self._fetch(now_ns) or self._renew(now_ns)

    def _hello(self, now_ns: int) -> wire.Hello | None:
        if now_ns < self._next_ns:
            return None
        self._next_ns = now_ns + _HELLO_EVERY_NS
        digest = self._policy.spec.digest
        return wire.Hello(
            self.strategy_id, self.agent_id, self.role, digest, policy=self.policy_name
        )

    def _resend(self, now_ns: int) -> wire.Action | None:
        if self._waiting is None or now_ns < self._next_ns:
            return None
        if now_ns >= self._give_up_ns:
            self._waiting = None
            self.counts["unanswered"] += 1
            return None
        self._next_ns = now_ns + _RESEND_AFTER_NS
        self.counts["resent"] += 1
        return self._waiting

    def _renew(self, now_ns: int) -> wire.Renew | None:
        welcome = self._welcome
        if welcome is None or not welcome.ttl_ns or now_ns < self._renew_ns:
            return None
        if self.state != "live":
            return None  # whoever could not act lets others try
        self._renew_ns = now_ns + welcome.ttl_ns // 3
        return wire.Renew(self.strategy_id, self.agent_id, self._lease)

    def _fetch(self, now_ns: int) -> wire.Fetch | None:
        wanted = self._wanted()
        if wanted is None:
            self._retriever.end()
            return None
        if self._fresh.state == "lagging":
            return None
        topic, first, last = wanted
        if self._retriever.expired(now_ns) or last - first >= _FETCH_ROWS:
            self.counts["unfetched"] += 1
            self._do_without(topic, now_ns)
            return None
        return self._retriever.ask((*self._followed, topic), first, last, now_ns)

    def _do_without(self, topic: str, now_ns: int) -> None:
        if topic == self.row_topic:
            self._leave("rejoins", now_ns)
        else:
            self._decisions = self._decisions_high

    def _wanted(self) -> tuple[str, int, int] | None:
        """What is missing: of the rows all, of the decisions the newest, if it was lost."""
        if missing := self._rows.missing:
            return self.row_topic, *missing
        if self._decisions < self._decisions_high:
            return self.decision_topic, self._decisions_high, self._decisions_high
        return None

    # -- at the door --------------------------------------------------------------------------

    def _enter(self, welcome: wire.Welcome, now_ns: int) -> wire.Action | None:
        if self._followed != (welcome.market_source, welcome.market_epoch):
            self._followed = (welcome.market_source, welcome.market_epoch)
            self._decisions = self._decisions_high = welcome.decision_seq
            self._fresh = Freshness(now_ns)
        self._welcome = welcome
        self._beat_topic = f"sys.{welcome.market_source}"
        self._lease = welcome.lease
        self._trades = welcome.holder == self.agent_id
        self._action_seq = 0
        self._waiting = None
        self._renew_ns = now_ns
        self._fresh.renew(now_ns)
        if welcome.uptime_s:
            self._fresh.beat(welcome.uptime_s, now_ns)
        self._rows = InOrder(welcome.market_seq)
        self._follower = Follower(self._pipeline)
        self._remember_nothing()
        for row in welcome.history:
            self._follower.push(row)
        self.counts["joined"] += 1
        self._retriever.end()
        if self._wanted() is not None:
            self._gap(now_ns)  # a decision that was lost before
        action = None
        while self._before and self._welcome is welcome:
            action = self.event(*self._before.popleft()) or action
        if action is None and self._open:
            action = self._act(now_ns)
        return action

    def _leave(self, why: str, now_ns: int) -> None:
        self.counts[why] += 1
        self._welcome = None
        self._trades = False
        self._waiting = None
        self._next_ns = now_ns

    def _renewed(self, renewed: wire.Renewed, now_ns: int) -> None:
        if self._welcome is None:
            return
        if not renewed.lease:
            self.counts["fenced"] += 1
            self._leave("rejoins", now_ns)
            return
        if renewed.lease > self._lease:
            self._lease = renewed.lease
            self._action_seq = 0
            self._waiting = None
        trades = renewed.holder == self.agent_id
        if trades and not self._trades:
            self.counts["took_over"] += 1
            self._open = self._decision is not None  # what was answered as a standby counts now
        self._trades = trades

    # -- rows, decisions, heartbeats ----------------------------------------------------------

    def _row(self, envelope: wire.Envelope, now_ns: int) -> None:
        rows = self._rows
        if envelope.seq <= rows.last:
            self.counts["known"] += 1
            return
        ready = rows.take(envelope)
        for each in ready:
            row = wire.event(each)
            assert isinstance(
                row, wire.Bar | wire.Quote | wire.Trade | wire.Depth
            )  # the topic says so
            self._follower.push(row)
        self.counts["rows"] += len(ready)
        if rows.waiting == 1 and not ready:
            self._gap(now_ns)
        elif rows.waiting > _FETCH_ROWS:
            self._leave("rejoins", now_ns)

    def _gap(self, now_ns: int) -> None:
        self.counts["gaps"] += self._retriever.begin(now_ns)

    def _ask(self, envelope: wire.Envelope, now_ns: int) -> None:
        """Take a decision; it is answered as soon as all is there that it rests on."""
        if envelope.seq <= self._decisions:
            return
        decision = wire.event(envelope)
        assert isinstance(decision, wire.Decision)  # the topic says so
        self._decisions = envelope.seq
        self._decisions_high = max(self._decisions_high, envelope.seq)
        self.counts["decisions"] += 1
        self.counts["skipped"] += self._open
        self._decision = decision
        self._due_ns = now_ns + decision.ttl_ns
        self._open = True
        if decision.market_seq > self._rows.high:
            self._rows.heard(decision.market_seq)
            self._gap(now_ns)

    def _beat(self, envelope: wire.Envelope, now_ns: int) -> None:
        beat = wire.event(envelope)
        if not isinstance(beat, wire.Heartbeat):
            return
        was_lagging = self._fresh.state == "lagging"
        self._fresh.beat(beat.uptime_s, now_ns)
        if self._fresh.state == "lagging":
            self.counts["lagged"] += not was_lagging
            self._open = False
            return
        if was_lagging:
            self._leave("rejoins", now_ns)
            return
        if beat.streams.get(self.row_topic, 0) > self._rows.high:
            self._rows.heard(beat.streams[self.row_topic])
            self._gap(now_ns)
        high = beat.streams.get(self.decision_topic, 0)
        if high > max(self._decisions, self._decisions_high):
            self._gap(now_ns)
        self._decisions_high = max(self._decisions_high, high)

    def _act(self, now_ns: int) -> wire.Action | None:
        """Answer the open decision, if all is there."""
        decision, rows = self._decision, self._rows
        if decision is None or self._welcome is None or self._fresh.state != "fresh":
            return None
        if rows.last < decision.market_seq:
            return None
        self._open = False
        if rows.last > decision.market_seq or now_ns > self._due_ns:
            self.counts["skipped"] += (
                1  # older than the snapshot, or overtaken: its time has passed
            )
            return None
        if not self._follower.ready:
            self.counts["cold"] += 1
            return None
        obs = self._follower.observe(decision.account)
        try:
            target = self._target(decision, obs)
        except Undecided as e:  # the strategy's fallback takes this one
            self._undecided += 1
            self.counts["undecided"] += 1
            self.counts[f"undecided_{e.why}"] += 1
            return None
        self._undecided = 0
        self._action_seq += 1
        action = wire.Action(
            strategy_id=self.strategy_id,
            epoch=decision.epoch,
            decision_seq=decision.seq,
            agent_id=self.agent_id,
            lease=self._lease,
            action_seq=self._action_seq,
            target=target,
            obs=obs.astype("<f4", copy=False).tobytes(),
            policy=self.policy_name,
        )
        self._waiting = action
        self._give_up_ns = self._due_ns
        self._next_ns = now_ns + _RESEND_AFTER_NS
        self.counts["actions"] += 1
        return action

    def _target(self, decision: wire.Decision, obs: Obs) -> float:
        """Ask the policy, once for each decision: it may remember what it was asked."""
        of = (decision.epoch, decision.seq)
        if self._told is None or self._told[0] != of:
            self._told = of, self._policy.act(obs)
        return self._told[1]

    def _remember_nothing(self) -> None:
        begin(self._policy)
        self._told = None

    # -- replies ------------------------------------------------------------------------------

    def _answered(self, answer: wire.Answer, now_ns: int) -> None:
        if answer.retry:  # it never got there; it is sent again while it is in time
            self.counts["undelivered"] += 1
            return
        self.counts[answer.status] += 1
        waiting = self._waiting
        if waiting is not None and answer.action_seq == waiting.action_seq:
            self._waiting = None
        if answer.status == "fenced" and self._welcome is not None:
            self._leave("rejoins", now_ns)

    def _fetched(self, reply: wire.Frames, now_ns: int) -> None:
        before = self._rows.last
        for frame in reply.frames:
            topic, envelope = wire.unpack(frame)
            if self._welcome is None or (envelope.source, envelope.epoch) != self._followed:
                return
            if topic == self.row_topic:
                self._row(envelope, now_ns)
            elif topic == self.decision_topic:
                self._ask(envelope, now_ns)
        self.counts["fetched"] += self._rows.last - before
        if self._rows.last > before:
            self._retriever.progress(now_ns)

    def _evicted(self, reply: wire.Evicted, now_ns: int) -> None:
        wanted = self._wanted()
        if self._welcome is None or wanted is None or reply.topic != wanted[0]:
            return
        if not self._retriever.asked_the_source:
            self._retriever.turn(now_ns)
        else:
            self.counts["evicted"] += 1
            self._do_without(reply.topic, now_ns)
