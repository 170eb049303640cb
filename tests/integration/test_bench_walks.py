"""Real grids on made markets, counted by what their reports claim."""

import pytest

import launch
from agents.bench import walks
from agents.bench.walks import Judged
from grid.errors import TrialsError
from tests.support import grids_of_trials as grids

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    folds = {"kind": "rolling", "train": "8h", "validation": "4h", "test": "4h", "count": 1}
    axes = {"algo.learning_rate": [1e-3]}
    for name, value in {"STEPS": 1_024, "ROWS": 2_000, "FOLDS": folds, "AXES": axes}.items():
        monkeypatch.setattr(walks, name, value)


def test_bench_of_walks_trains_and_judges_a_grid_for_each_market(small: None) -> None:
    found = {row.name: row for row in walks.run(1)}
    assert list(found) == [
        "walks_claimed", "walks_naive", "walks_positive", "planted_found", "grid_seconds",
    ]  # fmt: skip
    assert all(found[name].baseline == 1.0 for name in list(found)[:4])
    assert all(found[name].value in (0.0, 1.0) for name in list(found)[:4])
    assert found["walks_claimed"].value <= found["walks_positive"].value
    assert found["grid_seconds"].value > 0.0
    assert found["grid_seconds"].baseline > 0.0, "of trainings that there were"


def test_bench_of_walks_counts_a_grid_that_lost_its_trials_as_an_error(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = walks.tree("walk")
    tree |= {"axes": {"env.reward": [grids.BROKEN]}, "workers": {"retries": 0}}
    monkeypatch.setattr(walks, "tree", lambda kind: tree)
    with pytest.raises(TrialsError, match=r"expected 2 trials done, found .*-f0-s0 failed"):
        walks.judged("walk", 0)


def test_rows_of_walks_count_what_was_claimed_beside_how_many_there_were() -> None:
    def judged(claimed: bool, naive: bool) -> Judged:
        return Judged(claimed, naive, positive=True, seconds=4.0, alone_s=6.0)

    several = [judged(True, True), judged(False, True), judged(False, False)]
    figures = [(r.value, r.baseline) for r in walks.rows(several, judged(True, True))]
    assert figures == [(1.0, 3.0), (2.0, 3.0), (3.0, 3.0), (1.0, 1.0), (4.0, 6.0)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["env", "--grids", "3"], "bench env: expected --grids with walks only"),
        (["walks", "--grids", "0"], "bench walks: expected --grids of 1 or more, found 0"),
    ],
)
def test_bench_refuses_a_number_of_grids_that_means_nothing(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch.main(["bench", *words]) == 2
    assert said in capsys.readouterr().err
