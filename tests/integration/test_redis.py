"""Orders through a real Redis: nothing lost, nothing done twice, whoever is killed."""

import os
import re
import signal
import subprocess
import sys
import time

import msgspec
import pytest
import redis

from grid import wire
from grid.paper import log
from grid.proof.check import check
from grid.proof.evidence import read
from grid.redis.config import RedisConfig
from grid.redis.orders import Orders, client_order_id
from grid.session import find
from tests.support import markets
from tests.support.gateways import free_port
from tests.support.grids import ROOT, Grid
from tests.support.procs import until
from tests.support.redis_server import RedisServer, needs_redis

pytestmark = needs_redis


@pytest.fixture
def server(tmp_path):
    made = RedisServer(tmp_path / "redis")
    yield made
    made.close()


def bring_up(grid, procs, url, **options):
    said = "\n".join(f"{k} = {v}" for k, v in options.items())
    with grid.config.open("a") as config:
        config.write(f'\n[redis]\nurl = "{url}"\n{said}\n')
    up = grid.up(procs)
    grid.pid_of("bridge-redis")
    return up


def submit(orders, key, qty):
    """Put an order in as a web server does that tries again until it has an answer."""

    def put():
        try:
            return orders.submit(key, "BUY", qty, by="web")
        except redis.RedisError:
            return None

    return until(put, f"Redis to take {key}")


def test_orders_are_carried_out_once_though_bridge_and_redis_are_killed(
    tmp_path, addresses, procs, server
):
    grid = Grid(
        tmp_path, addresses, markets.bar_columns(3_000), champion="baseline:flat",
        feed={"speed": 20}, node={"venue": '"paper"', "stop_at_end": "false"},
    )  # fmt: skip
    up = bring_up(grid, procs, server.url)
    names = RedisConfig().names("test")
    orders = Orders(server.client, names)
    keys = [f"k{n}" for n in range(40)]
    for n, key in enumerate(keys):
        assert submit(orders, key, 1_000.0) in ("queued", "duplicate")
        if n in (10, 25):
            os.kill(grid.pid_of("bridge-redis"), signal.SIGKILL)
        if n in (18, 30):
            server.kill()
            time.sleep(0.2)
            server.start()
    assert submit(orders, keys[0], 1_000.0) == "duplicate"
    assert submit(orders, keys[0], 2_000.0) == "conflict"
    replies = [until(lambda key=key: orders.reply(key), f"a reply to {key}", 60.0) for key in keys]
    assert {reply.status for reply in replies} <= {"accepted", "duplicate"}
    assert until(lambda: server.client.xlen(names.orders) == 0, "an empty stream")
    ids = {client_order_id(key) for key in keys}

    def filled():
        found = [msgspec.json.decode(f[b"event"]) for _, f in server.client.xrange(names.events)]
        fills = [e["data"] for e in found if e["type"] == "fill"]
        ours = [f["client_order_id"] for f in fills if f["client_order_id"] in ids]
        return found if set(ours) == ids else None

    events = until(filled, "a fill of each order among the events in Redis", 60.0)
    streams = [(e["source"], e["epoch"], e["topic"], e["seq"]) for e in events]
    assert len(set(streams)) == len(streams)
    up.stop()
    journal = log.read(grid.home.venues / "test.sqlite", "main")
    proved = check(read([find(grid.home.sessions, "latest")], journal))
    assert [one for one in proved if one.violations] == []
    (run,) = grid.runs()
    ours = [f.client_order_id for f in run.fills if f.client_order_id in ids]
    assert sorted(ours) == sorted(ids)
    done = [e for _, e in run.events if isinstance(e, wire.Manual) and e.done]
    assert sorted(e.client_order_id for e in done) == sorted(ids)
    assert {e.by for e in done} == {"web"}


def test_order_that_waited_too_long_expires_and_one_that_is_none_is_said_to_be(
    tmp_path, addresses, procs, server
):
    names = RedisConfig().names("test")
    orders = Orders(server.client, names)
    assert orders.submit("old", "BUY", 1_000.0) == "queued"
    server.client.xadd(names.orders, {"order": "[]"})
    time.sleep(0.02)
    grid = Grid(
        tmp_path, addresses, markets.bar_columns(3_000), champion="baseline:flat",
        feed={"speed": 10}, node={"venue": '"paper"', "stop_at_end": "false"},
    )  # fmt: skip
    bring_up(grid, procs, server.url, order_ttl_s=0.01)
    assert until(lambda: orders.reply("old"), "a reply").status == "expired"
    said = until(lambda: len(server.client.xrange(names.replies)) == 2 and True, "two replies")
    assert said
    found = [msgspec.json.decode(f[b"reply"]) for _, f in server.client.xrange(names.replies)]
    assert found[1]["status"] == "invalid"
    assert "expected a field" in found[1]["reason"]


def test_guide_does_what_it_says_when_it_is_typed(tmp_path, addresses):
    text = (ROOT / "docs" / "guides" / "redis-orders.md").read_text()
    lines = [
        line
        for block in re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
        for line in block.splitlines()
    ]
    grid = Grid(
        tmp_path, addresses, markets.bar_columns(3_000), champion="baseline:flat",
        node={"venue": '"paper"', "stop_at_end": "false"},
    )  # fmt: skip
    ports = {"6379": str(free_port()), "8000": str(free_port())}
    places = {
        "uv run launch.py up": f"{sys.executable} launch.py up --home {grid.home.root}",
        "uv run uvicorn": f"{sys.executable} -m uvicorn",
        "configs/grid.toml": str(grid.config),
        ".argonaut/redis": str(tmp_path / "redis"),
        " --daemonize yes": " &",  # so that it ends with the test
        "argonaut:eurusd": "argonaut:test",
        "feed.speed=1": "feed.speed=10",
        **ports,
    }
    env = os.environ | {
        "REDIS_URL": f"redis://127.0.0.1:{ports['6379']}/0",
        "PREFIX": "argonaut:test",
    }
    running, said = [], []

    def typed(line):
        found = subprocess.run(
            ["bash", "-c", line], cwd=ROOT, env=env, capture_output=True, text=True, timeout=30,
            check=False,
        ).stdout  # fmt: skip
        done = "fill" in found if line.startswith("redis-cli") else "no answer" not in found
        return found if found and done else None

    try:
        for written in lines:
            line = written
            for there, here in places.items():
                line = line.replace(there, here)
            if line.endswith("&"):
                running.append(
                    subprocess.Popen(
                        ["bash", "-c", f"exec {line[:-1]}"],
                        cwd=ROOT,
                        env=env,
                        start_new_session=True,
                        stdout=subprocess.DEVNULL,
                    )
                )
            elif line.startswith("mkdir"):
                subprocess.run(["bash", "-c", line], check=True, timeout=10)
            else:
                said.append(until(lambda line=line: typed(line), line, 60.0))
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait(20)
    assert said[0] == '{"key":"first","status":"queued"}'
    assert '"status":"accepted"' in said[1]
    assert '"type":"fill"' in said[2].replace('\\"', '"')
