"""A grid's report for real: trials that were trained, baselines played, the page in a browser."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

import launch
from agents import provenance
from agents.gridreport.findings import Report
from agents.gridreport.promoting import chosen, evidence
from agents.gridreport.report import JSON, write
from agents.registry.evidence import DEMANDED
from agents.registry.history import names
from agents.registry.registry import Registry
from agents.registry.show import describe
from agents.statistics.verdict import HOLDS, WORTH
from agents.trials import launcher
from agents.trials.data import home_of
from agents.trials.holdout import finalize
from agents.trials.local import Local
from grid.dataset import to_ns
from grid.home import Home
from tests.support import grids_of_trials as grids
from tests.support import runs
from tests.support.browser import needs_chromium, opened

pytestmark = pytest.mark.timeout(300)  # twenty seconds each on a machine with time to spare

FOLDS = {
    "kind": "anchored", "train": "240min", "validation": "120min", "test": "90min", "count": 2,
    "holdout": "150min",
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with two grids; in the first, one configuration fails."""
    home = runs.home_with_data(tmp_path_factory.mktemp("report") / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provenance, "commit", lambda: "0123456789")
        axes = {"env.window": [2, 3], "env.reward": ["log_equity", grids.BROKEN]}
        train(home, "first", axes=axes, seeds=2, exclude=[{"env.window": 3, "env.reward":
              grids.BROKEN}])  # fmt: skip
        train(home, "second", axes={"env.window": [4]})
    return home


def train(home: Home, name: str, **more: Any) -> None:
    grid = grids.grid(name, folds=FOLDS, workers={"processes": 2, "retries": 0}, **more)
    schedule = launcher.run(
        grid, home, lambda g, h: Local(h, g.workers), lambda schedule, beats, events: None
    )
    assert schedule.stopped == "complete"


def test_report_says_what_was_found_and_opens_in_a_browser(home: Home, tmp_path: Path) -> None:
    played: list[str] = []
    page, report = write(home, "first", other="second", tell=played.append)
    assert msgspec.json.decode((page.parent / JSON).read_bytes(), type=Report) == report
    f, c = report.findings, report.circumstances
    assert f.verdict is not None
    assert f.chosen is not None
    assert (f.tried, f.verdict.tried, f.verdict.records, f.excluded) == (3, 3, 2, 1)
    assert f.statuses == {"done": 8, "failed": 4}
    assert [row.name for row in f.baselines] == ["flat", "hold", "random", "momentum", "untrained"]
    assert set(f.verdict.beside) == {row.name for row in f.baselines}
    assert [len(row.scores) for row in f.baselines] == [2, 2, 4, 2, 4], "folds, or folds and seeds"
    assert f.configurations[0].name == f.chosen.key
    assert f.configurations[0].better is None
    assert "as trained" in [case.name for case in f.chosen.worlds]
    assert f.chosen.training is not None
    assert f.chosen.diagnosis.actions is not None, "tracks keep what was asked for"
    assert sum(f.logits) == f.verdict.overfitting.splits if f.verdict.overfitting else False
    assert (c.state, c.launches, c.commits) == ("complete", 1, ("0123456789",))
    assert report.other is not None
    assert len(played) > 30

    text = page.read_text().replace(get_plotlyjs(), "")
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text), "the page needs a network"
    for said in (
        f.verdict.line, "RuntimeError: this reward is broken", f.data["tiny"], "0123456789",
        "Beside second", "env.window: [2, 3] here", "Still shut", f.trials[0].digest,
    ):  # fmt: skip
        assert said.replace("'", "&#x27;") in text, said


@needs_chromium
def test_report_runs_in_a_browser_without_a_word_on_the_console(home: Home, tmp_path: Path) -> None:
    page, report = write(home, "first", tmp_path / "out", play=False)
    dom, console = opened(page, tmp_path / "profile")
    assert not console
    assert report.findings.verdict is not None
    verdict = re.search(r'class="verdict [a-z]+"><h2>([^<]+)</h2><p>([^<]+)</p>', dom)
    assert verdict is not None
    assert verdict.groups() == (report.findings.verdict.grade, report.findings.verdict.line)
    plots = dom.count('<div class="plot">')
    assert plots > 8
    assert len(set(re.findall(r'<div id="([^"]+)" class="plotly-graph-div js-plotly-plot', dom))
               ) == plots, "each picture was drawn"  # fmt: skip


def test_report_of_an_opened_holdout_and_promotion_of_what_the_grid_chose(
    home: Home, tmp_path: Path
) -> None:
    _, before = write(home, "second", tmp_path / "before")
    assert before.findings.verdict is not None
    assert before.findings.verdict.holdout is None
    finalize(home, "second")
    page, after = write(home, "second", tmp_path / "after")
    f = after.findings
    assert f.chosen is not None
    assert f.opened == f.chosen.key
    assert f.verdict is not None
    assert f.verdict.holdout is not None
    assert set(f.verdict.holdout.beside) == {row.name for row in f.baselines}
    assert f.verdict.overfitting is None, "there is one configuration"
    assert json.loads((page.parent / JSON).read_bytes())["findings"]["opened"] == f.opened

    # what the grid chose may be a model, with the verdict beside it
    checkpoint, found = chosen(home, "second"), evidence(home, "second", "2020-01-01")
    assert checkpoint.digest in {t.digest for t in f.trials if t.fold == 1}
    assert found.passed == (f.verdict.grade in (WORTH, HOLDS))
    assert f"grid second: {f.verdict.grade}: {f.verdict.line} 1 tried" in found.said
    assert found.metrics["deflated"] == f.verdict.deflated
    registry = Registry(home.models)
    assert home_of(checkpoint.manifest.data, home).datasets != home.datasets, "those are whole"
    assert launch.main(["models", "check", "grid:second", "--home", str(home.root)]) == 0
    checked = {e.what: e for e in registry.evidence(checkpoint.digest)}
    assert set(checked) == set(DEMANDED)
    played = checked["evaluation"].said.partition(",")[0].split(" to ")
    start, end = (to_ns(at) for at in f.folds[1].test)
    assert start <= to_ns(played[0]) < to_ns(played[1]) < end, "the holdout is nobody's to check"
    assert "comparisons of live, replay and env are equal" in checked["parity"].said
    promote = ["models", "promote", "grid:second", "tiny/champion", "--home", str(home.root)]
    status = launch.main(promote)
    assert (status == 0) == found.passed, "a grid that found nothing demands --force"
    assert launch.main([*promote, "--force", "--why", "to see it"]) == 0
    change = names(registry.changes())["tiny/champion"]
    assert change.forced != found.passed
    assert change.evidence[-1].said == found.said
    assert found.said in describe(registry, checkpoint)
