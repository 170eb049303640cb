"""Where a policy's outputs are asked for: what `checkpoint = "remote:..."` means."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from grid.config import convert
from grid.identity import is_local

PREFIX: Final = "remote:"

type Api = Literal["oip", "torchserve", "zmq"]


class Address(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model of a server, and how it is asked.

    Attributes:
        api: what the server speaks.
        endpoint: `http://host:port`, `https://host:port`, or of ZeroMQ.
        model: name.
        version: empty for the server's default.
        digest: of the checkpoint that the server answers for, in the registry; or
        checkpoint: its folder.
        deadline_ms: for one decision, retries and all.
        retries: share of the requests that may be asked a second time.
        failures: in a row after which the server is left alone for a while.
        token_env: environment variable with the token to bring; empty for none.
        input: name of the input; for the Open Inference Protocol.
        output: name of the output; likewise.
    """

    api: Api
    endpoint: str
    model: Annotated[str, msgspec.Meta(min_length=1)]
    version: str = ""
    digest: str = ""
    checkpoint: str = ""
    deadline_ms: Annotated[float, msgspec.Meta(gt=0, le=60_000)] = 50.0
    retries: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.1
    failures: Annotated[int, msgspec.Meta(ge=1)] = 5
    token_env: str = ""
    input: str = "obs"
    output: str = "outputs"

    def __post_init__(self) -> None:
        if self.api == "zmq" and not is_local(self.endpoint):
            raise ValueError(
                "expected ipc:// or loopback, since nothing is encrypted there; other machines "
                f"are asked over https, found {self.endpoint}"
            )
        if bool(self.digest) == bool(self.checkpoint):
            raise ValueError(
                "expected digest=... or checkpoint=... that says what the model sees, and not both"
            )

    @property
    def path(self) -> str:
        """Of the request over HTTP."""
        if self.api == "torchserve":
            return f"/predictions/{self.model}" + (f"/{self.version}" if self.version else "")
        return f"/v2/models/{self.model}" + (
            f"/versions/{self.version}/infer" if self.version else "/infer"
        )


def read(text: str) -> Address:
    """Return the address that a text means.

    `remote:http://HOST:PORT/v2/models/M[/versions/V]?digest=D`,
    `remote:http://HOST:PORT/predictions/M[/V]?digest=D`,
    `remote:tcp://HOST:PORT?model=M&digest=D` and the same with `ipc://PATH`.

    Raises:
        ConfigError: it means none.
    """
    url = urlsplit(text.removeprefix(PREFIX))
    tree: dict[str, Any] = {**_numbers(parse_qs(url.query, keep_blank_values=True))}
    parts = [unquote(part) for part in url.path.strip("/").split("/")]
    match (url.scheme, parts):
        case ("http" | "https", ["v2", "models", model]):
            named = {"api": "oip", "model": model}
        case ("http" | "https", ["v2", "models", model, "versions", version]):
            named = {"api": "oip", "model": model, "version": version}
        case ("http" | "https", ["predictions", model]):
            named = {"api": "torchserve", "model": model}
        case ("http" | "https", ["predictions", model, version]):
            named = {"api": "torchserve", "model": model, "version": version}
        case ("tcp", [""]) | ("ipc", _):
            named = {"api": "zmq"}
        case _:
            named = {"api": f"{url.scheme}://.../{'/'.join(parts)}"}
    where = url.path if url.scheme == "ipc" else url.netloc
    tree |= {**named, "endpoint": f"{url.scheme}://{where}"}
    return convert(tree, Address, text)


def _numbers(query: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return the last value of each, numbers as numbers where they are wanted."""
    found: dict[str, Any] = {}
    for name, values in query.items():
        if name in ("deadline_ms", "retries", "failures"):
            try:
                found[name] = msgspec.json.decode(values[-1], type=int | float)
                continue
            except msgspec.MsgspecError:
                pass  # the check below says what was expected
        found[name] = values[-1]
    return found
