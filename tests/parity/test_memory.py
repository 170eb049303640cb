"""An agent with a memory acts live as in replay; what rests on a lost memory is not judged."""

import copy
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from agents import parity
from agents.checkpoint import Checkpoint
from agents.config import RunConfig
from agents.registry.export import export
from agents.rehearsal import rehearse
from agents.training import train
from grid import transcript
from grid.config import convert
from grid.dataset import Dataset, to_iso
from grid.errors import CheckpointError
from grid.home import Home
from grid.session import Session, find
from grid.transcript import Transcript
from tests.support import runs
from tests.support.grids import LAUNCH

ACTIONS = "actions: alpha = replay"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return runs.home_with_data(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def checkpoint(home: Home) -> Checkpoint:
    tree = runs.run_tree(home, total_steps=256)
    tree["env"]["target"]["kind"] = "continuous"  # any other memory gives another target
    tree["algo"] |= {"name": "RecurrentPPO", "lstm_size": 8, "learning_rate": 0.02}
    return Checkpoint.open(train(convert(tree, RunConfig, "test"), home, progress=False))


@pytest.fixture(scope="module")
def run(home: Home, checkpoint: Checkpoint) -> Transcript:
    ts = [int(t) for t in Dataset.find(home.datasets, runs.NAME).columns["ts_event"]]
    span = (to_iso(ts[600]), to_iso(ts[760]))
    command = [sys.executable, str(LAUNCH)]
    rehearse(checkpoint.path, home, command, dataset=runs.NAME, span=span, name="memory")
    return transcript.read(Session.open(find(home.sessions, "latest")))[-1]


def checked(run: Transcript, home: Home) -> dict[str, parity.Check]:
    return {check.what: check for check in parity.compare(run, home)}


def test_live_agent_with_a_memory_equals_its_replay_and_the_env(
    home: Home, run: Transcript
) -> None:
    assert len(run.decisions) >= 150
    assert len({a.action.target for a in run.acted}) > 1
    checks = checked(run, home)
    assert [c for c in checks.values() if not c.equal] == []
    assert checks[ACTIONS].detail == f"{len(run.acted)} compared"


def test_action_that_rests_on_an_unrecorded_memory_is_told_and_not_compared(
    home: Home, run: Transcript
) -> None:
    lost = replace_acted(run, [*run.acted[:50], *run.acted[51:]])
    check = checked(lost, home)[ACTIONS]
    rest = len(lost.acted) - 50
    assert check.equal
    assert check.detail == f"50 compared; {rest} rest on a memory that was not recorded"
    # what was remembered matters: the same actions, told to begin in the middle
    first = run.acted[60].action
    again = replace(first, lease=first.lease + 1)
    later = [
        replace(a, action=replace(a.action, lease=again.lease, action_seq=i + 1))
        for i, a in enumerate(run.acted[60:])
    ]
    joined = [*run.joined, replace(run.joined[-1], lease=again.lease)]
    begun = replace_acted(run, [*run.acted[:60], *later])
    begun.joined = joined
    assert not checked(begun, home)[ACTIONS].equal


def test_memory_is_not_exported_as_what_has_none(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="found algorithm RecurrentPPO"):
        export(checkpoint, tmp_path, "torchscript")


def replace_acted(run: Transcript, acted: list[object]) -> Transcript:
    """The same run with other actions."""
    other = copy.copy(run)
    other.acted = acted  # type: ignore[assignment]
    return other
