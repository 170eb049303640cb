import os
import resource
import signal
from pathlib import Path

import pytest

from agents.trials.config import Workers
from agents.trials.events import Event, Launched, Planned, Started
from agents.trials.gpus import Gpu, parse, places
from agents.trials.journal import Journal, read
from agents.trials.local import slots, tail
from grid.errors import ConfigError, TrialsError

PLANNED = Planned(name="g", folds=(), holdout=None, seeds=(0,), datasets={}, sources={}, by="me")
EVENTS: list[Event] = [
    PLANNED,
    Launched(commit="c", by="me", pid=1, at_ns=5),
    Started(trial="a", attempt=1, at_ns=6),
]


def written(file: Path, events: list[Event] = EVENTS) -> Path:
    journal = Journal(file)
    for event in events:
        journal.append(event)
    journal.close()
    return file


def test_journal_reads_back_what_was_written(tmp_path: Path) -> None:
    assert read(written(tmp_path / "j")) == EVENTS
    assert read(tmp_path / "none") == []


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_journal_torn_line_at_the_end_is_none_and_is_cut_off(tmp_path: Path, cut: int) -> None:
    file = written(tmp_path / "j")
    whole = file.read_bytes()
    os.truncate(file, len(whole) - min(cut, len(whole.splitlines()[-1])))
    assert read(file) == EVENTS[:-1]
    written(file, [EVENTS[-1]])
    assert file.read_bytes() == whole


def test_journal_damaged_in_the_middle_is_refused_with_its_line(tmp_path: Path) -> None:
    file = written(tmp_path / "j")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + b"{]\n" + lines[2])
    with pytest.raises(TrialsError, match=r"j: line 2: damaged"):
        read(file)
    file.write_bytes(lines[1])
    with pytest.raises(TrialsError, match="line 1: expected the event planned"):
        read(file)
    file.write_bytes(lines[0].replace(b'"version":1', b'"version":9'))
    with pytest.raises(TrialsError, match="journal version 1 expected, found 9"):
        read(file)


def test_journal_on_a_full_disk_stays_whole(tmp_path: Path) -> None:
    file = written(tmp_path / "j")
    before = file.read_bytes()
    journal = Journal(file)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))
        with pytest.raises(OSError, match="too large") as error:
            journal.append(EVENTS[2])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert error.value.filename == str(file)
    assert file.read_bytes() == before
    journal.append(EVENTS[2])
    journal.close()
    assert read(file) == [*EVENTS, EVENTS[2]]


def test_log_tail_is_of_this_attempt_only(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("old\n" * 3 + "new 1\nnew 2\nnew 3\n")
    assert tail(file, 12, 10) == "new 1\nnew 2\nnew 3"
    assert tail(file, 12, 2) == "new 2\nnew 3"
    assert tail(tmp_path / "none", 0, 2) == ""


def test_gpus_are_read_from_the_tools_lines_and_shared_by_memory() -> None:
    gpus = parse("0, 81559, 80000\n1, 81559, 20000\nnonsense\n")
    assert [g.index for g in gpus] == [0, 1]
    assert gpus[0].total_mb == pytest.approx(85_520, abs=1)
    assert places(gpus, 20_000.0) == [0, 1, 0, 0, 0]
    assert places(gpus, 0.0) == []


def test_slots_are_what_cores_and_gpu_memory_allow() -> None:
    gpus = [Gpu(0, 24_000.0, 12_000.0)]
    assert slots(Workers(), 8, []) == 8
    assert slots(Workers(cores=3), 8, []) == 2
    assert slots(Workers(cores=16), 8, []) == 1
    assert slots(Workers(processes=5), 2, []) == 5
    assert slots(Workers(gpu_memory_mb=4_000), 8, gpus) == 3
    assert slots(Workers(gpu_memory_mb=4_000), 2, gpus) == 2
    assert slots(Workers(gpu_memory_mb=4_000, processes=9), 2, gpus) == 3
    with pytest.raises(ConfigError, match=r"key workers\.gpu_memory_mb: .* found no GPU"):
        slots(Workers(gpu_memory_mb=4_000), 2, [])
    with pytest.raises(ConfigError, match="found 12,000 MB free on 0"):
        slots(Workers(gpu_memory_mb=40_000), 2, gpus)
