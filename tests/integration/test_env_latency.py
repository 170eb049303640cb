"""Latencies that are drawn: each order fills on the first quote at or after its own arrival."""

import numpy as np
import pytest

from envs.engine_build import build, feed_engine, free
from envs.engine_data import market_data
from envs.market import MarketEnv
from envs.schemes import Weights
from envs.trading import TradingEnv
from envs.views import Timer, View
from grid.errors import ConfigError
from grid.latency import Latency
from grid.node.links import LocalLink
from grid.venue import Venue, quotes_from_trades
from tests.support.markets import PAIR, bar_columns, dataset, quote_columns, spec_for, trade_columns

VENUE = Venue(latency_ms=2_000, latency_p99_ms=12_000, taker_fee_bps=0)
MARKETS = {"quotes": quote_columns, "trades": trade_columns}


def touches(columns):
    """Times, bids and asks that orders fill on."""
    if "bid_px" in columns:
        return columns["ts_event"], columns["bid_px"], columns["ask_px"]
    return columns["ts_event"], *quotes_from_trades(columns["price"], columns["side"], PAIR, VENUE)


def expected(columns, asked, seed):
    """What fills when, for (decision time, signed quantity) in order."""
    times, bid, ask = touches(columns)
    latency = Latency(VENUE, seed)
    fills = []
    for asked_ns, qty in asked:
        row = int(np.searchsorted(times, latency.due_ns(asked_ns), side="left"))
        if row < len(times):
            fills.append((int(times[row]), qty, float((ask if qty > 0 else bid)[row])))
    return fills


def play(env, seed, actions):
    """Orders as they were decided, and fills as the env tells them."""
    _, info = env.reset(options={"row": 20, "fill_seed": seed})
    asked, fills, wanted = [], [], 0.0
    for action in actions:
        target = (action - 1) * 10_000.0
        if target != wanted:
            asked.append((info["ts_event_ns"], target - wanted))
            wanted = target
        _, _, _, over, info = env.step(action)
        fills += [fill[:3] for fill in info["fills"]]
        if over:
            break
    return asked, fills


@pytest.mark.parametrize("kind", MARKETS)
@pytest.mark.parametrize("every", [1, 4])
def test_order_fills_on_the_first_quote_at_or_after_its_drawn_arrival(kind, every):
    columns = MARKETS[kind]()
    data = dataset(columns)
    env = TradingEnv(data, spec_for(data, every=every), VENUE)
    actions = np.random.default_rng(1).integers(0, 3, 400 // every)
    asked, fills = play(env, 7, actions)
    again, other = play(env, 7, actions), play(env, 8, actions)
    env.close()
    assert len(fills) > 30
    want = expected(columns, asked, 7)
    # a fill on the very row where the episode ends is not told any more
    assert fills == want[: len(fills)]
    assert len(want) - len(fills) <= 8
    assert again == (asked, fills)
    assert other[1] != fills
    late = [ts - a for (ts, *_), (a, _) in zip(fills, asked, strict=False)]
    assert len(set(late)) > 5


def test_plain_run_of_the_engine_draws_the_same_latencies():
    data = dataset(quote_columns())
    spec = spec_for(data)
    env = TradingEnv(data, spec, VENUE)
    actions = np.random.default_rng(2).integers(0, 3, 300)
    _, fills = play(env, VENUE.fill_seed, actions)
    env.close()
    answers = iter(actions.tolist())
    link = LocalLink(lambda _: next(answers, 1) - 1.0)
    found = []
    link.filled = lambda qty, px, fee, event: found.append((event.ts_event, qty, px))
    engine, strategy = build(spec, data.manifest.instrument, VENUE, link)
    window = {k: v[20:] for k, v in data.columns.items()}
    events = market_data(data.manifest, window, "", VENUE)
    feed_engine(engine, strategy, VENUE, events, VENUE.fill_seed)
    engine.run()
    assert link.error is None
    assert found[: len(fills)] == fills
    free(engine, strategy, link)


def test_market_env_draws_a_latency_for_each_order():
    data = dataset(quote_columns(800))
    view = View("quotes", data, ("spread",), train_rows=(0, 100), window=2)
    env = MarketEnv([view], Weights(gross=1.0, band=0.0), VENUE)
    rng = np.random.default_rng(3)
    waits = []
    for seed in (1, 1, 2):
        env.reset(seed=seed)
        rng = np.random.default_rng(3)
        fills = []
        for _ in range(200):
            fills += env.step(rng.uniform(-1, 1, 1))[4]["fills"]
        waits.append([f.ts_event_ns - f.decided_ns for f in fills])
    env.close()
    assert waits[0] == waits[1]
    assert waits[0] != waits[2]
    assert min(waits[0]) > 0
    assert max(waits[0]) > 10 * min(waits[0])


def test_order_waits_for_a_new_quote_however_often_the_timer_asks():
    data = dataset(quote_columns(800))
    times = data.columns["ts_event"]
    view = View("quotes", data, ("spread",), train_rows=(0, 100), window=2)
    clock = Timer(seconds=0.5)
    venue = Venue(latency_ms=1_000)
    env = MarketEnv([view], Weights(gross=1.0, band=0.0), venue, clock=clock)
    rng = np.random.default_rng(3)
    env.reset(seed=1)
    fills = []
    for _ in range(200):
        fills += env.step(rng.uniform(-1, 1, 1))[4]["fills"]
    env.close()
    assert len(fills) > 100
    for fill in fills:
        row = int(np.searchsorted(times, fill.decided_ns + venue.latency_ns, side="left"))
        assert fill.ts_event_ns == times[row]


def test_drawn_latency_is_refused_where_bars_could_not_tell_it():
    data = dataset(bar_columns())
    with pytest.raises(ConfigError, match="expected a fixed latency"):
        TradingEnv(data, spec_for(data), VENUE)
    view = View("bars", data, ("log_return:1",), train_rows=(0, 100))
    with pytest.raises(ConfigError, match="expected a fixed latency"):
        MarketEnv([view], Weights(), VENUE)
