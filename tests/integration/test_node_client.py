"""A stranger's stack, Node.js with npm's packages, acts as the champion of a real grid."""

import json
import shutil
from pathlib import Path

import msgspec
import pytest

from tests.support import markets
from tests.support.grids import ROOT, Grid

CLIENT = ROOT / "docs" / "clients" / "node"


@pytest.fixture
def node() -> Path:
    """The program; the test is skipped where it, or its packages, are not there."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("Node.js is not installed (Debian: apt-get install nodejs npm)")
    if not (CLIENT / "node_modules" / "zeromq").is_dir():
        pytest.skip(f"its packages are not installed (npm install, in {CLIENT})")
    return Path(found)


def test_client_in_node_trades_on_a_real_grid(tmp_path, addresses, procs, node):
    grid = Grid(tmp_path, addresses, markets.bar_columns(300), champion="baseline:flat")
    for command in ("broker", "record", "feed"):
        grid.child(procs, command).ready()
    live = grid.child(procs, "node")
    live.ready()
    client = procs.start(
        node, CLIENT / "client.mjs", addresses.events_out, addresses.requests, "S-1", "alpha",
        grid.spec.digest, grid.spec.instrument_id,
    )  # fmt: skip
    assert client.wait(60) == 0, client.text
    counts = json.loads(client.text.splitlines()[-1])
    assert live.wait(30) == 0
    for proc in reversed(procs.running()):
        assert proc.stop() == 0
    (run,) = grid.runs()
    assert run.missing == 0
    accepted = [a for a in run.acted if a.answer.status == "accepted"]
    assert counts["accepted"] == len(accepted) == len(run.decisions) == grid.live_rows
    assert {a.action.agent_id for a in accepted} == {"alpha"}
    assert counts["fills"] == len(run.fills) > 20
    assert counts["hellos"] == 1
    closes = {bar.ts_event_ns: bar.close for bar in run.rows}
    for a in accepted[1:]:
        decision = run.decisions[a.action.decision_seq]
        before, now = [c for t, c in sorted(closes.items()) if t <= decision.ts_event_ns][-2:]
        assert a.action.target == (now > before) - (now < before)


def test_packages_of_the_client_are_pinned_and_name_no_host():
    said = msgspec.json.decode((CLIENT / "package.json").read_bytes())
    assert all(v[0].isdigit() for v in said["dependencies"].values())
    assert "http" not in (CLIENT / "package.json").read_text()
    assert not (CLIENT / "package-lock.json").exists()
