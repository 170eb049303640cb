"""When an agent acts, and what it does about what it missed."""

import msgspec
import pytest

from agents.baselines import Constant
from agents.policy import Undecided
from agents.seat import Seat
from grid import wire
from grid.freshness import LAG_NS, STALE_NS
from grid.history import History, history_of
from grid.ring import Ring
from tests.support import markets

DATA = markets.dataset(markets.bar_columns(300))
SPEC = markets.spec_for(DATA)
ROWS = f"md.{SPEC.instrument_id}.bar"
ASKS = "decision.S-1"
ACCOUNT = wire.Account(0.0, 0.0, 1e5, 1e5, 0.0, 1.1, 0)
MS = 1_000_000
TTL = 1_500 * MS


class Node:
    """A strategy without a socket: publishes into a ring, welcomes, renews."""

    def __init__(self, epoch: int = 1, ring_bytes: int = 1 << 20) -> None:
        self.epoch = epoch
        self.high: dict[str, int] = {}
        self.rows: list[wire.Bar] = []
        self.ring = Ring(ring_bytes)
        self.history = History(self.ring)
        self.leases = 0
        self.asked = 0
        for _ in range(100):
            self.row()

    def publish(self, topic: str, event: wire.Event) -> tuple[str, wire.Envelope]:
        seq = self.high[topic] = self.high.get(topic, 0) + 1
        frame = wire.pack(topic, "node", self.epoch, seq, 0, event)
        if not topic.startswith("sys."):
            self.ring.keep(("node", self.epoch, topic), seq, frame)
        return wire.unpack(frame)

    def row(self) -> tuple[str, wire.Envelope]:
        i = len(self.rows)
        columns = {k: v[i].item() for k, v in DATA.columns.items()}
        ts_ns = columns.pop("ts_event")
        self.rows.append(wire.Bar(SPEC.instrument_id, SPEC.bar, ts_ns, **columns))
        return self.publish(ROWS, self.rows[-1])

    def ask(self, ttl_ns: int = 1_000 * MS) -> tuple[str, wire.Envelope]:
        self.asked += 1
        decision = wire.Decision(
            "S-1", self.epoch, self.asked, 0, ROWS, self.high[ROWS], ttl_ns, ACCOUNT
        )
        return self.publish(ASKS, decision)

    def beat(self, uptime_ns: int) -> tuple[str, wire.Envelope]:
        streams = {t: s for t, s in self.high.items() if not t.startswith("sys.")}
        beat = wire.Heartbeat("node", "node", 1, "x", uptime_ns / 1e9, {}, streams)
        return self.publish("sys.node", beat)

    def welcome(self, holder: str = "alpha", open_decision: bool = False) -> wire.Welcome:
        self.leases += 1
        asked = self.high.get(ASKS, 0) - open_decision
        return wire.Welcome(
            "S-1", "alpha", "champion", self.epoch, self.leases, "node", self.epoch,
            self.high[ROWS], tuple(self.rows), holder, TTL, asked,
        )  # fmt: skip


@pytest.fixture
def node():
    return Node()


@pytest.fixture
def seat(node):
    made = Seat("alpha", "S-1", "champion", Constant(SPEC, 1.0))
    assert isinstance(made.tick(0), wire.Hello)
    assert made.reply(node.welcome(), 0) is None
    assert made.state == "live"
    return made


def due(seat, now_ns):
    """All that it sends now."""
    found = []
    while (request := seat.tick(now_ns)) is not None:
        found.append(request)
    return found


def fetches(seat, now_ns):
    return [r for r in due(seat, now_ns) if isinstance(r, wire.Fetch)]


def test_agent_with_every_row_answers_a_decision_once(node, seat):
    assert seat.event(*node.row(), 1) is None
    action = seat.event(*node.ask(), 2)
    assert (action.decision_seq, action.lease, action.action_seq) == (1, 1, 1)
    assert seat.event(*node.beat(3), 3) is None
    assert seat.counts["actions"] == 1


def test_events_that_overtake_the_welcome_are_not_lost(node):
    seat = Seat("alpha", "S-1", "champion", Constant(SPEC, 1.0))
    seat.tick(0)
    welcome = node.welcome()
    assert seat.event(*node.row(), 1) is None
    assert seat.event(*node.ask(), 2) is None
    action = seat.reply(welcome, 3)
    assert (action.decision_seq, action.lease) == (1, 1)


def test_decision_that_was_open_at_the_welcome_is_fetched_and_answered(node):
    node.ask()
    seat = Seat("alpha", "S-1", "champion", Constant(SPEC, 1.0))
    seat.tick(0)
    assert seat.reply(node.welcome(open_decision=True), 0) is None
    seat.event(*node.beat(1), 1)
    (fetch,) = fetches(seat, 2)
    assert seat.reply(node.history.answer(fetch, 0.0), 3).decision_seq == 1


def test_decisions_from_before_the_welcome_are_nobodys_business(node):
    node.ask(), node.ask()
    seat = Seat("alpha", "S-1", "champion", Constant(SPEC, 1.0))
    seat.tick(0)
    seat.reply(node.welcome(), 0)
    seat.event(*node.beat(1), 1)
    assert fetches(seat, 2) == []
    assert seat.event(*node.ask(), 3).decision_seq == 3


def test_agent_that_lost_a_row_fetches_exactly_the_gap_and_then_acts(node, seat):
    node.row(), node.row()  # lost
    seat.event(*node.row(), 10)
    assert seat.event(*node.ask(), 11) is None
    assert seat.state == "gap"
    (fetch,) = fetches(seat, 12)
    assert fetch == wire.Fetch("history", "alpha", "node", 1, ROWS, 101, 102)
    action = seat.reply(node.history.answer(fetch, 0.0), 13)
    assert action.decision_seq == 1
    assert seat.state == "live"
    assert (seat.counts["gaps"], seat.counts["fetched"], seat.counts["joined"]) == (1, 3, 1)


def test_observation_after_a_mended_gap_is_the_same_as_without(node, seat):
    whole = Seat("alpha", "S-1", "champion", Constant(SPEC, 1.0))
    whole.tick(0)
    whole.reply(node.welcome(), 0)
    for i in range(5):
        event = node.row()
        whole.event(*event, i)
        if i not in (1, 3):
            seat.event(*event, i)
    question = node.ask()
    expected = whole.event(*question, 9).obs
    assert seat.event(*question, 9) is None
    action = None
    for now in (10, 11):
        for fetch in fetches(seat, now):
            action = seat.reply(node.history.answer(fetch, 0.0), now)
    assert action.obs == expected


def test_loss_at_the_end_of_the_stream_is_known_by_the_next_heartbeat(node, seat):
    node.row()
    assert seat.event(*node.beat(500 * MS), 500 * MS) is None
    assert seat.state == "gap"
    (fetch,) = fetches(seat, 501 * MS)
    assert (fetch.first, fetch.last) == (101, 101)
    seat.reply(node.history.answer(fetch, 0.0), 502 * MS)
    assert seat.state == "live"


def test_lost_decision_is_fetched_after_the_heartbeat_and_answered(node, seat):
    seat.event(*node.row(), 1)
    seat.event(*node.ask(), 2)
    seat.event(*node.row(), 3)
    node.ask()  # lost
    seat.event(*node.beat(4), 4)
    (fetch,) = fetches(seat, 5)
    assert (fetch.topic, fetch.first, fetch.last) == (ASKS, 2, 2)
    assert seat.reply(node.history.answer(fetch, 0.0), 6).decision_seq == 2


def test_agent_asks_the_recorder_and_the_source_in_turn_and_rejoins_when_nobody_answers(node, seat):
    node.row()
    seat.event(*node.row(), 1)
    at = []
    for ms in range(0, 3_000, 50):
        at += [f.at for f in fetches(seat, ms * MS + 1)]
        if seat.state != "gap":
            break
        seat.reply(wire.Refused("not known here", retry=True), ms * MS + 2)
    assert at[:4] == ["history", history_of("node")] * 2
    assert 1_900 <= ms <= 2_100
    assert seat.state == "rejoining"
    # as soon as it was sent back it has said hello, in the same turn
    seat.reply(node.welcome(), ms * MS + 3)
    assert seat.state == "live"


def test_evicted_gap_sends_the_agent_back_to_the_door(seat):
    node = Node(ring_bytes=2_000)
    node.row()
    seat.event(*node.row(), 1)
    for _ in range(8):
        seat.event(*node.row(), 1)
    (first,) = fetches(seat, 2)
    seat.reply(node.history.answer(first, 0.0), 3)
    (second,) = fetches(seat, 4)
    assert [first.at, second.at] == ["history", history_of("node")]
    seat.reply(node.history.answer(second, 0.0), 5)
    assert seat.state == "rejoining"
    assert seat.counts["evicted"] == 1


def test_decision_that_came_before_the_new_welcome_is_still_answered(node, seat):
    node.row()
    seat.event(*node.row(), 1)
    assert seat.event(*node.ask(), 2) is None
    due(seat, 3)
    for ms in (100, 2_100):
        due(seat, ms * MS)
    assert seat.state == "rejoining"
    late = seat.reply(node.welcome(), 2_200 * MS)
    assert late is None  # its time was over
    assert seat.counts["skipped"] == 1


def test_silent_source_makes_the_agent_stale_until_a_heartbeat(node, seat):
    seat.event(*node.beat(0), 0)
    assert due(seat, STALE_NS + 1) == []
    assert seat.state == "stale"
    seat.event(*node.row(), STALE_NS + 2)
    assert seat.event(*node.ask(), STALE_NS + 3) is None
    action = seat.event(*node.beat(STALE_NS + 4), STALE_NS + 4)
    assert action.decision_seq == 1
    assert seat.state == "live"


def test_agent_that_wakes_far_behind_skips_to_the_present_and_rejoins(node, seat):
    seat.event(*node.beat(0), 0)
    backlog = []
    for n in range(1, 9):  # it sleeps for four seconds
        backlog += [node.row(), node.ask(), node.beat(500 * MS * n)]
    now = 4_000 * MS
    states, actions = [], []
    for event in backlog:
        actions.append(seat.event(*event, now))
        states.append(seat.state)
    assert actions == [None] * len(backlog)
    assert set(states) == {"stale", "lagging", "rejoining"}
    assert (seat.counts["lagged"], seat.counts["rejoins"]) == (1, 1)
    assert isinstance(seat.tick(now), wire.Hello)
    seat.reply(node.welcome(), now)
    seat.event(*node.row(), now)
    assert seat.event(*node.ask(), now).decision_seq == 9


def test_agent_that_falls_asleep_right_after_the_welcome_knows_how_far_it_is_behind(node):
    seat = Seat("alpha", "S-1", "champion", Constant(SPEC, 1.0))
    seat.tick(0)
    seat.reply(msgspec.structs.replace(node.welcome(), uptime_s=10.0), 0)
    assert seat.event(*node.beat(10_500 * MS), 2_400 * MS) is None
    assert seat.state == "live"
    seat.event(*node.beat(11_000 * MS), 3_100 * MS)
    assert seat.state == "lagging"


@pytest.mark.parametrize("drift", [100e-6, -100e-6])
def test_clocks_that_drift_apart_make_nobody_lag(node, seat, drift):
    for beat in range(1, 40_000):
        seat.event(*node.beat(500 * MS * beat), round(500 * MS * beat * (1 + drift)))
    assert 40_000 * 500 * MS * abs(drift) > LAG_NS / 2
    assert seat.counts["lagged"] == 0


def test_new_epoch_of_the_strategy_sends_the_agent_back_to_the_door(seat):
    again = Node(epoch=2)
    seat.event(*again.row(), 1)
    assert seat.state == "rejoining"
    assert isinstance(seat.tick(1), wire.Hello)


def test_lease_is_renewed_only_while_the_agent_could_act(node, seat):
    def renews(ms):
        return [r for r in due(seat, ms * MS) if isinstance(r, wire.Renew)]

    assert renews(0) == [wire.Renew("S-1", "alpha", 1)]
    assert renews(1) == []
    assert renews(501) == [wire.Renew("S-1", "alpha", 1)]
    node.row()
    seat.event(*node.row(), 502 * MS)
    assert renews(1_100) == []


def test_standby_that_takes_over_answers_the_open_decision_again_under_its_new_lease(node):
    seat = Seat("alpha", "S-1", "standby", Constant(SPEC, 1.0))
    seat.tick(0)
    seat.reply(node.welcome(holder="other"), 0)
    seat.event(*node.row(), 1)
    first = seat.event(*node.ask(), 2)
    seat.reply(wire.Answer("shadow", 1, 1), 3)
    assert not seat.trades
    second = seat.reply(wire.Renewed("S-1", "alpha", 77, "alpha", TTL), 4)
    assert (second.decision_seq, second.lease, second.action_seq) == (1, 77, 1)
    assert second.obs == first.obs
    assert seat.trades
    assert seat.reply(wire.Renewed("S-1", "alpha", 77, "alpha", TTL), 5) is None


class Counting(Constant):
    """Counts how often it is asked, as a policy with a memory would notice."""

    asked = 0

    def act(self, obs):
        self.asked += 1
        return super().act(obs)


def test_policy_is_asked_once_for_a_decision_that_is_answered_twice(node):
    policy = Counting(SPEC, 1.0)
    seat = Seat("alpha", "S-1", "standby", policy)
    seat.tick(0)
    seat.reply(node.welcome(holder="other"), 0)
    seat.event(*node.row(), 1)
    assert seat.event(*node.ask(), 2) is not None
    seat.reply(wire.Answer("shadow", 1, 1), 3)
    assert seat.reply(wire.Renewed("S-1", "alpha", 77, "alpha", TTL), 4) is not None
    assert policy.asked == 1
    seat.event(*node.row(), 5)
    assert seat.event(*node.ask(), 6) is not None
    assert policy.asked == 2


def test_fenced_agent_says_hello_anew(node, seat):
    seat.reply(wire.Renewed("S-1", "alpha", 0, "other", TTL), 1)
    assert seat.state == "rejoining"
    assert not seat.trades
    assert isinstance(seat.tick(1), wire.Hello)


def test_refusal_without_retry_is_final_only_at_the_door(node, seat):
    seat.reply(wire.Refused("odd", retry=False), 1)
    assert seat.state == "live"
    other = Seat("alpha", "S-1", "champion", Constant(SPEC, 1.0))
    other.reply(wire.Refused("spec digest", retry=False), 1)
    assert other.state == "refused"
    assert other.tick(2) is None


def test_action_without_an_answer_is_sent_again_with_the_same_bytes(node, seat):
    seat.event(*node.row(), 1)
    action = seat.event(*node.ask(), 2)
    again = [r for ms in (100, 300, 600) for r in due(seat, ms * MS) if isinstance(r, wire.Action)]
    assert again == [action, action]
    assert not [r for r in due(seat, 1_100 * MS) if isinstance(r, wire.Action)]
    assert seat.counts["unanswered"] == 1


def test_action_that_did_not_reach_the_strategy_is_sent_again(node, seat):
    seat.event(*node.row(), 1)
    action = seat.event(*node.ask(), 2)
    seat.reply(wire.Answer("rejected", 1, 1, "is not known here", retry=True), 3)
    assert [r for r in due(seat, 300 * MS) if isinstance(r, wire.Action)] == [action]
    seat.reply(wire.Answer("rejected", 1, 1, "no target"), 301 * MS)
    assert not [r for r in due(seat, 600 * MS) if isinstance(r, wire.Action)]
    assert (seat.counts["undelivered"], seat.counts["rejected"]) == (1, 1)


def test_frames_of_another_source_or_epoch_are_not_taken(node, seat):
    node.row()
    seat.event(*node.row(), 1)
    (fetch,) = fetches(seat, 2)
    reply = node.history.answer(fetch, 0.0)
    topic, envelope = wire.unpack(reply.frames[0])
    foreign = wire.pack(topic, "mallory", 1, envelope.seq, 0, wire.event(envelope))
    seat.reply(msgspec.structs.replace(reply, frames=(foreign,)), 3)
    assert seat.state == "gap"


class Asking:
    """A policy that asks a server, which is away now and then."""

    spec = SPEC

    def __init__(self):
        self.away = True

    def act(self, obs):
        if self.away:
            raise Undecided("late", "no answer by the deadline")
        return 1.0


def test_decision_without_a_target_is_skipped_and_counted(node):
    policy = Asking()
    seat = Seat("alpha", "S-1", "champion", policy)
    seat.tick(0)
    seat.reply(node.welcome(), 0)
    seat.event(*node.row(), 1)
    assert seat.event(*node.ask(), 2) is None
    assert (seat.counts["undecided"], seat.counts["undecided_late"]) == (1, 1)
    assert seat.event(*node.row(), 3) is None  # it is not asked about that one again
    policy.away = False
    assert seat.event(*node.ask(), 4).decision_seq == 2
    assert seat.counts["actions"] == 1


def test_agent_without_targets_three_times_in_a_row_lets_its_lease_go(node):
    policy = Asking()
    seat = Seat("alpha", "S-1", "champion", policy)
    seat.tick(0)
    seat.reply(node.welcome(), 0)
    for n in range(1, 4):
        assert any(isinstance(r, wire.Renew) for r in due(seat, n * TTL))
        seat.event(*node.beat(n * TTL), n * TTL)
        assert seat.event(*node.ask(), n * TTL) is None
    assert seat.state == "undecided"
    seat.event(*node.beat(4 * TTL), 4 * TTL)
    assert not any(isinstance(r, wire.Renew) for r in due(seat, 4 * TTL))
    policy.away = False
    assert seat.event(*node.ask(), 4 * TTL + 1).decision_seq == 4
    assert seat.state == "live"
    assert any(isinstance(r, wire.Renew) for r in due(seat, 4 * TTL + 2))
