"""Limits and the kill switch on a real grid: no agent passes them, and only a person resumes."""

import signal

import msgspec
import numpy as np
import pytest

from agents import parity
from grid import wire
from grid.audit import Entry
from tests.support import markets
from tests.support.grids import LAUNCH, Grid, Watch, alive, kill
from tests.support.procs import until

SLOW = {"speed": 60}


@pytest.fixture
def watch(context):
    watches = []

    def start(grid):
        watches.append(Watch(context, grid))
        return watches[-1]

    yield start
    for each in watches:
        each.close()


def falling(n=400):
    """Bars that lose 0.1 % each from row 150 on."""
    columns = markets.bar_columns(n)
    factor = 0.999 ** np.maximum(0, np.arange(n) - 150)
    for name in ("open", "high", "low", "close"):
        columns[name] = markets.ticks(columns[name] * factor, markets.PAIR)
    return columns


def audited(grid):
    lines = (grid.home.audit / "test.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Entry) for line in lines]


def run_to_its_end(grid, procs):
    up = grid.up(procs)
    assert up.wait(60) == 0
    (run,) = grid.runs()
    assert run.ended
    checks = parity.compare(run, grid.home)
    assert [c for c in checks if not c.equal] == []
    return run


def test_position_limit_refuses_the_order_and_the_run_goes_on(tmp_path, addresses, procs):
    grid = Grid(tmp_path, addresses, champion="baseline:random",
                spec={"levels": (-1.0, -0.25, 0.0, 0.25, 1.0)},
                limits={"max_position_qty": 2_500})  # fmt: skip
    run = run_to_its_end(grid, procs)
    assert max(abs(f.position_qty) for f in run.fills) == 2_500
    refused = [a for a in run.acted if a.answer.status == "rejected"]
    assert refused
    assert all(a.answer.reason.startswith("limits.max_position_qty 2,500: ") for a in refused)
    assert all(abs(a.action.target) == 1.0 for a in refused)
    assert all(run.outcomes[a.action.decision_seq].kept for a in refused)
    assert {e.kind for e in audited(grid)} == {"refusal"}
    assert len(audited(grid)) == len(refused)


def test_order_rate_is_counted_in_market_time(tmp_path, addresses, procs):
    grid = Grid(tmp_path, addresses, markets.quote_columns(400), champion="baseline:random",
                limits={"max_orders_per_min": 2})  # fmt: skip
    run = run_to_its_end(grid, procs)
    refused = [a for a in run.acted if a.answer.status == "rejected"]
    assert refused
    assert all("limits.max_orders_per_min 2: " in a.answer.reason for a in refused)
    sent = [o.ts_event_ns for o in run.orders if o.status == "held"]
    assert len(sent) > 10
    for at_ns in sent:
        assert sum(at_ns - 60 * 10**9 < other <= at_ns for other in sent) <= 2


def test_drawdown_closes_the_position_and_halts_for_good(tmp_path, addresses, procs):
    grid = Grid(tmp_path, addresses, falling(), champion="baseline:hold",
                spec={"max_qty": 200_000.0},
                limits={"max_drawdown_share": 0.05, "on_halt": '"flatten"'})  # fmt: skip
    run = run_to_its_end(grid, procs)
    halts = [e for _, e in run.events if isinstance(e, wire.Halted)]
    (halt,) = halts
    assert (halt.by, run.flattened[0][1].client_order_id) == ("limits", "flatten-1-1")
    assert run.fills[-1].client_order_id == "flatten-1-1"
    assert run.fills[-1].position_qty == 0.0
    equity = {d.ts_event_ns: d.account.equity for d in run.decisions.values()}
    peak = max(e for at, e in equity.items() if at <= halt.ts_event_ns)
    assert equity[halt.ts_event_ns] <= 0.95 * peak
    assert all(e > 0.95 * peak for at, e in equity.items() if at < halt.ts_event_ns)
    after = [a for a in run.acted if run.decisions[a.action.decision_seq].ts_event_ns >=
             halt.ts_event_ns]  # fmt: skip
    assert len(after) > 50
    assert {a.answer.status for a in after} == {"rejected"}
    assert all(a.answer.reason.startswith("halted by limits: ") for a in after)
    assert [e.kind for e in audited(grid)][:2] == ["halt", "flatten"]


def test_person_halts_flattens_and_resumes_from_the_command_line(tmp_path, addresses, procs, watch):
    grid = Grid(tmp_path, addresses, markets.bar_columns(3_000), feed=SLOW,
                champion="baseline:hold")  # fmt: skip
    up = grid.up(procs)
    grid.pid_of("agent-alpha")
    seen = watch(grid)
    seen.until(lambda e: isinstance(e, wire.Fill) and e.position_qty == 10_000, "a position")

    said = grid.control(procs, "halt", "--by", "ann", "--reason", "odd fills")
    assert said.wait() == 0
    assert said.text == "grid test: position 10,000, halted\n"
    refused = seen.until(
        lambda e: isinstance(e, wire.Acted) and e.answer.status == "rejected", "a refusal"
    )
    assert refused.answer.reason == "halted by ann: odd fills"
    again = grid.control(procs, "halt")
    assert again.wait() == 0
    assert "halted already by ann" in again.text
    status = procs.python(LAUNCH, "status", "--home", grid.home.root)
    assert status.wait() == 0
    (node,) = (line for line in status.text.splitlines() if line.startswith("node"))
    assert "halted" in node.split()

    said = grid.control(procs, "flatten", "--by", "ann")
    assert said.wait() == 0
    assert "closing it with order flatten-1-1" in said.text
    fill = seen.until(lambda e: isinstance(e, wire.Fill), "the closing fill")
    assert (fill.client_order_id, fill.position_qty) == ("flatten-1-1", 0.0)

    assert grid.control(procs, "resume", "--by", "ann").wait() == 0
    fill = seen.until(lambda e: isinstance(e, wire.Fill), "a new position")
    assert fill.position_qty == 10_000

    up.popen.send_signal(signal.SIGTERM)
    assert up.wait(30) == 0
    (run,) = grid.runs()
    checks = parity.compare(run, grid.home)
    assert [c for c in checks if not c.equal] == []
    acts = [(e.kind, e.by, e.done) for e in audited(grid) if e.kind != "refusal"]
    assert acts[0] == ("halt", "ann", True)
    assert acts[1][0::2] == ("halt", False)
    assert acts[2:] == [("flatten", "ann", True), ("resume", "ann", True)]


def test_node_killed_while_halted_stays_halted(tmp_path, addresses, procs, watch):
    grid = Grid(tmp_path, addresses, markets.bar_columns(3_000), feed=SLOW,
                champion="baseline:hold", node={"ttl_ms": 400})  # fmt: skip
    up = grid.up(procs)
    grid.pid_of("agent-alpha")
    seen = watch(grid)
    seen.outcomes(5)
    assert grid.control(procs, "halt", "--by", "ann").wait() == 0
    victim = grid.pid_of("node")
    kill(victim, signal.SIGKILL)
    until(lambda: not alive(victim), "the node to be dead")
    halted = seen.until(
        lambda e: isinstance(e, wire.Halted) and e.epoch == 2, "the second node's halt", 40
    )
    assert halted.by == "ann"
    seen.until(
        lambda e: isinstance(e, wire.Acted) and e.answer.reason.startswith("halted by ann"),
        "a refusal by the second node",
    )
    up.popen.send_signal(signal.SIGTERM)
    assert up.wait(30) == 0
    second = [run for run in grid.runs() if run.info.epoch == 2]
    assert second[0].fills == []
    # a grid that does not run is resumed on disk, where its next node finds it
    said = grid.control(procs, "resume")
    assert said.wait() == 0
    assert said.text == "grid test: a node that starts trades\n"
    assert not (grid.home.halts / "test.json").exists()


def test_halt_that_no_node_answers_is_in_force_at_its_next_start(tmp_path, addresses, procs):
    grid = Grid(tmp_path, addresses)
    halt = procs.python(LAUNCH, "halt", grid.config, "--home", grid.home.root)
    assert halt.wait() == 1
    assert "a node that starts is halted" in halt.text
    run = run_to_its_end(grid, procs)
    assert run.fills == []
    assert run.intervened is not None
    unknown = procs.python(LAUNCH, "flatten", "nobody", "--home", grid.home.root)
    assert unknown.wait() == 2
