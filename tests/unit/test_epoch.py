import subprocess
import sys
from pathlib import Path

import pytest

from grid.epoch import next_epoch
from grid.errors import BusError


def test_epoch_counts_up_for_each_name(tmp_path: Path) -> None:
    assert [next_epoch(tmp_path, "node") for _ in range(3)] == [1, 2, 3]
    assert next_epoch(tmp_path, "agent/é") == 1
    assert next_epoch(tmp_path, "node") == 4


def test_epoch_after_a_crash_between_write_and_rename_is_not_given_twice(tmp_path: Path) -> None:
    next_epoch(tmp_path, "node")
    (tmp_path / "node.tmp").write_text("half")
    assert next_epoch(tmp_path, "node") == 2


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5"])
def test_epoch_of_a_damaged_counter_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "node.epoch").write_text(text)
    with pytest.raises(BusError, match=r"node\.epoch: expected the last epoch"):
        next_epoch(tmp_path, "node")


def test_epoch_in_racing_processes_is_never_the_same(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from grid.epoch import next_epoch\n"
        "for _ in range(20): print(next_epoch(Path(sys.argv[1]), 'node'))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    given = [int(n) for racer in racers for n in racer.communicate(timeout=30)[0].split()]
    assert sorted(given) == list(range(1, 61))
