"""The paper venue as a process of its own: sessions come and go, the account stays."""

import pytest
import zmq

from agents import parity
from agents.chaos.links import Links
from agents.chaos.relay import Relay
from grid import wire
from grid.epoch import next_epoch
from grid.paper.line import Line
from grid.venue import Venue
from tests.support import markets
from tests.support.grids import LAUNCH, Grid
from tests.support.procs import until

PAPER = {"venue": '"paper"'}
TERMS = {
    "instrument_id": "EUR/USD.SIM", "currency": "USD", "currency_digits": 2, "price_digits": 5,
    "tick": 1e-5, "multiplier": 1.0, "taker_fee_bps": 0.5, "capital": 100.0,
}  # fmt: skip


def trade(grid, procs, *more):
    """Bring it up, let it come to its end, return its run."""
    up = grid.up(procs, *more)
    assert up.wait(60) == 0
    (run,) = grid.runs()
    assert run.ended
    checks = parity.compare(run, grid.home)
    assert [c for c in checks if not c.equal] == []
    return run


def answers(line):
    """Wait for the replies to all that was sent; return them in the order in which they came."""
    got = []

    def complete():
        if line.silent():
            line.renew()
        while (found := line.recv()) is not None:
            got.append(found)
        return not line.waiting

    until(complete, "all replies")
    return got


def test_next_session_goes_on_with_the_account_and_another_name_begins_anew(
    tmp_path, addresses, procs
):
    grid = Grid(tmp_path, addresses, markets.bar_columns(160), champion="baseline:random",
                node=PAPER)  # fmt: skip
    first = trade(grid, procs)
    assert first.restored is None
    second = trade(grid, procs)
    held = second.restored.holdings
    assert held.fills == len(first.fills)
    assert held.position_qty == first.fills[-1].position_qty
    assert second.decisions[1].account.cash == held.cash
    assert second.decisions[1].account.position_qty == held.position_qty
    assert held.fees == pytest.approx(sum(f.commission for f in first.fills), rel=1e-12)
    other = trade(grid, procs, "--set", "node.account=other")
    assert other.restored is None
    assert other.decisions[1].account.cash == grid.spec.capital


@pytest.mark.parametrize(
    ("venue", "said"),
    [
        (Venue(account="cash"), "account margin only"),
        (Venue(slippage_prob=0.1), "slippage_prob 0.0 only"),
        (Venue(liquidity_consumption=True), "liquidity_consumption False only"),
    ],
)
def test_what_the_paper_venue_cannot_do_is_refused_before_anything_starts(
    tmp_path, addresses, procs, venue, said
):
    grid = Grid(tmp_path, addresses, node=PAPER, venue=venue)
    up = grid.up(procs)
    assert up.wait() == 2
    assert said in up.text
    assert len(up.text.splitlines()) == 1


def test_second_venue_on_the_same_journal_is_refused(tmp_path, addresses, procs):
    grid = Grid(tmp_path, addresses, node=PAPER)
    grid.child(procs, "broker").ready()
    grid.child(procs, "venue").ready()
    second = grid.child(procs, "venue")
    assert second.wait() == 1
    assert "another venue keeps it" in second.text


def test_node_that_a_newer_one_has_replaced_says_so_and_ends(tmp_path, addresses, procs, context):
    grid = Grid(tmp_path, addresses, node=PAPER)
    for command in ("broker", "feed", "venue"):
        grid.child(procs, command).ready()
    newer = Line(context, addresses.venue, "main", 99)
    newer.send(wire.OpenAccount, **TERMS)
    assert answers(newer)[0][1].refused == ""
    newer.close()
    node = grid.child(procs, "node")
    assert node.wait(60) == 1
    assert f"paper venue at {addresses.venue}: node epoch 99 expected, found 1" in node.text


def test_order_lost_on_a_line_that_breaks_is_not_overtaken_by_the_price_behind_it(
    tmp_path, addresses, procs, context
):
    grid = Grid(tmp_path, addresses, node=PAPER)
    grid.child(procs, "broker").ready()
    grid.child(procs, "venue").ready()
    links = Links({"venue": addresses.venue})
    line = Line(context, links.addresses["venue"], "main", 1)
    try:
        line.send(wire.OpenAccount, **TERMS)
        answers(line)
        links.do("venue", Relay.swallow)
        line.send(wire.PlaceOrder, client_order_id="o", signed_qty=1.0, due_ns=0)
        links.do("venue", lambda relay: None)  # it is on its way to nowhere
        links.heal()
        line.socket.poll(500, zmq.POLLOUT)  # longer than a connection takes to come back
        line.send(wire.Tick, ts_event_ns=1, bid_px=1.0, ask_px=1.01, bid_qty=9.0, ask_qty=9.0)
        (_, placed), (_, ticked) = answers(line)
        assert [order.status for order in placed.orders] == ["open"]
        assert [fill.client_order_id for fill in ticked.fills] == ["o"]
    finally:
        line.close()
        links.close()


def test_line_sends_again_in_order_until_a_venue_answers(tmp_path, addresses, procs, context):
    grid = Grid(tmp_path, addresses, node=PAPER)
    grid.child(procs, "broker").ready()
    line = Line(context, addresses.venue, "main", next_epoch(tmp_path / "e", "n"))
    line.send(wire.OpenAccount, **TERMS)
    for n in range(5):
        line.send(wire.PlaceOrder, client_order_id=f"o{n}", signed_qty=1.0, due_ns=0)
    assert line.waiting == 6
    venue = grid.child(procs, "venue")
    venue.ready()

    got = [(asked.seq, reply.seq, reply.refused) for asked, reply in answers(line)]
    assert got == [(n, n, "") for n in range(1, 7)]
    venue.kill()
    line.send(wire.Tick, ts_event_ns=1, bid_px=1.0, ask_px=1.01, bid_qty=9.0, ask_qty=9.0)
    line.send(wire.QueryOrder, client_order_id="o0")
    again = grid.child(procs, "venue")
    again.ready()
    (_, ticked), (_, queried) = answers(line)
    assert len(ticked.fills) == 5
    assert queried.fills == ticked.fills[:1]
    line.close()
    assert procs.python(LAUNCH, "venue", "--help").wait() == 0
