"""Bars made of ticks: as they come and of whole columns the same bits, and the engine's own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nautilus_trader.model import BarType, InstrumentId, StrategyId
from nautilus_trader.trading import Strategy, StrategyConfig

from envs.engine_build import add_venue, silent_engine
from envs.made_bars import bars_of
from grid import wire
from grid.bars import BarMaker, made_of
from grid.dataset import FIELDS
from grid.errors import ConfigError, DataError
from grid.node.convert import engine_quotes
from grid.node.instruments import to_engine
from grid.venue import Venue
from tests.support.markets import PAIR, bar_columns, dataset, quote_columns, trade_columns

SECOND_NS = 1_000_000_000
STEP_NS = 10 * SECOND_NS


def ticks_of(columns):
    """The rows of quotes or trades as a node gets them."""
    names = [name for name in columns if name != "ts_event"]
    kind = wire.Trade if "price" in columns else wire.Quote
    for i, ts in enumerate(columns["ts_event"].tolist()):
        yield kind(PAIR.id, ts, *(columns[name][i].item() for name in names))


def one_by_one(columns, bar):
    maker = BarMaker(PAIR, bar, STEP_NS)
    made = [done for tick in ticks_of(columns) if (done := maker.push(tick))]
    return {
        "ts_event": np.array([b.ts_event_ns for b in made], dtype=np.int64),
        **{f: np.array([getattr(b, f) for b in made]) for f in FIELDS["bars"][1:]},
    }


def assert_same_bits(ours, theirs):
    for field in FIELDS["bars"]:
        assert ours[field].tobytes() == theirs[field].tobytes(), field


@pytest.mark.parametrize("price", ["BID", "ASK", "MID", "LAST"])
def test_bars_as_they_come_are_those_of_the_columns(price):
    columns = trade_columns(500) if price == "LAST" else quote_columns(500)
    bar = f"10-SECOND-{price}"
    found = made_of(columns, bar, STEP_NS, PAIR)
    assert len(found["ts_event"]) > 50
    assert_same_bits(found, one_by_one(columns, bar))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0, 1, STEP_NS - 1, STEP_NS, 5 * STEP_NS]), min_size=1, max_size=30),
    st.integers(0, 1000),
)
def test_bars_of_odd_times_are_those_of_the_columns(waits, seed):
    columns = trade_columns(len(waits), seed)
    columns["ts_event"] = np.cumsum(np.array([7 * STEP_NS, *waits[1:]], dtype=np.int64))
    assert_same_bits(made_of(columns, "10-SECOND-LAST", STEP_NS, PAIR),
                     one_by_one(columns, "10-SECOND-LAST"))  # fmt: skip


def test_bars_by_hand():
    columns = {
        "ts_event": np.array([1, 10, 11, 20, 45, 61]) * SECOND_NS,
        "price": np.array([1.0, 3.0, 2.0, 2.5, 4.0, 5.0]),
        "qty": np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0]),
        "side": np.array([1.0, 1.0, -1.0, 0.0, 1.0, 1.0]),
    }
    found = {k: v.tolist() for k, v in made_of(columns, "10-SECOND-LAST", STEP_NS, PAIR).items()}
    assert found == {
        "ts_event": [10 * SECOND_NS, 20 * SECOND_NS, 50 * SECOND_NS],  # 20 to 40 held no tick
        "open": [1.0, 2.0, 4.0],
        "high": [3.0, 2.5, 4.0],
        "low": [1.0, 2.0, 4.0],
        "close": [3.0, 2.5, 4.0],
        "volume": [3.0, 12.0, 16.0],
    }  # the tick at 61 completes no bar


class _Listener(Strategy):
    """Keeps the bars that the engine itself makes."""

    def __new__(cls, bar_type):
        return super().__new__(cls, StrategyConfig(strategy_id=StrategyId("EAR-001")))

    def __init__(self, bar_type):
        self.bar_type = bar_type
        self.bars = []

    def on_start(self):
        self.subscribe_bars(self.bar_type)

    def on_bar(self, bar):
        numbers = (float(x) for x in (bar.open, bar.high, bar.low, bar.close, bar.volume))
        self.bars.append((bar.ts_event, *numbers))


@pytest.mark.parametrize("price", ["BID", "ASK", "MID"])
def test_bars_are_those_of_the_engine(price):
    columns = quote_columns(800)
    columns["ts_event"] = columns["ts_event"] // SECOND_NS * SECOND_NS  # some on the very close
    engine = silent_engine()
    add_venue(engine, "SIM", "USD", 1e5, Venue(), latency_ns=1)
    engine.add_instrument(to_engine(PAIR))
    ear = _Listener(BarType.from_str(f"{PAIR.id}-10-SECOND-{price}-INTERNAL"))
    engine.add_strategy(ear)
    engine.add_data(engine_quotes(InstrumentId.from_str(PAIR.id), columns, (5, 0)), validate=False)
    engine.run()
    theirs = {bar[0]: bar[1:] for bar in ear.bars}
    engine.dispose()
    ear.__dict__.clear()
    ours = made_of(columns, f"10-SECOND-{price}", STEP_NS, PAIR)
    rows = list(zip(*(ours[f].tolist() for f in FIELDS["bars"]), strict=True))
    assert len(rows) > 100
    for ts, *numbers in rows[1:]:
        assert theirs[ts][:4] == pytest.approx(numbers[:4], abs=6e-7)
        # of a mid the engine rounds every quantity, halves up and down
        assert theirs[ts][4] == pytest.approx(numbers[4], abs=20.0 if price == "MID" else 1e-6)


def test_bars_that_cannot_be_made_are_one_sentence():
    quotes, trades = dataset(quote_columns(50)), dataset(trade_columns(50))
    with pytest.raises(ConfigError, match="10-SECOND-LAST made of quotes: expected one of BID"):
        bars_of(quotes, "10-SECOND-LAST")
    with pytest.raises(ConfigError, match="10-SECOND-MID made of trades: expected one of LAST"):
        bars_of(trades, "10-SECOND-MID")
    with pytest.raises(ConfigError, match="made of bars: expected quotes or trades"):
        bars_of(dataset(bar_columns(50)), "5-MINUTE-LAST")
    with pytest.raises(DataError, match="no complete bar of 9-DAY-MID in 50 rows"):
        bars_of(quotes, "9-DAY-MID")
