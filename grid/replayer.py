"""A recorded run back on the bus: its market, its questions, its fills, with or without agents.

To agents the replayer is the strategy: it welcomes them, publishes rows and decisions, and judges
their actions by the same gate. Nothing is traded; the account in each decision is the recorded
one. Everything goes out under an epoch of its own, so nobody takes it for the live run.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

from grid import wire
from grid.bus import BATCH_EVENTS, Publisher, Responder, wait
from grid.history import History, history_of
from grid.node.gate import Gate
from grid.transcript import Transcript

log = logging.getLogger(__name__)

_BEAT_S: Final = 0.5
_SETTLE_S: Final = 0.05
_WELCOME_ROWS: Final = 4096  # history for an agent that joins
_TELL_EVENTS: Final = 64  # between two signs of progress
_ROWS: Final = (wire.Bar, wire.Quote, wire.Trade, wire.Depth)


class Replayed(msgspec.Struct, kw_only=True):
    """What a replay found.

    Attributes:
        events: of the recording that were played.
        sent: events that went out, by the first word of their topic.
        dropped: of those, what found no room in the queue to the broker.
        decisions: asked.
        answered: by an agent that acts in the recorded champion's place, in time.
        equal: of those, with the recorded target.
        statuses: answers given, by status.
        seconds: it took.
        late_s: the worst lag behind the schedule.
        rounds: how often the run was played, the last time perhaps in part.
        interrupted: whether a person ended it.
    """

    events: int = 0
    sent: Counter[str] = msgspec.field(default_factory=Counter)
    dropped: int = 0
    decisions: int = 0
    answered: int = 0
    equal: int = 0
    statuses: Counter[str] = msgspec.field(default_factory=Counter)
    seconds: float = 0.0
    late_s: float = 0.0
    rounds: int = 1
    interrupted: bool = False

    def add(self, other: "Replayed") -> None:
        """Take in another round."""
        for name in ("events", "dropped", "decisions", "answered", "equal", "seconds", "rounds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.sent += other.sent
        self.statuses += other.statuses
        self.late_s = max(self.late_s, other.late_s)
        self.interrupted = self.interrupted or other.interrupted


class Replayer:
    """Plays one recorded run.

    Args:
        run: what to play.
        publisher: where to; its epoch is the replay's.
        responder: for the agents' requests.
        champion: id of the agent that may answer; empty to wait for nobody.
        ttl_s: time to answer a decision.
    """

    def __init__(
        self,
        run: Transcript,
        publisher: Publisher,
        responder: Responder,
        *,
        champion: str,
        ttl_s: float,
    ) -> None:
        self._run = run
        self._publisher = publisher
        self._responder = responder
        self._ttl_s = ttl_s
        self._strategy_id = run.info.strategy_id
        self.gate = Gate(self._strategy_id, publisher.epoch, run.spec.digest, champion)
        self._champion = champion
        self._row_topic = f"md.{run.spec.instrument_id}.{run.spec.rows}"
        self._past = History(publisher.ring)
        self._history: list[wire.Row] = []
        self._beat_s = 0.0
        self._began_s = time.monotonic()
        self._asked_seq = 0  # of the recorded decision that is asked now
        self.result = Replayed()

    def wait_for_champion(self, timeout_s: float) -> bool:
        """Serve requests until the champion has joined; say whether it has."""
        deadline_s = time.monotonic() + timeout_s
        while not self.gate.has_joined(self._champion) and time.monotonic() < deadline_s:
            self._serve(_SETTLE_S)
        return self.gate.has_joined(self._champion)

    def play(
        self,
        schedule: Callable[[int], float] | None,
        before_decision: Callable[[wire.Decision], bool] = lambda decision: True,
        progress: Callable[[int, int], None] = lambda events, published_ns: None,
    ) -> Replayed:
        """Publish everything, in the recorded order.

        Args:
            schedule: time since the beginning, in seconds, at which an event that was published
                at a time in UNIX ns is due; None for as fast as possible.
            before_decision: called before each decision; False ends the replay.
            progress: called now and then with the number of events, and with the time at which the
                last of them was published in the recording, UNIX ns.
        """
        began_s = self._began_s = time.monotonic()
        result = self.result
        for published_ns, events in _portions(self._run.events, 1 if schedule else BATCH_EVENTS):
            first = events[0]
            if schedule is not None:
                self._wait_until(began_s + schedule(published_ns))
            if isinstance(first, wire.Decision) and not before_decision(first):
                result.interrupted = True
                break
            if isinstance(first, _ROWS):
                self._publish_rows(wire.topic_of(first), events)
            else:
                self._publish(first)
            before, result.events = result.events, result.events + len(events)
            if result.events // _TELL_EVENTS > before // _TELL_EVENTS:
                progress(result.events, published_ns)
        return self.settle()

    def settle(self) -> Replayed:
        """Return what was found so far, also after an interruption."""
        result = self.result
        result.seconds = time.monotonic() - self._began_s
        result.statuses = Counter(self.gate.counts)
        result.dropped = self._publisher.dropped
        result.sent = Counter()
        for topic, seq in self._publisher.high.items():
            result.sent[topic.partition(".")[0]] += seq
        return result

    def _publish_rows(self, topic: str, rows: list[Any]) -> None:
        self._publisher.publish_all(topic, rows)
        if topic == self._row_topic:
            self._history += rows
        self._serve(0.0)

    def _publish(self, event: wire.Event) -> None:
        match event:
            case wire.Decision():
                self._ask(event)
            case wire.Acted() | wire.Joined() | wire.Heartbeat():
                pass  # of the recorded agents; the present ones speak for themselves
            case _:
                renewed = msgspec.structs.replace(event, epoch=self._publisher.epoch)
                self._publisher.publish(f"exec.{self._strategy_id}", renewed)

    def _ask(self, recorded: wire.Decision) -> None:
        result, gate = self.result, self.gate
        result.decisions += 1
        self._asked_seq = recorded.seq
        deadline_ns = time.monotonic_ns() + round(self._ttl_s * 1e9)
        seq = gate.open(deadline_ns)
        decision = msgspec.structs.replace(
            recorded,
            epoch=self._publisher.epoch,
            seq=seq,
            market_seq=self._publisher.high.get(self._row_topic, 0),
            ttl_ns=round(self._ttl_s * 1e9),
        )
        self._publisher.publish(f"decision.{self._strategy_id}", decision)
        if not self._champion:
            gate.expire(seq)
            return
        while gate.is_open and time.monotonic_ns() < deadline_ns:
            self._serve((deadline_ns - time.monotonic_ns()) / 1e9)
        gate.expire(seq)

    def _serve(self, timeout_s: float) -> None:
        now_s = time.monotonic()
        if now_s - self._beat_s >= _BEAT_S:
            self._beat_s = now_s
            self._responder.register(self._strategy_id, self._publisher.epoch)
            self._responder.register(history_of(self._publisher.source), self._publisher.epoch)
            counters = {"decisions": float(self.gate.decision_seq), **self.gate.counts}
            self._publisher.heartbeat("replaying", {k: float(v) for k, v in counters.items()})
        if timeout_s > 0.0:
            wait((self._responder,), min(timeout_s, _BEAT_S))
        while (found := self._responder.recv()) is not None:
            corr, request = found
            match request:
                case wire.Hello():
                    self._responder.reply(corr, self._welcome(request))
                case wire.Action():
                    self._judge(corr, request)
                case wire.Renew():
                    self._responder.reply(corr, self.gate.renew(request, time.monotonic_ns()))
                case wire.Fetch() | wire.Tail():
                    self._responder.reply(corr, self._past.answer(request, time.monotonic()))
                case (
                    wire.Halt()
                    | wire.Resume()
                    | wire.Flatten()
                    | wire.ManualOrder()
                    | wire.CancelManual()
                ):
                    refused = wire.Refused("a replay trades nothing", retry=False)
                    self._responder.reply(corr, refused)

    def _welcome(self, hello: wire.Hello) -> wire.Welcome | wire.Refused:
        lease = self.gate.hello(hello, time.monotonic_ns())
        if isinstance(lease, wire.Refused):
            return lease
        topic = f"decision.{self._strategy_id}"
        return wire.Welcome(
            strategy_id=self._strategy_id,
            agent_id=hello.agent_id,
            role=hello.role,
            epoch=self._publisher.epoch,
            lease=lease,
            market_source=self._publisher.source,
            market_epoch=self._publisher.epoch,
            market_seq=self._publisher.high.get(self._row_topic, 0),
            history=tuple(self._history[-_WELCOME_ROWS:]),
            holder=self.gate.holder,
            decision_seq=self._publisher.high.get(topic, 0) - self.gate.is_open,
            uptime_s=self._publisher.uptime_s,
        )

    def _judge(self, corr: bytes, action: wire.Action) -> None:
        answer = self.gate.judge(action, time.monotonic_ns())
        self._responder.reply(corr, answer)
        self._publisher.publish(
            f"exec.{self._strategy_id}", wire.Acted(action, answer, time.time_ns())
        )
        if answer.status == "accepted":
            self.result.answered += 1
            recorded = self._run.outcomes.get(self._asked_seq)
            self.result.equal += recorded is not None and recorded.target == action.target

    def _wait_until(self, due_s: float) -> None:
        while (left_s := due_s - time.monotonic()) > 0.0:
            self._serve(left_s)
        self.result.late_s = max(self.result.late_s, -left_s)


def _portions(
    events: Sequence[tuple[int, wire.Event]], most: int
) -> Iterator[tuple[int, list[Any]]]:
    """Yield rows that follow each other on one topic, up to `most`, and all else one by one.

    With each comes the time at which the last of it was published.
    """
    portion: list[Any] = []
    first: Any = None
    at_ns = 0
    for published_ns, event in events:
        if portion and (
            len(portion) == most
            or type(event) is not type(first)
            or not isinstance(first, _ROWS)
            or event.instrument_id != first.instrument_id  # type: ignore[union-attr]
        ):
            yield at_ns, portion
            portion = []
        if not portion:
            first = event
        portion.append(event)
        at_ns = published_ns
    if portion:
        yield at_ns, portion
