"""Messages between a model server and those who ask it: MessagePack, one request, one reply.

A server's socket is a ROUTER; a plain REQ of any language may ask, and so may a DEALER that sends
an empty frame before the message. Every reply carries the `id` of its request, so that a DEALER may
have many under way. Fields are only added, last, with a default. Law: docs/serving.md.
"""

from typing import Final, Literal

import msgspec

from grid.errors import ProtocolError

VERSION: Final = 1
MAX_BYTES: Final = 16 << 20  # of one message

type Code = Literal[
    "UNKNOWN_MODEL",  # no model or version of that name is here
    "BAD_INPUT",  # not the numbers that the model takes
    "OVERLOADED",  # the queue is full: nothing was done
    "EXPIRED",  # the deadline passed in the queue: nothing was done
    "UNAVAILABLE",  # the model is scaled to no worker, or the server is stopping
    "REFUSED",  # the server does not do that
    "FAILED",  # the network failed, or a checkpoint is no good
]


class _Message(msgspec.Struct, frozen=True, tag=True, tag_field="type"):
    pass


# -- requests --------------------------------------------------------------------------------------


class Predict(_Message, frozen=True):
    """Ask for the outputs of a network.

    Attributes:
        id: chosen by the asker, unique among what it has under way.
        model: name.
        obs: float32, little-endian, [rows, obs_size], row after row.
        version: number or digest; empty for the default.
        deadline_ns: UNIX ns after which the reply is of no use; 0 for none.
    """

    id: int
    model: str
    obs: bytes
    version: str = ""
    deadline_ns: int = 0


class Models(_Message, frozen=True):
    """Ask what the server has."""

    id: int


class Register(_Message, frozen=True):
    """Load a checkpoint of the registry as a model, or as another version of one.

    Attributes:
        id: as in `Predict`.
        source: `model:STRATEGY/ROLE`, which is followed from then on, or `model:DIGEST`.
        model: name; empty for the one that the source gives.
    """

    id: int
    source: str
    model: str = ""


class Unregister(_Message, frozen=True):
    """Unload a version, or with an empty one the whole model."""

    id: int
    model: str
    version: str = ""


class SetDefault(_Message, frozen=True):
    """Let requests without a version have this one."""

    id: int
    model: str
    version: str


class Scale(_Message, frozen=True):
    """Let a model answer (1 worker) or refuse with UNAVAILABLE (0)."""

    id: int
    model: str
    workers: int


type Request = Predict | Models | Register | Unregister | SetDefault | Scale

# -- replies ---------------------------------------------------------------------------------------


class Prediction(_Message, frozen=True):
    """Outputs of a network.

    Attributes:
        id: of the request.
        outputs: float32, little-endian, [rows, width].
        version: number.
        digest: of the checkpoint that gave them.
        batch: rows that went through the network together.
        queue_us: from the arrival of the request to the start of its batch.
        run_us: of the batch in the network.
    """

    id: int
    outputs: bytes
    version: str
    digest: str
    batch: int
    queue_us: float
    run_us: float


class Refusal(_Message, frozen=True):
    """Nothing was predicted or changed."""

    id: int
    code: Code
    reason: str


class Done(_Message, frozen=True):
    """What was asked for is so now; `model` and `version` that it was about."""

    id: int
    model: str
    version: str


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """What a version has done since it was loaded.

    Attributes:
        waiting: requests in its queue.
        outcomes: requests by what became of them: `ok` or a code.
        batches: runs of the network.
        rows: through the network.
        queue_s: sum over the requests that were answered.
        run_s: sum over batches.
        total_s: from arrival to reply, sum over the requests that were answered.
        buckets: requests by time from arrival to reply: `agents.serving.stats.BOUNDS_S`, and one
            for what took longer.
    """

    waiting: int = 0
    outcomes: dict[str, int] = {}
    batches: int = 0
    rows: int = 0
    queue_s: float = 0.0
    run_s: float = 0.0
    total_s: float = 0.0
    buckets: tuple[int, ...] = ()


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a model.

    Attributes:
        version: number.
        digest: of its checkpoint.
        obs_size: numbers in an observation.
        width: numbers in an output.
        batched: whether its rows go through the network together.
        loaded_ns: UNIX ns.
        spec_digest: of what observation and output mean.
        stats: what it has done.
    """

    version: str
    digest: str
    obs_size: int
    width: int
    batched: bool
    loaded_ns: int
    spec_digest: str
    stats: Stats


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model: `workers` is 1, or 0 while it is scaled down."""

    name: str
    source: str
    default: str
    workers: int
    max_batch: int
    max_wait_us: float
    versions: tuple[Version, ...]

    def version(self, name: str) -> Version | None:
        """Return the version of a number or digest, the default for an empty one."""
        wanted = name or self.default
        return next((v for v in self.versions if wanted in (v.version, v.digest)), None)


class Listing(_Message, frozen=True):
    """What the server has; `device` that runs it, `counts` of what no version counts."""

    id: int
    models: tuple[Model, ...]
    device: str = "cpu"
    counts: dict[str, int] = {}


type Reply = Prediction | Refusal | Done | Listing

_encoder: Final = msgspec.msgpack.Encoder()
_requests: Final = msgspec.msgpack.Decoder(
    Predict | Models | Register | Unregister | SetDefault | Scale
)
_replies: Final = msgspec.msgpack.Decoder(Prediction | Refusal | Done | Listing)


def encode(message: Request | Reply) -> bytes:
    """Return a message's bytes."""
    return _encoder.encode(message)


def request(payload: bytes) -> Request:
    """Read a request.

    Raises:
        ProtocolError: it is none.
    """
    try:
        found: Request = _requests.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise ProtocolError(f"request to a model server: {e}") from e
    return found


def reply(payload: bytes) -> Reply:
    """Read a reply.

    Raises:
        ProtocolError: it is none.
    """
    try:
        found: Reply = _replies.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise ProtocolError(f"reply of a model server: {e}") from e
    return found
