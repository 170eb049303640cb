"""What is wrong is one sentence, and leaves no engine behind: the next env works at once."""

import msgspec
import numpy as np
import pytest

from envs.made_bars import bars_of
from envs.market import MarketEnv
from envs.parallel import ParallelMarketEnv, Role
from envs.pipeline import fit
from envs.schemes import Weights
from envs.trading import TradingEnv
from envs.views import Timer, View
from grid.errors import ArgonautError, ConfigError, DataError
from grid.spec import TargetRule
from grid.venue import Venue
from tests.support.markets import (
    PAIR,
    bar_columns,
    dataset,
    quote_columns,
    spec_for,
    trade_columns,
)

VENUE = Venue(latency_ms=500)
MADE = {"bars": bar_columns, "quotes": quote_columns, "trades": trade_columns}
POUND = msgspec.structs.replace(PAIR, id="GBP/USD.SIM", base_currency="GBP")


def data_of(kind="bars", **changed):
    return dataset({**MADE[kind](300), **changed})


def spoiled(kind, field, row, value=np.nan):
    columns = MADE[kind](300)
    columns[field] = np.array(columns[field])
    columns[field][row] = value
    return dataset(columns)


def env_on(data, venue=VENUE, **options):
    return TradingEnv(data, spec_for(data_of(f"{data.manifest.kind}")), venue, **options)


def view_of(data, features=("log_return:1",), train_rows=(0, 100), **options):
    return View("view", data, features, train_rows=train_rows, **options)


def plain_fit(data, **changed):
    keys = {"features": ("log_return:1",), "window": 4, "target": TargetRule(max_qty=1e4)}
    return fit(data, changed.pop("rows", (0, 100)), **{**keys, **changed})


def later(data, years=1):
    columns = {**data.columns, "ts_event": data.columns["ts_event"] + years * 31_536_000 * 10**9}
    return dataset(columns, POUND, "pounds")


BAD = {
    # empty windows
    "no rows": (lambda: env_on(data_of(), rows=(50, 50)), DataError, "rows 50 to 50 of 300"),
    "rows beyond": (lambda: env_on(data_of(), rows=(0, 301)), DataError, "rows 0 to 301 of 300"),
    "rows backwards": (lambda: env_on(data_of(), rows=(90, 10)), DataError, "are no range"),
    "warm-up only": (lambda: env_on(data_of(), rows=(0, 10)), DataError, "no decision is left"),
    "no steps": (lambda: env_on(data_of(), steps=0), DataError, "1 to 286 steps .* found 0"),
    "too many steps": (lambda: env_on(data_of(), steps=999), DataError, "steps .* found 999"),
    "no training rows": (lambda: plain_fit(data_of(), rows=(40, 40)), DataError, "40 to 40 of 300"),
    "training beyond": (lambda: view_of(data_of(), train_rows=(0, 999)), DataError, "0 to 999 of"),
    "few training rows": (lambda: plain_fit(data_of(), rows=(0, 5)), ConfigError, "holds 5 rows"),
    "window of none": (lambda: plain_fit(data_of(), window=0), ConfigError, "window.*>= 1"),
    "every none": (lambda: plain_fit(data_of(), every=0), ConfigError, "every.*>= 1"),
    "no decisions": (
        lambda: MarketEnv([view_of(data_of())], Weights(), VENUE, span_ns=(0, 1)),
        DataError, "no two decision times",
    ),
    "sparse timer": (
        lambda: MarketEnv([view_of(data_of())], Weights(), VENUE, clock=Timer(seconds=1e9)),
        DataError, "two decision times",
    ),
    # rows that hold no number
    "NaN in a feature": (
        lambda: env_on(spoiled("bars", "close", 200)), DataError, "row 200: expected a finite close"
    ),
    "NaN beside the features": (
        lambda: env_on(spoiled("bars", "volume", 200)), DataError, "row 200: .* finite volume"
    ),
    "infinite quote": (
        lambda: env_on(spoiled("quotes", "ask_qty", 150, np.inf)), DataError, "row 150: .* finite"
    ),
    "NaN in a trade": (
        lambda: env_on(spoiled("trades", "price", 150)), DataError, "row 150: expected a finite"
    ),
    "NaN in a market": (
        lambda: MarketEnv([view_of(data_of())], Weights(), VENUE,
                          markets=[spoiled("bars", "open", 7)]),
        DataError, "row 7: expected a finite open, found nan",
    ),
    "NaN in a tick": (
        lambda: bars_of(spoiled("quotes", "bid_px", 9), "5-SECOND-MID"),
        DataError, "row 9: expected a finite bid_px",
    ),
    # features
    "unknown feature": (
        lambda: plain_fit(data_of(), features=("magic:3",)), ConfigError, "unknown feature 'magic'"
    ),
    "unknown in a spec": (
        lambda: TradingEnv(data_of(), msgspec.structs.replace(
            spec_for(data_of()), features=("magic",), mean=(0.0,), std=(1.0,)), VENUE),
        ConfigError, "unknown feature 'magic'",
    ),
    "feature of other rows": (
        lambda: plain_fit(data_of(), features=("spread",)), ConfigError, "bar rows do not have"
    ),
    "no features": (lambda: plain_fit(data_of(), features=()), ConfigError, "at least one"),
    # instruments without data
    "no view": (
        lambda: MarketEnv([view_of(data_of())], Weights(), VENUE,
                          markets=[data_of(), later(data_of())]),
        ConfigError, "no view of GBP/USD.SIM",
    ),
    "no rows of a market": (
        lambda: MarketEnv([view_of(data_of()), View("pound", data_of_pound(), ("log_return:1",),
                                                    train_rows=(0, 100))],
                          Weights(), VENUE, markets=[data_of(), later(data_of())]),
        DataError, r"pounds: no row of GBP/USD.SIM between 2020-01-01 .* where decisions are taken",
    ),
    "another instrument": (
        lambda: TradingEnv(dataset(bar_columns(300), POUND), spec_for(data_of()), VENUE),
        ConfigError, "expected EUR/USD.SIM, found GBP/USD.SIM",
    ),
    # the rest of what is handed over
    "unknown reward": (lambda: env_on(data_of(), reward="joy"), ConfigError, "reward 'joy'"),
    "unknown reward of a market": (
        lambda: MarketEnv([view_of(data_of())], Weights(), VENUE, reward="joy"),
        ConfigError, "unknown reward 'joy'",
    ),
    "unknown reward of a role": (
        lambda: ParallelMarketEnv({"a": Role(Weights(), "joy")}, [view_of(data_of())], VENUE),
        ConfigError, "unknown reward 'joy'",
    ),
    "negative fee": (
        lambda: env_on(data_of(), venue=Venue(taker_fee_bps=-1.0)), ConfigError, "taker_fee_bps"
    ),
    "probability of two": (
        lambda: MarketEnv([view_of(data_of())], Weights(), Venue(slippage_prob=2.0)),
        ConfigError, "slippage_prob",
    ),
    "short in a cash account": (
        lambda: env_on(data_of(), venue=Venue(account="cash")), ConfigError, "cannot go short"
    ),
    "latency to be measured": (
        lambda: env_on(data_of("quotes"), venue=Venue(latency_from="x")), ConfigError, "latency_f"
    ),
    "two of one instrument": (
        lambda: MarketEnv([view_of(data_of())], Weights(), VENUE, markets=[data_of(), data_of()]),
        ConfigError, "found EUR/USD.SIM twice",
    ),
}  # fmt: skip


def data_of_pound():
    return dataset(bar_columns(300), POUND, "pounds")


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_sentence_and_the_next_env_works(what):
    act, kind, said = BAD[what]
    with pytest.raises(kind, match=said) as caught:
        act()
    message = str(caught.value)
    assert isinstance(caught.value, ArgonautError)
    assert caught.value.exit_code == 2
    assert "\n" not in message
    # the error is still held, and with it whatever it was raised from
    env = env_on(data_of(), steps=5)
    env.reset(seed=0)
    for _ in range(5):
        *_, truncated, info = env.step(2)
    env.close()
    assert truncated
    assert info["position_qty"] == 10_000.0
    market = MarketEnv([view_of(data_of())], Weights(), VENUE, steps=3)
    market.reset(seed=0)
    market.step(np.array([0.5]))
    market.close()


@pytest.mark.parametrize("wrong", [3, -1, 0.5, np.nan, None, "long"])
def test_action_out_of_the_space_leaves_the_episode_as_it_was(wrong):
    env = env_on(data_of(), steps=20)
    trails = []
    for interrupted in (False, True):
        env.reset(seed=3)
        trail = []
        for k in range(20):
            if interrupted and k % 3 == 0:
                with pytest.raises(ConfigError, match="action: expected a whole number"):
                    env.step(wrong)
            obs, reward, *_, info = env.step(k % 3)
            trail.append((obs.tobytes(), reward, info["equity"]))
        trails.append(trail)
    env.close()
    assert trails[0] == trails[1]


def test_reset_at_a_row_that_is_not_there_leaves_the_episode_as_it_was():
    env = env_on(data_of(), steps=20)
    env.reset(seed=3)
    with pytest.raises(DataError, match="first row: expected 13 to 279, found 290"):
        env.reset(options={"row": 290})
    env.step(2)
    env.close()
