"""An agent's part in the protocol, as a state machine. Pure: messages in, messages out.

An agent acts only while it has every row, and knows that they are fresh. What it misses it fetches
from the history, and only when that has it no more does it say hello anew and get the rows in one
consistent snapshot; the same after another epoch of the strategy, a fenced lease, and when it was
so slow that what it reads is no longer the present.
"""

from collections import Counter, deque
from typing import Final

from agents.intake import FETCH_ROWS, Intake
from agents.policy import Policy
from agents.turn import Turn
from grid import wire
from grid.freshness import Freshness

_HELLO_EVERY_NS: Final = 500_000_000
_BEFORE_WELCOME: Final = 1_000  # events that may wait for it


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
        self._turn = Turn(agent_id, strategy_id, policy, policy_name, self.counts)
        self._intake = Intake(agent_id, self.row_topic, self.decision_topic)
        self._beat_topic = ""
        self._fresh = Freshness(0)
        self._welcome: wire.Welcome | None = None
        self._before: deque[tuple[str, wire.Envelope, int]] = deque(maxlen=_BEFORE_WELCOME)
        self._trades = False
        self._hello_ns = 0
        self._renew_ns = 0

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
        if self._intake.rows.missing:
            return "gap"
        if self._turn.undecided:
            return "undecided"
        return "live" if self._turn.follower.ready else "warming"

    @property
    def market_source(self) -> str:
        """Whose rows, decisions and heartbeats it follows; empty before the first welcome."""
        return self._intake.followed[0]

    @property
    def policy_name(self) -> str:
        """Digest of the checkpoint that decides now, or baseline:NAME."""
        return self._turn.policy_name

    @property
    def trades(self) -> bool:
        """Whether this agent's actions are traded, as far as it knows."""
        return self._trades and self._welcome is not None

    def change_to(self, policy: Policy, policy_name: str) -> bool:
        """Decide by another policy from the next decision on; False if its spec is another.

        Call it between events: every decision is then taken by one policy or the other.
        """
        if policy.spec.digest != self._turn.policy.spec.digest:
            self.counts["unfit_policies"] += 1
            return False
        self._turn.change_to(policy, policy_name)
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
            self._turn.is_open = False
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
        return self._act(now_ns) if self._turn.is_open else None

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
        return self._act(now_ns) if self._turn.is_open else None

    # -- what is due --------------------------------------------------------------------------

    def tick(self, now_ns: int) -> wire.Request | None:
        """Return what is due by time, and is to be sent; ask again until it is None."""
        if self.refused:
            return None
        if self._welcome is None:
            return self._hello(now_ns)
        self._fresh.passed(now_ns)
        return self._turn.resend(now_ns) or self._fetch(now_ns) or self._renew(now_ns)

    def _hello(self, now_ns: int) -> wire.Hello | None:
        if now_ns < self._hello_ns:
            return None
        self._hello_ns = now_ns + _HELLO_EVERY_NS
        digest = self._turn.policy.spec.digest
        return wire.Hello(
            self.strategy_id, self.agent_id, self.role, digest, policy=self.policy_name
        )

    def _renew(self, now_ns: int) -> wire.Renew | None:
        welcome = self._welcome
        if welcome is None or not welcome.ttl_ns or now_ns < self._renew_ns:
            return None
        if self.state != "live":
            return None  # whoever could not act lets others try
        self._renew_ns = now_ns + welcome.ttl_ns // 3
        return wire.Renew(self.strategy_id, self.agent_id, self._turn.lease)

    def _fetch(self, now_ns: int) -> wire.Fetch | None:
        missing = self._intake.missing
        if missing is None:
            self._intake.end_fetch()
            return None
        if self._fresh.state == "lagging":
            return None
        if self._intake.is_out_of_reach(now_ns):
            self.counts["unfetched"] += 1
            self._do_without(missing[0], now_ns)
            return None
        return self._intake.fetch(now_ns)

    def _do_without(self, topic: str, now_ns: int) -> None:
        if topic == self.row_topic:
            self._leave("rejoins", now_ns)
        else:
            self._intake.skip_decision()

    # -- at the door --------------------------------------------------------------------------

    def _enter(self, welcome: wire.Welcome, now_ns: int) -> wire.Action | None:
        if self._intake.follow(welcome):
            self._fresh = Freshness(now_ns)
        self._welcome = welcome
        self._beat_topic = f"sys.{welcome.market_source}"
        self._trades = welcome.holder == self.agent_id
        self._renew_ns = now_ns
        self._fresh.renew(now_ns)
        if welcome.uptime_s:
            self._fresh.beat(welcome.uptime_s, now_ns)
        self._turn.hold(welcome.lease)
        self._turn.begin()
        for row in welcome.history:
            self._turn.follower.push(row)
        self.counts["joined"] += 1
        if self._intake.missing is not None:
            self._gap(now_ns)  # a decision that was lost before
        action = None
        while self._before and self._welcome is welcome:
            action = self.event(*self._before.popleft()) or action
        if action is None and self._turn.is_open:
            action = self._act(now_ns)
        return action

    def _leave(self, why: str, now_ns: int) -> None:
        self.counts[why] += 1
        self._welcome = None
        self._trades = False
        self._turn.drop()
        self._hello_ns = now_ns

    def _renewed(self, renewed: wire.Renewed, now_ns: int) -> None:
        if self._welcome is None:
            return
        if not renewed.lease:
            self.counts["fenced"] += 1
            self._leave("rejoins", now_ns)
            return
        if renewed.lease > self._turn.lease:
            self._turn.hold(renewed.lease)
        trades = renewed.holder == self.agent_id
        if trades and not self._trades:
            self.counts["took_over"] += 1
            self._turn.reopen()
        self._trades = trades

    # -- rows, decisions, heartbeats ----------------------------------------------------------

    def _row(self, envelope: wire.Envelope, now_ns: int) -> None:
        rows = self._intake.rows
        if envelope.seq <= rows.last:
            self.counts["known"] += 1
            return
        ready = rows.take(envelope)
        for each in ready:
            row = wire.event(each)
            assert isinstance(
                row, wire.Bar | wire.Quote | wire.Trade | wire.Depth
            )  # the topic says so
            self._turn.follower.push(row)
        self.counts["rows"] += len(ready)
        if rows.waiting == 1 and not ready:
            self._gap(now_ns)
        elif rows.waiting > FETCH_ROWS:
            self._leave("rejoins", now_ns)

    def _gap(self, now_ns: int) -> None:
        self.counts["gaps"] += self._intake.lack(now_ns)

    def _ask(self, envelope: wire.Envelope, now_ns: int) -> None:
        """Take a decision; it is answered as soon as all is there that it rests on."""
        intake = self._intake
        if envelope.seq <= intake.decision_seq:
            return
        decision = wire.event(envelope)
        assert isinstance(decision, wire.Decision)  # the topic says so
        intake.decision_seq = envelope.seq
        if envelope.seq > intake.decision_high:
            intake.decision_high = envelope.seq
        self.counts["decisions"] += 1
        self._turn.take(decision, now_ns)
        if decision.market_seq > intake.rows.high:
            intake.rows.heard(decision.market_seq)
            self._gap(now_ns)

    def _beat(self, envelope: wire.Envelope, now_ns: int) -> None:
        beat = wire.event(envelope)
        if not isinstance(beat, wire.Heartbeat):
            return
        was_lagging = self._fresh.state == "lagging"
        self._fresh.beat(beat.uptime_s, now_ns)
        if self._fresh.state == "lagging":
            self.counts["lagged"] += not was_lagging
            self._turn.is_open = False
            return
        if was_lagging:
            self._leave("rejoins", now_ns)
            return
        if self._intake.heard(beat):
            self._gap(now_ns)

    def _act(self, now_ns: int) -> wire.Action | None:
        """Answer the open decision, if all is there."""
        if self._welcome is None or self._fresh.state != "fresh":
            return None
        return self._turn.act(self._intake.rows.last, now_ns)

    # -- replies ------------------------------------------------------------------------------

    def _answered(self, answer: wire.Answer, now_ns: int) -> None:
        if answer.retry:  # it never got there; it is sent again while it is in time
            self.counts["undelivered"] += 1
            return
        self.counts[answer.status] += 1
        self._turn.answered(answer)
        if answer.status == "fenced" and self._welcome is not None:
            self._leave("rejoins", now_ns)

    def _fetched(self, reply: wire.Frames, now_ns: int) -> None:
        before = self._intake.rows.last
        for frame in reply.frames:
            topic, envelope = wire.unpack(frame)
            of = (envelope.source, envelope.epoch)
            if self._welcome is None or of != self._intake.followed:
                return
            if topic == self.row_topic:
                self._row(envelope, now_ns)
            elif topic == self.decision_topic:
                self._ask(envelope, now_ns)
        got = self._intake.rows.last - before
        self.counts["fetched"] += got
        if got > 0:
            self._intake.fetched(now_ns)

    def _evicted(self, reply: wire.Evicted, now_ns: int) -> None:
        missing = self._intake.missing
        if self._welcome is None or missing is None or reply.topic != missing[0]:
            return
        if not self._intake.ask_the_other(now_ns):
            self.counts["evicted"] += 1
            self._do_without(reply.topic, now_ns)
