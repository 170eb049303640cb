"""The look-ahead check: clean envs pass, and every planted leak is caught by its name."""

import sys
from types import ModuleType

import numpy as np
import pytest

import launch
from agents.plan import unit_scale
from envs.features.kernel import REGISTRY
from envs.lookahead.altered import altered
from envs.lookahead.check import Learned, Subject, check
from envs.lookahead.report import render, sentence
from envs.made_bars import seen
from envs.pipeline import fit
from envs.trading import TradingEnv
from grid.errors import DataError
from grid.spec import TargetRule
from grid.venue import Venue
from tests.support.markets import (
    BAR_FEATURES,
    QUOTE_FEATURES,
    bar_columns,
    dataset,
    quote_columns,
    spec_for,
    trade_columns,
)
from tests.support.runs import home_with_data, run_tree

TRAIN = (0, 250)
MARKETS = {"bars": (bar_columns, BAR_FEATURES), "quotes": (quote_columns, QUOTE_FEATURES)}
LEAKS = """
import numpy as np
from envs.features.kernel import feature

@feature("log return", ("close",), lambda: 1)
def next_return(rows):
    close = rows["close"]
    return np.append(np.log(close[1:] / close[:-1]), 0.0)

@feature("share of price", ("close",), lambda: 1)
def centered_mean(rows):
    close = rows["close"]
    return np.convolve(close, np.ones(5) / 5, "same") / close - 1.0

@feature("standard deviations", ("close",), lambda: 1)
def whole_sample(rows):
    close = rows["close"]
    return (close - close.mean()) / close.std()

@feature("log seconds", ("ts_event",), lambda: 1)
def until_next(rows):
    return np.log1p(np.append(np.diff(rows["ts_event"]), 0) / 1e9)

@feature("share", ("open", "close"), lambda: 1)
def direction_of_next(rows):
    return np.append(np.sign(rows["close"][1:] - rows["open"][1:]), 0.0)

@feature("share", ("volume",), lambda: 1)
def volume_after(rows):
    return np.append(np.log1p(rows["volume"][1:]), 0.0)
"""
VENUE = Venue(latency_ms=500)


@pytest.fixture
def leaks(tmp_path, monkeypatch):
    """The module `leaks` with planted features; forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "leaks.py").write_text(LEAKS)
    names = set(REGISTRY)
    yield
    sys.modules.pop("leaks", None)
    for name in set(REGISTRY) - names:
        del REGISTRY[name]


def subject(kind="bars", *, features=(), fit_rows=TRAIN, venue=VENUE, made=TradingEnv, **options):
    """An honest subject, but for what a test plants."""
    columns, shipped = MARKETS[kind]
    data = dataset(columns())
    every = options.pop("every", 1)
    target = options.pop("target", TargetRule(max_qty=10_000.0))

    def learn(data):
        spec = fit(
            data, fit_rows, features=shipped + features, window=4, target=target, every=every
        )
        return Learned(spec, unit_scale(data, TRAIN, spec))

    def build(data, learned, steps):
        scale = learned.reward_scale
        return made(data, learned.spec, venue, steps=steps, reward_scale=scale, **options)

    return Subject(data, TRAIN, learn, build)


def caught(subject):
    report = check(subject, cuts=3, steps=60, seed=1)
    return [c.what for c in report.wrong], sentence(report)


@pytest.mark.parametrize("kind", MARKETS)
@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("reward", ["log_equity", "differential_sharpe", "execution_shortfall"])
def test_honest_env_passes_and_much_was_compared(kind, every, reward):
    report = check(subject(kind, every=every, reward=reward), cuts=4, steps=50, seed=3)
    assert sentence(report) == ""
    assert report.futures == 8
    compared = {name: c.compared for name, c in report.checks.items()}
    features = [f"feature {name}" for name in MARKETS[kind][1]]
    assert set(compared) == {
        *features, "normalization", "reward scale", "account", "reward", "fills", "fill time",
        "fill price",
    }  # fmt: skip
    assert compared["reward"] == 8 * 50
    assert compared["fill price"] >= 20
    assert all(compared[f] > 8 * 50 for f in features)
    assert "with 8 altered futures" in render(report)


@pytest.mark.parametrize("kind", MARKETS)
def test_honest_env_whose_fills_depend_on_chance_passes(kind):
    venue = Venue(latency_ms=500, slippage_prob=0.5, depth_qty=3_000.0)
    assert caught(subject(kind, venue=venue)) == ([], "")


@pytest.mark.parametrize("clock", [{}, {"timer_s": 4.0}, {"bar": "4-SECOND-LAST"}])
def test_trades_and_clocks_pass_and_a_leak_is_caught(leaks, clock):
    def about(*features):
        data = dataset(trade_columns(1_200))
        spec = spec_for(data, **clock)
        data = seen(data, spec)

        def learn(data):
            names = (*spec.features, *features)
            keys = {"window": 4, "target": spec.target, "timer_s": spec.timer_s}
            return Learned(fit(data, TRAIN, features=names, **keys), 1.0)

        def build(data, learned, steps):
            return TradingEnv(data, learned.spec, VENUE, steps=steps)

        return Subject(data, TRAIN, learn, build)

    assert caught(about()) == ([], "")
    what, _ = caught(about("leaks:next_return"))
    assert "feature leaks:next_return" in what


def test_honest_env_with_continuous_targets_passes():
    target = TargetRule(max_qty=10_000.0, kind="continuous")
    assert caught(subject(target=target)) == ([], "")


@pytest.mark.parametrize(
    "name", ["next_return", "centered_mean", "whole_sample", "until_next", "direction_of_next",
             "volume_after"],
)  # fmt: skip
def test_feature_that_reads_later_rows_is_named_with_its_row(leaks, name):
    what, said = caught(subject(features=(f"leaks:{name}",)))
    # its normalization knows the first row after training, too
    assert [w for w in what if w != "normalization"] == [f"feature leaks:{name}"]
    assert f"feature leaks:{name}: at row " in said
    assert "changes when only rows after " in said


def test_feature_that_reads_one_row_ahead_is_caught_at_the_cut_itself(leaks):
    report = check(subject(features=("leaks:next_return",)), cuts=1, steps=60, seed=1)
    wrong = report.checks["feature leaks:next_return"].wrong
    assert wrong == "at row 249 changes when only rows after 249 do"


def test_normalization_fitted_on_all_rows_is_caught():
    what, said = caught(subject(fit_rows=(0, 400)))
    assert what == ["normalization"]
    assert said == (
        "normalization: that of log_return:1 changes with rows after 249, the last of training"
    )


def test_reward_scale_fitted_on_all_rows_is_caught():
    honest = subject()

    def learn(data):
        spec = honest.learn(data).spec
        return Learned(spec, unit_scale(data, (0, data.manifest.rows), spec))

    what, _ = caught(Subject(honest.dataset, TRAIN, learn, honest.build))
    assert what == ["reward scale"]


def test_reward_that_uses_the_next_close_is_caught(monkeypatch):
    module = ModuleType("leaky_reward")
    monkeypatch.setitem(sys.modules, "leaky_reward", module)
    honest = subject(reward="leaky_reward:next_close")

    def build(data, learned, steps):
        module.env = None
        env = honest.build(data, learned, steps)
        module.env = env
        return env

    def next_close(step):
        env = module.env
        return float(env.dataset.columns["close"][env._row + 1]) * step.equity

    module.next_close = next_close
    what, said = caught(Subject(honest.dataset, TRAIN, honest.learn, build))
    assert what == ["reward"]
    assert said.startswith("reward: at row ")


class MarkedAtTheNextPrice(TradingEnv):
    """Values its position at a price that is not known yet."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._prices = [*self._prices[1:], self._prices[-1]]


class ShowsTheNextRow(TradingEnv):
    """Its windows end a row too late."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        shown = self._observe
        self._observe = lambda row: shown(row + 1)


class FillsAtThePriceShown(TradingEnv):
    """Says that orders fill at the close on which they were decided."""

    def step(self, action):
        shown = self._prices[self._row - self._first]
        obs, reward, terminated, truncated, info = super().step(action)
        info["fills"] = [fill._replace(px=shown) for fill in info["fills"]]
        return obs, reward, terminated, truncated, info


def test_account_marked_at_the_next_price_is_caught():
    what, _ = caught(subject(made=MarkedAtTheNextPrice))
    assert what == ["account", "reward"]


def test_observation_that_ends_a_row_too_late_is_caught_by_feature():
    what, said = caught(subject(made=ShowsTheNextRow))
    assert "feature log_return:1" in what
    assert "reward" not in what
    assert "feature log_return:1: at row 249 changes when only rows after 249 do" in said


@pytest.mark.parametrize("kind", MARKETS)
def test_fill_at_the_price_just_shown_is_caught(kind):
    what, said = caught(subject(kind, made=FillsAtThePriceShown))
    assert what == ["fill price"]
    assert "the market at the fill, found 1." in said


@pytest.mark.parametrize("kind", MARKETS)
def test_engine_that_fills_at_once_is_caught(kind, monkeypatch):
    monkeypatch.setattr("envs.engine_build.StaticLatencyModel", lambda _: None)
    what, said = caught(subject(kind))
    assert what == ["fill time", "fill price"]
    assert "expected a fill later than its decision, by 500 ms or more, found 0 ms" in said
    assert "of a quote that was on view at the decision" in said


def test_dataset_too_short_to_play_is_refused():
    data = dataset(bar_columns(40))
    honest = subject()
    with pytest.raises(DataError, match="expected rows for one decision before the end of train"):
        check(Subject(data, (0, 14), lambda d: honest.learn(honest.dataset), honest.build))


@pytest.mark.parametrize("kind", MARKETS)
@pytest.mark.parametrize("direction", [1, -1])
def test_altered_future_is_another_market_with_the_same_past(kind, direction):
    data = dataset(MARKETS[kind][0]())
    future = altered(data, 100, direction, seed=2).columns
    for name, values in data.columns.items():
        assert future[name][:101].tobytes() == values[:101].tobytes()
        assert (future[name][101:] != values[101:]).mean() > 0.95
    assert (np.diff(future["ts_event"]) > 0).all()
    if kind == "bars":
        assert (future["high"] >= np.maximum(future["open"], future["close"])).all()
        assert (future["low"] <= np.minimum(future["open"], future["close"])).all()
        first = "close"
    else:
        assert (future["ask_px"] >= future["bid_px"]).all()
        first = "bid_px"
    assert np.sign(future[first][101] / data.columns[first][100] - 1.0) == direction
    prices = [n for n in future if n in ("open", "high", "low", "close", "bid_px", "ask_px")]
    for name in prices:
        assert (np.round(future[name], 5) == future[name]).all()


def test_command_prints_the_table_and_tells_by_its_exit_code(leaks, tmp_path, capsys):
    home = home_with_data(tmp_path / "home")
    tree = run_tree(home)
    config = tmp_path / "run.toml"
    env = tree["env"]
    config.write_text(
        f'name = "tiny"\n[data]\ndataset = "tiny"\ntrain = {tree["data"]["train"]}\n'
        f"test = {tree['data']['test']}\n[env]\nfeatures = {env['features']}\nwindow = 3\n"
        'steps = 50\n[env.target]\nmax_qty = 10000.0\n[algo]\nname = "ppo"\n'
        "[run]\ntotal_steps = 512\n"
    )
    command = ["check", "lookahead", str(config), "--home", str(home.root), "--steps", "50"]
    assert launch.main(command) == 0
    out = capsys.readouterr().out
    assert "feature momentum:5" in out
    assert "looks ahead" not in out
    leaky = ["--set", 'env.features=["log_return:1", "leaks:next_return"]']
    assert launch.main(command + leaky) == 1
    told = capsys.readouterr()
    assert "looks ahead" in told.out
    assert "feature leaks:next_return: at row " in told.err
