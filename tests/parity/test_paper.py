"""The promise holds at a venue that is a process of its own: orders and prices never race."""

import numpy as np
import pytest

from agents import parity
from tests.support import markets
from tests.support.grids import Grid


def thin(n):
    """Quotes with less size than is ordered: the rest fills one tick worse."""
    columns = markets.quote_columns(n)
    return {**columns, "bid_qty": np.full(n, 3_000.0), "ask_qty": np.full(n, 4_000.0)}


MARKETS = {
    "bars": (markets.bar_columns(400), {}),
    "quotes, every third": (markets.quote_columns(400), {"every": 3}),
    "trades, on a timer": (markets.trade_columns(600), {"timer_s": 5.0}),
    "thin quotes": (thin(400), {}),
    "more than the margin": (markets.quote_columns(400), {"max_qty": 35_000_000.0}),
}


@pytest.mark.parametrize("market", MARKETS)
def test_paper_session_equals_replay_and_env(tmp_path, addresses, procs, market):
    columns, spec = MARKETS[market]
    champion = "baseline:random" if "margin" in market else ""
    grid = Grid(tmp_path, addresses, columns, champion=champion, spec=spec,
                node={"venue": '"paper"'})  # fmt: skip
    assert grid.up(procs).wait(60) == 0
    (run,) = grid.runs()
    assert run.ended
    assert run.restored is None
    assert {(o.how, o.reason) for o in run.outcomes.values()} == {("action", "")}
    assert "held" not in {o.status for o in run.orders}
    denied = {o.client_order_id for o in run.orders if o.status == "denied"}
    assert len(run.fills) > 10 or denied
    if market == "thin quotes":
        assert len(run.fills) > 1.5 * len({f.client_order_id for f in run.fills})
    if market == "more than the margin":
        assert denied
    checks = parity.compare(run, grid.home)
    assert [c for c in checks if not c.equal] == []
    assert "fills: live = env" in {c.what for c in checks}
