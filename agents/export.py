"""From a trained torch policy to the small ONNX network that acts.

The graph is written node by node from the policy's own layers: it holds what acts and nothing
else, its bytes depend on the weights alone, and no tracing is involved.
"""

from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from agents.network import STATE, Network
from agents.transformer import Block, TransformerExtractor, WindowTransformer
from grid.errors import CheckpointError

GOLDEN_ROWS: Final = 64
_OPSET: Final = 17
_IR: Final = 8  # old enough for every ONNX Runtime of the last years
_TOLERANCE: Final = 1e-4
_GATES: Final = 4

type Floats = NDArray[np.float32]


def to_onnx(model: BaseAlgorithm) -> bytes:
    """Return the acting network of a model as ONNX bytes.

    Input `obs` [1, obs_size]; output `outputs`: [1, levels], the highest of which is the action,
    or [1, 1], the target before clipping; of a market [1, n], a weight for each instrument or the
    logits of each number of an action, one after the other. With an LSTM its state goes in as `h`
    and `c` [1, size], zeros at the beginning of an episode, and comes out as `h_next` and `c_next`.
    """
    graph = _Graph()
    name = "obs"
    for layer in acting_layers(model):
        name = graph.layer(layer, name)
    return graph.finish(name)


class _Graph:
    """Nodes and weights of a network, written one after the other."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._size = 0  # of the observation
        self._width = 0  # of the output
        self._memory = 0  # numbers of a state

    def layer(self, layer: nn.Module, x: str) -> str:
        """Add a layer to the value `x`, and return the name of its result."""
        match layer:
            case nn.Linear():
                self._size = self._size or layer.in_features
                self._width = int(layer.out_features)
                return self._node("Gemm", [x, *self._params(layer.weight, layer.bias)], transB=1)
            case nn.Tanh():
                return self._node("Tanh", [x])
            case nn.ReLU():
                return self._node("Relu", [x])
            case WindowTransformer():
                return self._transformer(layer, x)
            case nn.LSTM(num_layers=1):
                return self._lstm(layer, x)
            case _:
                raise CheckpointError(
                    "export: expected Linear, Tanh, ReLU, WindowTransformer or one layer of LSTM, "
                    f"found {type(layer).__name__}"
                )

    def finish(self, name: str) -> bytes:
        """Return the network whose output is the value `name`."""
        self._nodes[-1].output[0] = "outputs"
        inputs, outputs = {"obs": self._size}, {"outputs": self._width}
        if self._memory:
            inputs |= dict.fromkeys(STATE, self._memory)
            outputs |= {f"{name}_next": self._memory for name in STATE}
        graph = helper.make_graph(
            self._nodes, "policy", _rows_of(inputs), _rows_of(outputs), self._weights
        )
        proto = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR
        )
        onnx.checker.check_model(proto)
        content: bytes = proto.SerializeToString(deterministic=True)
        return content

    # -- a window of rows, without a batch: [rows, numbers] ------------------------------------

    def _transformer(self, body: WindowTransformer, obs: str) -> str:
        size = body.window * body.features
        self._size = size + body.account
        window = self._node("Slice", [obs, *self._ints([0], [size], [1])])
        account = self._node("Slice", [obs, *self._ints([size], [self._size], [1])])
        x = self._node("Reshape", [window, *self._ints([body.window, body.features])])
        x = self._dense(body.embed, x)
        x = self._node("Add", [x, *self._params(body.position)])
        for block in body.blocks:
            x = self._block(block, x, body.window, body.width)  # type: ignore[arg-type]
        newest = self._node("Slice", [x, *self._ints([body.window - 1], [body.window], [0])])
        return self._node("Concat", [self._norm(body.norm, newest), account], axis=1)

    def _block(self, block: Block, x: str, rows: int, width: int) -> str:
        each = width // block.heads
        parts = self._dense(block.qkv, self._norm(block.norm_1, x))
        parts = self._node("Reshape", [parts, *self._ints([rows, 3, block.heads, each])])
        split = self._node("Transpose", [parts], perm=[1, 2, 0, 3])  # [3, heads, rows, each]
        q, k, v = (self._node("Gather", [split, *self._ints(i)], axis=0) for i in range(3))
        k = self._node("Transpose", [k], perm=[0, 2, 1])
        scores = self._node("MatMul", [q, k])
        scores = self._node("Mul", [scores, *self._params(torch.tensor(each**-0.5))])
        mixed = self._node("MatMul", [self._node("Softmax", [scores], axis=-1), v])
        mixed = self._node("Transpose", [mixed], perm=[1, 0, 2])
        mixed = self._node("Reshape", [mixed, *self._ints([rows, width])])
        x = self._node("Add", [x, self._dense(block.mix, mixed)])
        up = self._node("Relu", [self._dense(block.up, self._norm(block.norm_2, x))])
        return self._node("Add", [x, self._dense(block.down, up)])

    def _dense(self, layer: nn.Linear, x: str) -> str:
        return self._node("Gemm", [x, *self._params(layer.weight, layer.bias)], transB=1)

    def _norm(self, layer: nn.LayerNorm, x: str) -> str:
        names = [x, *self._params(layer.weight, layer.bias)]
        return self._node("LayerNormalization", names, axis=-1, epsilon=layer.eps)

    # -- a memory -------------------------------------------------------------------------------

    def _lstm(self, lstm: nn.LSTM, x: str) -> str:
        """Hochreiter and Schmidhuber 1997; PyTorch has its gates as input, forget, cell, output."""
        self._size, self._memory = self._size or lstm.input_size, lstm.hidden_size
        w_x, w_h, b_x, b_h = (self._params(p)[0] for p in lstm.parameters())
        seen = self._node("Gemm", [x, w_x, b_x], transB=1)
        gates = self._node("Add", [seen, self._node("Gemm", ["h", w_h, b_h], transB=1)])
        n = lstm.hidden_size
        parts = (
            self._node("Slice", [gates, *self._ints([k * n], [(k + 1) * n], [1])])
            for k in range(_GATES)
        )
        kinds = ("Sigmoid", "Sigmoid", "Tanh", "Sigmoid")
        i, f, g, o = (self._node(op, [part]) for op, part in zip(kinds, parts, strict=True))
        c = self._node("Add", [self._node("Mul", [f, "c"]), self._node("Mul", [i, g])], "c_next")
        return self._node("Mul", [o, self._node("Tanh", [c])], "h_next")

    # -- what everything is made of -------------------------------------------------------------

    def _node(self, op: str, inputs: list[str], name: str = "", **attributes: Any) -> str:
        name = name or f"x{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def _params(self, *tensors: torch.Tensor) -> list[str]:
        return [self._weight(t.detach().cpu().numpy()) for t in tensors]

    def _ints(self, *values: list[int] | int) -> list[str]:
        return [self._weight(np.array(value, dtype=np.int64)) for value in values]

    def _weight(self, array: NDArray[Any]) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name


def acting_layers(model: BaseAlgorithm) -> list[nn.Module]:
    """Return the layers from observation to output, in order, of acting without exploring."""
    policy: Any = model.policy
    if hasattr(policy, "mlp_extractor"):  # PPO and its kin: logits, or the mean of the target
        seen = _body(policy.pi_features_extractor)
        memory = [policy.lstm_actor] if hasattr(policy, "lstm_actor") else []
        return [*seen, *memory, *policy.mlp_extractor.policy_net, policy.action_net]
    if hasattr(policy, "q_net"):  # DQN: the value of each level
        return [*_body(policy.q_net.features_extractor), *policy.q_net.q_net]
    # SAC: the squashed mean of the target
    actor = policy.actor
    return [*_body(actor.features_extractor), *actor.latent_pi, actor.mu, nn.Tanh()]


def _body(extractor: nn.Module) -> list[nn.Module]:
    return [extractor.body] if isinstance(extractor, TransformerExtractor) else []


def golden(model: BaseAlgorithm, network: bytes, rows: int = GOLDEN_ROWS) -> dict[str, Floats]:
    """Return observations and what `network` answers, proved to agree with the torch model.

    Returns:
        `obs` float32 [rows, obs_size], to be shown in order, and `outputs` float32 [rows, width].

    Raises:
        CheckpointError: network and model differ by more than rounding.
    """
    acting = Network(network, "export")
    bound = float(model.observation_space.high[-1])  # type: ignore[attr-defined]
    drawn = np.random.default_rng(0).standard_normal((rows, acting.obs_size))
    obs = np.clip(drawn, -bound, bound).astype(np.float32)
    outputs = np.stack([acting.outputs(row) for row in obs])
    expected = torch.as_tensor(obs, device=model.device)
    with torch.no_grad():
        for layer in acting_layers(model):
            expected = layer(expected)
            if isinstance(layer, nn.LSTM):  # it takes the rows for a sequence
                expected = expected[0]
    wanted = expected.cpu().numpy()
    worst = float(np.abs(outputs - wanted).max())
    if not worst <= _TOLERANCE * max(1.0, float(np.abs(wanted).max())):
        raise CheckpointError(f"export: the network differs from the trained one by {worst:.3g}")
    return {"obs": obs, "outputs": outputs}


def _rows_of(sizes: dict[str, int]) -> list[onnx.ValueInfoProto]:
    return [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, n]) for name, n in sizes.items()
    ]
