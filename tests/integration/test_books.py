"""Envs on order books: orders walk the levels, episodes begin anywhere, nothing looks ahead."""

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from nautilus_trader.persistence import ParquetDataCatalog

from agents.grids import node_setup
from envs.books import book_data
from envs.data.book import standing
from envs.data.importer import import_file
from envs.data.show import describe
from envs.lookahead.altered import altered
from envs.lookahead.check import Learned, Subject, check
from envs.lookahead.report import sentence
from envs.market import MarketEnv
from envs.pipeline import fit
from envs.schemes import KINDS, Orders, Weights
from envs.synthetic_book import INSTRUMENT, write_book
from envs.trading import TradingEnv
from envs.trading_recipe import EnvRecipe
from envs.vector import SharedVectorEnv, seed_of
from envs.views import View
from grid.config import convert
from grid.dataset import Dataset
from grid.errors import ConfigError, DataError
from grid.home import Home
from grid.spec import TargetRule
from grid.topology import GridConfig
from grid.venue import Venue
from tests.support import runs
from tests.support.markets import (
    DEPTH_FEATURES,
    book_dataset,
    dataset,
    depth_columns,
    spec_for,
)
from tests.support.sources import ES, EURUSD, shared

DEPTH = dataset(depth_columns(400))
BOOKS = {kind: book_dataset(book=kind) for kind in ("L2", "L3")}
ROWS = Venue(latency_ms=5, book="rows")
EVENTS = Venue(latency_ms=5)
DATA = {
    "depth": (DEPTH, Venue(), 8_000.0),
    "L2": (BOOKS["L2"], EVENTS, 8.0),
    "L3": (BOOKS["L3"], EVENTS, 8.0),
    "rows of L3": (BOOKS["L3"], ROWS, 8.0),
}


@pytest.fixture
def make():
    made = []

    def build(kind, **options):
        data, venue, max_qty = DATA[kind]
        venue = options.pop("venue", venue)
        every = options.pop("every", 1)
        spec = spec_for(data, max_qty=max_qty, every=every)
        made.append(TradingEnv(data, spec, venue, **options))
        return made[-1]

    yield build
    for env in made:
        env.close()


def played(env, actions, **reset):
    """Everything that an agent sees, and the fills."""
    obs, info = env.reset(**reset)
    seen, fills = [obs.tobytes()], []
    for action in actions:
        obs, reward, _, truncated, info = env.step(int(action))
        seen.append((obs.tobytes(), reward, info["equity"]))
        fills += info["fills"]
        if truncated:
            break
    return seen, fills


def actions(n, seed=0):
    return np.random.default_rng(seed).integers(0, 3, n)


@pytest.mark.parametrize("kind", ["depth", "L3"])
def test_env_on_a_book_passes_the_checker(make, kind):
    check_env(make(kind, steps=30), skip_render_check=True)


@pytest.mark.parametrize("kind", DATA)
def test_same_seed_gives_the_same_episode_and_orders_are_filled(make, kind):
    env = make(kind, steps=60)
    first = played(env, actions(60), seed=4)
    played(env, actions(60, seed=1), seed=5)
    assert played(env, actions(60), seed=4) == first
    assert len(first[1]) > 20


def test_large_order_walks_the_levels_of_the_row_after_it(make):
    env = make("depth")
    env.reset()
    env.step(2)
    *_, info = env.step(2)
    fills, row = info["fills"] or [], info["row"]
    while not fills:
        *_, info = env.step(2)
        fills, row = info["fills"], info["row"]
    at = int(np.searchsorted(DEPTH.columns["ts_event"], fills[0].ts_event_ns))
    assert at == row - 1  # known at the next decision
    px, qty = DEPTH.columns["ask_pxs"][at], DEPTH.columns["ask_qtys"][at]
    left, want = 8_000.0, []
    for p, q in zip(px.tolist(), qty.tolist(), strict=True):
        if left and q:
            want.append((p, min(q, left)))
            left -= want[-1][1]
    assert [(f.px, f.signed_qty) for f in fills] == want
    assert len(want) > 1


def test_what_the_book_cannot_fill_is_canceled_and_ordered_again(make):
    env = TradingEnv(DEPTH, spec_for(DEPTH, max_qty=40_000.0), Venue())
    try:
        env.reset()
        held = [env.step(2)[4]["position_qty"] for _ in range(12)]
    finally:
        env.close()
    assert held[-1] == 40_000.0
    assert len({q for q in held if 0 < q < 40_000.0}) >= 2


@pytest.mark.parametrize("kind", ["L2", "L3"])
def test_episode_may_begin_anywhere_on_the_same_book(make, kind):
    """What is filled from a row on is the same whether the engine began there or long before."""
    env = make(kind)
    lo, row = env._timeline.lo, 120
    late = played(env, actions(25), options={"row": row})[1]
    idle = [1] * (row - lo)
    early = played(env, [*idle, *actions(25)], options={"row": lo})[1]
    strip = [fill[:4] for fill in early]
    assert [fill[:4] for fill in late] == strip
    assert len(strip) > 5


@pytest.mark.parametrize("kind", ["L2", "L3"])
def test_order_meets_the_first_event_after_its_latency_and_not_the_row_after_it(make, kind):
    env, data = make(kind, steps=100), DATA[kind][0]
    _, fills = played(env, actions(100), seed=1)
    times = data.events["ts_event"]
    rows = set(data.columns["ts_event"].tolist())
    between = [f for f in fills if f.ts_event_ns not in rows]
    assert len(between) > 0.5 * len(fills)
    assert all(f.ts_event_ns in times for f in between)
    rows_only = played(make_rows(env, data), actions(100), seed=1)[1]
    assert all(f.ts_event_ns in rows for f in rows_only)


@pytest.mark.parametrize("kind", ["L2", "L3"])
def test_every_fill_is_what_the_book_at_its_time_gives(make, kind):
    """Computed here from the events alone: from the best price on, order by order."""
    env, events = make(kind, steps=100), DATA[kind][0].events
    orders: dict[str, list] = {}
    for fill in played(env, actions(100), seed=1)[1]:
        orders.setdefault(fill.client_order_id, []).append(fill)
    assert len(orders) > 40
    for fills in orders.values():
        known = int(np.searchsorted(events["ts_event"], fills[0].ts_event_ns, side="right"))
        side = -1 if fills[0].signed_qty > 0 else 1
        book = standing(events, known)
        book = book[events["side"][book] == side]
        book = book[np.argsort(-side * events["price"][book], kind="stable")]
        left, want = abs(sum(f.signed_qty for f in fills)), []
        for at in book:
            if left > 0:
                want.append((events["price"][at], min(left, events["qty"][at])))
                left -= want[-1][1]
        assert [(f.px, abs(f.signed_qty)) for f in fills] == want


def make_rows(env, data):
    """The same env whose orders meet rows alone; the thread has one engine at a time."""
    env.close()
    return TradingEnv(data, env._spec, ROWS, steps=100)


def test_rows_of_deltas_trade_as_depth_with_the_same_levels():
    """So what holds for depth on a grid holds for them."""
    deltas = BOOKS["L3"]
    levels = {f: v for f, v in deltas.columns.items() if f != "event"}
    found = []
    for data in (deltas, dataset(levels, INSTRUMENT)):
        env = TradingEnv(data, spec_for(data, max_qty=8.0), ROWS, steps=100)
        found.append(played(env, actions(100), seed=2))
        env.close()
    assert found[0] == found[1]


def test_snapshot_and_changes_of_a_window_are_all_of_the_book():
    data = BOOKS["L3"]
    window = {k: v[50:60] for k, v in data.columns.items()}
    first, *changes = book_data(data.manifest, window, data.events, EVENTS)
    packets = [c for c in changes if hasattr(c, "deltas")]
    assert first.deltas[0].is_clear
    assert first.ts_event == window["ts_event"][0]
    assert sum(len(p.deltas) for p in packets) == window["event"][-1] - window["event"][0]
    times = [c.ts_event for c in (first, *changes)]
    assert times == sorted(times)
    assert len(changes) - len(packets) == 10  # quotes


def test_book_spec_fits_no_other_levels():
    fewer = {f: v if v.ndim == 1 else v[:, :3] for f, v in DEPTH.columns.items()}
    with pytest.raises(ConfigError, match="expected 5 levels and tick 1e-05, found 3 levels"):
        TradingEnv(dataset(fewer), spec_for(DEPTH), Venue())


@pytest.mark.parametrize("kind", DATA)
def test_honest_env_on_a_book_does_not_look_ahead(kind):
    data, venue, max_qty = DATA[kind]

    def learn(data):
        rule = TargetRule(max_qty=max_qty)
        spec = fit(data, (0, 200), features=DEPTH_FEATURES, window=4, target=rule)
        return Learned(spec, 1.0)

    def build(data, learned, steps):
        return TradingEnv(data, learned.spec, venue, steps=steps)

    report = check(Subject(data, (0, 200), learn, build), cuts=2, steps=40, seed=1)
    assert sentence(report) == ""
    assert report.checks["fill price"].compared > 10


@pytest.mark.parametrize("kind", ["depth", "L3"])
def test_engine_that_fills_at_once_on_a_book_is_caught(kind, monkeypatch):
    monkeypatch.setattr("envs.engine_build.StaticLatencyModel", lambda _: None)
    with pytest.raises(AssertionError, match="fill time: at row "):
        test_honest_env_on_a_book_does_not_look_ahead(kind)


@pytest.mark.parametrize("kind", ["depth", "L2", "L3"])
def test_altered_book_is_another_one_with_the_same_past(kind):
    data = DATA[kind][0]
    future = altered(data, 100, 1, seed=2)
    for field, values in data.columns.items():
        assert future.columns[field][:101].tobytes() == values[:101].tobytes()
    bid, ask = future.columns["bid_pxs"], future.columns["ask_pxs"]
    assert bid[101, 0] > 1.03 * data.columns["bid_pxs"][100, 0]
    assert (bid[:, 0] <= ask[:, 0]).all()
    assert (np.diff(future.columns["ts_event"]) > 0).all()
    assert future.manifest.rows == len(bid) >= data.manifest.rows - 1


def test_market_env_shows_levels_and_rests_orders_in_the_book():
    view = View("book", BOOKS["L3"], ("levels:3", "log_return:1"), train_rows=(0, 100), window=2)
    assert view.shape == (2, 13)
    orders = Orders(sizes=(5.0,), max_qty=50.0, offsets_ticks=(1,))
    for scheme in (Weights(gross=2.0), orders):
        env = MarketEnv([view], scheme, EVENTS, steps=40, capital=1e6)
        try:
            obs, _ = env.reset(seed=1)
            assert obs["book"].shape == (2, 13)
            fills = 0
            for k in range(40):
                limit = np.array([KINDS.index("limit"), k % 2, 0, 0, 0])
                action = limit if scheme is orders else np.array([1.0 - 2.0 * (k % 2)])
                *_, info = env.step(action.astype(env.action_space.dtype))
                fills += len(info["fills"])
            assert fills > 3
        finally:
            env.close()


def test_markets_of_two_kinds_of_book_need_two_venues():
    quotes = dataset(depth_columns(400), EURUSD, "other")
    views = [
        View("a", BOOKS["L3"], ("spread",), train_rows=(0, 100)),
        View("b", quotes, ("spread",), train_rows=(0, 100)),
    ]
    with pytest.raises(ConfigError, match="venue SIM: expected one kind of book for all its mark"):
        MarketEnv(views, Weights(), EVENTS)


@pytest.mark.parametrize("kind", ["depth", "L2", "L3"])
def test_made_book_lies_on_disk_and_in_the_catalog(tmp_path, kind):
    home = Home(tmp_path)
    m = write_book(kind, "made", home, n=600, every="20")
    data = Dataset.find(home.datasets, "made")
    told = "L2, by price, rows of 10" if kind == "depth" else f"rows of 10 levels, of {m.events} ev"
    assert told in describe(data)
    data.verify()
    catalog = ParquetDataCatalog(str(data.path / "catalog"))
    if kind == "depth":
        assert (m.kind, m.book, m.events, m.bar) == ("depth", "L2", 0, "")
        found = catalog.query_order_book_depths()
        assert [d.ts_event for d in found] == data.columns["ts_event"].tolist()
        assert float(found[0].bids[1].price) == data.columns["bid_pxs"][0, 1]
    else:
        assert (m.kind, m.book, m.bar) == ("deltas", kind, "20-EVENT-BOOK")
        found = catalog.query_order_book_deltas()
        assert [d.sequence for d in found] == data.events["sequence"].tolist()
        assert [float(d.order.price) for d in found] == data.events["price"].tolist()
    changed = {**data.columns, "bid_qtys": data.columns["bid_qtys"] + 1.0}
    with pytest.raises(Exception, match="fingerprint"):
        Dataset(data.path, data.manifest, changed, data.events).verify()


def test_real_orders_of_a_future_are_read_and_traded(tmp_path):
    home = Home(tmp_path)
    path = shared("es_mbo_2023-12-25.dbn.zst")
    m = import_file(path, ES, name="es", home=home, kind="deltas", every="1s", repair=True)
    assert (m.book, m.events, m.levels) == ("L3", 59_448, 10)
    assert m.quality.rows_read == 68_792
    assert m.quality.orders_unknown == m.quality.sequence_gaps == 0
    assert m.quality.crossed > 0  # the auction before the open
    beside = Dataset.find(home.datasets, "es-trades").manifest
    assert (beside.kind, beside.rows, beside.quality.rows_read) == ("trades", 2_973, 2_973)
    data = Dataset.find(home.datasets, "es")
    env = TradingEnv(data, spec_for(data, max_qty=8.0), EVENTS, steps=50)
    try:
        assert len(played(env, actions(50), options={"row": 1_500})[1]) > 50
    finally:
        env.close()


def test_real_deltas_of_the_engine_1_are_read(tmp_path):
    path = shared("l2_deltas_nautilus_v1.parquet")
    coarse = type(ES)(
        id="R.SIM", price_precision=0, quote_currency="GBP", underlying="R", contract_size=1.0
    )
    options = {"kind": "deltas", "book": "L2", "every": "1", "name": "r", "home": Home(tmp_path)}
    with pytest.raises(DataError, match=r"parquet:860: time: expected none earlier than those bef"):
        import_file(path, coarse, **options)
    m = import_file(path, coarse, repair=True, **options)
    assert (m.events, m.book) == (1_077, "L2")
    assert m.quality.out_of_order > 0
    assert m.rows + m.quality.one_sided == 931


def test_grid_refuses_an_agent_that_met_more_of_the_book_than_rows(tmp_path):
    home = Home(tmp_path)
    write_book("L3", "made", home, n=3_000)
    spec = spec_for(Dataset.find(home.datasets, "made"))

    def setup(costs, **node):
        said = runs.manifest(spec, costs)
        checkpoint = runs.checkpoint(home.runs / "r" / "checkpoints", spec, said=said).path
        tree = {
            "name": "test",
            "feed": {"dataset": "made"},
            "node": {"strategy_id": "S-1", "checkpoint": str(checkpoint), **node},
            "agents": [{"id": "a", "role": "champion", "checkpoint": str(checkpoint)}],
        }
        return node_setup(convert(tree, GridConfig, "test"), home, "node")

    with pytest.raises(ConfigError, match=r"train with venue\.book = .rows"):
        setup(EVENTS)
    assert setup(ROWS).spec.book == spec.book
    with pytest.raises(ConfigError, match='expected "sandbox" for rows of depth, found "paper"'):
        setup(ROWS, venue="paper")


def test_vector_env_of_recipes_steps_a_book_as_the_env_itself(tmp_path, make):
    home = Home(tmp_path)
    write_book("L3", "made", home, n=3_000)
    data = Dataset.find(home.datasets, "made")
    recipe = EnvRecipe(
        dataset=data.path, spec=spec_for(data, max_qty=8.0), venue=EVENTS, rows=(0, 300),
        steps=20, reward="log_equity", reward_scale=1.0,
    )  # fmt: skip
    envs = SharedVectorEnv([recipe])
    try:
        obs, _ = envs.reset(seed=3)
        found = [obs[0].tobytes()]
        for action in actions(15):
            obs, reward, *_ = envs.step(np.array([action]))
            found.append((obs[0].tobytes(), float(reward[0])))
    finally:
        envs.close()
    env = recipe.make()
    try:
        seen, _ = played(env, actions(15), seed=seed_of(3, 0))
    finally:
        env.close()
    assert found[0] == seen[0]
    assert found[1:] == [(o, r) for o, r, _ in seen[1:]]


def test_bench_has_a_row_for_every_kind(monkeypatch):
    from agents.bench import data

    monkeypatch.setattr(data, "EVENTS", 1_500)
    monkeypatch.setattr(data, "ROUNDS", 1)
    rows = {row.name: row for row in data.run()}
    kinds = ("bars", "quotes", "trades", "depth", "L2", "L3")
    assert set(rows) == {*kinds, *(f"load_{k}" for k in kinds), "rows_L2", "rows_L3"}
    assert all(row.value > 0 and row.baseline > 0 for row in rows.values())
