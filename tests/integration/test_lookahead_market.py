"""The look-ahead check of the general env: clean ones pass, planted leaks are caught by name."""

import sys
from types import ModuleType

import msgspec
import numpy as np
import pytest

from envs.features.kernel import REGISTRY
from envs.lookahead.market import MarketSubject, check_market
from envs.lookahead.report import render, sentence
from envs.market import MarketEnv
from envs.schemes import Orders, Weights
from envs.views import Timer, View
from grid.errors import ConfigError, DataError
from grid.venue import Venue
from tests.support.markets import MINUTE_NS, PAIR, bar_columns, dataset, quote_columns

VENUE = Venue(latency_ms=500)
POUND = msgspec.structs.replace(PAIR, id="GBP/USD.SIM", base_currency="GBP")
BARS = {
    "euro": dataset(bar_columns(400)),
    "pounds": dataset(bar_columns(400, seed=5, instrument=POUND), POUND, "pounds"),
}
QUOTES = {"quotes": dataset(quote_columns(600))}
TRAIN_ROWS = 250
WEIGHTS = Weights(gross=2.0)
ORDERS = Orders(
    sizes=(1_000.0, 5_000.0), max_qty=20_000.0, offsets_ticks=(5, 30), tifs=("GTC", "IOC")
)
LEAKS = """
import numpy as np
from envs.features.kernel import feature

@feature("log return", ("close",), lambda: 1)
def next_return(rows):
    close = rows["close"]
    return np.append(np.log(close[1:] / close[:-1]), 0.0)
"""


@pytest.fixture
def leaks(tmp_path, monkeypatch):
    """The module `market_leaks` with planted features; forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "market_leaks.py").write_text(LEAKS)
    names = set(REGISTRY)
    yield "market_leaks:next_return"
    sys.modules.pop("market_leaks", None)
    for name in set(REGISTRY) - names:
        del REGISTRY[name]


def subject(
    datasets=BARS, *, scheme=WEIGHTS, features=("log_return:1",), fit_rows=TRAIN_ROWS,
    made=MarketEnv, view=View, venue=VENUE, **options,
):  # fmt: skip
    """An honest subject, but for what a test plants."""

    def build(datasets, steps):
        views = [
            view(name, data, features, train_rows=(0, fit_rows), window=4)
            for name, data in datasets.items()
        ]
        return made(views, scheme, venue, steps=steps, **options)

    first = next(iter(datasets.values()))
    return MarketSubject(datasets, int(first.columns["ts_event"][TRAIN_ROWS]), build)


def caught(subject):
    report = check_market(subject, cuts=3, steps=40, seed=1)
    return [c.what for c in report.wrong], sentence(report)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("scheme", [WEIGHTS, ORDERS])
def test_honest_env_passes_and_much_was_compared(scheme, flat):
    report = check_market(
        subject(scheme=scheme, flat=flat, reward="execution_shortfall"), cuts=3, steps=40, seed=2
    )
    assert sentence(report) == ""
    compared = {name: c.compared for name, c in report.checks.items()}
    orders = {"orders"} if scheme is ORDERS and not flat else set()
    assert set(compared) == orders | {
        "feature euro.log_return:1", "feature pounds.log_return:1", "normalization", "account",
        "decisions", "mask", "reward", "fills", "fill time", "fill price",
    }  # fmt: skip
    assert compared["fill price"] > 60
    assert compared["feature euro.log_return:1"] > 6 * 40
    assert "with 6 altered futures" in render(report)


@pytest.mark.parametrize("scheme", [WEIGHTS, ORDERS])
@pytest.mark.parametrize("clock", [{}, {"clock": Timer(seconds=10.0)}])
def test_honest_env_on_quotes_passes(scheme, clock):
    assert caught(subject(QUOTES, scheme=scheme, features=("spread",), **clock)) == ([], "")


def test_honest_env_whose_fills_depend_on_chance_passes():
    venue = Venue(latency_ms=500, slippage_prob=0.5, depth_qty=3_000.0, limit_fill_prob=0.5)
    assert caught(subject(scheme=ORDERS, venue=venue)) == ([], "")


@pytest.mark.parametrize("instrument", [PAIR, POUND])
def test_env_with_longer_bars_seen_or_traded_passes(instrument):
    c = BARS["euro"].columns
    columns = {
        "ts_event": c["ts_event"][4::5], "open": c["open"][::5], "close": c["close"][4::5],
        "high": c["high"].reshape(-1, 5).max(axis=1), "low": c["low"].reshape(-1, 5).min(axis=1),
        "volume": c["volume"].reshape(-1, 5).sum(axis=1),
    }  # fmt: skip
    five = dataset(columns, instrument)
    manifest = msgspec.structs.replace(
        five.manifest, bar="5-MINUTE-LAST", interval_ns=5 * MINUTE_NS
    )
    both = {"euro": BARS["euro"], "five": msgspec.structs.replace(five, manifest=manifest)}
    assert caught(subject(both, fit_rows=50)) == ([], "")


def test_feature_that_reads_a_later_row_is_named_with_its_view(leaks):
    what, said = caught(subject(features=("log_return:1", leaks)))
    wrong = [w for w in what if w != "normalization"]  # which knows the first row after training
    assert wrong == [f"feature euro.{leaks}", f"feature pounds.{leaks}"]
    assert "changes when only rows after " in said


def test_normalization_fitted_on_later_rows_is_caught():
    what, said = caught(subject(fit_rows=390))
    assert "normalization" in what
    assert said.startswith("normalization: that of euro.log_return:1 changes with rows after the")


class ShowsTheNextRow(View):
    """Its windows end a row too late."""

    def show(self, row):
        return super().show(row + 1)


class MarkedAtTheNextPrice(MarketEnv):
    """Values positions at prices that are not known yet."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._tape.prices = np.concatenate([self._tape.prices[1:], self._tape.prices[-1:]])


class MasksByTheNextPrice(MarketEnv):
    """Forbids what would lose."""

    def action_masks(self):
        rises = self._tape.prices[self._at + 1] > self._tape.prices[self._at]
        return rises.astype(np.int8)


class FillsAtThePriceShown(MarketEnv):
    """Says that orders fill at the close on which they were decided."""

    def step(self, action):
        *rest, info = super().step(action)
        info["fills"] = [f._replace(px=self._player._executed(f).arrival_px) for f in info["fills"]]
        return *rest, info


class SaysThatItDecidedEarlier(MarketEnv):
    """Its orders are from a time at which nobody was asked."""

    def step(self, action):
        *rest, info = super().step(action)
        info["fills"] = [f._replace(decided_ns=f.decided_ns - 1) for f in info["fills"]]
        return *rest, info


def test_window_that_ends_a_row_too_late_is_caught_by_feature():
    what, _ = caught(subject(view=ShowsTheNextRow))
    assert what == ["feature euro.log_return:1", "feature pounds.log_return:1"]


def test_account_marked_at_the_next_price_is_caught():
    what, _ = caught(subject(made=MarkedAtTheNextPrice))
    assert {"account", "reward"} <= set(what)
    assert not [w for w in what if w.startswith("feature")]


def test_mask_that_knows_the_next_price_is_caught():
    assert caught(subject(made=MasksByTheNextPrice))[0] == ["mask"]


def test_reward_that_knows_the_next_price_is_caught(monkeypatch):
    module = ModuleType("leaky_market_reward")
    monkeypatch.setitem(sys.modules, "leaky_market_reward", module)

    class Watched(MarketEnv):
        def reset(self, **options):
            module.env = self
            return super().reset(**options)

    module.next_price = lambda step: float(module.env._tape.prices[module.env._at + 1, 0])
    what, _ = caught(subject(made=Watched, reward="leaky_market_reward:next_price"))
    assert what == ["reward"]


@pytest.mark.parametrize("scheme", [WEIGHTS, ORDERS])
def test_fill_at_the_price_just_shown_is_caught(scheme):
    what, said = caught(subject(scheme=scheme, made=FillsAtThePriceShown))
    assert what == ["fill price"]
    assert ", found 1." in said


def test_fill_without_its_decision_is_caught():
    what, said = caught(subject(made=SaysThatItDecidedEarlier))
    assert what == ["fill time"]
    assert "no decision was taken at " in said


@pytest.mark.parametrize("scheme", [WEIGHTS, ORDERS])
def test_engine_that_fills_at_once_is_caught(scheme, monkeypatch):
    monkeypatch.setattr("envs.engine_build.StaticLatencyModel", lambda _: None)
    monkeypatch.setattr("envs.stage.Courier", lambda *_: None)
    what, said = caught(subject(QUOTES, scheme=scheme))
    assert "fill time" in what
    assert "fill price" in what
    assert "of a quote that was on view at the decision" in said


def test_too_few_decisions_are_refused():
    with pytest.raises(DataError, match="before the end of training"):
        check_market(subject(), steps=390)
    with pytest.raises(ConfigError, match="at least one cut and one step"):
        check_market(subject(), cuts=0)


def test_age_of_an_order_is_measured_by_training_rows_only():
    env = subject(QUOTES, scheme=ORDERS, features=("spread",)).build(QUOTES, 5)
    times = env.times_ns
    env.close()
    fitted = times[times <= QUOTES["quotes"].columns["ts_event"][TRAIN_ROWS - 1]]
    assert env._tape.step_ns == int(np.median(np.diff(fitted))) != int(np.median(np.diff(times)))
