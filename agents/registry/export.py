"""A checkpoint for other programs: the network as ONNX or TorchScript, with what it means.

The weights are put into torch layers once more, apart from the ONNX file that acts, and both must
give the same outputs before anything is written.
"""

import warnings
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec
import numpy as np
import torch
from torch import nn

from agents.checkpoint import GOLDEN, ONNX, WEIGHTS, Checkpoint, Tensors
from agents.policy import OnnxPolicy
from agents.registry import mar
from agents.transformer import WindowTransformer
from grid.durable import write_atomic
from grid.errors import CheckpointError

type Format = Literal["onnx", "torchscript", "mar"]

FORMATS: Final[tuple[Format, ...]] = ("onnx", "torchscript", "mar")
TOLERANCE: Final = 1e-5


class _Parts(NamedTuple):
    """Where the weights of an algorithm's acting layers lie, and what stands between them."""

    body: str
    hidden: str
    last: str
    activation: type[nn.Module]
    squashed: bool


_PARTS: Final = {
    "ppo": _Parts("features_extractor", "mlp_extractor.policy_net", "action_net", nn.Tanh, False),
    "dqn": _Parts("q_net.features_extractor", "q_net.q_net", "", nn.ReLU, False),
    "sac": _Parts("actor.features_extractor", "actor.latent_pi", "actor.mu", nn.ReLU, True),
}


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """What stands beside an exported network: `model.json`.

    Attributes:
        digest: of the checkpoint.
        algo: that trained it.
        input: name and shape.
        output: name, shape, and how it becomes a target in [-1, 1].
        spec: what the observation is made of.
        worst: largest difference between torch and ONNX on the golden rows.
    """

    digest: str
    algo: str
    input: str
    output: str
    spec: dict[str, Any]
    worst: float


def export(
    checkpoint: Checkpoint, folder: Path, form: Format, name: str = "policy"
) -> tuple[Path, Described]:
    """Write the network and `model.json` into `folder`; return the network's file and the latter.

    Args:
        checkpoint: to be exported.
        folder: made if there is none.
        form: of the network; `mar` is TorchScript with a handler, as TorchServe loads it.
        name: of the model in a `.mar`.

    Raises:
        CheckpointError: torch and ONNX differ, or the algorithm's layers are not known.
    """
    network = torch_policy(checkpoint)
    described = _describe(checkpoint, difference(checkpoint, network))
    folder.mkdir(parents=True, exist_ok=True)
    raw = msgspec.json.format(msgspec.json.encode(described), indent=1)
    match form:
        case "onnx":
            file, content = folder / "policy.onnx", checkpoint.read(ONNX)
        case "torchscript":
            file, content = folder / "policy.pt", _traced(checkpoint, network)
        case "mar":
            traced = _traced(checkpoint, network)
            file, content = folder / f"{name}.mar", mar.pack(name, "1.0", traced, raw)
    write_atomic(file, content)
    write_atomic(folder / "model.json", raw)
    return file, described


def _traced(checkpoint: Checkpoint, network: nn.Module) -> bytes:
    obs = torch.from_numpy(checkpoint.tensors(GOLDEN)["obs"][:1].copy())
    with torch.no_grad(), warnings.catch_warnings():
        # torch wants its own newer formats; the servers that read this one do not know them
        warnings.simplefilter("ignore", FutureWarning)
        scripted: Any = torch.jit.trace(network, obs)  # type: ignore[no-untyped-call]
        return bytes(scripted.save_to_buffer())


def torch_policy(checkpoint: Checkpoint) -> nn.Sequential:
    """Return the layers that act, with the checkpoint's weights: [n, obs_size] to [n, width].

    Raises:
        CheckpointError: the layers are not those of a known algorithm.
    """
    algo = checkpoint.manifest.algo
    if algo not in _PARTS:
        raise CheckpointError(
            f"{checkpoint.path}: export knows {', '.join(_PARTS)}, found algorithm {algo}"
        )
    body, hidden, last, activation, squashed = _PARTS[algo]
    weights = checkpoint.tensors(WEIGHTS)
    order = sorted(
        (key.removesuffix(".weight") for key in weights
         if key.startswith(f"{hidden}.") and key.endswith(".weight")),
        key=lambda key: int(key.rpartition(".")[2]),
    )  # fmt: skip
    layers: list[nn.Module] = []
    for name in (*order, *filter(None, [last])):
        weight, bias = (torch.from_numpy(weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.load_state_dict({"weight": weight, "bias": bias})
        layers += [linear, activation()]
    layers.pop()
    seen = _transformer(checkpoint, f"{body}.body.", weights)
    return nn.Sequential(*seen, *layers, *([nn.Tanh()] if squashed else [])).eval()


def _transformer(checkpoint: Checkpoint, prefix: str, weights: Tensors) -> list[nn.Module]:
    said = checkpoint.manifest.config["algo"].get("transformer")
    if said is None:
        return []
    spec, size = checkpoint.manifest.spec, checkpoint.tensors(GOLDEN)["obs"].shape[1]
    features = len(spec.features)
    account = size - spec.window * features
    body = WindowTransformer(spec.window, features, account, **said)
    own = {k.removeprefix(prefix): torch.from_numpy(v) for k, v in weights.items()
           if k.startswith(prefix)}  # fmt: skip
    body.load_state_dict(own)
    return [body]


def difference(checkpoint: Checkpoint, network: nn.Module) -> float:
    """Return the largest difference between a torch network and the ONNX file, on golden rows.

    Raises:
        CheckpointError: it is more than rounding.
    """
    obs = checkpoint.tensors(GOLDEN)["obs"]
    policy = OnnxPolicy(checkpoint)
    acting = np.stack([policy.outputs(row) for row in obs])
    with torch.no_grad():
        expected = network(torch.from_numpy(obs.copy())).numpy()
    worst = float(np.abs(acting - expected).max())
    if not worst <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise CheckpointError(
            f"{checkpoint.path / ONNX}: differs from the weights by {worst:.3g}, expected at most "
            f"{TOLERANCE:g}"
        )
    return worst


def _describe(checkpoint: Checkpoint, worst: float) -> Described:
    m = checkpoint.manifest
    size = checkpoint.tensors(GOLDEN)["obs"].shape[1]
    width = checkpoint.tensors(GOLDEN)["outputs"].shape[1]
    if m.spec.target.kind == "discrete":
        means = f"the target is the one of {list(m.spec.target.levels)} with the highest output"
    else:
        means = "the target is the output, clipped to [-1, 1]"
    return Described(
        digest=checkpoint.digest,
        algo=m.algo,
        input=f"obs float32 [1, {size}]",
        output=f"outputs float32 [1, {width}]; {means}",
        spec=msgspec.to_builtins(m.spec),
        worst=worst,
    )
