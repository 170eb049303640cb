"""A policy whose network runs in a server: the same decisions, and none that is late or wrong."""

import os
import signal
import socket
import threading
import time

import msgspec
import numpy as np
import pytest

from agents.grids import check
from agents.policy import OnnxPolicy, Undecided
from agents.serving import address
from agents.serving.remote import RemotePolicy
from grid import wire
from grid.config import load
from grid.errors import CheckpointError, ConfigError
from grid.home import Home
from grid.topology import GridConfig
from tests.support import markets, runs, serving
from tests.support.grids import Grid, Watch
from tests.support.procs import WAIT_S, Procs, until

ROWS = np.random.default_rng(3).standard_normal((20, 10)).astype(np.float32)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("remote"))
    return home, [runs.checkpoint(home.runs, seed=seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def served(place, tmp_path_factory):
    home, both = place
    procs = Procs(tmp_path_factory.mktemp("procs"))
    yield serving.start(procs, home.root, f"tick={both[0].path}", f"other={both[1].path}")
    assert not procs.close()


def remote(place, where, **more):
    home, both = place
    said = {"checkpoint": str(both[0].path), "deadline_ms": 5_000, **more}
    query = "&".join(f"{name}={value}" for name, value in said.items())
    return RemotePolicy.open(address.read(f"remote:{where}?{query}"), home.models)


def why(policy, obs=ROWS[0]):
    """Why it does not decide, and how long it took."""
    began = time.monotonic()
    with pytest.raises(Undecided) as undecided:
        policy.act(obs)
    return undecided.value.why, time.monotonic() - began


@pytest.mark.parametrize(
    "where",
    [
        "{http}/v2/models/tick",
        "{http}/v2/models/tick/versions/1",
        "{http}/predictions/tick",
        "{zmq}",
    ],
)
def test_remote_policy_decides_as_the_checkpoint_does(place, served, where):
    more = {"model": "tick"} if where == "{zmq}" else {}
    policy = remote(place, where.format(**served._asdict()), **more)
    try:
        policy.prove()
        local = OnnxPolicy(place[1][0])
        assert [policy.act(row) for row in ROWS] == [local.act(row) for row in ROWS]
        assert policy.spec == local.spec
    finally:
        policy.close()


def test_server_with_another_network_is_refused_before_it_decides(place, served):
    policy = remote(place, f"{served.http}/v2/models/other")
    with pytest.raises(CheckpointError, match="expected outputs of checkpoint"):
        policy.prove()
    assert why(policy)[0] == "differs"
    policy.close()


def test_model_that_is_not_there_is_no_decision(place, served):
    policy = remote(place, f"{served.http}/v2/models/nothing")
    assert why(policy)[0] == "http_404"
    policy.close()
    policy = remote(place, served.zmq, model="nothing")
    assert why(policy)[0] == "unknown_model"
    policy.close()


def test_golden_rows_tell_a_foreign_server_with_other_outputs(place):
    body = msgspec.json.encode([0.0, 1.0, 2.0])

    def answer(connected):
        while connected.recv(65_536):
            connected.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            )

    with serving.misbehaving(answer) as where:
        policy = remote(place, f"http://{where}/predictions/tick")
        with pytest.raises(CheckpointError, match="differs by"):
            policy.prove()
        policy.close()


def test_connection_that_the_server_closed_while_it_was_idle_is_no_failure(place):
    local, closed = OnnxPolicy(place[1][0]), threading.Event()

    def answer(connected):
        for _ in range(4):  # three golden rows and a decision
            request = connected.recv(65_536)
            if not request:
                return
            obs = np.array(msgspec.json.decode(request.partition(b"\r\n\r\n")[2]), np.float32)
            body = msgspec.json.encode(local.outputs(obs).tolist())
            connected.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        connected.shutdown(socket.SHUT_RDWR)
        closed.set()

    with serving.misbehaving(answer) as where:
        policy = remote(place, f"http://{where}/predictions/tick", retries=0)
        assert policy.act(ROWS[0]) == local.act(ROWS[0])
        assert closed.wait(WAIT_S)
        assert policy.act(ROWS[1]) == local.act(ROWS[1])
        policy.close()


def drip(connected):
    connected.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        connected.sendall(b" ")
        time.sleep(0.02)


def garbage(connected):
    connected.recv(65_536)
    connected.sendall(b"\x00\x01 nothing that anybody knows\r\n\r\n")


def endless(connected):
    connected.recv(65_536)
    while True:
        connected.sendall(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 60_000)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda connected: None, "late"),  # takes the request, and nothing comes
        (drip, "late"),
        (garbage, "garbled"),
        (endless, "garbled"),
        (lambda connected: connected.shutdown(2), "unreachable"),
    ],
    ids=["silent", "drips", "garbage", "endless", "hangs-up"],
)
def test_server_that_fails_costs_one_decision_and_no_time(place, answer, reason):
    with serving.misbehaving(answer) as where:
        policy = remote(place, f"http://{where}/predictions/tick", deadline_ms=150)
        found, took_s = why(policy)
        policy.close()
    assert found in (reason, "unreachable")  # a reset may come before the end of what was sent
    assert took_s < 5.0  # 0.15 s, but for a machine that is busy


def test_circuit_opens_on_a_dead_server_and_closes_when_it_is_back(place, procs):
    home, both = place
    server = serving.start(procs, home.root, f"tick={both[0].path}")
    where = f"{server.http}/v2/models/tick"
    port = server.http.rpartition(":")[2]
    policy = remote(place, where, failures=2)
    assert isinstance(policy.act(ROWS[0]), float)
    server.proc.kill()
    whys = [why(policy)[0] for _ in range(4)]
    assert whys[:2] == ["unreachable", "unreachable"]
    assert "open" in whys[2:]
    serving.start(procs, home.root, f"tick={both[0].path}", http__port=port)

    def decides():
        try:
            return policy.act(ROWS[0]) is not None
        except Undecided:
            return False

    until(decides, "the circuit to close", 60.0)
    policy.close()


def test_grid_trades_by_its_server_and_falls_back_without_it(tmp_path, procs, addresses, context):
    end = addresses.requests.replace("requests", "serving")
    rows = markets.bar_columns(3_000)  # more than the test waits for
    grid = Grid(tmp_path, addresses, rows, feed={"speed": 20, "lockstep": "false"})
    mine = grid.checkpoint.path
    before, _, agents = grid.config.read_text().partition("[[agents]]")
    where = f"remote:{end}?model=tick&checkpoint={mine}"
    agents = agents.replace(f'checkpoint = "{mine}"', f'checkpoint = "{where}"')
    grid.config.write_text(
        f'{before}[[agents]]{agents}\n[serving]\nendpoint = "{end}"\n'
        f'models = [{{ name = "tick", checkpoint = "{mine}" }}]\n'
    )
    up = grid.up(procs)
    watch = Watch(context, grid)
    try:
        watch.outcomes(3, timeout_s=90)
        os.kill(grid.pid_of("serving"), signal.SIGKILL)
        watch.until(lambda e: isinstance(e, wire.Outcome) and e.how != "action", "a fallback")
        watch.until(
            lambda e: isinstance(e, wire.Heartbeat) and e.counters.get("undecided", 0) >= 1,
            "the agent to count what it does not decide",
        )
        watch.outcomes(2, timeout_s=60)  # the supervisor has started the server again
    finally:
        watch.close()
    assert up.stop(60) == 0
    acted = [e for run in grid.runs() for _, e in run.events if isinstance(e, wire.Acted)]
    assert {e.action.policy for e in acted} == {grid.checkpoint.digest}


def test_deadline_that_leaves_the_node_no_time_is_refused(tmp_path, addresses):
    grid = Grid(tmp_path, addresses)
    where = f"remote:http://127.0.0.1:1/predictions/m?checkpoint={grid.checkpoint.path}"
    text = grid.config.read_text()
    head, _, tail = text.rpartition(f'"{grid.checkpoint.path}"')
    grid.config.write_text(f'{head}"{where}&deadline_ms=5000"{tail}')
    with pytest.raises(ConfigError, match=r"deadline_ms below node\.ttl_ms 5000"):
        check(load(grid.config, GridConfig), grid.home)
