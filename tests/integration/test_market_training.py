"""Training on several instruments, by orders and with a memory, from one config to a verdict."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from agents import algorithms, lookahead, market_policy, plan
from agents.checkpoint import GOLDEN, Checkpoint
from agents.config import RunConfig
from agents.evaluation import evaluate
from agents.export import to_onnx
from agents.grids import node_setup
from agents.market_episode import datasets_of, env_of, run, span_of
from agents.market_evaluation import reconcile
from agents.market_policy import parts
from agents.market_rivals import rivals
from agents.network import Network
from agents.policy import load_policy
from agents.scorecard import AGENT, render
from agents.training import train
from agents.trials.messages import Finished, Message, Order
from agents.trials.work import work
from agents.vec import make_vec
from envs.market_spec import MarketSpec
from envs.synthetic_book import write_book
from grid.config import convert, dump
from grid.dataset import Dataset, to_iso
from grid.errors import ConfigError, DataError, EngineError, SpecMismatch
from grid.home import Home
from grid.topology import GridConfig
from launch import main
from tests.support import markets, runs
from tests.support.grids import ROOT
from tests.support.killed import kill_after_first_checkpoint, trained

KINDS = [("weights", "ppo"), ("weights", "sac"), ("orders", "MaskablePPO")]
KINDS += [("weights", "RecurrentPPO"), ("orders", "RecurrentPPO"), ("orders", "ppo")]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return runs.home_with_markets(tmp_path_factory.mktemp("markets"))


def config_of(home: Home, kind: str, algo: str, **run: Any) -> RunConfig:
    return convert(runs.market_tree(home, kind, algo, **run), RunConfig, "test")


def market_of(checkpoint: Checkpoint) -> MarketSpec:
    assert checkpoint.manifest.market is not None
    return checkpoint.manifest.market


@pytest.fixture(scope="module")
def orders(home: Home) -> Checkpoint:
    """An agent that orders on two markets."""
    config = replace(config_of(home, "orders", "MaskablePPO", total_steps=128), name="ordering")
    return Checkpoint.open(train(config, home, progress=False))


@pytest.mark.parametrize(("kind", "algo"), KINDS)
def test_market_run_trains_and_is_evaluated_on_unseen_time(
    home: Home, tmp_path: Path, kind: str, algo: str
) -> None:
    n_envs = 2 if algo == "MaskablePPO" else 1  # masks come through shared memory, too
    config = config_of(home, kind, algo, total_steps=128, n_envs=n_envs)
    path = train(config, home, progress=False)
    checkpoint = Checkpoint.open(path)
    m, market = checkpoint.manifest, market_of(checkpoint)
    assert (m.algo, m.spec_digest) == (algo, market.digest)
    assert market.instruments == ("EUR/USD.SIM", "GBP/USD.SIM")
    assert [v.spec.window for v in market.views] == [3, 2]
    assert m.data.others.keys() == {runs.POUND}
    golden = checkpoint.tensors(GOLDEN)
    assert golden["obs"].shape[1] == market.obs_size
    assert golden["outputs"].shape[1] == (2 if kind == "weights" else 2 * (6 + 2 + 1 + 2 + 1))
    result = evaluate(path, home, out=tmp_path / "out", trials=3)
    assert list(result.tracks) == [AGENT, "flat", "hold", "random", "untrained"]
    facts = result.facts
    assert facts.instrument_id == "EUR/USD.SIM, GBP/USD.SIM"
    assert facts.rows == (600, 899)
    assert {metrics.steps for metrics in facts.metrics.values()} == {298}
    assert facts.training is not None
    assert (facts.metrics["flat"].trades, facts.metrics["flat"].total_return) == (0, 0.0)
    assert facts.metrics["hold"].exposure > 0.1
    assert facts.verdict is not None
    assert facts.verdict.tried == 3
    assert "2 instruments, shown as an index" in render(result)
    written = {f.name for f in (tmp_path / "out").iterdir()}
    assert written >= {"evaluation.json", "curves.csv", "fills.csv", "account-SIM.csv"}


@pytest.mark.parametrize(("kind", "algo"), [("orders", "MaskablePPO"), ("weights", "RecurrentPPO")])
def test_market_run_killed_and_resumed_ends_with_the_same_bits(
    home: Home, tmp_path: Path, kind: str, algo: str
) -> None:
    size = {"total_steps": 1280, "checkpoint_every_steps": 256}
    config = config_of(home, kind, algo, **size)
    whole = train(replace(config, name=f"whole-{algo}"), home, progress=False)
    broken = replace(config, name=f"broken-{algo}")
    kill_after_first_checkpoint(home, broken, tmp_path)
    resumed = train(broken, home, resume=True, progress=False)
    assert trained(resumed) == trained(whole)


@pytest.fixture
def models(home: Home) -> Iterator[Any]:
    """Fresh models of a kind, and the market that they act on."""
    opened = []

    def make(kind: str, algo: str) -> tuple[Any, MarketSpec, Any]:
        config = config_of(home, kind, algo)
        planned = plan.make(config, home)
        envs = make_vec(planned.recipe, 1)
        opened.append(envs)
        assert planned.market is not None
        return algorithms.build(config, envs, 7), planned.market, envs

    yield make
    for envs in opened:
        envs.close()


def test_exported_masked_policy_takes_the_action_of_the_trained_one(models: Any) -> None:
    model, market, envs = models("orders", "MaskablePPO")
    network = Network(to_onnx(model), "test")
    policy = market_policy.MarketNetwork(market, network, masked=True)
    obs = envs.reset()
    rng = np.random.default_rng(0)
    sizes = market_policy.counts(market)
    forbidden = 0
    for _ in range(40):
        (mask,) = envs.env_method("action_masks")
        wanted, _ = model.predict(obs, action_masks=mask[None], deterministic=True)
        action = policy.act(obs[0], mask)
        assert action.tolist() == wanted[0].tolist()
        possible = parts(mask, sizes)
        assert all(p[a] for p, a in zip(possible, action.tolist(), strict=True))
        forbidden += int((mask == 0).sum())
        drawn = [rng.choice(np.flatnonzero(p)) for p in possible]
        obs, _, _, _ = envs.step(np.array([drawn]))
    assert forbidden > 40


def test_exported_memory_is_that_of_the_trained_policy_and_can_be_cleared(models: Any) -> None:
    model, market, _ = models("weights", "RecurrentPPO")
    network = Network(to_onnx(model), "test")
    policy = market_policy.MarketNetwork(market, network, masked=False)
    assert network.recurrent
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((12, market.obs_size)).astype(np.float32)
    mask = np.ones(2, dtype=np.int8)

    def told() -> list[Any]:
        policy.begin()
        return [policy.act(row, mask).tolist() for row in rows]

    state, starts, wanted = None, np.ones(1, dtype=bool), []
    for row in rows:
        action, state = model.predict(row, state, starts, deterministic=True)
        starts = np.zeros(1, dtype=bool)
        wanted.append(action.tolist())
    assert told() == pytest.approx(np.array(wanted), abs=1e-5)
    assert told() == told()
    alone = []
    for row in rows:
        policy.begin()
        alone.append(policy.act(row, mask).tolist())
    assert alone[0] == told()[0]
    assert alone[1:] != told()[1:]  # what was before matters


def test_look_ahead_check_plays_a_market_and_finds_nothing(home: Home) -> None:
    for kind in ("weights", "orders"):
        config = config_of(home, kind, "ppo")
        report = lookahead.check(config, home, cuts=2, steps=60)
        assert report.wrong == []
        assert {"reward", "fills", "mask", "normalization"} <= set(report.checks)
    short = lookahead.check(config, home, cuts=1, steps=10_000)  # of 600 rows to learn from
    assert 1_000 < short.checks["reward"].compared < 1_200  # on two futures


def test_market_account_that_disagrees_with_its_fills_is_an_error(
    home: Home, orders: Checkpoint
) -> None:
    m = orders.manifest
    env = env_of(m, datasets_of(m, home), span_of(m, "test"), keep_history=True)
    with closing(env):
        played = run(env, market_policy.load(orders))
        reports = env.reports()
    reconcile(played, reports, m)
    step, fill = played.fills[-1]
    wrong = played._replace(fills=[*played.fills[:-1], (step, fill._replace(px=fill.px + 1.0))])
    with pytest.raises(EngineError, match="capital and fills give"):
        reconcile(wrong, reports, m)
    account = reports["account-SIM"]
    account.loc[account.index[-1], "total"] = "1.00"
    with pytest.raises(EngineError, match="by the engine's accounts"):
        reconcile(played, reports, m)


def test_several_instruments_shown_as_one_keep_notional_and_costs(
    home: Home, orders: Checkpoint
) -> None:
    m = orders.manifest
    env = env_of(m, datasets_of(m, home), span_of(m, "test"))
    with closing(env):
        policies = rivals(m, market_of(orders), run(env, market_policy.load(orders)).track, 0)[0]
        played = run(env, policies["random"])
    track, fills = played.track, played.fills
    assert len(fills) > 20
    assert {f.instrument_id for _, f in fills} == {"EUR/USD.SIM", "GBP/USD.SIM"}
    notional = sum(abs(f.signed_qty) * f.px for _, f in fills)
    assert np.sum(np.abs(track.fills[:, 1] * track.fills[:, 2])) == pytest.approx(notional)
    assert track.traded[-1] == pytest.approx(notional)
    at = ["EUR/USD.SIM", "GBP/USD.SIM"]
    worse = sum(f.signed_qty * (f.px - played.prices[k, at.index(f.instrument_id)])
                for k, f in fills)  # fmt: skip
    decided = track.price[track.fills[:, 4].astype(int)]
    again = np.sum(track.fills[:, 1] * (track.fills[:, 2] - decided))
    assert again == pytest.approx(worse, abs=1e-6)
    assert track.price[0] == pytest.approx(100.0)
    assert (track.gross >= np.abs(track.position_qty * track.price) - 1e-6).all()


def test_market_checkpoint_is_not_deployed_and_says_why(home: Home, orders: Checkpoint) -> None:
    said = (
        r"expected a target position in one instrument, which is what a live strategy trades, "
        r"found orders one by one, up to 10000 of each of EUR/USD\.SIM, GBP/USD\.SIM"
    )
    with pytest.raises(SpecMismatch, match=said):
        load_policy(orders.path)
    grid = {
        "name": "x",
        "feed": {"dataset": runs.NAME},
        "node": {"strategy_id": "S-1", "checkpoint": str(orders.path)},
        "agents": [{"id": "a", "role": "champion", "checkpoint": "baseline:flat"}],
    }
    with pytest.raises(SpecMismatch, match=said):
        node_setup(convert(grid, GridConfig, "test"), home, "node")


def test_market_agent_is_played_in_less_kind_worlds_and_beside_its_siblings(
    home: Home, orders: Checkpoint, tmp_path: Path
) -> None:
    config = config_of(home, "orders", "MaskablePPO", total_steps=128)
    other = train(replace(config, name="sibling", seed=9), home, progress=False)
    how: dict[str, Any] = {"harder": True, "siblings": [other], "out": tmp_path / "out"}
    cases = {c.name: c for c in evaluate(orders.path, home, **how).facts.sensitivity}
    assert list(cases) == [
        "as trained", "no fees", "fees x 2", "fees x 4", "spread x 2", "one decision later",
        "seed 9",
    ]  # fmt: skip
    found = {name: c.metrics.total_return for name, c in cases.items() if c.metrics}
    assert len(found) == 7
    assert found["no fees"] > found["fees x 2"] > found["fees x 4"]
    assert found["one decision later"] != found["as trained"]
    with pytest.raises(ConfigError, match="expected another seed than 3, found the same"):
        evaluate(orders.path, home, **{**how, "siblings": [orders.path]})


def test_market_clock_may_be_a_timer_over_bars(home: Home, tmp_path: Path) -> None:
    tree = runs.market_tree(home, "weights", "ppo", total_steps=128)
    tree["name"], tree["env"]["timer_s"], tree["env"]["steps"] = "timed", 300.0, 40
    path = train(convert(tree, RunConfig, "test"), home, progress=False)
    track = evaluate(path, home, out=tmp_path / "out").tracks[AGENT]
    assert track.steps == 58
    assert set(track.ts_ns % (300 * 10**9)) == {0}


@pytest.mark.parametrize("kind", ["L3", "quotes"])
def test_market_of_a_book_or_quotes_sees_or_meets_the_trades_beside_it(
    tmp_path: Path, kind: str
) -> None:
    home = Home(tmp_path / "home")
    instrument = markets.PAIR
    if kind == "L3":
        write_book("L3", "made", home, n=6_000, every="100ms")
        instrument = Dataset.find(home.datasets, "made").manifest.instrument
    else:
        runs.save(home, markets.dataset(markets.quote_columns(900), instrument, "made"))
    made = Dataset.find(home.datasets, "made")
    ts = made.columns["ts_event"]
    columns = markets.trade_columns(600, instrument=instrument)
    columns["ts_event"] = np.linspace(ts[0], ts[-1], 600).astype(np.int64)
    columns["price"] = made.columns["bid_px" if kind == "quotes" else "bid_pxs"].reshape(
        len(ts), -1
    )[np.searchsorted(ts, columns["ts_event"], side="right") - 1, 0]
    runs.save(home, markets.dataset(columns, instrument, "made-trades"))
    spans = [to_iso(int(ts[i])) for i in (0, 2 * len(ts) // 3, -1)]
    tree = runs.market_tree(runs.home_with_data(tmp_path / "other"), "orders", "MaskablePPO")
    tree["data"] = {"dataset": "made", "train": spans[:2], "test": spans[1:]}
    tree["env"] |= {"features": ["log_return:1", "spread"], "steps": 20}
    tree["env"] |= {"timer_s": 1.0, "capital": 1e7, "reward_scale": 1.0}
    tree["run"] |= {"total_steps": 64, "checkpoint_every_steps": 64}
    tree["market"]["action"] |= {"sizes": [1.0, 3.0], "max_qty": 6.0}
    seen = {"dataset": "made-trades", "features": ["trade_imbalance:20"], "traded": False}
    tree["market"]["views"] = [seen] if kind == "L3" else []
    tree["market"]["trades"] = [] if kind == "L3" else ["made-trades"]
    tree["venue"] = {"latency_ms": 20.0, "queue_position": kind == "quotes"}
    path = train(convert(tree, RunConfig, "test"), home, progress=False)
    m = Checkpoint.open(path).manifest
    assert m.data.others.keys() == {"made-trades"}
    assert m.market is not None
    assert m.market.instruments == (instrument.id,)
    result = evaluate(path, home, out=tmp_path / "out")
    assert sum(metrics.trades for metrics in result.facts.metrics.values()) > 10
    if kind == "L3":
        tree["market"]["trades"] = ["made-trades"]
        with pytest.raises(ConfigError, match="what is traded on quotes, which is nothing"):
            plan.make(convert(tree, RunConfig, "test"), home)


def test_market_trained_on_other_data_is_refused(
    home: Home, orders: Checkpoint, tmp_path: Path
) -> None:
    other = runs.home_with_data(tmp_path / "other")
    pound = Dataset.find(home.datasets, runs.POUND).manifest.instrument
    runs.save(other, markets.dataset(markets.bar_columns(900, 2, pound), pound, runs.POUND))
    with pytest.raises(DataError, match="tiny-gbp: the agent was trained on fingerprint"):
        evaluate(orders.path, other, out=tmp_path / "out")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("views", [{"dataset": "nowhere"}], "no dataset 'nowhere'"),
        ("views", [{"dataset": runs.POUND, "features": ["spread"]}], "reads bid_px, ask_px"),
        ("trades", [runs.POUND], r"market\.trades\[0\]: expected trades, found bars"),
        (
            "action",
            {"kind": "orders", "sizes": [0.1], "max_qty": 5.0},
            r"market\.action\.sizes: expected at least 1, the lot of EUR/USD\.SIM, found 0\.1",
        ),
    ],
)
def test_impossible_market_dies_before_anything_starts(
    home: Home, key: str, value: Any, said: str
) -> None:
    tree = runs.market_tree(home, "orders", "ppo")
    tree["name"] = "impossible"
    tree["market"][key] = value
    with pytest.raises((ConfigError, DataError), match=said):
        train(convert(tree, RunConfig, "test"), home, progress=False)
    assert not (home.runs / "impossible").exists()


def test_market_is_a_trial_of_a_training_grid(home: Home) -> None:
    config = config_of(home, "orders", "MaskablePPO", total_steps=128)
    said: list[Message] = []
    order = Order(
        trial="t0", attempt=1, config=dump(replace(config, name="t0")),
        validation=config.data.test, objective="sharpe", rungs=(), reported=(), parent="",
        params={}, commit="", cores=1,
    )  # fmt: skip
    work(order, home, said.append)
    assert isinstance(said[-1], Finished), said[-1]
    assert said[-1].outcome.validation["steps"] == 298
    assert said[-1].outcome.validation == said[-1].outcome.test


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("eurusd-googl-weights", "EUR/USD.SIM, GOOGL.SIM, eurusd-1h-2017"),
        ("eurusd-orders-maskable", "EUR/USD.SIM, eurusd-1h-2017"),
    ],
)
def test_commands_train_check_and_evaluate_real_markets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, said: str
) -> None:
    config, home = str(ROOT / "configs" / "train" / f"{file}.toml"), ["--home", str(tmp_path)]
    assert main(["data", "demo", *home]) == 0
    short = ["n_envs=1", "total_steps=256", "checkpoint_every_steps=256"]
    sets = [word for key in short for word in ("--set", f"run.{key}")]
    assert main(["train", config, "--quiet", *sets, *home]) == 0
    assert "action       " in capsys.readouterr().out
    assert main(["evaluate", str(tmp_path / "runs" / file), "--start", "2017-12-01",
                 "--end", "2017-12-21", *home]) == 0  # fmt: skip
    out = capsys.readouterr().out
    assert out.startswith(said)
    assert all(word in out for word in ("flat", "hold", "random", "untrained", "Sharpe", "report"))
    assert main(["check", "lookahead", config, "--cuts", "1", "--steps", "100", *home]) == 0
    assert "looks ahead" not in capsys.readouterr().out
