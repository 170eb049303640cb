"""What holding a position costs, by hand: funding, and interest of what is borrowed."""

import numpy as np
import pytest

from agents.grids import node_setup
from envs.engine_build import build, feed_engine, free
from envs.engine_data import market_data
from envs.market import MarketEnv
from envs.schemes import Weights
from envs.trading import TradingEnv
from envs.views import View
from grid.config import load
from grid.errors import ConfigError
from grid.financing import charges
from grid.node.links import LocalLink
from grid.topology import GridConfig
from grid.venue import Venue
from tests.support.grids import Grid
from tests.support.markets import bar_columns, dataset, quote_columns, spec_for

HOUR_NS = 3_600_000_000_000
FREE = {"taker_fee_bps": 0.0, "latency_ms": 0.0}


def flat_quotes(n=60):
    """A quote each half hour from midnight on, at 1.00 without a spread, but for the first rows."""
    columns = quote_columns(n)
    columns["ts_event"] = np.arange(n) * HOUR_NS // 2 + 18_262 * 24 * HOUR_NS
    for side in ("bid", "ask"):
        columns[f"{side}_px"] = np.where(np.arange(n) < 12, columns[f"{side}_px"], 1.0)
        columns[f"{side}_qty"] = np.full(n, 1e9)
    return dataset(columns)


@pytest.mark.parametrize(
    ("keys", "notionals", "equity", "want"),
    [
        ({"funding_bps": 1.0}, [200_000.0], 1e5, [20.0]),
        ({"funding_bps": 1.0}, [-200_000.0], 1e5, [-20.0]),
        ({"funding_bps": -2.0}, [100_000.0, -50_000.0], 1e5, [-20.0, 10.0]),
        ({"borrow_bps": 365.0, "settle_every_h": 24.0}, [-100_000.0], 1e5, [10.0]),
        ({"borrow_bps": 365.0, "settle_every_h": 24.0}, [100_000.0], 1e5, [0.0]),
        ({"borrow_bps": 365.0, "settle_every_h": 24.0}, [300_000.0], 1e5, [20.0]),
        ({"borrow_bps": 365.0, "settle_every_h": 24.0}, [3e5, 1e5, -1e5], 2e5, [15.0, 5.0, 10.0]),
        ({"borrow_bps": 365.0, "settle_every_h": 24.0}, [1e5], -5.0, [10.0]),
    ],
)
def test_charges_by_hand(keys, notionals, equity, want):
    assert charges(Venue(**keys), notionals, equity) == pytest.approx(want)


@pytest.mark.parametrize(
    ("action", "paid"),
    [
        # long 200,000: funding 20.00; interest of the 100,000 beyond equity, 3.65 % for 8 hours of
        # 8,760: 3.33; the next time equity is less by what was paid, and the interest still 3.33
        (2, [23.33, 46.66, 69.99]),
        # short: 20.00 received, 6.67 paid for 200,000 units borrowed
        (0, [-13.33, -26.66, -39.99]),
    ],
)
def test_env_charges_at_each_settlement_and_the_reward_sees_it(action, paid):
    venue = Venue(funding_bps=1.0, borrow_bps=365.0, **FREE)
    data = flat_quotes()
    env = TradingEnv(data, spec_for(data, max_qty=200_000.0), venue, reward="profit",
                     keep_history=True)  # fmt: skip
    _, info = env.reset(options={"row": 14})  # 07:00, the first settlement is at 08:00
    assert info["funding"] == 0.0
    rewards, funding = {}, {}
    over = False
    while not over:
        _, reward, _, over, info = env.step(action)
        hour = info["ts_event_ns"] / HOUR_NS - 18_262 * 24
        rewards[hour], funding[hour] = reward, info["funding"]
    assert info["equity"] == pytest.approx(100_000.0 - paid[2])
    # what is due at 08:00 shows at the first decision after it
    assert [funding[h] for h in (8.0, 8.5, 16.0, 16.5, 24.0, 24.5, 29.5)] == pytest.approx(
        [0.0, paid[0], paid[0], paid[1], paid[1], paid[2], paid[2]]
    )
    steps = [-paid[0], paid[0] - paid[1], paid[1] - paid[2]]
    assert [rewards[h] * 1e5 for h in (8.5, 16.5, 24.5)] == pytest.approx(steps)
    assert sum(abs(r) > 1e-12 for r in rewards.values()) == 3
    account = env.reports()["account"]
    assert float(account["total"].iloc[-1]) == pytest.approx(info["equity"])
    env.close()


def test_position_that_is_closed_in_time_is_not_charged():
    venue = Venue(funding_bps=1.0, **FREE)
    data = flat_quotes()
    env = TradingEnv(data, spec_for(data), venue)
    env.reset(options={"row": 14})
    env.step(2)  # 07:00, filled at 07:30
    *_, info = env.step(1)
    while not info["ts_event_ns"] % (24 * HOUR_NS) > 12 * HOUR_NS:
        *_, info = env.step(1)
    env.close()
    assert info["position_qty"] == 0.0
    assert info["funding"] == 0.0


@pytest.mark.parametrize("kind", ["bars", "quotes"])
def test_plain_run_of_the_engine_is_charged_the_same(kind):
    venue = Venue(funding_bps=-3.0, borrow_bps=500.0, settle_every_h=1.0 / 60.0)
    data = dataset(bar_columns() if kind == "bars" else quote_columns())
    spec = spec_for(data, max_qty=150_000.0)
    actions = np.random.default_rng(5).integers(0, 3, 200)
    actions[np.random.default_rng(6).random(200) < 0.7] = 2
    env = TradingEnv(data, spec, venue)
    env.reset(options={"row": 20})
    trail = []
    for action in actions:
        info = env.step(int(action))[4]
        trail.append((info["equity"], info["funding"], info["position_qty"]))
    env.close()
    assert trail[-1][1] != 0.0

    answers, seen = iter(actions.tolist()), []
    prices = data.columns["close"] if kind == "bars" else (
        (data.columns["bid_px"] + data.columns["ask_px"]) / 2.0
    )  # fmt: skip

    def decide(strategy):
        ledger = strategy.ledger
        seen.append((ledger.equity(float(prices[20 + len(seen)])), ledger.funding,
                     ledger.position_qty))  # fmt: skip
        action = next(answers, None)
        return None if action is None else action - 1.0

    link = LocalLink(decide)
    engine, strategy = build(spec, data.manifest.instrument, venue, link)
    window = {k: v[20:] for k, v in data.columns.items()}
    events = market_data(data.manifest, window, spec.bar_type, venue)
    feed_engine(engine, strategy, venue, events, 0)
    engine.run()
    assert link.error is None
    assert seen[1 : len(trail) + 1] == trail
    free(engine, strategy, link)


def test_market_env_charges_what_each_instrument_holds():
    data = flat_quotes()
    view = View("quotes", data, ("log_return:1",), train_rows=(0, 20), window=2)
    env = MarketEnv([view], Weights(gross=1.0, band=0.0), Venue(funding_bps=1.0, **FREE))
    env.reset(options={"decision": 12})
    over = False
    while not over:
        *_, over, info = env.step(np.array([-1.0]))
    env.close()
    assert info["positions"]["EUR/USD.SIM"] < -90_000
    assert info["funding"] == pytest.approx(-30.0, abs=0.1)  # three times 10 received
    assert info["equity"] == pytest.approx(100_000.0 - info["funding"], abs=1e-6)


def test_nothing_is_charged_by_default():
    assert not Venue().charges


def test_live_node_refuses_what_it_cannot_charge(tmp_path, addresses):
    grid = Grid(tmp_path, addresses, venue=Venue(funding_bps=1.0))
    with pytest.raises(ConfigError, match="a live node cannot charge funding and borrowing"):
        node_setup(load(grid.config, GridConfig), grid.home, "node")
