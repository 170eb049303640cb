"""The gateway of a real grid: orders, views, streams, metrics; killed and started again."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.support import markets
from tests.support.gateways import Gateway
from tests.support.grids import ROOT, Grid

LIMIT = {"type": "limit", "side": "BUY", "qty": 1_000, "limit_px": 0.5}


@pytest.fixture
def gateway(tmp_path, addresses, procs):
    grid = Grid(
        tmp_path, addresses, markets.bar_columns(3_000), champion="baseline:flat",
        feed={"speed": 10}, node={"venue": '"paper"', "stop_at_end": "false"},
    )  # fmt: skip
    made = Gateway(grid, rate_per_s=1_000, burst=1_000)
    made.grid = grid
    grid.up(procs)
    made.ready()
    yield made
    made.client.close()


def test_web_client_orders_watches_and_finds_all_again_after_a_kill(gateway):
    with gateway.socket("orders", "fills", "market") as socket:
        first = gateway.order("a", type="market", side="BUY", qty=1_000)
        assert (first.status_code, first.json()["status"]) == (202, "accepted")
        name = first.json()["client_order_id"]
        assert first.headers["location"] == f"/api/v1/orders/{name}"
        assert gateway.order("a", type="market", side="BUY", qty=1_000).json() == {
            "client_order_id": name, "status": "duplicate", "reason": "ordered before",
        }  # fmt: skip
        assert gateway.order("a", type="market", side="BUY", qty=2_000).status_code == 409
        fill = socket.event(lambda e: e["type"] == "fill" and e["data"]["qty"] == 1_000.0)
        assert fill["data"]["client_order_id"] == name
        numbers = [event["n"] for event in socket.heard]
        assert numbers == sorted(set(numbers))
    resume = {"feed": socket.hello["feed"], "after": numbers[0]}
    with gateway.socket("orders", "fills", "market", resume=resume) as again:
        again.event(lambda e: e["n"] >= numbers[-1])
        assert [e["n"] for e in again.heard[: len(numbers) - 1]] == numbers[1:]

    filled = gateway.get(f"orders/{name}")
    assert (filled["status"], filled["manual"], filled["by"]) == ("filled", True, "web")
    rests = gateway.order("b", **LIMIT).json()["client_order_id"]
    gateway.until(f"orders/{rests}", lambda order: order["status"] == "accepted")
    refused = gateway.order("c", **{**LIMIT, "qty": 0.5})
    assert refused.status_code == 409
    assert "whole lots" in refused.json()["detail"]

    os.kill(gateway.grid.pid_of("gateway"), signal.SIGKILL)
    gateway.ready()  # again, started by the supervisor
    kept = gateway.get("orders", status="open")["items"]
    assert [order["client_order_id"] for order in kept] == [rests]
    assert gateway.get(f"orders/{name}") == {**filled, "n": gateway.get(f"orders/{name}")["n"]}
    assert gateway.order("a", type="market", side="BUY", qty=1_000).json()["status"] == "duplicate"
    assert gateway.client.delete(f"orders/{rests}").status_code == 202
    gateway.until(f"orders/{rests}", lambda order: order["status"] == "canceled")

    halted = gateway.client.post("strategies/S-1/halt", json={"reason": "lunch"}).json()
    assert (halted["state"], halted["done"]) == ("halted", True)
    stopped = gateway.order("d", type="market", side="SELL", qty=1_000)
    assert (stopped.status_code, stopped.json()["detail"]) == (409, "halted by web: lunch")
    gateway.until("strategies", lambda found: found[0]["halt_reason"] == "lunch")
    assert gateway.client.post("strategies/S-1/resume", json={}).json()["state"] == "trading"
    assert [p["by"] for p in gateway.get("control")["items"][:2]] == ["web", "web"]

    fills = []
    page = gateway.get("fills", limit=1)
    while True:
        fills += page["items"]
        if page["next"] is None:
            break
        page = gateway.get("fills", limit=1, cursor=page["next"])
    assert len({f["trade_id"] for f in fills}) == len(fills) == 2  # ours, and what undid it
    assert gateway.get("gaps")["items"] == []

    scraped = httpx.get(f"{gateway.url}/metrics", headers={"X-API-Key": gateway.key}).text
    families = {f.name: f for f in text_string_to_metric_families(scraped)}
    up = {s.labels["process"]: s.value for s in families["argonaut_process_up"].samples}
    assert up == dict.fromkeys(
        ("broker", "recorder", "feed", "venue", "node", "agent-alpha", "gateway"), 1.0
    )
    dashboard = (ROOT / "docs" / "grafana" / "argonaut.json").read_text()
    assert set(re.findall(r"argonaut_[a-z_]+", dashboard)) <= set(families)


def test_stranger_is_refused_by_rest_websocket_and_metrics(gateway):
    for path in ("/api/v1/orders", "/metrics"):
        found = httpx.get(f"{gateway.url}{path}")
        assert (found.status_code, found.headers["www-authenticate"]) == (401, "Bearer")
        assert found.headers["content-type"] == "application/problem+json"
    evil = {"X-API-Key": gateway.key, "Origin": "http://evil.example"}
    assert httpx.get(f"{gateway.url}/api/v1/orders", headers=evil).status_code == 403
    url = f"ws://127.0.0.1:{gateway.port}/ws"
    for headers in ({}, evil):
        with pytest.raises(InvalidStatus, match="403"), connect(url, additional_headers=headers):
            pass
    ticket = gateway.client.post("ws-ticket").json()["ticket"]
    with connect(f"{url}?ticket={ticket}") as socket:
        assert '"hello"' in socket.recv(5)
    with pytest.raises(InvalidStatus), connect(f"{url}?ticket={ticket}"):
        pass


@pytest.mark.timeout(300)
def test_schemathesis_finds_no_fault_with_the_api(gateway, tmp_path):
    found = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"), "run", f"{gateway.url}/openapi.json",
            "-H", f"X-API-Key: {gateway.key}", "--checks", "all", "--max-examples", "2",
            "--phases", "coverage,fuzzing", "--seed", "1", "--generation-database", "none",
        ],
        check=False, cwd=tmp_path, capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout[-4_000:]
