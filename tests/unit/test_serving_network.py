"""A network for many rows: the bits of one row, or one row after the other."""

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from agents.checkpoint import ONNX, Checkpoint
from agents.policy import OnnxPolicy
from agents.serving.network import OnnxNetwork
from agents.serving.stateless import refuse_memory
from grid.errors import CheckpointError
from tests.support import runs

SERVING = Path(__file__).parents[2] / "agents" / "serving"
OBS = np.random.default_rng(5).standard_normal((33, 10)).astype(np.float32)


def one_row_only(checkpoint, folder):
    """The same network with a node that is written for one row, as a transformer's is."""
    model = onnx.load_from_string(checkpoint.read(ONNX))
    model.graph.node[0].output[0] = "flat"
    shape = onnx.numpy_helper.from_array(np.array([1, 3]), "one")
    model.graph.initializer.append(shape)
    model.graph.node.append(onnx.helper.make_node("Reshape", ["flat", "one"], ["outputs"]))
    files = {name: checkpoint.read(name) for name in checkpoint.manifest.files}
    files[ONNX] = model.SerializeToString(deterministic=True)
    return Checkpoint.write(folder, checkpoint.manifest, files)


def test_network_in_batches_gives_the_bits_of_an_agent(tmp_path):
    checkpoint = runs.checkpoint(tmp_path)
    network, policy = OnnxNetwork(checkpoint, max_batch=33), OnnxPolicy(checkpoint)
    assert network.batched
    assert (network.size, network.width) == (10, 3)
    assert network.run(OBS).tobytes() == b"".join(policy.outputs(o).tobytes() for o in OBS)


def test_network_that_knows_one_row_only_is_run_row_by_row(tmp_path):
    plain = runs.checkpoint(tmp_path)
    network = OnnxNetwork(one_row_only(plain, tmp_path), max_batch=8)
    assert not network.batched
    policy = OnnxPolicy(plain)
    assert network.run(OBS).tobytes() == b"".join(policy.outputs(o).tobytes() for o in OBS)


def test_network_with_a_memory_is_not_served(tmp_path):
    checkpoint = runs.checkpoint(tmp_path)
    refuse_memory(checkpoint, recurrent=False)
    with pytest.raises(CheckpointError, match="has to run in its agent"):
        refuse_memory(checkpoint, recurrent=True)


def test_descriptor_is_what_the_proto_file_says(tmp_path):
    out = tmp_path / "oip.desc"
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I", SERVING, "--descriptor_set_out", out,
         "oip.proto"], check=True, timeout=60,
    )  # fmt: skip
    assert out.read_bytes() == (SERVING / "oip.desc").read_bytes()


def test_prediction_survives_the_wire_with_fields_of_a_later_version():
    from grid.errors import ProtocolError
    from grid.serving import wire

    later = {"type": "Predict", "id": 1, "model": "m", "obs": b"1234", "priority": 9}
    assert wire.request(msgspec.msgpack.encode(later)) == wire.Predict(1, "m", b"1234")
    with pytest.raises(ProtocolError, match="request to a model server"):
        wire.request(b"\x80")
