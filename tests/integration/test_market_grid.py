"""A training grid on two markets: all datasets are sealed, judged on the holdout, and reported."""

from pathlib import Path

import pytest

from agents import provenance
from agents.checkpoint import Checkpoint
from agents.trials import launcher, planning
from agents.trials.config import TrainingGrid
from agents.trials.holdout import finalize
from agents.trials.local import Local
from agents.trials.results import load
from grid.config import convert
from grid.dataset import Dataset, to_ns
from grid.home import Home
from launch import main
from tests.support import runs

pytestmark = pytest.mark.timeout(300)

FOLDS = {
    "kind": "anchored", "train": "240min", "validation": "120min", "test": "90min", "count": 1,
    "holdout": "150min",
}  # fmt: skip
MINUTE_NS = 60 * 10**9


@pytest.fixture
def grid(tmp_path: Path) -> tuple[TrainingGrid, Home]:
    home = runs.home_with_markets(tmp_path / "home")
    base = runs.market_tree(home, "orders", "MaskablePPO", total_steps=128)
    base["data"] |= {
        "train": ["2020-01-01 00:00:00", "2020-01-01 10:00:00"],
        "test": ["2020-01-01 10:10:00", "2020-01-01 13:00:00"],
    }
    base["market"]["views"][0]["features"] = ["zscore:40"]
    tree = {
        "name": "two-markets",
        "base": base,
        "axes": {"market.action.max_qty": [5_000.0, 10_000.0]},
        "folds": FOLDS,
        "workers": {"processes": 2, "retries": 0},
    }
    return convert(tree, TrainingGrid, "test"), home


def test_grid_on_two_markets_is_sealed_judged_reported_and_finalized(
    grid: tuple[TrainingGrid, Home],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config, home = grid
    plan = planning.make(config, home)
    assert set(plan.datasets) == {runs.NAME, runs.POUND}
    (fold,) = plan.folds
    apart_ns = to_ns(fold.validation[0]) - to_ns(fold.train[1])
    # one decision of purge, and the second view looks back farthest: 41 rows for two of zscore:40
    assert apart_ns == pytest.approx((1 + 41) * MINUTE_NS, abs=2 * MINUTE_NS)
    monkeypatch.setattr(provenance, "commit", lambda: "test")
    schedule = launcher.run(config, home, lambda g, h: Local(h, g.workers), lambda *_: None)
    assert {s.phase for s in schedule.trials.values()} == {"done"}
    results = load(home.root / "grids" / config.name)
    assert results.holdout is not None
    start_ns = to_ns(results.holdout[0])
    for name in (runs.NAME, runs.POUND):
        assert Dataset.find(results.home.datasets, name).manifest.end_ns < start_ns
        assert Dataset.find(home.datasets, name).manifest.end_ns > start_ns
    for trial in results.trials:
        market = Checkpoint.open(trial.folder).manifest.market
        assert market is not None
        tracks = trial.tracks()
        assert len(tracks["test"].gross) == len(tracks["test"].equity)
        assert tracks["validation"].ts_ns[-1] < tracks["test"].ts_ns[0] < start_ns
    opened = finalize(home, config.name)
    (scores,) = opened.scores.values()
    assert (scores["steps"] or 0) > 100
    assert main(["grid", "report", config.name, "--home", str(home.root)]) == 0
    assert "report.html" in capsys.readouterr().out
    raw = (results.home.reports / "report.json").read_text()
    assert all(name in raw for name in ("hold", "random", "untrained", "fees x 2"))
