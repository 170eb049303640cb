"""Real servers of others: TorchServe loads our `.mar`, and agents ask it, and Triton, as they are.

Both need a Python of their own and some ten seconds, so they run where they are installed:
`TORCHSERVE` names the program, `PYTRITON` the Python; docs/serving.md says how.
"""

import io
import json
import os
import shutil
import signal
import socket
import sysconfig
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from agents.checkpoint import GOLDEN, Checkpoint
from agents.policy import OnnxPolicy, Undecided
from agents.registry.export import export
from agents.registry.handler import PolicyHandler
from agents.serving import address
from agents.serving.network import load
from agents.serving.remote import RemotePolicy
from agents.training import train
from grid.config import convert
from grid.errors import ConfigError
from tests.support import runs
from tests.support.procs import until

SUPPORT = Path(__file__).parents[1] / "support"
TORCHSERVE = os.environ.get("TORCHSERVE") or shutil.which("torchserve")
PYTRITON = os.environ.get("PYTRITON")
START_S = 110.0


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    home = runs.home_with_data(tmp_path_factory.mktemp("home"))
    tree = runs.run_tree(home, total_steps=128)
    config = convert(tree, runs.RunConfig, "test")
    return Checkpoint.open(train(config, home, progress=False))


def free_ports(n):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def decides_as_local(policy):
    """Wait for the server, then compare decisions; the server's outputs may differ by rounding."""

    def up():
        try:
            return policy.act(rows[0]) is not None
        except Undecided:
            return False

    local = OnnxPolicy(policy.checkpoint)
    rows = policy.checkpoint.tensors(GOLDEN)["obs"]
    until(up, "the server to answer", START_S)
    policy.prove()
    assert [policy.act(row) for row in rows] == [local.act(row) for row in rows]
    policy.close()


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of torch, about the format
def test_mar_holds_a_handler_that_answers_as_the_checkpoint_does(checkpoint, tmp_path):
    file, _ = export(checkpoint, tmp_path, "mar", "tickmodel")
    with zipfile.ZipFile(io.BytesIO(file.read_bytes())) as archive:
        manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))
        archive.extractall(tmp_path / "model")
    assert manifest["model"]["modelName"] == "tickmodel"
    assert manifest["model"]["handler"] in {p.name for p in (tmp_path / "model").iterdir()}
    told = {}
    context = SimpleNamespace(
        system_properties={"model_dir": str(tmp_path / "model")},
        manifest=manifest,
        set_response_header=lambda at, name, value: told.update({(at, name): value}),
    )
    handler = PolicyHandler()
    handler.initialize(context)
    golden = checkpoint.tensors(GOLDEN)
    rows, expected = golden["obs"].tolist(), golden["outputs"]
    raw = bytearray(json.dumps({"data": rows[3]}).encode())
    one, several, bytes_ = handler.handle(
        [{"body": rows[0]}, {"data": rows[1:3]}, {"body": raw}], context
    )
    np.testing.assert_allclose(one, expected[0], atol=1e-5)
    np.testing.assert_allclose(several, expected[1:3], atol=1e-5)
    np.testing.assert_allclose(bytes_, expected[3], atol=1e-5)
    assert told[1, "X-Model-Digest"] == checkpoint.digest


def test_torch_network_as_on_a_gpu_answers_as_the_checkpoint_does(checkpoint):
    network = load(checkpoint, "cpu:0", max_batch=8)  # whatever torch takes is not ONNX Runtime's
    golden = checkpoint.tensors(GOLDEN)
    np.testing.assert_allclose(network.run(golden["obs"]), golden["outputs"], atol=1e-5)
    assert (network.size, network.width, network.batched) == (10, 3, True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_that_is_not_there_is_named_in_a_sentence(checkpoint):
    with pytest.raises(ConfigError, match="key device: expected a device of this machine"):
        load(checkpoint, "cuda", max_batch=8)


@pytest.mark.timeout(200)
@pytest.mark.skipif(not TORCHSERVE, reason="TorchServe is not installed: set TORCHSERVE")
def test_torchserve_serves_our_mar_to_an_agent(checkpoint, tmp_path, procs, monkeypatch):
    export(checkpoint, tmp_path, "mar", "tickmodel")
    ports = free_ports(5)
    settings = (
        "inference_address=http://127.0.0.1:{}\nmanagement_address=http://127.0.0.1:{}\n"
        "metrics_address=http://127.0.0.1:{}\ngrpc_inference_port={}\ngrpc_management_port={}\n"
        "default_workers_per_model=1\n"
    ).format(*ports)
    (tmp_path / "ts.properties").write_text(settings)
    monkeypatch.setenv("PATH", f"{Path(TORCHSERVE).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # else it finds another that runs, and gives way
    monkeypatch.setenv("LOG_LOCATION", str(tmp_path / "logs"))
    monkeypatch.setenv("METRICS_LOCATION", str(tmp_path / "logs"))
    monkeypatch.chdir(tmp_path)  # it writes its tokens into the folder that it is started in
    server = procs.start(
        TORCHSERVE, "--start", "--ncs", "--foreground", "--model-store", tmp_path,
        "--models", "tickmodel=tickmodel.mar", "--ts-config", tmp_path / "ts.properties",
    )  # fmt: skip
    keys = tmp_path / "key_file.json"
    until(keys.exists, "its tokens", START_S)
    token = until(lambda: _token(keys), "its token", START_S)
    where = (
        f"remote:http://127.0.0.1:{ports[0]}/predictions/tickmodel"
        f"?checkpoint={checkpoint.path}&deadline_ms=2000&token_env=TS_TOKEN"
    )
    denied = RemotePolicy.open(address.read(where), tmp_path)
    monkeypatch.setenv("TS_TOKEN", token)
    decides_as_local(RemotePolicy.open(address.read(where), tmp_path))
    with pytest.raises(Undecided) as undecided:
        denied.act(checkpoint.tensors(GOLDEN)["obs"][0])
    assert undecided.value.why == "http_400"
    denied.close()
    end(procs, server)


def end(procs, server):
    """Stop a server and the processes that it has started: others' leave them a while."""
    os.killpg(server.pid, signal.SIGTERM)
    deadline = time.monotonic() + 20.0
    while procs.survivors():
        if time.monotonic() > deadline:
            os.killpg(server.pid, signal.SIGKILL)
        server.popen.poll()
        time.sleep(0.05)


def _token(keys):
    try:
        return json.loads(keys.read_text())["inference"]["key"]
    except ValueError:
        return ""


@pytest.mark.timeout(200)
@pytest.mark.skipif(not PYTRITON, reason="Triton is not installed: set PYTRITON")
def test_triton_serves_our_onnx_to_an_agent(checkpoint, tmp_path, procs, monkeypatch):
    export(checkpoint, tmp_path, "onnx")
    port, grpc_port = free_ports(2)
    library = sysconfig.get_config_var("LIBDIR")  # Triton's own Python looks for libpython
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{library}:{os.environ.get('LD_LIBRARY_PATH', '')}")
    script, ends = SUPPORT / "triton_server.py", (str(port), str(grpc_port))
    server = procs.start(PYTRITON, script, tmp_path, *ends)
    where = (
        f"remote:http://127.0.0.1:{port}/v2/models/tickmodel"
        f"?checkpoint={checkpoint.path}&deadline_ms=2000"
    )
    decides_as_local(RemotePolicy.open(address.read(where), tmp_path))
    end(procs, server)
