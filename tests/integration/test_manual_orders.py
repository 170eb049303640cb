"""A person's orders on a running grid: judged by the node, filled by its venue, recorded."""

import pytest

from agents import parity
from grid import wire
from grid.bus import Requester
from tests.support import markets
from tests.support.grids import Grid, Watch

ORDER = wire.ManualOrder("S-1", "manual-a", "ann", "BUY", 1_000.0)


@pytest.mark.parametrize("venue", ["sandbox", "paper"])
def test_manual_orders_fill_once_rest_and_are_taken_back(
    tmp_path, addresses, procs, context, venue
):
    grid = Grid(
        tmp_path, addresses, markets.bar_columns(240), champion="baseline:flat",
        feed={"speed": 40}, node={"venue": f'"{venue}"'}, limits={"max_position_qty": 5_000.0},
    )  # fmt: skip
    watch, asking = Watch(context, grid), Requester(context, addresses.requests)
    up = grid.up(procs)
    try:
        watch.outcomes(25, timeout_s=60.0)  # so that the env has something to repeat
        quote = next(e for _, e in reversed(watch.events) if isinstance(e, wire.Quote))

        def ask(request):
            return asking.ask(request, 5.0)

        def fill_of(name):
            return watch.until(
                lambda e: isinstance(e, wire.Fill) and e.client_order_id == name, f"fill of {name}"
            )

        def status(name, status):
            watch.until(
                lambda e: (
                    isinstance(e, wire.OrderUpdate)
                    and (e.client_order_id, e.status) == (name, status)
                ),
                f"{name} {status}",
            )

        assert ask(ORDER) == wire.ManualReply("manual-a", "accepted")
        assert fill_of("manual-a").qty == 1_000.0
        assert ask(ORDER).status == "duplicate"
        other = ask(wire.ManualOrder("S-1", "manual-a", "ann", "SELL", 1_000.0))
        assert (other.status, other.reason.endswith("for another order")) == ("refused", True)
        much = ask(wire.ManualOrder("S-1", "manual-b", "ann", "BUY", 6_000.0))
        assert much.reason.startswith("limits.max_position_qty 5,000: ")
        dear = round(quote.ask_px * 1.5, 5)
        ask(wire.ManualOrder("S-1", "manual-c", "ann", "BUY", 1_000.0, dear))
        assert fill_of("manual-c").px < dear
        cheap = round(quote.bid_px * 0.5, 5)
        for name in ("manual-d", "manual-e"):
            assert ask(wire.ManualOrder("S-1", name, "ann", "BUY", 1_000.0, cheap)).status == (
                "accepted"
            )
        status("manual-d", "accepted")
        assert ask(wire.CancelManual("S-1", "manual-d", "ann")).status == "accepted"
        status("manual-d", "canceled")
        assert ask(wire.CancelManual("S-1", "manual-d", "ann")).status == "refused"
        status("manual-e", "canceled")  # at the end of the feed
        assert up.wait(30) == 0
    finally:
        asking.close()
        watch.close()
    (run,) = grid.runs()
    fills = [f.client_order_id for f in run.fills if f.client_order_id.startswith("manual-")]
    assert fills == ["manual-a", "manual-c"]
    assert run.fills[-1].position_qty == 0.0  # the agent wants nothing, and has had its way
    assert len(run.before_intervention().events) < len(run.events)
    assert all(check.equal for check in parity.compare(run, grid.home))
    assert b'"kind":"order"' in (grid.home.audit / "test.jsonl").read_bytes()
