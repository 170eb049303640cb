"""Peers in processes: whoever fails is left out and said so, whoever hangs is ended."""

from contextlib import closing

import numpy as np
import psutil
import pytest

from agents.bench.peers import child, race
from agents.bench.peers.child import Child, Peer
from agents.bench.peers.pace import Steps, orders, rate, read_bars, targets, write_bars
from envs.synthetic import signal
from grid.errors import ProcessDied

ANYTRADING = Peer("gym-anytrading", "anytrading", "gym_anytrading")


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    """A folder whose scripts are peers."""
    monkeypatch.setattr(child, "_HERE", tmp_path)
    return tmp_path


def test_peers_are_measured_beside_ours_and_missing_ones_named(monkeypatch):
    monkeypatch.setattr(race, "BARS", 2_000)
    monkeypatch.setattr(race, "ROUNDS", 2)
    monkeypatch.setattr(race, "ROUND_S", 0.02)
    monkeypatch.setattr(race, "PEERS", (ANYTRADING, Peer("nobody", "no_such_script", "envs")))
    rows, notes = race.run()
    assert [row.name for row in rows] == ["gym-anytrading_hold", "gym-anytrading_act10"]
    assert all(row.value > 0 and row.baseline > 0 for row in rows)
    assert notes[0].startswith("nobody: ended with code 2: ")
    assert "No such file" in notes[0]
    assert notes[1].startswith("argonaut ")
    assert notes[2] == "gym-anytrading 2.0.0"
    assert not psutil.Process().children(recursive=True)


def test_peer_that_fails_on_the_way_is_left_out_with_its_last_line(scripts):
    there = "import sys\nprint('\"1\"', flush=True)\n"
    (scripts / "lives.py").write_text(there + "for _ in sys.stdin: print(7.0, flush=True)")
    (scripts / "dies.py").write_text(there + "sys.stdin.readline()\nraise SystemExit('no more')")
    notes: list[str] = []
    with (
        closing(Child(Peer("argonaut", "lives", "envs"), scripts)) as ours,
        closing(Child(Peer("mortal", "dies", "envs"), scripts)) as mortal,
    ):
        found = race._rounds({"argonaut": ours, "mortal": mortal}, notes)
    assert found == {"argonaut": {"hold": 7.0, "act10": 7.0}}
    assert notes == ["mortal: ended with code 1: no more"]
    assert not psutil.Process().children(recursive=True)


def test_peer_that_hangs_is_an_error_within_its_time_and_leaves_nothing(scripts, monkeypatch):
    monkeypatch.setattr(child, "START_S", 0.5)
    (scripts / "hangs.py").write_text("import time\ntime.sleep(600)")
    with pytest.raises(ProcessDied, match=r"sleepy: no answer within 0\.5 s"):
        Child(Peer("sleepy", "hangs", "envs"), scripts / "bars.csv")
    assert not psutil.Process().children(recursive=True)


def test_peer_without_package_and_without_uv_is_said_to_be_missing(scripts, monkeypatch):
    monkeypatch.setattr(child.shutil, "which", lambda _: None)
    with pytest.raises(ProcessDied, match="strange: not installed, and no uv"):
        Child(Peer("strange", "strange", "no_such_package"), scripts / "bars.csv")


def test_bars_come_back_to_the_last_digit(tmp_path):
    columns = signal(50, seed=1).columns
    write_bars(tmp_path / "bars.csv", columns)
    found = read_bars(tmp_path / "bars.csv")
    assert list(found) == ["ts_event", "open", "high", "low", "close", "volume"]
    for name, values in found.items():
        assert values.dtype == columns[name].dtype
        np.testing.assert_array_equal(values, columns[name])


def test_rate_plays_the_actions_in_turn_and_resets_where_an_episode_ends():
    assert targets(1, 2) == [1] * 10 + [2] * 10
    assert orders(0, 1, -1) == [1, *[0] * 9, -1, *[0] * 9]
    taken: list[int] = []
    resets: list[int] = []

    def step(action: int) -> bool:
        taken.append(action)
        return len(taken) % 7 == 0

    env = Steps("", lambda: resets.append(len(taken)), step, [0], orders(0, 1, -1))
    assert rate(env, env.act10, 1e-4) > 0
    assert taken[:7] == [1, 0, 0, 0, 0, 0, 0]
    assert resets[:3] == [0, 7, 14]
    assert taken[7:9] == [1, 0]  # the next episode begins as the first did
