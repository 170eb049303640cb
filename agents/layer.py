"""One layer of random weights: a policy that nobody trained, made without torch in no time."""

from typing import Final

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from agents.checkpoint import GOLDEN, ONNX, WEIGHTS, save_tensors
from envs.pipeline import ACCOUNT
from grid.spec import Spec

_GOLDEN: Final = 8  # observations that the checkpoint keeps outputs of


def random_layer(spec: Spec, rng: np.random.Generator) -> dict[str, bytes]:
    """Return its files in a checkpoint: network, weights, golden outputs."""
    size = spec.window * len(spec.features) + len(ACCOUNT)
    width = len(spec.target.levels) if spec.target.kind == "discrete" else 1
    weight = rng.standard_normal((width, size)).astype(np.float32)
    bias = np.zeros(width, dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["obs", "w", "b"], ["outputs"], transB=1)],
        "policy",
        [helper.make_tensor_value_info("obs", TensorProto.FLOAT, [1, size])],
        [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, [1, width])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")],
    )
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    obs = rng.standard_normal((_GOLDEN, size)).astype(np.float32)
    return {
        ONNX: network.SerializeToString(deterministic=True),
        WEIGHTS: save_tensors({"w": weight, "b": bias}),
        GOLDEN: save_tensors({"obs": obs, "outputs": obs @ weight.T + bias}),
    }
