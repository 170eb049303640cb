"""From a trained torch policy to the small ONNX network that acts.

The graph is written node by node from the policy's own layers: it holds what acts and nothing
else, its bytes depend on the weights alone, and no tracing is involved.
"""

from typing import Any, Final

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from grid.errors import CheckpointError

GOLDEN_ROWS: Final = 64
_OPSET: Final = 17
_IR: Final = 8  # old enough for every ONNX Runtime of the last years
_TOLERANCE: Final = 1e-4

type Floats = NDArray[np.float32]


def to_onnx(model: BaseAlgorithm) -> bytes:
    """Return the network of a PPO, DQN or SAC model with an MLP policy as ONNX bytes.

    Input `obs` [1, obs_size]; output `outputs`: [1, levels], the highest of which is the action,
    or [1, 1], the target before clipping.
    """
    nodes, weights, name = [], [], "obs"
    for i, layer in enumerate(acting_layers(model)):
        out = f"x{i}"
        match layer:
            case nn.Linear():
                names = [f"w{i}", f"b{i}"]
                for label, tensor in zip(names, (layer.weight, layer.bias), strict=True):
                    array = np.ascontiguousarray(tensor.detach().cpu().numpy())
                    weights.append(numpy_helper.from_array(array, label))
                nodes.append(helper.make_node("Gemm", [name, *names], [out], transB=1))
            case nn.Tanh():
                nodes.append(helper.make_node("Tanh", [name], [out]))
            case nn.ReLU():
                nodes.append(helper.make_node("Relu", [name], [out]))
            case _:
                raise CheckpointError(
                    f"export: expected Linear, Tanh or ReLU layers, found {type(layer).__name__}"
                )
        name = out
    nodes[-1].output[0] = "outputs"
    size, width = int(weights[0].dims[1]), _width(weights)
    graph = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info("obs", TensorProto.FLOAT, [1, size])],
        [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, [1, width])],
        weights,
    )
    proto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR
    )
    onnx.checker.check_model(proto)
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def acting_layers(model: BaseAlgorithm) -> list[nn.Module]:
    """Return the layers from observation to output, in order, of acting without exploring."""
    policy: Any = model.policy
    if hasattr(policy, "mlp_extractor"):  # PPO: logits, or the mean of the target
        return [*policy.mlp_extractor.policy_net, policy.action_net]
    if hasattr(policy, "q_net"):  # DQN: the value of each level
        return [*policy.q_net.q_net]
    # SAC: the squashed mean of the target
    return [*policy.actor.latent_pi, policy.actor.mu, nn.Tanh()]


def golden(model: BaseAlgorithm, network: bytes, rows: int = GOLDEN_ROWS) -> dict[str, Floats]:
    """Return observations and what `network` answers, proved to agree with the torch model.

    Returns:
        `obs` float32 [rows, obs_size] and `outputs` float32 [rows, width].

    Raises:
        CheckpointError: network and model differ by more than rounding.
    """
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    size = session.get_inputs()[0].shape[1]  # of the window, whatever the envs send
    bound = float(model.observation_space.high[-1])  # type: ignore[attr-defined]
    drawn = np.random.default_rng(0).standard_normal((rows, size))
    obs = np.clip(drawn, -bound, bound).astype(np.float32)
    outputs = np.concatenate([session.run(None, {"obs": row[None]})[0] for row in obs])
    layers = nn.Sequential(*acting_layers(model))
    with torch.no_grad():
        expected = layers(torch.as_tensor(obs, device=model.device)).cpu().numpy()
    worst = float(np.abs(outputs - expected).max())
    if not worst <= _TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise CheckpointError(f"export: the network differs from the trained one by {worst:.3g}")
    return {"obs": obs, "outputs": outputs}


def _width(weights: list[Any]) -> int:
    return int(weights[-1].dims[0])
