"""Processes start in any order, and wait for each other."""

import signal

import pytest

from agents import parity
from tests.support.grids import Grid

ORDERS = {
    "backwards": ("agent", "node", "feed", "record", "broker"),
    "the broker in the middle": ("node", "record", "broker", "agent", "feed"),
    "the feed last": ("broker", "agent", "node", "record", "feed"),
}


@pytest.mark.parametrize("order", ORDERS)
def test_grid_that_starts_in_any_order_trades_and_is_recorded_whole(
    tmp_path, addresses, procs, order
):
    grid = Grid(tmp_path, addresses)
    started = {}
    for command in ORDERS[order]:
        more = ("--id", "alpha") if command == "agent" else ()
        started[command] = grid.child(procs, command, *more)
        # the next one when this one has got as far as it can without the others
        if "broker" in started:
            started[command].ready(60)
        else:
            started[command].expect("waiting for a broker")
    for command, child in started.items():
        if command in ORDERS[order][: ORDERS[order].index("broker")]:
            child.ready(60)
    assert started["node"].wait(60) == 0
    for command in ("agent", "feed", "record", "broker"):
        assert started[command].stop() == 0
    (run,) = grid.runs()
    assert run.missing == 0
    assert run.ended
    assert len(run.decisions) == grid.live_rows
    assert all(o.how == "action" for o in run.outcomes.values())
    assert [c for c in parity.compare(run, grid.home) if not c.equal] == []


@pytest.mark.parametrize("command", ["record", "feed", "node", "agent"])
def test_process_that_waits_for_a_broker_says_so_and_can_be_stopped(
    tmp_path, addresses, procs, command
):
    grid = Grid(tmp_path, addresses)
    more = ("--id", "alpha") if command == "agent" else ()
    child = grid.child(procs, command, *more)
    child.expect("waiting for a broker")
    child.popen.send_signal(signal.SIGTERM)
    assert child.wait() == 0
