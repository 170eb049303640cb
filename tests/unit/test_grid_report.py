"""What a grid's report says, from hand-made tracks."""

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pytest

from agents.gridreport.beside import differences
from agents.gridreport.finding import find, grid_of
from agents.gridreport.findings import Findings
from agents.gridreport.playing import joined
from agents.metrics import Track
from agents.statistics.overfitting import cross_validate, logits
from grid.home import Home
from tests.unit.test_trials_table import results, track

DAY = 86_400 * 10**9
ROWS = 41


def made(seed: int, drift: float, day: int) -> Track:
    rng = np.random.default_rng(seed)
    returns = drift + 0.01 * rng.standard_normal(ROWS - 1)
    equity = 100.0 * np.concatenate([[1.0], np.cumprod(1.0 + returns)])
    return track([day * DAY + i * DAY for i in range(ROWS)], equity.tolist())


def findings(tmp_path: Path, scores: dict[str, float], **drifts: float) -> Findings:
    """Findings of configurations with such scores on the validation spans, and such drifts."""
    tracks: dict[tuple[str, int, int], Track | None] = {
        (key, fold, seed): made(2 * seed + fold, drift, 50 * fold)
        for key, drift in drifts.items() for fold in (0, 1) for seed in (0, 1)
    }  # fmt: skip
    tracks[("bad", 0, 0)] = None
    found = results(tmp_path, tracks)
    whole = dataclasses.replace(found, scores={**dict.fromkeys(found.scores), **scores})
    return find(whole, Home(tmp_path), play=False)[0]


def test_report_judges_what_validation_chose_and_not_what_test_likes(tmp_path: Path) -> None:
    f = findings(tmp_path, {"aa": 2.0, "bb": 1.0}, aa=0.0005, bb=0.003)
    assert f.chosen is not None
    assert f.verdict is not None
    assert (f.chosen.key, f.best_on_test) == ("aa", "bb")
    assert [row.name for row in f.configurations] == ["aa", "bb", "bad"]
    aa, bb, bad = f.configurations
    assert aa.record == pytest.approx(f.verdict.sharpe.value)
    assert not f.verdict.by_best
    assert bb.better == pytest.approx(1.0)
    assert (bad.sharpe, bad.record, bad.trials) == (None, None, {"failed": 1})
    assert (f.tried, f.verdict.tried, f.verdict.records) == (3, 3, 2)
    assert grid_of(aa).shape == (2, 2)
    (failed,) = (t for t in f.trials if t.status == "failed")
    assert (failed.why, failed.log) == ("no mind to", "last words")


def test_report_without_a_finished_configuration_has_no_verdict(tmp_path: Path) -> None:
    f = findings(tmp_path, {})
    assert f.verdict is None
    assert "no configuration is done" in f.unjudged


def test_joined_tracks_add_up_and_keep_their_fills_apart() -> None:
    first, second = track([0, 1, 2], [100, 110, 105]), track([3, 4], [100, 90])
    fill = np.array([[4, 1.0, 1.0, 0.5, 0]])
    whole = joined([first, dataclasses.replace(second, fills=fill, fees=np.array([0.0, 0.5]))])
    assert whole.equity.tolist() == [100, 110, 105, 105, 95]
    assert whole.fees.tolist() == [0, 0, 0, 0, 0.5]
    assert whole.fills[:, 4].tolist() == [3.0]
    assert whole.steps == 4


def test_logits_below_0_are_the_probability_of_overfitting() -> None:
    returns = np.random.default_rng(1).standard_normal((64, 5))
    found, told = logits(returns, 8), cross_validate(returns, 8)
    assert told is not None
    assert len(found) == told.splits == 70
    assert float(np.mean(found <= 0.0)) == told.probability
    assert not len(logits(returns[:, :1]))


def test_differences_name_the_keys_that_two_grids_do_not_share(tmp_path: Path) -> None:
    f = findings(tmp_path, {})
    other = msgspec.structs.replace(f, name="g2", config={**f.config, "seeds": 9})
    assert differences(f, other) == ["seeds: 2 here, 9 in g2."]
