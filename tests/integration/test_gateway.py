"""The gateway of a real grid: orders, views, streams, metrics; killed and started again."""

import contextlib
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.support import markets
from tests.support.gateways import Gateway, free_port
from tests.support.grids import ROOT, Grid
from tests.support.procs import until

BINARY = shutil.which("prometheus")

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


def asked_of_prometheus(gateway, folder, query):
    """Let a real Prometheus scrape the gateway, and return what it answers to a query."""
    config, port = folder / "prometheus.yml", free_port()
    config.write_text(
        "global: {scrape_interval: 1s}\nscrape_configs:\n"
        f"- job_name: argonaut\n  authorization: {{credentials: {gateway.key}}}\n"
        f"  static_configs: [{{targets: ['127.0.0.1:{gateway.port}']}}]\n"
    )
    process = subprocess.Popen(
        [
            BINARY, f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
        ]
    )  # fmt: skip

    def answered():
        with contextlib.suppress(httpx.HTTPError, ValueError):  # it says 503 while it starts
            url = f"http://127.0.0.1:{port}/api/v1/query"
            return httpx.get(url, params={"query": query}).json()["data"]["result"]
        return None

    try:
        return until(answered, "Prometheus to have scraped", 60.0)
    finally:
        process.terminate()
        process.wait(20)


def test_web_client_orders_watches_and_finds_all_again_after_a_kill(gateway, tmp_path):
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
    seen = {f"{e['source']} {e['epoch']} {e['topic']}": e["seq"] for e in (fill,)}
    with gateway.socket("fills", "decisions", resume={"streams": seen}) as late:
        late.event(lambda e: e["topic"] == fill["topic"])
        assert late.heard[0]["seq"] > fill["seq"]
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

    names = {"broker", "recorder", "feed", "venue", "node", "agent-alpha", "gateway"}

    def scraped():
        text = httpx.get(f"{gateway.url}/metrics", headers={"X-API-Key": gateway.key}).text
        found = {f.name: f for f in text_string_to_metric_families(text)}
        up = {s.labels["process"]: s.value for s in found["argonaut_process_up"].samples}
        return found if up == dict.fromkeys(names, 1.0) else None

    families = until(scraped, "all processes to be up")
    if BINARY is not None:
        scraped_up = asked_of_prometheus(gateway, tmp_path, "argonaut_process_up")
        assert {s["metric"]["process"] for s in scraped_up} == names
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


def test_gateway_speaks_tls_and_refuses_an_address_of_all_without_a_key(tmp_path, addresses, procs):
    grid, port = Grid(tmp_path, addresses), free_port()
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "1", "-subj", "/CN=localhost", "-addext",
            "subjectAltName=DNS:localhost", "-out", files[0], "-keyout", files[1],
        ],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    over = [f"gateway.port={port}", f"gateway.cert={files[0]}", f"gateway.cert_key={files[1]}"]
    sets = [word for each in over for word in ("--set", each)]
    gateway = grid.child(procs, "gateway", *sets)
    gateway.ready()
    trusted = ssl.create_default_context(cafile=files[0])
    url = f"https://localhost:{port}/api/v1"
    assert httpx.get(f"{url}/health", verify=trusted).json()["status"] == "ok"
    found = httpx.get(f"{url}/ready", verify=trusted)  # no broker runs, and it says so
    assert (found.status_code, found.json()["broker"]) == (503, False)
    open_to_all = grid.child(procs, "gateway", "--set", "gateway.host=0.0.0.0")
    assert open_to_all.wait() == 2
    assert "an API key is expected, found none" in open_to_all.text
    assert gateway.stop() == 0
