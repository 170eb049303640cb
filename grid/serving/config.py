"""The config of a model server, as in `configs/serving.toml`."""

import os
import re
from typing import Annotated, Final

import msgspec

from grid.gateway.config import is_loopback

_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,80}$"

Count = Annotated[int, msgspec.Meta(ge=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
Endpoint = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(tcp://[^\s]+:(\d+|\*)|ipc://[^\s]+)$",
        description="tcp://HOST:PORT, * for a port that is free, or ipc://PATH",
    ),
]
ModelName = Annotated[
    str,
    msgspec.Meta(
        pattern=_NAME,
        description="letters, digits, dots, dashes and underscores, beginning with a letter or "
        "digit",
    ),
]


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class _Listening(_Section, frozen=True):
    host: Annotated[str, msgspec.Meta(min_length=1)] = "127.0.0.1"
    port: Port = 0
    token_env: str = ""

    def __post_init__(self) -> None:
        if not is_loopback(self.host) and not self.token:
            raise ValueError(
                f"expected token_env to name an environment variable with a token for {self.host},"
                f" which others can reach, found {self.token_env or 'none'}"
            )

    @property
    def token(self) -> str:
        """That every request must bring; empty for none."""
        return os.environ.get(self.token_env, "") if self.token_env else ""


class HttpConfig(_Listening, frozen=True):
    """TorchServe's API and the Open Inference Protocol v2 over HTTP.

    Attributes:
        host: address that it binds; one that is not loopback's demands a token.
        port: 0 for one that is free, which the log names.
        token_env: environment variable with the token that requests must bring as
            `Authorization: Bearer`; empty for none.
        management: whether models may be registered, scaled and unregistered over it.
        timeout_ms: of a request that names no deadline itself.
    """

    port: Port = 8080
    management: bool = True
    timeout_ms: Positive = 1_000.0


class GrpcConfig(_Listening, frozen=True):
    """The Open Inference Protocol v2 over gRPC; the fields mean what they mean in `[http]`."""

    port: Port = 8081
    timeout_ms: Positive = 1_000.0


class ModelConfig(_Section, frozen=True):
    """A model that is there from the start.

    Attributes:
        checkpoint: a checkpoint, a run, `model:STRATEGY/ROLE`, which is followed, or
            `model:DIGEST`.
        name: that requests use; empty for the one that the checkpoint gives.
    """

    checkpoint: Annotated[str, msgspec.Meta(min_length=1)]
    name: ModelName | None = None


class ServingConfig(_Section, frozen=True):
    """A model server.

    Attributes:
        endpoint: for agents: ZeroMQ on this machine.
        models: that it has from the start; several of one name are its versions.
        max_batch: rows that go through a network together.
        max_wait_us: how long the first of a batch waits for more to come; what comes while a batch
            runs goes into the next one in any case.
        queue: requests that may wait for a version; more are refused with OVERLOADED.
        keep_versions: of a followed name that stay loaded when it moves, the newest included.
        device: `cpu` is ONNX Runtime, whose outputs are those of an agent bit for bit; `cuda` is
            torch on a GPU, whose outputs are not.
        http: TorchServe's API and the Open Inference Protocol; without the section there is none.
        grpc: the Open Inference Protocol over gRPC; without the section there is none.
    """

    endpoint: Endpoint = "tcp://127.0.0.1:5580"
    models: tuple[ModelConfig, ...] = ()
    max_batch: Annotated[int, msgspec.Meta(ge=1, le=256)] = 64
    max_wait_us: Annotated[float, msgspec.Meta(ge=0, le=1e7)] = 0.0
    queue: Count = 1_024
    keep_versions: Count = 2
    device: Annotated[
        str, msgspec.Meta(pattern=r"^(cpu|cuda(:\d+)?)$", description="cpu, cuda or cuda:N")
    ] = "cpu"
    http: HttpConfig | None = None
    grpc: GrpcConfig | None = None


def fit_name(text: str) -> str:
    """Return what of a text a model can be called: `eurusd/champion` is `eurusd.champion`."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text.replace("/", "."))[:80].lstrip("._-") or "model"
