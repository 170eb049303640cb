"""The bench of realism, on a few rows: each key is tried, and what must cost does."""

import msgspec
import numpy as np

from agents.bench import realism
from envs.synthetic_ticks import quotes, trades
from grid.venue import Venue


def test_made_ticks_are_a_market_and_repeat_themselves():
    quoted, printed = quotes(2_000), trades(quotes(2_000))
    assert quoted.manifest.fingerprint == quotes(2_000).manifest.fingerprint
    assert quoted.manifest.fingerprint != quotes(2_000, seed=2).manifest.fingerprint
    c, t = quoted.columns, printed.columns
    assert (c["bid_px"] < c["ask_px"]).all()
    assert (np.diff(c["ts_event"]) > 0).all()
    row = np.searchsorted(c["ts_event"], t["ts_event"]) - 1
    assert (t["price"] == np.where(t["side"] > 0, c["ask_px"][row], c["bid_px"][row])).all()
    assert (t["ts_event"] > c["ts_event"][row]).all()
    assert (t["ts_event"] < c["ts_event"][row + 1]).all()


def test_keys_of_the_bench_are_the_venues_and_costs_cost():
    tried = [*realism.ON_BARS.values(), *realism.ON_TICKS.values(), *realism.ON_LIMITS.values()]
    for keys in tried:
        msgspec.structs.replace(Venue(), **keys)
    ticks = quotes(3_000)
    free = Venue(taker_fee_bps=0.0, maker_fee_bps=0.0)
    held = [realism._hold(ticks, venue, 60, 6) for venue in (Venue(), free)]
    bid = [realism._quote(ticks, trades(ticks), venue) for venue in (Venue(), free)]
    assert held[0] < held[1]
    assert bid[0] < bid[1]
