"""The env: Gymnasium's contract, honest fills, and the engine's own word on all of it."""

import gc
import sys
import threading

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from nautilus_trader.model import Venue as EngineVenue
from stable_baselines3.common.env_checker import check_env as check_sb3

from envs.engine import SteppedEngine
from envs.engine_build import build, free
from envs.engine_data import market_data
from envs.pipeline import as_rows
from envs.synthetic import write_synthetic
from envs.trading import TradingEnv
from grid.errors import ConfigError, DataError, EngineError
from grid.home import Home
from grid.node.links import LocalLink
from grid.venue import Venue, quotes_from_trades
from tests.support.markets import (
    MINUTE_NS,
    PAIR,
    bar_columns,
    dataset,
    quote_columns,
    spec_for,
    trade_columns,
)

VENUE = Venue(latency_ms=500)
MARKETS = {"bars": bar_columns, "quotes": quote_columns, "trades": trade_columns}


@pytest.fixture
def make():
    """Build envs that are closed at the end: one engine a process."""
    made = []

    def build_env(kind="bars", *, every=1, venue=VENUE, target=None, columns=None, **options):
        data = dataset(MARKETS[kind]() if columns is None else columns)
        env = TradingEnv(data, spec_for(data, every=every, **(target or {})), venue, **options)
        made.append(env)
        return env

    build_env.made = made
    yield build_env
    for env in made:
        env.close()


def play(env, seed):
    rng = np.random.default_rng(seed)
    obs, info = env.reset(seed=seed)
    trail = [(obs.tobytes(), info["row"])]
    while True:
        action = int(rng.integers(3)) if env.action_space.shape == () else rng.uniform(-1, 1, 1)
        obs, reward, terminated, truncated, info = env.step(action)
        trail.append((obs.tobytes(), reward, info["equity"], tuple(info["fills"])))
        if terminated or truncated:
            return trail


@pytest.mark.parametrize("kind", MARKETS)
@pytest.mark.parametrize("target", [{}, {"kind": "continuous", "min_trade_qty": 100.0}])
def test_env_passes_the_checkers_of_gymnasium_and_sb3(make, kind, target):
    env = make(kind, steps=50, target=target)
    check_env(env, skip_render_check=True)
    check_sb3(env)


def test_env_is_made_by_its_registered_name(tmp_path):
    write_synthetic("walk", "tape", Home(tmp_path), n=2_000, seed=1)
    env = gymnasium.make(
        "envs.registration:argonaut/Trading-v0",
        dataset="tape",
        home=tmp_path,
        features=("log_return:1", "volatility:20"),
        max_qty=1_000.0,
        steps=50,
    )
    obs, info = env.reset(seed=1)
    assert obs.shape == (16 * 2 + 4,)
    assert info["equity"] == 100_000.0
    env.close()


@pytest.mark.parametrize("kind", MARKETS)
def test_same_seed_gives_the_same_episode_bit_for_bit(make, kind):
    env = make(kind, steps=60)
    first, other, again = play(env, 3), play(env, 4), play(env, 3)
    assert first == again
    assert first != other
    env.close()
    assert play(make(kind, steps=60), 3) == first


@pytest.mark.parametrize("kind", MARKETS)
@pytest.mark.parametrize("every", [1, 3])
def test_stepped_run_equals_a_plain_run_with_the_same_decisions(kind, every):
    data = dataset(MARKETS[kind]())
    spec = spec_for(data, every=every)
    instrument = data.manifest.instrument
    events = market_data(data.manifest, data.columns, spec.bar_type, VENUE)
    decisions = 1 + (data.manifest.rows - 1) // every
    targets = np.random.default_rng(1).choice([-1.0, 0.0, 1.0], decisions).tolist()

    stepped = SteppedEngine(spec, instrument, VENUE, keep_history=True)
    stepped.start(data.manifest, data.columns)
    for target in targets[:-1]:
        stepped.step(target)
    with pytest.raises(EngineError, match="the data ended"):
        stepped.step(targets[-1])
    ours = _comparable(stepped.reports())
    ledger = stepped.ledger
    book = (ledger.cash, ledger.position_qty, ledger.fees, ledger.fills)
    stepped.close()

    answers = iter(targets)
    link = LocalLink(lambda _: next(answers), every)
    engine, strategy = build(spec, instrument, VENUE, link)
    engine.add_data(events, validate=False)
    engine.run()
    reports = {
        "orders": engine.generate_orders_report(),
        "fills": engine.generate_fills_report(),
        "positions": engine.generate_positions_report(),
        "account": engine.generate_account_report(EngineVenue(instrument.venue)),
    }
    assert next(answers, None) is None
    assert _comparable(reports) == ours
    ledger = strategy.ledger
    assert (ledger.cash, ledger.position_qty, ledger.fees, ledger.fills) == book
    assert ledger.fills > 20
    free(engine, strategy, link)


@pytest.mark.parametrize("kind", MARKETS)
@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("latency_ms", [0, 500, 9_000])
@pytest.mark.parametrize("busy", [0.02, 0.3, 1.0])
def test_env_that_runs_ahead_of_its_engine_equals_a_plain_run(make, kind, every, latency_ms, busy):
    venue = Venue(latency_ms=latency_ms)
    env = make(kind, every=every, venue=venue)
    data, spec = env.dataset, env.pipeline.spec
    rng = np.random.default_rng(2)
    _, info = env.reset()
    first, actions, trail, fills, over = info["row"], [1], [], [], False
    while not over:
        actions.append(int(rng.integers(3)) if rng.random() < busy else actions[-1])
        _, _, terminated, over, info = env.step(actions[-1])
        assert not terminated
        trail.append((info["equity"], info["position_qty"], info["fees"]))
        fills += [fill[:4] for fill in info["fills"]]
    env.close()

    ours = iter(actions[1:])
    price = as_rows(data.columns)["close"].tolist()
    seen = []

    def decide(strategy):
        ledger = strategy.ledger
        row = first + len(seen) * every
        seen.append((ledger.equity(price[row]), ledger.position_qty, ledger.fees))
        action = next(ours, None)
        return None if action is None else spec.target.levels[action]

    link = LocalLink(decide, every)
    filled = []
    link.filled = lambda qty, px, fee, event: filled.append((event.ts_event, qty, px, fee))
    engine, strategy = build(spec, data.manifest.instrument, venue, link)
    window = {k: v[first:] for k, v in data.columns.items()}
    engine.add_data(market_data(data.manifest, window, spec.bar_type, venue), validate=False)
    engine.run()
    assert seen[1 : len(trail) + 1] == trail
    assert filled[: len(fills)] == fills
    assert len(fills) > 1
    free(engine, strategy, link)


def _comparable(reports):
    """The reports as text, without what holds UUIDs: some columns, and the ids of snapshots."""
    random = ["event_id", "init_id", "events", "adjustments"]
    frames = {name: f.drop(columns=random, errors="ignore") for name, f in reports.items()}
    texts = {name: f.to_csv(index=name != "positions") for name, f in frames.items()}
    # positions of one time stand in the order of their UUIDs
    return {name: sorted(text.splitlines()) for name, text in texts.items()}


@pytest.mark.parametrize("kind", MARKETS)
def test_no_order_fills_at_a_price_that_the_agent_had_been_shown(make, kind):
    env = make(kind)
    columns = quoted = env.dataset.columns
    if kind == "trades":
        made = quotes_from_trades(columns["price"], columns["side"], PAIR, VENUE)
        quoted = dict(zip(("bid_px", "ask_px"), made, strict=True))
    _, info = env.reset(seed=0)
    decided, fills = [info["ts_event_ns"]], 0
    for k in range(200):
        _, _, _, _, info = env.step(k % 3)
        for fill in info["fills"]:
            fills += 1
            asked_ns = (
                decided[-1]
                if kind == "bars"
                else max(d for d in decided if d + VENUE.latency_ns <= fill.ts_event_ns)
            )
            assert fill.ts_event_ns >= asked_ns + VENUE.latency_ns
            side = "ask" if fill.signed_qty > 0 else "bid"
            if kind == "bars":
                row = int(np.searchsorted(columns["ts_event"], fill.ts_event_ns))
                opening = columns["open"][row]
                half = opening * VENUE.half_spread_bps * 1e-4
                worst = 1.01e-5  # one tick of outward rounding
                assert 0 <= (fill.px - opening) * np.sign(fill.signed_qty) - half <= worst
                assert fill.px != columns["close"][row - 1]
            else:
                row = int(np.searchsorted(columns["ts_event"], fill.ts_event_ns))
                assert columns["ts_event"][row] == fill.ts_event_ns
                assert fill.px == quoted[f"{side}_px"][row]
        decided.append(info["ts_event_ns"])
    assert fills > 50


@pytest.mark.parametrize("kind", MARKETS)
def test_no_latency_at_all_still_means_the_next_quote(make, kind):
    env = make(kind, venue=Venue(latency_ms=0))
    _, info = env.reset(seed=0)
    decided = info["ts_event_ns"]
    fills = []
    while not fills:
        _, _, _, _, info = env.step(2)
        fills = info["fills"]
    columns = env.dataset.columns
    assert fills[0].ts_event_ns > decided
    row = int(np.searchsorted(columns["ts_event"], decided, side="right"))
    after = columns[{"bars": "open", "quotes": "ask_px", "trades": "price"}[kind]][row]
    assert fills[0].px == pytest.approx(after, abs=7e-5)
    assert fills[0].px >= after


def test_costs_are_on_by_default_and_charged(make):
    env = make(venue=Venue())
    env.reset(seed=0)
    _, _, _, _, info = env.step(2)
    assert Venue().latency_ns > 0
    fill = info["fills"][0]
    assert fill.commission == pytest.approx(fill.px * 10_000 * 0.5e-4, abs=0.005)
    assert info["fees"] == fill.commission


@pytest.mark.parametrize("kind", MARKETS)
def test_ledger_agrees_with_the_engines_account(make, kind):
    env = make(kind, keep_history=True)
    env.reset(seed=0)
    for k in range(150):
        env.step(k % 3)
    env.step(1)
    _, _, _, _, info = env.step(1)
    while info["position_qty"] != 0.0:
        _, _, _, _, info = env.step(1)
    account = env.reports()["account"]
    # the engine rounds each realized profit to cents
    assert info["equity"] == pytest.approx(float(account["total"].iloc[-1]), abs=0.005 * 155)
    assert info["equity"] != env.pipeline.spec.capital


def test_reward_is_the_change_of_log_equity(make):
    env = make(steps=40, reward_scale=10.0)
    _, info = env.reset(seed=1)
    for action in [2, 2, 0, 1, 2, 0]:
        before = info["equity"]
        _, reward, _, _, info = env.step(action)
        assert reward == pytest.approx(10.0 * np.log(info["equity"] / before), abs=1e-12)


@pytest.mark.parametrize("kind", MARKETS)
def test_end_of_the_rows_truncates_and_a_further_step_is_refused(make, kind):
    env = make(kind, every=3)
    _, info = env.reset(seed=0)
    rows = [info["row"]]
    truncated = False
    while not truncated:
        _, _, terminated, truncated, info = env.step(2)
        assert not terminated
        rows.append(info["row"])
    assert np.diff(rows).tolist() == [3] * (len(rows) - 1)
    assert rows[-1] + 3 >= env.dataset.manifest.rows
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(2)


def test_ruin_terminates(make):
    columns = bar_columns(300)
    for k in ("open", "high", "low", "close"):
        columns[k][150:] = np.round(columns[k][150:] * 0.7, 5)
    env = make(columns=columns, target={"max_qty": 200_000.0})
    env.reset(seed=0, options={"row": 100})
    for _ in range(100):
        _, reward, terminated, truncated, info = env.step(2)
        if terminated:
            break
    assert terminated
    assert not truncated
    assert info["equity"] <= 50_000.0
    assert reward < -0.5
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(2)


def test_episode_is_a_window_at_the_row_asked_for(make):
    env = make(steps=20)
    _, info = env.reset(options={"row": 77})
    assert info["row"] == 77
    assert info["ts_event_ns"] == env.dataset.columns["ts_event"][77]
    with pytest.raises(DataError, match="first row: expected 13 to 379, found 380"):
        env.reset(options={"row": 380})


def test_thousand_abandoned_episodes_leave_the_engine_usable(make):
    env = make(steps=100)
    want = play(env, 5)
    for k in range(1000):
        env.reset(seed=k)
        env.step(2)
    assert play(env, 5) == want


def test_observation_is_not_a_view_of_another(make):
    env = make(steps=20)
    first, _ = env.reset(seed=0)
    kept = first.copy()
    second, *_ = env.step(2)
    assert not np.shares_memory(first, second)
    second[:] = 0.0
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("action", [3, -1, 0.5])
def test_action_out_of_the_space_is_refused_and_nothing_happens(make, action):
    env = make(steps=20)
    env.reset(seed=0)
    with pytest.raises(ConfigError, match="action: expected a whole number from 0 to 2"):
        env.step(action)
    _, _, _, _, info = env.step(2)
    assert info["row"] == env.reset(seed=0)[1]["row"] + 1


@pytest.mark.parametrize("action", [[1.5], [np.nan], [-1.01]])
def test_continuous_action_out_of_the_space_is_refused(make, action):
    env = make(steps=20, target={"kind": "continuous"})
    env.reset(seed=0)
    with pytest.raises(ConfigError, match="expected a target from -1 to 1"):
        env.step(np.array(action, dtype=np.float32))


def test_rejected_orders_do_not_hang_as_pending(make):
    env = make(venue=Venue(latency_ms=500, leverage=1.0), target={"max_qty": 1e8})
    env.reset(seed=0)
    for _ in range(5):
        _, _, _, _, info = env.step(2)
    assert info["position_qty"] == 0.0
    assert info["equity"] == 100_000.0
    assert env._ledger.pending_qty == 0.0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rows": (0, 10)}, "after 13 rows of warm-up no decision is left"),
        ({"rows": (300, 500)}, "are no range"),
        ({"steps": 0}, "steps an episode, found 0"),
        ({"steps": 1000}, "steps an episode, found 1000"),
    ],
)
def test_range_that_holds_no_episode_is_refused(make, options, said):
    with pytest.raises(DataError, match=said):
        make(**options)


def test_latency_of_a_whole_bar_is_refused(make):
    with pytest.raises(ConfigError, match=r"venue.latency_ms: expected less than a bar of 60000"):
        make(venue=Venue(latency_ms=MINUTE_NS / 1e6))


def test_spec_for_other_rows_is_refused():
    data = dataset(bar_columns())
    with pytest.raises(ConfigError, match="expected quote rows, found bars"):
        TradingEnv(data, spec_for(dataset(quote_columns())), VENUE)


def test_cash_account_refuses_levels_below_zero(make):
    with pytest.raises(ConfigError, match="a cash account cannot go short"):
        make(venue=Venue(account="cash"))
    env = make(venue=Venue(account="cash", latency_ms=500), target={"levels": (0.0, 1.0)})
    env.reset(seed=0)
    _, _, _, _, info = env.step(1)
    assert info["position_qty"] == 10_000.0


def test_failure_inside_a_callback_surfaces_and_the_next_episode_works(make, monkeypatch):
    env = make(steps=20)
    env.reset(seed=0)
    strategy = env._engine.strategy

    def broken(*_):
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(strategy.intent, "order_qty", broken)
    with pytest.raises(EngineError, match="the strategy failed: ZeroDivisionError: planted"):
        env.step(2)
    monkeypatch.undo()
    env.reset(seed=0)
    _, _, _, _, info = env.step(2)
    assert info["position_qty"] == 10_000.0


@pytest.mark.parametrize("in_a_cycle", [False, True])
def test_closed_env_is_freed_on_its_own_thread(make, monkeypatch, in_a_cycle):
    complaints = []
    gc.collect()
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    gc.disable()  # the collector must have no chance to run on this thread first
    try:
        for _ in range(3):
            env = make(steps=20)
            play(env, 1)
            if in_a_cycle:
                env.callback = env  # as a trainer's model and its callbacks hold each other
            env.close()
        del env
        make.made.clear()
        thread = threading.Thread(target=gc.collect)
        thread.start()
        thread.join(10)
    finally:
        gc.enable()
    assert complaints == []


def test_second_live_engine_in_a_thread_is_refused_until_the_first_is_closed(make):
    first = make(steps=20)
    with pytest.raises(EngineError, match="close it first"):
        make(steps=20)
    first.close()
    make(steps=20).reset()


def test_render_draws_the_episode_as_an_rgb_array(make):
    env = make(steps=60, render_mode="rgb_array")
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.render()
    env.reset(seed=0)
    blank = env.render()
    for k in range(60):
        env.step(k // 10 % 3)
    picture = env.render()
    assert picture.shape == (640, 960, 3)
    assert picture.dtype == np.uint8
    assert (picture != blank).mean() > 0.005
    assert picture.std() > 10
    env.close()
    assert make(steps=5).render() is None
    with pytest.raises(ConfigError, match="render_mode"):
        make(steps=5, render_mode="human")


def test_env_with_render_mode_passes_the_whole_checker(make):
    check_env(make(steps=20, render_mode="rgb_array"), skip_render_check=True)
