"""The promise: a live run on the grid, its replay and the env are equal, bit for bit."""

import numpy as np
import pytest

from agents import parity
from grid.latency import bounds_ns, measured
from grid.venue import Venue
from tests.support import markets
from tests.support.grids import Grid

CHANCE = {
    "slippage": Venue(slippage_prob=0.5, fill_seed=7),
    "latency": Venue(latency_ms=2_000, latency_p99_ms=12_000, fill_seed=7),
}
MARKETS = {
    "bars": (markets.bar_columns(400), {}),
    "quotes": (markets.quote_columns(400), {}),
    "quotes, every third": (markets.quote_columns(400), {"every": 3}),
    "trades": (markets.trade_columns(400), {}),
    "trades, every third": (markets.trade_columns(400), {"every": 3}),
    "trades, on a timer": (markets.trade_columns(600), {"timer_s": 5.0}),
    "bars made of quotes": (markets.quote_columns(600), {"bar": "5-SECOND-MID"}),
    "quotes, with latency by chance": (markets.quote_columns(400), {}),
    "depth": (markets.depth_columns(400, seed=1), {}),
    "depth, on a timer": (markets.depth_columns(600, seed=1), {"timer_s": 5.0}),
    "bars, with slippage by chance": (markets.bar_columns(400), {}),
    "continuous": (markets.bar_columns(400), {"kind": "continuous", "min_trade_qty": 200.0}),
}
SHADOW = '\n[[agents]]\nid = "beta"\ncheckpoint = "baseline:random"\n'


@pytest.mark.parametrize("market", MARKETS)
def test_recorded_session_equals_replay_and_env(tmp_path, addresses, procs, market):
    columns, spec = MARKETS[market]
    venue = next((v for by, v in CHANCE.items() if by in market), Venue())
    grid = Grid(tmp_path, addresses, columns, agents=SHADOW, spec=spec, venue=venue)
    assert grid.up(procs).wait(60) == 0
    (run,) = grid.runs()
    assert run.ended
    assert len(run.decisions) == len(run.outcomes) >= 100
    if not grid.spec.timed:
        assert len(run.decisions) == -(-grid.live_rows // grid.spec.every)
    assert all(o.how == "action" for o in run.outcomes.values())
    assert len(run.fills) > 10

    if venue.slippage_prob:
        opens = {f.px for f in run.fills} & _touch(run)
        assert 0 < len(opens) < len(run.fills)  # some slipped, some did not
    if venue.latency_varies:  # the session's own latencies can be trained with
        own = measured(Venue(latency_from="latest"), grid.home.sessions)
        assert len(own.latency_quantiles_ms) == 101
        least_ns, longest_ns = bounds_ns(own)
        assert 10_000 < least_ns < longest_ns < 10**10
    checks = parity.compare(run, grid.home)
    assert [c for c in checks if not c.equal] == []
    assert {c.what for c in checks} >= {
        "observations: alpha = replay", "actions: alpha = replay", "orders: live = replay",
        "fills: live = replay", "observations: live = env", "equity: live = env",
        "fills: live = env",
    }  # fmt: skip

    # the comparison sees a single bit, so that the equality above means something
    champion = run.actions_of("alpha")
    first = champion[min(champion)]
    assert np.frombuffer(first.obs, "<f4").size == grid.spec.window * len(grid.spec.features) + 4
    flipped = bytearray(first.obs)
    flipped[0] ^= 1
    index = next(i for i, a in enumerate(run.acted) if a.action is first)
    run.acted[index] = type(run.acted[index])(
        _with(first, obs=bytes(flipped)), run.acted[index].answer, run.acted[index].ts_recv_ns
    )
    fill = run.fills[5]
    run.fills[5] = _with(fill, px=float(np.nextafter(fill.px, 2.0)))
    wrong = {c.what for c in parity.compare(run, grid.home) if not c.equal}
    assert {"observations: alpha = replay", "observations: live = env", "fills: live = replay",
            "fills: live = env"} <= wrong  # fmt: skip


def _touch(run):
    """Prices of the quotes: what a fill without slippage has."""
    quotes = [q for q in run.market if hasattr(q, "bid_px")]
    return {q.bid_px for q in quotes} | {q.ask_px for q in quotes}


def _with(struct, **changes):
    import msgspec

    return msgspec.structs.replace(struct, **changes)
