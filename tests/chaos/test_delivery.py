"""Nothing is lost silently: what a fault takes away is fetched, and the recording has no hole."""

import signal
import time
from itertools import pairwise

import pytest

from agents import parity
from grid import wire
from grid.session import Session, find
from tests.chaos.test_kill import check_nothing_twice
from tests.support import markets
from tests.support.grids import Grid, Watch, alive, kill
from tests.support.procs import until

ROWS = 3_000
BETA = '\n[[agents]]\nid = "beta"\nrole = "standby"\ncheckpoint = "baseline:momentum"\n'
LEASE_S = 1.5
# the lease, a third of it until the standby asks again, and what a busy machine adds
FAILOVER_S = LEASE_S * 4 / 3 + 0.5


@pytest.fixture
def bring_up(tmp_path, addresses, procs, context):
    """Bring a grid up that trades; return it, its supervisor and a watch on it."""
    watches = []

    def up(rows=ROWS, **options):
        grid = Grid(tmp_path, addresses, markets.bar_columns(rows), **options)
        supervisor = grid.up(procs)
        grid.pid_of("agent-alpha")
        watches.append(Watch(context, grid))
        watches[0].outcomes(10)
        return grid, supervisor, watches[0]

    yield up
    for watch in watches:
        watch.close()


def end(supervisor):
    supervisor.popen.send_signal(signal.SIGTERM)
    assert supervisor.wait(30) == 0


def check_whole(grid):
    """The newest recording has every event of the node, and is equal to replay and env."""
    (run,) = grid.runs()
    assert run.missing == 0
    assert [c for c in parity.compare(run, grid.home) if not c.equal] == []
    session = Session.open(find(grid.home.sessions, "latest"))
    assert list(session)
    lost = [r for r in session.lost if not r.topic.startswith("sys.")]
    assert lost == []
    return run


@pytest.mark.parametrize("lockstep", ["true", "false"])
def test_broker_killed_twice_while_the_grid_trades_leaves_no_hole(bring_up, lockstep):
    grid, supervisor, seen = bring_up(
        feed={"speed": 100, "lockstep": lockstep}, node={"ttl_ms": 1500}
    )
    others = {c.name: c.pid for c in grid.state().children if c.name != "broker"}
    for _ in range(2):
        broker = grid.pid_of("broker")
        kill(broker, signal.SIGKILL)
        until(lambda pid=broker: not alive(pid), "the broker to be dead")
        until(lambda pid=broker: grid.pid_of("broker") != pid, "the broker to be back")
        seen.outcomes(30, timeout_s=40)
    assert {c.name: c.pid for c in grid.state().children if c.name != "broker"} == others
    beat = seen.until(
        lambda e: (
            isinstance(e, wire.Heartbeat) and e.name == "recorder" and e.counters["mending"] == 0.0
        ),
        "the recorder to have mended",
    )
    agent = seen.until(
        lambda e: isinstance(e, wire.Heartbeat) and e.name == "agent-alpha", "the agent's heartbeat"
    )
    end(supervisor)
    check_nothing_twice(grid)
    run = check_whole(grid)
    print(f"mended {beat.counters['mended']:g} of {len(run.events)} events; agent {agent.counters}")
    if lockstep == "false":  # the market went on; a broker that is back at once may lose nothing
        assert agent.counters["joined"] == 1


def test_recorder_that_comes_back_has_what_it_missed(bring_up):
    grid, supervisor, seen = bring_up(feed={"speed": 60})
    victim = grid.pid_of("recorder")
    kill(victim, signal.SIGKILL)
    until(lambda: grid.pid_of("recorder") != victim, "the recorder to be back")
    seen.events.clear()
    seen.outcomes(20)
    end(supervisor)
    run = check_whole(grid)
    assert min(run.decisions) == 1


def test_frozen_recorder_has_what_it_missed(bring_up):
    grid, supervisor, seen = bring_up(feed={"speed": 60})
    pid = grid.pid_of("recorder")
    kill(pid, signal.SIGSTOP)
    seen.outcomes(4 * 60)  # longer than the broker waits for a peer that says nothing
    kill(pid, signal.SIGCONT)
    seen.outcomes(60)
    end(supervisor)
    check_whole(grid)


def test_agent_that_was_frozen_for_a_while_skips_to_the_present(bring_up):
    grid, supervisor, seen = bring_up(
        feed={"speed": 100, "lockstep": "false"}, node={"ttl_ms": 300}
    )
    pid = grid.pid_of("agent-alpha")
    kill(pid, signal.SIGSTOP)
    asked = 0

    def long_enough(event):
        nonlocal asked
        asked += isinstance(event, wire.Decision)
        return asked > 270  # and less than the broker waits for a peer that says nothing

    seen.until(long_enough, "2.7 seconds of market")
    kill(pid, signal.SIGCONT)
    # on a busy machine the broker may have cut it off before: then it knows by the hole
    seen.until(
        lambda e: (
            isinstance(e, wire.Heartbeat)
            and e.name == "agent-alpha"
            and e.counters.get("lagged", 0.0) + e.counters.get("gaps", 0.0) >= 1.0
            and e.state == "live"
        ),
        "the agent to have skipped to the present",
    )
    seen.outcomes(20)
    end(supervisor)
    check_nothing_twice(grid)
    run = check_whole(grid)
    # what it slept through it has not answered
    answered = [a.action.decision_seq for a in run.acted]
    assert max(b - a for a, b in pairwise(answered)) > 150


@pytest.mark.parametrize("fault", ["kill", "stop"])
def test_standby_takes_over_within_the_bound_and_the_champion_is_fenced(bring_up, fault):
    grid, supervisor, seen = bring_up(agents=BETA, feed={"speed": 20}, node={"ttl_ms": 300})
    grid.pid_of("agent-beta")
    # both are there, and the first decision is long over
    seen.outcomes(20)
    pid = grid.pid_of("agent-alpha")

    def took_over(event):
        for child in grid.state().children:  # and none that would come in its place
            if fault == "kill" and child.name == "agent-alpha" and child.pid and alive(child.pid):
                kill(child.pid, signal.SIGKILL)
        return isinstance(event, wire.TookOver)

    kill(pid, signal.SIGSTOP)
    struck_s = time.monotonic()
    took = seen.until(took_over, "a take-over")
    first = seen.until(
        lambda e: isinstance(e, wire.Outcome) and e.how == "action", "the standby's action"
    )
    took_s = time.monotonic() - struck_s
    print(f"failover after {fault}: {took_s:.3f} s, lapsed {took.lapsed_ns / 1e9:.3f} s before")
    assert (took.before, took.agent_id) == ("alpha", "beta")
    assert first.agent_id == "beta"
    assert took_s < FAILOVER_S
    if fault == "stop":
        kill(pid, signal.SIGCONT)
        seen.until(
            lambda e: isinstance(e, wire.Joined) and e.agent_id == "alpha", "alpha to come back"
        )
    seen.outcomes(20)
    end(supervisor)
    check_nothing_twice(grid)
    run = check_whole(grid)
    # no time at which two traded: leases of what was accepted only grow
    accepted = [a.action for a in run.acted if a.answer.status == "accepted"]
    assert [a.lease for a in accepted] == sorted(a.lease for a in accepted)
    traders = [a.agent_id for a in accepted]
    assert traders == sorted(traders)  # alpha, then beta, and never alpha again
    after = traders.index("beta")
    assert accepted[after].lease == took.lease
    heard = {a.action.agent_id for a in run.acted if a.answer.status == "shadow"}
    assert heard == {"alpha", "beta"} or (fault == "kill" and heard == {"beta"})


def test_feed_that_ends_while_no_broker_is_there_leaves_a_whole_session(bring_up):
    grid, supervisor, _ = bring_up(
        rows=400, feed={"speed": 100, "lockstep": "false"}, node={"ttl_ms": 100}
    )
    broker = grid.pid_of("broker")
    kill(supervisor.pid, signal.SIGSTOP)  # else it would be back at once
    kill(broker, signal.SIGKILL)
    log = grid.home.logs / "test" / "node.log"
    until(lambda: "feed has ended" in log.read_text(), "the end of the feed")
    kill(supervisor.pid, signal.SIGCONT)
    assert supervisor.wait(40) == 0
    run = check_whole(grid)
    assert run.ended
    assert len(run.decisions) == grid.live_rows
