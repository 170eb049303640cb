"""Kill each process while the grid trades: it comes back, and nothing was done twice."""

import signal
from collections import Counter

import pytest

from agents import parity
from grid import wire
from grid.session import Session
from grid.transcript import read
from tests.support import markets
from tests.support.grids import Grid, Watch, alive, kill
from tests.support.procs import until

ROWS = 3_000


@pytest.fixture
def trading(tmp_path, addresses, procs, context):
    """A grid that trades 40 rows a second, and a watch on it."""
    grid = Grid(tmp_path, addresses, markets.bar_columns(ROWS), feed={"speed": 40},
                node={"ttl_ms": 400})  # fmt: skip
    up = grid.up(procs)
    grid.pid_of("agent-alpha")
    seen = Watch(context, grid)
    seen.outcomes(10)
    yield grid, up, seen
    seen.close()


@pytest.mark.parametrize("name", ["broker", "recorder", "feed", "node", "agent-alpha"])
def test_killed_process_comes_back_and_nothing_is_done_twice(trading, name):
    grid, up, seen = trading
    victim = grid.pid_of(name)
    others = {c.name: c.pid for c in grid.state().children if c.name != name}
    kill(victim, signal.SIGKILL)
    until(lambda: not alive(victim), f"{name} to be dead")
    until(lambda: grid.pid_of(name) != victim, f"{name} to be back")
    seen.events.clear()
    seen.outcomes(20, timeout_s=40)
    if name == "recorder":  # its new session can be read once the node has said again who it is
        seen.until(lambda e: isinstance(e, wire.StrategyInfo), "the node's introduction")
        seen.outcomes(5)
    assert {c.name: c.pid for c in grid.state().children if c.name != name} == others

    up.popen.send_signal(signal.SIGTERM)
    assert up.wait(30) == 0
    check_nothing_twice(grid)
    check_replays(grid)
    if name == "recorder":
        assert len(list(grid.home.sessions.iterdir())) == 2
    if name == "node":
        runs = all_runs(grid)
        assert [r.info.epoch for r in runs] == [1, 2]
        first, second = ({row.ts_event_ns for row in r.rows if not row.history} for r in runs)
        # the market went on where the first node had it, at least once and without a hole
        assert len(first & second) <= 1
        every = [int(t) for t in grid.dataset.columns["ts_event"]]
        both = sorted(first | second)
        start = every.index(both[0])
        assert both == every[start : start + len(both)]


def test_agent_that_wakes_from_a_long_stop_cannot_act_on_the_past(trading):
    grid, up, seen = trading
    pid = grid.pid_of("agent-alpha")
    kill(pid, signal.SIGSTOP)
    seen.until(lambda e: isinstance(e, wire.Outcome) and e.how == "fallback", "a fallback")
    kill(pid, signal.SIGCONT)
    seen.outcomes(10)
    up.popen.send_signal(signal.SIGTERM)
    assert up.wait(30) == 0
    check_nothing_twice(grid)


def test_supervisor_killed_leaves_no_orphan(trading):
    grid, up, _ = trading
    pids = [child.pid for child in grid.state().children]
    up.kill()
    until(lambda: not [pid for pid in pids if alive(pid)], "all children to be gone")


def all_runs(grid):
    """The runs of the node, each as the session has it that holds most of it.

    A recorder that comes back fetches what was before it, so that its session holds that, too.
    """
    folders = sorted(p for p in grid.home.sessions.iterdir() if p.is_dir())
    found = {}
    for folder in folders:
        for run in read(Session.open(folder)):
            known = found.get(run.info.epoch)
            if known is None or len(run.events) > len(known.events):
                found[run.info.epoch] = run
    return [found[epoch] for epoch in sorted(found)]


def check_replays(grid):
    """Every run is equal to its replay and to the env, as far as its recording is whole."""
    for run in all_runs(grid):
        checks = parity.compare(run, grid.home)
        assert [c for c in checks if not c.equal and c.what != "recording: whole"] == []
        assert checks[-1].equal == (run.missing == 0)


def check_nothing_twice(grid):
    """What may never happen, whatever was killed, as the recordings show it."""
    runs = all_runs(grid)
    assert runs
    orders, trades = Counter(), Counter()
    for run in runs:
        keys = Counter(
            (a.action.agent_id, a.action.lease, a.action.action_seq)
            for a in run.acted
            if a.answer.status == "accepted"
        )
        assert max(keys.values(), default=0) <= 1
        decisions = Counter(
            a.action.decision_seq for a in run.acted if a.answer.status == "accepted"
        )
        assert max(decisions.values(), default=0) <= 1
        orders.update(o.client_order_id for o in run.orders if o.status == "submitted")
        trades.update((run.info.epoch, f.trade_id) for f in run.fills)
        for fill in run.fills:
            assert fill.client_order_id in {o.client_order_id for o in run.orders}
    assert max(orders.values(), default=0) <= 1
    assert max(trades.values(), default=0) <= 1
    assert sum(trades.values()) > 0
