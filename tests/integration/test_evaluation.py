"""Evaluation for real: the engine, its reports, the account by two ways, the report's page."""

import csv
import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import pytest

from agents import evaluation
from agents.checkpoint import Checkpoint
from agents.evaluation import evaluate, run
from agents.facts import aligned
from agents.policy import OnnxPolicy
from agents.report import SessionFacts, write_report
from agents.scorecard import AGENT, Evaluation, Facts, render
from envs.trading import TradingEnv
from grid.dataset import Dataset
from grid.errors import CheckpointError, DataError, EngineError
from grid.home import Home
from grid.venue import Venue
from tests.support import markets, runs


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return runs.home_with_data(tmp_path / "home")


@pytest.fixture
def checkpoint(home: Home, tmp_path: Path) -> Checkpoint:
    return runs.checkpoint_on(home, tmp_path / "checkpoints")


def evaluated(home: Home, checkpoint: Checkpoint, tmp_path: Path, **how: object) -> Evaluation:
    return evaluate(checkpoint.path, home, out=tmp_path / "out", **how)  # type: ignore[arg-type]


def test_evaluation_compares_agent_and_baselines_over_the_same_unseen_rows(
    home: Home, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    result = evaluated(home, checkpoint, tmp_path)
    assert list(result.tracks) == [AGENT, "flat", "hold", "random", "momentum"]
    assert result.facts.rows == (600, 900)
    assert {m.steps for m in result.facts.metrics.values()} == {299}
    ts = Dataset.find(home.datasets, runs.NAME).columns["ts_event"]
    for track in result.tracks.values():
        np.testing.assert_array_equal(track.ts_ns, ts[600:900])
    flat, hold = result.facts.metrics["flat"], result.facts.metrics["hold"]
    assert (flat.total_return, flat.trades, flat.fees) == (0.0, 0, 0.0)
    assert (hold.trades, hold.in_market) == (1, pytest.approx(298 / 299))
    agent, other = result.tracks[AGENT], result.tracks["random"]
    assert agent.trading_steps > 20
    assert other.traded[-1] == pytest.approx(agent.traded[-1], rel=0.25)


def test_evaluation_equity_is_capital_and_fills_marked_at_the_close(
    home: Home, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    track = evaluated(home, checkpoint, tmp_path).tracks[AGENT]
    _, qty, px, fee, _ = track.fills.T
    cash = 100_000.0 - np.sum(qty * px) - np.sum(fee)
    assert track.equity[-1] == pytest.approx(cash + np.sum(qty) * track.price[-1], abs=1e-6)
    assert track.fees[-1] == pytest.approx(np.sum(fee))
    assert track.traded[-1] == pytest.approx(np.sum(np.abs(qty) * px))


def test_evaluation_twice_gives_the_same_bits(
    home: Home, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    first, second = (evaluated(home, checkpoint, tmp_path) for _ in range(2))
    assert first.facts == second.facts
    for name, track in first.tracks.items():
        assert track.equity.tobytes() == second.tracks[name].equity.tobytes()
    other = evaluated(home, checkpoint, tmp_path, seed=7)
    assert other.facts.metrics[AGENT] == first.facts.metrics[AGENT]
    assert other.facts.metrics["random"] != first.facts.metrics["random"]


def test_evaluation_writes_facts_curves_and_the_engines_reports(
    home: Home, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    result = evaluated(home, checkpoint, tmp_path)
    out = tmp_path / "out"
    assert msgspec.json.decode((out / "evaluation.json").read_bytes(), type=Facts) == result.facts
    with (out / "curves.csv").open() as f:
        rows = list(csv.DictReader(f))
    assert [float(r["agent_equity"]) for r in rows] == result.tracks[AGENT].equity.tolist()
    with (out / "fills.csv").open() as f:
        fills = list(csv.DictReader(f))
    sign = {"BUY": 1.0, "SELL": -1.0}
    assert [sign[f["order_side"]] * float(f["last_qty"]) for f in fills] == list(
        result.tracks[AGENT].fills[:, 1]
    )
    for name in ("orders", "positions", "account"):
        assert len((out / f"{name}.csv").read_text().splitlines()) > 1


@pytest.mark.parametrize(
    ("account", "target"),
    [
        ("cash", {"levels": (0.0, 0.5, 1.0)}),
        ("margin", {"kind": "continuous"}),
        ("margin", {"levels": (-1.0, 1.0)}),
    ],
)
def test_evaluation_account_agrees_with_the_engines_own(
    home: Home, tmp_path: Path, account: str, target: dict[str, object]
) -> None:
    venue = Venue(account=account)  # type: ignore[arg-type]
    checkpoint = runs.checkpoint_on(home, tmp_path / "checkpoints", venue, every=3, **target)
    result = evaluated(home, checkpoint, tmp_path)
    assert result.facts.metrics[AGENT].trades > 5
    assert result.facts.metrics[AGENT].steps == 99


def test_evaluation_account_that_disagrees_with_the_fills_is_an_error(
    home: Home, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    policy = OnnxPolicy(checkpoint)
    data = Dataset.find(home.datasets, runs.NAME)
    env = TradingEnv(data, policy.spec, Venue(), rows=(600, 900), keep_history=True)
    try:
        track = run(env, policy)
        account = env.reports()["account"]
    finally:
        env.close()
    evaluation.reconcile(track, account, policy.spec, Venue())
    track.fills[-1, 2] += 1.0
    with pytest.raises(EngineError, match="final equity"):
        evaluation.reconcile(track, account, policy.spec, Venue())
    track.fills[-1, 2] -= 1.0
    account.loc[account.index[-1], "total"] = "1.00"
    with pytest.raises(EngineError, match="by the engine's account"):
        evaluation.reconcile(track, account, policy.spec, Venue())


def test_evaluation_ruined_account_ends_there_and_is_named(home: Home, tmp_path: Path) -> None:
    venue = Venue(taker_fee_bps=400.0, ruin=0.9)
    checkpoint = runs.checkpoint_on(home, tmp_path / "checkpoints", venue, max_qty=50_000.0)
    result = evaluated(home, checkpoint, tmp_path)
    agent = result.facts.metrics[AGENT]
    assert agent.ruined
    assert agent.steps < result.facts.metrics["flat"].steps
    assert f"agent was ruined after {agent.steps} steps." in result.facts.notes
    assert "inf" not in render(result)
    write_report(tmp_path / "report.html", result)


def test_evaluation_on_rows_it_learned_from_says_so(
    home: Home, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    warned = "These rows overlap those that the agent was trained on."
    seen = evaluated(home, checkpoint, tmp_path, rows="train").facts
    assert (seen.verdict, seen.training) == (None, None)
    assert warned in render(evaluated(home, checkpoint, tmp_path, rows="train"))
    assert warned not in render(evaluated(home, checkpoint, tmp_path))
    span = ("2020-01-01 00:30:00", "2020-01-01 01:30:00")
    result = evaluated(home, checkpoint, tmp_path, rows=span)
    assert result.facts.rows == (29, 89)
    assert warned in result.facts.notes


def test_evaluation_says_how_sure_it_is_and_counts_the_trials(
    home: Home, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    alone, among = (
        evaluated(home, checkpoint, tmp_path, trials=n, harder=n > 1).facts for n in (1, 500)
    )
    sure, agent = alone.confidence[AGENT], alone.metrics[AGENT]
    assert sure.sharpe is not None
    assert sure.sharpe.value == pytest.approx(agent.sharpe)
    assert sure.sharpe.low < sure.sharpe.value < sure.sharpe.high
    assert sure.total_return is not None
    assert sure.total_return.value == pytest.approx(agent.total_return)
    assert alone.verdict is not None
    assert among.verdict is not None
    assert (alone.verdict.tried, among.verdict.tried) == (1, 500)
    assert list(alone.verdict.beside) == ["flat", "hold", "random", "momentum"]
    assert among.verdict.chance > alone.verdict.chance
    assert among.verdict.deflated < alone.verdict.deflated
    assert (alone.sensitivity, len(among.sensitivity)) == ((), 6)
    assert among.sensitivity[0].metrics == agent
    assert msgspec.json.decode(msgspec.json.encode(among), type=Facts) == among


def test_evaluation_shows_what_was_learned_by_heart_and_how_it_traded(
    home: Home, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    result = evaluated(home, checkpoint, tmp_path)
    facts = result.facts
    assert facts.training is not None
    assert facts.training.steps == facts.metrics[AGENT].steps
    assert facts.diagnosis is not None
    costs, track = facts.diagnosis.costs, result.tracks[AGENT]
    assert costs.profit == pytest.approx(track.equity[-1] - 100_000.0)
    assert costs.profit == pytest.approx(costs.gross - costs.fees - costs.shortfall)
    # as if each fill had had the price of its decision: what every position earned by the marks
    assert costs.gross == pytest.approx(np.sum(track.position_qty[1:] * np.diff(track.price)))
    assert facts.diagnosis.actions is not None
    assert sum(facts.diagnosis.actions.shares) == pytest.approx(1.0)
    assert [r.steps for r in facts.diagnosis.regimes] == [90, 89, 90]
    text = render(result)
    for part in ("in training", "before costs", "positions, half of them", "wild market"):
        assert part in text, part


def test_evaluation_ruin_earns_nothing_from_then_on(
    home: Home, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    tracks = evaluated(home, checkpoint, tmp_path).tracks
    short = {k: dataclasses.replace(v, equity=v.equity[: 100 + i]) for i, (k, v) in
             enumerate(tracks.items())}  # fmt: skip
    returns = aligned(short)
    assert {len(r) for r in returns.values()} == {99 + len(tracks) - 1}
    assert (returns[AGENT][99:] == 0.0).all()
    np.testing.assert_array_equal(returns[AGENT][:99], tracks[AGENT].returns[:99])


def test_evaluation_beside_the_network_before_training(home: Home, tmp_path: Path) -> None:
    checkpoint = runs.checkpoint_on(home, tmp_path / "checkpoints")
    spec, tree = checkpoint.manifest.spec, runs.run_tree(home)
    tree["env"] |= {"features": list(spec.features), "window": spec.window}
    said = msgspec.structs.replace(checkpoint.manifest, config=tree)
    whole = runs.checkpoint(tmp_path / "whole", spec, said=said)
    result = evaluated(home, whole, tmp_path)
    assert list(result.tracks)[-1] == "untrained"
    assert "untrained is the agent's own network before its first decision." in result.facts.notes
    without = evaluated(home, checkpoint, tmp_path).facts.notes
    assert any(note.startswith("Without the untrained network: ") for note in without)


def test_evaluation_table_has_every_policy_and_the_costs(
    home: Home, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    text = render(evaluated(home, checkpoint, tmp_path))
    assert re.search(r"agent +flat +hold +random +momentum", text)
    assert "fee of 0.5 bps and a half spread of 0.5 bps" in text
    assert "decisions a year" in text


def test_evaluation_impossible_input_is_one_sentence(
    home: Home, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="holds 0 rows; the dataset runs from"):
        evaluated(home, checkpoint, tmp_path, rows=("2030-01-01", "2030-02-01"))
    with pytest.raises(DataError, match="expected test, train or two ISO times"):
        evaluated(home, checkpoint, tmp_path, rows="tets")
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        evaluate(tmp_path / "nothing", home, out=tmp_path / "out")
    other = runs.home_with_data(tmp_path / "other", markets.bar_columns(900, seed=1))
    with pytest.raises(DataError, match="trained on fingerprint"):
        evaluated(other, checkpoint, tmp_path)
    assert not (tmp_path / "out").exists()


class Page(HTMLParser):
    """Collects what a browser would load, and the text that a person would read."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.text: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.loads += [v for k, v in attrs if k in ("src", "href") and v]

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.text.append(data.strip())


def test_report_is_one_page_that_loads_nothing_and_shows_every_part(
    home: Home, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    result = evaluated(home, checkpoint, tmp_path)
    session = SessionFacts(
        name="s1",
        latency_us={"published to accepted": np.linspace(100.0, 1099.0, 1000)},
        facts={"decisions": "299 <all>"},
    )
    parity = [("orders", True, "12 of 12"), ("fills", False, "11 of 12")]
    path = tmp_path / "new" / "report.html"
    write_report(path, result, session=session, parity=parity)
    raw = path.read_text()
    page = Page()
    page.feed(raw)
    text = " ".join(page.text)
    assert page.loads == []
    assert raw.count("Plotly.newPlot(") >= 3
    for part in (
        "What was measured", "Equity and drawdown", "Positions on price", "Session s1",
        "How sure the Sharpe ratios are", "How it came about", "When in the day",
        "Do replay, live and env agree?", "Costs and circumstances", "momentum",
        "299 <all>", "different", "0.5 bps of notional", checkpoint.digest,
    ):  # fmt: skip
        assert part in text, part
    assert "p50 600 us" in raw
    assert "p99 1,089 us" in raw


def test_report_without_a_session_leaves_its_parts_out(
    home: Home, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    raw = write_report(tmp_path / "r.html", evaluated(home, checkpoint, tmp_path)).read_text()
    assert "Session" not in re.sub(r"<script>.*?</script>", "", raw, flags=re.DOTALL)
    assert "Do replay" not in raw
