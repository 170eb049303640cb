"""A short seeded round of every kind of fault, as `launch.py chaos` does it."""

import contextlib
import json
import re
import sqlite3

import pytest

from agents.chaos import rounds
from agents.chaos.clock import library
from agents.chaos.faults import FAULTS
from agents.commands.line import COMMAND
from grid import wire
from grid.errors import InvariantError
from grid.proof.check import RULES
from grid.session import Session
from tests.support.grids import LAUNCH, ROOT

SEED = 7
GROUPS = {
    "processes": ("kill", "kill-node", "broker-mid-order", "node-and-venue", "freeze", "twin"),
    "wires": ("delay", "stall", "half-open", "narrow", "reset", "lossy", "repeat", "swap",
              "slow-subscriber", "thousand-agents", "rubbish"),
    "machine": ("clock", "disk-full"),
}  # fmt: skip


def test_every_fault_is_in_a_group():
    assert sorted(name for group in GROUPS.values() for name in group) == sorted(FAULTS)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("group", GROUPS)
def test_grid_does_nothing_that_it_must_not_under(procs, group):
    chosen = GROUPS[group]
    faults = [part for name in chosen for part in ("--fault", name)]
    chaos = procs.python(
        LAUNCH, "chaos", "--rounds", "1", "--seed", str(SEED), "--each", str(len(chosen)),
        "--lasting", "1.5", *faults, "--json",
    )  # fmt: skip
    assert chaos.wait(200) == 0, chaos.text
    found = json.loads(chaos.text.splitlines()[-1])
    assert found["seed"] == SEED
    (one,) = found["rounds"]
    skipped = {f["fault"] for f in one["faults"] if f["recovered_s"] is None}
    assert {f["fault"] for f in one["faults"]} == set(chosen)
    assert skipped == ({"clock"} & set(chosen) if library() is None else set())
    assert [rule["rule"] for rule in one["checked"]] == list(RULES)
    assert all(rule["violations"] == [] for rule in one["checked"])
    counted = {rule["rule"]: rule["looked_at"] for rule in one["checked"]}
    assert counted["no action counts twice"] > 50
    assert counted["no order is doubled"] > 10


def test_order_that_nobody_asked_for_ends_a_round_with_its_seed(tmp_path, monkeypatch):
    def forge(stage, dice):
        file = stage.home.venues / "chaos.sqlite"
        with contextlib.closing(sqlite3.connect(file)) as db, db:
            epoch, seq = db.execute("SELECT epoch, seq FROM orders LIMIT 1").fetchone()
            db.execute(
                "INSERT INTO orders (account_id, client_order_id, signed_qty, due_ns, epoch, seq,"
                " status, reason) VALUES ('main', 'ghost', 1.0, 0, ?, ?, 'canceled', '')",
                (epoch, seq),
            )
        return "an order forged"

    monkeypatch.setitem(FAULTS, "forge", forge)
    told: list[str] = []
    with pytest.raises(InvariantError) as e:
        rounds.run(tmp_path, COMMAND, rounds=3, seed=5, names=["forge"], each=1, tell=told.append)
    assert str(e.value).startswith("seed 5, round 1: the venue has order ghost of epoch 1,")
    assert "its remains are in" in str(e.value)
    assert any("BROKEN no order is unasked for" in line for line in told)
    (session,) = (tmp_path / "round-1" / "sessions").iterdir()
    check_operations_page(session)


def check_operations_page(folder):
    """Every counter and state that the processes of that grid showed is explained."""
    page = (ROOT / "docs" / "operations.md").read_text()
    explained = set(re.findall(r"`([a-z_A-Z ]+)`", page.partition("## 6. Every counter")[2]))
    states = set(re.findall(r"`([a-z ]+)[^`]*`", page.partition("## 3.")[2].partition("## 4.")[0]))
    beats = [
        event
        for topic, envelope, _ in Session.open(folder)
        if topic.startswith("sys.") and isinstance(event := wire.event(envelope), wire.Heartbeat)
    ]
    assert len({beat.name for beat in beats}) == 8
    assert {name for beat in beats for name in beat.counters} - explained == set()
    assert {beat.state for beat in beats} - states == set()
