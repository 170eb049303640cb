"""The general env: several instruments, orders, clocks; and the engine's own account beside it."""

import gymnasium
import msgspec
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from nautilus_trader.model import Venue as EngineVenue
from stable_baselines3.common.env_checker import check_env as check_sb3

from envs.market import MarketEnv
from envs.schemes import KINDS, Orders, Weights
from envs.views import Rows, Timer, View
from grid.errors import ConfigError, DataError
from grid.venue import Venue
from tests.support.markets import MINUTE_NS, PAIR, bar_columns, dataset, quote_columns

VENUE = Venue(latency_ms=500)
TRAIN = (0, 100)
POUND = msgspec.structs.replace(PAIR, id="GBP/USD.SIM", base_currency="GBP")
EURO = dataset(bar_columns(500))
POUNDS = dataset(bar_columns(500, seed=5, instrument=POUND), POUND, "pounds")
QUOTES = dataset(quote_columns(800))
WEIGHTS = Weights(gross=2.0)
ORDERS = Orders(sizes=(1_000.0, 5_000.0), max_qty=20_000.0, offsets_ticks=(5, 30))
MARKET, LIMIT, BRACKET, CANCEL = (
    KINDS.index(k) for k in ("market", "limit", "bracket", "cancel all")
)


@pytest.fixture
def make():
    made = []

    def build(scheme=WEIGHTS, views=("euro", "pounds"), **options):
        known = {
            "euro": lambda: View(
                "euro", EURO, ("log_return:1", "rsi:10"), train_rows=TRAIN, window=4
            ),
            "pounds": lambda: View(
                "pounds", POUNDS, ("log_return:1", "volatility:10"), train_rows=TRAIN, window=6
            ),
            "quotes": lambda: View(
                "quotes", QUOTES, ("spread", "log_return:1"), train_rows=TRAIN, window=4
            ),
            "five": lambda: View(
                "five", five_minutes(), ("log_return:1",), train_rows=TRAIN, window=3
            ),
        }
        env = MarketEnv([known[v]() for v in views], scheme, VENUE, **options)
        made.append(env)
        return env

    yield build
    for env in made:
        env.close()


def five_minutes():
    """EURO in bars of five minutes."""
    c = EURO.columns
    columns = {
        "ts_event": c["ts_event"][4::5],
        "open": c["open"][::5],
        "high": c["high"].reshape(-1, 5).max(axis=1),
        "low": c["low"].reshape(-1, 5).min(axis=1),
        "close": c["close"][4::5],
        "volume": c["volume"].reshape(-1, 5).sum(axis=1),
    }
    data = dataset(columns, name="five")
    manifest = msgspec.structs.replace(
        data.manifest, bar="5-MINUTE-LAST", interval_ns=5 * MINUTE_NS
    )
    return msgspec.structs.replace(data, manifest=manifest)


def play(env, seed):
    env.action_space.seed(seed)
    obs, info = env.reset(seed=seed)
    trail = [repr(obs)]
    while True:
        obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
        trail.append((repr(obs), reward, info["equity"], info["fills"], info["open_orders"]))
        if terminated or truncated:
            return trail


@pytest.mark.parametrize("scheme", [WEIGHTS, ORDERS])
@pytest.mark.parametrize("flat", [False, True])
def test_market_env_passes_gymnasiums_checker(make, scheme, flat):
    check_env(make(scheme, steps=40, flat=flat), skip_render_check=True)


@pytest.mark.filterwarnings("ignore:Your observation .* has an unconventional shape")  # windows
@pytest.mark.parametrize("scheme", [WEIGHTS, ORDERS])
@pytest.mark.parametrize("flat", [False, True])
def test_market_env_passes_stable_baselines_checker(make, scheme, flat):
    check_sb3(make(scheme, steps=40, flat=flat))


@pytest.mark.parametrize("scheme", [WEIGHTS, ORDERS])
def test_same_seed_gives_the_same_episode(make, scheme):
    env = make(scheme, steps=60)
    assert play(env, 1) == play(env, 1)
    assert play(env, 1) != play(env, 2)


def test_weights_bring_every_instrument_to_its_share_of_equity(make):
    env = make()
    env.reset()
    for _ in range(3):
        _, _, _, _, info = env.step(np.array([0.5, -0.25]))
    for name, weight in (("EUR/USD.SIM", 0.5), ("GBP/USD.SIM", -0.25)):
        held = info["positions"][name] * info["prices"][name]
        assert held == pytest.approx(weight * 2.0 * info["equity"], rel=0.01)
    traded = info["traded"]
    _, _, _, _, info = env.step(np.array([0.505, -0.25]))  # within the band
    assert info["traded"] == traded
    assert not info["fills"]


def test_equity_is_what_the_fills_say(make):
    env = make(ORDERS)
    env.action_space.seed(3)
    env.reset()
    fees, fills = 0.0, 0
    for _ in range(300):
        _, _, _, _, info = env.step(env.action_space.sample())
        for fill in info["fills"]:
            fills += 1
            fees += fill.commission
    assert fills > 100
    assert info["fees"] == pytest.approx(fees)
    trader = env._stage.traders[0]
    unrealized = sum(trader.ledgers[n].unrealized(p) for n, p in info["prices"].items())
    env._stage.stop()
    report = env._stage._engine.generate_account_report(EngineVenue("SIM"))
    # the engine rounds each realized profit to cents
    balance = float(report["total"].iloc[-1])
    assert info["equity"] - unrealized == pytest.approx(balance, abs=0.005 * fills)


def test_execution_shortfall_is_the_cost_against_the_price_at_the_order(make):
    env = make(ORDERS, reward="execution_shortfall")
    _, info = env.reset()
    quiet = [0] * 10
    for _ in range(5):  # the engine stays behind, and the order still has its own time
        _, reward, _, _, info = env.step(quiet)
        assert reward == 0.0
    asked_ns, arrival = info["ts_event_ns"], info["prices"]["GBP/USD.SIM"]
    _, reward, _, _, info = env.step([0, 0, 0, 0, 0, MARKET, 1, 1, 0, 0])
    (fill,) = info["fills"]
    assert (fill.instrument_id, fill.decided_ns) == ("GBP/USD.SIM", asked_ns)
    assert fill.signed_qty == -5_000.0
    assert reward == pytest.approx(
        -((fill.px - arrival) * -5_000.0 + fill.commission) / 100_000.0, abs=1e-12
    )


@pytest.mark.parametrize("scheme", [WEIGHTS, ORDERS])
def test_execution_shortfall_of_resting_orders_remembers_their_arrival(make, scheme):
    env = make(scheme, reward="execution_shortfall")
    env.action_space.seed(7)
    _, info = env.reset()
    seen, waited, fills = {info["ts_event_ns"]: info["prices"]}, 0, 0
    for _ in range(200):
        _, reward, _, _, info = env.step(env.action_space.sample())
        cost = 0.0
        for fill in info["fills"]:
            fills += 1
            waited += fill.decided_ns < max(seen)
            arrival = seen[fill.decided_ns][fill.instrument_id]
            cost += (fill.px - arrival) * fill.signed_qty + fill.commission
        assert reward == pytest.approx(-cost / 100_000.0, abs=1e-12)
        seen[info["ts_event_ns"]] = info["prices"]
    assert fills > 50
    assert waited > 5 or scheme is WEIGHTS


def test_limit_rests_and_fills_at_its_price_or_better(make):
    env = make(ORDERS, views=("euro",))
    _, info = env.reset()
    price = info["prices"]["EUR/USD.SIM"]
    _, _, _, _, info = env.step([LIMIT, 0, 0, 1, 0])
    assert info["open_orders"] == 1
    limit = round(price - 30e-5, 5)
    for _ in range(200):
        _, _, _, _, info = env.step([0] * 5)
        if info["fills"]:
            break
    assert info["fills"]
    assert all(f.px <= limit for f in info["fills"])
    assert all(f.signed_qty > 0 for f in info["fills"])


def test_observation_shows_open_orders_and_cancel_clears_them(make):
    env = make(Orders(sizes=(1_000.0,), max_qty=9_000.0, offsets_ticks=(5_000,)), views=("euro",))
    env.reset()
    obs, *_ = env.step([LIMIT, 1, 0, 0, 0])
    obs, *_ = env.step([LIMIT, 0, 0, 0, 0])
    left, distance, age = obs["orders"][0]
    assert left < 0
    assert distance == pytest.approx(100 * 5_000e-5 / 1.1, rel=0.02)
    assert age > 0
    assert obs["orders"][1][0] > 0
    assert not obs["orders"][2:].any()
    env.step([CANCEL, 0, 0, 0, 0])
    obs, *_ = env.step([0] * 5)
    assert not obs["orders"].any()


def test_bracket_leaves_with_one_of_its_legs(make):
    env = make(ORDERS, views=("euro",))
    env.reset()
    fills = []
    _, _, _, _, info = env.step([BRACKET, 0, 0, 1, 0])
    for _ in range(300):
        fills += info["fills"]
        if fills and not info["open_orders"]:
            break
        _, _, _, _, info = env.step([0] * 5)
    assert info["positions"]["EUR/USD.SIM"] == 0.0
    assert info["open_orders"] == 0
    assert sum(f.signed_qty for f in fills if f.signed_qty > 0) == 1_000.0
    assert sum(f.signed_qty for f in fills if f.signed_qty < 0) == -1_000.0


@pytest.mark.parametrize("views", [("euro", "pounds"), ("euro",)])
def test_masked_actions_are_never_refused_and_others_are(make, views):
    env = make(ORDERS, views=views)
    env.reset()
    rng = np.random.default_rng(0)
    counts = env.action_space.nvec
    for _ in range(200):
        mask = env.action_masks().astype(bool)
        assert mask.shape == (counts.sum(),)
        parts = np.split(mask, np.cumsum(counts)[:-1])
        assert all(part.any() for part in parts)
        env.step([int(rng.choice(np.flatnonzero(part))) for part in parts])
    holdings = env._player.holdings(env._prices())
    assert all(abs(h.position_qty) <= ORDERS.max_qty for h in holdings)
    full = holdings[0]._replace(position_qty=ORDERS.max_qty, pending_qty=0.0, orders=())
    one = ORDERS.mask([full])
    assert one[len(KINDS)] == 0  # no more buying
    assert one[len(KINDS) + 1] == 1
    assert one[CANCEL] == 0


def test_orders_on_both_sides_do_not_make_room_for_each_other(make):
    env = make(Orders(sizes=(5_000.0,), max_qty=5_000.0, offsets_ticks=(5_000,)), views=("euro",))
    env.reset()
    env.step([LIMIT, 0, 0, 0, 0])
    _, _, _, _, info = env.step([LIMIT, 1, 0, 0, 0])
    assert info["open_orders"] == 2
    mask = env.action_masks()
    assert not mask[[MARKET, LIMIT, BRACKET]].any()
    _, _, _, _, info = env.step([MARKET, 0, 0, 0, 0])
    assert info["positions"] == {"EUR/USD.SIM": 0.0}


def test_view_of_longer_bars_shows_no_bar_before_its_close(make):
    env = make(views=("euro", "five"))
    five = five_minutes()
    view = View("five", five, ("log_return:1",), train_rows=TRAIN, window=3)
    obs, info = env.reset()
    seen = set()
    for _ in range(60):
        row = int(np.searchsorted(five.columns["ts_event"], info["ts_event_ns"], "right")) - 1
        assert five.columns["ts_event"][row] <= info["ts_event_ns"]
        np.testing.assert_array_equal(obs["five"], view.show(row))
        seen.add(row)
        obs, _, _, _, info = env.step(np.array([0.1]))
    assert 12 <= len(seen) <= 13


def test_orders_of_one_decision_meet_the_same_opens(make):
    env = make()
    env.reset()
    _, _, _, _, info = env.step(np.array([0.5, -0.5]))
    assert [f.instrument_id for f in info["fills"]] == ["EUR/USD.SIM", "GBP/USD.SIM"]
    assert len({f.ts_event_ns for f in info["fills"]}) == 1


def test_order_within_a_longer_bar_waits_for_the_next_open():
    five = five_minutes()
    manifest = msgspec.structs.replace(five.manifest, instrument=POUND)
    longer = msgspec.structs.replace(five, manifest=manifest)
    views = [
        View("euro", EURO, ("log_return:1",), train_rows=TRAIN, window=4),
        View("five", longer, ("log_return:1",), train_rows=(0, 50), window=3),
    ]
    env = MarketEnv(views, WEIGHTS, VENUE)
    fills = []
    try:
        _, info = env.reset()
        for k in range(60):
            _, _, _, _, info = env.step(np.array([0.0, 0.5 * (-1) ** (k // 3)]))
            fills += [f for f in info["fills"] if f.instrument_id == "GBP/USD.SIM"]
    finally:
        env.close()
    assert len(fills) > 10
    opens_ns = longer.columns["ts_event"] - 5 * MINUTE_NS + VENUE.latency_ns
    for fill in fills:
        assert fill.ts_event_ns == opens_ns[np.searchsorted(opens_ns, fill.decided_ns)]


def test_order_can_be_cancelled_before_its_market_moves(make):
    env = make(ORDERS, views=("quotes",))
    times = QUOTES.columns["ts_event"]
    close = np.diff(times[100:-2]) < 2e8  # the cancel is on its way when the order arrives
    pause = np.diff(times[101:-1]) > 12e8  # and no quote comes before both are there
    k = 100 + int(np.flatnonzero(close & pause)[0])
    env.reset(options={"decision": int(np.searchsorted(env.times_ns, times[k]))})
    _, _, _, _, info = env.step([LIMIT, 0, 0, 0, 0])
    assert info["open_orders"] == 1
    _, _, _, _, info = env.step([CANCEL, 0, 0, 0, 0])
    assert info["open_orders"] == 0
    _, _, _, _, info = env.step([0] * 5)
    assert not info["fills"]
    holding = env._player.holdings(env._prices())[0]
    assert holding.pending_qty == 0.0


def test_timer_decides_on_its_multiples(make):
    env = make(views=("quotes",), clock=Timer(seconds=10.0))
    _, info = env.reset()
    times = [info["ts_event_ns"]]
    for _ in range(50):
        _, _, _, _, info = env.step(np.array([0.5]))
        times.append(info["ts_event_ns"])
    assert all(t % 10_000_000_000 == 0 for t in times)
    assert (np.diff(times) > 0).all()


def test_every_nth_quote_is_a_clock(make):
    env = make(views=("quotes",), clock=Rows(every=7))
    _, info = env.reset()
    rows = []
    for _ in range(30):
        rows.append(int(np.searchsorted(QUOTES.columns["ts_event"], info["ts_event_ns"])))
        _, _, _, _, info = env.step(np.array([0.5]))
    assert set(np.diff(rows)) == {7}


def test_no_fill_comes_before_the_latency_is_over(make):
    env = make(ORDERS, views=("quotes",))
    env.reset()
    asked, fills = [], 0
    for k in range(200):
        before = env._tape.times_ns[env._at]
        _, _, _, _, info = env.step([MARKET, k % 2, 0, 0, 0])
        asked.append(int(before))
        for fill in info["fills"]:
            fills += 1
            assert any(t + VENUE.latency_ns <= fill.ts_event_ns for t in asked)
            assert fill.ts_event_ns >= asked[fills - 1] + VENUE.latency_ns
    assert fills > 100


def test_running_ahead_changes_nothing(make):
    rng = np.random.default_rng(4)
    actions = [rng.uniform(-1, 1, 2) if rng.random() < 0.1 else None for _ in range(300)]

    def equities(ahead):
        env = make()
        if not ahead:
            env._stage.is_quiet = lambda: False
        env.reset()
        last, found = np.zeros(2), []
        for action in actions:
            last = last if action is None else action
            _, _, _, _, info = env.step(last)
            found.append((info["equity"], tuple(info["positions"].values()), info["fees"]))
        env.close()
        return found

    assert equities(True) == equities(False)


@pytest.mark.parametrize(
    ("scheme", "action"),
    [
        (WEIGHTS, [2.0, 0.0]),
        (WEIGHTS, [0.1]),
        (WEIGHTS, [np.nan, 0.0]),
        (ORDERS, [9, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (ORDERS, [0, 0, 0, 0, 0]),
    ],
)
def test_action_out_of_the_space_is_refused(make, scheme, action):
    env = make(scheme)
    env.reset()
    with pytest.raises(ConfigError, match="action: expected"):
        env.step(action)


def test_parts_that_do_not_fit_are_refused(make):
    view = View("euro", EURO, ("log_return:1",), train_rows=TRAIN)
    with pytest.raises(ConfigError, match="a name each"):
        MarketEnv([view, view], WEIGHTS, VENUE)
    with pytest.raises(ConfigError, match=r"no view of GBP/USD.SIM"):
        MarketEnv([view], WEIGHTS, VENUE, markets=[EURO, POUNDS])
    with pytest.raises(DataError, match="two decision times"):
        MarketEnv([view], WEIGHTS, VENUE, clock=Timer(seconds=1e6))
    with pytest.raises(DataError, match="steps an episode possible"):
        make(steps=10_000)
    env = make(steps=5)
    env.reset()
    for _ in range(5):
        env.step(np.zeros(2))
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.zeros(2))
