"""The model server, from its command line: what it answers, to whom, and when it says no."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import httpx
import msgpack
import msgspec
import numpy as np
import pytest
import zmq

from agents.policy import OnnxPolicy
from agents.registry.registry import Registry
from grid.bus import new_context
from grid.errors import BusError
from grid.home import Home
from grid.identity import Identity
from grid.registrar import make_grid_key
from grid.serving import wire
from grid.serving.ends import Asker, AsyncAsker
from tests.support import runs, serving
from tests.support.procs import WAIT_S, Procs, until

FOREIGN = Path(__file__).parents[1] / "support" / "foreign_client.py"
NAME = "eurusd/champion"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A home whose registry holds two checkpoints of one spec; a name points at the first."""
    home = Home(tmp_path_factory.mktemp("serving"))
    both = [runs.checkpoint(home.runs, seed=seed) for seed in (1, 2)]
    promote(home, both[0])
    Registry(home.models).add(both[1])
    return home, both


@pytest.fixture(scope="module")
def served(place, tmp_path_factory):
    """One server for the tests that leave it as it was: `tick` and what the name points at."""
    home, both = place
    procs = Procs(tmp_path_factory.mktemp("procs"))
    yield serving.start(procs, home.root, f"tick={both[0].path}", f"model:{NAME}", max_batch=16)
    assert not procs.close()


def promote(home, checkpoint):
    registry = Registry(home.models)
    registry.promote(checkpoint, NAME, by="t", why="test", at="2026-01-01", force=True)


def alone(checkpoint, obs):
    """What an agent's own network gives, row after row."""
    policy = OnnxPolicy(checkpoint)
    return np.stack([policy.outputs(row) for row in obs])


def observations(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, 10)).astype(np.float32)


def ask(context, served, request, timeout_s=WAIT_S):
    asker = Asker(context, served.zmq)
    try:
        return asker.ask(request, timeout_s)
    finally:
        asker.close()


async def connected(asker):
    while not isinstance(await asker.ask(wire.Models(0), WAIT_S), wire.Listing):
        await asyncio.sleep(0.01)


async def ask_all(address, requests):
    """Send all at once, and return the replies in their order."""
    context = new_context()
    asker = AsyncAsker(context, address, limit=10_000)
    try:
        await connected(asker)
        return await asyncio.gather(*(asker.ask(r, WAIT_S) for r in requests))
    finally:
        asker.close()
        context.destroy(linger=0)


def metric(server, name):
    page = httpx.get(f"{server.http}/metrics", timeout=WAIT_S).text
    lines = [ln for ln in page.splitlines() if ln.startswith(f"argonaut_serving_{name}")]
    return float(lines[0].rpartition(" ")[2]) if lines else None


# -- what is predicted -----------------------------------------------------------------------------


def test_outputs_of_a_batch_are_those_of_an_agent_bit_for_bit(place, served):
    obs = observations(400)
    requests = [wire.Predict(0, "tick", row.tobytes()) for row in obs]
    replies = asyncio.run(ask_all(served.zmq, requests))
    found = b"".join(reply.outputs for reply in replies)
    assert found == alone(place[1][0], obs).tobytes()
    assert max(reply.batch for reply in replies) > 1
    assert {reply.digest for reply in replies} == {place[1][0].digest}


def test_rows_of_one_request_come_back_in_order(context, place, served):
    obs = observations(7)
    reply = ask(context, served, wire.Predict(0, "eurusd.champion", obs.tobytes()))
    assert reply.outputs == alone(place[1][0], obs).tobytes()
    assert reply.batch == 7


def test_plain_req_socket_that_knows_messagepack_is_answered(place, served):
    obs = observations(1)
    said = {"type": "Predict", "id": 9, "model": "tick", "obs": obs.tobytes()}
    with zmq.Context() as plain, plain.socket(zmq.REQ) as socket:
        socket.linger = 0
        socket.rcvtimeo = int(WAIT_S * 1e3)
        socket.connect(served.zmq)
        socket.send(msgpack.packb(said))
        found = msgpack.unpackb(socket.recv())
        socket.send(b"\xc1 no message")
        refused = msgpack.unpackb(socket.recv())
    assert (found["type"], found["id"], found["version"]) == ("Prediction", 9, "1")
    assert found["outputs"] == alone(place[1][0], obs).tobytes()
    assert (refused["type"], refused["code"]) == ("Refusal", "BAD_INPUT")


def test_agent_of_a_grid_with_keys_is_answered(place, served, tmp_path):
    make_grid_key(tmp_path)
    secured = new_context(Identity(tmp_path))
    asker = Asker(secured, served.zmq)
    try:
        reply = asker.predict("tick", observations(1).tobytes(), WAIT_S)
        assert isinstance(reply, wire.Prediction)
    finally:
        asker.close()
        secured.destroy(linger=0)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (wire.Predict(0, "nothing", bytes(40)), "UNKNOWN_MODEL"),
        (wire.Predict(0, "tick", bytes(40), version="7"), "UNKNOWN_MODEL"),
        (wire.Predict(0, "tick", bytes(39)), "BAD_INPUT"),
        (wire.Predict(0, "tick", b""), "BAD_INPUT"),
        (wire.Predict(0, "tick", bytes(40 * 17)), "BAD_INPUT"),
        (wire.Predict(0, "tick", np.full(10, np.nan, "<f4").tobytes()), "BAD_INPUT"),
        (wire.Predict(0, "tick", bytes(40), deadline_ns=1), "EXPIRED"),
        (wire.Register(0, "/etc/passwd"), "REFUSED"),
        (wire.Register(0, "https://example.com/m.mar"), "REFUSED"),
        (wire.Register(0, "model:nobody/there"), "FAILED"),
        (wire.Scale(0, "tick", 2), "REFUSED"),
        (wire.Unregister(0, "nothing"), "UNKNOWN_MODEL"),
    ],
)
def test_request_that_cannot_be_met_is_refused_with_a_code(context, served, request_, code):
    reply = ask(context, served, request_)
    assert isinstance(reply, wire.Refusal)
    assert reply.code == code
    assert reply.reason


# -- existing clients ------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_foreign_client_of_the_open_inference_protocol_works_unchanged(place, served, protocol):
    obs = observations(3)
    digest = place[1][0].digest
    where = served.http.removeprefix("http://") if protocol == "http" else served.grpc
    run = subprocess.run(
        [sys.executable, FOREIGN, protocol, where, "tick", digest, json.dumps(obs.tolist())],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["live"]
    assert found["ready"]
    assert found["model_ready"]
    assert found["server"] == "argonaut"
    assert set(found["outputs"]) == {alone(place[1][0], obs).tobytes().hex()}
    assert found["unknown"][0] == ("404" if protocol == "http" else "StatusCode.NOT_FOUND")
    assert "no model 'nothing'" in found["unknown"][1]
    assert found["metadata"]["inputs"][0]["name"] == "obs"
    assert found["metadata"]["versions"] == ["1"]
    assert {m["name"] for m in found["index"]} == {"tick", "eurusd.champion"}


def test_client_of_torchserve_works_unchanged(place, served):
    obs = observations(1)[0]
    with httpx.Client(base_url=served.http, timeout=WAIT_S) as client:
        assert client.get("/ping").json() == {"status": "Healthy"}
        found = client.post("/predictions/tick", json=obs.tolist())
        assert np.array(found.json(), dtype=np.float32).tobytes() == (
            alone(place[1][0], obs[None]).tobytes()
        )
        assert found.headers["x-model-digest"] == place[1][0].digest
        assert client.post("/predictions/tick/1", content=obs.tobytes(),
                           headers={"Content-Type": "application/octet-stream"},
                           ).json() == found.json()  # fmt: skip
        missing = client.post("/predictions/nothing", json=[1.0])
        assert missing.status_code == 404
        assert missing.json()["type"] == "ModelNotFoundException"
        page = client.get("/models", params={"limit": 1}).json()
        assert page["models"][0]["modelName"] == "tick"
        assert page["nextPageToken"] == "1"
        (told,) = client.get("/models/tick").json()
        assert (told["modelVersion"], told["minWorkers"], told["batchSize"]) == ("1", 1, 16)
        assert "argonaut_serving_requests_total" in client.get("/metrics").text


def test_web_page_is_refused(served):
    page = {"Origin": "https://example.com"}
    answer = httpx.post(f"{served.http}/predictions/tick", json=[0.0] * 10, headers=page)
    assert answer.status_code == 403


# -- management ------------------------------------------------------------------------------------


def test_models_are_registered_scaled_and_unregistered_over_torchserves_api(place, served):
    home, both = place
    first, second = (Registry(home.models).open(c.digest) for c in both)
    obs = observations(1)[0].tolist()
    with httpx.Client(base_url=served.http, timeout=WAIT_S) as client:

        def outputs(path):
            answer = client.post(f"/predictions/{path}", json=obs)
            return answer.json() if answer.is_success else answer.status_code

        for checkpoint in (first, second):
            url = {"url": f"model:{checkpoint.digest}", "model_name": "m"}
            assert client.post("/models", params=url).status_code == 200
        expected = [alone(c, np.array([obs], dtype=np.float32))[0].tolist() for c in both]
        assert [outputs("m/1"), outputs("m/2"), outputs("m")] == [*expected, expected[0]]
        assert client.put("/models/m/2/set-default").status_code == 200
        assert outputs("m") == expected[1]
        assert client.put("/models/m", params={"min_worker": 0}).status_code == 202
        assert outputs("m") == 503
        assert client.get("/v2/models/m/ready").status_code == 503
        client.put("/models/m", params={"min_worker": 1, "synchronous": "true"})
        assert outputs("m") == expected[1]
        assert client.delete("/models/m/2").status_code == 400  # the default, beside another
        assert client.delete("/models/m/1").status_code == 200
        assert outputs("m/1") == 404
        assert client.delete("/models/m").status_code == 200
        assert outputs("m") == 404


def test_name_that_moves_is_followed_without_losing_a_request(tmp_path, procs, context):
    root = tmp_path / "home"
    home, both = Home(root), [runs.checkpoint(root / "runs", seed=seed) for seed in (1, 2)]
    promote(home, both[0])
    server = serving.start(procs, root, f"model:{NAME}")
    by_digest = {c.digest: c for c in both}
    obs = observations(64)

    async def drive():
        context = new_context()
        asker = AsyncAsker(context, server.zmq, limit=1_000)
        replies, deadline = [], time.monotonic() + WAIT_S
        try:
            await connected(asker)
            moving = asyncio.ensure_future(asyncio.to_thread(promote, home, both[1]))
            while time.monotonic() < deadline:
                asked = (
                    asker.ask(wire.Predict(0, "eurusd.champion", row.tobytes()), WAIT_S)
                    for row in obs
                )
                replies.append(await asyncio.gather(*asked))
                if replies[-1][-1].digest == both[1].digest:
                    await moving
                    return replies, await asker.ask(
                        wire.Predict(0, "eurusd.champion", obs[0].tobytes(), "1"), WAIT_S
                    )
            pytest.fail(f"the server has not followed: {server.proc.text}")
        finally:
            asker.close()
            context.destroy(linger=0)

    replies, old = asyncio.run(drive())
    flat = [reply for batch in replies for reply in batch]
    assert all(isinstance(reply, wire.Prediction) for reply in flat)
    expected = {digest: alone(c, obs) for digest, c in by_digest.items()}
    for batch in replies:
        for row, reply in enumerate(batch):
            assert reply.outputs == expected[reply.digest][row].tobytes()
    assert {reply.version for reply in flat if reply.digest == both[1].digest} == {"2"}
    assert old.digest == both[0].digest  # still there for those who ask for it

    promote(home, runs.checkpoint(root / "runs", msgspec.structs.replace(runs.SPEC, every=2)))
    until(lambda: metric(server, 'other_total{what="swaps_refused"}') == 1, "the swap to fail")
    assert metric(server, 'other_total{what="swaps"}') == 1
    left = ask(context, server, wire.Predict(0, "eurusd.champion", obs[0].tobytes()))
    assert left.digest == both[1].digest


# -- when there is too much ------------------------------------------------------------------------


def test_full_queue_refuses_and_counts_and_deadlines_are_kept(place, procs, context):
    home, both = place
    server = serving.start(
        procs, home.root, f"tick={both[0].path}", queue=2, max_wait_us=3_000_000, max_batch=64
    )
    one = observations(1).tobytes()
    late = wire.Predict(0, "tick", one, deadline_ns=time.time_ns() + 10_000_000)
    requests = [wire.Predict(0, "tick", one), late, *[wire.Predict(0, "tick", one)] * 3]

    async def over_http():
        async with httpx.AsyncClient(base_url=server.http, timeout=WAIT_S) as client:
            while 'outcome="OVERLOADED"' not in (await client.get("/metrics")).text:
                await asyncio.sleep(0.01)
            theirs = await client.post("/predictions/tick", json=[0.0] * 10)
            open_ones = await client.post("/v2/models/tick/infer", json=infer())
            return theirs.status_code, open_ones.status_code

    async def both_ways():
        return await asyncio.gather(ask_all(server.zmq, requests), over_http())

    replies, statuses = asyncio.run(both_ways())
    codes = [getattr(reply, "code", "ok") for reply in replies]
    assert codes == ["ok", "EXPIRED", *["OVERLOADED"] * 3]
    assert statuses == (503, 429)
    listing = ask(context, server, wire.Models(0))
    outcomes = listing.models[0].versions[0].stats.outcomes
    assert outcomes == {"ok": 1, "EXPIRED": 1, "OVERLOADED": 5}


def infer():
    tensor = {"name": "obs", "shape": [1, 10], "datatype": "FP32", "data": [0.0] * 10}
    return {"inputs": [tensor]}


def test_stopping_server_refuses_what_waits_and_ends_with_0(place, procs):
    home, both = place
    server = serving.start(procs, home.root, f"tick={both[0].path}", max_wait_us=10_000_000)
    with zmq.Context() as plain, plain.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.rcvtimeo = int(WAIT_S * 1e3)
        socket.connect(server.zmq)
        asked = wire.Predict(4, "tick", observations(1).tobytes())
        socket.send_multipart([b"", wire.encode(asked)])
        until(lambda: metric(server, "waiting{") == 1, "the request to wait")
        server.proc.popen.terminate()
        reply = wire.reply(socket.recv_multipart()[-1])
    assert server.proc.wait() == 0
    assert (reply.id, reply.code) == (4, "UNAVAILABLE")


def test_token_is_demanded_of_http_and_grpc(place, procs, monkeypatch):
    import grpc

    from agents.serving.messages import METHODS, SERVICE

    monkeypatch.setenv("SERVING_TOKEN", "secret")
    home, both = place
    server = serving.start(
        procs, home.root, f"tick={both[0].path}",
        http__token_env="SERVING_TOKEN", grpc__token_env="SERVING_TOKEN",
    )  # fmt: skip
    bearer = {"Authorization": "Bearer secret"}
    assert httpx.get(f"{server.http}/ping").status_code == 401
    assert httpx.get(f"{server.http}/ping", headers=bearer).status_code == 200
    request, response = METHODS["ServerLive"]
    with grpc.insecure_channel(server.grpc) as channel:
        live = channel.unary_unary(
            f"/{SERVICE}/ServerLive",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        with pytest.raises(grpc.RpcError) as refused:
            live(request(), timeout=WAIT_S)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert live(request(), timeout=WAIT_S, metadata=[("authorization", "Bearer secret")]).live


def test_address_that_is_taken_is_not_taken_away(place, procs, addresses, context):
    home, both = place
    path = addresses.requests
    first = serving.start(procs, home.root, f"tick={both[0].path}", endpoint=path)
    second = procs.python(
        serving.LAUNCH, "serve", f"tick={both[0].path}", "--home", home.root,
        "--set", f"endpoint={path}", "--set", "http.port=0",
    )  # fmt: skip
    assert second.wait() == 1
    assert "taken by another process" in second.text
    obs = observations(1).tobytes()
    assert isinstance(ask(context, first, wire.Predict(0, "tick", obs)), wire.Prediction)
    nowhere = first._replace(zmq="ipc:///nowhere/there")
    with pytest.raises(BusError, match="no reply"):
        ask(context, nowhere, wire.Predict(0, "tick", obs), timeout_s=0.05)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "expected a checkpoint or model:NAME to serve"),
        (("nowhere",), "nowhere: no such checkpoint"),
        (("a b=nowhere",), "key models[0].name: expected letters, digits, dots"),
        (("x", "--set", "endpoint=tcp://0.0.0.0:1"), "expected ipc:// or loopback"),
    ],
)
def test_server_that_cannot_start_says_why_in_one_sentence(tmp_path, words, said):
    run = subprocess.run(
        [sys.executable, serving.LAUNCH, "serve", *words, "--home", tmp_path],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert said in run.stderr
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
