"""Decisions between the market's events: on a timer, and on bars made of ticks."""

import msgspec
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from agents import plan
from agents.config import RunConfig
from envs.made_bars import bars_of
from envs.market import MarketEnv
from envs.pipeline import fit
from envs.schemes import Weights
from envs.trading import TradingEnv
from envs.views import View
from grid.config import convert
from grid.errors import ConfigError, DataError
from grid.spec import Spec, TargetRule
from grid.venue import Venue, quotes_from_trades
from tests.support.markets import (
    PAIR,
    bar_columns,
    dataset,
    depth_columns,
    quote_columns,
    spec_for,
    trade_columns,
)
from tests.support.runs import home_with_data, run_tree

SECOND_NS = 1_000_000_000
VENUE = Venue(latency_ms=1_500, taker_fee_bps=0)
MARKETS = {"quotes": quote_columns, "trades": trade_columns}
CLOCKS = {
    "timer": {"timer_s": 4.0},
    "bars": {"bar": "4-SECOND-MID"},
    "every third bar": {"bar": "4-SECOND-MID", "every": 3},
}


def made(kind, clock):
    keys = dict(CLOCKS[clock])
    if kind == "trades" and "bar" in keys:
        keys["bar"] = "4-SECOND-LAST"
    data = dataset({**MARKETS, "depth": depth_columns}[kind](900))
    return data, spec_for(data, **keys)


def touches(columns):
    if "bid_px" in columns:
        return columns["ts_event"], columns["bid_px"], columns["ask_px"]
    return columns["ts_event"], *quotes_from_trades(columns["price"], columns["side"], PAIR, VENUE)


@pytest.mark.parametrize("kind", MARKETS)
@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("busy", [0.1, 1.0])
def test_orders_of_a_clock_fill_on_the_first_quote_after_their_arrival(kind, clock, busy):
    data, spec = made(kind, clock)
    env = TradingEnv(data, spec, VENUE)
    rng = np.random.default_rng(3)
    _, info = env.reset()
    decided, asked, fills, action, wanted, over = [], [], [], 1, 0.0, False
    while not over:
        decided.append(info["ts_event_ns"])
        action = int(rng.integers(3)) if rng.random() < busy else action
        if (target := (action - 1) * 10_000.0) != wanted:
            asked.append((info["ts_event_ns"], target - wanted))
            wanted = target
        _, _, _, over, info = env.step(action)
        fills += [fill[:3] for fill in info["fills"]]
    env.close()
    times, bid, ask = touches(data.columns)
    want = []
    for asked_ns, qty in asked:
        row = int(np.searchsorted(times, asked_ns + VENUE.latency_ns, side="left"))
        if row < len(times):
            want.append((int(times[row]), qty, float((ask if qty > 0 else bid)[row])))
    assert len(fills) > 3
    assert fills == want[: len(fills)]
    assert len(want) - len(fills) <= 2
    assert set(np.array(decided) % (4 * SECOND_NS)) == {0}
    between = np.diff(np.searchsorted(times, decided, side="right"))
    assert (between >= spec.every).all()  # since each there was something new


@pytest.mark.parametrize("kind", [*MARKETS, "depth"])
def test_timer_shows_the_newest_row_and_marks_at_its_price(kind):
    data, spec = made(kind, "timer")
    env, plain = TradingEnv(data, spec, VENUE), None
    times = data.columns["ts_event"]
    obs, info = env.reset(options={"row": 100})
    seen = []
    for _ in range(40):
        row = int(np.searchsorted(times, info["ts_event_ns"], side="right")) - 1
        assert info["row"] == row
        seen.append((row, obs.tobytes(), info["price"]))
        obs, _, _, _, info = env.step(1)
    env.close()
    by_row = fit(data, (0, 450), features=spec.features, window=4, target=spec.target)
    plain = TradingEnv(data, by_row, VENUE)
    for row, window, price in seen:
        obs, info = plain.reset(options={"row": row})
        assert (obs.tobytes(), info["price"]) == (window, price)
    plain.close()


def test_made_bars_give_the_observations_of_given_ones():
    data, spec = made("quotes", "bars")
    env = TradingEnv(data, spec, VENUE)
    bars = bars_of(data, "4-SECOND-MID")
    obs, info = env.reset(options={"row": 50})
    assert info["ts_event_ns"] == bars.columns["ts_event"][50]
    assert info["price"] == bars.columns["close"][50]
    env.close()
    again = TradingEnv(bars, spec, VENUE)  # made before: the same
    assert again.reset(options={"row": 50})[0].tobytes() == obs.tobytes()
    again.close()


@pytest.mark.parametrize("clock", ["timer", "bars"])
def test_env_with_a_clock_passes_the_checker_and_repeats_itself(clock):
    data, spec = made("quotes", clock)
    env = TradingEnv(data, spec, VENUE, steps=30, observation="index")
    check_env(env, skip_render_check=True)
    trails = []
    for seed in (1, 1, 2):
        obs, _ = env.reset(seed=seed)
        trails.append([obs.tobytes()] + [env.step(k % 3)[0].tobytes() for k in range(30)])
    env.close()
    assert trails[0] == trails[1]
    assert trails[0] != trails[2]


def test_clocks_that_cannot_be_are_one_sentence():
    keys = {"instrument_id": "X.Y", "features": ("spread",), "mean": (0.0,), "std": (1.0,),
            "target": TargetRule(max_qty=1.0)}  # fmt: skip
    for wrong, said in (
        (
            {"rows": "bar", "timer_s": 5},
            "expected rows of quotes, trades or depth; bars are a clock",
        ),
        ({"rows": "quote", "timer_s": 5, "every": 2}, "expected 1 beside timer_s, found 2"),
        ({"rows": "quote", "bars_from": "quote"}, "expected rows of bars, found quote"),
    ):
        with pytest.raises(ValueError, match=said):
            Spec(**keys, **wrong)
    data, spec = made("quotes", "bars")
    with pytest.raises(ConfigError, match="bars 4-SECOND-MID made of bars: expected quotes or"):
        TradingEnv(dataset(bar_columns()), spec, VENUE)
    with pytest.raises(ConfigError, match="expected rows as they were given, found bars made of"):
        TradingEnv(bars_of(data, spec.bar), msgspec.structs.replace(spec, bars_from=""), VENUE)
    with pytest.raises(ConfigError, match="test: timer_s: expected rows of quotes, trades or d"):
        spec_for(dataset(bar_columns()), timer_s=5.0)
    slow = spec_for(data, timer_s=1e6)
    with pytest.raises(DataError, match="expected two decisions or more, every 1e\\+06 s"):
        TradingEnv(data, slow, VENUE)


@pytest.mark.parametrize("clock", [{"bar": "4-SECOND-MID"}, {"timer_s": 4.0}])
def test_training_config_names_the_clock(tmp_path, clock):
    home = home_with_data(tmp_path, quote_columns(900))
    tree = run_tree(home)
    tree["env"] |= {"features": ["log_return:1"], **clock}
    tree["data"]["dataset"] = "tiny"
    planned = plan.make(convert(tree, RunConfig, "test"), home)
    assert (planned.spec.bars_from, planned.spec.timer_s) == (
        ("quote", 0.0) if "bar" in clock else ("", 4.0)
    )
    env = planned.recipe.make()
    env.reset(seed=0)
    assert env.step(2)[4]["ts_event_ns"] % (4 * SECOND_NS) == 0
    env.close()
    with pytest.raises(ConfigError, match=r"env.timer_s: expected 0 beside"):
        convert({**tree, "env": {**tree["env"], "timer_s": 1.0, "every": 2}}, RunConfig, "test")


def test_market_env_fills_on_the_ticks_that_its_bars_are_made_of():
    data = dataset(quote_columns(900))
    view = View("bars", bars_of(data, "4-SECOND-MID"), ("log_return:1",), train_rows=(0, 100))
    env = MarketEnv([view], Weights(gross=0.1, band=0.0), VENUE)
    env.reset()
    fills = [f for k in range(60) for f in env.step(np.array([(-1.0) ** k]))[4]["fills"]]
    env.close()
    times, bid, ask = touches(data.columns)
    assert len(fills) > 50
    for fill in fills:
        row = int(np.searchsorted(times, fill.decided_ns + VENUE.latency_ns, side="left"))
        touch = (ask if fill.signed_qty > 0 else bid)[row]
        assert (fill.ts_event_ns, fill.px) == (times[row], touch)
