"""The Python client of a running grid, sync and async."""

import asyncio
import signal
from pathlib import Path

import pytest

from agents.client import AsyncGrid, Grid, frame
from grid.bus import Addresses
from grid.errors import AccessError, BusError, RefusedError
from tests.support import grids, markets
from tests.support.gateways import Gateway, free_port
from tests.support.procs import Procs, until


def test_client_orders_halts_and_watches_a_grid(
    procs: Procs, addresses: Addresses, tmp_path: Path
) -> None:
    made = grids.Grid(
        tmp_path, addresses, markets.bar_columns(3_000), champion="baseline:flat",
        feed={"speed": 10}, node={"stop_at_end": "false"},
    )  # fmt: skip
    gateway = Gateway(made)
    up = made.up(procs)
    gateway.ready()
    grid = Grid(gateway.url, gateway.key)
    assert grid.ready()
    expected = {"broker", "node", "agent-alpha", "gateway"}
    until(lambda: expected <= {p.name for p in grid.status()}, "every process to be known")

    bought = grid.buy(1_000, reason="a test", key="once")
    assert bought.status == "accepted"
    assert grid.buy(1_000, reason="a test", key="once").status == "duplicate"
    order = until(
        lambda: next((o for o in grid.orders() if o.status == "filled"), None), "the fill"
    )
    assert (order.client_order_id, order.by) == (bought.client_order_id, "web")
    (fill, *_) = [f for f in grid.fills() if f.client_order_id == order.client_order_id]
    assert (fill.side, fill.qty) == ("BUY", 1_000.0)
    until(lambda: len(grid.equity(20)) == 20, "twenty decisions")
    table = frame(grid.equity(20))
    assert table.index.is_monotonic_increasing
    assert len(table) == 20
    rests = grid.buy(1_000, limit_px=0.5)
    until(lambda: grid.order(rests.client_order_id).status == "accepted", "the limit order")
    assert grid.cancel(rests.client_order_id).status == "accepted"
    with pytest.raises(RefusedError, match="whole lots"):
        grid.sell(0.5)
    with pytest.raises(AccessError):
        Grid(gateway.url, "nonsense").positions()

    async def watch() -> list[str]:
        other = AsyncGrid(gateway.url, gateway.key)
        assert (await other.positions())[0].strategy_id == "S-1"
        kinds = []
        stream = other.events("market", "control")
        async for event in stream:
            if not kinds:
                assert (await other.halt("lunch")).state == "halted"
            kinds.append(event.type)
            if "halted" in kinds:
                break
        await stream.aclose()  # type: ignore[attr-defined]
        assert (await other.resume()).state == "trading"
        return kinds

    assert "bar" in asyncio.run(asyncio.wait_for(watch(), 60.0))
    for event in grid.events("market", timeout_s=30.0):
        assert event.data["instrument_id"] == "EUR/USD.SIM"
        break
    gateway.client.close()
    up.popen.send_signal(signal.SIGINT)
    assert up.wait() == 0


def test_client_says_where_nobody_answers() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert not Grid(url).ready()
    with pytest.raises(BusError, match=f"{url}: no answer to GET positions"):
        Grid(url).positions()
