"""Kill node and venue while the grid trades on paper: the account goes on, nothing is twice."""

import contextlib
import signal
import sqlite3
from collections import Counter
from typing import NamedTuple

import pytest

from agents import parity
from grid import wire
from grid.session import Session
from grid.transcript import read
from tests.support import markets
from tests.support.grids import Grid, Watch, alive, kill
from tests.support.procs import until

ROWS = 6_000


@pytest.fixture
def trading(tmp_path, addresses, procs, context):
    """A grid that trades 100 rows a second on paper, and a watch on it."""
    grid = Grid(tmp_path, addresses, markets.bar_columns(ROWS), feed={"speed": 100},
                node={"ttl_ms": 2000, "venue": '"paper"'})  # fmt: skip
    up = grid.up(procs)
    grid.pid_of("agent-alpha")
    seen = Watch(context, grid)
    seen.outcomes(20)
    yield grid, up, seen
    seen.close()


class Filled(NamedTuple):
    """A fill in the venue's journal."""

    trade_id: str
    client_order_id: str
    signed_qty: float
    px: float
    commission: float


def journal(grid):
    """All fills, oldest first, and all orders with their quantity, as the venue has kept them."""
    file = grid.home.venues / "test.sqlite"
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        fields = ", ".join(Filled._fields)
        fills = [Filled(*row) for row in db.execute(f"SELECT {fields} FROM fills ORDER BY rowid")]
        orders = dict(db.execute("SELECT client_order_id, signed_qty FROM orders"))
    return fills, orders


def stop(up):
    up.popen.send_signal(signal.SIGTERM)
    assert up.wait(30) == 0


def all_runs(grid):
    folders = sorted(p for p in grid.home.sessions.iterdir() if p.is_dir())
    return [run for folder in folders for run in read(Session.open(folder))]


def check_account(grid, runs):
    """What the venue, the recordings and the strategy's own ledger say is one story."""
    fills, orders = journal(grid)
    assert len(fills) > 10
    assert max(Counter(f.trade_id for f in fills).values()) == 1
    done = Counter()
    for fill in fills:
        done[fill.client_order_id] += fill.signed_qty
    assert all(done[name] == orders[name] for name in done)  # each once, and whole
    recorded = Counter(f.trade_id for run in runs for f in run.fills)
    assert max(recorded.values()) == 1
    assert set(recorded) <= {f.trade_id for f in fills}

    cash, position, told = grid.spec.capital, 0.0, 0
    states = {0: (cash, position)}
    for n, fill in enumerate(fills, 1):
        cash -= fill.signed_qty * fill.px + fill.commission
        position = round(position + fill.signed_qty, 12)
        states[n] = (cash, position)
    for run in runs:
        if run.restored is not None:
            held = run.restored.holdings
            # what was filled and not told any more when the node was killed: one order at most
            assert 0 <= held.fills - told <= 1
            assert (held.cash, held.position_qty) == states[held.fills]
            told = held.fills
        for _, event in run.events:
            if isinstance(event, wire.Fill):
                told += 1
                assert event.trade_id == fills[told - 1].trade_id
            elif isinstance(event, wire.Decision):
                account = event.account
                assert (account.cash, account.position_qty) == states[told]
                assert account.equity == states[told][0] + states[told][1] * account.mark_px


def check_replays(grid, runs):
    for run in runs:
        checks = parity.compare(run, grid.home)
        assert [c for c in checks if not c.equal] == []


def test_node_killed_again_and_again_goes_on_with_its_account(trading):
    grid, up, seen = trading
    kills = 3
    for n in range(kills):
        victim = grid.pid_of("node")
        seen.until(lambda e: isinstance(e, wire.OrderUpdate), "an order under way")
        kill(victim, signal.SIGKILL)
        until(lambda pid=victim: not alive(pid), "the node to be dead")
        until(lambda pid=victim: grid.pid_of("node") != pid, "the node to be back")
        seen.outcomes(20, epoch=n + 2, timeout_s=40)
    stop(up)
    runs = all_runs(grid)
    assert [run.info.epoch for run in runs] == [1, 2, 3, 4]
    assert runs[0].restored is None
    assert all(run.restored.holdings.fills > 0 for run in runs[1:])
    check_account(grid, runs)
    check_replays(grid, runs)
    submitted = Counter(o.client_order_id for r in runs for o in r.orders
                        if o.status == "submitted")  # fmt: skip
    assert max(submitted.values()) == 1
    # the market went on where the last node had it, at least once and without a hole
    rows = [{row.ts_event_ns for row in run.rows if not row.history} for run in runs]
    every = [int(t) for t in grid.dataset.columns["ts_event"]]
    together = sorted(set.union(*rows))
    start = every.index(together[0])
    assert together == every[start : start + len(together)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_venue_killed_or_stopped_loses_and_doubles_nothing(trading, number):
    grid, up, seen = trading
    for _ in range(2):
        victim = grid.pid_of("venue")
        seen.until(lambda e: isinstance(e, wire.OrderUpdate), "an order under way")
        kill(victim, number)
        if number == signal.SIGKILL:
            until(lambda pid=victim: grid.pid_of("venue") != pid, "the venue to be back")
        else:
            seen.until(asks_again, "the node to ask again")
            kill(victim, signal.SIGCONT)
        seen.outcomes(20, timeout_s=40)
    stop(up)
    runs = all_runs(grid)
    assert len(runs) == 1
    assert runs[0].missing == 0
    check_account(grid, runs)
    check_replays(grid, runs)
    assert {o.how for o in runs[0].outcomes.values()} == {"action"}


def asks_again(event):
    return isinstance(event, wire.Heartbeat) and event.counters.get("venue_repeated", 0) > 0


@pytest.mark.parametrize("status", ["accepted", "filled"])
def test_order_that_was_under_way_when_the_node_died_is_taken_over(trading, status):
    """The venue is stopped, an order or its tick is sent, the node dies, the venue goes on."""
    grid, up, seen = trading
    venue, node = grid.pid_of("venue"), grid.pid_of("node")
    seen.until(
        lambda e: (
            isinstance(e, wire.Fill)
            if status == "filled"
            else isinstance(e, wire.OrderUpdate) and e.status == status
        ),
        f"an order to be {status}",
    )
    kill(venue, signal.SIGSTOP)
    seen.until(asks_again, "the node to wait for the venue")
    kill(node, signal.SIGKILL)
    until(lambda: not alive(node), "the node to be dead")
    kill(venue, signal.SIGCONT)
    restored = seen.until(lambda e: isinstance(e, wire.Restored), "the next node's account", 40)
    seen.outcomes(20, epoch=2)
    stop(up)
    runs = all_runs(grid)
    untold = restored.holdings.fills - len(runs[0].fills)
    assert untold + len(restored.orders) == 1
    assert len(runs[1].inherited) == len(restored.orders)
    check_account(grid, runs)
    check_replays(grid, runs)
